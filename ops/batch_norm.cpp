#include "ops/batch_norm.h"

#include <algorithm>

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/error.h"

namespace troupe {

int64_t samples_per_piece(const Attrs& attrs, const Shape& x) {
  const int64_t samples = attrs.integer("samples", 0);
  return std::max<int64_t>(samples == 0 ? x[0] : samples, 1);
}

Shape statistics_shape(const OpArgs& args, int x) {
  if (!args.attrs.has("samples")) return {1, args.shape(x)[1]};
  const int64_t samples = samples_per_piece(args.attrs, args.shape(x));
  return {(args.shape(x)[0] + samples - 1) / samples, args.shape(x)[1]};
}

double statistics_count(const Attrs& attrs, const Shape& x) {
  double count = static_cast<double>(samples_per_piece(attrs, x));
  for (int d = 2; d < x.rank(); ++d) count *= static_cast<double>(x[d]);
  return count;
}

void expect_samples(const OpArgs& args, int x, const char* name) {
  expect_float(args, x, name);
  expect_rank(args, x, name, 2);
  const int64_t samples = samples_per_piece(args.attrs, args.shape(x));
  if (args.shape(x)[0] < samples || args.shape(x)[0] % samples == 0) return;
  throw PlanError(operand_text(args, x, name) + ", but its " + std::to_string(args.shape(x)[0]) +
                  " samples must be a multiple of the " + std::to_string(samples) + " of a piece");
}

void expect_statistics(const OpArgs& args, int operand, const char* name, int x) {
  expect_same_dtype(args, x, "x", operand, name);
  expect_shape(args, operand, name, statistics_shape(args, x),
               "one per piece and channel, and " + operand_text(args, x, "x"));
}

void expect_channels(const OpArgs& args, int operand, const char* name, int x) {
  expect_same_dtype(args, x, "x", operand, name);
  expect_shape(args, operand, name, {args.shape(x)[1]}, "one per channel, and " + operand_text(args, x, "x"));
}

bool splits_between_pieces(const OpArgs& args, int x, int parts) { return statistics_shape(args, x)[0] % parts == 0; }

SampleNames::SampleNames(int rank) : x("n c") {
  for (int d = 2; d < rank; ++d) {
    x += " d" + std::to_string(d);
    notes += ", !d" + std::to_string(d);
  }
}

namespace define {
namespace {

std::vector<TensorType> infer_batch_norm(const OpArgs& args) {
  expect_operands(args, 3);
  expect_samples(args, 0, "x");
  expect_channels(args, 1, "scale", 0);
  expect_channels(args, 2, "shift", 0);
  const TensorType statistics{args.inputs[0].dtype, statistics_shape(args, 0)};
  return {args.inputs[0], statistics, statistics};
}

// Statistics couple the samples of a piece: only whole pieces and channels can be split.
std::string without_samples(const OpArgs& args, int x, int parts) {
  return splits_between_pieces(args, x, parts) ? "" : ", !n";
}

std::vector<Signature> forward_signatures(const OpArgs& args, int parts) {
  const SampleNames names(args.rank(0));
  return signatures_from(
      with_notes(names.x + ", c, c -> " + names.x + ", n c, n c", names.notes + without_samples(args, 0, parts)));
}

std::vector<ValueId> backward(GradientBuilder& g) {
  if (g.gradient(1).valid() || g.gradient(2).valid()) {
    throw PlanError("only y has a gradient; mean and rstd are kept for the backward pass and for running statistics");
  }
  return g.add_all("batch_norm_gradient", {g.gradient(), g.input(0), g.input(1), g.output(1), g.output(2)}, g.attrs());
}

// For samples of a piece that lie on several devices: their sums are partial.
std::vector<ValueId> decompose_forward(GradientBuilder& g) {
  const ValueId x = g.input(0);
  const Attrs share = {{"value", 1.0 / statistics_count(g.attrs(), g.type(x).shape)}};
  const ValueId mean = g.add("mul_scalar", {g.add("channel_sum", {x}, g.attrs())}, share);
  const ValueId variance = g.add("mul_scalar", {g.add("channel_square_sum", {x, mean}, g.attrs())}, share);
  const ValueId rstd = g.add("rsqrt", {g.add("add_scalar", {variance}, {{"value", g.attrs().number("eps")}})});
  return {g.add("channel_normalize", {x, mean, rstd, g.input(1), g.input(2)}, g.attrs()), mean, rstd};
}

void forward_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &y = args.outputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::batch_norm_forward<T>(run.samples, y.as<T>() + run.first, row_of<T>(args.outputs[1], run),
                                 row_of<T>(args.outputs[2], run), x.as<T>() + run.first, args.inputs[1].as<T>(),
                                 args.inputs[2].as<T>(), args.attrs->number("eps"));
    });
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 5);
  expect_samples(args, 1, "x");
  expect_same_type(args, 0, "dy", 1, "x");
  expect_channels(args, 2, "scale", 1);
  expect_statistics(args, 3, "mean", 1);
  expect_statistics(args, 4, "rstd", 1);
  return {args.inputs[0], args.inputs[2], args.inputs[2]};
}

