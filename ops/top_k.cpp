// The k largest elements of the last dim and where they stand: a router's experts. The gradient goes back to the chosen
// elements alone.

#include "ops/cpu/top_k.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_top_k(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  expect_rank(args, 0, "x", 1);
  const int64_t k = args.attrs.integer("k");
  if (k < 1 || k > args.shape(0).back()) {
    throw PlanError("k is " + std::to_string(k) + ", but " + operand_text(args, 0, "x") + "; 1 to " +
                    std::to_string(args.shape(0).back()) + " elements of the last dim can be chosen");
  }
  Shape chosen = args.shape(0);
  chosen[chosen.rank() - 1] = k;
  return {{args.inputs[0].dtype, chosen}, {DType::i32, chosen}};
}

std::vector<ValueId> backward(GradientBuilder& g) {
  return {g.add("top_k_gradient", {g.output(1), g.gradient(0)}, {{"columns", g.type(g.input(0)).shape.back()}})};
}

void top_k_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::top_k<T>(args.outputs[0].as<T>(), args.outputs[1].as<int32_t>(), x.as<T>(), row_count(x.shape), x.shape.back(),
                  args.outputs[0].shape.back());
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_dtype(args, 0, "indices", DType::i32);
  expect_float(args, 1, "dvalues");
  expect_rank(args, 1, "dvalues", 1);
  expect_shape(args, 0, "indices", args.shape(1), "one per value, and " + operand_text(args, 1, "dvalues"));
  Shape dx = args.shape(1);
  dx[dx.rank() - 1] = args.attrs.integer("columns");
  return {{args.inputs[1].dtype, dx}};
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& dx = args.outputs[0];
  const Shape& chosen = args.inputs[1].shape;
  with_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::top_k_backward<T>(dx.as<T>(), args.inputs[1].as<T>(), args.inputs[0].as<int32_t>(), row_count(chosen),
                           dx.shape.back(), chosen.back(), dx.offset.back());
  });
}

}  // namespace

OpDef top_k() {
  return {.name = "top_k",
          .inputs = {"x"},
          .outputs = {"values", "indices"},
          .doc =
              "The k largest elements over the last dim, largest first, and their places (i32); of equal ones the "
              "lower place first.",
          .rule_of =
              [](const OpArgs& args) {
                const std::string chosen = dim_names_and(args.rank(0), "k");
                return dim_names_and(args.rank(0), "n") + " -> " + chosen + ", " + chosen + "; !n, !k";
              },
          .infer = infer_top_k,
          .gradient = backward,
          .cpu = top_k_cpu};
}

OpDef top_k_gradient() {
  return {.name = "top_k_gradient",
          .inputs = {"indices", "dvalues"},
          .outputs = {"dx"},
          .doc = "dx[.., n] = the sum of dvalues[.., k] over the k where indices is n; `columns` columns.",
          .rule_of =
              [](const OpArgs& args) {
                const std::string chosen = dim_names_and(args.rank(0), "k");
                return chosen + ", " + chosen + " -> " + dim_names_and(args.rank(0), "n") + "; linear(1)";
              },
          .infer = infer_gradient,
          .cpu = gradient_cpu};
}

}  // namespace troupe::define
