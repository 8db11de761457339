// What holds for the CUDA kernel of every op: there is one, it computes what the CPU's computes, in every dtype, may share
// memory as its definition says, and writes all of its outputs.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/cuda/run.h"

namespace troupe {
namespace {

// Ops whose values are made in float64 up to its precision, and otherwise in float32: as ops/kernels_test.cpp has them.
constexpr double kDoubleTolerance = 1e-12;
constexpr double kFloatTolerance = 2e-5;

double tolerance_of(const UseCase& use, DType output) {
  if (output == DType::bf16) return 1.0 / 256 + kFloatTolerance;
  if (output == DType::f16) return 1.0 / 2048 + kFloatTolerance;
  const bool in_double = std::all_of(use.operands.begin(), use.operands.end(), [](const Operand& operand) {
    return operand.dtype != DType::f32 && !is_low(operand.dtype);
  });
  return in_double && output == DType::f64              ? kDoubleTolerance
         : output == DType::f32 || output == DType::f64 ? kFloatTolerance
                                                        : 0;
}

// The use in float64, with the numbers of `given`.
std::vector<HostTensor> right_of(const UseCase& use, const std::vector<HostTensor>& given) {
  UseCase wide = use;
  for (Operand& operand : wide.operands) {
    if (is_float(operand.dtype)) operand.dtype = DType::f64;
  }
  if (wide.attrs.has("dtype") && is_float(dtype_from_name(wide.attrs.text("dtype")))) {
    wide.attrs.set("dtype", std::string("f64"));
  }
  std::vector<HostTensor> inputs = wide.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i].set_numbers(given[i].numbers());
  return run_op(wide.def(), wide.attrs, inputs, kCudaContext);
}

// Runs the op with `output` in the memory of `input`, all other outputs in memory that is not zero.
std::vector<HostTensor> run_sharing(const UseCase& use, const std::vector<std::pair<int, int>>& shared,
                                    Products products) {
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
  run_kernel(use.def(), use.attrs, inputs, outputs, on_cuda(kCudaContext, products));
  std::vector<HostTensor> result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    result.emplace_back(use.output_types()[i]);
    if (outputs[i].bytes() > 0) {
      std::memcpy(result.back().view().data, outputs[i].data, static_cast<size_t>(outputs[i].bytes()));
    }
  }
  return result;
}

using CudaKernels = ForProducts;
INSTANTIATE_TEST_SUITE_P(Products, CudaKernels, kAllProducts, name_of_products);

TEST_P(CudaKernels, EqualFloat64WithinTheirPrecision) {
  for (const auto& [use, found] : cuda_results(GetParam())) {
    const std::vector<HostTensor> right = right_of(use, use.inputs());
    for (size_t i = 0; i < right.size(); ++i) {
      EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), tolerance_of(use, found[i].type().dtype)), "")
          << use.str() << " output " << i;
    }
  }
  EXPECT_GT(cuda_results(GetParam()).size(), GetParam() == Products::own ? 700u : 50u);
}

TEST_P(CudaKernels, WriteEveryElementOfTheirOutputs) {
  for (const auto& [use, found] : cuda_results(GetParam()))
    EXPECT_EQ(run_sharing(use, {}, GetParam()), found) << use.str();
}

TEST_P(CudaKernels, GiveTheSameBitsInPlace) {
  int shared = 0;
  for (const auto& [use, found] : cuda_results(GetParam())) {
    for (auto [output, input] : use.def().in_place) {
      if (!(use.types()[static_cast<size_t>(input)] == use.output_types()[static_cast<size_t>(output)])) continue;
      EXPECT_EQ(run_sharing(use, {{output, input}}, GetParam()), found)
          << use.str() << ": output " << output << " in " << input;
      ++shared;
    }
    std::vector<std::pair<int, int>> updates = use.def().updates;
    const size_t operands = use.operands.size();
    std::erase_if(updates, [&](auto pair) { return static_cast<size_t>(pair.second) >= operands; });
    if (updates.empty()) continue;
    EXPECT_EQ(run_sharing(use, updates, GetParam()), found) << use.str();
    ++shared;
  }
  EXPECT_GT(shared, GetParam() == Products::own ? 200 : -1);  // products share none
}

// A mean over nothing is NaN, which equals nothing.
std::vector<double> marked(std::vector<double> numbers) {
  for (double& number : numbers) number = std::isnan(number) ? 1e300 : number;
  return numbers;
}

TEST_P(CudaKernels, RunOnTensorsWithoutElements) {
  for (const UseCase& use : cuda_uses(GetParam())) {
    UseCase empty = use;
    for (Operand& operand : empty.operands) {
      Shape& shape = operand.values.shape;
      for (int d = 0; d < shape.rank(); ++d) shape[d] = shape[d] == 1 ? 1 : 0;  // 1 may have to stay so
    }
    bool fixed = false;  // some attributes fix sizes
    for (const char* name : {"shape", "sizes", "stop", "k", "stride", "size", "output_size"}) {
      fixed = fixed || use.attrs.has(name);
    }
    if (fixed) continue;
    const auto found = run_on_cuda(empty, empty.inputs(), kCudaContext, GetParam());
    const auto right = run_op(empty.def(), empty.attrs, empty.inputs(), kCudaContext);
    for (size_t i = 0; i < right.size(); ++i) {
      // Those of rank 0 have an element all the same.
      EXPECT_EQ(difference(marked(found[i].numbers()), marked(right[i].numbers()), kFloatTolerance), "") << empty.str();
    }
  }
}

TEST(CudaKernelTable, HasAllOps) {
  for (const OpDef& op : all_ops()) {
    if (op.cpu == nullptr) continue;
    EXPECT_TRUE(has_cuda_kernel(op.name)) << op.name;
  }
  EXPECT_TRUE(has_cuda_kernel("pull"));
}

}  // namespace
}  // namespace troupe
