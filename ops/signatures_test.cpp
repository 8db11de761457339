// The signatures that the field knows by family; laws_test.cpp proves that they hold and that none is missing.

#include <gtest/gtest.h>

#include "ops/op.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

using Ints = std::vector<int64_t>;

TensorType f32(Shape shape) { return {DType::f32, shape}; }
TensorType ids(Shape shape) { return {DType::i64, shape}; }

// All but the first, which is all B for every op.
std::string signatures(const char* op, const std::vector<TensorType>& types, const Attrs& attrs = {}, int parts = 2) {
  std::vector<Signature> all = signatures_of(*find_op(op), {types, attrs}, parts);
  all.erase(all.begin());
  return join(all, "; ", [](const Signature& signature) { return signature.str(); });
}

TEST(Signatures, Matmul) {
  EXPECT_EQ(signatures("matmul", {f32({8, 4}), f32({4, 6})}),
            "S(0), B -> S(0); S(1), S(0) -> P; B, S(1) -> S(1); P, B -> P; B, P -> P");
  EXPECT_EQ(signatures("matmul", {f32({8, 4}), f32({6, 4})}, {{"trans_b", int64_t{1}}}),
            "S(0), B -> S(0); S(1), S(1) -> P; B, S(0) -> S(1); P, B -> P; B, P -> P");
  EXPECT_EQ(signatures("matmul", {f32({2, 8, 4}), f32({2, 4, 6})}),
            "S(0), S(0) -> S(0); S(1), B -> S(1); S(2), S(1) -> P; B, S(2) -> S(2); P, B -> P; B, P -> P");
}

TEST(Signatures, LinearIsSplitByRowsByColumnsAndByItsSum) {
  EXPECT_EQ(signatures("linear", {f32({8, 5, 4}), f32({6, 4}), f32({6})}),
            "S(0), B, B -> S(0); S(1), B, B -> S(1); S(2), S(1), P -> P; B, S(0), S(0) -> S(2); P, B, P -> P; "
            "B, P, P -> P");
  EXPECT_EQ(signatures("linear_weight_gradient", {f32({8, 4}), f32({8, 6})}),
            "S(0), S(0) -> P; S(1), B -> S(1); B, S(1) -> S(0); P, B -> P; B, P -> P");
}

TEST(Signatures, EmbeddingIsSplitByIdsByDimAndByRows) {
  EXPECT_EQ(signatures("embedding", {ids({8, 5}), f32({9, 4})}),
            "S(0), B -> S(0); S(1), B -> S(1); B, S(0) -> P; B, S(1) -> S(2); B, P -> P");
  EXPECT_EQ(signatures("embedding_gradient", {ids({8}), f32({8, 4})}, {{"rows", int64_t{9}}}),
            "S(0), S(0) -> P; B, S(1) -> S(1); B, B -> S(0); B, P -> P");
}

TEST(Signatures, ConvolutionsSplitSamplesAndChannelsAndTheirSum) {
  const Attrs attrs = {{"stride", Ints{1, 1}}, {"padding", Ints{1, 1}}, {"dilation", Ints{1, 1}}};
  const TensorType x = f32({8, 4, 5, 5}), grouped = f32({6, 2, 3, 3});
  EXPECT_EQ(signatures("conv2d", {x, f32({6, 4, 3, 3}), f32({6})}, attrs),
            "S(0), B, B -> S(0); S(1), S(1), P -> P; B, S(0), S(0) -> S(1); P, B, P -> P; B, P, P -> P");
  EXPECT_EQ(signatures("conv2d", {x, grouped}, attrs, 2), "S(0), B -> S(0); S(1), S(0) -> S(1); P, B -> P; B, P -> P");
  EXPECT_EQ(signatures("conv2d", {x, grouped}, attrs, 3), "S(0), B -> S(0); P, B -> P; B, P -> P")
      << "three devices cannot share two groups";
  Attrs weight = attrs;
  weight.set("kernel", Ints{3, 3});
  weight.set("group_in", int64_t{0});
  EXPECT_EQ(signatures("conv2d_weight_gradient", {x, f32({8, 6, 5, 5})}, weight),
            "S(0), S(0) -> P; S(1), B -> S(1); B, S(1) -> S(0); P, B -> P; B, P -> P");
  Attrs pool = attrs;
  pool.set("kernel", Ints{3, 3});
  EXPECT_EQ(signatures("max_pool2d", {x}, pool), "S(0) -> S(0); S(1) -> S(1); P(max) -> P(max)");
}

