#include "planner/emit.h"

#include <algorithm>
#include <array>
#include <optional>

#include "ops/accumulate.h"
#include "planner/pulls.h"
#include "planner/reuse.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

// The device that stands for this one.
int stand_in_of(const TaskGraph& graph, const Choices& choices, int position) {
  if (!choices.one_per_class) return position;
  return graph.positions[static_cast<size_t>(graph.class_of[static_cast<size_t>(position)])].front();
}

std::vector<int> shown_positions(const TaskGraph& graph, const Choices& choices) {
  std::vector<int> shown;
  for (int position = 0; position < choices.positions(); ++position) {
    if (stand_in_of(graph, choices, position) == position) shown.push_back(position);
  }
  return shown;
}

std::vector<Instance> instances(const auto& items, const TaskGraph& graph, const Choices& choices) {
  std::vector<Instance> result;
  for (int position : shown_positions(graph, choices)) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].stage == choices.stage_at(position)) result.push_back({static_cast<int>(i), position});
    }
  }
  return result;
}

class EmitStage {
 public:
  EmitStage(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, const Choices& choices)
      : graph_(graph),
        program_(program),
        memory_(memory),
        choices_(choices),
        rounds_(choices.rounds()),
        shown_(shown_positions(graph, choices)) {}

  Plan run() {
    plan_.name = choices_.name;
    plan_.epoch = choices_.epoch;
    plan_.seed = choices_.seed;
    plan_.rounds = rounds_;
    for (const std::string& name : choices_.devices) plan_.devices.push_back({name, {0, 0, 0}});
    number();
    for (int position : shown_) add_device(position);
    for (const Instance& reg : register_instances(graph_, choices_)) add_register(reg.index, reg.position);
    for (const Instance& task : task_instances(graph_, choices_)) add_task(task.index, task.position);
    for (const ReuseEdge& edge : reuse_edges(graph_, memory_, remote_readers_)) add_control(edge, "reuse after ");
    for (const auto& [before, copy] : starts_of_copies(graph_)) {
      for (int position : shown_) {
        if (choices_.stage_at(position) != graph_.tasks[static_cast<size_t>(copy)].stage) continue;
        add_control({{before, position}, {copy, position}, 0}, "copy after ");
      }
    }
    for (const ProgramVariable& variable : program_.variables) add_variable(variable);
    for (const auto& [name, value] : program_.outputs) add_output(name, value);
    return std::move(plan_);
  }

 private:
  int stand_in(int position) const { return stand_in_of(graph_, choices_, position); }
  size_t class_of(int position) const { return static_cast<size_t>(graph_.class_of[static_cast<size_t>(position)]); }
  int64_t begin(int position, ArenaKind kind) const {
    return graph_.arena_begin[static_cast<size_t>(position)][static_cast<size_t>(kind)];
  }
  bool of_pieces(int task) const { return graph_.tasks[static_cast<size_t>(task)].segment == Segment::piece; }

  // Device by device, in the order of the task graph.
  TaskId task_id(TaskAt at) const {
    const size_t task = static_cast<size_t>(at.task);
    CHECK(graph_.tasks[task].stage == choices_.stage_at(at.position), graph_.tasks[task].name, at.position);
    return TaskId(first_task_[static_cast<size_t>(at.position)] + task_in_stage_[task]);
  }
  RegisterId register_id(int reg, int position) const {
    const size_t r = static_cast<size_t>(reg);
    CHECK(graph_.registers[r].stage == choices_.stage_at(position), graph_.registers[r].name, position);
    return RegisterId(first_register_[static_cast<size_t>(position)] + register_in_stage_[r]);
  }

  void number() {
    const auto count = [&](const auto& items, std::vector<int64_t>& in_stage, std::vector<int64_t>& first) {
      std::vector<int64_t> counts(static_cast<size_t>(choices_.stages()), 0);
      for (const auto& item : items) in_stage.push_back(counts[static_cast<size_t>(item.stage)]++);
      int64_t total = 0;
      first.resize(static_cast<size_t>(choices_.positions()));
      for (int position : shown_) {
        first[static_cast<size_t>(position)] = total;
        total += counts[static_cast<size_t>(choices_.stage_at(position))];
      }
      return static_cast<size_t>(total);
    };
    plan_.tasks.reserve(count(graph_.tasks, task_in_stage_, first_task_));
    plan_.registers.reserve(count(graph_.registers, register_in_stage_, first_register_));
    streams_.resize(static_cast<size_t>(choices_.positions()));
    remote_readers_.resize(graph_.registers.size());
    streams_of_.resize(choices_.devices.size(), 0);
  }

