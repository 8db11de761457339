// Ops whose formula is not obvious, against the formula written out.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "ops/test_use_cases.h"

namespace troupe {
namespace {

using Numbers = std::vector<double>;

// A tensor's elements by index, for formulas.
struct Table {
  Shape shape;
  Numbers numbers;
  double operator()(std::initializer_list<int64_t> index) const { return numbers[place(index)]; }
  double& operator()(std::initializer_list<int64_t> index) { return numbers[place(index)]; }
  size_t place(std::initializer_list<int64_t> index) const {
    int64_t at = 0;
    int d = 0;
    for (int64_t i : index) at = at * shape[d++] + i;
    return static_cast<size_t>(at);
  }
};

Table table(const HostTensor& tensor) { return {tensor.type().shape, tensor.numbers()}; }
Table zeros(const Shape& shape) { return {shape, Numbers(static_cast<size_t>(shape.elements()))}; }

// Calls check(use, inputs, outputs) for every use of the op.
using Check = std::function<void(const UseCase&, const std::vector<Table>&, const std::vector<Table>&)>;
void for_uses(const std::string& op, const Check& check) {
  int uses = 0;
  for (const UseCase& use : use_cases()) {
    if (use.op != op) continue;
    std::vector<Table> inputs, outputs;
    const std::vector<HostTensor> tensors = use.inputs();
    for (const HostTensor& input : tensors) inputs.push_back(table(input));
    for (const HostTensor& output : run_op(use.def(), use.attrs, tensors)) outputs.push_back(table(output));
    check(use, inputs, outputs);
    ++uses;
  }
  EXPECT_GT(uses, 0) << op;
}

void expect_equal(const UseCase& use, const Table& found, const Table& right) {
  EXPECT_EQ(difference(found.numbers, right.numbers, 1e-12), "") << use.str();
}

TEST(Reference, MatmulSumsOverTheInnerDim) {
  for_uses("matmul", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const bool trans_a = use.attrs.integer("trans_a", 0) != 0;
    const bool trans_b = use.attrs.integer("trans_b", 0) != 0;
    // Everything as batched: a batch of one where there is none, the same b where it has none.
    Table a = in[0], b = in[1], y = out[0];
    if (a.shape.rank() == 2) a.shape.insert(0, 1);
    if (y.shape.rank() == 2) y.shape.insert(0, 1);
    const bool one_b = b.shape.rank() == 2;
    if (one_b) b.shape.insert(0, 1);
    Table right = zeros(y.shape);
    const int64_t inner = trans_a ? a.shape[1] : a.shape[2];
    for (int64_t n = 0; n < y.shape[0]; ++n) {
      for (int64_t i = 0; i < y.shape[1]; ++i) {
        for (int64_t j = 0; j < y.shape[2]; ++j) {
          for (int64_t k = 0; k < inner; ++k) {
            const double p = trans_a ? a({n, k, i}) : a({n, i, k});
            const int64_t m = one_b ? 0 : n;
            right({n, i, j}) += p * (trans_b ? b({m, j, k}) : b({m, k, j}));
          }
        }
      }
    }
    expect_equal(use, y, right);
  });
}

TEST(Reference, LinearAddsTheBiasToTheProduct) {
  for_uses("linear", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const int64_t inner = in[1].shape[1];
    const int64_t columns = in[1].shape[0];
    Table right = zeros(out[0].shape);
    for (size_t i = 0; i < right.numbers.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / columns;
      const auto column = static_cast<int64_t>(i) % columns;
      double sum = in.size() > 2 ? in[2].numbers[static_cast<size_t>(column)] : 0;
      for (int64_t k = 0; k < inner; ++k)
        sum += in[0].numbers[static_cast<size_t>(row * inner + k)] * in[1]({column, k});
      right.numbers[i] = sum;
    }
    expect_equal(use, out[0], right);
  });
}

TEST(Reference, EmbeddingTakesRows) {
  for_uses("embedding", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    Table right{out[0].shape, {}};
    for (double id : in[0].numbers) {
      for (int64_t d = 0; d < in[1].shape[1]; ++d) right.numbers.push_back(in[1]({static_cast<int64_t>(id), d}));
    }
    expect_equal(use, out[0], right);
  });
}

