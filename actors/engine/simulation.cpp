#include "actors/engine/simulation.h"

#include <algorithm>

namespace troupe {
namespace {

constexpr std::byte kRubbish{0xa5};
constexpr int kLooks = 100;  // in vain, until it is a stall

uint64_t hash_of(const TensorView& view, uint64_t hash) {
  const auto* bytes = static_cast<const unsigned char*>(view.data);
  for (int64_t i = 0; i < view.bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  return hash;
}

}  // namespace

Simulation::Simulation(Engine& engine, SimulatedClock& clock, const SimulationOptions& options)
    : engine_(engine), clock_(clock), options_(options), random_(options.seed) {
  const auto n = static_cast<size_t>(engine.executors());
  running_.resize(n);
  inputs_.resize(n);
  last_delivery_.resize(n * n);
}

void Simulation::expect(PlanHandle handle, Interpreter& expected) { expected_[handle] = &expected; }

void Simulation::fill(PlanHandle handle) {
  Interpreter& interpreter = *expected_.at(handle);
  const Plan& plan = engine_.plan(handle);
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const RegisterId reg(static_cast<int64_t>(r));
    if (plan.registers[r].is_control() || !engine_.loaded(handle).device_of(reg).valid()) continue;
    for (int32_t v = 0; v < plan.registers[r].initial; ++v) {
      const std::span<std::byte> bytes = engine_.bytes(handle, reg, static_cast<size_t>(v));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_.below(256));
      interpreter.set(reg, v, bytes);
    }
  }
}

uint64_t Simulation::inputs_hash(const TaskActor& task) const {
  uint64_t hash = 0;
  for (size_t i = 0; i < task.inputs().size(); ++i) {
    if (!task.operands()[i].of_output) hash = hash_of(task.inputs()[i], hash);
  }
  return hash;
}

void Simulation::begin(int executor) {
  Executor& at = engine_.executor(executor);
  if (running_[static_cast<size_t>(executor)] != nullptr) return;
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
  running_[static_cast<size_t>(executor)] = stream;
  inputs_[static_cast<size_t>(executor)] = inputs_hash(task);
  events_.push({clock_.now() + random_.uniform() * options_.kernel_s, number_++, executor, std::nullopt});
}

void Simulation::end(int executor) {
  Executor& at = engine_.executor(executor);
  StreamLoop& stream = *running_[static_cast<size_t>(executor)];
  const TaskActor& task = stream.head();
  const LoadedPlan& plan = *stream.share->plan;
  running_[static_cast<size_t>(executor)] = nullptr;
  if (!task.empty() && inputs_hash(task) != inputs_[static_cast<size_t>(executor)]) {
    wrong_ = "an input of '" + plan.plan().task(task.id()).name + "', step " + std::to_string(stream.step) +
             ", round " + std::to_string(task.firing().round) + ", changed while it was read";
    return;
  }
  if (!at.compute(stream)) return;
  if (!task.empty()) compare(plan, task);
  at.finish(stream);
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
  for (int to = 0; to < engine_.executors(); ++to) {
    const Lane lane = engine_.lane(from, to);
    if (!lane) continue;
    LaneReceiver posted(lane);
    Message message;
    while (posted.take(message)) {
      Mischief now = random_.chance(0.2) ? mischief_ : Mischief::none;
      if (now == Mischief::free_early && message.kind == MessageKind::freed) now = Mischief::none;
      if (now != Mischief::lose) send(from, to, message);
      if (now == Mischief::repeat) send(from, to, message);
      if (now == Mischief::free_early) {
        const LoadedPlan& plan = engine_.loaded(PlanHandle(message.plan));
        const Route& back = plan.actor(TaskId(message.task)).producers()[static_cast<size_t>(message.port)];
        Message freed = message;
        freed.kind = MessageKind::freed;
        freed.task = back.task;
        freed.port = back.port;
        send(to, from, freed);
      }
      if (now != Mischief::none) mischief_ = Mischief::none;
    }
  }
}

// Each pair's messages stay in order.
void Simulation::send(int from, int to, const Message& message) {
  double& last = last_delivery_[static_cast<size_t>(from * engine_.executors() + to)];
  last = std::max(last, clock_.now() + random_.uniform() * options_.message_s);
  events_.push({last, number_++, to, message});
}

void Simulation::step() {
  const Event event = events_.top();
  events_.pop();
  clock_.advance_to(event.at);
  if (event.message) {
    engine_.executor(event.executor).deliver(*event.message);
  } else {
    end(event.executor);
  }
  if (!wrong_ && !engine_.fault()) begin(event.executor);
}

std::optional<std::string> Simulation::run() {
  int looks = 0;
  while (!wrong_ && engine_.running()) {
    if (events_.empty()) {  // for sources that have become ready
      if (++looks > kLooks) break;
      engine_.wake();
      for (int e = 0; e < engine_.executors(); ++e) begin(e);
      continue;
    }
    step();
  }
  if (wrong_) return wrong_;
  if (const std::optional<Fault> fault = engine_.fault()) return fault->str();
  if (engine_.running()) return engine_.stall().fault.what;
  return std::nullopt;
}

void Simulation::settle() {
  while (!wrong_ && !events_.empty()) step();
}

}  // namespace troupe