  void add_device(int position) {
    const int stage = choices_.stage_at(position);
    const DeviceId id = choices_.device_at(position);
    PlanDevice& device = plan_.devices[id.index()];
    const std::string of_stage = streams_of_[id.index()]++ == 0 ? "" : " of stage " + std::to_string(stage);
    for (int kind = 0; kind < kArenaKinds; ++kind) {
      int64_t& bytes = device.arena_bytes[kind];
      bytes = std::max(bytes, graph_.arena_end[static_cast<size_t>(position)][static_cast<size_t>(kind)]);
    }
    PlanStream sources{device.name + " source" + of_stage, id, true, {}};
    add_segment(sources, rounds_, tasks_of(position, Segment::piece, StreamKind::source, std::nullopt));
    add_stream(position, StreamKind::compute,
               in_turns(position, StreamKind::compute, {device.name + " compute" + of_stage, id, false, {}}));
    add_stream(position, StreamKind::copy,
               in_turns(position, StreamKind::copy, {device.name + " copy" + of_stage, id, false, {}}));
    add_stream(position, StreamKind::source, std::move(sources));
  }

  void add_stream(int position, StreamKind kind, PlanStream stream) {
    if (stream.segments.empty()) return;
    streams_[static_cast<size_t>(position)][static_cast<size_t>(kind)] =
        StreamId(static_cast<int64_t>(plan_.streams.size()));
    plan_.streams.push_back(std::move(stream));
  }

  static void add_segment(PlanStream& stream, int repeat, std::vector<TaskId> tasks) {
    if (!tasks.empty()) stream.segments.push_back({repeat, std::move(tasks)});
  }

  PlanStream in_turns(int position, StreamKind kind, PlanStream stream) const {
    add_segment(stream, 1, tasks_of(position, Segment::before, kind, std::nullopt));
    const int stage = choices_.beside(choices_.stage_at(position));
    for (const Stretch& stretch : fold(graph_.turns[static_cast<size_t>(stage)])) {
      std::vector<TaskId> tasks;
      for (Turn turn : stretch.turns) {
        const std::vector<TaskId> more = tasks_of(position, Segment::piece, kind, turn);
        tasks.insert(tasks.end(), more.begin(), more.end());
      }
      add_segment(stream, stretch.repeat, std::move(tasks));
    }
    add_segment(stream, 1, tasks_of(position, Segment::after, kind, std::nullopt));
    return stream;
  }

  // A device's tasks of a segment, all or those of a turn.
  std::vector<TaskId> tasks_of(int position, Segment segment, StreamKind stream, std::optional<Turn> turn) const {
    std::vector<TaskId> tasks;
    for (size_t t = 0; t < graph_.tasks.size(); ++t) {
      const ClassTask& task = graph_.tasks[t];
      if (task.stage != choices_.stage_at(position) || task.segment != segment) continue;
      if (task.stream != stream || (turn && task.turn != *turn)) continue;
      tasks.push_back(task_id({static_cast<int>(t), position}));
    }
    return tasks;
  }

  void add_register(int r, int position) {
    const ClassRegister& reg = graph_.registers[static_cast<size_t>(r)];
    const size_t c = class_of(position);
    const ProgramValue& value = program_.value(reg.value);
    PlanRegister made;
    made.name = reg.name;
    if (reg.producer >= 0) made.producer = task_id({reg.producer, position});
    made.device = choices_.device_at(position);
    made.dtype = value.type.dtype;
    made.shape = reg.shapes[c];
    int64_t within = 0;
    if (reg.sliced()) {
      const ClassTask& producer = graph_.tasks[static_cast<size_t>(reg.producer)];
      const Part slice = slice_at(value, choices_, position, program_.node(producer.node).boxing->axis);
      made.offset = {slice.offset};
      made.logical = {value.layout->local_shape(value.type.shape, choices_.in_stage(position)).elements()};
      if (reg.in_whole && slice.size > 0) within = slice.offset * size_of(value.type.dtype);
    } else {
      const PieceBox box = piece_box(value, choices_, position);
      made.offset = box.box.offset;
      made.logical = box.logical;
    }
    made.bytes = reg.bytes[c];
    made.arena = reg.arena;
    const bool variable = reg.arena == ArenaKind::variables;
    const int64_t first = variable ? reg.variable_offsets[static_cast<size_t>(position)]
                                   : begin(position, reg.arena) + reg.offsets[c] + within;
    for (int slot = 0; slot < reg.slots; ++slot) made.slots.push_back(first + slot * aligned(reg.bytes[c]));
    made.slot_count = reg.slots;
    made.every = reg.accumulates ? rounds_ : 1;
    made.initial = variable ? 1 : 0;
    plan_.registers.push_back(std::move(made));
  }

