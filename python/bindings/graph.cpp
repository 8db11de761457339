// The logical graph. Values are plain integers here; the package wraps them.

#include "ops/graph.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "python/bindings/bindings.h"

namespace troupe::python {
namespace {

std::vector<ValueId> ids(const std::vector<int64_t>& values) { return {values.begin(), values.end()}; }

std::vector<int64_t> numbers(const std::vector<ValueId>& values) {
  std::vector<int64_t> result;
  for (ValueId value : values) result.push_back(value.value);
  return result;
}

nb::object object_of(const Attr& attr) {
  return std::visit([](const auto& value) { return nb::cast(value); }, attr);
}

Role role_of(const std::string& name) {
  for (Role role : {Role::forward, Role::backward, Role::update}) {
    if (name == name_of(role)) return role;
  }
  throw nb::value_error("a role is forward, backward or update");
}

// (op, operands, attributes) of the node that makes a value.
nb::tuple producer_of(const Graph& graph, int64_t value) {
  const Node& node = graph.node(graph.value(ValueId(value)).producer);
  nb::dict attrs;
  for (const auto& [name, attr] : node.attrs.entries()) attrs[name.c_str()] = object_of(attr);
  return nb::make_tuple(node.op->name, numbers(node.inputs), attrs);
}

nb::list list_of_ops() {
  nb::list result;
  for (const OpDef& op : all_ops()) result.append(nb::make_tuple(op.name, op.inputs, op.outputs, op.doc));
  return result;
}

nb::list precisions() {
  nb::list result;
  for (const OpDef& op : all_ops()) result.append(nb::make_tuple(op.name, name_of(op.precision)));
  return result;
}

}  // namespace

Attrs attrs_from(const nb::dict& dict) {
  Attrs attrs;
  for (const auto& [key, value] : dict) {
    const std::string name = nb::cast<std::string>(key);
    if (nb::isinstance<nb::str>(value)) {
      attrs.set(name, nb::cast<std::string>(value));
    } else if (nb::isinstance<nb::float_>(value)) {
      attrs.set(name, nb::cast<double>(value));
    } else if (nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value)) {
      attrs.set(name, nb::cast<std::vector<int64_t>>(value));
    } else {
      attrs.set(name, nb::cast<int64_t>(value));
    }
  }
  return attrs;
}

nb::tuple tuple_of(const Dims& dims) { return nb::tuple(nb::cast(dims.vector())); }

void bind_graph(nb::module_& module) {
  module.def("ops", &list_of_ops, "Every op: (name, operands, outputs, what it computes).");
  module.def("precisions", &precisions,
             "Every op and what it does in a step in bf16 or f16: (name, full, follow or low).");
  nb::class_<Graph>(module, "Graph", "The logical program.")
      .def(nb::init<>())
      .def("add", [](Graph& graph, const std::string& op, const std::vector<int64_t>& inputs, const nb::dict& attrs,
                     const std::string& scope, const std::string& file,
                     int line) { return numbers(graph.add(op, ids(inputs), attrs_from(attrs), scope, {file, line})); })
      .def("variable",
           [](Graph& graph, const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
              const std::string& file,
              int line) { return graph.variable(name, dtype_from_name(dtype), Shape(shape), {file, line}).value; })
      .def("source",
           [](Graph& graph, const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape,
              bool batched, const std::string& file, int line) {
             return graph.source(name, dtype_from_name(dtype), Shape(shape), batched, {file, line}).value;
           })
      .def("assign",
           [](Graph& graph, int64_t variable, int64_t next) { graph.assign(ValueId(variable), ValueId(next)); })
      .def("output", [](Graph& graph, const std::string& name, int64_t value) { graph.output(name, ValueId(value)); })
      .def("pin", [](Graph& graph, int64_t value, const std::string& axis, const std::string& sbp,
                     const std::string& pattern, const std::string& file,
                     int line) { graph.pin({ValueId(value), axis, sbp_from_text(sbp), {file, line}, pattern}); })
      .def("set_role", [](Graph& graph, const std::string& role) { graph.set_role(role_of(role)); })
      .def(
          "gradients",
          [](Graph& graph, int64_t scalar, const std::vector<int64_t>& wrt, int64_t seed) {
            return numbers(graph.gradients(ValueId(scalar), ids(wrt), ValueId(seed)));
          },
          nb::arg(), nb::arg(), nb::arg() = ValueId().value)
      .def("type",
           [](const Graph& graph, int64_t value) {
             const TensorType& type = graph.value(ValueId(value)).type;
             return nb::make_tuple(name_of(type.dtype), tuple_of(type.shape));
           })
      .def("name", [](const Graph& graph, int64_t value) { return graph.value(ValueId(value)).name; })
      .def("names",
           [](const Graph& graph) {
             std::vector<std::string> names;
             for (const Value& value : graph.values()) names.push_back(value.name);
             return names;
           })
      .def("outputs",
           [](const Graph& graph) {
             std::vector<std::string> names;
             for (const OutputValue& output : graph.outputs()) names.push_back(output.name);
             return names;
           })
      .def("producer", &producer_of)
      .def("pins_of",
           [](const Graph& graph, int64_t value) {
             nb::list result;
             for (const Pin& pin : graph.pins()) {
               if (pin.value == ValueId(value)) result.append(nb::make_tuple(pin.axis, pin.sbp.str()));
             }
             return result;
           })
      .def("__str__", &Graph::str);
}

}  // namespace troupe::python
