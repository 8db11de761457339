// What a firing costs: graphs of empty kernels, on one stream and on two streams on two threads, held against a loop
// over function pointers. And parallel efficiency with kernels that take time.
//
//   firing_bench [--benchmark_filter=chain]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>

#include "actors/engine/engine.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/thread_runner.h"

namespace troupe {
namespace {

constexpr int kRepetitions = 9;
constexpr int kTasks = 1000;
constexpr int kStepsPerRun = 100;  // so that starting and waiting do not count

void nothing(const KernelArgs&, Stream&) {}

template <int microseconds>
void busy(const KernelArgs&, Stream&) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

enum class Partition { one_stream, blocks, round_robin };

// Tasks 0..n-1 on one device or two; each edge is a register of two slots.
class Graph {
 public:
  Graph(int tasks, Partition partition, const std::string& kernel) : tasks_(tasks) {
    const int devices = partition == Partition::one_stream ? 1 : 2;
    for (int d = 0; d < devices; ++d) {
      streams_.push_back(builder_.stream(builder_.device("cpu:" + std::to_string(d)), "compute"));
    }
    for (int i = 0; i < tasks; ++i) {
      const int at = partition == Partition::blocks ? i * devices / tasks : i % devices;
      ids_.push_back(builder_.task(streams_[static_cast<size_t>(at)], "t" + std::to_string(i), kernel));
      PlanBuilder::Register reg;
      reg.name = "r" + std::to_string(i);
      reg.slots = 2;
      outputs_.push_back(builder_.output(ids_.back(), reg));
    }
  }
  void edge(int from, int to) {
    if (from >= 0 && to < tasks_) builder_.read(ids_[static_cast<size_t>(to)], outputs_[static_cast<size_t>(from)]);
  }
  std::shared_ptr<Plan> plan() { return std::make_shared<Plan>(builder_.finish()); }

