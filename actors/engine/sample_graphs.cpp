#include "actors/engine/sample_graphs.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "actors/engine/plan_builder.h"
#include "runtime/base/check.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

// Draws a graph together with one order of a step's firings in which everything is there when it is needed. Streams
// take their order from it and slots are as many as it needs (or more), so it is a run of the graph: the graph is
// live, and then every run of it is.
class Drawing {
 public:
  Drawing(uint64_t seed, const SampleGraphOptions& options)
      : options_(options),
        random_(seed),
        rounds_(static_cast<int32_t>(random_.between(1, 4))),
        builder_("sample " + std::to_string(seed), rounds_) {}

  SampleGraph draw() {
    draw_streams();
    draw_sources();
    draw_variables();
    const int pieces = static_cast<int>(random_.between(2, 10));
    for (int i = 0; i < static_cast<int>(random_.below(3)); ++i) draw_preparation();
    for (int i = 0; i < pieces; ++i) draw_piece_task();
    for (int i = 0; i < static_cast<int>(random_.between(1, 4)); ++i) draw_step_task();
    write_variables();
    draw_control_edges();
    draw_feedback();
    if (options_.reuse_bytes && rounds_in_order_) draw_reuse();
    draw_order();
    choose_slots();
    SampleGraph graph;
    graph.plan = builder_.finish();
    graph.plan.epoch = 1;
    graph.sources = std::move(sources_);
    graph.reuses_bytes = reuses_bytes_;
    return graph;
  }

 private:
  struct Variable {
    RegisterId reg;
    bool per_piece;
    bool written;
    DeviceId device;
  };
  template <class T>
  const T& any(const std::vector<T>& of) {
    return of[static_cast<size_t>(random_.below(static_cast<int64_t>(of.size())))];
  }

  void draw_streams() {
    const int devices = static_cast<int>(random_.between(1, 4));
    for (int d = 0; d < devices; ++d) {
      devices_.push_back(builder_.device("cpu:" + std::to_string(d)));
      const int streams = static_cast<int>(random_.between(1, 2));
      for (int s = 0; s < streams; ++s) {
        computing_.push_back(builder_.stream(devices_.back(), "compute " + std::to_string(d) + std::to_string(s)));
      }
    }
    rounds_in_order_ = random_.chance(0.5);
    if (random_.chance(0.5)) {
      pieces_per_shard_ = static_cast<int32_t>(random_.between(1, rounds_));
      shards_ = static_cast<int32_t>(random_.between(1, rounds_ / pieces_per_shard_));
    }
  }

  RegisterId output(TaskId task, int32_t every = 1, ArenaKind arena = ArenaKind::workspace) {
    PlanBuilder::Register reg;
    reg.name = "r" + std::to_string(builder_.draft().registers.size());
    reg.elements = random_.between(0, 4);
    reg.every = every;
    reg.arena = arena;
    return builder_.output(task, reg);
  }

  void give_pieces(TaskId task) {
    builder_.at(task).shards = shards_;
    builder_.at(task).pieces_per_shard = pieces_per_shard_;
    if (shards_ > 0) builder_.at(task).first_shard = builder_.at(task).device.value * shards_;
  }

  void draw_sources() {
    for (DeviceId device : devices_) {
      if (random_.chance(0.3)) continue;
      const StreamId stream = builder_.stream(device, "copy " + std::to_string(device.value), true);
      const std::string name = "data" + std::to_string(device.value);
      const TaskId task = builder_.source(stream, "source." + name, name);
      give_pieces(task);
      piece_registers_.push_back(output(task, 1, ArenaKind::io));
      piece_tasks_.push_back(task);
      const int hesitation = options_.hesitant_sources ? static_cast<int>(random_.below(3)) : 0;
      sources_[name] = std::make_shared<SampleSource>(random_.next(), hesitation);
    }
  }

  // Read by tasks that are drawn before the one that overwrites it.
  void draw_variables() {
    const int count = static_cast<int>(random_.between(0, 4));
    for (int i = 0; i < count; ++i) {
      PlanBuilder::Register reg;
      reg.name = "v" + std::to_string(i);
      reg.elements = random_.between(1, 4);
      reg.arena = ArenaKind::variables;
      const DeviceId device = any(devices_);
      variables_.push_back({builder_.constant(device, reg), random_.chance(0.3), random_.chance(0.7), device});
    }
  }

