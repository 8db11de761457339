#include "actors/engine/simulated_queues.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "runtime/base/error.h"

namespace troupe {
namespace {

constexpr std::byte kRubbish{0xa5};

uint64_t hash_of(const std::vector<TensorView>& views, const std::vector<TensorView>& but) {
  uint64_t hash = 0;
  for (const TensorView& view : views) {
    if (std::any_of(but.begin(), but.end(), [&](const TensorView& other) { return other.data == view.data; })) continue;
    const auto* bytes = static_cast<const unsigned char*>(view.data);
    for (int64_t i = 0; i < view.bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace

class SimulatedQueues::Queue final : public DeviceQueue {
 public:
  explicit Queue(SimulatedQueues& all) : all_(all) {}

  void launch(Kernel kernel, const KernelArgs& args) override {
    check();
    Command command;
    command.kernel = kernel;
    command.inputs.assign(args.inputs.begin(), args.inputs.end());
    command.outputs.assign(args.outputs.begin(), args.outputs.end());
    command.args = args;
    put(std::move(command));
  }
  uint64_t mark() override {
    check();
    Command command;
    command.mark = ++marked_;
    put(std::move(command));
    if (waiting_.size() == 1) go_on();  // there is nothing before it
    return marked_;
  }
  bool has_passed(uint64_t mark) const override {
    check();
    return passed_ >= mark;
  }
  void wait_for(const DeviceQueue& other, uint64_t mark) override {
    check();
    ++all_.waits_;
    if (all_.ignores_waits_) return;
    Command command;
    command.other = &static_cast<const Queue&>(other);
    command.mark = mark;
    put(std::move(command));
  }
  void call(std::function<void()> what) override {
    check();
    Command command;
    command.what = std::move(what);
    put(std::move(command));
  }

  bool can_go_on() const {
    if (waiting_.empty()) return false;
    if (failed_) return true;
    const Command& next = waiting_.front();
    return next.other == nullptr || next.other->passed_ >= next.mark;
  }
  void go_on() {
    Command& next = waiting_.front();
    if (failed_) return give_up(next);
    if (next.kernel != nullptr && !std::exchange(next.begun, true)) return begin(next);
    if (next.kernel != nullptr) end(next);
    if (next.what) next.what();
    if (next.kernel == nullptr && next.other == nullptr && !next.what) passed_ = next.mark;
    waiting_.pop_front();
  }

 private:
  struct Command {
    Kernel kernel = nullptr;
    KernelArgs args{};
    std::vector<TensorView> inputs{};
    std::vector<TensorView> outputs{};
    bool begun = false;
    uint64_t hash = 0;
    uint64_t mark = 0;
    const Queue* other = nullptr;  // whose mark it is; null: the own one
    std::function<void()> what{};
  };
  void check() const {
    if (!failed_) return;
    Fault fault;
    fault.what = "a kernel has failed";
    fault.device = "a device as its backend calls it";
    throw FaultError(std::move(fault));
  }
  // Calls are made all the same.
  void give_up(Command& command) {
    if (command.what) command.what();
    waiting_.pop_front();
  }
  void put(Command command) { waiting_.push_back(std::move(command)); }

  static void begin(Command& command) {
    const auto is_input = [&](const TensorView& output) {
      return std::any_of(command.inputs.begin(), command.inputs.end(),
                         [&](const TensorView& input) { return input.data == output.data; });
    };
    const int64_t every = command.args.attrs->integer("every", 1);
    for (const TensorView& output : command.outputs) {
      if (command.args.firing.round % every != 0 || is_input(output)) continue;
      std::fill_n(static_cast<std::byte*>(output.data), output.bytes(), kRubbish);
    }
    command.hash = hash_of(command.inputs, command.outputs);
  }
  void end(Command& command) {
    if (hash_of(command.inputs, command.outputs) != command.hash && !all_.wrong_) {
      all_.wrong_ = "an input changed while it was read";
    }
    if (all_.until_failure_ > 0 && --all_.until_failure_ == 0) {
      failed_ = true;
      all_.failed_ = command.args.key;
      return;
    }
    Stream stream;
    command.args.inputs = command.inputs;
    command.args.outputs = command.outputs;
    command.kernel(command.args, stream);
    if (all_.ran) all_.ran(command.args);
  }

  SimulatedQueues& all_;
  std::deque<Command> waiting_;
  uint64_t marked_ = 0;
  uint64_t passed_ = 0;
  bool failed_ = false;
};

SimulatedQueues::SimulatedQueues(uint64_t seed) : random_(seed) {}
SimulatedQueues::~SimulatedQueues() = default;

DeviceQueue& SimulatedQueues::make() {
  queues_.push_back(std::make_unique<Queue>(*this));
  return *queues_.back();
}

bool SimulatedQueues::step() {
  std::vector<Queue*> ready;
  for (const auto& queue : queues_) {
    if (queue->can_go_on()) ready.push_back(queue.get());
  }
  if (ready.empty()) return false;
  ready[static_cast<size_t>(random_.below(static_cast<int64_t>(ready.size())))]->go_on();
  return true;
}

}  // namespace troupe
