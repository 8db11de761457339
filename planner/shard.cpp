#include "planner/shard.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "ops/accumulate.h"
#include "ops/pull.h"
#include "planner/boxing_price.h"
#include "planner/op_seconds.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

class ShardStage {
 public:
  ShardStage(const Program& program, const Choices& choices, const Profile& profile)
      : program_(program), choices_(choices), profile_(profile) {
    graph_.register_of.assign(program.values.size(), -1);
  }

  TaskGraph run() {
    find_segments();
    find_turns();
    for (const ProgramVariable& variable : program_.variables) add_variable(variable);
    for (NodeId id : in_order_of_time()) add_node(id);
    set_slots();
    find_classes();
    for (ClassRegister& reg : graph_.registers) size_register(reg);
    for (ClassTask& task : graph_.tasks) size_task(task);
    return std::move(graph_);
  }

 private:
  const ProgramNode& node(NodeId id) const { return program_.node(id); }

  // Nodes of the step rate run before the pieces when a piece reads what they make, else after. With one piece per
  // device nothing tells a piece from a step, and all runs in the order of the program.
  void find_segments() {
    if (choices_.rounds() == 1 && !choices_.pipeline.is_cut()) {
      segments_.assign(program_.nodes.size(), Segment::piece);
      return;
    }
    segments_.assign(program_.nodes.size(), Segment::after);
    std::vector<bool> read_by_pieces(program_.values.size(), false);
    for (size_t n = program_.nodes.size(); n-- > 0;) {
      const ProgramNode& here = program_.nodes[n];
      const bool of_pieces = here.rate == Rate::piece;
      const bool read = std::any_of(here.outputs.begin(), here.outputs.end(),
                                    [&](ValueId output) { return read_by_pieces[output.index()]; });
      if (!of_pieces && !read) continue;
      segments_[n] = of_pieces ? Segment::piece : Segment::before;
      for (ValueId input : here.inputs) read_by_pieces[input.index()] = true;
    }
  }