  void add_task(int t, int position) {
    const ClassTask& task = graph_.tasks[static_cast<size_t>(t)];
    const ProgramNode& node = program_.node(task.node);
    const size_t c = class_of(position);
    PlanTask made;
    made.name = task.name;
    made.kind = task.stream == StreamKind::source ? TaskKind::source : TaskKind::compute;
    made.kernel = task.kernel;
    made.device = choices_.device_at(position);
    made.stream = streams_[static_cast<size_t>(position)][static_cast<size_t>(task.stream)];
    made.attrs = node.attrs;
    made.key = hash_path(node.path);
    made.scratch_offset = begin(position, ArenaKind::workspace) + task.scratch_offset[c];
    made.scratch_bytes = task.scratch_bytes[c];
    made.firings_per_step = of_pieces(t) ? rounds_ : 1;
    made.line = node.line;
    made.predicted_s = task.seconds[c];
    // What is made for all pieces is also pulled by devices that have a piece left when this one has none.
    if (node.rate == Rate::piece && !program_.value(node.outputs.front()).of_all_pieces) {
      const ShardRange range =
          shards_of(choices_.batch_shards, choices_.data_parallel_size(), data_rank(choices_, position));
      made.first_shard = range.first;
      made.shards = range.count;
      made.pieces_per_shard = choices_.pieces_per_shard;
    }
    if (node.kind == NodeKind::accumulate) {
      made.attrs = {{"first_shard", made.first_shard},
                    {"shards", made.shards},
                    {"pieces_per_shard", made.pieces_per_shard},
                    {"total_shards", choices_.batch_shards}};
    }
    if (task.operands == Operands::own) {
      for (int input : task.inputs) made.inputs.push_back(read_of(t, input, position));
    } else {
      const DevicePull pull = device_pull(graph_, program_, choices_, task, position);
      made.attrs = pull_attrs(pull.regions, pull.flat, pull.filled, static_cast<int>(pull.reduction));
      const DType dtype = program_.value(node.outputs.front()).type.dtype;
      CHECK(pull_scratch_bytes(pull.regions, dtype) <= made.scratch_bytes, made.name);
      const int input = task.inputs.front();
      for (int from : pull.sources) {
        const int source = stand_in(from);
        const PlanRead read = read_of(t, input, source);
        if (choices_.one_per_class && std::find(made.inputs.begin(), made.inputs.end(), read) != made.inputs.end())
          continue;
        made.inputs.push_back(read);
        if (source != position) {
          remote_readers_[static_cast<size_t>(input)][source].push_back({t, position});
        }
      }
    }
    for (int output : task.outputs) made.outputs.push_back(register_id(output, position));
    plan_.tasks.push_back(std::move(made));
  }

  // A task of the piece rate holds what is made once per step for all pieces.
  PlanRead read_of(int t, int reg, int position) const {
    const int producer = graph_.registers[static_cast<size_t>(reg)].producer;
    const bool accumulates = graph_.registers[static_cast<size_t>(reg)].accumulates;
    const bool made_per_piece = producer >= 0 && of_pieces(producer) && !accumulates;
    return {register_id(reg, position), of_pieces(t) && !made_per_piece ? rounds_ : 1};
  }

  void add_control(const ReuseEdge& edge, const std::string& what) {
    const bool reader_pieces = of_pieces(edge.reader.task);
    const bool writer_pieces = of_pieces(edge.writer.task);
    PlanTask& reader = plan_.tasks[task_id(edge.reader).index()];
    PlanTask& writer = plan_.tasks[task_id(edge.writer).index()];
    PlanRegister control;
    control.name = what + reader.name;
    control.producer = task_id(edge.reader);
    control.every = reader_pieces && !writer_pieces ? rounds_ : 1;
    control.initial = edge.tokens;
    control.slot_count = edge.tokens + 2;  // never the tighter bound: the registers' own credits are
    const RegisterId id(static_cast<int64_t>(plan_.registers.size()));
    plan_.registers.push_back(std::move(control));
    reader.outputs.push_back(id);
    writer.inputs.push_back({id, writer_pieces && !reader_pieces ? rounds_ : 1});
  }

