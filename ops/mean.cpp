// A mean as (sum, weight): both are added up over pieces and devices before the one division.

#include "ops/cpu/cross_entropy.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

DType weight_dtype(const OpArgs& args) {
  const DType dtype = dtype_attr(args.attrs);
  if (dtype != DType::f32 && dtype != DType::f64)
    throw PlanError("dtype is " + std::string(name_of(dtype)) + ", but must be f32 or f64");
  return dtype;
}

void write_count(const KernelArgs& args, int64_t count) {
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    *args.outputs[0].as<T>() = static_cast<T>(count);
  });
}

// Only the shape is read, so a partial x counts as a whole one.
std::vector<Signature> count_signatures(const OpArgs& args, int) {
  std::vector<Signature> result = signatures_from(dim_names(args.rank(0)) + " -> .");
  for (Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
    result.push_back({{P_of(reduction)}, {B}});
  }
  return result;
}

void count_cpu(const KernelArgs& args, Stream&) { write_count(args, args.inputs[0].elements()); }

void count_labels_cpu(const KernelArgs& args, Stream&) {
  const TensorView& labels = args.inputs[0];
  const int64_t ignored = args.attrs->integer("ignore_index", -100);
  with_id(labels.dtype, [&](auto zero) {
    using Id = decltype(zero);
    write_count(args, cpu::count_labels<Id>(labels.as<Id>(), labels.elements(), ignored));
  });
}

std::vector<TensorType> infer_weighted_mean(const OpArgs& args) {
  expect_operands(args, 2);
  expect_float(args, 0, "sum");
  expect_scalar(args, 0, "sum");
  expect_same_type(args, 0, "sum", 1, "weight");
  return {args.inputs[0]};
}

void weighted_mean_cpu(const KernelArgs& args, Stream&) {
  with_float(args.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    *args.outputs[0].as<T>() = *args.inputs[0].as<T>() / *args.inputs[1].as<T>();
  });
}

std::vector<ValueId> no_gradient(GradientBuilder&) { return {ValueId()}; }

// The weight is a number of elements: nothing to differentiate.
std::vector<ValueId> weighted_mean_gradient(GradientBuilder& g) {
  return {g.add("div", {g.gradient(), g.input(1)}), ValueId()};
}

}  // namespace

OpDef count() {
  return {.name = "count",
          .inputs = {"x"},
          .outputs = {"n"},
          .doc = "n = the number of elements of x.",
          .signatures = count_signatures,
          .infer =
              [](const OpArgs& args) {
                expect_operands(args, 1);
                return std::vector<TensorType>{{weight_dtype(args), {}}};
              },
          .gradient = no_gradient,
          .cpu = count_cpu};
}

OpDef count_labels() {
  return {.name = "count_labels",
          .inputs = {"labels"},
          .outputs = {"n"},
          .doc = "n = the number of labels that are not ignore_index.",
          .rule_of = [](const OpArgs& args) { return dim_names(args.rank(0)) + " -> ."; },
          .infer =
              [](const OpArgs& args) {
                expect_operands(args, 1);
                expect_ids(args, 0, "labels");
                return std::vector<TensorType>{{weight_dtype(args), {}}};
              },
          .cpu = count_labels_cpu};
}

OpDef weighted_mean() {
  return {.name = "weighted_mean",
          .inputs = {"sum", "weight"},
          .outputs = {"mean"},
          .doc = "mean = sum / weight.",
          .rule = "., . -> .; linear(0)",
          .infer = infer_weighted_mean,
          .gradient = weighted_mean_gradient,
          .cpu = weighted_mean_cpu,
          .in_place = {{0, 0}, {0, 1}}};
}

}  // namespace troupe::define
