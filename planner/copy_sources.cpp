#include "planner/copy_sources.h"

#include <map>

namespace troupe {

Program copy_sources(const Program& program, const Choices& choices) {
  if (!choices.copies_sources) return program;
  Program result = program;
  result.nodes.clear();
  std::map<ValueId, ValueId> copies;
  std::vector<NodeId> moved;  // by node of the program
  for (const ProgramNode& original : program.nodes) {
    ProgramNode node = original;
    for (ValueId& input : node.inputs) input = copies.contains(input) ? copies.at(input) : input;
    moved.push_back(result.copy_node(std::move(node)));
    if (original.kind != NodeKind::source) continue;
    for (const ValueId read : original.outputs) {
      ProgramValue value = result.value(read);
      value.name += "@in";
      const ValueId copy = result.add_value(value);
      ProgramNode copies_it;
      copies_it.op = find_op("to_layout");
      copies_it.inputs = {read};
      copies_it.outputs = {copy};
      copies_it.path = value.name;
      copies_it.line = original.line;
      copies_it.role = original.role;
      copies_it.rate = original.rate;
      copies_it.chunk = original.chunk;
      result.add_node(std::move(copies_it));
      copies[read] = copy;
    }
  }
  for (ProgramVariable& variable : result.variables) {
    if (variable.update.valid()) variable.update = moved[variable.update.index()];
  }
  return result;
}

}  // namespace troupe
