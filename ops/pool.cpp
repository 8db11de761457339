// Pools over the last two dims of x[n,c,h,w].

#include "ops/cpu/pool.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace troupe::define {
namespace {

Windows windows_of(const Attrs& attrs) {
  const Windows windows = Windows::of(attrs, pair_attr(attrs, "kernel"));
  for (size_t d = 0; d < 2; ++d) {
    if (2 * windows.padding[d] <= windows.kernel[d]) continue;
    throw PlanError("padding is " + std::to_string(windows.padding[d]) +
                    ", but may be at most half the kernel, which is " + std::to_string(windows.kernel[d]));
  }
  return windows;
}

cpu::MovingWindows moving_windows(const Attrs& attrs, const Shape& x, const Shape& y) {
  const Windows windows = windows_of(attrs);
  return {.in_size = size_of_plane(x),
          .out_size = size_of_plane(y),
          .kernel = windows.kernel,
          .stride = windows.stride,
          .padding = windows.padding,
          .dilation = windows.dilation,
          .padding_counts = attrs.integer("count_padding", 1) != 0};
}

int64_t planes_of(const TensorView& x) { return x.shape[0] * x.shape[1]; }

Shape with_plane(const Shape& shape, Pair plane) { return {shape[0], shape[1], plane[0], plane[1]}; }

std::vector<TensorType> infer_pool(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  expect_planes(args, 0, "x");
  const Pair plane = windows_of(args.attrs).count(size_of_plane(args.shape(0)), operand_text(args, 0, "x"));
  return {{args.inputs[0].dtype, with_plane(args.shape(0), plane)}};
}

std::string forward_rule(const OpArgs& args, const char* notes) {
  const PlaneNames names(windows_of(args.attrs));
  return "n c " + names.before + " -> n c " + names.after + notes + names.notes;
}

std::vector<ValueId> max_gradient(GradientBuilder& g) {
  return {g.add("max_pool2d_gradient", {g.gradient(), g.input(0)}, g.attrs())};
}

void max_pool_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &y = args.outputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::max_pool<T>(moving_windows(*args.attrs, x.shape, y.shape), planes_of(x), y.as<T>(), x.as<T>());
  });
}

std::vector<TensorType> infer_max_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "dy");
  expect_same_dtype(args, 0, "dy", 1, "x");
  expect_planes(args, 1, "x");
  const Pair plane = windows_of(args.attrs).count(size_of_plane(args.shape(1)), operand_text(args, 1, "x"));
  expect_shape(args, 0, "dy", with_plane(args.shape(1), plane),
               "one per window of x, and " + operand_text(args, 1, "x"));
  return {args.inputs[1]};
}

void max_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &x = args.inputs[1];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::max_pool_gradient<T>(moving_windows(*args.attrs, x.shape, dy.shape), planes_of(x), args.outputs[0].as<T>(),
                              dy.as<T>(), x.as<T>());
  });
}

std::vector<int64_t> plane_of_input(GradientBuilder& g) {
  const Pair size = size_of_plane(g.type(g.input(0)).shape);
  return {size[0], size[1]};
}

std::vector<ValueId> average_gradient(GradientBuilder& g) {
  Attrs attrs = g.attrs();
  attrs.set("size", plane_of_input(g));
  return {g.add("avg_pool2d_gradient", {g.gradient()}, attrs)};
}

void average_pool_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &y = args.outputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::average_pool<T>(moving_windows(*args.attrs, x.shape, y.shape), planes_of(x), y.as<T>(), x.as<T>());
  });
}

std::vector<TensorType> infer_average_gradient(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "dy");
  expect_planes(args, 0, "dy");
  const Pair size = pair_attr(args.attrs, "size");
  const Pair plane = windows_of(args.attrs).count(size, "size is given");
  expect_shape(args, 0, "dy", with_plane(args.shape(0), plane), "one per window of the attribute size");
  return {{args.inputs[0].dtype, with_plane(args.shape(0), size)}};
}

void average_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &dx = args.outputs[0];
  with_float(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::average_pool_gradient<T>(moving_windows(*args.attrs, dx.shape, dy.shape), planes_of(dx), dx.as<T>(),
                                  dy.as<T>());
  });
}

cpu::SharedOut shared_out(const TensorView& in, const TensorView& out) {
  return {size_of_plane(in.shape), size_of_plane(out.shape)};
}

Pair shared_size(const OpArgs& args, const char* attr) {
  const Pair size = pair_attr(args.attrs, attr);
  if (size[0] > 0 && size[1] > 0) return size;
  throw PlanError(std::string(attr) + " must be at least 1 along both dims");
}

std::vector<TensorType> infer_adaptive(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  expect_planes(args, 0, "x");
  const Pair size = shared_size(args, "output_size");
  if (args.shape(0)[2] == 0 || args.shape(0)[3] == 0) {
    throw PlanError(operand_text(args, 0, "x") + ", but its planes must have elements");
  }
  return {{args.inputs[0].dtype, with_plane(args.shape(0), size)}};
}

