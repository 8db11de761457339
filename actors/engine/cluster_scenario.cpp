#include "actors/engine/cluster_scenario.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "actors/engine/placement.h"
#include "actors/engine/sample_graphs.h"
#include "actors/engine/sample_step.h"

namespace troupe {
namespace {

constexpr char kToken[] = "secret";
constexpr int kDevices = 5;
constexpr int64_t kSteps = 30;  // that there are batches for
const std::vector<WorkerShare> kShares = {{1, 1}, {2, 1}, {2, 2}};

uint64_t failing_key = 0;  // of the task whose kernel fails next; 0: none
bool throwing = false;     // it throws instead of saying so

void mix_or_fail(const KernelArgs& args, Stream& stream) {
  static const KernelTable sound = sample_kernels();
  if (failing_key == 0 || args.key != failing_key) return sound.find("mix", DeviceKind::cpu)(args, stream);
  failing_key = 0;
  if (throwing) throw std::runtime_error("no scratch memory is left");
  *args.failure = "a value is not finite";
}

KernelTable fragile_kernels() {
  KernelTable kernels;
  kernels.add("mix", DeviceKind::cpu, mix_or_fail);
  return kernels;
}

ClusterOptions with_token(ClusterOptions options) {
  options.token = kToken;
  return options;
}

}  // namespace

Scenario::Scenario(const Cell& cell, ClusterOptions options)
    : cell_(cell),
      kernels_(fragile_kernels()),
      sound_kernels_(sample_kernels()),
      train_plan_(sample_step(kDevices)),
      evaluation_plan_(sample_evaluation(kDevices)),
      feed_(sample_feed(1, kSteps)),
      weights_(kDevices),
      cluster_(clock_, kernels_, with_token(options)),
      driver_(cluster_, {processes(), kToken, kHeartbeat}, clock_) {
  fail_kernel(0);
  for (int p = 0; p < processes(); ++p) {
    const bool far = cell.hosts && p > 0;
    cluster_.add_process(kShares[static_cast<size_t>(p)], cluster_.random().uniform() * 0.1, [&](Join& join) {
      if (far) join.memory = join.host;
    });
  }
  choose_victims();
  cluster_.networks().fate = [this](size_t from, size_t to, std::span<const std::byte>) { return fate_of(from, to); };
  cluster_.fires = [this](int, const LoadedPlan& plan, const TaskActor& task) {
    return on_firing(plan.plan().task(task.id()));
  };
  if (cell.trouble == Trouble::kNone) return;
  if (cell.phase == Phase::kJoin) {
    cluster_.events().at(cluster_.random().uniform() * 0.12, 0, [this] { happen(); });
  }
  cluster_.sends = [this](int process, Command& command) {
    if (const auto* go = std::get_if<Go>(&command)) goes_ = PlanHandle(go->handle);
    if (std::holds_alternative<GetStall>(command)) waited_when_asked_ = who_wait();
    on_command(process, command);
  };
}

void Scenario::fail_kernel(uint64_t key) const {
  failing_key = key;
  throwing = cell_.trouble == Trouble::kKernelThrows;
}

int Scenario::processes() const { return static_cast<int>(kShares.size()); }

std::string Scenario::name(int process) const {
  if (process == ClusterSimulation::kDriver) return "";
  for (int w = 0; w < processes(); ++w) {
    if (cluster_.process_of_worker(w) != process) continue;
    const std::string number = std::to_string(process);
    return "worker " + std::to_string(w) + " (host" + number + ", process 10" + number + ")";
  }
  return "";
}

int Scenario::owner(const std::string& devices) const {
  std::vector<int> joined;
  std::vector<WorkerShare> shares;
  for (int w = 0; w < processes(); ++w) {
    joined.push_back(cluster_.process_of_worker(w));
    shares.push_back(joined.back() < 0 ? WorkerShare{0, 1} : kShares[static_cast<size_t>(joined.back())]);
  }
  const int worker = process_of_device(devices.substr(0, devices.find(' ')), shares);
  return worker < 0 ? -1 : joined[static_cast<size_t>(worker)];
}

std::string Scenario::device_of(const std::string& task) const {
  for (const Plan* plan : {&train_plan_, &evaluation_plan_}) {
    for (const PlanTask& each : plan->tasks) {
      if (each.name == task) return plan->devices[each.device.index()].name;
    }
  }
  return "";
}

std::set<std::tuple<StreamId, TaskId, int64_t>> Scenario::who_wait() const {
  std::set<std::tuple<StreamId, TaskId, int64_t>> found;
  for (int p = 0; p < processes(); ++p) {
    if (p == victim_ || !goes_.valid() || cluster_.engine(p) == nullptr) continue;
    const LoadedPlan& plan = cluster_.engine(p)->loaded(goes_);
    for (const Standing& standing : standings(plan, std::vector<std::optional<TaskId>>(plan.own().count))) {
      const auto is_victims = [&](const Lack& lack) {
        return owner(device_of(plan.plan().task(lack.from).name)) == victim_;
      };
      if (!std::all_of(standing.lacks.begin(), standing.lacks.end(), is_victims)) continue;
      for (const Lack& lack : standing.lacks) found.emplace(standing.stream, lack.from, lack.version);
    }
  }
  return found;
}

bool Scenario::waits_for_victim() const {
  if (waited_when_asked_.empty()) return false;
  const auto wait = who_wait();
  return std::any_of(wait.begin(), wait.end(), [&](const auto& each) { return waited_when_asked_.contains(each); });
}

void Scenario::script() {
  attempt([&] {
    while (!driver_.gather(0.3, 20)) {
    }
    train_ = driver_.load(std::make_shared<const Plan>(train_plan_), {});
    driver_.set_sources(train_, sources_of(feed_));
    evaluation_ = driver_.load(std::make_shared<const Plan>(evaluation_plan_), {});
    write_weights();
    train_afresh(0);
    train(0, 3);
    evaluate(0);
    driver_.observe(train_, Observe{.counts = true});
    train(3, 3);
    check_firings(driver_.observations(train_), 3);
    check_weights();
    evaluate(cell_.hosts ? 3 : 0);  // over hosts it would go on, and yet has to read the weights again
    for (int64_t step : {8, 9, 10}) interrupt(step);
    train_afresh(12);
    train(12, 1);
    driver_.start(train_, 13, 1000);
    if (driver_.wait_for(0.3, kPatience)) wrong_ = "more steps than there are batches for";
    driver_.stop();
    begin_again(20);
    driver_.unload(evaluation_);
    evaluation_ = driver_.load(std::make_shared<const Plan>(evaluation_plan_), {});
    evaluate(0);
    write_weights();
    evaluate(cell_.hosts ? 3 : 0);
    check_weights();
  });
}

void Scenario::begin_again(int64_t step) {
  write_weights();
  train_afresh(step);
  train(step, 3);
}

// A life that is ended where it is; the next one begins at once, and must not meet what was under way.
void Scenario::interrupt(int64_t step) {
  updates_ = false;
  train_afresh(step);
  driver_.start(train_, step, 1000);
  driver_.wait_for(0.05 + 0.1 * cluster_.random().uniform(), kPatience);
  driver_.stop();
  if (updates_) write_weights();  // nobody knows how far it came
}

void Scenario::set_sources(uint64_t key) {
  feed_ = sample_feed(key, kSteps);
  driver_.set_sources(train_, sources_of(feed_));
}

void Scenario::write_weights() {
  enter(Phase::kWrite);
  for (size_t v = 0; v < train_plan_.variables.size(); ++v) {
    const PlanVariable& variable = train_plan_.variables[v];
    weights_[v].resize(static_cast<size_t>(train_plan_.reg(variable.parts.front().reg).bytes));
    for (std::byte& byte : weights_[v]) byte = static_cast<std::byte>(cluster_.random().below(256));
    driver_.write(train_, variable, weights_[v]);
  }
}

void Scenario::check_weights() {
  enter(Phase::kCheckpoint);
  for (size_t v = 0; v < train_plan_.variables.size(); ++v) {
    std::vector<std::byte> found(weights_[v].size());
    driver_.registers(train_).read(train_plan_.variables[v], found);
    if (found != weights_[v]) wrong_ = "the driver reads other weights than were computed";
  }
}

// What the plan is compared with, in its life from this step on.
Interpreter& Scenario::expect(PlanHandle handle, const Plan& plan, int64_t step) {
  expected_.push_back(std::make_unique<Interpreter>(plan, sound_kernels_, sources_of(feed_), step));
  Interpreter& made = *expected_.back();
  for (size_t v = 0; v < plan.variables.size(); ++v) made.set(plan.variables[v].parts.front().reg, 0, weights_[v]);
  cluster_.simulation().expect(handle, made);
  return made;
}

void Scenario::train_afresh(int64_t step) {
  training_ = &expect(train_, train_plan_, step);
  life_began_ = step;
}

void Scenario::train(int64_t first_step, int64_t steps) {
  run(train_, first_step, steps);
  const int64_t last = first_step + steps - life_began_ - 1;
  for (size_t v = 0; v < weights_.size(); ++v) {
    const TaskId update = train_plan_.reg(train_plan_.variables[v].parts.front().reg).producer;
    training_->run_until(update, last);
    const std::span<const std::byte> bytes = training_->after(update, last, 0);
    weights_[v].assign(bytes.begin(), bytes.end());
  }
}

void Scenario::evaluate(int64_t first_step) {
  expect(evaluation_, evaluation_plan_, first_step);
  run(evaluation_, first_step, 3);
}

void Scenario::run(PlanHandle handle, int64_t first_step, int64_t steps) {
  driver_.start(handle, first_step, steps);
  while (!driver_.wait_for(0.4, kPatience)) {
  }
}

void Scenario::check_firings(const Observations& seen, int64_t steps) {
  for (size_t t = 0; t < train_plan_.tasks.size(); ++t) {
    const PlanTask& task = train_plan_.tasks[t];
    if (task.kind == TaskKind::source || seen.tasks.at(t).firings == steps * task.firings_per_step) continue;
    wrong_ = "'" + task.name + "' is said to have fired " + std::to_string(seen.tasks[t].firings) + " times";
  }
}

void Scenario::attempt(const std::function<void()>& what) {
  told_.reset();
  fault_.reset();
  try {
    what();
  } catch (const FaultError& error) {
    told_ = error.what();
    fault_ = error.fault();
  } catch (const PlanError& error) {
    told_ = error.what();
  }
  told_at_ = clock_.now();
}

Scenario::End Scenario::end() {
  ending_ = true;
  const double began = clock_.now();
  driver_.shutdown();
  const double shut = clock_.now();
  driver_.dismiss();
  const double dismissed = clock_.now();
  driver_.shutdown();
  cluster_.events().run_until(dismissed + 5 * kHeartbeat);  // somebody may wake up
  return {shut - began, dismissed - shut};
}

}  // namespace troupe
