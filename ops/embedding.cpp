#include "ops/cpu/embedding.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_embedding(const OpArgs& args) {
  expect_operands(args, 2);
  expect_ids(args, 0, "ids");
  expect_float(args, 1, "table");
  if (args.rank(1) != 2) throw PlanError(operand_text(args, 1, "table") + ", but must have two dims [rows,dim]");
  Shape y = args.shape(0);
  y.push_back(args.shape(1)[1]);
  return {{args.inputs[1].dtype, y}};
}

// r is looked up: where the table's rows are split, ids of other shards give zeros and the sum over shards is y.
std::string embedding_rule(const OpArgs& args) {
  const std::string ids = dim_names(args.rank(0), "i");
  return ids + ", r d -> " + (args.rank(0) > 0 ? ids + " d" : "d") + "; linear(1)";
}

std::vector<ValueId> backward(GradientBuilder& g) {
  const int64_t rows = g.type(g.input(1)).shape[0];
  return {ValueId(),
          g.needed(1) ? g.add("embedding_gradient", {g.input(0), g.gradient()}, {{"rows", rows}}) : ValueId()};
}

std::string id_text(const KernelArgs& args, int64_t id, int64_t index, int64_t rows) {
  return "id " + element_text(id, index, args.inputs[0]) + " is outside the table's rows 0.." +
         std::to_string(rows - 1);
}

std::string explain_id(const KernelArgs& args, const KernelReport& report) {
  return id_text(args, report.value, report.element, args.inputs[1].logical[0]);
}

std::string explain_gradient_id(const KernelArgs& args, const KernelReport& report) {
  return id_text(args, report.value, report.element, args.outputs[0].logical[0]);
}

bool ids_are_valid(const KernelArgs& args, int64_t rows) {
  const TensorView& ids = args.inputs[0];
  with_id(ids.dtype, [&](auto zero) {
    const auto* id = ids.as<decltype(zero)>();
    for (int64_t i = 0; i < ids.elements() && args.failure->empty(); ++i) {
      if (id[i] >= 0 && id[i] < rows) continue;
      *args.failure = id_text(args, id[i], i, rows);
    }
  });
  return args.failure->empty();
}

void embedding_cpu(const KernelArgs& args, Stream&) {
  const TensorView& ids = args.inputs[0];
  const TensorView& table = args.inputs[1];
  if (!ids_are_valid(args, table.logical[0])) return;
  with_float(table.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_id(ids.dtype, [&](auto zero_id) {
      using Id = decltype(zero_id);
      cpu::embedding_forward<T, Id>(args.outputs[0].as<T>(), table.as<T>(), ids.as<Id>(), ids.elements(),
                                    table.shape[1], table.offset[0], table.shape[0]);
    });
  });
}

std::vector<TensorType> infer_gradient(const OpArgs& args) {
  expect_operands(args, 2);
  expect_ids(args, 0, "ids");
  expect_float(args, 1, "dy");
  expect_rank(args, 1, "dy", 1);
  expect_shape(args, 0, "ids", rows_of(args.shape(1)), "one per row of dy, and " + operand_text(args, 1, "dy"));
  return {{args.inputs[1].dtype, {args.attrs.integer("rows"), args.shape(1).back()}}};
}

// Every id adds to the table, so a split of ids leaves it partial. From whole ids and dy a device can make any shard of
// the rows: those ids that lie in it.
std::string gradient_rule(const OpArgs& args) {
  return dim_names(args.rank(0), "i") + ", " + dim_names_and(args.rank(1), "d", "i") + " -> r d; linear(1)";
}

void gradient_cpu(const KernelArgs& args, Stream&) {
  const TensorView& ids = args.inputs[0];
  const TensorView& dtable = args.outputs[0];
  if (!ids_are_valid(args, dtable.logical[0])) return;
  with_float(dtable.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_id(ids.dtype, [&](auto zero_id) {
      using Id = decltype(zero_id);
      cpu::embedding_backward<T, Id>(dtable.as<T>(), args.inputs[1].as<T>(), ids.as<Id>(), ids.elements(),
                                     dtable.shape[1], dtable.offset[0], dtable.shape[0]);
    });
  });
}

}  // namespace

OpDef embedding() {
  return {.name = "embedding",
          .inputs = {"ids", "table"},
          .outputs = {"y"},
          .doc = "y[.., d] = table[ids[..], d].",
          .rule_of = embedding_rule,
          .infer = infer_embedding,
          .gradient = backward,
          .cpu = embedding_cpu,
          .explain = explain_id};
}

OpDef embedding_gradient() {
  return {.name = "embedding_gradient",
          .inputs = {"ids", "dy"},
          .outputs = {"dtable"},
          .doc = "dtable[r, d] = the sum of dy[.., d] over the places where ids is r, in order; `rows` rows.",
          .rule_of = gradient_rule,
          .infer = infer_gradient,
          .cpu = gradient_cpu,
          .explain = explain_gradient_id};
}

}  // namespace troupe::define
