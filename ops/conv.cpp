// y[n,out] = the sum over the channels of out's group of x[n,c] * w[out,c] (planes, convolved) + b[out], and its
// gradients. A weight is [out, channels/groups, kh, kw], so the number of groups is the channels of x over those of w.

#include "ops/cpu/conv.h"

#include <algorithm>

#include "ops/cpu/gemm_low.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace troupe::define {
namespace {

using cpu::ConvPass;
using cpu::ConvSizes;

// Of so many channels; `per_group` is 0 where there is a single group.
int64_t group_count(int64_t channels, int64_t per_group) { return per_group == 0 ? 1 : channels / per_group; }

ConvSizes sizes_of(const Windows& windows, const Shape& x, int64_t in, const Shape& y) {
  return {.batch = x[0],
          .channels = x[1],
          .out = y[1],
          .groups = std::max<int64_t>(1, group_count(x[1], in)),
          .in_size = size_of_plane(x),
          .kernel = windows.kernel,
          .out_size = size_of_plane(y),
          .stride = windows.stride,
          .padding = windows.padding,
          .dilation = windows.dilation};
}

ConvSizes forward_sizes(const Attrs& attrs, const Shape& x, const Shape& w, const Shape& y) {
  return sizes_of(Windows::of(attrs, size_of_plane(w)), x, w[1], y);
}

ConvSizes weight_sizes(const Attrs& attrs, const Shape& x, const Shape& dy, const Shape& dw) {
  return sizes_of(Windows::of(attrs, pair_attr(attrs, "kernel")), x, dw[1], dy);
}

// Both operands of a pass are planes of one dtype.
void expect_planes_of_one_dtype(const OpArgs& args, const char* first, const char* second) {
  expect_operands(args, 2);
  expect_any_float(args, 0, first);
  expect_planes(args, 0, first);
  expect_planes(args, 1, second);
  expect_same_dtype(args, 0, first, 1, second);
}

// A split of channels must keep groups whole; groups of one channel each, in and out, are whole however they are split.
bool groups_are_cut_well(int64_t groups, int64_t channels, int64_t out, int parts) {
  return groups % parts == 0 || (groups == channels && groups == out);
}

// The names of the channels of x, of y, and of w's second dim, and what must not be split.
struct ChannelNames {
  std::string x = "c", y = "o", w = "c", notes;
  ChannelNames(int64_t groups, int64_t channels, int64_t out, int parts) {
    if (groups <= 1) return;
    x = y = "g", w = "k", notes = ", !k";
    if (!groups_are_cut_well(groups, channels, out, parts)) notes += ", !g";
  }
};

std::vector<TensorType> infer_conv(const OpArgs& args) {
  expect_planes_of_one_dtype(args, "x", "w");
  const Shape& x = args.shape(0);
  const Shape& w = args.shape(1);
  const Windows windows = Windows::of(args.attrs, size_of_plane(w));
  const Pair plane = windows.count(size_of_plane(x), operand_text(args, 0, "x"));
  if (w[1] == 0 ? x[1] != 0 : x[1] % w[1] != 0) {
    throw PlanError(operand_text(args, 0, "x") + ", " + operand_text(args, 1, "w") + "; w.dim(1)=" +
                    std::to_string(w[1]) + " must be x.dim(1)=" + std::to_string(x[1]) + " over the number of groups");
  }
  const int64_t groups = group_count(x[1], w[1]);
  if (groups > 1 && w[0] % groups != 0) {
    throw PlanError(operand_text(args, 1, "w") + ", but the " + std::to_string(w[0]) +
                    " output channels must be a multiple of the " + std::to_string(groups) + " groups");
  }
  if (args.inputs.size() > 2) {
    expect_same_dtype(args, 0, "x", 2, "b");
    expect_shape(args, 2, "b", {w[0]}, "one per row of w, and " + operand_text(args, 1, "w"));
  }
  return {{args.inputs[0].dtype, {x[0], w[0], plane[0], plane[1]}}};
}

std::vector<Signature> conv_signatures(const OpArgs& args, int parts) {
  const Shape& x = args.shape(0);
  const Shape& w = args.shape(1);
  const PlaneNames planes(Windows::of(args.attrs, size_of_plane(w)));
  const ChannelNames channels(group_count(x[1], w[1]), x[1], w[0], parts);
  const bool bias = args.inputs.size() > 2;
  return signatures_from("n " + channels.x + " " + planes.before + ", " + channels.y + " " + channels.w + " kh kw" +
                         (bias ? ", " + channels.y : "") + " -> n " + channels.y + " " + planes.after + "; linear" +
                         (bias ? ", added(2)" : "") + ", !kh, !kw" + channels.notes + planes.notes);
}

std::vector<ValueId> conv_gradient(GradientBuilder& g) {
  const ValueId dy = g.gradient(), x = g.input(0), w = g.input(1);
  const Shape &in = g.type(x).shape, &weight = g.type(w).shape;
  const bool grouped = in[1] != weight[1];
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  if (g.needed(0)) {
    Attrs attrs = g.attrs();
    attrs.set("size", std::vector<int64_t>{in[2], in[3]});
    attrs.set("group_out", grouped ? weight[0] / (in[1] / weight[1]) : int64_t{0});
    result[0] = g.add("conv2d_input_gradient", {dy, w}, attrs);
  }
  if (g.needed(1)) {
    Attrs attrs = g.attrs();
    attrs.set("kernel", std::vector<int64_t>{weight[2], weight[3]});
    attrs.set("group_in", grouped ? weight[1] : int64_t{0});
    result[1] = g.add("conv2d_weight_gradient", {x, dy}, attrs);
  }
  if (g.inputs() > 2 && g.needed(2)) {
    result[2] = g.add("reduce_sum", {dy}, {{"dims", std::vector<int64_t>{0, 2, 3}}, {"keep", int64_t{0}}});
  }
  return result;
}

// fn with a zero of the element type, bfloat16 too.
template <class Fn>
void with_element(DType dtype, Fn&& fn) {
  if (dtype == DType::bf16) return fn(BFloat16{});
  with_float(dtype, fn);
}

void conv_kernel(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &w = args.inputs[1], &y = args.outputs[0];
  const ConvSizes sizes = forward_sizes(*args.attrs, x.shape, w.shape, y.shape);
  with_element(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* bias = args.inputs.size() > 2 ? args.inputs[2].as<T>() : nullptr;
    cpu::conv<T>(sizes, y.as<T>(), x.as<T>(), w.as<T>(), bias, args.scratch);
  });
}