  void read_variables(TaskId task, bool per_piece) {
    for (const Variable& variable : variables_) {
      if (random_.chance(0.6)) continue;
      if (!variable.written) {
        if (builder_.at(task).device == variable.device) builder_.read(task, variable.reg);
      } else if (per_piece) {
        builder_.read(task, variable.reg, variable.per_piece ? 1 : rounds_);
      } else if (!variable.per_piece) {
        builder_.read(task, variable.reg);
      }
    }
  }

  TaskId new_task(bool per_piece) {
    const std::string name = "t" + std::to_string(builder_.draft().tasks.size());
    const TaskId task = builder_.task(any(computing_), name, "mix", per_piece ? rounds_ : 1);
    if (per_piece) give_pieces(task);
    return task;
  }

  // Once per step before the pieces: what it computes is held for the whole step.
  void draw_preparation() {
    const TaskId task = new_task(false);
    read_variables(task, false);
    held_registers_.push_back(output(task));
    preparations_.push_back(task);
  }

  void draw_piece_task() {
    const TaskId task = new_task(true);
    const int reads = static_cast<int>(random_.between(0, 3));
    for (int i = 0; i < reads && !piece_registers_.empty(); ++i) builder_.read(task, any(piece_registers_));
    if (!held_registers_.empty() && random_.chance(0.4)) builder_.read(task, any(held_registers_), rounds_);
    read_variables(task, true);
    piece_tasks_.push_back(task);
    if (random_.chance(0.3)) {
      builder_.at(task).attrs.set("every", int64_t{rounds_});
      step_registers_.push_back(output(task, rounds_));
      return;
    }
    piece_registers_.push_back(output(task));
    if (random_.chance(0.2)) piece_registers_.push_back(output(task));
  }

  void draw_step_task() {
    const TaskId task = new_task(false);
    const int reads = static_cast<int>(random_.between(0, 3));
    for (int i = 0; i < reads && !step_registers_.empty(); ++i) builder_.read(task, any(step_registers_));
    if (!held_registers_.empty() && random_.chance(0.3)) builder_.read(task, any(held_registers_));
    read_variables(task, false);
    step_registers_.push_back(output(task));
    step_tasks_.push_back(task);
  }

  // Updates come after all readers, in a step and among the pieces.
  void write_variables() {
    for (const Variable& variable : variables_) {
      if (!variable.written) continue;
      const std::vector<StreamId> here = streams_of(variable.device);
      const TaskId task =
          builder_.task(any(here), "u" + std::to_string(variable.reg.value), "mix", variable.per_piece ? rounds_ : 1);
      if (variable.per_piece) give_pieces(task);
      builder_.read(task, variable.reg);
      const auto& inputs = variable.per_piece ? piece_registers_ : step_registers_;
      for (int i = 0; i < 2 && !inputs.empty(); ++i) builder_.read(task, any(inputs));
      builder_.at(variable.reg).producer = task;
      builder_.at(task).outputs.push_back(variable.reg);
      (variable.per_piece ? piece_tasks_ : step_tasks_).push_back(task);
    }
  }

  std::vector<StreamId> streams_of(DeviceId device) const {
    std::vector<StreamId> here;
    for (StreamId stream : computing_) {
      if (builder_.draft().streams[stream.index()].device == device) here.push_back(stream);
    }
    return here;
  }

  RegisterId control(TaskId from, TaskId to, int32_t initial) {
    PlanBuilder::Register reg;
    reg.name = "c" + std::to_string(builder_.draft().registers.size());
    reg.control = true;
    reg.initial = initial;
    const RegisterId id = builder_.output(from, reg);
    builder_.read(to, id);
    return id;
  }

  // Two tasks of equal rate, the first one earlier in the order.
  std::pair<TaskId, TaskId> any_two() {
    const std::vector<TaskId>& tasks = random_.chance(0.6) || step_tasks_.size() < 2 ? piece_tasks_ : step_tasks_;
    if (tasks.size() < 2) return {};
    const int64_t a = random_.below(static_cast<int64_t>(tasks.size()) - 1);
    const int64_t b = random_.between(a + 1, static_cast<int64_t>(tasks.size()) - 1);
    return {tasks[static_cast<size_t>(a)], tasks[static_cast<size_t>(b)]};
  }

  void draw_control_edges() {
    for (int i = 0; i < static_cast<int>(random_.below(4)); ++i) {
      const auto [a, b] = any_two();
      if (a.valid()) control(a, b, 0);
    }
  }

