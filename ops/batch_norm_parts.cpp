// The parts of a batch norm whose pieces lie on several devices: sums over the samples are partial, all else needs no
// other device.

#include "ops/batch_norm.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

// A sum [pieces, channels] of operands of which the first `tensors` are like x and the others like the sum: whole
// pieces stay apart; a split inside a piece gives partial sums.
std::vector<Signature> sum_signatures(const OpArgs& args, int parts, int tensors, const char* note) {
  const SampleNames names(args.rank(0));
  const bool between = splits_between_pieces(args, 0, parts);
  const std::string statistics = between ? "n c" : "p c";
  std::string operands;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    operands += (i == 0 ? "" : ", ") + (static_cast<int>(i) < tensors ? names.x : statistics);
  }
  // A piece that is whole on every device is not split for its own sake.
  return signatures_from(with_notes(operands + " -> " + statistics, note + std::string(between ? "" : ", !p")));
}

void zero_fill(const TensorView& y) {
  if (y.bytes() > 0) std::memset(y.data, 0, static_cast<size_t>(y.bytes()));
}

std::vector<TensorType> infer_sum(const OpArgs& args) {
  expect_operands(args, 1);
  expect_samples(args, 0, "x");
  return {{args.inputs[0].dtype, statistics_shape(args, 0)}};
}

void sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &sum = args.outputs[0];
  zero_fill(sum);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::channel_sum<T>(run.samples, row_of<T>(sum, run), x.as<T>() + run.first);
    });
  });
}

std::vector<TensorType> infer_square_sum(const OpArgs& args) {
  expect_operands(args, 2);
  expect_samples(args, 0, "x");
  expect_statistics(args, 1, "mean", 0);
  return {args.inputs[1]};
}

void square_sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &sum = args.outputs[0];
  zero_fill(sum);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::channel_square_sum<T>(run.samples, row_of<T>(sum, run), x.as<T>() + run.first,
                                 row_of<T>(args.inputs[1], run));
    });
  });
}

std::vector<TensorType> infer_product_sum(const OpArgs& args) {
  expect_operands(args, 4);
  expect_samples(args, 1, "x");
  expect_same_type(args, 0, "dy", 1, "x");
  expect_statistics(args, 2, "mean", 1);
  expect_statistics(args, 3, "rstd", 1);
  return {args.inputs[2]};
}

void product_sum_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &x = args.inputs[1], &sum = args.outputs[0];
  zero_fill(sum);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::channel_product_sum<T>(run.samples, row_of<T>(sum, run), dy.as<T>() + run.first, x.as<T>() + run.first,
                                  row_of<T>(args.inputs[2], run), row_of<T>(args.inputs[3], run));
    });
  });
}

std::vector<TensorType> infer_normalize(const OpArgs& args) {
  expect_operands(args, 5);
  expect_samples(args, 0, "x");
  expect_statistics(args, 1, "mean", 0);
  expect_statistics(args, 2, "rstd", 0);
  expect_channels(args, 3, "scale", 0);
  expect_channels(args, 4, "shift", 0);
  return {args.inputs[0]};
}

// What is made for each sample: statistics follow whole pieces, and are whole where a piece is split.
std::vector<Signature> sample_signatures(const OpArgs& args, int parts, int x, const std::string& before,
                                         const std::string& after, const char* note) {
  const SampleNames names(args.rank(x));
  const std::string statistics = splits_between_pieces(args, x, parts) ? "n c" : "p c";
  const auto with = [&](std::string text) {
    for (size_t at; (at = text.find('X')) != std::string::npos;) text.replace(at, 1, names.x);
    for (size_t at; (at = text.find('R')) != std::string::npos;) text.replace(at, 1, statistics);
    return text;
  };
  return signatures_from(
      with_notes(with(before) + " -> " + with(after), note + names.notes + (statistics == "p c" ? ", !p" : "")));
}