// Every piece adds to dscale and dshift, so a split of the pieces leaves them partial.
std::vector<Signature> gradient_signatures(const OpArgs& args, int parts) {
  const SampleNames names(args.rank(1));
  return signatures_from(names.x + ", " + names.x + ", c, n c, n c -> " + names.x + ", c, c; linear(0)" + names.notes +
                         without_samples(args, 1, parts));
}

std::vector<ValueId> decompose_gradient(GradientBuilder& g) {
  const ValueId dy = g.input(0), x = g.input(1), mean = g.input(3), rstd = g.input(4);
  const ValueId dy_sum = g.add("channel_sum", {dy}, g.attrs());
  const ValueId dyh_sum = g.add("channel_product_sum", {dy, x, mean, rstd}, g.attrs());
  const auto over_pieces = [&](ValueId sum) {
    return g.add("reduce_sum", {sum}, {{"dims", std::vector<int64_t>{0}}, {"keep", int64_t{0}}});
  };
  const ValueId dx = g.add("batch_norm_input_gradient", {dy, x, g.input(2), mean, rstd, dy_sum, dyh_sum}, g.attrs());
  return {dx, over_pieces(dyh_sum), over_pieces(dy_sum)};
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &x = args.inputs[1];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* dscale = args.outputs[1].as<T>();
    T* dshift = args.outputs[2].as<T>();
    std::fill_n(dscale, x.shape[1], T(0));
    std::fill_n(dshift, x.shape[1], T(0));
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::batch_norm_backward<T>(run.samples, args.outputs[0].as<T>() + run.first, dscale, dshift,
                                  dy.as<T>() + run.first, x.as<T>() + run.first, args.inputs[2].as<T>(),
                                  row_of<T>(args.inputs[3], run), row_of<T>(args.inputs[4], run));
    });
  });
}

}  // namespace

OpDef batch_norm() {
  return {.name = "batch_norm",
          .inputs = {"x", "scale", "shift"},
          .outputs = {"y", "mean", "rstd"},
          .doc =
              "y = (x - mean) rstd scale + shift over all dims of x[n, c, ..] but the channels, with rstd = 1 / "
              "sqrt(variance + eps); each `samples` samples that follow one another have their own mean and rstd.",
          .signatures = forward_signatures,
          .infer = infer_batch_norm,
          .gradient = backward,
          .decompose = decompose_forward,
          .cpu = forward_cpu,
          .in_place = {{0, 0}}};
}

OpDef batch_norm_gradient() {
  return {
      .name = "batch_norm_gradient",
      .inputs = {"dy", "x", "scale", "mean", "rstd"},
      .outputs = {"dx", "dscale", "dshift"},
      .doc =
          "With h = (x - mean) rstd: dx = scale rstd (dy - mean(dy) - h mean(dy h)), dscale = sum of dy h, dshift = "
          "sum of dy.",
      .signatures = gradient_signatures,
      .infer = infer_gradient,
      .decompose = decompose_gradient,
      .cpu = gradient_cpu,
      .in_place = {{0, 0}}};
}

}  // namespace define
}  // namespace troupe
