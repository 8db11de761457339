// Ops and whole gradient graphs on meshes: box the inputs, run the shards, unbox: the result is that of one device.

#include <gtest/gtest.h>

#include "ops/test_mesh_run.h"
#include "ops/test_use_cases.h"
#include "runtime/base/random.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr double kTolerance = 1e-9;

// What bfloat16 loses where a result lies in addends on devices: each is rounded by at most 1/256 of itself, and
// together they are at most some 8 in size. Of float16 it is 1/2048.
constexpr double kBFloat16Tolerance = 8.0 / 256;
constexpr double kFloat16Tolerance = 8.0 / 2048;

double tolerance_of(const UseCase& use, const TensorType& type) {
  for (const Operand& operand : use.operands) {
    if (operand.dtype == DType::bf16) return kBFloat16Tolerance;
    if (operand.dtype == DType::f16) return kFloat16Tolerance;
  }
  return type.dtype == DType::f32 ? 1e-5 : kTolerance;
}

Mesh mesh_of(std::vector<int> sizes) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < sizes.size(); ++i) axes.push_back({"axis" + std::to_string(i), sizes[i]});
  return Mesh(axes);
}

std::string text_of(const std::vector<Signature>& per_axis) {
  return join(per_axis, " x ", [](const Signature& signature) { return signature.str(); });
}

const RunContext kContext{.key = 7, .firing = {.step = 2, .seed = 3}};

// The outputs of a use on shards, as whole tensors.
std::vector<std::vector<double>> on_mesh(const UseCase& use, const Mesh& mesh, const std::vector<Signature>& chosen) {
  const std::vector<TensorType> types = use.types();
  const std::vector<HostTensor> inputs = use.inputs();
  const std::vector<Layout> from = layouts_of(mesh, chosen, false);
  std::vector<Shards> shards;
  for (size_t i = 0; i < inputs.size(); ++i) {
    shards.push_back(scattered(inputs[i].numbers(), types[i].shape, from[i]));
  }
  const MeshOp op{use.def(), use.attrs, use.output_types(), kContext};
  std::vector<std::vector<double>> result;
  for (const Shards& output : run_on_mesh(op, types, shards, layouts_of(mesh, chosen, true), mesh)) {
    result.push_back(gathered(output));
  }
  return result;
}

bool has_partial_operand(const std::vector<Signature>& per_axis) {
  return std::any_of(per_axis.begin(), per_axis.end(), [](const Signature& signature) {
    return std::any_of(signature.inputs.begin(), signature.inputs.end(), [](Sbp sbp) { return sbp.is_partial(); });
  });
}

// Runs `trials` combinations of a use's signatures on a mesh, all of them if there are not more.
void check_on_mesh(const UseCase& use, const Mesh& mesh, size_t trials, bool partial_operands = true) {
  const std::vector<TensorType> types = use.types();
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, use.inputs(), kContext);
  auto combinations = combinations_of(use.def(), {types, use.attrs}, mesh);
  if (!partial_operands) std::erase_if(combinations, has_partial_operand);
  Random random(static_cast<uint64_t>(mesh.size()));
  const bool all = combinations.size() <= trials;
  for (size_t trial = 0; trial < std::min(trials, combinations.size()); ++trial) {
    const size_t choice = all ? trial : static_cast<size_t>(random.below(static_cast<int64_t>(combinations.size())));
    const auto outputs = on_mesh(use, mesh, combinations[choice]);
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(difference(outputs[i], whole[i].numbers(), tolerance_of(use, whole[i].type())), "")
          << use.str() << " output " << i << " on " << mesh.str() << ": " << text_of(combinations[choice]);
    }
  }
}

// Nothing is summed over devices.
bool only_splits(const Signature& signature) {
  const auto partial = [](Sbp sbp) { return sbp.is_partial(); };
  return std::none_of(signature.inputs.begin(), signature.inputs.end(), partial) &&
         std::none_of(signature.outputs.begin(), signature.outputs.end(), partial);
}

// Matrix products are blocked by shape, so their bits may depend on it.
bool is_product(const std::string& op) {
  for (const char* product : {"matmul", "linear", "expert_linear", "attention", "conv2d"}) {
    if (op.starts_with(product)) return true;
  }
  return false;
}

TEST(MeshLaws, SignaturesHoldOnOneAxis) {
  for (const UseCase& use : use_cases()) {
    for (int devices : {2, 4}) check_on_mesh(use, mesh_of({devices}), 1000);
  }
}

// That sums pass is algebra, which float64 shows; here the addends of an operand would be rounded before the op sees
// them.
TEST(MeshLaws, SignaturesHoldInLowPrecision) {
  for (const UseCase& use : use_cases()) {
    if (!use.takes_low()) continue;
    for (DType low : {DType::bf16, DType::f16}) {
      for (int devices : {2, 4, 9}) check_on_mesh(use.in_low(low), mesh_of({devices}), 1000, false);
      check_on_mesh(use.in_low(low), mesh_of({2, 2}), 60, false);
    }
  }
}

TEST(MeshLaws, SignaturesHoldWherePartsAreEmpty) {
  for (const UseCase& use : use_cases()) check_on_mesh(use, mesh_of({9}), 1000);
}

TEST(MeshLaws, ProductsOfSignaturesHoldOnTwoAxes) {
  for (const UseCase& use : use_cases()) {
    check_on_mesh(use, mesh_of({2, 2}), 60);
    check_on_mesh(use, mesh_of({2, 3}), 40);
  }
}

// What keeps the loss the same with and without sharded optimizers.
void expect_bits_of_the_whole(const UseCase& use) {
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, use.inputs(), kContext);
  for (const Signature& signature : use.signatures(3)) {
    if (!only_splits(signature)) continue;
    const auto outputs = on_mesh(use, mesh_of({3}), {signature});
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(difference(outputs[i], whole[i].numbers(), 0), "") << use.str() << ": " << signature.str();
    }
  }
}

TEST(MeshLaws, SplitsGiveTheBitsOfTheWholeInFloat32AndLower) {
  for (const UseCase& use : use_cases()) {
    if (is_product(use.op)) continue;
    expect_bits_of_the_whole(use.in_f32());
    if (!use.takes_low()) continue;
    for (DType low : {DType::bf16, DType::f16}) expect_bits_of_the_whole(use.in_low(low));
  }
}

}  // namespace
}  // namespace troupe