void normalize_cpu(const KernelArgs& args, Stream&) {
  const TensorView &x = args.inputs[0], &y = args.outputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::channel_normalize<T>(run.samples, y.as<T>() + run.first, x.as<T>() + run.first,
                                row_of<T>(args.inputs[1], run), row_of<T>(args.inputs[2], run), args.inputs[3].as<T>(),
                                args.inputs[4].as<T>());
    });
  });
}

std::vector<TensorType> infer_input_gradient(const OpArgs& args) {
  expect_operands(args, 7);
  expect_samples(args, 1, "x");
  expect_same_type(args, 0, "dy", 1, "x");
  expect_channels(args, 2, "scale", 1);
  for (auto [operand, name] : {std::pair{3, "mean"}, {4, "rstd"}, {5, "dy_sum"}, {6, "dyh_sum"}}) {
    expect_statistics(args, operand, name, 1);
  }
  return {args.inputs[0]};
}

void input_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView &dy = args.inputs[0], &x = args.inputs[1];
  const double total = statistics_count(*args.attrs, x.logical);
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_run(x, *args.attrs, [&](const SampleRun& run) {
      cpu::batch_norm_input_gradient<T>(run.samples, args.outputs[0].as<T>() + run.first, dy.as<T>() + run.first,
                                        x.as<T>() + run.first, args.inputs[2].as<T>(), row_of<T>(args.inputs[3], run),
                                        row_of<T>(args.inputs[4], run), row_of<T>(args.inputs[5], run),
                                        row_of<T>(args.inputs[6], run), total);
    });
  });
}

}  // namespace

OpDef channel_sum() {
  return {
      .name = "channel_sum",
      .inputs = {"x"},
      .outputs = {"sum"},
      .doc = "sum[piece, c] = the sum of x[n, c, ..] over the samples n of the piece and all dims but the channels.",
      .signatures = [](const OpArgs& args, int parts) { return sum_signatures(args, parts, 1, ", additive"); },
      .infer = infer_sum,
      .cpu = sum_cpu};
}

OpDef channel_square_sum() {
  return {.name = "channel_square_sum",
          .inputs = {"x", "mean"},
          .outputs = {"sum"},
          .doc = "sum[piece, c] = the sum of (x[n, c, ..] - mean[piece, c])².",
          .signatures = [](const OpArgs& args, int parts) { return sum_signatures(args, parts, 1, ""); },
          .infer = infer_square_sum,
          .cpu = square_sum_cpu};
}

OpDef channel_product_sum() {
  return {.name = "channel_product_sum",
          .inputs = {"dy", "x", "mean", "rstd"},
          .outputs = {"sum"},
          .doc = "sum[piece, c] = the sum of dy (x[n, c, ..] - mean[piece, c]) rstd[piece, c].",
          .signatures = [](const OpArgs& args, int parts) { return sum_signatures(args, parts, 2, ", linear(0)"); },
          .infer = infer_product_sum,
          .cpu = product_sum_cpu};
}

OpDef channel_normalize() {
  return {.name = "channel_normalize",
          .inputs = {"x", "mean", "rstd", "scale", "shift"},
          .outputs = {"y"},
          .doc = "y = (x[n, c, ..] - mean[piece, c]) rstd[piece, c] scale[c] + shift[c].",
          .signatures = [](const OpArgs& args,
                           int parts) { return sample_signatures(args, parts, 0, "X, R, R, c, c", "X", ""); },
          .infer = infer_normalize,
          .cpu = normalize_cpu,
          .in_place = {{0, 0}}};
}

OpDef batch_norm_input_gradient() {
  return {
      .name = "batch_norm_input_gradient",
      .inputs = {"dy", "x", "scale", "mean", "rstd", "dy_sum", "dyh_sum"},
      .outputs = {"dx"},
      .doc = "dx = scale rstd (dy - dy_sum / m - h dyh_sum / m), with h = (x - mean) rstd and m elements of a piece.",
      .signatures =
          [](const OpArgs& args, int parts) {
            return sample_signatures(args, parts, 1, "X, X, c, R, R, R, R", "X", ", additive(0 5 6)");
          },
      .infer = infer_input_gradient,
      .cpu = input_gradient_cpu,
      .in_place = {{0, 0}}};
}

}  // namespace troupe::define