TEST(Reference, LayerNormHasZeroMeanAndUnitVarianceBeforeScaleAndShift) {
  for_uses("layer_norm", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const auto n = static_cast<size_t>(in[1].shape[0]);
    Table y{out[0].shape, {}}, mean{out[1].shape, {}}, rstd{out[2].shape, {}};
    for (size_t row = 0; row < in[0].numbers.size(); row += n) {
      const auto begin = in[0].numbers.begin() + static_cast<std::ptrdiff_t>(row);
      const double m = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(n), 0.0) / static_cast<double>(n);
      double variance = 0;
      for (size_t i = 0; i < n; ++i)
        variance += (begin[static_cast<std::ptrdiff_t>(i)] - m) * (begin[static_cast<std::ptrdiff_t>(i)] - m) /
                    static_cast<double>(n);
      mean.numbers.push_back(m);
      rstd.numbers.push_back(1 / std::sqrt(variance + use.attrs.number("eps")));
      for (size_t i = 0; i < n; ++i) {
        y.numbers.push_back((in[0].numbers[row + i] - m) * rstd.numbers.back() * in[1].numbers[i] + in[2].numbers[i]);
      }
    }
    expect_equal(use, out[0], y);
    expect_equal(use, out[1], mean);
    expect_equal(use, out[2], rstd);
  });
}

TEST(Reference, RmsNormDividesByTheRootOfTheMeanSquare) {
  for_uses("rms_norm", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const auto n = static_cast<size_t>(in[1].shape[0]);
    Table y{out[0].shape, {}};
    for (size_t row = 0; row < in[0].numbers.size(); row += n) {
      double square = 0;
      for (size_t i = 0; i < n; ++i) square += in[0].numbers[row + i] * in[0].numbers[row + i];
      const double rstd = 1 / std::sqrt(square / static_cast<double>(n) + use.attrs.number("eps"));
      for (size_t i = 0; i < n; ++i) y.numbers.push_back(in[0].numbers[row + i] * rstd * in[1].numbers[i]);
    }
    expect_equal(use, out[0], y);
  });
}

TEST(Reference, SoftmaxSumsToOneOverItsDim) {
  for (const char* op : {"softmax", "log_softmax"}) {
    for_uses(op, [&](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
      const auto dim = static_cast<int>(use.attrs.integer("dim"));
      const Shape shape = in[0].shape;
      Shape sums_shape = shape;
      sums_shape[dim] = 1;
      Table sums = zeros(sums_shape), right = zeros(shape);
      const auto sum_at = [&](int64_t i, int64_t j, int64_t k) -> double& {
        return sums({dim == 0 ? 0 : i, dim == 1 ? 0 : j, dim == 2 ? 0 : k});
      };
      for (bool summing : {true, false}) {
        for (int64_t i = 0; i < shape[0]; ++i) {
          for (int64_t j = 0; j < shape[1]; ++j) {
            for (int64_t k = 0; k < shape[2]; ++k) {
              const double e = std::exp(in[0]({i, j, k}));
              if (summing) {
                sum_at(i, j, k) += e;
              } else {
                right({i, j, k}) = op[0] == 'l' ? std::log(e / sum_at(i, j, k)) : e / sum_at(i, j, k);
              }
            }
          }
        }
      }
      expect_equal(use, out[0], right);
    });
  }
}

// Row by row: which part of the tensor it is in, and its place in the sequence.
struct Query {
  int64_t part;
  int64_t place;
};

int64_t part_index(int64_t row, int64_t size, int64_t parts) {
  int64_t part = 0;
  while (part_of(size, parts, part).offset + part_of(size, parts, part).size <= row) ++part;
  return part;
}

std::vector<Query> queries_of(const Attrs& attrs, int64_t size) {
  const int64_t parts = attrs.integer("parts", 1);
  std::vector<Query> order;
  const int64_t second = (size / parts + 1) / 2;
  for (int64_t p = 0; p < parts; ++p) {
    const bool paired = attrs.integer("paired", 0) != 0;
    const Part own = part_of(size, parts, p);
    const Part far = part_of(size, parts, parts - 1 - p);
    for (int64_t i = 0; i < own.size - (paired ? second : 0); ++i) order.push_back({p, own.offset + i});
    for (int64_t i = far.size - second; paired && i < far.size; ++i) order.push_back({p, far.offset + i});
  }
  return order;
}