std::vector<ValueId> adaptive_gradient(GradientBuilder& g) {
  return {g.add("adaptive_avg_pool2d_gradient", {g.gradient()}, {{"size", plane_of_input(g)}})};
}

void adaptive_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &y = args.outputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::average_pool<T>(shared_out(x, y), planes_of(x), y.as<T>(), x.as<T>());
  });
}

std::vector<TensorType> infer_adaptive_gradient(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "dy");
  expect_planes(args, 0, "dy");
  return {{args.inputs[0].dtype, with_plane(args.shape(0), shared_size(args, "size"))}};
}

void adaptive_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &dx = args.outputs[0];
  with_float(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::average_pool_gradient<T>(shared_out(dx, dy), planes_of(dx), dx.as<T>(), dy.as<T>());
  });
}

constexpr const char* kAdaptiveRule = "n c h w -> n c p q; additive, !h, !w, !p, !q";

}  // namespace

OpDef max_pool2d() {
  return {
      .name = "max_pool2d",
      .inputs = {"x"},
      .outputs = {"y"},
      .doc =
          "y[n, c, p, q] = the largest of x[n, c, p stride + i dilation - padding, ..] over the taps of the attribute "
          "kernel.",
      .rule_of = [](const OpArgs& args) { return forward_rule(args, "; max"); },
      .infer = infer_pool,
      .gradient = max_gradient,
      .precision = Precision::follow,
      .cpu = in_float32<max_pool_cpu>,
      .scratch_bytes = scratch_in_float32<infer_pool>};
}

OpDef max_pool2d_gradient() {
  return {.name = "max_pool2d_gradient",
          .inputs = {"dy", "x"},
          .outputs = {"dx"},
          .doc = "The gradient of max_pool2d: of equal elements the first takes it.",
          .rule_of =
              [](const OpArgs& args) {
                const PlaneNames names(windows_of(args.attrs));
                return "n c " + names.after + ", n c " + names.before + " -> n c " + names.before + "; linear(0)" +
                       names.notes;
              },
          .infer = infer_max_gradient,
          .precision = Precision::follow,
          .cpu = in_float32<max_gradient_cpu>,
          .scratch_bytes = scratch_in_float32<infer_max_gradient>};
}

OpDef avg_pool2d() {
  return {
      .name = "avg_pool2d",
      .inputs = {"x"},
      .outputs = {"y"},
      .doc =
          "y[n, c, p, q] = the mean of x[n, c, p stride + i - padding, ..] over the taps of the attribute kernel; with "
          "count_padding=0 padding does not count.",
      .rule_of = [](const OpArgs& args) { return forward_rule(args, "; additive"); },
      .infer = infer_pool,
      .gradient = average_gradient,
      .precision = Precision::follow,
      .cpu = in_float32<average_pool_cpu>,
      .scratch_bytes = scratch_in_float32<infer_pool>};
}

OpDef avg_pool2d_gradient() {
  return {.name = "avg_pool2d_gradient",
          .inputs = {"dy"},
          .outputs = {"dx"},
          .doc = "The gradient of avg_pool2d's x, whose planes have the attribute size.",
          .rule_of =
              [](const OpArgs& args) {
                const PlaneNames names(windows_of(args.attrs));
                return "n c " + names.after + " -> n c " + names.before + "; additive" + names.notes;
              },
          .infer = infer_average_gradient,
          .precision = Precision::follow,
          .cpu = in_float32<average_gradient_cpu>,
          .scratch_bytes = scratch_in_float32<infer_average_gradient>};
}

OpDef adaptive_avg_pool2d() {
  return {
      .name = "adaptive_avg_pool2d",
      .inputs = {"x"},
      .outputs = {"y"},
      .doc =
          "y has planes of the attribute output_size: means over windows that share x's out, from floor(p h / P) up "
          "to ceil((p + 1) h / P).",
      .rule = kAdaptiveRule,
      .infer = infer_adaptive,
      .gradient = adaptive_gradient,
      .precision = Precision::follow,
      .cpu = in_float32<adaptive_cpu>,
      .scratch_bytes = scratch_in_float32<infer_adaptive>};
}

OpDef adaptive_avg_pool2d_gradient() {
  return {.name = "adaptive_avg_pool2d_gradient",
          .inputs = {"dy"},
          .outputs = {"dx"},
          .doc = "The gradient of adaptive_avg_pool2d's x, whose planes have the attribute size.",
          .rule = kAdaptiveRule,
          .infer = infer_adaptive_gradient,
          .precision = Precision::follow,
          .cpu = in_float32<adaptive_gradient_cpu>,
          .scratch_bytes = scratch_in_float32<infer_adaptive_gradient>};
}

}  // namespace troupe::define
