#include "sbp/laws.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/error.h"
#include "sbp/rule.h"

namespace troupe {
namespace {

using Tensors = std::vector<LawTensor>;

int64_t extent(const LawTensor& tensor, int dim) { return tensor.box.extent[dim]; }

double& at(LawTensor& tensor, int64_t i, int64_t j) {
  return tensor.data[static_cast<size_t>(i * extent(tensor, 1) + j)];
}
double at(const LawTensor& tensor, int64_t i, int64_t j) {
  return tensor.data[static_cast<size_t>(i * extent(tensor, 1) + j)];
}

// Applies fn to every pair of elements of two tensors of one box.
template <class Fn>
LawOp pointwise(Fn fn) {
  return [fn](const Tensors& in, Tensors& out) {
    if (in[0].box.extent != in[1].box.extent || in[0].box.extent != out[0].box.extent) return false;
    for (size_t i = 0; i < out[0].data.size(); ++i) out[0].data[i] = fn(in[0].data[i], in[1].data[i]);
    return true;
  };
}

template <class Fn>
LawOp pointwise_of_one(Fn fn) {
  return [fn](const Tensors& in, Tensors& out) {
    if (in[0].box.extent != out[0].box.extent) return false;
    for (size_t i = 0; i < out[0].data.size(); ++i) out[0].data[i] = fn(in[0].data[i]);
    return true;
  };
}

bool matmul(const Tensors& in, Tensors& out) {
  const int64_t m = extent(in[0], 0), k = extent(in[0], 1), n = extent(in[1], 1);
  if (extent(in[1], 0) != k || out[0].box.extent != Shape{m, n}) return false;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t x = 0; x < k; ++x) at(out[0], i, j) += at(in[0], i, x) * at(in[1], x, j);
    }
  }
  return true;
}

// y = x w^T + b
bool linear(const Tensors& in, Tensors& out) {
  const int64_t m = extent(in[0], 0), k = extent(in[0], 1), n = extent(in[1], 0);
  if (extent(in[1], 1) != k || extent(in[2], 0) != n || out[0].box.extent != Shape{m, n}) return false;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      at(out[0], i, j) = in[2].data[static_cast<size_t>(j)];
      for (int64_t x = 0; x < k; ++x) at(out[0], i, j) += at(in[0], i, x) * at(in[1], j, x);
    }
  }
  return true;
}

template <class Fn>
LawOp reduce_rows(double start, Fn fn) {
  return [start, fn](const Tensors& in, Tensors& out) {
    if (out[0].box.extent != Shape{extent(in[0], 0)}) return false;
    for (int64_t i = 0; i < extent(in[0], 0); ++i) {
      double value = start;
      for (int64_t j = 0; j < extent(in[0], 1); ++j) value = fn(value, at(in[0], i, j));
      out[0].data[static_cast<size_t>(i)] = value;
    }
    return true;
  };
}

bool softmax(const Tensors& in, Tensors& out) {
  if (in[0].box.extent != out[0].box.extent) return false;
  for (int64_t i = 0; i < extent(in[0], 0); ++i) {
    double sum = 0;
    for (int64_t j = 0; j < extent(in[0], 1); ++j) sum += std::exp(at(in[0], i, j));
    for (int64_t j = 0; j < extent(in[0], 1); ++j) at(out[0], i, j) = std::exp(at(in[0], i, j)) / sum;
  }
  return true;
}

// Rows that lie on another device give zeros: the op must know where its part of the table lies.
bool embedding(const Tensors& in, Tensors& out) {
  if (out[0].box.extent != Shape{extent(in[0], 0), extent(in[1], 1)}) return false;
  for (int64_t i = 0; i < extent(in[0], 0); ++i) {
    const auto row = static_cast<int64_t>(in[0].data[static_cast<size_t>(i)]) - in[1].box.offset[0];
    if (row < 0 || row >= extent(in[1], 0)) continue;
    for (int64_t j = 0; j < extent(in[1], 1); ++j) at(out[0], i, j) = at(in[1], row, j);
  }
  return true;
}

// The sum of the gradients of each row; a device makes the rows of its own box.
bool embedding_gradient(const Tensors& in, Tensors& out) {
  if (extent(in[0], 0) != extent(in[1], 0) || extent(out[0], 1) != extent(in[1], 1)) return false;
  for (int64_t i = 0; i < extent(in[0], 0); ++i) {
    const auto row = static_cast<int64_t>(in[0].data[static_cast<size_t>(i)]) - out[0].box.offset[0];
    if (row < 0 || row >= extent(out[0], 0)) continue;
    for (int64_t j = 0; j < extent(in[1], 1); ++j) at(out[0], row, j) += at(in[1], i, j);
  }
  return true;
}

