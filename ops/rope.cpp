// Rotary position embedding, with which attention depends on the distance of positions.

#include "ops/cpu/rope.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

int seq_dim(const Attrs& attrs) { return static_cast<int>(attrs.integer("seq_dim", 2)); }

std::vector<TensorType> infer_rope(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  expect_rank(args, 0, "x", 2);
  const int seq = seq_dim(args.attrs);
  if (seq < 0 || seq >= args.rank(0) - 1) {
    throw PlanError(operand_text(args, 0, "x") + " and seq_dim is " + std::to_string(seq) +
                    ", but must be a dim before the last one");
  }
  if (args.shape(0).back() % 2 != 0) {
    throw PlanError(operand_text(args, 0, "x") + "; its last dim is turned in pairs and must be even");
  }
  if (!(args.attrs.number("theta") > 0)) throw PlanError("theta must be positive");
  return {args.inputs[0]};
}

// Linear, and a row is turned by its own position, which the view of a part knows.
std::string rope_rule(const OpArgs& args) {
  const std::string x = dim_names_and(args.rank(0), "n");
  return x + " -> " + x + "; !n, additive";
}

// A rotation's transpose is its inverse.
std::vector<ValueId> backward(GradientBuilder& g) {
  Attrs attrs = g.attrs();
  attrs.set("inverse", int64_t{1} - attrs.integer("inverse", 0));
  return {g.add("rope", {g.gradient()}, attrs)};
}

void rope_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const int seq = seq_dim(*args.attrs);
  cpu::RopeShape shape{.outer = 1, .seq = x.shape[seq], .inner = 1, .dim = x.shape.back(), .first = x.offset[seq]};
  for (int d = 0; d < seq; ++d) shape.outer *= x.shape[d];
  for (int d = seq + 1; d < x.shape.rank() - 1; ++d) shape.inner *= x.shape[d];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::rope<T>(args.outputs[0].as<T>(), x.as<T>(), shape, args.attrs->number("theta"),
                 args.attrs->integer("inverse", 0) != 0, args.scratch.data());
  });
}

int64_t rope_scratch(const OpArgs& args) {
  const int64_t seq = args.shape(0)[seq_dim(args.attrs)];
  const int64_t dim = args.shape(0).back();
  return args.inputs[0].dtype == DType::f32 ? cpu::rope_scratch_bytes<float>(seq, dim)
                                            : cpu::rope_scratch_bytes<double>(seq, dim);
}

}  // namespace

OpDef rope() {
  return {.name = "rope",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc =
              "With h = dim/2 and a = p theta^(-j/h) at place p along seq_dim (2 by default): "
              "y[j] = x[j] cos a - x[j+h] sin a, y[j+h] = x[j+h] cos a + x[j] sin a; inverse=1: by -a.",
          .rule_of = rope_rule,
          .infer = infer_rope,
          .gradient = backward,
          .precision = Precision::follow,
          .cpu = in_float32<rope_cpu>,
          .scratch_bytes = scratch_in_float32<infer_rope, rope_scratch>,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
