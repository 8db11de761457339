#include "actors/engine/worker.h"

#include <new>
#include <utility>

#include "actors/engine/exchange_options.h"
#include "runtime/base/check.h"
#include "runtime/base/overloaded.h"
#include "runtime/plan/read.h"

namespace troupe {
namespace {

std::span<const std::byte> bytes_of(const Arena& arena) { return {arena.data(), static_cast<size_t>(arena.bytes())}; }

}  // namespace

Engine& Worker::started() {
  if (engine_ == nullptr) throw PlanError("a command came before the welcome");
  return *engine_;
}

Worker::~Worker() { exchange_.reset(); }  // before the memory that it writes

void Worker::carry_out(const Welcome& welcome, std::vector<Reply>& replies, uint64_t request) {
  if (engine_ != nullptr) throw PlanError("this worker has been welcomed before");
  workers_ = welcome.workers;
  beat_s_ = welcome.beat_s;
  EngineOptions options;
  options.executors = 0;
  ExecutorRange own;
  for (size_t w = 0; w < workers_.size(); ++w) {
    if (static_cast<int32_t>(w) == welcome.index) own = {options.executors, workers_[w].executors};
    options.executors += workers_[w].executors;
  }
  options.own = own;
  far_from_driver_ = welcome.near.at(static_cast<size_t>(welcome.index)) == 0;
  if (!far_from_driver_) {
    doorbells_ = Arena::open(welcome.doorbells);
    CHECK(doorbells_.bytes() >= static_cast<int64_t>(sizeof(Doorbell)) * options.executors, doorbells_.bytes());
    options.doorbells = reinterpret_cast<Doorbell*>(doorbells_.data());
  }
  options.place = [this](const Plan& plan, StreamId stream) {
    return executor_of_device(plan.devices[plan.streams[stream.index()].device.index()].name, workers_);
  };
  options.changed = changed_;
  link(welcome, replies, request);
  options.exchange = exchange_.get();
  options.process_of = [this](const std::string& device) { return process_of_device(device, workers_); };
  engine_ = std::make_unique<Engine>(kernels_, std::move(options), clock_);
  if (exchange_ == nullptr) return;
  exchange_->changed = changed_;
  exchange_->on_fault = [this](Fault fault) { engine_->raise(std::move(fault)); };
}

// Opens a way to the processes that share no memory with this one, if there are any.
void Worker::link(const Welcome& welcome, std::vector<Reply>& replies, uint64_t request) {
  ExchangeOptions options = exchange_options(welcome, welcome.index);
  std::string address;
  if (options.any_far()) {
    if (make_network_ == nullptr) throw PlanError("this worker has no network, and shares no memory with all others");
    exchange_ = std::make_unique<Exchange>(make_network_(), std::move(options), clock_);
    address = exchange_->address();
  }
  replies.emplace_back(LinkAddress{request, address});
}

// What the driver lends: mapped, or fetched before.
std::shared_ptr<Arena> Worker::borrow(const Waiting& waiting, const ArenaFile& file) const {
  return far_from_driver_ ? waiting.fetched : std::make_shared<Arena>(Arena::open(file));
}

void Worker::carry_out(const Waiting& waiting, const LoadPlan& load) {
  const std::shared_ptr<Arena> bytes = borrow(waiting, load.plan);
  auto plan = std::make_shared<const Plan>(read_plan(bytes_of(*bytes), "the driver's plan"));
  const Lent lent{load.blocks, load.lanes};
  started().load(std::move(plan), {}, far_from_driver_ ? nullptr : &lent, PlanHandle(load.handle));
}

void Worker::carry_out(const SetSources& set) {
  SourceMap map;
  std::vector<std::shared_ptr<const RowOrder>> orders;
  for (const SourceSpec& spec : set.sources) {
    if (!spec.array_rows.paths.empty()) {
      map[spec.name] = open_array(spec.array_rows, orders);
      continue;
    }
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

void Worker::carry_out(const Waiting& waiting, const HandOver& given) {
  std::shared_ptr<Feed>& feed = feeds_[given.feed];
  if (feed == nullptr) feed = std::make_shared<Feed>();
  feed->drop_before(given.oldest);
  // The driver had dropped it already: all steps that read it are done, so nobody here does.
  if (far_from_driver_ && waiting.job.refused()) return;
  const std::shared_ptr<const Arena> memory = borrow(waiting, given.memory);
  FedBatch batch;
  for (const HandOver::Array& array : given.arrays) {
    FedArray& made = batch.arrays[array.name];
    made = {static_cast<DType>(array.dtype), Shape(array.shape), memory->data() + array.offset};
    CHECK(array.offset >= 0 && array.offset + made.bytes() <= memory->bytes(), array.name, memory->bytes());
  }
  batch.memory = memory;
  feed->put(given.step, std::move(batch));
  started().wake();
}

void Worker::carry_out(const Waiting& waiting, std::vector<Reply>& replies) {
  const uint64_t request = waiting.request;
  std::visit(Overloaded{
                 [&](const Welcome& welcome) { carry_out(welcome, replies, request); },
                 [&](const Refused&) {},
                 [&](const Connect& connect) {
                   if (exchange_ != nullptr) exchange_->connect(connect.addresses);
                 },
                 [&](const Fence&) {},
                 [&](const LoadPlan& load) { carry_out(waiting, load); },
                 [&](const UnloadPlan& unload) { started().unload(PlanHandle(unload.handle)); },
                 [&](const SetSources& sources) { carry_out(sources); },
                 [&](const HandOver& batch) { carry_out(waiting, batch); },
                 [&](const DropFeed& drop) { feeds_.erase(drop.feed); },  // a source that still reads it keeps it
                 [&](const Restart& restart) {
                   if (started().fault()) started().forgive();
                   if (exchange_ != nullptr && exchange_->fault()) throw FaultError(*exchange_->fault());
                   started().restart(PlanHandle(restart.handle), restart.epoch, restart.first_step);
                 },
                 [&](const Go& go) {
                   started().go(PlanHandle(go.handle), go.until);
                   running_ = PlanHandle(go.handle);
                   // Nothing of it may be this worker's: then it is done already.
                   for (Reply& reply : on_progress()) replies.push_back(std::move(reply));
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
                 [&](const GetTime&) { replies.push_back(TimeIs{request, clock_.now()}); },
                 [&](const GetStall&) { replies.push_back(StallPart{request, started().standings()}); },
                 [&](const Leave&) {},
             },
             waiting.command);
}

void Worker::fetch(Waiting& waiting, const ArenaFile& file) {
  waiting.fetched = std::make_shared<Arena>(file.bytes);
  WirePlace place;
  place.file = file.file;
  place.bytes = file.bytes;
  Pieces into;
  if (file.bytes > 0) into.emplace_back(waiting.fetched->data(), static_cast<size_t>(file.bytes));
  const int driver = static_cast<int>(workers_.size());
  exchange_->fetch(waiting.job, driver, place, std::move(into), waiting.fetched);
}

// Asks other processes for what the command needs.
void Worker::begin(Waiting& waiting) {
  if (exchange_ == nullptr) return;
  if (const auto* fence = std::get_if<Fence>(&waiting.command)) exchange_->fence(waiting.job, fence->number);
  if (!far_from_driver_) return;
  if (const auto* load = std::get_if<LoadPlan>(&waiting.command)) fetch(waiting, load->plan);
  if (const auto* given = std::get_if<HandOver>(&waiting.command)) fetch(waiting, given->memory);
}

// True when the command has been carried out; otherwise it waits for other processes.
bool Worker::step(Waiting& waiting, std::vector<Reply>& replies) {
  const auto arrived = [&] {
    if (exchange_ == nullptr) return true;
    if (!exchange_->done(waiting.job)) return false;
    const bool may_lack = std::holds_alternative<HandOver>(waiting.command) && waiting.job.refused();
    if (waiting.job.failure() && !may_lack) throw FaultError(*waiting.job.failure());
    return true;
  };
  if (waiting.stage == Waiting::Stage::fresh) {
    begin(waiting);
    waiting.stage = Waiting::Stage::fetches;
  }
  if (!arrived()) return false;
  if (waiting.stage == Waiting::Stage::fetches) {
    carry_out(waiting, replies);
    waiting.stage = Waiting::Stage::carried_out;
    const auto* restart = std::get_if<Restart>(&waiting.command);
    if (exchange_ != nullptr && restart != nullptr) {
      exchange_->fetch_initial(waiting.job, PlanHandle(restart->handle));
    }
  }
  return arrived();
}

std::vector<Said> Worker::on(const Order& order) {
  orders_.put(order.number, order, clock_.now());
  std::vector<Reply> replies;
  while (!over_) {
    const std::optional<Order> next = orders_.take();
    missing_since_.store(orders_.missing_since().value_or(-1));  // before one that may take long
    if (!next) break;
    take(*next);
    for (Reply& reply : advance()) replies.push_back(std::move(reply));
  }
  return numbered(std::move(replies));
}

void Worker::take(const Order& order) {
  if (const auto* refused = std::get_if<Refused>(&order.command)) refused_ = refused->why;
  if (std::holds_alternative<Leave>(order.command) || std::holds_alternative<Refused>(order.command)) {
    over_ = true;
    return;
  }
  Waiting waiting;
  waiting.request = order.request;
  waiting.command = order.command;
  const bool urgent = std::holds_alternative<GetStall>(order.command);  // it may be about what is waited for
  waiting_.insert(urgent ? waiting_.begin() : waiting_.end(), std::move(waiting));
}

std::vector<const Command*> Worker::waiting() const {
  std::vector<const Command*> all;
  for (const Waiting& each : waiting_) all.push_back(&each.command);
  orders_.each_early([&](const Order& order) { all.push_back(&order.command); });
  return all;
}

std::vector<Said> Worker::numbered(std::vector<Reply> replies) {
  std::vector<Said> said;
  for (Reply& reply : replies) said.push_back({++said_, std::move(reply)});
  return said;
}

Said Worker::beat() {
  const double since = missing_since_.load();
  return {++said_, Beat{engine_->firings(), engine_->read(), since < 0 ? 0 : clock_.now() - since}};
}

std::vector<Reply> Worker::advance() {
  std::vector<Reply> replies;
  while (!waiting_.empty()) {
    Waiting& waiting = waiting_.front();
    Answer said{waiting.request, Answer::Outcome::done, {}};
    try {
      if (!step(waiting, replies)) break;
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
    if (exchange_ != nullptr) exchange_->abandon(waiting.job);
    waiting_.pop_front();
  }
  return replies;
}

std::vector<Said> Worker::on_change() {
  std::vector<Reply> replies = advance();
  for (Reply& reply : on_progress()) replies.push_back(std::move(reply));
  return numbered(std::move(replies));
}

// Steps that are done, or a fault.
std::vector<Reply> Worker::on_progress() {
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