int64_t scratch_of(ConvPass pass, const ConvSizes& sizes, const OpArgs& args) {
  const DType dtype = args.inputs[0].dtype;
  const bool bias = pass == ConvPass::forward && args.inputs.size() > 2;
  return dtype == DType::f64 ? 0 : cpu::conv_scratch_bytes(pass, sizes, bias, dtype == DType::bf16);
}

int64_t conv_scratch(const OpArgs& args) {
  const Shape y = infer_conv(args).front().shape;
  return scratch_of(ConvPass::forward, forward_sizes(args.attrs, args.shape(0), args.shape(1), y), args);
}

std::vector<TensorType> infer_input_gradient(const OpArgs& args) {
  expect_planes_of_one_dtype(args, "dy", "w");
  const Shape& dy = args.shape(0);
  const Shape& w = args.shape(1);
  const Windows windows = Windows::of(args.attrs, size_of_plane(w));
  Pair size = pair_attr(args.attrs, "size");
  for (size_t d = 0; d < 2; ++d) {
    if (windows.is_pointwise(d)) size[d] = size_of_plane(dy)[d];  // a part of it, perhaps
  }
  const int64_t group_out = args.attrs.integer("group_out");
  const int64_t groups = group_count(w[0], group_out);
  if (dy[1] != w[0] || (group_out != 0 && w[0] % group_out != 0) ||
      windows.count(size, "size is given") != size_of_plane(dy)) {
    throw PlanError(operand_text(args, 0, "dy") + ", which is no gradient of a convolution with " +
                    operand_text(args, 1, "w"));
  }
  return {{args.inputs[0].dtype, {dy[0], groups * w[1], size[0], size[1]}}};
}

std::vector<Signature> input_gradient_signatures(const OpArgs& args, int parts) {
  const Shape& w = args.shape(1);
  const PlaneNames planes(Windows::of(args.attrs, size_of_plane(w)));
  const int64_t groups = group_count(w[0], args.attrs.integer("group_out"));
  const ChannelNames channels(groups, groups * w[1], w[0], parts);
  return signatures_from("n " + channels.y + " " + planes.after + ", " + channels.y + " " + channels.w +
                         " kh kw -> n " + channels.x + " " + planes.before + "; linear, !kh, !kw" + channels.notes +
                         planes.notes);
}

void input_gradient_kernel(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &w = args.inputs[1], &dx = args.outputs[0];
  const ConvSizes sizes = forward_sizes(*args.attrs, dx.shape, w.shape, dy.shape);
  with_element(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::conv_input_gradient<T>(sizes, dx.as<T>(), dy.as<T>(), w.as<T>(), args.scratch);
  });
}

int64_t input_gradient_scratch(const OpArgs& args) {
  const Shape dx = infer_input_gradient(args).front().shape;
  return scratch_of(ConvPass::input_gradient, forward_sizes(args.attrs, dx, args.shape(1), args.shape(0)), args);
}

std::vector<TensorType> infer_weight_gradient(const OpArgs& args) {
  expect_planes_of_one_dtype(args, "x", "dy");
  const Shape& x = args.shape(0);
  const Shape& dy = args.shape(1);
  const Pair kernel = pair_attr(args.attrs, "kernel");
  const int64_t group_in = args.attrs.integer("group_in");
  const int64_t groups = group_count(x[1], group_in);
  if (x[0] != dy[0] || (group_in != 0 && (x[1] % group_in != 0 || dy[1] % std::max<int64_t>(groups, 1) != 0)) ||
      Windows::of(args.attrs, kernel).count(size_of_plane(x), operand_text(args, 0, "x")) != size_of_plane(dy)) {
    throw PlanError(operand_text(args, 1, "dy") + ", which is no gradient of a convolution of " +
                    operand_text(args, 0, "x"));
  }
  return {{sum_dtype(args.inputs[0].dtype), {dy[1], group_in == 0 ? x[1] : group_in, kernel[0], kernel[1]}}};
}

