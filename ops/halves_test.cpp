#include <gtest/gtest.h>

#include "ops/sequence_parts.h"
#include "ops/test_mesh_run.h"
#include "ops/test_use_cases.h"

namespace troupe {
namespace {

Attrs halves_of(int64_t dim, int64_t parts, int64_t mirrored = 0) {
  return {{"dim", dim}, {"parts", parts}, {"mirrored", mirrored}};
}

std::vector<double> count_to(int64_t n) {
  std::vector<double> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(static_cast<double>(i));
  return numbers;
}

std::vector<HostTensor> halves(const HostTensor& x, const Attrs& attrs) {
  return run_op(*find_op("halves"), attrs, std::span(&x, 1));
}
HostTensor joined(const std::vector<HostTensor>& halves, const Attrs& attrs) {
  return run_op(*find_op("join_halves"), attrs, halves)[0];
}

HostTensor row(int64_t n) {
  HostTensor x({DType::f64, {n}});
  x.set_numbers(count_to(n));
  return x;
}

TEST(Halves, AreTheFirstAndTheSecondOfEveryPart) {
  const std::vector<HostTensor> even = halves(row(8), halves_of(0, 2));
  EXPECT_EQ(even[0].numbers(), (std::vector<double>{0, 1, 4, 5}));
  EXPECT_EQ(even[1].numbers(), (std::vector<double>{2, 3, 6, 7}));
  const std::vector<HostTensor> mirrored = halves(row(8), halves_of(0, 2, 1));
  EXPECT_EQ(mirrored[1].numbers(), (std::vector<double>{6, 7, 2, 3}));
}

TEST(Halves, JoinedMirroredPutAFarSecondHalfBehindEveryFirstOne) {
  EXPECT_EQ(joined(halves(row(8), halves_of(0, 2)), halves_of(0, 2, 1)).numbers(),
            (std::vector<double>{0, 1, 6, 7, 4, 5, 2, 3}));
}

void expect_claims_hold(const UseCase& use, const Mesh& mesh, const std::string& among_them) {
  const std::vector<HostTensor> inputs = use.inputs();
  const std::vector<HostTensor> whole = run_op(use.def(), use.attrs, inputs);
  bool found = false;
  for (const Signature& claim : use.signatures(mesh.size())) {
    found = found || claim.str() == among_them;
    if (has_extreme(claim)) continue;
    const std::vector<Layout> from = layouts_of(mesh, {claim}, false);
    std::vector<Shards> shards;
    for (size_t i = 0; i < inputs.size(); ++i) {
      shards.push_back(scattered(inputs[i].numbers(), inputs[i].type().shape, from[i]));
    }
    const MeshOp op{use.def(), use.attrs, use.output_types(), {}};
    const std::vector<Shards> made = run_on_mesh(op, use.types(), shards, layouts_of(mesh, {claim}, true), mesh);
    for (size_t i = 0; i < made.size(); ++i) {
      EXPECT_EQ(difference(gathered(made[i]), whole[i].numbers(), 1e-12), "") << use.str() << ": " << claim.str();
    }
  }
  EXPECT_TRUE(found) << use.str() << ": " << among_them;
}

// Also where parts are uneven or empty: a part in paired order is as long as it was.
TEST(Halves, OfAnySizePairAndComeBack) {
  for (int64_t n = 0; n < 30; ++n) {
    for (int64_t parts : {1, 2, 3, 4, 7}) {
      const Attrs plain = halves_of(0, parts), mirrored = halves_of(0, parts, 1);
      const HostTensor paired = joined(halves(row(n), plain), mirrored);
      EXPECT_EQ(joined(halves(paired, mirrored), plain).numbers(), count_to(n)) << n << " in " << parts;
      for (int64_t p = 0; p < parts; ++p) {
        const Part part = part_of(n, parts, p);
        const int64_t first = part.size - second_half(n, parts);
        ASSERT_GE(first, 0);
        for (int64_t i = 0; i < first; ++i) {
          const size_t at = static_cast<size_t>(part.offset + i);
          EXPECT_EQ(paired.numbers()[at], static_cast<double>(part.offset + i)) << n << " in " << parts;
        }
      }
    }
  }
}

TEST(Halves, SplitAmongAsManyDevicesAsThereArePartsWithoutCommunication) {
  const Mesh mesh({{"x", 3}});
  for (int64_t mirrored : {0, 1}) {
    const Attrs attrs = halves_of(1, 3, mirrored);
    const std::string second = mirrored != 0 ? "S(1)~" : "S(1)";
    for (int64_t n : {6, 7, 8, 9, 10, 2}) {
      const UseCase cut{"halves", {{{.shape = {4, n, 5}}}}, attrs};
      const std::vector<TensorType> halves = cut.output_types();
      const UseCase join{"join_halves", {{{.shape = halves[0].shape}}, {{.shape = halves[1].shape}}}, attrs};
      expect_claims_hold(cut, mesh, "S(1) -> S(1), " + second);
      expect_claims_hold(join, mesh, "S(1), " + second + " -> S(1)");
    }
  }
}

}  // namespace
}  // namespace troupe
