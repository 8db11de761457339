#include "planner/pieces.h"

#include <map>

#include "planner/next_versions.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

// Nodes that a variable's next version or an output depends on.
std::vector<bool> needed_nodes(const Graph& graph) {
  std::vector<bool> needed(graph.nodes().size(), false);
  const auto mark = [&](ValueId value) { needed[graph.value(value).producer.index()] = true; };
  for (const Variable& variable : graph.variables()) {
    mark(variable.value);
    if (variable.next.valid()) mark(variable.next);
  }
  for (const OutputValue& output : graph.outputs()) mark(output.value);
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    if (!needed[n]) continue;
    for (ValueId input : graph.nodes()[n].inputs) mark(input);
  }
  return needed;
}

// A gradient of what each piece has is each piece's own, even where no data enters it.
std::vector<Rate> rates_of(const Graph& graph) {
  std::vector<Rate> rates(graph.values().size(), Rate::step);
  for (const Node& node : graph.nodes()) {
    Rate rate = node.op->name == "source" ? Rate::piece : Rate::step;
    if (node.role != Role::update) {
      for (ValueId input : node.inputs) {
        if (rates[input.index()] == Rate::piece) rate = Rate::piece;
      }
    }
    if (node.role == Role::backward && node.origin.valid()) {
      for (ValueId output : graph.node(node.origin).outputs) {
        if (rates[output.index()] == Rate::piece) rate = Rate::piece;
      }
    }
    for (ValueId output : node.outputs) rates[output.index()] = rate;
  }
  return rates;
}

class PiecesStage {
 public:
  PiecesStage(const Graph& graph, const std::vector<int>& chunks)
      : graph_(graph),
        chunks_(chunks),
        rates_(rates_of(graph)),
        needed_(needed_nodes(graph)),
        copied_(graph.values().size()),
        total_(graph.values().size()) {}

  Program run() {
    find_accumulated();
    for (const Variable& variable : graph_.variables()) program_.variables.push_back({variable.name, {}, {}, 0, false});
    const NextVersions next(graph_, needed_);
    for (const NextVersions::Item& item : next.order()) {
      switch (item.kind) {
        case NextVersions::Item::node:
          if (!hoisted_[item.index]) copy(graph_.nodes()[item.index]);
          break;
        case NextVersions::Item::fetch:
          fetch(graph_.outputs()[item.index]);
          break;
        case NextVersions::Item::hold:
          hold(item.index);
          break;
        case NextVersions::Item::assign:
          assign(item.index);
          break;
      }
    }
    for (size_t v = 0; v < graph_.variables().size(); ++v) finish_variable(v, next.in_place(v));
    for (const Pin& pin : graph_.pins()) {
      if (!copied_[pin.value.index()].valid()) continue;
      Pin copied = pin;
      copied.value = copied_[pin.value.index()];
      program_.pins.push_back(copied);
    }
    for (const SourceValue& source : graph_.sources()) {
      if (!copied_[source.value.index()].valid()) continue;
      program_.sources.push_back({source.name, copied_[source.value.index()], source.batched});
    }
    return std::move(program_);
  }

 private:
  // Which values an update needs as totals over the step. A sum over the uses of a shared variable that only updates
  // read moves behind the accumulators of its parts.
  void find_accumulated() {
    accumulated_.assign(graph_.values().size(), false);
    hoisted_.assign(graph_.nodes().size(), false);
    read_before_update_.assign(graph_.values().size(), false);
    std::vector<bool> read_by_piece(graph_.values().size(), false);
    for (size_t n = 0; n < graph_.nodes().size(); ++n) {
      if (!needed_[n]) continue;
      const Node& node = graph_.nodes()[n];
      for (ValueId input : node.inputs) {
        if (node.role != Role::update) read_before_update_[input.index()] = true;
        if (rates_[input.index()] != Rate::piece) continue;
        (node.role == Role::update ? accumulated_ : read_by_piece)[input.index()] = true;
      }
    }
    for (size_t n = graph_.nodes().size(); n-- > 0;) {
      const Node& node = graph_.nodes()[n];
      if (node.op->name != "add_n" || node.role != Role::backward) continue;
      const ValueId sum = node.outputs.front();
      if (!accumulated_[sum.index()] || read_by_piece[sum.index()]) continue;
      bool all_pieces = true;
      for (ValueId input : node.inputs) all_pieces = all_pieces && rates_[input.index()] == Rate::piece;
      if (!all_pieces) continue;
      hoisted_[n] = true;
      accumulated_[sum.index()] = false;
      for (ValueId input : node.inputs) accumulated_[input.index()] = true;
    }
  }

  static NodeKind kind_of(const Node& node) {
    if (node.op->name == "variable") return NodeKind::variable;
    if (node.op->name == "source") return NodeKind::source;
    return NodeKind::compute;
  }

  int chunk_of(ValueId value) const { return chunks_[graph_.value(value).producer.index()]; }