  void add_variable(const ProgramVariable& variable) {
    const ProgramValue& value = program_.value(variable.value);
    PlanVariable made{variable.name, value.type.dtype, value.type.shape, {}};
    const int reg = graph_.register_of[variable.value.index()];
    const int first = choices_.stage_of(value.layout->mesh()) * choices_.mesh.size();
    for (int local = 0; local < choices_.mesh.size(); ++local) {
      if (stand_in(first + local) != first + local) continue;
      made.parts.push_back({register_id(reg, first + local), value.layout->box(value.type.shape, local), -1});
    }
    plan_.variables.push_back(std::move(made));
  }

  // The parts that together hold the value once: of copies, the first.
  void add_output(const std::string& name, ValueId id) {
    const ProgramValue& value = program_.value(id);
    PlanOutput made{name, value.type.dtype, value.type.shape, {}};
    const int batch_dim = value.rate == Rate::piece ? find_batch_dim(value) : -1;
    if (batch_dim >= 0) {
      made.shape[batch_dim] = value.type.shape[batch_dim] / choices_.data_parallel_size() * choices_.batch_shards *
                              choices_.pieces_per_shard;
    }
    const int first = choices_.stage_of(value.layout->mesh()) * choices_.mesh.size();
    for (int local = 0; local < choices_.mesh.size(); ++local) {
      const int position = first + local;
      if (!value.layout->is_first_copy(local) || stand_in(position) != position) continue;
      const RegisterId reg = register_id(graph_.register_of[id.index()], position);
      if (batch_dim < 0) {
        made.parts.push_back({reg, value.layout->box(value.type.shape, local), -1});
        continue;
      }
      const PieceBox piece = piece_box(value, choices_, position);
      const ShardRange range =
          shards_of(choices_.batch_shards, choices_.data_parallel_size(), data_rank(choices_, position));
      for (int firing = 0; firing < range.count * choices_.pieces_per_shard; ++firing) {
        Box box = piece.box;
        const int64_t number = static_cast<int64_t>(range.first) * choices_.pieces_per_shard + firing;
        box.offset[batch_dim] += number * piece.logical[batch_dim];
        made.parts.push_back({reg, box, static_cast<int32_t>(number)});
      }
    }
    plan_.outputs.push_back(std::move(made));
  }

  // The dim along which a value of the piece rate holds different samples: the one that data axes split; without data
  // axes dim 0, which is the sources' batch dim. -1 when the value is one for all pieces of the only round.
  int find_batch_dim(const ProgramValue& value) const {
    for (const std::string& name : choices_.data_axes) {
      const int axis = choices_.mesh.find_axis(name);
      if (axis >= 0 && value.layout->sbp(axis).is_split()) return value.layout->sbp(axis).dim;
    }
    if (rounds_ == 1) return -1;
    if (value.type.shape.rank() > 0 && choices_.data_parallel_size() == 1) return 0;
    const ProgramNode& node = program_.node(value.producer);
    throw PlanError(
        "output", value.name,
        "is computed per piece and has no batch dim, so a step has no one value of it; fetch its sum or mean over "
        "the step instead",
        node.line);
  }

  const TaskGraph& graph_;
  const Program& program_;
  const MemoryPlan& memory_;
  const Choices& choices_;
  int rounds_;
  std::vector<int> shown_;              // positions
  std::vector<int64_t> task_in_stage_;  // by task: how many of its stage come before it
  std::vector<int64_t> first_task_;     // by position
  std::vector<int64_t> register_in_stage_;
  std::vector<int64_t> first_register_;
  std::vector<std::array<StreamId, kStreamKinds>> streams_;  // by position, by StreamKind
  std::vector<int> streams_of_;                              // by device: how many stages have some there so far
  RemoteReaders remote_readers_;
  Plan plan_;
};

}  // namespace

std::vector<Instance> task_instances(const TaskGraph& graph, const Choices& choices) {
  return instances(graph.tasks, graph, choices);
}

std::vector<Instance> register_instances(const TaskGraph& graph, const Choices& choices) {
  return instances(graph.registers, graph, choices);
}

Plan emit(const TaskGraph& graph, const Program& program, const MemoryPlan& memory, const Choices& choices) {
  return EmitStage(graph, program, memory, choices).run();
}

}  // namespace troupe
