#include "actors/engine/simulation.h"

#include <algorithm>
#include <utility>

namespace troupe {
namespace {

constexpr std::byte kRubbish{0xa5};
constexpr int kLooks = 100;  // in vain, until it is a stall

// Labels of events, beside the executor.
constexpr uint64_t kKernelEnds = 1 << 16;
constexpr uint64_t kMessageComes = 2 << 16;

uint64_t hash_of(const TensorView& view, uint64_t hash) {
  const auto* bytes = static_cast<const unsigned char*>(view.data);
  for (int64_t i = 0; i < view.bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  return hash;
}

uint64_t inputs_hash(const TaskActor& task) {
  uint64_t hash = 0;
  for (size_t i = 0; i < task.inputs().size(); ++i) {
    if (!task.operands()[i].of_output) hash = hash_of(task.inputs()[i], hash);
  }
  return hash;
}

}  // namespace

void Simulation::add(Engine& engine) {
  processes_.push_back(std::make_unique<Process>(Process{.engine = &engine}));
  const auto n = static_cast<size_t>(engine.executors());
  process_of_.resize(n);
  running_.resize(n);
  last_delivery_.resize(n * n);
  sent_.resize(n * n);
  for (int e = engine.own().first; e < engine.own().first + engine.own().count; ++e) {
    process_of_[static_cast<size_t>(e)] = processes_.back().get();
  }
}

Simulation::Process& Simulation::process_of(const Engine& engine) const {
  return **std::find_if(processes_.begin(), processes_.end(), [&](const auto& of) { return of->engine == &engine; });
}

void Simulation::fill(PlanHandle handle, const Plan& plan, const Registers& registers) {
  Interpreter& interpreter = *expected_.at(handle);
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const RegisterId reg(static_cast<int64_t>(r));
    if (plan.registers[r].is_control() || !plan.registers[r].device.valid()) continue;
    for (int32_t v = 0; v < plan.registers[r].initial; ++v) {
      const std::span<std::byte> bytes = registers.bytes(reg, static_cast<size_t>(v));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_.below(256));
      interpreter.set(reg, v, bytes);
    }
  }
}

void Simulation::happen(int executor, double when, uint64_t label, std::function<void()> what) {
  events_.at(when, label + static_cast<uint64_t>(executor), [this, executor, what = std::move(what)] {
    Process& process = process_of(executor);
    if (process.frozen) {
      process.due.push_back(what);
      return;
    }
    what();
    if (!wrong_) begin(executor);
    if (moved) moved(*process.engine);
  });
}

void Simulation::thaw(Engine& engine) {
  Process& process = process_of(engine);
  process.frozen = false;
  for (const auto& what : std::exchange(process.due, {})) what();
  look(engine);
  if (moved) moved(engine);
}

void Simulation::look(Engine& engine) {
  for (int e = engine.own().first; e < engine.own().first + engine.own().count; ++e) begin(e);
}

bool Simulation::busy(const Engine& engine) const {
  const auto* first = running_.data() + engine.own().first;
  return std::any_of(first, first + engine.own().count, [](const Running& each) { return each.stream != nullptr; });
}

void Simulation::begin(int executor) {
  Process& process = process_of(executor);
  Running& running = running_[static_cast<size_t>(executor)];
  if (running.stream != nullptr || process.paused || process.frozen || process.engine->held()) return;
  Executor& at = process.engine->executor(executor);
  at.poll();  // only what the driver said: messages are in our hands
  StreamLoop* stream = at.next();
  if (stream == nullptr) return;
  at.begin(*stream);
  const TaskActor& task = stream->head();
  if (!task.empty()) {
    const size_t inputs = task.inputs().size();
    for (size_t o = 0; o < task.outputs().size(); ++o) {
      const Operand& operand = task.operands()[inputs + o];
      const bool fresh = task.credits().outputs()[static_cast<size_t>(operand.port)].within == 0;
      const bool overwrites = std::any_of(task.operands().begin(), task.operands().begin() + inputs,
                                          [&](const Operand& in) { return in.reg == operand.reg; });
      const TensorView& view = task.outputs()[o];
      if (fresh && !overwrites) std::fill_n(static_cast<std::byte*>(view.data), view.bytes(), kRubbish);
    }
  }
  running = {stream, inputs_hash(task)};
  const double took = random_.uniform() * options_.kernel_s;
  if (began && !began(*stream->share->plan, task)) return;
  happen(executor, events_.now() + took, kKernelEnds, [this, executor] { end(executor); });
}