  void copy(const Node& node) {
    ProgramNode copied{kind_of(node),
                       node.op,
                       {},
                       {},
                       node.attrs,
                       node.path,
                       node.line,
                       node.role,
                       Rate::step,
                       chunk_of(node.outputs.front()),
                       {}};
    for (ValueId input : node.inputs) {
      copied.inputs.push_back(node.role == Role::update ? total(input) : copied_[input.index()]);
      CHECK(copied.inputs.back().valid(), node.text);
    }
    copied.rate = rates_[node.outputs.front().index()];
    for (ValueId output : node.outputs) {
      copied_[output.index()] = program_.add_value({graph_.value(output).name, graph_.value(output).type, {}, {}, {}});
      copied.outputs.push_back(copied_[output.index()]);
    }
    program_.add_node(std::move(copied));
    for (ValueId output : node.outputs) {
      if (accumulated_[output.index()]) total_[output.index()] = accumulate(node, copied_[output.index()]);
    }
  }

  ValueId accumulate(const Node& producer, ValueId value) {
    const OpDef* op = find_op("accumulate");
    const ProgramValue source = program_.value(value);
    const ValueId sum = program_.add_value({source.name + ".total", source.type, {}, {}, {}});
    program_.add_node({NodeKind::accumulate,
                       op,
                       {value},
                       {sum},
                       {},
                       source.name + ".total",
                       producer.line,
                       producer.role,
                       Rate::piece,
                       chunk_of(producer.outputs.front()),
                       {}});
    program_.value(sum).rate = Rate::step;
    return sum;
  }

  // The value as an update reads it: summed over the step where it has the piece rate.
  ValueId total(ValueId value) {
    if (rates_[value.index()] == Rate::step) return copied_[value.index()];
    ValueId& sum = total_[value.index()];
    if (!sum.valid()) {  // a hoisted sum over uses
      const Node& node = graph_.node(graph_.value(value).producer);
      CHECK(hoisted_[graph_.value(value).producer.index()], node.text);
      ProgramNode add{NodeKind::compute, node.op,         {}, {}, node.attrs, node.path, node.line, node.role,
                      Rate::step,        chunk_of(value), {}};
      for (ValueId input : node.inputs) add.inputs.push_back(total(input));
      sum = program_.add_value({graph_.value(value).name, graph_.value(value).type, {}, {}, {}});
      add.outputs = {sum};
      program_.add_node(std::move(add));
    }
    return sum;
  }

  // The new version, computed aside, is copied over the old one at the end of the step.
  void assign(size_t v) {
    const Variable& variable = graph_.variables()[v];
    const Node& producer = graph_.node(graph_.value(variable.next).producer);
    if (rates_[variable.next.index()] == Rate::piece) {
      throw PlanError(producer.op->name, producer.path,
                      "a variable's next value must be computed once per step, but this one is computed per piece",
                      producer.line);
    }
    const ValueId old = copied_[variable.value.index()];
    const ValueId from = held_.contains(v) ? held_.at(v) : copied_[variable.next.index()];
    const ValueId value = program_.add_value({variable.name + ".next", program_.value(old).type, {}, {}, {}});
    program_.variables[v].update = program_.add_node({NodeKind::compute,
                                                      find_op("assign"),
                                                      {from, old},
                                                      {value},
                                                      {},
                                                      variable.name + ".assign",
                                                      producer.line,
                                                      Role::update,
                                                      Rate::step,
                                                      chunk_of(variable.value),
                                                      {}});
  }

  // Another variable's old version, kept from its update for `assign`.
  void hold(size_t v) {
    const Variable& variable = graph_.variables()[v];
    const ValueId from = copied_[variable.next.index()];
    held_[v] = program_.add_value({variable.name + ".held", program_.value(from).type, {}, {}, {}});
    program_.add_node({NodeKind::compute,
                       find_op("to_layout"),
                       {from},
                       {held_[v]},
                       {},
                       variable.name + ".held",
                       {},
                       Role::update,
                       Rate::step,
                       chunk_of(variable.next),
                       {}});
  }

  void finish_variable(size_t v, bool in_place) {
    const Variable& variable = graph_.variables()[v];
    ProgramVariable& result = program_.variables[v];
    result.value = copied_[variable.value.index()];
    result.trained = read_before_update_[variable.value.index()];
    if (!in_place) return;
    result.update = program_.value(copied_[variable.next.index()]).producer;
    result.update_output = graph_.value(variable.next).output;
  }

  void fetch(const OutputValue& output) {
    const ValueId value = copied_[output.value.index()];
    const Node& producer = graph_.node(graph_.value(output.value).producer);
    CHECK(value.valid(), output.name);
    const ValueId fetched = program_.add_value({output.name, program_.value(value).type, {}, {}, {}});
    program_.add_node({NodeKind::fetch,
                       find_op("to_layout"),
                       {value},
                       {fetched},
                       {},
                       "fetch." + output.name,
                       producer.line,
                       Role::update,
                       program_.value(value).rate,
                       chunk_of(output.value),
                       {}});
    program_.outputs.emplace_back(output.name, fetched);
  }

  const Graph& graph_;
  const std::vector<int> chunks_;  // by node
  std::vector<Rate> rates_;
  std::vector<bool> needed_;
  std::vector<bool> accumulated_;
  std::vector<bool> hoisted_;
  std::vector<bool> read_before_update_;  // by value: in the forward or backward pass
  std::vector<ValueId> copied_;           // by value of the graph
  std::vector<ValueId> total_;            // its sum over the step
  std::map<size_t, ValueId> held_;        // by variable
  Program program_;
};

}  // namespace

Program pieces(const Graph& graph, const std::vector<int>& chunks) {
  return PiecesStage(graph, chunks.empty() ? std::vector<int>(graph.nodes().size(), 0) : chunks).run();
}

}  // namespace troupe
