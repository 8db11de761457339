// Adafactor (Shazeer and Stern 2018), the semantics of torch.optim.Adafactor: of a matrix's second moment only the
// means of its rows and columns are kept. Sums that cross the parameter are ops of their own, so that boxing can stand
// between.

#include <algorithm>
#include <cmath>

#include "ops/cpu/factored.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/optimizer.h"
#include "ops/rules.h"
#include "runtime/base/text.h"

namespace troupe::define {
namespace {

Shape without(Shape shape, int dim) {
  shape.erase(dim);
  return shape;
}

std::string names_without(int rank, int dim) {
  std::string names;
  for (int d = 0; d < rank; ++d) {
    if (d != dim) names += (names.empty() ? "d" : " d") + std::to_string(d);
  }
  return names.empty() ? "." : names;
}

std::vector<TensorType> infer_mean_squares(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  return {{args.inputs[0].dtype, without(args.shape(0), dim_of(args, "x"))}};
}

std::string mean_squares_rule(const OpArgs& args) {
  return dim_names(args.rank(0)) + " -> " + names_without(args.rank(0), dim_of(args, "x"));
}

// Divides by the size of the whole dim, so that the parts of a split one add up to the mean.
void mean_squares_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const int dim = static_cast<int>(args.attrs->integer("dim"));
  int64_t outer = 1;
  int64_t inner = 1;
  for (int d = 0; d < x.shape.rank(); ++d) {
    if (d < dim) outer *= x.shape[d];
    if (d > dim) inner *= x.shape[d];
  }
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = args.outputs[0].as<T>();
    if (dim == x.shape.rank() - 1)
      return cpu::mean_squares_of_rows<T>(y, x.as<T>(), outer, x.shape[dim], x.logical[dim]);
    cpu::mean_squares_of_columns<T>(y, x.as<T>(), outer, x.shape[dim], inner, x.logical[dim]);
  });
}

std::vector<TensorType> infer_moment(const OpArgs& args) {
  expect_operands(args, 5);
  expect_float(args, 0, "v");
  expect_same_type(args, 0, "v", 1, "x");
  expect_float_scalar(args, 2, "scale");
  expect_float_scalar(args, 3, "ok");
  expect_step(args, 4);
  return {args.inputs[0]};
}

std::string moment_rule(const OpArgs& args) {
  const std::string v = dim_names(args.rank(0));
  return v + ", " + v + ", ., ., . -> " + v;
}

void moment_cpu(const KernelArgs& args, Stream&) {
  start_from(args, {{0, 0}});
  if (scalar_of(args.inputs[3]) == 0) return;
  const double scale = scalar_of(args.inputs[2]);
  const double step = static_cast<double>(*args.inputs[4].as<int64_t>() + 1);
  const TensorView& v = args.outputs[0];
  with_float(v.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::moving_mean<T>(v.as<T>(), args.inputs[1].as<T>(), v.elements(), args.attrs->integer("square", 0) != 0,
                        scale * scale, std::pow(step, args.attrs->number("beta2_decay")));
  });
}

bool is_factored(size_t operands) { return operands > 3; }

std::vector<TensorType> infer_direction(const OpArgs& args) {
  expect_operands(args, 3);
  expect_float(args, 0, "g");
  expect_float_scalar(args, 1, "scale");
  if (!is_factored(args.inputs.size())) {
    expect_same_type(args, 0, "g", 2, "v");
    return {args.inputs[0]};
  }
  expect_operands(args, 5);
  expect_rank(args, 0, "g", 2);
  const int last = args.rank(0) - 1;
  const Shape row = without(args.shape(0), last);
  const std::string why = "and " + operand_text(args, 0, "g");
  expect_shape(args, 2, "v", row, "one per row of g, " + why);
  expect_shape(args, 3, "column", without(args.shape(0), last - 1), "one per column of g, " + why);
  expect_shape(args, 4, "row_mean", without(row, last - 1), "one per matrix of g, " + why);
  for (auto [operand, name] : {std::pair{2, "v"}, {3, "column"}, {4, "row_mean"}}) {
    expect_same_dtype(args, 0, "g", operand, name);
  }
  return {args.inputs[0]};
}

