// Random numbers as a function of (key, place in the logical tensor): split, recomputed and fused ops draw the same.

#include "ops/cpu/random.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/in_float32.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/random.h"

namespace troupe::define {
namespace {

// The node's own key, unless the attribute `key` names another node whose numbers it shall draw.
uint64_t node_key(const KernelArgs& args) {
  const uint64_t key = args.attrs->has("key") ? static_cast<uint64_t>(args.attrs->integer("key")) : args.key;
  return mix64(args.firing.seed, key);
}

uint64_t piece_key(const KernelArgs& args) {
  const Firing& firing = args.firing;
  const uint64_t piece = mix64(static_cast<uint64_t>(firing.shard), static_cast<uint64_t>(firing.piece));
  return mix64(mix64(node_key(args), static_cast<uint64_t>(firing.step)), piece);
}

cpu::RandomBox box_of(const TensorView& view) {
  return {view.logical.begin(), view.offset.begin(), view.shape.begin(), view.shape.rank()};
}

double probability(const Attrs& attrs) { return attrs.number("p"); }

std::vector<TensorType> infer_dropout(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  const double p = probability(args.attrs);
  if (!(p >= 0 && p <= 1)) throw PlanError("p is " + std::to_string(p) + ", but must lie in 0..1");
  return {args.inputs[0]};
}

// The same elements are dropped on the way back.
std::vector<ValueId> dropout_gradient(GradientBuilder& g) {
  const int64_t own = static_cast<int64_t>(hash_path(g.path()));
  return {g.add("dropout", {g.gradient()}, {{"p", probability(g.attrs())}, {"key", g.attrs().integer("key", own)}})};
}

void dropout_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::dropout<T>(args.outputs[0].as<T>(), x.as<T>(), piece_key(args), box_of(x), probability(*args.attrs));
  });
}

std::vector<TensorType> infer_random(const OpArgs& args, const char* first, const char* second) {
  args.attrs.number(first);
  args.attrs.number(second);
  const DType dtype = dtype_attr(args.attrs);
  if (dtype != DType::f32 && dtype != DType::f64)
    throw PlanError("dtype is " + std::string(name_of(dtype)) + ", but must be f32 or f64");
  return {{dtype, shape_attr(args.attrs)}};
}

std::vector<Signature> random_signatures(const OpArgs& args, int) {
  return made_anywhere(shape_attr(args.attrs).rank());
}

void random_normal_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::fill_normal<T>(y.as<T>(), node_key(args), box_of(y), static_cast<T>(args.attrs->number("mean")),
                        static_cast<T>(args.attrs->number("std")));
  });
}

void random_uniform_cpu(const KernelArgs& args, Stream&) {
  const TensorView& y = args.outputs[0];
  with_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::fill_uniform<T>(y.as<T>(), node_key(args), box_of(y), static_cast<T>(args.attrs->number("low")),
                         static_cast<T>(args.attrs->number("high")));
  });
}

}  // namespace

// What is kept depends on the place alone: linear in x, and increasing in every element.
OpDef dropout() {
  return {.name = "dropout",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = x / (1 - p) with probability 1 - p, else 0; anew for every piece and step.",
          .rule_of = [](const OpArgs& args) { return pointwise_rule(args, "additive, increasing"); },
          .infer = infer_dropout,
          .gradient = dropout_gradient,
          .precision = Precision::follow,
          .cpu = in_float32<dropout_cpu>,
          .scratch_bytes = scratch_in_float32<infer_dropout>,
          .in_place = {{0, 0}},
          .random = true};
}

OpDef random_normal() {
  return {.name = "random_normal",
          .inputs = {},
          .outputs = {"y"},
          .doc = "y = normal numbers with the attributes mean and std, the same in every step of a run.",
          .signatures = random_signatures,
          .infer = [](const OpArgs& args) { return infer_random(args, "mean", "std"); },
          .cpu = random_normal_cpu};
}

OpDef random_uniform() {
  return {.name = "random_uniform",
          .inputs = {},
          .outputs = {"y"},
          .doc = "y = uniform numbers from low to high, the same in every step of a run.",
          .signatures = random_signatures,
          .infer = [](const OpArgs& args) { return infer_random(args, "low", "high"); },
          .cpu = random_uniform_cpu};
}

}  // namespace troupe::define
