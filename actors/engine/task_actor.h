// A task as an actor. Its life, once per firing:
//
//   on(ready) on(freed)   credits come in, in any order
//   can_fire              its turn has come in its stream and nothing is missing
//   begin(step)           which piece this is; views point at the slots of this firing
//   compute(stream)       the kernel, or the source; an empty firing skips it
//   finish(post)          `ready` to the readers of what is complete, `freed` to the producers of what is read out
//
// Made at load, bound to memory, then nothing is allocated.
#pragma once

#include <memory>
#include <memory_resource>
#include <span>
#include <vector>

#include "actors/engine/credits.h"
#include "actors/engine/queued_task.h"
#include "runtime/comm/message.h"
#include "runtime/device/source.h"
#include "runtime/plan/plan.h"

namespace troupe {

class TaskActor;
struct StreamLoop;

// Where a message goes.
struct Route {
  TaskActor* local = nullptr;  // when the addressee is on the same executor
  int32_t executor = -1;
  int32_t task = -1;
  int32_t port = -1;
  int32_t reg = -1;
};

// An operand of the kernel, and where each of its slots lies.
struct Operand {
  int32_t reg = -1;
  int32_t port = -1;  // of the credits: the input, or the output that is written or overwritten; -1: a constant
  bool of_output = false;
  std::pmr::vector<std::byte*> slots;
};

// Used by one executor at a time.
class TaskActor {
 public:
  struct Parts {
    std::vector<Credits::InputSpec> inputs;
    std::vector<Credits::OutputSpec> outputs;
    std::vector<Operand> operands;  // inputs of the kernel, then its outputs
    std::vector<TensorView> views;  // of each operand
    size_t kernel_inputs = 0;
    std::vector<Route> producers;  // of each input port
    std::vector<Route> readers;    // of each output's readers, numbered through
  };
  TaskActor(const Plan& plan, TaskId id, Kernel kernel, Parts parts, std::pmr::memory_resource* memory);
  TaskActor(const TaskActor&) = delete;
  TaskActor& operator=(const TaskActor&) = delete;

  void restart();
  // Where slot s of a register lies; how much scratch there is and where.
  template <class Place>
  void bind(Place&& place, std::span<std::byte> scratch) {
    for (Operand& operand : operands_) {
      for (size_t s = 0; s < operand.slots.size(); ++s) operand.slots[s] = place(RegisterId(operand.reg), s);
    }
    args_.scratch = scratch;
    point_views();
  }
  // Tells every route which addressees are near.
  template <class Find>
  void connect(Find&& find) {
    for (Route& route : producers_) find(route);
    for (Route& route : readers_) find(route);
  }
  void set_source(Source* source) { source_ = source; }
  // Where its kernels on a device report.
  void set_report(KernelReport* report) { args_.report = report; }
  // For one on a device's queue: what it tells and waits for across queues.
  QueuedTask& queued();

  Refusal on_ready(int32_t input, int64_t version) { return credits_.arrived(input, version); }
  Refusal on_freed(int32_t reader, int64_t version) { return credits_.freed(reader, version); }
  // A message from another executor: everything it says is checked.
  Refusal on(const Message& message);

  bool can_fire() const { return credits_.can_fire(); }
  // The next firing's number within its step has no piece.
  bool empty() const { return firing_in_step_ >= pieces_; }
  bool source_is_ready(int64_t step) const { return source_ == nullptr || empty() || source_->ready(step); }
  bool waits_for_source() const { return source_ != nullptr; }

  void begin(int64_t step, uint64_t seed, std::string* failure) {
    credits_.begin();
    for (const Moving& moving : moving_) moving.view->data = moving.slots[*moving.slot];
    args_.firing = {step, shard_, piece_, firing_in_step_, seed};
    args_.failure = failure;
  }

  void compute(Stream& stream) {
    if (kernel_ != nullptr) [[likely]] {
      kernel_(args_, stream);
    } else {
      read_source();
    }
  }

  // On a queue instead: it waits for those of others, and gets the kernel.
  void launch(DeviceQueue& queue);
  // How a message of `finish` goes from there.
  const QueuedTask::Edge& edge(MessageKind kind, const Route& route) const {
    return kind == MessageKind::ready ? queued_->ready[static_cast<size_t>(&route - readers_.data())]
                                      : queued_->freed[static_cast<size_t>(&route - producers_.data())];
  }

  // `post(kind, route, version, slot)` for each message.
  template <class Post>
  void finish(Post&& post) {
    credits_.finish(
        [&](int32_t output, int64_t version, int32_t slot) {
          const Credits::Output& out = credits_.outputs()[static_cast<size_t>(output)];
          const Route* route = readers_.data() + out.first_reader;
          for (int32_t r = 0; r < out.readers; ++r) post(MessageKind::ready, route[r], version, slot);
        },
        [&](int32_t input, int64_t version, int32_t slot) {
          post(MessageKind::freed, producers_[static_cast<size_t>(input)], version, slot);
        });
    if (++firing_in_step_ == firings_per_step_) [[unlikely]] {
      firing_in_step_ = 0;
      shard_ = first_shard_;
      piece_ = 0;
    } else if (++piece_ == pieces_per_shard_) {
      piece_ = 0;
      shard_ += shard_step_;
    }
  }

  TaskId id() const { return id_; }
  const Credits& credits() const { return credits_; }
  const KernelArgs& args() const { return args_; }
  const Firing& firing() const { return args_.firing; }
  std::span<const Route> producers() const { return producers_; }
  std::span<const Route> readers() const { return readers_; }
  std::span<const Operand> operands() const { return operands_; }
  std::span<const TensorView> inputs() const { return args_.inputs; }
  std::span<const TensorView> outputs() const { return args_.outputs; }
  std::span<const int32_t> input_registers() const { return input_registers_; }
  std::span<const int32_t> output_registers() const { return output_registers_; }

  StreamLoop* loop = nullptr;  // the stream whose turn this task waits for

 private:
  // A view whose data moves from slot to slot.
  struct Moving {
    TensorView* view;
    std::byte* const* slots;
    const int32_t* slot;
  };
  void point_views();
  void read_source();

  Credits credits_;
  std::pmr::vector<Route> producers_;
  std::pmr::vector<Route> readers_;
  std::pmr::vector<Moving> moving_;
  KernelArgs args_;
  Kernel kernel_ = nullptr;
  Source* source_ = nullptr;
  TaskId id_;
  int32_t firing_in_step_ = 0;
  int32_t firings_per_step_ = 1;
  int32_t pieces_ = 1;  // firings of a step that have a piece
  int32_t pieces_per_shard_ = 1;
  int32_t first_shard_ = 0;
  int32_t shard_step_ = 0;
  int32_t shard_ = 0;
  int32_t piece_ = 0;
  std::pmr::vector<Operand> operands_;
  std::pmr::vector<TensorView> views_;
  std::pmr::vector<int32_t> input_registers_;   // of each input port
  std::pmr::vector<int32_t> output_registers_;  // of each output port
  std::unique_ptr<QueuedTask> queued_;          // null where kernels run at once
};

}  // namespace troupe
