// The laws of signatures with CUDA kernels: box the inputs, run the parts, unbox: the result is that of one device.

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/test_mesh_run.h"
#include "ops/test_use_cases.h"
#include "tests/cuda/attention_uses.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

const RunContext kContext{.key = 7, .firing = {.step = 2, .seed = 3}};
constexpr double kTolerance = 1e-9;

Mesh mesh_of(int size) { return Mesh({{"axis", size}}); }

std::vector<std::vector<double>> on_mesh(const UseCase& use, const Mesh& mesh, const Signature& signature,
                                         Products products) {
  const std::vector<TensorType> types = use.types();
  const std::vector<HostTensor> inputs = use.inputs();
  const std::vector<Layout> from = layouts_of(mesh, {signature}, false);
  std::vector<Shards> shards;
  for (size_t i = 0; i < inputs.size(); ++i) {
    shards.push_back(scattered(inputs[i].numbers(), types[i].shape, from[i]));
  }
  const MeshOp op{use.def(), use.attrs, use.output_types(), on_cuda(kContext, products)};
  std::vector<std::vector<double>> result;
  for (const Shards& output : run_on_mesh(op, types, shards, layouts_of(mesh, {signature}, true), mesh)) {
    result.push_back(gathered(output));
  }
  return result;
}

void check(const UseCase& use, int devices, Products products) {
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, use.inputs(), kContext);
  for (const Signature& signature : use.signatures(devices)) {
    if (has_extreme(signature)) continue;
    const auto outputs = on_mesh(use, mesh_of(devices), signature, products);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const double tolerance = whole[i].type().dtype == DType::f32 ? 1e-5 : kTolerance;
      EXPECT_EQ(difference(outputs[i], whole[i].numbers(), tolerance), "")
          << use.str() << " output " << i << " on " << devices << ": " << signature.str();
    }
  }
}

using CudaMeshLaws = ForProducts;
INSTANTIATE_TEST_SUITE_P(Products, CudaMeshLaws, kAllProducts, name_of_products);

TEST_P(CudaMeshLaws, SignaturesHoldOnOneAxis) {
  for (const UseCase& use : cuda_use_cases(GetParam())) check(use, 3, GetParam());
}

TEST_P(CudaMeshLaws, SignaturesHoldWherePartsAreEmpty) {
  for (const UseCase& use : cuda_use_cases(GetParam())) check(use, 9, GetParam());
}

// Where neither inputs nor outputs are partial sums.
void check_bits(const UseCase& use, Products products) {
  const auto is_partial = [](Sbp sbp) { return sbp.is_partial(); };
  const std::vector<HostTensor> whole = run_on_cuda(use, use.inputs(), kContext, products);
  for (const Signature& signature : use.signatures(3)) {
    if (std::any_of(signature.inputs.begin(), signature.inputs.end(), is_partial) ||
        std::any_of(signature.outputs.begin(), signature.outputs.end(), is_partial)) {
      continue;
    }
    const auto outputs = on_mesh(use, mesh_of(3), signature, products);
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(difference(outputs[i], whole[i].numbers(), 0), "") << use.str() << ": " << signature.str();
    }
  }
}

// What keeps the loss the same with and without sharded optimizers. The bits of cuBLASLt's products depend on their shapes,
// which only those of the optimizers have whole in every part.
TEST_P(CudaMeshLaws, SplitsGiveTheBitsOfTheWhole) {
  for (const UseCase& use : cuda_use_cases(GetParam())) {
    if (GetParam() == Products::cublas_lt && use.op != "newton_schulz") continue;
    check_bits(use.in_f32(), GetParam());
  }
}

// In f16, whose last place shows more of the order of sums than that of bf16.
TEST(CudaMeshLawsOfAttention, SplitsOnTensorCoresGiveTheBitsOfTheWhole) {
  for (const UseCase& use : tensor_attention_uses()) check_bits(use.in_low(DType::f16), Products::own);
}

}  // namespace
}  // namespace troupe
