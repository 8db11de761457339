// A linear layer per expert on the buffers of `dispatch`:
// y[e, b, c, out] = sum over in of x[e, b, c, in] * w[e, out, in]. The dim of places is a bound; with counts[e, b],
// what `expert_places` found, only the rows that are there are computed.

#include "ops/cpu/expert_linear.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"

namespace troupe::define {
namespace {

bool is_transposed(const Attrs& attrs) { return attrs.integer("transposed", 0) != 0; }

void expect_buffer(const OpArgs& args, int operand, const char* name) {
  expect_any_float(args, operand, name);
  if (args.rank(operand) == 4) return;
  throw PlanError(operand_text(args, operand, name) + ", but must have the dims [experts,batch,capacity,dim]");
}

void expect_counts(const OpArgs& args, const Shape& buffer) {
  if (args.inputs.size() < 3) return;
  expect_dtype(args, 2, "counts", DType::i32);
  expect_shape(args, 2, "counts", {buffer[0], buffer[1]}, "the tokens of each expert and row of the batch");
}

std::vector<TensorType> infer_expert_linear(const OpArgs& args) {
  expect_operands(args, 2);
  expect_buffer(args, 0, "x");
  expect_same_dtype(args, 0, "x", 1, "w");
  const bool transposed = is_transposed(args.attrs);
  if (args.rank(1) != 3) throw PlanError(operand_text(args, 1, "w") + ", but must have the dims [experts,out,in]");
  const Shape& x = args.shape(0);
  const Shape& w = args.shape(1);
  const int inner = transposed ? 1 : 2;
  if (x[0] != w[0] || x[3] != w[inner]) {
    throw PlanError("experts or inner dims differ: " + operand_text(args, 0, "x") + ", " + operand_text(args, 1, "w") +
                    "; x.dim(0) must equal w.dim(0), and x.dim(3)=" + std::to_string(x[3]) + " must equal w.dim(" +
                    std::to_string(inner) + ")=" + std::to_string(w[inner]));
  }
  expect_counts(args, x);
  return {{args.inputs[0].dtype, {x[0], x[1], x[2], w[transposed ? 2 : 1]}}};
}

std::string with_counts(const OpArgs& args, const std::string& two, const std::string& output) {
  return two + (args.inputs.size() > 2 ? ", e b" : "") + " -> " + output + "; linear(0), linear(1)";
}

std::vector<ValueId> backward(GradientBuilder& g) {
  const bool transposed = is_transposed(g.attrs());
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  const auto with_counts = [&](ValueId a, ValueId b) {
    return g.inputs() > 2 ? std::vector{a, b, g.input(2)} : std::vector{a, b};
  };
  const ValueId dy = g.gradient();
  if (g.needed(0)) {
    result[0] = g.add("expert_linear", with_counts(dy, g.input(1)), {{"transposed", int64_t{!transposed}}});
  }
  if (g.needed(1)) {
    const ValueId x = g.input(0);
    result[1] = g.add("expert_linear_weight_gradient", transposed ? with_counts(dy, x) : with_counts(x, dy));
  }
  return result;
}

cpu::ExpertRows rows_of(const KernelArgs& args) {
  const TensorView& x = args.inputs[0];
  return {.experts = x.shape[0],
          .batch = x.shape[1],
          .places = x.shape[2],
          .first_place = x.offset[2],
          .counts = args.inputs.size() > 2 ? args.inputs[2].as<int32_t>() : nullptr};
}

void expert_linear_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_any_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::expert_linear<T>(args.outputs[0].as<T>(), x.as<T>(), args.inputs[1].as<T>(), x.shape[3],
                          args.outputs[0].shape[3], is_transposed(*args.attrs), rows_of(args));
  });
}

std::vector<TensorType> infer_weight_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_buffer(args, 0, "x");
  expect_buffer(args, 1, "dy");
  expect_same_dtype(args, 0, "x", 1, "dy");
  const Shape& x = args.shape(0);
  const Shape& dy = args.shape(1);
  expect_shape(args, 1, "dy", {x[0], x[1], x[2], dy[3]}, "a row per row of x, and " + operand_text(args, 0, "x"));
  expect_counts(args, x);
  return {{sum_dtype(args.inputs[0].dtype), {x[0], dy[3], x[3]}}};
}

void weight_gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_any_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    using Sum = std::conditional_t<LowFloat<T>, float, T>;
    cpu::expert_linear_weight_gradient<T, Sum>(args.outputs[0].as<Sum>(), x.as<T>(), args.inputs[1].as<T>(), x.shape[3],
                                               args.inputs[1].shape[3], rows_of(args),
                                               reinterpret_cast<T*>(args.scratch.data()));
  });
}

// One expert's rows of x and dy.
int64_t packed_bytes(const OpArgs& args) {
  if (args.inputs.size() < 3) return 0;
  const Shape& x = args.shape(0);
  return x[1] * x[2] * (x[3] + args.shape(1)[3]) * size_of(args.inputs[0].dtype);
}

}  // namespace

OpDef expert_linear() {
  return {.name = "expert_linear",
          .inputs = {"x", "w", "counts"},
          .outputs = {"y"},
          .doc =
              "y[e, b, c, out] = sum over in of x[e, b, c, in] * w[e, out, in]; with counts[e, b], 0 for places c from "
              "that on. transposed: w is stored [e, in, out].",
          .rule_of =
              [](const OpArgs& args) {
                const char* w = is_transposed(args.attrs) ? "e in out" : "e out in";
                return with_counts(args, "e b c in, " + std::string(w), "e b c out");
              },
          .infer = infer_expert_linear,
          .gradient = backward,
          .precision = Precision::low,
          .cpu = expert_linear_cpu,
          .flops =
              [](const OpArgs& args) {
                const double weights = static_cast<double>(args.shape(1).elements());
                return 2.0 * weights * static_cast<double>(args.shape(0)[1] * args.shape(0)[2]);
              }};
}

OpDef expert_linear_weight_gradient() {
  return {
      .name = "expert_linear_weight_gradient",
      .inputs = {"x", "dy", "counts"},
      .outputs = {"dw"},
      .doc =
          "dw[e, out, in] = sum over b and the places c of dy[e, b, c, out] * x[e, b, c, in], below counts[e, b] where "
          "given; f32 where these are bf16 or f16.",
      .rule_of = [](const OpArgs& args) { return with_counts(args, "e b c in, e b c out", "e out in"); },
      .infer = infer_weight_gradient,
      .precision = Precision::low,
      .cpu = weight_gradient_cpu,
      .scratch_bytes = packed_bytes,
      .flops =
          [](const OpArgs& args) {
            const Shape& x = args.shape(0);
            return 2.0 * static_cast<double>(x.elements()) * static_cast<double>(args.shape(1)[3]);
          }};
}

}  // namespace troupe::define