  // From later to earlier, with tokens: control, or a register that starts with versions in it.
  void draw_feedback() {
    for (int i = 0; i < static_cast<int>(random_.below(3)); ++i) {
      const auto [a, b] = any_two();
      if (!a.valid()) continue;
      const auto tokens = static_cast<int32_t>(random_.between(1, 3));
      const bool source = builder_.at(a).kind == TaskKind::source || builder_.at(b).kind == TaskKind::source;
      const bool accumulates = builder_.at(b).attrs.has("every");  // would mix in what the slot held
      const bool empties = shards_ > 0;                            // would read versions that hold nothing
      if (source || accumulates || empties || random_.chance(0.5)) {
        control(b, a, tokens);
        continue;
      }
      const RegisterId reg = output(b, 1);
      builder_.at(reg).initial = tokens;
      builder_.read(a, reg);
    }
  }

  // Two registers in the same bytes: what reads the earlier comes before the writer of the later and the other way
  // round, one token.
  void draw_reuse() {
    const Plan& plan = builder_.draft();
    for (size_t i = 0; i < plan.registers.size(); ++i) {
      for (size_t j = 0; j < plan.registers.size(); ++j) {
        const RegisterId a(static_cast<int64_t>(i));
        const RegisterId b(static_cast<int64_t>(j));
        if (!may_share(a, b) || random_.chance(0.5)) continue;
        single_.insert(a);
        single_.insert(b);
        const int64_t elements = std::max(builder_.at(a).shape[0], builder_.at(b).shape[0]);
        for (RegisterId reg : {a, b}) {
          builder_.at(reg).shape = builder_.at(reg).logical = Dims{elements};
          builder_.at(reg).bytes = elements * size_of(DType::i64);
        }
        builder_.share_bytes(a, b);
        reuses_bytes_ = true;
        if (!options_.guard_reuse) continue;
        for (TaskId reader : readers_of(a)) control(reader, plan.reg(b).producer, 0);
        for (TaskId reader : readers_of(b)) control(reader, plan.reg(a).producer, 1);
      }
    }
  }

  bool may_share(RegisterId a, RegisterId b) const {
    const Plan& plan = builder_.draft();
    for (RegisterId id : {a, b}) {
      const PlanRegister& reg = plan.reg(id);
      if (reg.is_control() || !reg.producer.valid() || reg.arena != ArenaKind::workspace) return false;
      if (reg.initial != 0 || reg.every != 1 || single_.contains(id) || readers_of(id).empty()) return false;
      if (place_of(reg.producer) < 0) return false;
    }
    if (plan.task(plan.reg(a).producer).device != plan.task(plan.reg(b).producer).device) return false;
    const std::vector<TaskId> readers = readers_of(a);
    return std::all_of(readers.begin(), readers.end(), [&](TaskId reader) {
      return place_of(reader) >= 0 && place_of(reader) < place_of(plan.reg(b).producer);
    });
  }

  // Among the tasks of the pieces, in order; -1 for others.
  int place_of(TaskId task) const {
    const auto it = std::find(piece_tasks_.begin(), piece_tasks_.end(), task);
    return it == piece_tasks_.end() ? -1 : static_cast<int>(it - piece_tasks_.begin());
  }

