#include "planner/task_graph.h"

#include <algorithm>

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
    const std::string turn =
        turns.size() < 2 || task.segment != Segment::piece ? "" : troupe::str({{1, {task.turn}}}) + " ";
    return std::string(name_of(task.segment)) + " " + turn + join(task.outputs, ", ", name) + " = " + task.kernel +
           "(" + join(task.inputs, ", ", name) + ")" + name_of(task.operands) + "\n";
  });
  for (size_t c = 0; c < positions.size(); ++c) {
    text += "class " + std::to_string(c) + ": positions " +
            join(positions[c], ",", [](int position) { return std::to_string(position); }) + "\n";
  }
  return text;
}

namespace {

// Stages of hosts follow those of devices.
int device_stage(const TaskGraph& graph, const ClassTask& task) {
  return task.stage % static_cast<int>(graph.turns.size());
}
bool on_host(const TaskGraph& graph, const ClassTask& task) {
  return task.stage >= static_cast<int>(graph.turns.size());
}

int computes_beside(const TaskGraph& graph, int task, int step) {
  const ClassTask& here = graph.tasks[static_cast<size_t>(task)];
  for (int t = task + step; t >= 0 && t < static_cast<int>(graph.tasks.size()); t += step) {
    const ClassTask& other = graph.tasks[static_cast<size_t>(t)];
    if (other.segment != here.segment || other.turn != here.turn) break;  // turns stand one after another
    if (other.stream == StreamKind::compute && other.stage == device_stage(graph, here)) return t;
  }
  return -1;
}

}  // namespace

int computes_before(const TaskGraph& graph, int task) { return computes_beside(graph, task, -1); }
int computes_after(const TaskGraph& graph, int task) { return computes_beside(graph, task, 1); }

bool spans_turns(const TaskGraph& graph, const ClassRegister& reg) {
  if (graph.turns.size() < 2 || reg.producer < 0 || reg.arena != ArenaKind::workspace) return false;
  const ClassTask& producer = graph.tasks[static_cast<size_t>(reg.producer)];
  if (producer.segment != Segment::piece || reg.accumulates) return false;
  if (producer.stream == StreamKind::copy && computes_before(graph, reg.producer) < 0) return true;
  // What others pull is kept apart too: they are in no order with the turns of this stage.
  const auto in_turn = [&](int puller) {
    const ClassTask& task = graph.tasks[static_cast<size_t>(puller)];
    return !on_host(graph, producer) && on_host(graph, task) && task.turn == producer.turn &&
           computes_after(graph, puller) >= 0;
  };
  if (!std::all_of(reg.pullers.begin(), reg.pullers.end(), in_turn)) return true;
  return std::any_of(reg.readers.begin(), reg.readers.end(), [&](int reader) {
    const ClassTask& task = graph.tasks[static_cast<size_t>(reader)];
    return task.segment == Segment::piece && task.turn != producer.turn;
  });
}

PieceBox piece_box(const ProgramValue& value, const Choices& choices, int position) {
  const Layout& layout = *value.layout;
  const int local = choices.in_stage(position);
  PieceBox result{layout.box(value.type.shape, local), value.type.shape};
  if (value.rate != Rate::piece || value.of_all_pieces) return result;
  std::vector<Sbp> data_only = layout.sbp();
  bool cut = false;
  for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
    if (!choices.is_data_axis(axis)) data_only[static_cast<size_t>(axis)] = B;
    cut = cut || data_only[static_cast<size_t>(axis)].is_split();
  }
  if (!cut) return result;
  const Box piece = Layout(choices.mesh, data_only).box(value.type.shape, local);
  result.logical = piece.extent;
  for (int d = 0; d < piece.offset.rank(); ++d) result.box.offset[d] -= piece.offset[d];
  return result;
}

int data_rank(const Choices& choices, int position) {
  int rank = 0;
  for (int axis = 0; axis < choices.mesh.axis_count(); ++axis) {
    if (choices.is_data_axis(axis)) {
      rank = rank * choices.mesh.axis(axis).size + choices.mesh.coordinate(choices.in_stage(position), axis);
    }
  }
  return rank;
}

Group group_of(const Choices& choices, int position, int axis) {
  const int local = choices.in_stage(position);
  Group group{choices.mesh.group(local, axis), choices.mesh.coordinate(local, axis)};
  for (int& member : group.positions) member += position - local;
  return group;
}

Part slice_at(const ProgramValue& value, const Choices& choices, int position, int axis) {
  const int local = choices.in_stage(position);
  const int64_t elements = value.layout->local_shape(value.type.shape, local).elements();
  return slice_of(elements, value.type.dtype, choices.mesh.axis(axis).size, choices.mesh.coordinate(local, axis));
}

}  // namespace troupe
