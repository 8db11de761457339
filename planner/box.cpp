#include "planner/box.h"

#include <algorithm>
#include <bit>
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
        apart_(program.keeps_pieces_apart(choices)) {
    readers_.resize(program.values.size());
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      const std::vector<ValueId>& inputs = program.nodes[n].inputs;
      for (size_t i = 0; i < inputs.size(); ++i) {
        readers_[inputs[i].index()].emplace_back(NodeId(static_cast<int64_t>(n)), static_cast<int>(i));
      }
    }
  }

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
      copied.inputs[i] =
          in_layout(node.inputs[i], deduced_.input_layout(choices_, program_, id, static_cast<int>(i)), node);
    }
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      ProgramValue value = program_.value(node.outputs[o]);
      value.layout = deduced_.output_layout(choices_, program_, id, static_cast<int>(o));
      copied.outputs[o] = result_.add_value(value);
      copied_[node.outputs[o].index()] = copied.outputs[o];
      forms_[node.outputs[o].index()] = {{*value.layout, copied.outputs[o]}};
    }
    copied_node_[id] = result_.add_node(std::move(copied));
    if (node.kind != NodeKind::accumulate) return;
    const ValueId sum = node.outputs.front();
    result_.value(copied_[sum.index()]).rate = Rate::step;
    // Reduced as soon as it is there: what each device has of it need not be kept for long.
    for (const auto& [reader, input] : readers_[sum.index()]) {
      in_layout(sum, deduced_.input_layout(choices_, program_, reader, input), program_.node(reader));
    }
  }

  // The value in this layout, boxed from the form that is cheapest to start from, for this reader.
  ValueId in_layout(ValueId value, const Layout& needed, const ProgramNode& reader) {
    if (reader.rate == Rate::piece && (gathered_per_pass(value) || couples_positions(reader))) {
      std::vector<Form>& forms = per_pass_[{value, reader.role}];
      if (forms.empty()) forms = {forms_[value.index()].front()};
      return reach(value, needed, forms, Rate::piece, reader);
    }
    std::vector<Form>& forms = forms_[value.index()];
    const ProgramValue& v = program_.value(value);
    if (forms.size() == 1) {
      const Layout common = deduced_.common_layout(choices_, program_, value);
      if (!(common == needed)) reach(value, common, forms, v.rate, reader);
    }
    return reach(value, needed, forms, v.rate, reader);
  }

  // Keys and values of other devices' positions are let go of after each pass: nobody holds them for all layers.
  bool couples_positions(const ProgramNode& reader) const {
    return choices_.mesh.find_axis(choices_.sequence_axis) >= 0 && reader.op->split_sequence != nullptr;
  }

  bool gathered_per_pass(ValueId value) const {
    const ProgramNode& producer = program_.node(program_.value(value).producer);
    // What is made of a parameter alone, in another dtype or shape, is as large a thing to keep whole.
    if (producer.kind == NodeKind::compute && producer.rate == Rate::step && producer.inputs.size() == 1) {
      return gathered_per_pass(producer.inputs.front());
    }
    return producer.kind == NodeKind::variable && choices_.gathered_per_pass.contains(program_.value(value).name);
  }

  // Adds to `forms`. What is boxed on the way fires at this rate.
  ValueId reach(ValueId value, const Layout& needed, std::vector<Form>& forms, Rate rate, const ProgramNode& reader) {
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
    if (!(*result_.value(from).layout == start)) {
      from = add(value, from, NodeKind::compute, start, std::nullopt, rate, reader);
    }
    for (const BoxingStep& step : best_steps) {
      const Layout& reached = &step == &best_steps.back() ? needed : step.to;
      from = add(value, from, NodeKind::boxing, reached, step, rate, reader);
    }
    forms.push_back({needed, from});
    return from;
  }

  // Where each device has its own piece, a whole value is a part of the sum over pieces as it is.
  Layout own_pieces(Layout from, const Layout& to) const {
    if (!apart_ || !(from.mesh() == to.mesh())) return from;
    for (int axis = 0; axis < choices_.mesh.axis_count(); ++axis) {
      const bool own = choices_.mesh.axis(axis).size > 1 && choices_.is_data_axis(axis);
      if (own && from.sbp(axis).is_broadcast() && to.sbp(axis).is_partial_sum()) from = from.with(axis, P);
    }
    return from;
  }

  // Partial sums over the data axes are the parts of one canonical sum; they are added before anything else.
  std::vector<BoxingStep> steps_between(ValueId value, const Layout& from, const Layout& to) const {
    const ProgramValue& v = program_.value(value);
    if (!(from.mesh() == to.mesh())) return steps_to_other_stage(v, from, to);
    std::vector<int> sums;  // data axes, innermost first
    std::vector<Sbp> added = from.sbp();
    for (int axis = choices_.mesh.axis_count(); axis-- > 0;) {
      if (!choices_.is_data_axis(axis) || !from.sbp(axis).is_partial() || to.sbp(axis).is_partial()) continue;
      added[static_cast<size_t>(axis)] = to.sbp(axis);
      if (choices_.mesh.axis(axis).size > 1) sums.push_back(axis);
    }
    std::vector<BoxingStep> steps;
    Layout here = from;
    const auto go = [&](const Layout& next) {
      for (BoxingStep& step : boxing(here, next, v.type.shape, v.type.dtype, choices_.topology)) {
        steps.push_back(std::move(step));
      }
      here = next;
    };
    if (sums.size() == 1) {
      go(layout_of(choices_, choices_.stage_of(from.mesh()), v.rate, added));
    } else if (sums.size() > 1 && sums_axis_by_axis(added, sums)) {
      for (int axis : sums) go(here.with(axis, to.sbp(axis)));
    } else if (sums.size() > 1) {
      const Layout whole = layout_of(choices_, choices_.stage_of(from.mesh()), v.rate, added);
      steps.push_back({BoxingKind::exchange, -1, here, whole});
      here = whole;
    }
    go(to);
    return steps;
  }

  // A piece stays with its rank on the data axes. What is whole there is each rank's own, which is what P says: those
  // of equal coordinates exchange.
  std::vector<BoxingStep> steps_to_other_stage(const ProgramValue& v, Layout from, Layout to) const {
    for (int axis : choices_.split_data_axes()) {
      if (v.rate != Rate::piece || !apart_ || !from.sbp(axis).is_broadcast()) continue;
      CHECK(to.sbp(axis).is_broadcast() || to.sbp(axis).is_partial_sum(), v.name, from.str(), to.str());
      from = from.with(axis, P);
      to = to.with(axis, P);
    }
    std::vector<BoxingStep> steps = boxing(from, to, v.type.shape, v.type.dtype, choices_.topology);
    // The same parts on the same devices: still, the other stage has registers of its own.
    if (steps.empty()) steps.push_back({BoxingKind::exchange, -1, from, to});
    return steps;
  }

  // Whether the sum along an inner axis is a node of the tree over all batch shards, and leaves a layout in which the
  // next axis has a collective of its own.
  bool sums_axis_by_axis(const std::vector<Sbp>& added, const std::vector<int>& inner_first) const {
    const int shards = choices_.batch_shards;
    const int outermost = choices_.mesh.axis(inner_first.back()).size;
    if (shards % outermost != 0 || !std::has_single_bit(static_cast<unsigned>(shards / outermost))) return false;
    if (shards % choices_.data_parallel_size() != 0) return false;
    return std::all_of(inner_first.begin() + 1, inner_first.end(),
                       [&](int axis) { return added[static_cast<size_t>(axis)].is_broadcast(); });
  }

  ValueId add(ValueId original, ValueId from, NodeKind kind, const Layout& layout, std::optional<BoxingStep> step,
              Rate rate, const ProgramNode& reader) {
    const ProgramValue& source = program_.value(original);
    const ProgramNode& producer = program_.node(source.producer);
    ProgramNode node;
    node.kind = kind;
    node.op = find_op("to_layout");
    node.path = source.name + "@" + std::to_string(++boxed_[original]);
    node.line = producer.line;
    // Done when it is first needed; but what is summed over the step belongs to what it sums, and what is made ready
    // for another stage to where it comes from.
    const bool for_another = layout.mesh() == deduced_.common_layout(choices_, program_, original).mesh() &&
                             choices_.pipeline.stage_of(reader.chunk) != choices_.pipeline.stage_of(producer.chunk);
    node.role = rate == Rate::step || for_another ? producer.role : reader.role;
    node.rate = rate;
    const bool moves = !(layout.mesh() == result_.value(from).layout->mesh());
    node.chunk = moves ? reader.chunk : result_.node(result_.value(from).producer).chunk;
    node.boxing = std::move(step);
    const bool of_all_pieces = rate == Rate::piece && source.rate == Rate::step;
    const ValueId boxed = result_.add_value({node.path, source.type, {}, rate, layout, of_all_pieces});
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
  std::vector<std::vector<std::pair<NodeId, int>>> readers_;        // by value: with which operand it is
  std::vector<std::vector<Form>> forms_;                            // by value: the layouts it can be had in so far
  std::map<std::pair<ValueId, Role>, std::vector<Form>> per_pass_;  // the same within a pass over a piece
  std::map<ValueId, int> boxed_;
  bool apart_;  // pieces are
  Program result_;
};

}  // namespace

Program box(const Program& program, const Deduced& deduced, const Choices& choices) {
  return BoxStage(program, deduced, choices).run();
}

}  // namespace troupe
