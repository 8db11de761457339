#include "actors/engine/task_actor.h"

#include <limits>
#include <utility>

namespace troupe {

TaskActor::TaskActor(const Plan& plan, TaskId id, Kernel kernel, Parts parts, std::pmr::memory_resource* memory)
    : credits_(parts.inputs, parts.outputs, memory),
      producers_(parts.producers.begin(), parts.producers.end(), memory),
      readers_(parts.readers.begin(), parts.readers.end(), memory),
      moving_(memory),
      kernel_(kernel),
      id_(id),
      operands_(memory),
      views_(parts.views.begin(), parts.views.end(), memory),
      input_registers_(memory),
      output_registers_(memory) {
  const PlanTask& task = plan.task(id);
  operands_.reserve(parts.operands.size());
  for (Operand& operand : parts.operands) {
    std::pmr::vector<std::byte*> slots(operand.slots.begin(), operand.slots.end(), memory);
    operands_.push_back({operand.reg, operand.port, operand.of_output, std::move(slots)});
  }
  for (const Route& route : producers_) input_registers_.push_back(route.reg);
  for (RegisterId reg : task.outputs) output_registers_.push_back(reg.value);

  firings_per_step_ = task.firings_per_step;
  first_shard_ = task.first_shard;
  if (task.shards == 0) {  // belongs to no shard: every firing runs, always as shard 0, piece 0
    pieces_ = std::numeric_limits<int32_t>::max();
    first_shard_ = 0;
    pieces_per_shard_ = 1;
    shard_step_ = 0;
  } else {
    pieces_ = task.shards * task.pieces_per_shard;
    pieces_per_shard_ = task.pieces_per_shard;
    shard_step_ = 1;
  }
  args_.inputs = std::span<const TensorView>(views_).subspan(0, parts.kernel_inputs);
  args_.outputs = std::span<const TensorView>(views_).subspan(parts.kernel_inputs);
  args_.attrs = &task.attrs;
  args_.key = task.key;
  args_.task = id.value;

  size_t movable = 0;
  for (const Operand& operand : operands_) movable += operand.slots.size() > 1 && operand.port >= 0;
  moving_.reserve(movable);
  for (size_t i = 0; i < operands_.size(); ++i) {
    const Operand& operand = operands_[i];
    if (operand.slots.size() <= 1 || operand.port < 0) continue;
    const auto port = static_cast<size_t>(operand.port);
    const int32_t* slot = operand.of_output ? &credits_.outputs()[port].slot : &credits_.inputs()[port].slot;
    moving_.push_back({&views_[i], operand.slots.data(), slot});
  }
  restart();
}

void TaskActor::restart() {
  credits_.restart();
  firing_in_step_ = 0;
  shard_ = first_shard_;
  piece_ = 0;
}

void TaskActor::point_views() {
  for (size_t i = 0; i < operands_.size(); ++i) {
    views_[i].data = operands_[i].slots.empty() ? nullptr : operands_[i].slots.front();
  }
}

QueuedTask& TaskActor::queued() {
  if (queued_ == nullptr) {
    queued_ = std::make_unique<QueuedTask>();
    queued_->ready.resize(readers_.size());
    queued_->freed.resize(producers_.size());
  }
  return *queued_;
}

// Also for a firing without a piece: who is told of it counts on all that it has heard.
void TaskActor::launch(DeviceQueue& queue) {
  for (const QueuedTask::Awaited& awaited : queued_->awaited) {
    const auto port = static_cast<size_t>(awaited.port);
    const auto [within, slot] = awaited.of_output
                                    ? std::pair(credits_.outputs()[port].within, credits_.outputs()[port].slot)
                                    : std::pair(credits_.inputs()[port].within, credits_.inputs()[port].slot);
    if (within != 0) continue;  // of a version that an earlier firing has waited for
    const uint64_t mark = awaited.marks[slot].load(std::memory_order_acquire);
    if (mark != 0) queue.wait_for(*awaited.queue, mark);
  }
  if (!empty()) queue.launch(kernel_, args_);
}

Refusal TaskActor::on(const Message& message) {
  if (message.kind == MessageKind::ready) {
    const auto port = static_cast<size_t>(message.port);
    if (port >= input_registers_.size() || input_registers_[port] != message.reg) return Refusal::no_such_port;
    if (message.slot != message.version % credits_.inputs()[port].slots) return Refusal::wrong_slot;
    return on_ready(message.port, message.version);
  }
  const auto port = static_cast<size_t>(message.port);
  if (port >= credits_.readers().size()) return Refusal::no_such_port;
  const auto output = static_cast<size_t>(credits_.readers()[port].output);
  if (output_registers_[output] != message.reg) return Refusal::no_such_port;
  if (message.slot != message.version % credits_.outputs()[output].slots) return Refusal::wrong_slot;
  return on_freed(message.port, message.version);
}

void TaskActor::read_source() {
  for (const TensorView& view : args_.outputs) {
    source_->read(args_.firing, pieces_per_shard_, view, args_.failure);
  }
}

}  // namespace troupe