bool transpose(const Tensors& in, Tensors& out) {
  if (out[0].box.extent != Shape{extent(in[0], 1), extent(in[0], 0)}) return false;
  for (int64_t i = 0; i < extent(in[0], 0); ++i) {
    for (int64_t j = 0; j < extent(in[0], 1); ++j) at(out[0], j, i) = at(in[0], i, j);
  }
  return true;
}

bool where(const Tensors& in, Tensors& out) {
  for (const LawTensor& tensor : in) {
    if (tensor.box.extent != out[0].box.extent) return false;
  }
  for (size_t i = 0; i < out[0].data.size(); ++i) {
    out[0].data[i] = in[0].data[i] != 0 ? in[1].data[i] : in[2].data[i];
  }
  return true;
}

// Two outputs that a rule tells apart: the centred rows, and the sum of each column over the rows.
bool centred_and_column_sums(const Tensors& in, Tensors& out) {
  if (out[0].box.extent != in[0].box.extent || out[1].box.extent != Shape{extent(in[0], 1)}) return false;
  for (int64_t i = 0; i < extent(in[0], 0); ++i) {
    double mean = 0;
    for (int64_t j = 0; j < extent(in[0], 1); ++j) mean += at(in[0], i, j) / static_cast<double>(extent(in[0], 1));
    for (int64_t j = 0; j < extent(in[0], 1); ++j) {
      at(out[0], i, j) = at(in[0], i, j) - mean;
      out[1].data[static_cast<size_t>(j)] += at(in[0], i, j) * at(in[0], i, j);
    }
  }
  return true;
}

std::string findings(const LawOp& op, std::string_view rule, const std::vector<LawCase>& cases,
                     bool max_and_min = true) {
  return check_laws(op, signatures_of(parse_rule(rule)), cases, {.max_and_min = max_and_min}).str();
}

const std::vector<LawCase> kMatmul = {{{{{4, 5}}, {{5, 7}}}, {{4, 7}}}, {{{{7, 4}}, {{4, 5}}}, {{7, 5}}}};
const std::vector<LawCase> kTwoAlike = {{{{{4, 5}}, {{4, 5}}}, {{4, 5}}}, {{{{7, 5}}, {{7, 5}}}, {{7, 5}}}};
const std::vector<LawCase> kOne = {{{{{4, 5}}}, {{4, 5}}}, {{{{7, 5}}}, {{7, 5}}}};

TEST(Laws, RulesClaimExactlyWhatHolds) {
  EXPECT_EQ(findings(matmul, "m k, k n -> m n; linear", kMatmul), "");
  // A maximum would also pass through the bias; rules claim P(max) and P(min) of movement and increasing ops
  // only.
  EXPECT_EQ(findings(linear, "m k, n k, n -> m n; linear, added(2)", {{{{{4, 5}}, {{7, 5}}, {{7}}}, {{4, 7}}}}, false),
            "");
  EXPECT_EQ(findings(softmax, "i j -> i j; !j", kOne), "");
  EXPECT_EQ(findings(transpose, "i j -> j i; movement", {{{{{4, 5}}}, {{5, 4}}}}), "");
  EXPECT_EQ(findings(centred_and_column_sums, "i j -> i j, j; !j", {{{{{4, 5}}}, {{4, 5}, {5}}}}), "");
}

TEST(Laws, PointwiseRulesClaimExactlyWhatHolds) {
  const LawOp mul = pointwise([](double a, double b) { return a * b; });
  const LawOp div = pointwise([](double a, double b) { return a / b; });
  EXPECT_EQ(findings(mul, "i j, i j -> i j; linear", kTwoAlike), "");
  const LawInput denominator{.shape = {4, 5}, .least = 0.3};
  EXPECT_EQ(findings(div, "i j, i j -> i j; linear(0)", {{{{{4, 5}}, denominator}, {{4, 5}}}}), "");
  EXPECT_EQ(findings(pointwise_of_one([](double x) { return std::tanh(x); }), "i j -> i j; increasing", kOne), "");
  EXPECT_EQ(findings(pointwise_of_one([](double x) { return std::abs(x); }), "i j -> i j", kOne), "");
  EXPECT_EQ(findings(pointwise_of_one([](double x) { return 3 * x; }), "i j -> i j; linear, increasing", kOne), "");
  const LawInput condition{.shape = {4, 5}, .integers_below = 2};
  EXPECT_EQ(
      findings(where, "i j, i j, i j -> i j; additive(1 2)", {{{condition, {{4, 5}}, {{4, 5}}}, {{4, 5}}}}, false), "");
}