 private:
  int tasks_;
  PlanBuilder builder_;
  std::vector<StreamId> streams_;
  std::vector<TaskId> ids_;
  std::vector<RegisterId> outputs_;
};

void chain(Graph& graph) {
  for (int i = 1; i < kTasks; ++i) graph.edge(i - 1, i);
}

// Every other task also reads what came five before.
void skips(Graph& graph) {
  chain(graph);
  for (int i = 5; i < kTasks; i += 2) graph.edge(i - 5, i);
}

// One task, eight that read it, one that reads them, and so on.
void fork_join(Graph& graph) {
  for (int i = 0; i < kTasks; i += 9) {
    for (int w = 1; w <= 8; ++w) {
      graph.edge(i, i + w);
      if (i + 9 < kTasks && i + w < kTasks) graph.edge(i + w, i + 9);
    }
  }
}

// One task, 64 that read it, the next one reads the last of them.
void fan_out(Graph& graph) {
  for (int i = 0; i < kTasks; i += 65) {
    for (int w = 1; w <= 64; ++w) graph.edge(i, i + w);
    graph.edge(i + 64, i + 65);
  }
}

KernelTable kernels() {
  KernelTable table;
  table.add("nothing", DeviceKind::cpu, nothing);
  table.add("busy10", DeviceKind::cpu, busy<10>);
  table.add("busy100", DeviceKind::cpu, busy<100>);
  return table;
}

// A running engine with its threads.
struct Machine {
  explicit Machine(std::shared_ptr<Plan> plan)
      : engine(table, {.executors = static_cast<int>(plan->devices.size()), .place = nullptr}, clock),
        runner(engine),
        handle(engine.load(plan)) {
    run(kStepsPerRun);
  }
  void run(int64_t steps) {
    engine.run(handle, step, steps);
    step += steps;
  }
  // What follows, firing by firing, as a timeline wants it; until then nothing is kept.
  void trace(int64_t steps) { engine.observe(handle, {.live_bytes = true, .trace_from = step, .trace_steps = steps}); }
  KernelTable table = kernels();
  SteadyClock clock;
  Engine engine;
  ThreadRunner runner;
  PlanHandle handle;
  int64_t step = 0;
};

void fire(benchmark::State& state, Partition partition, void (*draw)(Graph&), bool traced = false) {
  Graph graph(kTasks, partition, "nothing");
  draw(graph);
  Machine machine(graph.plan());
  for (auto _ : state) {
    if (traced) {
      state.PauseTiming();
      machine.trace(kStepsPerRun);
      state.ResumeTiming();
    }
    machine.run(kStepsPerRun);
  }
  const double firings = static_cast<double>(state.iterations()) * kStepsPerRun * kTasks;
  state.counters["ns"] = benchmark::Counter(firings * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// From the driver's start to the end of its wait, with one firing between: both sides sleep and are woken.
void one_step(benchmark::State& state) {
  Graph graph(1, Partition::one_stream, "nothing");
  Machine machine(graph.plan());
  for (auto _ : state) machine.run(1);
  const double steps = static_cast<double>(state.iterations());
  state.counters["ns"] = benchmark::Counter(steps * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// The bound: the same kernels called in a row through pointers.
void loop(benchmark::State& state) {
  std::vector<std::pair<Kernel, KernelArgs>> calls(kTasks, {nothing, KernelArgs{}});
  benchmark::DoNotOptimize(calls.data());
  Stream stream;
  for (auto _ : state) {
    for (int s = 0; s < kStepsPerRun; ++s) {
      for (auto& [kernel, args] : calls) kernel(args, stream);
    }
  }
  const double firings = static_cast<double>(state.iterations()) * kStepsPerRun * kTasks;
  state.counters["ns"] = benchmark::Counter(firings * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// One task, 32 that read it, one that reads them, on two streams; 1 is both cores at work all the time.
void efficiency(benchmark::State& state, const char* kernel, double kernel_s) {
  constexpr int kNodes = 34;
  constexpr int kSteps = 40;
  Graph graph(kNodes, Partition::blocks, kernel);
  for (int i = 1; i <= 32; ++i) {
    graph.edge(0, i);
    graph.edge(i, 33);
  }
  Machine machine(graph.plan());
  for (auto _ : state) machine.run(kSteps);
  const double ideal = static_cast<double>(state.iterations()) * kSteps * kNodes / 2 * kernel_s;
  state.counters["efficiency"] = benchmark::Counter(ideal, benchmark::Counter::kIsRate);
}

// One line per case: median, spread, and how it compares with the bound (the first case).
class Lines : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override {
    std::printf("%d repetitions, median (min..max); the machine has %u cores\n", kRepetitions,
                std::thread::hardware_concurrency());
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<double> values;
    std::string counter;
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      for (const auto& [name, value] : run.counters) {
        counter = name;
        values.push_back(value.value);
      }
    }
    if (values.empty()) return;
    std::sort(values.begin(), values.end());
    const double median = values[values.size() / 2];
    const std::string name = runs.front().run_name.function_name;
    if (counter == "efficiency") {
      std::printf("%-34s %5.1f %% of two cores (%.1f..%.1f)\n", name.c_str(), 100 * median, 100 * values.front(),
                  100 * values.back());
      return;
    }
    if (bound_ == 0) bound_ = median;
    std::printf("%-34s %6.1f ns/firing (%.1f..%.1f), %.1f x the bound\n", name.c_str(), median, values.front(),
                values.back(), median / bound_);
    std::fflush(stdout);
  }

 private:
  double bound_ = 0;
};

void add_all() {
  const auto add = [](const std::string& name, auto fn) {
    benchmark::RegisterBenchmark(name.c_str(), fn)->UseRealTime()->Repetitions(kRepetitions)->MinTime(0.05);
  };
  add("loop over function pointers", loop);
  const std::pair<const char*, void (*)(Graph&)> graphs[] = {
      {"chain", chain}, {"skips", skips}, {"fork_join_8", fork_join}, {"fan_out_64", fan_out}};
  const std::pair<const char*, Partition> partitions[] = {{"one stream", Partition::one_stream},
                                                          {"two threads, blocks", Partition::blocks},
                                                          {"two threads, all cross", Partition::round_robin}};
  for (const auto& [partition_name, partition] : partitions) {
    for (const auto& [name, draw] : graphs) {
      add(std::string(name) + ", " + partition_name,
          [partition = partition, draw = draw](benchmark::State& state) { fire(state, partition, draw); });
    }
  }
  for (const auto& [name, draw] : graphs) {
    add(std::string(name) + ", one stream, traced",
        [draw = draw](benchmark::State& state) { fire(state, Partition::one_stream, draw, true); });
  }
  add("start, one firing, wait", one_step);
  add("fork/join of 34, 10 us kernels", [](benchmark::State& state) { efficiency(state, "busy10", 10e-6); });
  add("fork/join of 34, 100 us kernels", [](benchmark::State& state) { efficiency(state, "busy100", 100e-6); });
}

}  // namespace
}  // namespace troupe

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  troupe::add_all();
  troupe::Lines lines;
  benchmark::RunSpecifiedBenchmarks(&lines);
  return 0;
}
