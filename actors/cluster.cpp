#include "actors/cluster.h"

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <chrono>
#include <thread>

#include "runtime/base/check.h"

namespace troupe {
namespace {

using WakeAtom = caf::atom_constant<caf::atom("wake")>;  // there is work, or there may be more of it
using OverAtom = caf::atom_constant<caf::atom("over")>;
using ReadyAtom = caf::atom_constant<caf::atom("ready")>;

constexpr double kSlice = 0.01;  // seconds that an executor works between looks at its mailbox
constexpr auto kJoinPatience = std::chrono::seconds(60);

// One thread. While there is something to do it sends itself on; otherwise it sleeps in its mailbox.
caf::behavior executor_actor(caf::event_based_actor* self, Engine* engine, int index) {
  return {
      [=](WakeAtom) {
        const Executor::Outcome outcome = engine->executor(index).run(kSlice);
        if (outcome == Executor::Outcome::again) self->send(self, WakeAtom::value);
      },
      [=](OverAtom) { self->quit(); },
  };
}

// Owns the executors of this process: starts them, learns of their end. One that ends unasked is a fault.
caf::behavior worker_actor(caf::event_based_actor* self, Engine* engine, std::vector<caf::actor>* executors) {
  for (int i = 0; i < engine->executors(); ++i) {
    const caf::actor executor = self->spawn<caf::detached>(executor_actor, engine, i);
    self->monitor(executor);
    executors->push_back(executor);
  }
  const auto left = std::make_shared<size_t>(executors->size());
  const auto asked = std::make_shared<bool>(false);
  self->set_down_handler([=](const caf::down_msg& down) {
    if (!*asked) {
      Fault fault;
      fault.what = "an executor thread has ended: " + caf::to_string(down.reason);
      engine->raise(std::move(fault));
    }
    if (--*left == 0) self->quit();
  });
  return {
      [=](ReadyAtom) { return static_cast<int32_t>(*left); },
      [=](OverAtom) {
        *asked = true;
        for (const caf::actor& executor : *executors) self->send(executor, OverAtom::value);
      },
  };
}

int executor_count(const ClusterOptions& options) {
  if (options.executors > 0) return options.executors;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, std::min(cores, options.devices));
}

}  // namespace

// CAF's part. The configuration outlives the system, the system every actor.
struct Cluster::Actors {
  struct Config : caf::actor_system_config {
    Config() {
      // Executors have threads of their own; these run the worker.
      set("scheduler.max-threads", 1u);
      // A thread that polls while idle would take a core from an executor.
      set("scheduler.policy", caf::atom("sharing"));
    }
  };
  Config config;
  std::vector<caf::actor> executors;  // filled by the worker before it says that it is ready
  caf::actor_system system{config};
  caf::actor worker;
};

Cluster::Cluster(const KernelTable& kernels, const ClusterOptions& options) {
  EngineOptions engine_options;
  engine_options.executors = executor_count(options);
  engine_options.spin_s = options.spin_s;
  engine_options.backend = options.backend;
  engine_ = std::make_unique<Engine>(kernels, engine_options, clock_);
  actors_ = std::make_unique<Actors>();
  actors_->worker = actors_->system.spawn(worker_actor, engine_.get(), &actors_->executors);
  caf::scoped_actor self(actors_->system);
  self->request(actors_->worker, kJoinPatience, ReadyAtom::value)
      .receive([](int32_t) {}, [](const caf::error&) { CHECK(false, "the worker actor did not start"); });
  Actors* actors = actors_.get();
  engine_->set_bell(
      [actors](int executor) { caf::anon_send(actors->executors[static_cast<size_t>(executor)], WakeAtom::value); });
}

Cluster::~Cluster() { shutdown(); }

void Cluster::check_up() const {
  if (actors_ == nullptr) throw FaultError({"the cluster is shut down", "", "", "", 0});
}

PlanHandle Cluster::load(std::shared_ptr<const Plan> plan, SourceMap sources) {
  check_up();
  return engine_->load(std::move(plan), std::move(sources));
}

void Cluster::start(PlanHandle handle, int64_t first_step, int64_t steps) {
  check_up();
  engine_->start(handle, first_step, steps);
}

bool Cluster::wait_for(double at_most_s, double patience_s) {
  check_up();
  return engine_->wait_for(at_most_s, patience_s);
}

void Cluster::run(PlanHandle handle, int64_t first_step, int64_t steps, double patience_s) {
  start(handle, first_step, steps);
  engine_->wait(patience_s);
}

void Cluster::stop() {
  check_up();
  engine_->stop();
}

void Cluster::shutdown() {
  if (actors_ == nullptr) return;
  engine_->stop();
  engine_->set_bell(nullptr);
  caf::anon_send(actors_->worker, OverAtom::value);
  {
    caf::scoped_actor self(actors_->system);
    self->wait_for(actors_->worker);  // it ends after the last executor
  }
  // A detached thread lives as long as somebody can address its actor; the system joins them.
  actors_->executors.clear();
  actors_->worker = nullptr;
  actors_.reset();
}

}  // namespace troupe