TEST(Laws, ReductionRulesClaimExactlyWhatHolds) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<LawCase> cases = {{{{{4, 5}}}, {{4}}}, {{{{7, 5}}}, {{7}}}};
  const auto sum = reduce_rows(0, [](double a, double b) { return a + b; });
  const auto most = reduce_rows(-infinity, [](double a, double b) { return std::max(a, b); });
  const auto least = reduce_rows(infinity, [](double a, double b) { return std::min(a, b); });
  EXPECT_EQ(findings(sum, "i k -> i; linear", cases), "");
  EXPECT_EQ(findings(most, "i k -> i; max", cases), "");
  EXPECT_EQ(findings(least, "i k -> i; min", cases), "");
}

TEST(Laws, OpsThatKnowWhereTheirPartLiesSplitIndexedDims) {
  const LawInput ids{.shape = {5}, .integers_below = 7};
  EXPECT_EQ(findings(embedding, "t, v d -> t d; linear(1)", {{{ids, {{7, 4}}}, {{5, 4}}}}, false), "");
  EXPECT_EQ(findings(embedding_gradient, "t, t d -> v d; linear(1)", {{{ids, {{5, 4}}}, {{7, 4}}}}, false), "");
  const LawOp count_up = [](const Tensors&, Tensors& out) {
    for (size_t i = 0; i < out[0].data.size(); ++i) out[0].data[i] = static_cast<double>(out[0].box.offset[0]) + i;
    return true;
  };
  EXPECT_EQ(findings(count_up, "* -> n", {{{{{}}}, {{7}}}}, false).find("claimed but wrong"), std::string::npos);
}

TEST(Laws, AWrongClaimIsReportedWithItsCase) {
  const LawReport report =
      check_laws(softmax, {{{B}, {B}}, {{S(0)}, {S(0)}}, {{S(1)}, {S(1)}}}, {{{{{4, 5}}}, {{4, 5}}}});
  ASSERT_EQ(report.wrong.size(), 1u);
  EXPECT_EQ(report.wrong[0].signature.str(), "S(1) -> S(1)");
  EXPECT_TRUE(report.str().starts_with("claimed but wrong: S(1) -> S(1) (inputs [4,5] over 3 devices: element 0 of"))
      << report.str();
  EXPECT_TRUE(report.unclaimed.empty());
}

TEST(Laws, AMissingClaimIsReported) {
  EXPECT_EQ(findings(matmul, "m k, k n -> m n", kMatmul),
            "valid but not claimed: B, P -> P\nvalid but not claimed: P, B -> P\n");
  EXPECT_EQ(findings(matmul, "m k, k n -> m n; linear, !n", kMatmul), "valid but not claimed: B, S(1) -> S(1)\n");
}

TEST(Laws, AWholeOperandAddedToAPartialOneIsWrong) {
  const LawOp add = pointwise([](double a, double b) { return a + b; });
  EXPECT_EQ(findings(add, "i j, i j -> i j; additive", kTwoAlike, false), "");
  const std::string wrong = findings(add, "i j, i j -> i j; additive, linear", kTwoAlike, false);
  EXPECT_NE(wrong.find("claimed but wrong: P, B -> P"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("claimed but wrong: B, P -> P"), std::string::npos) << wrong;
}

TEST(Laws, ABiasThatIsWholeWhereTheProductIsPartialIsWrong) {
  const std::string wrong = findings(linear, "m k, n k, n -> m n", {{{{{4, 5}}, {{7, 5}}, {{7}}}, {{4, 7}}}}, false);
  EXPECT_NE(wrong.find("claimed but wrong: S(1), S(1), B -> P"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("valid but not claimed: S(1), S(1), P -> P"), std::string::npos) << wrong;
}

TEST(Laws, AnIncreasingFunctionIsToldFromADecreasingOne) {
  const std::string wrong = findings(pointwise_of_one([](double x) { return -x; }), "i j -> i j; increasing", kOne);
  EXPECT_NE(wrong.find("claimed but wrong: P(max) -> P(max)"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("valid but not claimed: P(max) -> P(min)"), std::string::npos) << wrong;
}

TEST(Laws, AClaimThatDoesNotFitTheOpIsWrongNotACrash) {
  const LawInput ids{.shape = {5}, .integers_below = 7};
  const LawReport report =
      check_laws(embedding, {{{P, B}, {P}}, {{B, S(2)}, {B}}, {{B}, {B}}}, {{{ids, {{7, 4}}}, {{5, 4}}}});
  ASSERT_EQ(report.wrong.size(), 3u);
  EXPECT_EQ(report.wrong[0].why, "indices cannot be partial");
  EXPECT_EQ(report.wrong[1].why, "input 1 lacks the dim");
  EXPECT_EQ(report.wrong[2].why, "the op has 2 inputs and 1 outputs");
}

TEST(Laws, AnOpThatCannotRunAtAllIsRefused) {
  EXPECT_THROW(check_laws(matmul, {}, {{{{{4, 5}}, {{4, 5}}}, {{4, 5}}}}), PlanError);
}

}  // namespace
}  // namespace troupe