TEST(Reference, AttentionAveragesValuesBySoftmaxOfScores) {
  for_uses("attention", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const bool heads_first = use.attrs.integer("seq_dim") == 2;
    const auto at = [&](const Table& x, int64_t n, int64_t h, int64_t s, int64_t d) {
      return heads_first ? x({n, h, s, d}) : x({n, s, h, d});
    };
    const int64_t heads = in[0].shape[heads_first ? 1 : 2];
    const int64_t group = heads / in[1].shape[heads_first ? 1 : 2];
    const int64_t queries = in[0].shape[heads_first ? 2 : 1];
    const int64_t keys = in[1].shape[heads_first ? 2 : 1];
    const std::vector<Query> order = queries_of(use.attrs, queries);
    const int64_t parts = use.attrs.integer("parts", 1);
    const int64_t shift = use.attrs.integer("shift", -1);
    const auto sees = [&](const Query& query, int64_t key) {
      if (use.attrs.integer("causal") != 0 && key > query.place) return false;
      return shift < 0 || (query.part - part_index(key, keys, parts) - shift) % parts == 0;
    };
    Table right = zeros(out[0].shape), lse = zeros(out[1].shape);
    for (int64_t n = 0; n < in[0].shape[0]; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < queries; ++i) {
          Numbers weights;
          for (int64_t j = 0; j < keys; ++j) {
            double score = 0;
            for (int64_t d = 0; d < in[0].shape[3]; ++d) score += at(in[0], n, h, i, d) * at(in[1], n, h / group, j, d);
            const bool hidden = !sees(order[static_cast<size_t>(i)], j) || (in.size() > 3 && in[3]({n, 0, 0, j}) == 0);
            weights.push_back(hidden ? 0 : std::exp(score * use.attrs.number("scale")));
          }
          const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
          lse({n, h, i}) = std::log(sum);
          for (int64_t d = 0; d < in[0].shape[3]; ++d) {
            double value = 0;
            for (int64_t j = 0; j < keys; ++j) value += weights[static_cast<size_t>(j)] * at(in[2], n, h / group, j, d);
            value = sum > 0 ? value / sum : 0;
            (heads_first ? right({n, h, i, d}) : right({n, i, h, d})) = value;
          }
        }
      }
    }
    expect_equal(use, out[0], right);
    expect_equal(use, out[1], lse);
  });
}

TEST(Reference, RopeTurnsPairsByAnAngleThatGrowsWithThePlace) {
  for_uses("rope", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const Shape& shape = in[0].shape;
    const auto seq = static_cast<int>(use.attrs.integer("seq_dim", 2));
    const auto half = static_cast<size_t>(shape.back() / 2);
    int64_t rows_per_place = 1;
    for (int d = seq + 1; d < shape.rank() - 1; ++d) rows_per_place *= shape[d];
    Table right = in[0];
    for (size_t row = 0; row < right.numbers.size() / (2 * half); ++row) {
      const int64_t place = static_cast<int64_t>(row) / rows_per_place % shape[seq];
      for (size_t j = 0; j < half; ++j) {
        const double power = -static_cast<double>(j) / static_cast<double>(half);
        const double angle = static_cast<double>(place) * std::pow(use.attrs.number("theta"), power) *
                             (use.attrs.integer("inverse", 0) != 0 ? -1 : 1);
        double& a = right.numbers[2 * half * row + j];
        double& b = right.numbers[2 * half * row + j + half];
        const double before = a;
        a = before * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + before * std::sin(angle);
      }
    }
    expect_equal(use, out[0], right);
  });
}

TEST(Reference, SwigluIsTheProductOfSiluOfTheGateAndUp) {
  for_uses("swiglu", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    Table right = in[0];
    for (size_t i = 0; i < right.numbers.size(); ++i) {
      right.numbers[i] *= in[1].numbers[i] / (1 + std::exp(-in[0].numbers[i]));
    }
    expect_equal(use, out[0], right);
  });
}

TEST(Reference, CrossEntropyIsTheNegativeLogLikelihoodOfTheLabel) {
  for_uses("cross_entropy", [](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    const auto classes = static_cast<size_t>(in[0].shape.back());
    Table loss{out[0].shape, {}}, lse{out[1].shape, {}};
    for (size_t row = 0; row < in[1].numbers.size(); ++row) {
      double sum = 0;
      for (size_t c = 0; c < classes; ++c) sum += std::exp(in[0].numbers[row * classes + c]);
      const auto label = static_cast<int64_t>(in[1].numbers[row]);
      lse.numbers.push_back(std::log(sum));
      const bool ignored = label == use.attrs.integer("ignore_index", -100);
      loss.numbers.push_back(ignored ? 0 : std::log(sum) - in[0].numbers[row * classes + static_cast<size_t>(label)]);
    }
    expect_equal(use, out[0], loss);
    expect_equal(use, out[1], lse);
  });
}

