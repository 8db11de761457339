// What holds for the kernel of every op: it computes in every dtype, may share memory as its definition says, and
// writes all of its outputs.

#include <gtest/gtest.h>

#include <cstring>

#include "ops/test_use_cases.h"

namespace troupe {
namespace {

const RunContext kContext{.key = 7, .firing = {.step = 2, .seed = 3}};

// A few roundings of the largest number that enters: sums of at most some dozen terms below 4.
constexpr double kFloatTolerance = 2e-5;

TEST(Kernels, Float32EqualsFloat64WithinItsPrecision) {
  for (const UseCase& use : use_cases()) {
    const UseCase single = use.in_f32();
    const std::vector<HostTensor> right = run_op(use.def(), use.attrs, use.inputs(), kContext);
    const std::vector<HostTensor> found = run_op(single.def(), single.attrs, single.inputs(), kContext);
    for (size_t i = 0; i < right.size(); ++i) {
      EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), kFloatTolerance), "") << single.str();
    }
  }
}

// One rounding of the result where it is stored, of sums that are float32: `half` of the distance between two numbers.
void expect_rounded_once(DType dtype, double half) {
  int tried = 0;
  for (const UseCase& use : use_cases()) {
    if (!use.takes_low()) continue;
    const UseCase low = use.in_low(dtype);
    const std::vector<HostTensor> given = low.inputs();
    std::vector<HostTensor> same = use.inputs();
    for (size_t i = 0; i < same.size(); ++i) same[i].set_numbers(given[i].numbers());
    const std::vector<HostTensor> right = run_op(use.def(), use.attrs, same, kContext);
    const std::vector<HostTensor> found = run_op(low.def(), low.attrs, given, kContext);
    for (size_t i = 0; i < right.size(); ++i) {
      const bool rounded = found[i].type().dtype == dtype;
      EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), (rounded ? half : 0) + kFloatTolerance), "")
          << low.str();
    }
    ++tried;
  }
  EXPECT_GT(tried, 50);
}

TEST(Kernels, BFloat16IsFloat64RoundedOnce) { expect_rounded_once(DType::bf16, 1.0 / 256); }
TEST(Kernels, Float16IsFloat64RoundedOnce) { expect_rounded_once(DType::f16, 1.0 / 2048); }

// Runs the op with `output` in the memory of `input`, all other outputs in memory that is not zero.
std::vector<HostTensor> run_sharing(const UseCase& use, const std::vector<std::pair<int, int>>& shared) {
  std::vector<HostTensor> tensors = use.inputs();
  std::vector<TensorView> inputs, outputs;
  const size_t count = tensors.size();
  for (const TensorType& type : use.output_types()) {
    tensors.emplace_back(type);
    const std::span<uint8_t> bytes{tensors.back().view().as<uint8_t>(),
                                   static_cast<size_t>(tensors.back().view().bytes())};
    std::fill(bytes.begin(), bytes.end(), uint8_t{0x5a});
  }
  for (size_t i = 0; i < tensors.size(); ++i) (i < count ? inputs : outputs).push_back(tensors[i].view());
  for (auto [output, input] : shared)
    outputs[static_cast<size_t>(output)].data = inputs[static_cast<size_t>(input)].data;
  run_kernel(use.def(), use.attrs, inputs, outputs, kContext);
  std::vector<HostTensor> result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    result.emplace_back(use.output_types()[i]);
    if (outputs[i].bytes() > 0) {
      std::memcpy(result.back().view().data, outputs[i].data, static_cast<size_t>(outputs[i].bytes()));
    }
  }
  return result;
}

// All uses, and once more in bfloat16 and float16 those of ops that take them.
std::vector<UseCase> uses_in_all_dtypes() {
  std::vector<UseCase> uses = use_cases();
  for (const UseCase& use : use_cases()) {
    if (!use.takes_low()) continue;
    for (DType low : {DType::bf16, DType::f16}) uses.push_back(use.in_low(low));
  }
  return uses;
}

TEST(Kernels, WriteEveryElementOfTheirOutputs) {
  for (const UseCase& use : uses_in_all_dtypes()) {
    EXPECT_EQ(run_sharing(use, {}), run_op(use.def(), use.attrs, use.inputs(), kContext)) << use.str();
  }
}

TEST(Kernels, GiveTheSameBitsInPlace) {
  int shared = 0;
  for (const UseCase& use : uses_in_all_dtypes()) {
    const std::vector<HostTensor> apart = run_op(use.def(), use.attrs, use.inputs(), kContext);
    for (auto [output, input] : use.def().in_place) {
      if (!(use.types()[static_cast<size_t>(input)] == use.output_types()[static_cast<size_t>(output)])) continue;
      EXPECT_EQ(run_sharing(use, {{output, input}}), apart) << use.str() << ": output " << output << " in " << input;
      ++shared;
    }
  }
  EXPECT_GT(shared, 60);
}

TEST(Kernels, GiveTheSameBitsWhereVariablesAreOverwritten) {
  for (const UseCase& use : use_cases()) {
    std::vector<std::pair<int, int>> updates = use.def().updates;
    std::erase_if(updates, [&](auto pair) { return static_cast<size_t>(pair.second) >= use.operands.size(); });
    if (updates.empty()) continue;
    EXPECT_EQ(run_sharing(use, updates), run_op(use.def(), use.attrs, use.inputs(), kContext)) << use.str();
  }
}

TEST(Kernels, RunOnTensorsWithoutElements) {
  for (const UseCase& use : uses_in_all_dtypes()) {
    UseCase empty = use;
    for (Operand& operand : empty.operands) {
      Shape& shape = operand.values.shape;
      for (int d = 0; d < shape.rank(); ++d) shape[d] = shape[d] == 1 ? 1 : 0;  // 1 may have to stay so
    }
    // Some attributes fix sizes; mesh_laws_test.cpp has parts of them that are empty.
    bool fixed = false;
    for (const char* name : {"shape", "sizes", "stop", "k", "stride", "size", "output_size"}) {
      fixed = fixed || use.attrs.has(name);
    }
    if (fixed) continue;
    run_op(empty.def(), empty.attrs, empty.inputs(), kContext);
  }
}

}  // namespace
}  // namespace troupe
