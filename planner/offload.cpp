#include "planner/offload.h"

#include <algorithm>
#include <map>

#include "planner/recompute.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

class Offload {
 public:
  Offload(const Program& program, const Choices& choices) : program_(program), choices_(choices) {
    result_ = program;
    result_.nodes.clear();
  }

  Program run() {
    find_moves();
    std::vector<NodeId> copied;
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      for (ValueId value : back_before_[n]) add_copy(value, false);
      ProgramNode node = program_.nodes[n];
      if (node.role == Role::backward) {
        for (ValueId& input : node.inputs) input = moved_.contains(input) ? moved_.at(input) : input;
      }
      copied.push_back(result_.copy_node(std::move(node)));
      for (ValueId value : away_after_[n]) add_copy(value, true);
    }
    for (ProgramVariable& variable : result_.variables) {
      if (variable.update.valid()) variable.update = copied[variable.update.index()];
    }
    return std::move(result_);
  }

 private:
  void find_moves() {
    std::vector<std::vector<size_t>> readers(program_.values.size());
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      for (ValueId input : program_.nodes[n].inputs) readers[input.index()].push_back(n);
    }
    std::vector<bool> found(choices_.offload.size(), false);
    away_after_.resize(program_.nodes.size());
    back_before_.resize(program_.nodes.size());
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      const ProgramNode& node = program_.nodes[n];
      const size_t module = module_of(node);
      if (module == choices_.offload.size()) continue;
      for (ValueId value : node.outputs) {
        const ProgramValue& v = program_.value(value);
        if (v.of_all_pieces || v.type.shape.rank() == 0) continue;
        const auto backward = [&](size_t reader) { return program_.nodes[reader].role == Role::backward; };
        const std::vector<size_t>& all = readers[value.index()];
        const auto first = std::find_if(all.begin(), all.end(), backward);
        // Readers stand in the order of time: one of another kind among the later ones needs it where it is.
        if (first == all.end() || !std::all_of(first, all.end(), backward)) continue;
        away_after_[first == all.begin() ? n : *(first - 1)].push_back(value);
        back_before_[*first].push_back(value);
        found[module] = true;
      }
    }
    for (size_t m = 0; m < found.size(); ++m) {
      if (!found[m]) {
        throw PlanError("offload: the backward pass reads nothing that is made below '" + choices_.offload[m] + "'");
      }
    }
  }

  size_t module_of(const ProgramNode& node) const {
    const bool made = node.kind == NodeKind::compute || node.kind == NodeKind::boxing;
    if (!made || node.rate != Rate::piece || node.role != Role::forward) return choices_.offload.size();
    const auto it = std::find_if(choices_.offload.begin(), choices_.offload.end(),
                                 [&](const std::string& module) { return is_below(node.path, module); });
    return static_cast<size_t>(it - choices_.offload.begin());
  }

  // To the host, or back from it.
  void add_copy(ValueId original, bool away) {
    const ProgramValue& v = program_.value(original);
    const ProgramNode& producer = program_.node(v.producer);
    const Layout here = *v.layout;
    const Layout there = on_host(here);
    ProgramNode node;
    node.kind = NodeKind::boxing;
    node.op = find_op("to_layout");
    node.path = v.name + (away ? "@away" : "@back");
    node.line = producer.line;
    node.role = away ? Role::forward : Role::backward;
    node.rate = Rate::piece;
    node.chunk = producer.chunk;
    node.on_host = away;
    node.boxing = BoxingStep{BoxingKind::exchange, -1, apart(away ? here : there), apart(away ? there : here)};
    const ValueId copy = result_.add_value({node.path, v.type, {}, Rate::piece, away ? there : here, false});
    node.inputs = {away ? original : moved_.at(original)};
    node.outputs = {copy};
    result_.add_node(std::move(node));
    moved_[original] = copy;
  }

  Layout on_host(const Layout& layout) const {
    std::vector<int> order;
    for (int dim = 0; dim < kMaxRank; ++dim) {
      const std::vector<int> axes = layout.axes_on(dim);
      order.insert(order.end(), axes.begin(), axes.end());
    }
    return Layout(choices_.host_mesh(choices_.stage_of(layout.mesh())), layout.sbp(), order);
  }

  // Copies of a value stay with their devices, as parts of a sum do.
  static Layout apart(Layout layout) {
    for (int axis = 0; axis < layout.mesh().axis_count(); ++axis) {
      if (layout.sbp(axis).is_broadcast()) layout = layout.with(axis, P);
    }
    return layout;
  }

  const Program& program_;
  const Choices& choices_;
  std::vector<std::vector<ValueId>> away_after_;   // by node
  std::vector<std::vector<ValueId>> back_before_;  // by node
  std::map<ValueId, ValueId> moved_;               // where a value is now
  Program result_;
};

}  // namespace

Program offload(const Program& program, const Choices& choices) {
  return choices.offload.empty() ? program : Offload(program, choices).run();
}

}  // namespace troupe
