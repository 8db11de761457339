// Ops and whole gradient graphs on meshes: box the inputs, run the shards, unbox: the result is that of one device.

#include <gtest/gtest.h>

#include "ops/test_mesh_run.h"
#include "ops/test_use_cases.h"
#include "runtime/base/random.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr double kTolerance = 1e-9;

double tolerance_of(const TensorType& type) { return type.dtype == DType::f32 ? 1e-5 : kTolerance; }

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

// Runs `trials` combinations of a use's signatures on a mesh, all of them if there are not more.
void check_on_mesh(const UseCase& use, const Mesh& mesh, size_t trials) {
  const std::vector<TensorType> types = use.types();
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, use.inputs(), kContext);
  const auto combinations = combinations_of(use.def(), {types, use.attrs}, mesh);
  Random random(static_cast<uint64_t>(mesh.size()));
  const bool all = combinations.size() <= trials;
  for (size_t trial = 0; trial < std::min(trials, combinations.size()); ++trial) {
    const size_t choice = all ? trial : static_cast<size_t>(random.below(static_cast<int64_t>(combinations.size())));
    const auto outputs = on_mesh(use, mesh, combinations[choice]);
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(difference(outputs[i], whole[i].numbers(), tolerance_of(whole[i].type())), "")
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
  return op == "matmul" || op.starts_with("linear") || op.starts_with("attention");
}

TEST(MeshLaws, SignaturesHoldOnOneAxis) {
  for (const UseCase& use : use_cases()) {
    for (int devices : {2, 4}) check_on_mesh(use, mesh_of({devices}), 1000);
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
TEST(MeshLaws, SplitsGiveTheBitsOfTheWholeInFloat32) {
  for (const UseCase& use : use_cases()) {
    if (is_product(use.op)) continue;
    const UseCase single = use.in_f32();
    const std::vector<HostTensor> whole = run_op(single.def(), single.attrs, single.inputs(), kContext);
    for (const Signature& signature : single.signatures(3)) {
      if (!only_splits(signature)) continue;
      const auto outputs = on_mesh(single, mesh_of({3}), {signature});
      for (size_t i = 0; i < outputs.size(); ++i) {
        EXPECT_EQ(difference(outputs[i], whole[i].numbers(), 0), "") << single.str() << ": " << signature.str();
      }
    }
  }
}

}  // namespace
}  // namespace troupe
