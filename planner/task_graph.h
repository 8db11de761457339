// Tasks: every node cut up for devices. Devices whose parts of all tensors have the same sizes and give the same work form
// a class and share one description; peers and boxes are functions of the device, applied when the plan is emitted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/program.h"
#include "runtime/plan/plan.h"

namespace troupe {

// When in a step a task runs: before the pieces, with every piece, after them.
enum class Segment : uint8_t { before, piece, after };
constexpr int kSegments = 3;
const char* name_of(Segment segment);

// In which of its device's streams a task runs. What two of them do is in no order but that of registers and control
// edges.
enum class StreamKind : uint8_t {
  compute,
  copy,    // between a device and the memory of its host, each way in a stream of the side that receives
  source,  // reads ahead
};
constexpr int kStreamKinds = 3;

// How a task gets its operands.
enum class Operands : uint8_t {
  own,     // registers of its own device
  pulled,  // parts of its boxing step's input, from the devices that hold them
  sliced,  // an all-reduce, first half: an even slice of the flat tensor from every member, added
  joined,  // second half: the slices of all members
};

// One register on every device of a stage.
struct ClassRegister {
  std::string name;
  ValueId value;             // what it holds (a slice of it: see `whole`)
  int stage = 0;             // on whose devices it lies
  int whole = -1;            // holds this device's slice of the flat tensor of its group, which this register will hold
  bool in_whole = false;     // and lies where it belongs there
  int producer = -1;         // index of the task; -1: a variable nobody updates
  std::vector<int> readers;  // indices of tasks that read it on the same device
  std::vector<int> pullers;  // indices of tasks that may read it from any device, also of another stage
  ArenaKind arena = ArenaKind::workspace;
  int slots = 1;
  bool accumulates = false;
  // By class: what a device holds, and where it lies.
  std::vector<Shape> shapes;
  std::vector<int64_t> bytes;
  std::vector<int64_t> offsets;  // of the first slot; the others follow, aligned. Variables: see below
  // By position: variables alone, since plans that share them may divide devices into other classes.
  std::vector<int64_t> variable_offsets;

  bool sliced() const { return whole >= 0; }
};

struct ClassTask {
  NodeId node;
  Operands operands = Operands::own;
  std::string name;
  std::string kernel;
  Segment segment = Segment::after;
  int stage = 0;
  Turn turn;  // of a pipeline: when it runs among the tasks of the pieces
  StreamKind stream = StreamKind::compute;
  std::vector<int> inputs;              // registers, in the order of the node's inputs
  std::vector<int> outputs;             // registers
  std::vector<int64_t> scratch_bytes;   // by class
  std::vector<int64_t> scratch_offset;  // by class
  std::vector<double> seconds;          // by class: predicted, of one firing
};

struct TaskGraph {
  std::vector<int> class_of;                // by position (see Choices::positions)
  std::vector<std::vector<int>> positions;  // by class
  std::vector<ClassTask> tasks;             // in the order in which every device's streams run them, segment by segment
  std::vector<ClassRegister> registers;
  std::vector<int> register_of;  // by value: the register that holds it
  // By stage of a pipeline: the turns of a step's pieces, over and over. Without a pipeline there is one turn.
  std::vector<std::vector<Turn>> turns;
  // By class, by arena kind: the bytes that a stage has on a device. Of variables none: their addresses are in the whole
  // arena.
  std::vector<std::vector<int64_t>> arena_bytes;
  // By position, by arena kind: where these begin in the device's arena, which they share with what it has for stages
  // before, and where they end.
  std::vector<std::vector<int64_t>> arena_begin;
  std::vector<std::vector<int64_t>> arena_end;

  int classes() const { return static_cast<int>(positions.size()); }
  // A line per task: segment, name, kernel, operands; then a line per class with its devices.
  std::string str() const;
};

// Of a task of the pieces: the nearest one before it, or after it, that computes on devices of the stage (or beside the
// hosts of the stage) in the same turn. -1: there is none.
int computes_before(const TaskGraph& graph, int task);
int computes_after(const TaskGraph& graph, int task);

// Whether a register holds bytes from its first slot to its last for as long as pieces come: it passes from turn to turn,
// or another stage takes its time to read it. A copy between a device and the memory of its host that has its place
// within a turn keeps to it; one whose place is at the turn's border reaches into the next or comes out of the last.
bool spans_turns(const TaskGraph& graph, const ClassRegister& reg);

// Where one device's part of a value lies in its round, and the tensor of one piece that offsets are counted in: along
// data axes a device holds its piece whole.
struct PieceBox {
  Box box;        // in the piece
  Shape logical;  // of the piece
};
PieceBox piece_box(const ProgramValue& value, const Choices& choices, int position);

// The data-parallel rank of a device: its coordinates on the data axes, row-major.
int data_rank(const Choices& choices, int position);

// The devices along `axis` of a device's stage, and its place among them.
struct Group {
  std::vector<int> positions;
  int rank = 0;
};
Group group_of(const Choices& choices, int position, int axis);

// A device's slice of the flat tensor of its group while an all-reduce along `axis` is half done, in elements.
Part slice_at(const ProgramValue& value, const Choices& choices, int position, int axis);

}  // namespace troupe