std::vector<Signature> weight_gradient_signatures(const OpArgs& args, int parts) {
  const PlaneNames planes(Windows::of(args.attrs, pair_attr(args.attrs, "kernel")));
  const int64_t in = args.shape(0)[1], out = args.shape(1)[1];
  const ChannelNames channels(group_count(in, args.attrs.integer("group_in")), in, out, parts);
  return signatures_from("n " + channels.x + " " + planes.before + ", n " + channels.y + " " + planes.after + " -> " +
                         channels.y + " " + channels.w + " kh kw; linear, !kh, !kw" + channels.notes + planes.notes);
}

void weight_gradient_kernel(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &dy = args.inputs[1], &dw = args.outputs[0];
  const ConvSizes sizes = weight_sizes(*args.attrs, x.shape, dy.shape, dw.shape);
  if (x.dtype == DType::bf16) {
    return cpu::conv_weight_gradient<BFloat16, float>(sizes, dw.as<float>(), x.as<BFloat16>(), dy.as<BFloat16>(),
                                                      args.scratch);
  }
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::conv_weight_gradient<T, T>(sizes, dw.as<T>(), x.as<T>(), dy.as<T>(), args.scratch);
  });
}

int64_t weight_gradient_scratch(const OpArgs& args) {
  const Shape dw = infer_weight_gradient(args).front().shape;
  return scratch_of(ConvPass::weight_gradient, weight_sizes(args.attrs, args.shape(0), args.shape(1), dw), args);
}

// A pass in float16 runs in float32, and one in bfloat16 where the processor has no instructions for it.
bool is_widened(DType dtype) { return is_low(dtype) && !(dtype == DType::bf16 && cpu::multiplies_bf16()); }

template <Kernel kernel>
void in_low(const KernelArgs& args, Stream& stream) {
  is_widened(args.inputs[0].dtype) ? in_float32<kernel>(args, stream) : kernel(args, stream);
}

template <std::vector<TensorType> (*infer)(const OpArgs&), int64_t (*own)(const OpArgs&)>
int64_t scratch_in_low(const OpArgs& args) {
  return is_widened(args.inputs[0].dtype) ? scratch_in_float32<infer, own>(args) : own(args);
}

// Two per product: a weight is used once for each element of its output plane.
double flops_of(const Shape& w, const Shape& y) {
  return 2.0 * static_cast<double>(y.elements()) * static_cast<double>(w[1] * w[2] * w[3]);
}

}  // namespace

OpDef conv2d() {
  return {
      .name = "conv2d",
      .inputs = {"x", "w", "b"},
      .outputs = {"y"},
      .doc =
          "y[n, out, p, q] = sum over c, i, j of x[n, c, p stride + i dilation - padding, ..] * w[out, c, i, j], c in "
          "out's group, plus b[out] where given.",
      .signatures = conv_signatures,
      .infer = infer_conv,
      .gradient = conv_gradient,
      .precision = Precision::low,
      .cpu = in_low<conv_kernel>,
      .scratch_bytes = scratch_in_low<infer_conv, conv_scratch>,
      .flops = [](const OpArgs& args) { return flops_of(args.shape(1), infer_conv(args).front().shape); }};
}

OpDef conv2d_input_gradient() {
  return {
      .name = "conv2d_input_gradient",
      .inputs = {"dy", "w"},
      .outputs = {"dx"},
      .doc =
          "The gradient of conv2d's x, whose planes have the attribute size; group_out: output channels of a group, "
          "0 for a single one.",
      .signatures = input_gradient_signatures,
      .infer = infer_input_gradient,
      .precision = Precision::low,
      .cpu = in_low<input_gradient_kernel>,
      .scratch_bytes = scratch_in_low<infer_input_gradient, input_gradient_scratch>,
      .flops = [](const OpArgs& args) { return flops_of(args.shape(1), args.shape(0)); }};
}

OpDef conv2d_weight_gradient() {
  return {
      .name = "conv2d_weight_gradient",
      .inputs = {"x", "dy"},
      .outputs = {"dw"},
      .doc =
          "The gradient of conv2d's w, which has the attribute kernel; group_in: input channels of a group, 0 for a "
          "single one; f32 where x and dy are bf16 or f16.",
      .signatures = weight_gradient_signatures,
      .infer = infer_weight_gradient,
      .precision = Precision::low,
      .cpu = in_low<weight_gradient_kernel>,
      .scratch_bytes = scratch_in_low<infer_weight_gradient, weight_gradient_scratch>,
      .flops = [](const OpArgs& args) { return flops_of(infer_weight_gradient(args).front().shape, args.shape(1)); }};
}

}  // namespace troupe::define
