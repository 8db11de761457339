#include "planner/precision.h"

#include <algorithm>

#include "planner/rewrite.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

class Lowering final : public GraphRewrite {
 public:
  Lowering(const Graph& graph, DType low)
      : GraphRewrite(graph), low_(low), other_(graph.values().size()), in_update_(graph.values().size(), false) {
    for (const Node& node : graph.nodes()) {
      if (node.role != Role::update) continue;
      for (ValueId input : node.inputs) in_update_[input.index()] = true;
    }
  }

 private:
  ValueId input(size_t n, ValueId old) override {
    if (!is_f32(old)) return value(old);
    const Node& reader = old_graph().nodes()[n];
    return in(old, is_low(reader) && !is_full_input(reader, old) ? low_ : DType::f32);
  }

  ValueId kept(ValueId old) override { return is_f32(old) ? in(old, DType::f32) : value(old); }

  bool is_f32(ValueId old) const { return old_graph().value(old).type.dtype == DType::f32; }
  DType dtype_now(ValueId old) { return result().value(value(old)).type.dtype; }

  // No op reads one value both ways.
  static bool is_full_input(const Node& reader, ValueId old) {
    return std::any_of(reader.op->full_inputs.begin(), reader.op->full_inputs.end(),
                       [&](int i) { return reader.inputs[static_cast<size_t>(i)] == old; });
  }

  bool is_low(const Node& node) {
    if (node.role == Role::update || node.op->precision == Precision::full || node.attrs.has("full")) return false;
    bool any = false;
    bool all = true;
    for (ValueId input : node.inputs) {
      const DType dtype = old_graph().value(input).type.dtype;
      if (!is_float(dtype)) continue;
      if (dtype != DType::f32) return false;
      any = true;
      all = all && dtype_now(input) == low_;
    }
    if (node.op->precision == Precision::low) return any;
    return any && all && !rounds_for_update(node);
  }

  // What an update reads is added up over the step: in float32 from the first sum on.
  bool rounds_for_update(const Node& node) const {
    std::vector<TensorType> types = input_types(old_graph(), node);
    for (TensorType& type : types) {
      if (type.dtype == DType::f32) type.dtype = low_;
    }
    const std::vector<TensorType> made = node.op->infer({types, node.attrs});
    for (size_t o = 0; o < made.size(); ++o) {
      if (made[o].dtype == low_ && in_update_[node.outputs[o].index()]) return true;
    }
    return false;
  }

  // The value in this dtype, cast where it is first needed so. The cast belongs where the value is made.
  ValueId in(ValueId old, DType dtype) {
    if (dtype_now(old) == dtype) return value(old);
    ValueId& other = other_[old.index()];
    if (other.valid()) return other;
    const Node& made = old_graph().node(old_graph().value(old).producer);
    const bool is_outside = made.op->name == "variable" || made.op->name == "source";
    result().set_role(made.role);
    result().set_origin(node(made.origin));
    const Attrs attrs = {{"dtype", std::string(name_of(dtype))}};
    other = result().add("cast", {value(old)}, attrs, is_outside ? made.path : scope_of(made), made.line).front();
    return other;
  }

  const DType low_;
  std::vector<ValueId> other_;   // by value of the old graph: float32 and the low dtype are two, so one is enough
  std::vector<bool> in_update_;  // by value of the old graph
};

}  // namespace

Graph in_precision(const Graph& graph, DType low) {
  CHECK(is_low(low), name_of(low));
  return Lowering(graph, low).run();
}

}  // namespace troupe
