#include "planner/box.h"

#include <algorithm>
#include <map>

#include "runtime/base/check.h"

namespace troupe {
namespace {

class BoxStage {
 public:
  BoxStage(const Program& program, const Deduced& deduced, const Choices& choices)
      : program_(program),
        deduced_(deduced),
        choices_(choices),
        copied_(program.values.size()),
        forms_(program.values.size()),
        apart_(program.keeps_pieces_apart(choices)) {}

  Program run() {
    for (size_t n = 0; n < program_.nodes.size(); ++n) copy(NodeId(static_cast<int64_t>(n)));
    for (const ProgramVariable& variable : program_.variables) {
      ProgramVariable boxed = variable;
      boxed.value = copied_[variable.value.index()];
      if (variable.update.valid()) boxed.update = copied_node_[variable.update];
      result_.variables.push_back(boxed);
    }
    for (const SourceValue& source : program_.sources) {
      result_.sources.push_back({source.name, copied_[source.value.index()], source.batched});
    }
    for (const auto& [name, value] : program_.outputs) result_.outputs.emplace_back(name, copied_[value.index()]);
    return std::move(result_);
  }

 private:
  struct Form {
    Layout layout;
    ValueId value;
  };

  void copy(NodeId id) {
    const ProgramNode& node = program_.node(id);
    ProgramNode copied = node;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Layout needed = deduced_.input_layout(choices_.mesh, id, static_cast<int>(i));
      copied.inputs[i] = in_layout(node.inputs[i], needed);
    }
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      ProgramValue value = program_.value(node.outputs[o]);
      value.layout = deduced_.output_layout(choices_.mesh, id, static_cast<int>(o));
      copied.outputs[o] = result_.add_value(value);
      copied_[node.outputs[o].index()] = copied.outputs[o];
      forms_[node.outputs[o].index()] = {{*value.layout, copied.outputs[o]}};
    }
    copied_node_[id] = result_.add_node(std::move(copied));
    if (node.kind == NodeKind::accumulate) result_.value(copied_[node.outputs.front().index()]).rate = Rate::step;
  }

  bool is_data_axis(int axis) const {
    const std::string& name = choices_.mesh.axis(axis).name;
    return std::find(choices_.data_axes.begin(), choices_.data_axes.end(), name) != choices_.data_axes.end();
  }

  // The value in this layout, boxed from the form that is cheapest to start from.
  ValueId in_layout(ValueId value, const Layout& needed) {
    std::vector<Form>& forms = forms_[value.index()];
    if (forms.size() == 1) {
      const Layout common(choices_.mesh, deduced_.common[value.index()]);
      if (!(common == needed)) reach(value, common);
    }
    return reach(value, needed);
  }

  ValueId reach(ValueId value, const Layout& needed) {
    std::vector<Form>& forms = forms_[value.index()];
    for (const Form& form : forms) {
      if (form.layout == needed) return form.value;
    }
    const ProgramValue& v = program_.value(value);
    double best = -1;
    std::vector<BoxingStep> best_steps;
    ValueId from;
    Layout start;
    for (const Form& form : forms) {
      const std::vector<BoxingStep> steps = steps_between(value, own_pieces(form.layout, needed), needed);
      const double seconds = cost_of(steps, v.type.shape, v.type.dtype, choices_.topology).seconds;
      if (best < 0 || seconds < best) {
        best = seconds;
        best_steps = steps;
        from = form.value;
        start = own_pieces(form.layout, needed);
      }
    }
    if (!(*result_.value(from).layout == start)) from = add_copy(value, from, start);
    for (const BoxingStep& step : best_steps) from = add_boxing(value, from, step);
    forms.push_back({needed, from});
    return from;
  }

  // Where each device has its own piece, a whole value is a part of the sum over pieces as it is.
  Layout own_pieces(Layout from, const Layout& to) const {
    if (!apart_) return from;
    for (int axis = 0; axis < choices_.mesh.axis_count(); ++axis) {
      const bool own = choices_.mesh.axis(axis).size > 1 && is_data_axis(axis);
      if (own && from.sbp(axis).is_broadcast() && to.sbp(axis).is_partial_sum()) from = from.with(axis, P);
    }
    return from;
  }

  // Partial sums over the data axes are the parts of one canonical sum; they are added before anything else.
  std::vector<BoxingStep> steps_between(ValueId value, const Layout& from, const Layout& to) const {
    const ProgramValue& v = program_.value(value);
    Layout middle = from;
    bool sums = false;
    for (int axis = 0; axis < choices_.mesh.axis_count(); ++axis) {
      if (!is_data_axis(axis) || !from.sbp(axis).is_partial() || to.sbp(axis).is_partial()) continue;
      middle = middle.with(axis, to.sbp(axis));
      sums = true;
    }
    if (!sums || middle == to) return boxing(from, to, v.type.shape, v.type.dtype, choices_.topology);
    std::vector<BoxingStep> steps = boxing(from, middle, v.type.shape, v.type.dtype, choices_.topology);
    for (BoxingStep& step : boxing(middle, to, v.type.shape, v.type.dtype, choices_.topology)) {
      steps.push_back(std::move(step));
    }
    return steps;
  }

  ValueId add_boxing(ValueId original, ValueId from, const BoxingStep& step) {
    return add(original, from, NodeKind::boxing, step.to, step);
  }

  ValueId add_copy(ValueId original, ValueId from, const Layout& layout) {
    return add(original, from, NodeKind::compute, layout, std::nullopt);
  }

  ValueId add(ValueId original, ValueId from, NodeKind kind, const Layout& layout, std::optional<BoxingStep> step) {
    const ProgramValue& source = program_.value(original);
    const ProgramNode& producer = program_.node(source.producer);
    ProgramNode node;
    node.kind = kind;
    node.op = find_op("to_layout");
    node.path = source.name + "@" + std::to_string(++boxed_[original]);
    node.line = producer.line;
    node.role = producer.role;
    node.rate = source.rate;
    node.boxing = std::move(step);
    const ValueId boxed = result_.add_value({node.path, source.type, {}, source.rate, layout});
    node.inputs = {from};
    node.outputs = {boxed};
    result_.add_node(std::move(node));
    return boxed;
  }

  const Program& program_;
  const Deduced& deduced_;
  const Choices& choices_;
  std::vector<ValueId> copied_;  // by value
  std::map<NodeId, NodeId> copied_node_;
  std::vector<std::vector<Form>> forms_;  // by value: the layouts it can be had in so far
  std::map<ValueId, int> boxed_;
  bool apart_;  // pieces are
  Program result_;
};

}  // namespace

Program box(const Program& program, const Deduced& deduced, const Choices& choices) {
  return BoxStage(program, deduced, choices).run();
}

}  // namespace troupe
