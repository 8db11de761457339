#include "actors/engine/device_edges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "actors/engine/engine.h"
#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/simulated_queues.h"
#include "actors/engine/thread_runner.h"
#include "runtime/plan/print.h"

namespace troupe {
namespace {

// A plan some of whose streams put their kernels into queues; everything happens in an order drawn from the seed, and each
// value is compared with the interpreter's.
class QueuedRun {
 public:
  QueuedRun(const SampleGraph& graph, uint64_t seed)
      : graph_(graph), random_(mix64(seed, 23)), queues_(seed), engine_(kernels_, options(), clock_) {
    plan_ = engine_.load(std::make_shared<Plan>(graph.plan), graph.sources);
    for (size_t t = 0; t < graph.plan.tasks.size(); ++t) task_of_[graph.plan.tasks[t].key] = t;
    queues_.ran = [this](const KernelArgs& args) { compare(args); };
  }

  SimulatedQueues& queues() { return queues_; }
  std::optional<Fault> fault() const { return engine_.fault(); }
  size_t task_of(uint64_t key) const { return task_of_.at(key); }

  // What went wrong.
  std::optional<std::string> run(int64_t first_step, int64_t steps) {
    if (first_step != next_step_) {
      first_step_ = first_step;
      expected_.emplace(engine_.plan(plan_), kernels_, graph_.sources, first_step);
      fill();
    }
    engine_.start(plan_, first_step, steps);
    next_step_ = first_step + steps;
    while (engine_.running() && !wrong()) {
      if (something()) continue;
      for (int e = 0; e < engine_.executors(); ++e) engine_.executor(e).run(0);  // they go to sleep
      for (int look = 0; look < 100 && !moved_; ++look) {                        // for sources that hesitate
        engine_.wake();
        moved_ = something();
      }
      if (!std::exchange(moved_, false)) return engine_.stall().what;
    }
    while (!wrong() && !engine_.fault() && something()) {  // what reads ahead
    }
    if (wrong()) return wrong();
    if (engine_.fault()) return engine_.fault()->str();
    return std::nullopt;
  }

 private:
  EngineOptions options() {
    EngineOptions made;
    made.spin_s = 0;
    made.executors = static_cast<int>(random_.between(1, static_cast<int64_t>(graph_.plan.streams.size())));
    made.place = [n = made.executors](const Plan&, StreamId stream) { return stream.value % n; };
    made.queue_of = [this](const Plan& plan, StreamId id) {
      for (const PlanSegment& segment : plan.streams[id.index()].segments) {
        for (TaskId task : segment.tasks) {
          if (plan.task(task).kind != TaskKind::compute) return static_cast<DeviceQueue*>(nullptr);
        }
      }
      return random_.chance(0.7) ? &queues_.make() : nullptr;
    };
    return made;
  }

  std::optional<std::string> wrong() const { return wrong_ ? wrong_ : queues_.wrong(); }

  void fill() {
    const Registers registers = engine_.registers(plan_);
    for (size_t r = 0; r < graph_.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph_.plan.registers[r];
      if (reg.is_control() || !reg.device.valid()) continue;
      for (int32_t v = 0; v < reg.initial; ++v) {
        const std::span<std::byte> bytes = registers.bytes(RegisterId(static_cast<int64_t>(r)), static_cast<size_t>(v));
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_.below(256));
        expected_->set(RegisterId(static_cast<int64_t>(r)), v, bytes);
      }
    }
  }

  // An executor fires, or something happens in a queue.
  bool something() {
    const auto executors = static_cast<int64_t>(engine_.executors());
    const int64_t first = random_.below(executors + 1);
    for (int64_t i = 0; i <= executors; ++i) {
      const int64_t which = (first + i) % (executors + 1);
      if (which == executors ? queues_.step() : fire(engine_.executor(static_cast<int>(which)))) return true;
    }
    return false;
  }
  bool fire(Executor& executor) {
    const bool came = executor.poll();
    StreamLoop* stream = executor.next();
    if (stream == nullptr) return came;
    executor.begin(*stream);
    try {
      EXPECT_TRUE(executor.compute(*stream));
      executor.finish(*stream);
    } catch (const FaultError&) {
      executor.fail_as_thrown();
    }
    executor.rest();
    return true;
  }