TEST(Signatures, BatchNormSplitsChannelsAndWholePieces) {
  const TensorType x = f32({8, 4, 3, 3}), channels = f32({4});
  const std::string by_channel = "S(1), S(0), S(0) -> S(1), S(1), S(1)";
  EXPECT_EQ(signatures("batch_norm", {x, channels, channels}, {{"eps", 1e-5}}), by_channel);
  EXPECT_EQ(signatures("batch_norm", {x, channels, channels}, {{"eps", 1e-5}, {"samples", int64_t{4}}}, 2),
            "S(0), B, B -> S(0), S(0), S(0); " + by_channel);
  EXPECT_EQ(signatures("channel_sum", {f32({8, 4})}), "S(0) -> P; S(1) -> S(1); P -> P");
}

TEST(Signatures, NormsSplitRowsAndLeaveParameterGradientsPartial) {
  EXPECT_EQ(signatures("layer_norm", {f32({8, 4}), f32({4}), f32({4})}, {{"eps", 1e-5}}),
            "S(0), B, B -> S(0), S(0), S(0)");
  EXPECT_EQ(signatures("layer_norm_gradient", {f32({8, 4}), f32({8, 4}), f32({4}), f32({8}), f32({8})}),
            "S(0), S(0), B, S(0), S(0) -> S(0), P, P; P, B, B, B, B -> P, P, P");
}

TEST(Signatures, SoftmaxSplitsAnyOtherDim) {
  EXPECT_EQ(signatures("softmax", {f32({2, 3, 4})}, {{"dim", int64_t{1}}}), "S(0) -> S(0); S(2) -> S(2)");
}

TEST(Signatures, CrossEntropySplitsRowsAndItsGradientAlsoClasses) {
  EXPECT_EQ(signatures("cross_entropy", {f32({8, 9}), ids({8})}), "S(0), S(0) -> S(0), S(0)");
  EXPECT_EQ(signatures("cross_entropy_gradient", {f32({8, 9}), ids({8}), f32({8}), f32({8})}),
            "S(0), S(0), S(0), S(0) -> S(0); S(1), B, B, B -> S(1); B, B, B, P -> P");
  EXPECT_EQ(signatures("exp_sum", {f32({8, 9}), f32({8})}), "S(0), S(0) -> S(0); S(1), B -> P");
  EXPECT_EQ(signatures("picked_logit", {f32({8, 9}), ids({8})}), "S(0), S(0) -> S(0); S(1), B -> P; P, B -> P");
}

TEST(Signatures, AttentionSplitsBatchHeadsAndQueries) {
  const Attrs attrs = {{"scale", 1.0}};
  const TensorType q = f32({2, 4, 5, 3});
  EXPECT_EQ(
      signatures("attention", {q, q, q}, attrs),
      "S(0), S(0), S(0) -> S(0), S(0); S(1), S(1), S(1) -> S(1), S(1); S(2), B, B -> S(2), S(2); B, B, P -> P, B");
  // Two query heads share a key head: the parts of both must match.
  const TensorType k = f32({2, 2, 5, 3});
  EXPECT_NE(signatures("attention", {q, k, k}, attrs, 2).find("S(1), S(1), S(1)"), std::string::npos);
  EXPECT_EQ(signatures("attention", {q, k, k}, attrs, 4).find("S(1), S(1), S(1)"), std::string::npos);
}

TEST(Signatures, RopeSplitsAllDimsButTheOneOfPairs) {
  const TensorType x = f32({2, 5, 4, 6});
  EXPECT_EQ(signatures("rope", {x}, {{"theta", 1e4}, {"seq_dim", int64_t{1}}}),
            "S(0) -> S(0); S(1) -> S(1); S(2) -> S(2); P -> P");
}

TEST(Signatures, GatedUnitsSplitAnyDimAndAreLinearInUp) {
  const TensorType x = f32({4, 3});
  EXPECT_EQ(signatures("silu", {x}), "S(0) -> S(0); S(1) -> S(1)");
  EXPECT_EQ(signatures("swiglu", {x, x}), "S(0), S(0) -> S(0); S(1), S(1) -> S(1); B, P -> P");
  EXPECT_EQ(signatures("swiglu_gradient", {x, x, x}),
            "S(0), S(0), S(0) -> S(0), S(0); S(1), S(1), S(1) -> S(1), S(1); B, B, P -> P, P; B, P, B -> P, B");
}

TEST(Signatures, SumsPassAddAndOneSideOfMul) {
  const TensorType x = f32({4, 3});
  EXPECT_EQ(signatures("add", {x, x}), "S(0), S(0) -> S(0); S(1), S(1) -> S(1); P, P -> P");
  EXPECT_EQ(signatures("mul", {x, f32({3})}), "S(0), B -> S(0); S(1), S(0) -> S(1); P, B -> P; B, P -> P");
  EXPECT_EQ(signatures("div", {x, x}), "S(0), S(0) -> S(0); S(1), S(1) -> S(1); P, B -> P");
  EXPECT_EQ(signatures("gelu", {x}), "S(0) -> S(0); S(1) -> S(1)");
}

