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

// Runs `trials` combinations of a use's signatures on a mesh, all of them if there are not more.
void check_on_mesh(const UseCase& use, const Mesh& mesh, size_t trials) {
  const std::vector<TensorType> types = use.types();
  const std::vector<HostTensor> inputs = use.inputs();
  const RunContext context{.key = 7, .firing = {.step = 2, .seed = 3}};
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, inputs, context);
  const auto combinations = combinations_of(use.def(), {types, use.attrs}, mesh);
  Random random(static_cast<uint64_t>(mesh.size()));
  const bool all = combinations.size() <= trials;
  for (size_t trial = 0; trial < std::min(trials, combinations.size()); ++trial) {
    const size_t choice = all ? trial : static_cast<size_t>(random.below(static_cast<int64_t>(combinations.size())));
    const std::vector<Signature>& chosen = combinations[choice];
    const std::vector<Layout> from = layouts_of(mesh, chosen, false);
    std::vector<Shards> shards;
    for (size_t i = 0; i < inputs.size(); ++i) {
      shards.push_back(scattered(inputs[i].numbers(), types[i].shape, from[i]));
    }
    const MeshOp op{use.def(), use.attrs, use.output_types(), context};
    const std::vector<Shards> outputs = run_on_mesh(op, types, shards, layouts_of(mesh, chosen, true), mesh);
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(difference(gathered(outputs[i]), whole[i].numbers(), tolerance_of(whole[i].type())), "")
          << use.str() << " output " << i << " on " << mesh.str() << ": " << text_of(chosen);
    }
  }
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

}  // namespace
}  // namespace troupe
