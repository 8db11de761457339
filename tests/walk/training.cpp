#include "tests/walk/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "actors/engine/engine.h"
#include "actors/engine/thread_runner.h"
#include "ops/cpu/movement.h"
#include "planner/compile.h"
#include "planner/traffic.h"
#include "runtime/base/random.h"
#include "tests/walk/scrambled_run.h"
#include "tests/walk/untouched.h"

namespace troupe {
namespace {

// Cuts a step's batch into pieces.
class BatchSource final : public Source {
 public:
  explicit BatchSource(std::function<HostTensor(int64_t)> batch) : batch_(std::move(batch)) {}
  bool ready(int64_t) const override { return true; }
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string*) override {
    const HostTensor whole = batch_(firing.step);
    const TensorView view = whole.view();
    Dims from = out.offset;
    from[0] += (static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece) * out.logical[0];
    const Dims zero = Dims::filled(out.shape.rank(), 0);
    cpu::copy_box(out.data, out.shape.begin(), zero.begin(), view.data, view.shape.begin(), from.begin(),
                  out.shape.begin(), out.shape.rank(), size_of(out.dtype));
  }

 private:
  std::function<HostTensor(int64_t)> batch_;
};

std::span<std::byte> bytes_of(const HostTensor& tensor) {
  return {tensor.view().as<std::byte>(), static_cast<size_t>(tensor.view().bytes())};
}

}  // namespace

std::vector<double> formula(const std::string& name, int64_t count, double scale) {
  Random random(hash_path(name));
  std::vector<double> numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(scale * (2 * random.uniform() - 1));
  return numbers;
}

std::function<HostTensor(int64_t)> random_numbers(const std::string& name, const Shape& shape) {
  return [=](int64_t step) {
    HostTensor batch({DType::f32, shape});
    batch.set_numbers(formula(name + std::to_string(step), batch.elements(), 2));
    return batch;
  };
}

std::function<HostTensor(int64_t)> random_ids(const std::string& name, const Shape& shape, int64_t below) {
  return [=](int64_t step) {
    HostTensor batch({DType::i32, shape});
    std::vector<double> ids = formula(name + std::to_string(step), batch.elements(), 1);
    for (double& id : ids) id = std::floor((id + 1) / 2 * static_cast<double>(below));
    batch.set_numbers(ids);
    return batch;
  };
}

std::map<std::string, HostTensor> initial_variables(const Graph& graph) {
  std::map<std::string, HostTensor> values;
  for (const Variable& variable : graph.variables()) {
    HostTensor value(graph.value(variable.value).type);
    const bool parameter = variable.name.ends_with("weight") || variable.name.ends_with("bias");
    if (parameter && !variable.name.starts_with("optimizer.")) {
      value.set_numbers(formula(variable.name, value.elements(), 0.4));
    }
    values.emplace(variable.name, std::move(value));
  }
  return values;
}

Trained run_plan(const Graph& graph, const Plan& plan, const Batches& batches, int steps, const HowToRun& how) {
  std::string wrong;
  const std::optional<Trained> result = try_plan(graph, plan, batches, steps, how, &wrong);
  EXPECT_TRUE(result.has_value()) << wrong;
  return result.value_or(Trained());
}

std::optional<Trained> try_plan(const Graph& graph, const Plan& plan, const Batches& batches, int steps,
                                const HowToRun& how, std::string* wrong) {
  KernelTable kernels;
  add_cpu_kernels(kernels);
  SteadyClock steady;
  SimulatedClock simulated;
  const bool in_simulation = how.scrambled || how.as_predicted;
  const Clock& clock = in_simulation ? static_cast<const Clock&>(simulated) : steady;
  EngineOptions options;
  options.executors = how.executors;
  if (how.as_predicted) options.executors = static_cast<int>(plan.streams.size());
  if (in_simulation) {  // streams of one device apart as well
    options.place = [&](const Plan&, StreamId stream) { return stream.value % options.executors; };
  }
  Engine engine(kernels, options, clock);
  std::optional<ThreadRunner> threads;
  std::optional<ScrambledRun> scrambled;
  if (in_simulation) {
    scrambled.emplace(engine, simulated, how.scrambled);
  } else {
    threads.emplace(engine);
  }
  SourceMap sources;
  for (const auto& [name, batch] : batches) sources[name] = std::make_shared<BatchSource>(batch);
  const PlanHandle handle = engine.load(std::make_shared<const Plan>(plan), sources);
  engine.observe(
      handle, {.counts = how.count_traffic, .live_bytes = how.count_live_bytes, .trace_steps = how.trace ? steps : 0});
  std::map<std::string, HostTensor> values = initial_variables(graph);
  for (const PlanVariable& variable : plan.variables) {
    engine.write(handle, variable, bytes_of(values.at(variable.name)));
  }
  std::optional<Untouched> untouched;
  if (how.watch_gaps) untouched.emplace(engine, handle);
  Trained result;
  const int at_once = how.as_predicted ? steps : 1;
  for (int step = 0; step < steps; step += at_once) {
    engine.start(handle, step, at_once);
    if (scrambled) {
      const std::optional<std::string> failure = scrambled->run();
      if (failure) {
        if (wrong != nullptr) *wrong = *failure;
        return std::nullopt;
      }
    } else {
      engine.wait(60);
    }
    float loss = 0;
    engine.registers(handle).fetch(plan.outputs.front(), std::as_writable_bytes(std::span(&loss, 1)));
    result.losses.push_back(loss);
  }
  for (const PlanVariable& variable : plan.variables) {
    engine.registers(handle).read(variable, bytes_of(values.at(variable.name)));
  }
  result.variables = std::move(values);
  if (untouched) {
    result.gap_bytes = untouched->bytes();
    result.written_gap = untouched->flaw();
  }
  if (how.count_live_bytes) result.peak_bytes = engine.observations(handle).peak_workspace;
  result.simulated_s = simulated.now();
  if (how.trace) result.trace = engine.observations(handle).trace;
  if (how.count_traffic) result.received_bytes = received_bytes(plan, engine.observations(handle).firings());
  return result;
}

Trained train(const Graph& graph, const Choices& choices, const Batches& batches, int steps, const HowToRun& how) {
  return run_plan(graph, compile(graph, choices, Profile()).plan, batches, steps, how);
}

Trained interpret_training(const Graph& graph, const Batches& batches, int steps) {
  Trained result;
  result.variables = initial_variables(graph);
  for (int step = 0; step < steps; ++step) {
    std::map<ValueId, HostTensor> given;
    for (const SourceValue& source : graph.sources()) given.emplace(source.value, batches.at(source.name)(step));
    std::vector<ValueId> wanted = {graph.outputs().front().value};
    for (const Variable& variable : graph.variables()) {
      given.emplace(variable.value, result.variables.at(variable.name));
      wanted.push_back(variable.next.valid() ? variable.next : variable.value);
    }
    const std::vector<HostTensor> values = interpret(graph, given, wanted);
    result.losses.push_back(values.front().as<float>().front());
    for (size_t v = 0; v < graph.variables().size(); ++v) {
      result.variables.insert_or_assign(graph.variables()[v].name, values[v + 1]);
    }
  }
  return result;
}

}  // namespace troupe
