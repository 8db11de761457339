#include "planner/pins.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace troupe {
namespace {

// "softmax 'attn.7': x" is what a pinned value is called: the op that makes it, its path, the value.
[[noreturn]] void refuse(const Program& program, const Pin& pin, const std::string& text) {
  const ProgramValue& value = program.value(pin.value);
  const ProgramNode& node = program.node(value.producer);
  const std::string by = pin.pattern.empty() ? "" : " by " + pin.pattern;
  throw PlanError(node.op->name, node.path,
                  value.name + " is pinned to " + pin.sbp.str() + by + " on axis '" + pin.axis + "', " + text,
                  pin.line.known() ? pin.line : node.line);
}

void check(const Program& program, const Mesh& mesh, const Pin& pin) {
  const ProgramValue& value = program.value(pin.value);
  const int rank = value.type.shape.rank();
  if (mesh.find_axis(pin.axis) < 0) {
    refuse(program, pin, "but the mesh has no such axis; " + join(mesh.axes(), ", ", [](const Axis& axis) {
                           return "'" + axis.name + "'";
                         }) + " are possible");
  }
  const bool variable = program.node(value.producer).kind == NodeKind::variable;
  if (pin.sbp.is_split() && (pin.sbp.dim < 0 || pin.sbp.dim >= rank)) {
    refuse(program, pin,
           "but " + value.name + " is " + value.type.str() + " with " +
               (rank == 0 ? "no dims" : "dims 0.." + std::to_string(rank - 1)) + "; " +
               possible_layouts(rank, !variable) + " are possible");
  }
  if (pin.sbp.is_partial() && variable) {
    refuse(program, pin,
           "but a variable is stored whole or in parts, never as a partial sum; " + possible_layouts(rank, false) +
               " are possible");
  }
}

}  // namespace

std::string possible_layouts(int rank, bool with_partial) {
  std::string text;
  for (int d = 0; d < rank; ++d) text += S(d).str() + ", ";
  text += with_partial ? "B or P" : "B";
  return text;
}

Demands::Demands(const Program& program, const Choices& choices) {
  for (const Pin& pin : program.pins) {
    check(program, choices.mesh, pin);
    demand(program, pin.value, choices.mesh.find_axis(pin.axis), pin.sbp, &pin);
  }
  for (const SourceValue& source : program.sources) {
    for (const std::string& name : choices.data_axes) {
      const int axis = choices.mesh.find_axis(name);
      if (axis >= 0) demand(program, source.value, axis, source.batched ? S(0) : B, nullptr);
    }
  }
  for (const ProgramVariable& variable : program.variables) {
    const auto bound = choices.variables.find(variable.name);
    if (bound == choices.variables.end()) continue;
    for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
      demand(program, variable.value, axis, bound->second.layout.sbp(axis), nullptr);
    }
  }
  // An update overwrites several variables (a parameter and the optimizer's state) in one layout.
  for (const ProgramVariable& variable : program.variables) {
    if (!variable.update.valid()) continue;
    const ProgramNode& update = program.node(variable.update);
    for (const auto& [output, input] : update.op->updates) {
      if (static_cast<size_t>(input) >= update.inputs.size()) continue;  // an optional operand that is absent
      const ValueId other = update.inputs[static_cast<size_t>(input)];
      if (program.node(program.value(other).producer).kind != NodeKind::variable) continue;
      for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
        const auto it = demands_.find({other, axis});
        if (it != demands_.end()) demands_.emplace(std::pair(variable.value, axis), Demand{it->second.sbp, nullptr});
      }
    }
  }
}

void Demands::demand(const Program& program, ValueId value, int axis, Sbp sbp, const Pin* pin) {
  const auto [it, added] = demands_.emplace(std::pair(value, axis), Demand{sbp, pin});
  if (added) return;
  if (it->second.sbp == sbp) {
    if (pin != nullptr && pin->made) it->second.pin = pin;  // asks for more
    return;
  }
  const Pin* named = pin != nullptr ? pin : it->second.pin;
  if (named == nullptr) throw PlanError("two plans disagree about the layout of " + program.value(value).name);
  const Demand other = named == pin ? it->second : Demand{sbp, pin};
  std::string why = "but ";
  if (other.pin == nullptr) {
    why += "the plan already places it as " + other.sbp.str();
  } else {
    why += (other.pin->pattern.empty() ? "another pin" : other.pin->pattern) + " asks for " + other.sbp.str();
    if (other.pin->line.known()) why += " (" + other.pin->line.str() + ")";
  }
  refuse(program, *named, why + "; only one of the two is possible");
}

std::optional<Sbp> Demands::of(ValueId value, int axis) const {
  const auto it = demands_.find({value, axis});
  return it == demands_.end() ? std::nullopt : std::optional(it->second.sbp);
}

const Pin* Demands::pin_of(ValueId value, int axis) const {
  const auto it = demands_.find({value, axis});
  return it == demands_.end() ? nullptr : it->second.pin;
}

}  // namespace troupe