  void compare(const KernelArgs& args) {
    const size_t t = task_of_.at(args.key);
    const TaskId task(static_cast<int64_t>(t));
    const int64_t firing = (args.firing.step - first_step_) * graph_.plan.tasks[t].firings_per_step + args.firing.round;
    expected_->run_until(task, firing);
    for (size_t o = 0; o < args.outputs.size(); ++o) {
      const TensorView& view = args.outputs[o];
      const std::span have(static_cast<const std::byte*>(view.data), static_cast<size_t>(view.bytes()));
      if (std::ranges::equal(have, expected_->after(task, firing, o)) || wrong_) continue;
      wrong_ = "'" + graph_.plan.tasks[t].name + "', firing " + std::to_string(firing) + ", is not the interpreter's";
    }
  }

  const SampleGraph& graph_;
  Random random_;
  const KernelTable kernels_ = sample_kernels();
  SimulatedClock clock_;
  SimulatedQueues queues_;
  Engine engine_;
  PlanHandle plan_;
  std::map<uint64_t, size_t> task_of_;
  std::optional<Interpreter> expected_;
  std::optional<std::string> wrong_;
  int64_t first_step_ = 0;
  int64_t next_step_ = -1;
  bool moved_ = false;
};

TEST(DeviceEdges, EveryValueThatQueuesMakeEqualsTheInterpreters) {
  int64_t waits = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    const SampleGraph graph = sample_graph(seed, {.hesitant_sources = true});
    QueuedRun run(graph, seed);
    for (const int64_t first : {10, 13, 40}) {
      ASSERT_EQ(run.run(first, 3), std::nullopt) << "seed " << seed << ", step " << first << to_text(graph.plan);
    }
    waits += run.queues().waits();
  }
  EXPECT_GT(waits, 10'000);
}

TEST(DeviceEdges, QueuesThatDoNotWaitForOneAnotherAreCaught) {
  int caught = 0;
  int crossed = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    QueuedRun run(graph, seed);
    run.queues().ignore_waits();
    caught += run.run(0, 4).has_value();
    crossed += run.queues().waits() > 0;
  }
  EXPECT_GT(crossed, 50);
  EXPECT_GT(caught, crossed / 2);
}

const PlanStream& stream_of(const Plan& plan, TaskId task) {
  return *std::ranges::find_if(plan.streams, [&](const PlanStream& stream) {
    return std::ranges::any_of(stream.segments, [&](const PlanSegment& segment) {
      return std::ranges::find(segment.tasks, task) != segment.tasks.end();
    });
  });
}

// Other queues that wait for it do so for ever.
TEST(DeviceEdges, AQueueThatFailsIsAFaultOfATaskInItAndOfItsDevice) {
  int failed = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    const Plan& plan = graph.plan;
    QueuedRun run(graph, seed);
    run.queues().fail_kernel(1 + static_cast<int64_t>(seed % 17));
    const std::optional<std::string> wrong = run.run(10, 3);
    if (!run.queues().failed()) {
      ASSERT_EQ(wrong, std::nullopt) << seed;
      continue;
    }
    ++failed;
    ASSERT_TRUE(run.fault()) << "seed " << seed << to_text(plan);
    EXPECT_EQ(run.fault()->what, "a kernel has failed") << seed;
    const TaskId at_fault(static_cast<int64_t>(run.task_of(*run.queues().failed())));
    const auto named = std::ranges::find(plan.tasks, run.fault()->task, &PlanTask::name);
    ASSERT_NE(named, plan.tasks.end()) << run.fault()->task;
    EXPECT_EQ(&stream_of(plan, TaskId(named - plan.tasks.begin())), &stream_of(plan, at_fault)) << seed;
    EXPECT_EQ(run.fault()->device, plan.devices[plan.task(at_fault).device.index()].name) << seed;
    run.queues().ran = nullptr;
    EXPECT_NE(run.run(20, 1), std::nullopt) << seed;  // it stays so
  }
  EXPECT_GT(failed, 200);
}

// A queue with a thread that runs what is put into it, a while later.
class ThreadQueue final : public DeviceQueue {
 public:
  explicit ThreadQueue(int kernels_until_failure = -1)
      : kernels_left_(kernels_until_failure), thread_([this] { serve(); }) {}
  ~ThreadQueue() override { end(); }
  // Runs what is left. Before any that it waits for is destroyed.
  void end() {
    if (!thread_.joinable()) return;
    put(nullptr);
    thread_.join();
  }
  void launch(Kernel kernel, const KernelArgs& args) override {
    const auto inputs = std::make_shared<std::vector<TensorView>>(args.inputs.begin(), args.inputs.end());
    const auto outputs = std::make_shared<std::vector<TensorView>>(args.outputs.begin(), args.outputs.end());
    put([this, kernel, copy = args, inputs, outputs]() mutable {
      if (kernels_left_ == 0) failed_.store(true);
      if (failed_.load()) return;
      --kernels_left_;
      copy.inputs = *inputs;
      copy.outputs = *outputs;
      Stream stream;
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // longer than executors look around
      kernel(copy, stream);
    });
  }
  uint64_t mark() override {
    put([this, mark = ++marked_] {
      if (!failed_.load()) passed_.store(mark);
    });
    return marked_;
  }
  bool has_passed(uint64_t mark) const override {
    if (!failed_.load()) return passed_.load() >= mark;
    Fault fault;
    fault.what = "a kernel has failed";
    throw FaultError(std::move(fault));
  }
  void wait_for(const DeviceQueue& other, uint64_t mark) override {
    const auto& from = static_cast<const ThreadQueue&>(other);
    put([&from, mark] {
      while (from.passed_.load() < mark && !from.failed_.load()) std::this_thread::yield();
    });
  }
  void call(std::function<void()> what) override { put(std::move(what)); }