std::string direction_rule(const OpArgs& args) {
  const int rank = args.rank(0);
  const std::string g = dim_names(rank);
  if (!is_factored(args.inputs.size())) return g + ", ., " + g + " -> " + g;
  return g + ", ., " + dim_names(rank - 1) + ", " + names_without(rank, rank - 2) + ", " + dim_names(rank - 2) +
         " -> " + g;
}

void direction_cpu(const KernelArgs& args, Stream&) {
  const TensorView& g = args.inputs[0];
  const double scale = scalar_of(args.inputs[1]);
  const double eps = args.attrs->number("eps");
  with_float(g.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* u = args.outputs[0].as<T>();
    if (!is_factored(args.inputs.size())) {
      return cpu::adafactor_direction<T>(u, g.as<T>(), args.inputs[2].as<T>(), g.elements(), scale, eps);
    }
    const int last = g.shape.rank() - 1;
    cpu::factored_direction<T>(u, g.as<T>(), args.inputs[2].as<T>(), args.inputs[3].as<T>(), args.inputs[4].as<T>(),
                               args.inputs[4].elements(), g.shape[last - 1], g.shape[last], scale, eps);
  });
}

std::vector<TensorType> infer_rate(const OpArgs& args) {
  expect_operands(args, 4);
  expect_float_scalar(args, 0, "lr");
  expect_step(args, 1);
  expect_float_scalar(args, 2, "p_squares");
  expect_same_type(args, 2, "p_squares", 3, "u_squares");
  return {args.inputs[2]};
}

void rate_cpu(const KernelArgs& args, Stream&) {
  const auto elements = static_cast<double>(args.attrs->integer("elements"));
  const double step = static_cast<double>(*args.inputs[1].as<int64_t>() + 1);
  const double p = std::sqrt(scalar_of(args.inputs[2]) / elements);
  const double u = std::sqrt(scalar_of(args.inputs[3]) / elements);
  const double most = std::min(scalar_of(args.inputs[0]), 1.0 / std::sqrt(step));
  const double rate = most * std::max(args.attrs->number("eps"), p) / std::max(1.0, u / args.attrs->number("d"));
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    *args.outputs[0].as<T>() = static_cast<T>(rate);
  });
}

}  // namespace

OpDef mean_squares() {
  return {.name = "mean_squares",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = the mean of x^2 over the dim `dim`.",
          .rule_of = mean_squares_rule,
          .infer = infer_mean_squares,
          .cpu = mean_squares_cpu};
}

OpDef adafactor_moment() {
  return {
      .name = "adafactor_moment",
      .inputs = {"v", "x", "scale", "ok", "step"},
      .outputs = {"v"},
      .doc =
          "v + t^beta2_decay (x scale^2 - v) after `step` = t - 1 updates, with square=1 x^2 in place of x; v where "
          "ok is 0.",
      .rule_of = moment_rule,
      .infer = infer_moment,
      .cpu = moment_cpu,
      .updates = {{0, 0}}};
}

OpDef adafactor_direction() {
  return {.name = "adafactor_direction",
          .inputs = {"g", "scale", "v", "column", "row_mean"},
          .outputs = {"u"},
          .doc =
              "u = g scale / sqrt(max(v, eps^2)); with column and row_mean v is the rows' factor of the second moment "
              "v column / max(row_mean, eps).",
          .rule_of = direction_rule,
          .infer = infer_direction,
          .cpu = direction_cpu,
          .in_place = {{0, 0}}};
}

OpDef adafactor_rate() {
  return {.name = "adafactor_rate",
          .inputs = {"lr", "step", "p_squares", "u_squares"},
          .outputs = {"rate"},
          .doc =
              "rate = min(lr, 1 / sqrt(t)) max(eps, rms(p)) / max(1, rms(u) / d) at t = step + 1, from the sums of the "
              "squares of `elements` elements.",
          .rule = "., ., ., . -> .",
          .infer = infer_rate,
          .cpu = rate_cpu};
}

}  // namespace troupe::define