  std::vector<TaskId> readers_of(RegisterId reg) const {
    std::vector<TaskId> readers;
    const Plan& plan = builder_.draft();
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      for (const PlanRead& read : plan.tasks[t].inputs) {
        const TaskId task(static_cast<int64_t>(t));
        if (read.reg == reg && (readers.empty() || readers.back() != task)) readers.push_back(task);
      }
    }
    return readers;
  }

  // Whether everything that the firing reads is there, and whatever it overwrites is no longer read.
  bool can_fire(TaskId id) const {
    const Plan& plan = builder_.draft();
    const PlanTask& task = plan.task(id);
    const int64_t n = fired_[id.index()];
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan.reg(read.reg);
      if (!reg.producer.valid() || reg.producer == id) continue;
      if (reg.initial + fired_[reg.producer.index()] / reg.every <= n / read.every) return false;
    }
    for (RegisterId output : task.outputs) {
      const PlanRegister& reg = plan.reg(output);
      const bool one_slot = reg.arena == ArenaKind::variables || single_.contains(output);
      if (one_slot && slots_needed(output, n) > 1) return false;
    }
    return true;
  }

  // So that the producer's n-th firing may begin.
  int64_t slots_needed(RegisterId id, int64_t n) const {
    const Plan& plan = builder_.draft();
    const PlanRegister& reg = plan.reg(id);
    const int64_t version = reg.initial + n / reg.every;
    int64_t needed = 1;
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      if (reg.producer.index() == t) continue;
      for (const PlanRead& read : plan.tasks[t].inputs) {
        if (read.reg == id) needed = std::max(needed, version - fired_[t] / read.every + 1);
      }
    }
    return needed;
  }

  void fire(TaskId id) {
    for (RegisterId output : builder_.at(id).outputs) {
      int32_t& needed = slots_[output.index()];
      needed = std::max(needed, static_cast<int32_t>(slots_needed(output, fired_[id.index()])));
    }
    ++fired_[id.index()];
  }

  // Either round by round in the order of drawing, or any order that works.
  void draw_order() {
    const size_t tasks = builder_.draft().tasks.size();
    fired_.assign(tasks, 0);
    slots_.assign(builder_.draft().registers.size(), 1);
    std::vector<TaskId> order;
    if (rounds_in_order_) {
      order = preparations_;
      for (int32_t r = 0; r < rounds_; ++r) order.insert(order.end(), piece_tasks_.begin(), piece_tasks_.end());
      order.insert(order.end(), step_tasks_.begin(), step_tasks_.end());
      segment_streams(preparations_, 1);
      segment_streams(piece_tasks_, rounds_);
      segment_streams(step_tasks_, 1);
    } else {
      order = any_order();
      segment_streams(order, 1);
    }
    for (int step = 0; step < 4; ++step) {
      for (TaskId task : order) {
        CHECK(can_fire(task), builder_.draft().name, task, step);
        fire(task);
      }
    }
  }

  std::vector<TaskId> any_order() {
    const size_t tasks = builder_.draft().tasks.size();
    std::vector<TaskId> order;
    for (;;) {
      std::vector<TaskId> able;
      for (size_t t = 0; t < tasks; ++t) {
        const TaskId task(static_cast<int64_t>(t));
        if (fired_[t] < builder_.at(task).firings_per_step && can_fire(task)) able.push_back(task);
      }
      if (able.empty()) break;
      order.push_back(any(able));
      ++fired_[order.back().index()];
    }
    for (size_t t = 0; t < tasks; ++t) {
      CHECK(fired_[t] == builder_.draft().tasks[t].firings_per_step, builder_.draft().name, t, fired_[t]);
    }
    fired_.assign(tasks, 0);
    return order;
  }

  void segment_streams(const std::vector<TaskId>& order, int32_t repeat) {
    for (size_t s = 0; s < builder_.draft().streams.size(); ++s) {
      const StreamId stream(static_cast<int64_t>(s));
      std::vector<TaskId> mine;
      for (TaskId task : order) {
        if (builder_.at(task).stream == stream) mine.push_back(task);
      }
      if (!mine.empty()) builder_.segment(stream, repeat, mine);
    }
  }

  void choose_slots() {
    for (size_t r = 0; r < builder_.draft().registers.size(); ++r) {
      const RegisterId id(static_cast<int64_t>(r));
      PlanRegister& reg = builder_.at(id);
      if (reg.arena == ArenaKind::variables) continue;
      reg.slot_count = std::max(slots_[r], reg.initial);
      const bool more = !single_.contains(id) && random_.chance(0.5);
      if (more) reg.slot_count += static_cast<int32_t>(random_.between(1, 2));
    }
  }

  const SampleGraphOptions options_;
  Random random_;
  const int32_t rounds_;
  PlanBuilder builder_;
  int32_t shards_ = 0;
  int32_t pieces_per_shard_ = 1;
  bool rounds_in_order_ = false;
  bool reuses_bytes_ = false;
  SourceMap sources_;
  std::vector<DeviceId> devices_;
  std::vector<StreamId> computing_;
  std::vector<Variable> variables_;
  std::vector<RegisterId> piece_registers_;  // a version per piece
  std::vector<RegisterId> step_registers_;   // a version per step, at its end
  std::vector<RegisterId> held_registers_;   // a version per step, at its beginning
  std::vector<TaskId> preparations_;
  std::vector<TaskId> piece_tasks_;
  std::vector<TaskId> step_tasks_;
  std::set<RegisterId> single_;  // share their bytes, so they must have one slot
  std::vector<int64_t> fired_;   // by task
  std::vector<int32_t> slots_;   // by register: needed
};

}  // namespace

SampleGraph sample_graph(uint64_t seed, const SampleGraphOptions& options) { return Drawing(seed, options).draw(); }

}  // namespace troupe