 private:
  void put(std::function<void()> what) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(what));
    come_.notify_one();
  }
  void serve() {
    for (;;) {
      std::unique_lock lock(mutex_);
      come_.wait(lock, [this] { return !waiting_.empty(); });
      const std::function<void()> what = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      if (what == nullptr) return;
      what();
    }
  }

  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<std::function<void()>> waiting_;
  uint64_t marked_ = 0;
  std::atomic<uint64_t> passed_{0};
  std::atomic<bool> failed_{false};
  int kernels_left_;
  std::thread thread_;
};

EngineOptions two_executors(const QueueOfStream& queue_of) {
  EngineOptions options;
  options.executors = 2;
  options.place = [](const Plan&, StreamId stream) { return stream.value % 2; };
  options.queue_of = queue_of;
  return options;
}

// Executors sleep until a queue rings them, and nothing is under way when a run has ended.
TEST(DeviceEdges, ThreadsRunWhatIsInQueues) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  int tried = 0;
  for (uint64_t seed = 0; seed < 100 && tried < 10; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    std::vector<RegisterId> variables;
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      if (!reg.is_control() && reg.arena == ArenaKind::variables) variables.emplace_back(static_cast<int64_t>(r));
    }
    if (variables.empty() || !graph.sources.empty()) continue;
    ++tried;
    std::vector<std::unique_ptr<ThreadQueue>> queues;
    const EngineOptions options = two_executors([&](const Plan&, StreamId stream) -> DeviceQueue* {
      if (stream.value % 3 == 2) return nullptr;
      queues.push_back(std::make_unique<ThreadQueue>());
      return queues.back().get();
    });
    Engine engine(kernels, options, clock);
    const PlanHandle plan = engine.load(std::make_shared<Plan>(graph.plan), graph.sources);
    ThreadRunner threads(engine);
    Interpreter expected(engine.plan(plan), kernels, graph.sources, 0);
    for (int64_t step = 0; step < 6; step += 3) {
      engine.start(plan, step, 3);
      engine.wait(30);
    }
    expected.run(6);
    for (const RegisterId reg : variables) {
      const std::span<const std::byte> have = engine.registers(plan).bytes(reg, 0);
      EXPECT_TRUE(std::ranges::equal(have, expected.newest(reg))) << seed << " " << graph.plan.reg(reg).name;
    }
  }
  EXPECT_EQ(tried, 10);
}

// Executors that sleep until a queue rings them are rung when it fails.
TEST(DeviceEdges, ThreadsHearOfAQueueThatFails) {
  const KernelTable kernels = sample_kernels();
  const SteadyClock clock;
  int tried = 0;
  for (uint64_t seed = 0; seed < 100 && tried < 10; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    if (!graph.sources.empty()) continue;
    ++tried;
    std::vector<std::unique_ptr<ThreadQueue>> queues;
    const EngineOptions options = two_executors([&](const Plan&, StreamId) {
      queues.push_back(std::make_unique<ThreadQueue>(3));
      return queues.back().get();
    });
    Engine engine(kernels, options, clock);
    const PlanHandle plan = engine.load(std::make_shared<Plan>(graph.plan));
    {
      ThreadRunner threads(engine);
      engine.start(plan, 0, 100);
      try {
        engine.wait(300);
        ADD_FAILURE() << "no fault, seed " << seed;
      } catch (const FaultError& error) {
        EXPECT_EQ(error.fault().what, "a kernel has failed");
        EXPECT_NE(std::ranges::find(graph.plan.tasks, error.fault().task, &PlanTask::name), graph.plan.tasks.end());
      }
    }
    for (const auto& queue : queues) queue->end();  // while the memory is there
  }
  EXPECT_EQ(tried, 10);
}

}  // namespace
}  // namespace troupe
