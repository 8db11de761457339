#include "tests/walk/scrambled_run.h"

#include <algorithm>
#include <cstring>

namespace troupe {
namespace {

constexpr int kRubbish = 0xa5;
constexpr int kLooks = 100;  // in vain, until it is a stall

bool overlap(const TensorView& a, const TensorView& b) {
  const auto* x = static_cast<const std::byte*>(a.data);
  const auto* y = static_cast<const std::byte*>(b.data);
  return x < y + b.bytes() && y < x + a.bytes();
}

bool overlaps_any(const TensorView& view, std::span<const TensorView> others) {
  return std::any_of(others.begin(), others.end(), [&](const TensorView& other) { return overlap(view, other); });
}

// Of all inputs but those that the task overwrites.
uint64_t inputs_hash(const TaskActor& task) {
  uint64_t hash = 0;
  for (const TensorView& input : task.inputs()) {
    if (overlaps_any(input, task.outputs())) continue;
    const auto* bytes = static_cast<const unsigned char*>(input.data);
    for (int64_t i = 0; i < input.bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace

ScrambledRun::ScrambledRun(Engine& engine, SimulatedClock& clock, std::optional<uint64_t> seed)
    : engine_(engine),
      clock_(clock),
      as_predicted_(!seed.has_value()),
      random_(seed.value_or(0)),
      kernel_s_(random_.uniform() * 2),
      message_s_(as_predicted_ ? 0 : random_.uniform() * 5) {
  const auto n = static_cast<size_t>(engine.executors());
  running_.resize(n);
  inputs_.resize(n);
  last_delivery_.resize(n * n);
}

void ScrambledRun::begin(int executor) {
  Executor& at = engine_.executor(executor);
  if (running_[static_cast<size_t>(executor)] != nullptr) return;
  at.poll();  // only what the driver said: messages are in our hands
  StreamLoop* stream = at.next();
  if (stream == nullptr) return;
  at.begin(*stream);
  const TaskActor& task = stream->head();
  if (!task.empty()) {
    for (size_t o = 0; o < task.outputs().size(); ++o) {
      const TensorView& view = task.outputs()[o];
      const Operand& operand = task.operands()[task.inputs().size() + o];
      const bool begun = task.credits().outputs()[static_cast<size_t>(operand.port)].within > 0;
      if (!begun && !overlaps_any(view, task.inputs())) {
        std::memset(view.data, kRubbish, static_cast<size_t>(view.bytes()));
      }
    }
  }
  running_[static_cast<size_t>(executor)] = stream;
  inputs_[static_cast<size_t>(executor)] = inputs_hash(task);
  events_.push({clock_.now() + seconds(*stream), number_++, executor, std::nullopt});
}

double ScrambledRun::seconds(const StreamLoop& stream) {
  if (!as_predicted_) return random_.uniform() * kernel_s_;
  return stream.head().empty() ? 0 : stream.share->plan->plan().task(stream.head().id()).predicted_s;
}

void ScrambledRun::end(int executor) {
  Executor& at = engine_.executor(executor);
  StreamLoop& stream = *running_[static_cast<size_t>(executor)];
  running_[static_cast<size_t>(executor)] = nullptr;
  const TaskActor& task = stream.head();
  if (!task.empty() && inputs_hash(task) != inputs_[static_cast<size_t>(executor)]) {
    wrong_ = "an input of '" + stream.share->plan->plan().task(task.id()).name + "', step " +
             std::to_string(stream.step) + ", changed while it was read";
    return;
  }
  if (!at.compute(stream)) return;
  at.finish(stream);
  send_what_is_posted(executor);
}

void ScrambledRun::send_what_is_posted(int from) {
  for (int to = 0; to < engine_.executors(); ++to) {
    const Lane lane = engine_.lane(from, to);
    if (!lane) continue;
    LaneReceiver posted(lane);
    Message message;
    while (posted.take(message)) {
      double& last = last_delivery_[static_cast<size_t>(from * engine_.executors() + to)];
      last = std::max(last, clock_.now() + random_.uniform() * message_s_);
      events_.push({last, number_++, to, message});
    }
  }
}

std::optional<std::string> ScrambledRun::run() {
  int looks = 0;
  while (!wrong_ && engine_.running()) {
    if (events_.empty()) {
      if (++looks > kLooks) break;
      engine_.wake();
      for (int e = 0; e < engine_.executors(); ++e) begin(e);
      continue;
    }
    const Event event = events_.top();
    events_.pop();
    clock_.advance_to(event.at);
    if (event.message) {
      engine_.executor(event.executor).deliver(*event.message);
    } else {
      end(event.executor);
    }
    if (engine_.fault()) return engine_.fault()->str();
    if (!wrong_) begin(event.executor);
  }
  if (wrong_) return wrong_;
  if (engine_.running()) return engine_.stall().what;
  return std::nullopt;
}

}  // namespace troupe
