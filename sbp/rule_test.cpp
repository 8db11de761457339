#include "sbp/rule.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

using Texts = std::vector<std::string>;

// All signatures but the first, which is all B for every op.
Texts signatures(std::string_view rule) {
  const std::vector<Signature> all = signatures_of(parse_rule(rule));
  Texts texts;
  for (const Signature& signature : all) texts.push_back(signature.str());
  for (const Sbp& sbp : all.at(0).inputs) EXPECT_EQ(sbp, B);
  for (const Sbp& sbp : all.at(0).outputs) EXPECT_EQ(sbp, B);
  texts.erase(texts.begin());
  return texts;
}

std::string error_of(std::string_view rule) {
  try {
    parse_rule(rule);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

TEST(Rule, Matmul) {
  EXPECT_EQ(signatures("m k, k n -> m n; linear"),
            (Texts{"S(0), B -> S(0)", "S(1), S(0) -> P", "B, S(1) -> S(1)", "P, B -> P", "B, P -> P"}));
}

TEST(Rule, BatchedMatmulSplitsEveryBatchDim) {
  EXPECT_EQ(signatures("x y m k, x y k n -> x y m n; linear"),
            (Texts{"S(0), S(0) -> S(0)", "S(1), S(1) -> S(1)", "S(2), B -> S(2)", "S(3), S(2) -> P", "B, S(3) -> S(3)",
                   "P, B -> P", "B, P -> P"}));
}

TEST(Rule, ABiasIsPartialWhereTheProductIs) {
  EXPECT_EQ(signatures("b t i, o i, o -> b t o; linear, added(2)"),
            (Texts{"S(0), B, B -> S(0)", "S(1), B, B -> S(1)", "S(2), S(1), P -> P", "B, S(0), S(0) -> S(2)",
                   "P, B, P -> P", "B, P, P -> P"}));
}

TEST(Rule, ConvolutionAndItsGradients) {
  EXPECT_EQ(signatures("n c h w, o c r s -> n o p q; linear, !h, !w, !r, !s, !p, !q"),
            (Texts{"S(0), B -> S(0)", "S(1), S(1) -> P", "B, S(0) -> S(1)", "P, B -> P", "B, P -> P"}));
  const Texts weight = signatures("n c h w, n o p q -> o c r s; !h, !w, !r, !s, !p, !q");
  EXPECT_EQ(weight, (Texts{"S(0), S(0) -> P", "S(1), B -> S(1)", "B, S(1) -> S(0)"}));
  EXPECT_EQ(signatures("n o p q -> o; linear, !p, !q"), (Texts{"S(0) -> P", "S(1) -> S(0)", "P -> P"}));
}

TEST(Rule, LayerNormSplitsWhatItDoesNotNormalise) {
  EXPECT_EQ(signatures("b t h, h, h -> b t h, b t, b t; !h"),
            (Texts{"S(0), B, B -> S(0), S(0), S(0)", "S(1), B, B -> S(1), S(1), S(1)"}));
}

TEST(Rule, AnOutputThatLacksASplitNameOfAnInputIsPartial) {
  // The gradients of layer norm: dx is split with x, those of scale and shift are partial.
  EXPECT_EQ(signatures("b t h, b t h, h -> b t h, h, h; !h"),
            (Texts{"S(0), S(0), B -> S(0), P, P", "S(1), S(1), B -> S(1), P, P"}));
}

TEST(Rule, SoftmaxSplitsAnyOtherDim) {
  EXPECT_EQ(signatures("b h t s -> b h t s; !s"), (Texts{"S(0) -> S(0)", "S(1) -> S(1)", "S(2) -> S(2)"}));
}

TEST(Rule, EmbeddingAndItsGradient) {
  EXPECT_EQ(signatures("b t, v d -> b t d; linear(1)"),
            (Texts{"S(0), B -> S(0)", "S(1), B -> S(1)", "B, S(0) -> P", "B, S(1) -> S(2)", "B, P -> P"}));
  EXPECT_EQ(signatures("b t, v d -> b t d; !v"), (Texts{"S(0), B -> S(0)", "S(1), B -> S(1)", "B, S(1) -> S(2)"}));
  // v is new in the output: every device makes its own rows from the whole gradient.
  EXPECT_EQ(signatures("b t, b t d -> v d; linear(1)"),
            (Texts{"S(0), S(0) -> P", "S(1), S(1) -> P", "B, S(2) -> S(1)", "B, B -> S(0)", "B, P -> P"}));
}

TEST(Rule, IndexSelectAndGather) {
  EXPECT_EQ(signatures("j v, n -> j n; linear(0)"),
            (Texts{"S(0), B -> S(0)", "S(1), B -> P", "B, S(0) -> S(1)", "P, B -> P"}));
  EXPECT_EQ(signatures("j v, j n -> j n; linear(0)"),
            (Texts{"S(0), S(0) -> S(0)", "S(1), B -> P", "B, S(1) -> S(1)", "P, B -> P"}));
}

TEST(Rule, CrossEntropySplitsSamples) { EXPECT_EQ(signatures("n c, n -> n; !c"), (Texts{"S(0), S(0) -> S(0)"})); }

TEST(Rule, AddMulAndDiv) {
  EXPECT_EQ(signatures("i j, i j -> i j; additive"), (Texts{"S(0), S(0) -> S(0)", "S(1), S(1) -> S(1)", "P, P -> P"}));
  EXPECT_EQ(signatures("i j, i j -> i j; linear"),
            (Texts{"S(0), S(0) -> S(0)", "S(1), S(1) -> S(1)", "P, B -> P", "B, P -> P"}));
  EXPECT_EQ(signatures("i j, i j -> i j; linear(0)"), (Texts{"S(0), S(0) -> S(0)", "S(1), S(1) -> S(1)", "P, B -> P"}));
}

TEST(Rule, ADimThatBroadcastsIsNeverSplit) {
  EXPECT_EQ(signatures("b t h, 1 1 h -> b t h; linear"),
            (Texts{"S(0), B -> S(0)", "S(1), B -> S(1)", "S(2), S(2) -> S(2)", "P, B -> P", "B, P -> P"}));
}

TEST(Rule, Reductions) {
  EXPECT_EQ(signatures("i k -> i; linear"), (Texts{"S(0) -> S(0)", "S(1) -> P", "P -> P"}));
  EXPECT_EQ(signatures("i k -> i; max"), (Texts{"S(0) -> S(0)", "S(1) -> P(max)", "P(max) -> P(max)"}));
  EXPECT_EQ(signatures("i k -> i; min"), (Texts{"S(0) -> S(0)", "S(1) -> P(min)", "P(min) -> P(min)"}));
}

TEST(Rule, MovementPassesEveryPartial) {
  EXPECT_EQ(signatures("i j -> j i; movement"),
            (Texts{"S(0) -> S(1)", "S(1) -> S(0)", "P -> P", "P(max) -> P(max)", "P(min) -> P(min)"}));
  EXPECT_EQ(signatures("i x, i y -> i z; movement, !x, !y, !z"),
            (Texts{"S(0), S(0) -> S(0)", "P, P -> P", "P(max), P(max) -> P(max)", "P(min), P(min) -> P(min)"}));
}

TEST(Rule, PointwiseOpsPassWhatTheirMonotonyAllows) {
  EXPECT_EQ(signatures("i -> i"), (Texts{"S(0) -> S(0)"}));
  EXPECT_EQ(signatures("i -> i; increasing"), (Texts{"S(0) -> S(0)", "P(max) -> P(max)", "P(min) -> P(min)"}));
}

TEST(Rule, WherePassesPartialBranchesUnderAWholeCondition) {
  EXPECT_EQ(signatures("i, i, i -> i; additive(1 2)"), (Texts{"S(0), S(0), S(0) -> S(0)", "B, P, P -> P"}));
}

TEST(Rule, AttentionSplitsBatchHeadsAndQueries) {
  EXPECT_EQ(signatures("b h s d, b h t d, b h t d -> b h s d; !d, !t"),
            (Texts{"S(0), S(0), S(0) -> S(0)", "S(1), S(1), S(1) -> S(1)", "S(2), B, B -> S(2)"}));
}

TEST(Rule, BatchNormSplitsChannels) {
  EXPECT_EQ(signatures("n c h w, c, c -> n c h w; !n, !h, !w"), (Texts{"S(1), S(0), S(0) -> S(1)"}));
}

TEST(Rule, AnUpdateSplitsAllItsTensorsAlikeAndKeepsScalarsWhole) {
  EXPECT_EQ(signatures("i j, i j, i j, . -> i j, i j"),
            (Texts{"S(0), S(0), S(0), B -> S(0), S(0)", "S(1), S(1), S(1), B -> S(1), S(1)"}));
}

TEST(Rule, SumOfSquaresIsPartial) { EXPECT_EQ(signatures("i j -> ."), (Texts{"S(0) -> P", "S(1) -> P"})); }

TEST(Rule, ANewDimIsCutFromWholeInputs) {
  EXPECT_EQ(signatures(". -> n"), (Texts{"B -> S(0)"}));
  EXPECT_EQ(signatures(". -> n, ."), (Texts{"B -> S(0), B"}));
}

TEST(Rule, AWholeOnlyOperandStaysWhole) {
  EXPECT_EQ(signatures("i, * -> i; linear"), (Texts{"S(0), B -> S(0)", "P, B -> P"}));
  EXPECT_EQ(signatures("i, * -> i, *; additive"), (Texts{"S(0), B -> S(0), B"}));
}

TEST(Rule, ParsesIntoNames) {
  const Rule rule = parse_rule("  b 1,. ->*;movement( 0 1 ) , !b");
  EXPECT_EQ(rule.inputs.at(0).dims, (Texts{"b", "1"}));
  EXPECT_TRUE(rule.inputs.at(1).dims.empty());
  EXPECT_TRUE(rule.outputs.at(0).whole_only);
  EXPECT_EQ(rule.notes, (Texts{"movement(0 1)", "!b"}));
}

TEST(Rule, WhatDoesNotParseIsShownWithItsPlace) {
  EXPECT_EQ(error_of("m k, k n > m n"), "rule 'm k, k n > m n': at character 9: '->' or ',' is expected");
  EXPECT_EQ(error_of("i -> i; liner"),
            "rule 'i -> i; liner': at character 13: 'liner' is no note; linear, additive, increasing, "
            "movement, max, "
            "min, added(i) or !name are possible");
  EXPECT_EQ(error_of("i -> i; linear(1)"),
            "rule 'i -> i; linear(1)': at character 16: '1' is no operand; 0 to 0 are possible, separated by "
            "spaces");
  EXPECT_EQ(error_of("i -> i; !j"), "rule 'i -> i; !j': at character 10: '!j' names no dim of the rule");
  EXPECT_NE(error_of("i i -> i").find("named twice"), std::string::npos);
  EXPECT_NE(error_of("i, -> i").find("an operand is expected"), std::string::npos);
  EXPECT_NE(error_of("i -> i; linear max").find("',' is expected"), std::string::npos);
  EXPECT_NE(error_of("i, i -> i; increasing").find("speaks of one operand, the rule has 2"), std::string::npos);
  EXPECT_NE(error_of("i -> i; added").find("must name its operand"), std::string::npos);
}

}  // namespace
}  // namespace troupe