  // Of every node of the piece rate: in which turn of its chunk it runs.
  void find_turns() {
    turns_.assign(program_.nodes.size(), Turn{});
    if (!choices_.pipeline.is_cut()) {
      graph_.turns = {std::vector<Turn>(static_cast<size_t>(choices_.rounds()), Turn{})};
      return;
    }
    bool trains = false;
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      const ProgramNode& here = program_.nodes[n];
      const auto comes_late = [&](ValueId input) {
        const NodeId producer = program_.value(input).producer;
        return node(producer).rate == Rate::piece && turns_[producer.index()].pass == Pass::backward;
      };
      const bool backward =
          here.role == Role::backward || std::any_of(here.inputs.begin(), here.inputs.end(), comes_late);
      turns_[n] = {backward ? Pass::backward : Pass::forward, here.chunk};
      trains = trains || (backward && segments_[n] == Segment::piece);
    }
    if (choices_.pipeline.schedule == Schedule::zero_bubble) put_off_weights();
    for (int stage = 0; stage < choices_.pipeline.stage_count(); ++stage) {
      graph_.turns.push_back(trains ? turns_of(choices_.pipeline, stage, choices_.rounds()) : forward_turns(stage));
    }
  }

  // Without a backward pass: every piece through all chunks, in order.
  std::vector<Turn> forward_turns(int stage) const {
    const Pipeline& pipeline = choices_.pipeline;
    std::vector<Turn> turns;
    for (int piece = 0; piece < choices_.rounds(); ++piece) {
      for (int chunk = stage; chunk < pipeline.chunks; chunk += pipeline.stage_count()) {
        turns.push_back({Pass::forward, chunk});
      }
    }
    return turns;
  }

  // Of backward passes, what no other chunk waits for can be done later.
  void put_off_weights() {
    std::vector<bool> awaited(program_.nodes.size(), false);
    for (size_t n = program_.nodes.size(); n-- > 0;) {
      const ProgramNode& here = program_.nodes[n];
      if (segments_[n] != Segment::piece || turns_[n].pass != Pass::backward) continue;
      const bool waits = awaited[n];
      for (ValueId input : here.inputs) {
        const size_t producer = program_.value(input).producer.index();
        if (waits || program_.nodes[producer].chunk != here.chunk) awaited[producer] = true;
      }
    }
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      const bool backward = segments_[n] == Segment::piece && turns_[n].pass == Pass::backward;
      if (backward && !awaited[n]) turns_[n].pass = Pass::weight;
    }
  }

  // Segment by segment; pieces by their turns: forward from the first chunk to the last, then backward.
  std::vector<NodeId> in_order_of_time() const {
    std::vector<NodeId> order;
    for (size_t n = 0; n < program_.nodes.size(); ++n) order.push_back(NodeId(static_cast<int64_t>(n)));
    const auto time = [&](NodeId id) {
      const Segment segment = segments_[id.index()];
      const Turn turn = segment == Segment::piece ? turns_[id.index()] : Turn{};
      return std::tuple(segment, turn.pass, turn.pass == Pass::forward ? turn.chunk : -turn.chunk);
    };
    std::stable_sort(order.begin(), order.end(), [&](NodeId a, NodeId b) { return time(a) < time(b); });
    return order;
  }

  // What passes from turn to turn has a slot for each piece that is under way between them.
  void set_slots() {
    if (!choices_.pipeline.is_cut()) return;
    for (ClassRegister& reg : graph_.registers) {
      if (reg.producer < 0 || reg.accumulates) continue;
      const ClassTask& producer = graph_.tasks[static_cast<size_t>(reg.producer)];
      if (producer.segment != Segment::piece || program_.node(producer.node).kind == NodeKind::fetch) continue;
      int needed = 1;
      for (const std::vector<int>* list : {&reg.readers, &reg.pullers}) {
        for (int reader : *list) {
          const ClassTask& task = graph_.tasks[static_cast<size_t>(reader)];
          if (task.segment != Segment::piece) continue;
          needed = std::max(needed, near(task, reg) ? held_between(producer, task) : send_slots());
        }
      }
      reg.slots = producer.stream == StreamKind::source ? needed + choices_.source_slots - 1 : needed;
    }
  }

  // On the same devices, or with the host memory beside them, in the order of the same turns.
  bool near(const ClassTask& task, const ClassRegister& reg) const {
    return choices_.beside(task.stage) == choices_.beside(reg.stage);
  }

  int send_slots() const { return std::max(choices_.pipeline.send_slots, 1); }

  int held_between(const ClassTask& producer, const ClassTask& reader) const {
    const std::vector<Turn>& turns = graph_.turns[static_cast<size_t>(choices_.beside(producer.stage))];
    // A source is in no turn: what it has read is there when the first reader's turn begins.
    const Turn from = producer.stream == StreamKind::source ? Turn{Pass::forward, producer.turn.chunk} : producer.turn;
    return in_flight(turns, from, reader.turn);
  }

  int add_register(const std::string& name, ValueId value, int producer) {
    ClassRegister reg;
    reg.stage = choices_.stage_of(program_.value(value).layout->mesh());
    reg.name = name;
    reg.value = value;
    reg.producer = producer;
    graph_.registers.push_back(std::move(reg));
    return static_cast<int>(graph_.registers.size()) - 1;
  }

  void add_variable(const ProgramVariable& variable) {
    const int reg = add_register(variable.name, variable.value, -1);
    graph_.registers[static_cast<size_t>(reg)].arena = ArenaKind::variables;
    graph_.register_of[variable.value.index()] = reg;
  }

  // Between a device and the memory of its host.
  bool is_copy(const ProgramNode& here) const {
    return here.on_host ||
           (here.kind == NodeKind::boxing && choices_.is_host(choices_.stage_of(here.boxing->from.mesh())));
  }

  int add_task(NodeId id, Operands operands, const std::string& name, const std::string& kernel,
               std::vector<int> inputs) {
    const int task = static_cast<int>(graph_.tasks.size());
    for (int input : inputs) {
      ClassRegister& reg = graph_.registers[static_cast<size_t>(input)];
      (operands == Operands::own ? reg.readers : reg.pullers).push_back(task);
    }
    ClassTask made;
    made.node = id;
    made.operands = operands;
    made.name = name;
    made.kernel = kernel;
    made.segment = segments_[id.index()];
    made.stage = choices_.pipeline.stage_of(node(id).chunk);
    if (node(id).on_host) made.stage += choices_.pipeline.stage_count();
    if (is_copy(node(id))) made.stream = StreamKind::copy;
    made.turn = turns_[id.index()];
    made.inputs = std::move(inputs);
    graph_.tasks.push_back(std::move(made));
    return task;
  }

  void add_node(NodeId id) {
    const ProgramNode& here = node(id);
    if (here.kind == NodeKind::variable) return;
    std::vector<int> inputs;
    for (ValueId input : here.inputs) inputs.push_back(graph_.register_of[input.index()]);
    if (here.kind == NodeKind::boxing) return add_boxing(id, inputs.front());
    const bool source = here.kind == NodeKind::source;
    const std::string kernel = source ? here.path : here.op->name;
    const int task = add_task(id, Operands::own, here.path, kernel, std::move(inputs));
    if (source) graph_.tasks.back().stream = StreamKind::source;
    for (size_t o = 0; o < here.outputs.size(); ++o) add_output(id, task, static_cast<int>(o));
  }

  void add_output(NodeId id, int task, int output) {
    const ProgramNode& here = node(id);
    const ValueId value = here.outputs[static_cast<size_t>(output)];
    for (const ProgramVariable& variable : program_.variables) {
      if (variable.update != id || variable.update_output != output) continue;
      const int reg = graph_.register_of[variable.value.index()];
      graph_.registers[static_cast<size_t>(reg)].producer = task;
      graph_.tasks[static_cast<size_t>(task)].outputs.push_back(reg);
      graph_.register_of[value.index()] = reg;
      return;
    }
    const int reg = add_register(program_.value(value).name, value, task);
    ClassRegister& made = graph_.registers[static_cast<size_t>(reg)];
    made.accumulates = here.kind == NodeKind::accumulate;
    if (here.kind == NodeKind::source) {
      made.arena = ArenaKind::io;
      made.slots = choices_.source_slots;
    }
    if (here.kind == NodeKind::fetch) {
      made.arena = ArenaKind::io;
      made.slots = here.rate == Rate::piece ? choices_.rounds() : 1;
    }
    graph_.tasks[static_cast<size_t>(task)].outputs.push_back(reg);
    graph_.register_of[value.index()] = reg;
  }

  void add_boxing(NodeId id, int input) {
    const ProgramNode& here = node(id);
    const BoxingStep& step = *here.boxing;
    const ValueId value = here.outputs.front();
    int task = 0;
    int slice = -1;
    const TensorType& type = program_.value(value).type;
    if (step.kind == BoxingKind::all_reduce && !one_hop(step, type.shape, type.dtype)) {
      const int first = add_task(id, Operands::sliced, here.path + ".slice", "pull", {input});
      slice = add_register(here.path + ".slice", value, first);
      graph_.tasks.back().outputs.push_back(slice);
      task = add_task(id, Operands::joined, here.path, "pull", {slice});
    } else {
      task = add_task(id, Operands::pulled, here.path, "pull", {input});
    }
    const int reg = add_register(program_.value(value).name, value, task);
    if (slice >= 0) graph_.registers[static_cast<size_t>(slice)].whole = reg;
    graph_.tasks[static_cast<size_t>(task)].outputs.push_back(reg);
    graph_.register_of[value.index()] = reg;
  }

  Shape shape_at(const ClassRegister& reg, int position) const {
    const ProgramValue& value = program_.value(reg.value);
    const Shape local = value.layout->local_shape(value.type.shape, choices_.in_stage(position));
    if (!reg.sliced()) return local;
    const ProgramNode& producer = node(graph_.tasks[static_cast<size_t>(reg.producer)].node);
    return {slice_at(value, choices_, position, producer.boxing->axis).size};
  }

  void find_classes() {
    std::map<std::vector<int64_t>, int> known;
    for (int position = 0; position < choices_.positions(); ++position) {
      const int stage = choices_.stage_at(position);
      std::vector<int64_t> sizes = {
          stage, shards_of(choices_.batch_shards, choices_.data_parallel_size(), data_rank(choices_, position)).count};
      for (const ClassRegister& reg : graph_.registers) {
        if (reg.stage != stage) continue;
        const Shape shape = shape_at(reg, position);
        sizes.insert(sizes.end(), shape.begin(), shape.end());
      }
      for (const ClassTask& task : graph_.tasks) {
        const ProgramNode& here = node(task.node);
        if (task.stage != stage || here.kind != NodeKind::compute || !here.op->flops_by_place) continue;
        sizes.push_back(std::llround(flops_at(task, position)));
      }
      const auto [it, added] = known.emplace(std::move(sizes), graph_.classes());
      if (added) graph_.positions.emplace_back();
      graph_.positions[static_cast<size_t>(it->second)].push_back(position);
      graph_.class_of.push_back(it->second);
    }
  }

  void size_register(ClassRegister& reg) const {
    const DType dtype = program_.value(reg.value).type.dtype;
    for (const std::vector<int>& positions : graph_.positions) {
      if (choices_.stage_at(positions.front()) != reg.stage) {  // not there
        reg.shapes.emplace_back();
        reg.bytes.push_back(0);
        reg.offsets.push_back(0);
        continue;
      }
      const Shape shape = shape_at(reg, positions.front());
      int64_t copies = 1;
      if (reg.accumulates) {
        // Every device of the class has room for the deepest stack among them.
        for (int position : positions) {
          const ShardRange range =
              shards_of(choices_.batch_shards, choices_.data_parallel_size(), data_rank(choices_, position));
          copies = std::max<int64_t>(copies, accumulator_depth(range.first, range.count, choices_.batch_shards));
        }
      }
      reg.shapes.push_back(shape);
      reg.bytes.push_back(shape.elements() * size_of(dtype) * copies);
      reg.offsets.push_back(0);
    }
  }

  void size_task(ClassTask& task) const {
    for (size_t c = 0; c < graph_.positions.size(); ++c) {
      const bool there = choices_.stage_at(graph_.positions[c].front()) == task.stage;
      task.scratch_bytes.push_back(there ? aligned(scratch_bytes(task, c)) : 0);
      task.scratch_offset.push_back(0);
      task.seconds.push_back(there ? seconds(task, c) : 0);
    }
  }

  std::vector<TensorType> types_at(const std::vector<int>& registers, int position) const {
    std::vector<TensorType> types;
    for (int r : registers) {
      const ClassRegister& reg = graph_.registers[static_cast<size_t>(r)];
      types.push_back({program_.value(reg.value).type.dtype, shape_at(reg, position)});
    }
    return types;
  }

  // Of one firing of a task that works on registers of its own device.
  double flops_at(const ClassTask& task, int position) const {
    const std::vector<TensorType> inputs = types_at(task.inputs, position);
    const std::vector<Place> places = places_at(task, position);
    const ProgramNode& here = node(task.node);
    return here.op->flops({inputs, here.attrs, places});
  }

  // Of the operands of a task that works on registers of its own device.
  std::vector<Place> places_at(const ClassTask& task, int position) const {
    std::vector<Place> places;
    for (int r : task.inputs) {
      const PieceBox at = piece_box(program_.value(graph_.registers[static_cast<size_t>(r)].value), choices_, position);
      places.push_back({at.box.offset, at.logical});
    }
    return places;
  }

  std::vector<TensorType> local_types(const std::vector<int>& registers, size_t c) const {
    std::vector<TensorType> types;
    for (int r : registers) {
      const ClassRegister& reg = graph_.registers[static_cast<size_t>(r)];
      types.push_back({program_.value(reg.value).type.dtype, reg.shapes[c]});
    }
    return types;
  }

  int64_t scratch_bytes(const ClassTask& task, size_t c) const {
    const ProgramNode& here = node(task.node);
    if (here.kind == NodeKind::boxing) return pull_scratch_bound(here);
    if (here.op->scratch_bytes == nullptr || here.kind == NodeKind::source) return 0;
    const std::vector<TensorType> inputs = local_types(task.inputs, c);
    return here.op->scratch_bytes({inputs, here.attrs});
  }

  // Of one firing.
  double seconds(const ClassTask& task, size_t c) const {
    const ProgramNode& here = node(task.node);
    if (here.kind == NodeKind::boxing) {
      const TensorType& type = program_.value(here.outputs.front()).type;
      const double whole = boxing_seconds(*here.boxing, type.shape, type.dtype, choices_.topology, profile_);
      return task.operands == Operands::pulled ? whole : whole / 2;
    }
    const std::vector<TensorType> inputs = local_types(task.inputs, c);
    int64_t bytes = 0;
    for (const TensorType& type : inputs) bytes += type.shape.elements() * size_of(type.dtype);
    for (const TensorType& type : local_types(task.outputs, c)) bytes += type.shape.elements() * size_of(type.dtype);
    const std::vector<Place> places = places_at(task, graph_.positions[c].front());
    return op_seconds(*here.op, {inputs, here.attrs, places}, static_cast<double>(bytes), profile_) + profile_.firing_s;
  }

  // Whether parts of a sum are added, and do not stay apart.
  static bool adds(const BoxingStep& step) {
    for (int axis = 0; axis < step.from.mesh().axis_count(); ++axis) {
      const bool alike = step.from.mesh().axes() == step.to.mesh().axes() && step.from.sbp(axis) == step.to.sbp(axis);
      if (step.from.sbp(axis).is_partial() && !alike) return true;
    }
    return false;
  }

  // A region adds at most one tensor per device and tree node.
  int64_t pull_scratch_bound(const ProgramNode& here) const {
    if (!adds(*here.boxing)) return 0;
    const size_t sources = static_cast<size_t>(std::max(here.boxing->from.mesh().size(), 2 * choices_.batch_shards));
    PullRegion region;
    region.sources.resize(sources);
    region.program.resize(2 * sources);
    return pull_scratch_bytes({region}, program_.value(here.outputs.front()).type.dtype);
  }

  const Program& program_;
  const Choices& choices_;
  const Profile& profile_;
  std::vector<Segment> segments_;  // by node
  std::vector<Turn> turns_;        // by node
  TaskGraph graph_;
};

}  // namespace

TaskGraph shard(const Program& program, const Choices& choices, const Profile& profile) {
  return ShardStage(program, choices, profile).run();
}

}  // namespace troupe
