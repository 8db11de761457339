#include "actors/engine/worker.h"

#include <new>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/plan/read.h"

namespace troupe {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::span<const std::byte> bytes_of(const Arena& arena) { return {arena.data(), static_cast<size_t>(arena.bytes())}; }

}  // namespace

Engine& Worker::started() {
  if (engine_ == nullptr) throw PlanError("a command came before the welcome");
  return *engine_;
}

void Worker::carry_out(const Welcome& welcome) {
  workers_ = welcome.workers;
  EngineOptions options;
  options.executors = 0;
  ExecutorRange own;
  for (size_t w = 0; w < workers_.size(); ++w) {
    if (static_cast<int32_t>(w) == welcome.index) own = {options.executors, workers_[w].executors};
    options.executors += workers_[w].executors;
  }
  options.own = own;
  doorbells_ = Arena::open(welcome.doorbells);
  CHECK(doorbells_.bytes() >= static_cast<int64_t>(sizeof(Doorbell)) * options.executors, doorbells_.bytes());
  options.doorbells = reinterpret_cast<Doorbell*>(doorbells_.data());
  options.place = [this](const Plan& plan, StreamId stream) {
    return executor_of_device(plan.devices[plan.streams[stream.index()].device.index()].name, workers_);
  };
  options.changed = changed_;
  engine_ = std::make_unique<Engine>(kernels_, std::move(options), clock_);
}

void Worker::carry_out(const LoadPlan& load) {
  const Arena bytes = Arena::open(load.plan);
  auto plan = std::make_shared<const Plan>(read_plan(bytes_of(bytes), "the driver's plan"));
  const Lent lent{load.blocks, load.lanes};
  started().load(std::move(plan), {}, &lent, PlanHandle(load.handle));
}

void Worker::carry_out(const SetSources& set) {
  SourceMap map;
  for (const SourceSpec& spec : set.sources) {
    if (spec.feed < 0) {
      map[spec.name] = std::make_shared<TokenSource>(spec.rows);
      continue;
    }
    std::shared_ptr<Feed>& feed = feeds_[spec.feed];
    if (feed == nullptr) feed = std::make_shared<Feed>();
    map[spec.name] = std::make_shared<FeedSource>(feed, spec.array);
  }
  started().set_sources(PlanHandle(set.handle), std::move(map));
}

void Worker::carry_out(const HandOver& given) {
  std::shared_ptr<Feed>& feed = feeds_[given.feed];
  if (feed == nullptr) feed = std::make_shared<Feed>();
  const auto memory = std::make_shared<const Arena>(Arena::open(given.memory));
  FedBatch batch;
  for (const HandOver::Array& array : given.arrays) {
    FedArray& made = batch.arrays[array.name];
    made = {static_cast<DType>(array.dtype), Shape(array.shape), memory->data() + array.offset};
    CHECK(array.offset >= 0 && array.offset + made.bytes() <= memory->bytes(), array.name, memory->bytes());
  }
  batch.memory = memory;
  feed->drop_before(given.oldest);
  feed->put(given.step, std::move(batch));
  started().wake();
}

std::vector<Reply> Worker::answer(uint64_t request, const Command& command) {
  std::vector<Reply> replies;
  std::visit(Overloaded{
                 [&](const Welcome& welcome) { carry_out(welcome); },
                 [&](const Refused&) { over_ = true; },
                 [&](const LoadPlan& load) { carry_out(load); },
                 [&](const UnloadPlan& unload) { started().unload(PlanHandle(unload.handle)); },
                 [&](const SetSources& sources) { carry_out(sources); },
                 [&](const HandOver& batch) { carry_out(batch); },
                 [&](const DropFeed& drop) { feeds_.erase(drop.feed); },  // a source that still reads it keeps it
                 [&](const Restart& restart) {
                   if (started().fault()) started().forgive();
                   started().restart(PlanHandle(restart.handle), restart.epoch, restart.first_step);
                 },
                 [&](const Go& go) {
                   running_ = PlanHandle(go.handle);
                   started().go(running_, go.until);
                   replies = on_change();  // nothing of it may be this worker's
                 },
                 [&](const Hold&) { started().hold(); },
                 [&](const Resume&) { started().resume(); },
                 [&](const Stop&) {
                   running_ = {};
                   started().stop();
                 },
                 [&](const SetObserved& set) { started().observe(PlanHandle(set.handle), set.what); },
                 [&](const GetObserved& get) {
                   replies.push_back(ObservedPart{request, started().observations(PlanHandle(get.handle))});
                 },
                 [&](const GetStall&) {
                   const Engine::StallReport report = started().stall();
                   replies.push_back(StallPart{request, report.fault, report.elsewhere});
                 },
                 [&](const Leave&) { over_ = true; },
             },
             command);
  return replies;
}

std::vector<Reply> Worker::on(uint64_t request, const Command& command) {
  Answer said{request, Answer::Outcome::done, {}};
  std::vector<Reply> replies;
  try {
    replies = answer(request, command);
  } catch (const PlanError& error) {
    said.outcome = Answer::Outcome::user_error;
    said.fault.what = error.what();
  } catch (const FaultError& error) {
    said.outcome = Answer::Outcome::fault;
    said.fault = error.fault();
  } catch (const std::bad_alloc&) {
    said.outcome = Answer::Outcome::fault;
    said.fault.what = "not enough memory";
  } catch (const std::exception& error) {
    said.outcome = Answer::Outcome::fault;
    said.fault.what = error.what();
  }
  replies.emplace_back(std::move(said));
  return replies;
}

std::vector<Reply> Worker::on_change() {
  if (engine_ == nullptr || !running_.valid()) return {};
  if (std::optional<Fault> fault = engine_->fault()) {
    running_ = {};
    return {*fault};
  }
  if (engine_->running()) return {};
  const LoadedPlan& plan = engine_->loaded(std::exchange(running_, {}));
  return {Reached{plan.epoch, plan.next_step}};
}

}  // namespace troupe
