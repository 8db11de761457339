// Reverse-mode differentiation of the logical graph.

#include "ops/graph.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

// Which values depend on any of `wrt`: only along them gradients are wanted.
std::vector<bool> depends_on(const Graph& graph, const std::vector<ValueId>& wrt) {
  std::vector<bool> depends(graph.values().size(), false);
  for (ValueId value : wrt) depends[value.index()] = true;
  for (const Node& node : graph.nodes()) {
    bool any = false;
    for (ValueId input : node.inputs) any = any || depends[input.index()];
    if (!any) continue;
    for (ValueId output : node.outputs) {
      if (is_float(graph.value(output).type.dtype)) depends[output.index()] = true;
    }
  }
  return depends;
}

Attrs dtype_attrs(DType dtype) { return {{"dtype", std::string(name_of(dtype))}}; }

}  // namespace

ValueId GradientBuilder::add(std::string_view op, const std::vector<ValueId>& inputs, const Attrs& attrs) {
  return add_all(op, inputs, attrs).front();
}

std::vector<ValueId> GradientBuilder::add_all(std::string_view op, const std::vector<ValueId>& inputs,
                                              const Attrs& attrs) {
  return graph_.add(op, inputs, attrs, graph_.node(node_).path + ".grad", graph_.node(node_).line);
}

std::vector<ValueId> Graph::gradients(ValueId scalar, const std::vector<ValueId>& wrt, ValueId seed) {
  const Value loss = value(scalar);  // a copy: nodes are added below
  if (loss.type.shape.rank() != 0 || !is_float(loss.type.dtype)) {
    const Node& producer = node(loss.producer);
    throw PlanError(producer.op->name, producer.path,
                    "a gradient is taken of a scalar, but this is " + loss.type.str() + "; reduce it with sum or mean",
                    producer.line);
  }
  const std::vector<bool> wanted = depends_on(*this, wrt);
  const size_t forward_nodes = nodes_.size();
  const Role role_before = role_;
  set_role(Role::backward);

  // Contributions per value, in the order in which the uses stand in the graph: collected backwards, so put in front.
  std::vector<std::vector<ValueId>> contributions(values_.size());
  const auto total = [&](ValueId id) -> ValueId {
    std::vector<ValueId>& parts = contributions[id.index()];
    if (parts.empty()) return {};
    if (parts.size() > 1) {
      const Node& producer = node(value(id).producer);
      const SourceLine line = producer.line;
      parts = {add("add_n", parts, {}, value(id).name + ".grad", line).front()};
    }
    return parts.front();
  };

  set_origin(loss.producer);
  if (!seed.valid()) {
    const Attrs one = {
        {"value", 1.0}, {"shape", std::vector<int64_t>{}}, {"dtype", std::string(name_of(loss.type.dtype))}};
    seed = add("fill", {}, one, value(scalar).name + ".grad", node(loss.producer).line).front();
  }
  CHECK(value(seed).type == loss.type, value(seed).type.str(), loss.type.str());
  contributions[scalar.index()] = {seed};

  for (size_t n = forward_nodes; n-- > 0;) {
    const NodeId id(static_cast<int64_t>(n));
    std::vector<bool> needed;
    bool any = false;
    for (ValueId input : nodes_[n].inputs) {
      needed.push_back(wanted[input.index()]);
      any = any || needed.back();
    }
    if (!any) continue;
    bool reached = false;
    std::vector<ValueId> output_gradients;
    set_origin(id);
    for (ValueId output : std::vector<ValueId>(nodes_[n].outputs)) {
      output_gradients.push_back(total(output));
      reached = reached || output_gradients.back().valid();
    }
    if (!reached) continue;
    if (nodes_[n].op->gradient == nullptr) {
      throw PlanError(nodes_[n].op->name, nodes_[n].path,
                      "this op has no gradient, but a parameter's gradient passes through it", nodes_[n].line);
    }
    GradientBuilder builder(*this, id, output_gradients, needed);
    std::vector<ValueId> inputs = nodes_[n].op->gradient(builder);
    CHECK(inputs.size() == nodes_[n].inputs.size(), nodes_[n].text, inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].valid() || !needed[i]) continue;
      const ValueId input = nodes_[n].inputs[i];
      const DType dtype = value(input).type.dtype;
      // A sum over rows of a low dtype is float32.
      if (value(inputs[i]).type.dtype != dtype) inputs[i] = builder.add("cast", {inputs[i]}, dtype_attrs(dtype));
      CHECK(value(inputs[i]).type == value(input).type, nodes_[n].text, value(inputs[i]).type.str(),
            value(input).type.str());
      std::vector<ValueId>& parts = contributions[input.index()];
      parts.insert(parts.begin(), inputs[i]);
    }
  }

  std::vector<ValueId> result;
  for (ValueId id : wrt) {
    set_origin(value(id).producer);
    result.push_back(total(id));
  }
  set_origin({});
  set_role(role_before);
  return result;
}

}  // namespace troupe