TEST(Signatures, Reductions) {
  const Attrs last = {{"dims", Ints{1}}};
  EXPECT_EQ(signatures("reduce_sum", {f32({4, 3})}, last), "S(0) -> S(0); S(1) -> P; P -> P");
  EXPECT_EQ(signatures("reduce_max", {f32({4, 3})}, last), "S(0) -> S(0); S(1) -> P(max); P(max) -> P(max)");
  EXPECT_EQ(signatures("reduce_min", {f32({4, 3})}, last), "S(0) -> S(0); S(1) -> P(min); P(min) -> P(min)");
  EXPECT_EQ(signatures("row_sum_squares", {f32({4, 3})}), "S(0) -> S(0); S(1) -> P");
  EXPECT_EQ(signatures("row_sum_squares", {f32({2, 4, 3})}), "S(0) -> S(0); S(1) -> S(1); S(2) -> P") << "experts";
  EXPECT_EQ(signatures("row_sum_squares", {f32({4, 3, 2, 2})}), "S(0) -> S(0); S(1) -> P; S(2) -> P; S(3) -> P");
}

TEST(Signatures, ReshapeKeepsSplitsOfLeadingDims) {
  const std::string partial = "; P -> P; P(max) -> P(max); P(min) -> P(min)";
  const auto reshape = [](Shape from, const Ints& to, int parts) {
    return signatures("reshape", {f32(from)}, {{"shape", to}}, parts);
  };
  EXPECT_EQ(reshape({8, 6}, {8, 2, 3}, 2), "S(0) -> S(0); S(1) -> S(1)" + partial);
  EXPECT_EQ(reshape({8, 6}, {8, 2, 3}, 3), "S(0) -> S(0)" + partial) << "3 does not divide 2";
  EXPECT_EQ(reshape({8, 5, 6}, {40, 6}, 4), "S(0) -> S(0); S(2) -> S(1)" + partial);
  EXPECT_EQ(reshape({8, 5, 6}, {40, 6}, 3), "S(2) -> S(1)" + partial) << "3 does not divide 8";
  EXPECT_EQ(reshape({7, 1, 6}, {7, 6}, 3), "S(0) -> S(0); S(2) -> S(1)" + partial) << "an uneven dim that stays";
  // A fused projection cannot be split by heads: they are not the leading dim of [3, heads, 64].
  EXPECT_EQ(reshape({5, 768}, {5, 3, 4, 64}, 4), "S(0) -> S(0)" + partial);
}

TEST(Signatures, UpdatesSplitTheirTensorsAlikeAndKeepScalarsWhole) {
  const TensorType p = f32({4, 3}), scalar = f32({});
  EXPECT_EQ(
      signatures("adamw", {p, p, scalar, scalar, scalar, ids({}), p, p}),
      "S(0), S(0), B, B, B, B, S(0), S(0) -> S(0), S(0), S(0); S(1), S(1), B, B, B, B, S(1), S(1) -> S(1), S(1), S(1)");
  EXPECT_EQ(signatures("tree_sum", {f32({4})}), "");
  EXPECT_EQ(signatures("tree_sum", {f32({4, 3})}, {{"in_parts", int64_t{1}}}), "S(0) -> P; S(1) -> P; P -> P");
}

TEST(Signatures, MovementPassesEveryPartialAndNotTheDimItWorksOn) {
  const std::string partial = "; P -> P; P(max) -> P(max); P(min) -> P(min)";
  EXPECT_EQ(signatures("transpose", {f32({4, 3})}, {{"perm", Ints{1, 0}}}), "S(0) -> S(1); S(1) -> S(0)" + partial);
  EXPECT_EQ(signatures("slice", {f32({4, 3})}, {{"dim", int64_t{1}}, {"start", int64_t{0}}, {"stop", int64_t{2}}}),
            "S(0) -> S(0)" + partial);
  EXPECT_EQ(signatures("expand", {f32({4, 1})}, {{"shape", Ints{4, 3}}}), "S(0) -> S(0); B -> S(1)" + partial);
  EXPECT_EQ(signatures("cast", {f32({4})}, {{"dtype", std::string("f64")}}),
            "S(0) -> S(0); P -> P; P(max) -> P(max); P(min) -> P(min)");
  EXPECT_EQ(signatures("cast", {f32({4})}, {{"dtype", std::string("i64")}}),
            "S(0) -> S(0); P(max) -> P(max); P(min) -> P(min)");
}

}  // namespace
}  // namespace troupe