void Simulation::end(int executor) {
  const Running running = std::exchange(running_[static_cast<size_t>(executor)], {});
  Executor& at = this->executor(executor);
  StreamLoop& stream = *running.stream;
  const TaskActor& task = stream.head();
  const LoadedPlan& plan = *stream.share->plan;
  if (!task.empty() && inputs_hash(task) != running.inputs) {
    wrong_ = "an input of '" + plan.plan().task(task.id()).name + "', step " + std::to_string(stream.step) +
             ", round " + std::to_string(task.firing().round) + ", changed while it was read";
    return;
  }
  try {
    if (!at.compute(stream)) return;
  } catch (...) {
    return at.fail_as_thrown();
  }
  if (!task.empty()) compare(plan, task);
  at.finish(stream);
  at.rest();
  ++firings_;
  collect(executor);
}

void Simulation::compare(const LoadedPlan& plan, const TaskActor& task) {
  Interpreter& expected = *expected_.at(plan.handle());
  const int64_t firing = task.credits().firings();
  expected.run_until(task.id(), firing);
  for (size_t o = 0; o < task.outputs().size(); ++o) {
    const TensorView& view = task.outputs()[o];
    const std::span have(static_cast<const std::byte*>(view.data), static_cast<size_t>(view.bytes()));
    if (std::ranges::equal(have, expected.after(task.id(), firing, o))) continue;
    wrong_ = "output " + std::to_string(o) + " of '" + plan.plan().task(task.id()).name + "', firing " +
             std::to_string(firing) + ", is not what the interpreter has";
  }
}

// What the executor has sent is delivered later.
void Simulation::collect(int from) {
  const Engine& engine = *process_of(from).engine;
  for (int to = 0; to < executors(); ++to) {
    const Lane lane = engine.lane(from, to);
    if (!lane || (engine.exchange() != nullptr && engine.exchange()->is_far(to))) continue;  // the exchange's
    LaneReceiver posted(lane);
    Message message;
    while (posted.take(message)) {
      if (options_.late > 0) send_late(from, to, message);
      Mischief now = random_.chance(0.2) ? mischief_ : Mischief::none;
      if (now == Mischief::free_early && message.kind == MessageKind::freed) now = Mischief::none;
      if (now != Mischief::lose) send(from, to, message);
      if (now == Mischief::repeat) send(from, to, message);
      if (now == Mischief::free_early) {
        const LoadedPlan& plan = process_of(to).engine->loaded(PlanHandle(message.plan));
        const Route& back = plan.actor(TaskId(message.task)).producers()[static_cast<size_t>(message.port)];
        Message freed = message;
        freed.kind = MessageKind::freed;
        freed.task = back.task;
        freed.port = back.port;
        send(to, from, freed);
      }
      if (now == Mischief::none) continue;
      mischief_ = Mischief::none;
      victim_ = message;
    }
  }
}

// Each pair's messages stay in order.
void Simulation::send(int from, int to, const Message& message) {
  if (process_of(from).cut || process_of(to).cut) return;
  double& last = last_delivery_[static_cast<size_t>(from * executors() + to)];
  last = std::max(last, events_.now() + random_.uniform() * options_.message_s);
  happen(to, last, kMessageComes, [this, to, message] { executor(to).deliver(message); });
}

void Simulation::send_late(int from, int to, const Message& message) {
  Message& kept = sent_[static_cast<size_t>(from * executors() + to)];
  const bool over = kept.epoch != 0 && kept.plan == message.plan && kept.epoch < message.epoch;
  if (over && random_.chance(options_.late)) {
    send(from, to, std::exchange(kept, message));
  } else if (kept.epoch == 0 || random_.chance(options_.late)) {
    kept = message;
  }
}

bool Simulation::running() const {
  return std::any_of(processes_.begin(), processes_.end(), [](const auto& of) { return of->engine->running(); });
}

std::optional<Fault> Simulation::fault() const {
  for (const auto& process : processes_) {
    if (std::optional<Fault> fault = process->engine->fault()) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> Simulation::run() {
  int looks = 0;
  while (!wrong_ && !fault() && running()) {
    if (!events_.empty()) {
      events_.step();
      continue;
    }
    if (++looks > kLooks) break;  // for sources that have become ready
    for (const auto& process : processes_) {
      process->engine->wake();
      look(*process->engine);
    }
  }
  if (wrong_) return wrong_;
  if (const std::optional<Fault> failed = fault()) return failed->str();
  for (const auto& process : processes_) {
    if (process->engine->running()) return process->engine->stall().what;
  }
  return std::nullopt;
}

void Simulation::settle() {
  while (!wrong_ && !events_.empty()) events_.step();
}

}  // namespace troupe
