#include "planner/task_graph.h"

#include "runtime/base/text.h"

namespace troupe {
namespace {

const char* name_of(Operands operands) {
  switch (operands) {
    case Operands::own:
      return "";
    case Operands::pulled:
      return " pulled";
    case Operands::sliced:
      return " sliced";
    case Operands::joined:
      return " joined";
  }
  return "";
}

}  // namespace

const char* name_of(Segment segment) {
  switch (segment) {
    case Segment::before:
      return "before";
    case Segment::piece:
      return "piece";
    case Segment::after:
      return "after";
  }
  return "";
}

std::string TaskGraph::str() const {
  std::string text = join(tasks, "", [this](const ClassTask& task) {
    const auto name = [this](int reg) { return registers[static_cast<size_t>(reg)].name; };
    return std::string(name_of(task.segment)) + " " + join(task.outputs, ", ", name) + " = " + task.kernel + "(" +
           join(task.inputs, ", ", name) + ")" + name_of(task.operands) + "\n";
  });
  for (size_t c = 0; c < positions.size(); ++c) {
    text += "class " + std::to_string(c) + ": positions " +
            join(positions[c], ",", [](int position) { return std::to_string(position); }) + "\n";
  }
  return text;
}

PieceBox piece_box(const ProgramValue& value, const Choices& choices, int position) {
  const Layout& layout = *value.layout;
  PieceBox result{layout.box(value.type.shape, position), value.type.shape};
  if (value.rate != Rate::piece) return result;
  std::vector<Sbp> data_only = layout.sbp();
  bool cut = false;
  for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
    if (!choices.is_data_axis(axis)) data_only[static_cast<size_t>(axis)] = B;
    cut = cut || data_only[static_cast<size_t>(axis)].is_split();
  }
  if (!cut) return result;
  const Box piece = Layout(choices.mesh, data_only).box(value.type.shape, position);
  result.logical = piece.extent;
  for (int d = 0; d < piece.offset.rank(); ++d) result.box.offset[d] -= piece.offset[d];
  return result;
}

int data_rank(const Choices& choices, int position) {
  int rank = 0;
  for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
    if (choices.is_data_axis(axis)) {
      rank = rank * choices.mesh.axis(axis).size + choices.mesh.coordinate(position, axis);
    }
  }
  return rank;
}

Group group_of(const Mesh& mesh, int position, int axis) {
  return {mesh.group(position, axis), mesh.coordinate(position, axis)};
}

}  // namespace troupe