// y[i] = f(x[i]).
void expect_function(const std::string& op, double (*f)(double, const Attrs&)) {
  for_uses(op, [&](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
    Table right = in[0];
    for (double& number : right.numbers) number = f(number, use.attrs);
    expect_equal(use, out[0], right);
  });
}

TEST(Reference, FunctionsOfOneTensor) {
  expect_function("gelu", [](double x, const Attrs& attrs) {
    if (attrs.integer("approximate", 0) == 0) return x / 2 * (1 + std::erf(x / std::sqrt(2)));
    return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  });
  expect_function("relu", [](double x, const Attrs&) { return std::max(x, 0.0); });
  expect_function("tanh", [](double x, const Attrs&) { return std::tanh(x); });
  expect_function("sigmoid", [](double x, const Attrs&) { return 1 / (1 + std::exp(-x)); });
  expect_function("silu", [](double x, const Attrs&) { return x / (1 + std::exp(-x)); });
  expect_function("exp", [](double x, const Attrs&) { return std::exp(x); });
  expect_function("log", [](double x, const Attrs&) { return std::log(x); });
  expect_function("sqrt", [](double x, const Attrs&) { return std::sqrt(x); });
  expect_function("rsqrt", [](double x, const Attrs&) { return 1 / std::sqrt(x); });
  expect_function("neg", [](double x, const Attrs&) { return -x; });
  expect_function("abs", [](double x, const Attrs&) { return std::abs(x); });
  expect_function("sign", [](double x, const Attrs&) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; });
  expect_function("cos", [](double x, const Attrs&) { return std::cos(x); });
  expect_function("sin", [](double x, const Attrs&) { return std::sin(x); });
  expect_function("square", [](double x, const Attrs&) { return x * x; });
  expect_function("add_scalar", [](double x, const Attrs& a) { return x + a.number("value"); });
  expect_function("mul_scalar", [](double x, const Attrs& a) { return x * a.number("value"); });
  expect_function("rsub_scalar", [](double x, const Attrs& a) { return a.number("value") - x; });
  expect_function("rdiv_scalar", [](double x, const Attrs& a) { return a.number("value") / x; });
  expect_function("pow_scalar", [](double x, const Attrs& a) { return std::pow(x, a.number("value")); });
  expect_function("minimum_scalar", [](double x, const Attrs& a) { return std::min(x, a.number("value")); });
  expect_function("maximum_scalar", [](double x, const Attrs& a) { return std::max(x, a.number("value")); });
}

TEST(Reference, ReductionsOverDims) {
  for (const std::string op : {"reduce_sum", "reduce_mean", "reduce_max", "reduce_min"}) {
    for_uses(op, [&](const UseCase& use, const std::vector<Table>& in, const std::vector<Table>& out) {
      const std::vector<int64_t>& dims = use.attrs.integers("dims");
      const auto kept = [&](int d) { return std::find(dims.begin(), dims.end(), d) == dims.end(); };
      Shape shape = in[0].shape;
      for (int d = 0; d < shape.rank(); ++d) shape[d] = kept(d) ? shape[d] : 1;
      Table right = zeros(shape);
      const double start = op == "reduce_max" ? -1e9 : op == "reduce_min" ? 1e9 : 0;
      std::fill(right.numbers.begin(), right.numbers.end(), start);
      const double share = static_cast<double>(shape.elements()) / static_cast<double>(in[0].shape.elements());
      for (int64_t i = 0; i < in[0].shape[0]; ++i) {
        for (int64_t j = 0; j < in[0].shape[1]; ++j) {
          for (int64_t k = 0; k < in[0].shape[2]; ++k) {
            double& y = right({kept(0) ? i : 0, kept(1) ? j : 0, kept(2) ? k : 0});
            const double x = in[0]({i, j, k});
            y = op == "reduce_max"   ? std::max(y, x)
                : op == "reduce_min" ? std::min(y, x)
                                     : y + x * (op == "reduce_mean" ? share : 1);
          }
        }
      }
      EXPECT_EQ(difference(out[0].numbers, right.numbers, 1e-12), "") << use.str();
    });
  }
}

}  // namespace
}  // namespace troupe
