#include <algorithm>

#include "planner/deduce.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

std::vector<Sbp> sbp_of(const std::vector<Signature>& by_axis, bool output, int operand) {
  std::vector<Sbp> sbp;
  for (const Signature& signature : by_axis) {
    sbp.push_back((output ? signature.outputs : signature.inputs).at(static_cast<size_t>(operand)));
  }
  return sbp;
}

// As the plan that placed the variable first has it: that may know of other data axes, and so of another order.
Layout as_bound(const Choices& choices, const Program& program, ValueId value, Layout layout) {
  if (program.node(program.value(value).producer).kind != NodeKind::variable) return layout;
  const auto bound = choices.variables.find(program.value(value).name);
  return bound != choices.variables.end() && bound->second.layout.sbp() == layout.sbp() ? bound->second.layout : layout;
}

}  // namespace

std::vector<int> axis_order(const Choices& choices) {
  std::vector<int> order;
  for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) order.push_back(axis);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const auto rank = [&](int axis) {
      return choices.is_data_axis(axis) ? 0 : choices.mesh.axis(axis).name == choices.sequence_axis ? 1 : 2;
    };
    return rank(a) < rank(b);
  });
  return order;
}

Layout layout_of(const Choices& choices, int chunk, Rate rate, std::vector<Sbp> sbp) {
  std::vector<int> order = axis_order(choices);
  if (rate == Rate::step) {
    std::rotate(order.begin(),
                std::find_if(order.begin(), order.end(), [&](int axis) { return !choices.is_data_axis(axis); }),
                order.end());
  }
  return Layout(choices.stage_mesh(choices.pipeline.stage_of(chunk)), std::move(sbp), std::move(order));
}

Layout Deduced::input_layout(const Choices& choices, const Program& program, NodeId node, int input) const {
  const ValueId value = program.node(node).inputs[static_cast<size_t>(input)];
  return layout_of(choices, program.node(node).chunk, program.value(value).rate,
                   sbp_of(signatures[node.index()], false, input));
}

Layout Deduced::output_layout(const Choices& choices, const Program& program, NodeId node, int output) const {
  const ValueId value = program.node(node).outputs[static_cast<size_t>(output)];
  return as_bound(choices, program, value,
                  layout_of(choices, program.node(node).chunk, program.value(value).rate,
                            sbp_of(signatures[node.index()], true, output)));
}

Layout Deduced::common_layout(const Choices& choices, const Program& program, ValueId value) const {
  return as_bound(choices, program, value,
                  layout_of(choices, program.node(program.value(value).producer).chunk, program.value(value).rate,
                            common[value.index()]));
}

std::string Deduced::str(const Program& program, const Mesh& mesh) const {
  std::string text;
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    text += program.nodes[n].text() + ":";
    for (int axis = 0; axis < mesh.axis_count(); ++axis) {
      text += (axis == 0 ? " " : "; ") + mesh.axis(axis).name + " " + signatures[n][static_cast<size_t>(axis)].str();
    }
    text += "\n";
  }
  return text;
}

}  // namespace troupe
