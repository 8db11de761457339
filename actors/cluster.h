// The shell: executor threads for an engine, as actors. One process, its devices, and a blocking handle for the driver.
//
//   Cluster cluster(kernels, {.devices = 8});
//   PlanHandle train = cluster.engine().load(plan, sources);
//   cluster.engine().run(train, 0, 100);
//
// Any number of clusters may live in one process, one after another or side by side. No CAF type leaves the .cpp.
#pragma once

#include <memory>

#include "actors/engine/engine.h"
#include "actors/engine/runner.h"
#include "runtime/base/clock.h"

namespace troupe {

struct ClusterOptions {
  int devices = 1;                   // how many the plans will use
  int executors = 0;                 // threads; 0: as many as cores or devices, whichever is less
  double spin_s = 50e-6;             // see EngineOptions
  DeviceBackend* backend = nullptr;  // of CUDA devices; outlives the cluster
};

// The driver's handle. Used by one thread at a time; the engine's rules hold.
class Cluster final : public Runner {
 public:
  // The table outlives the cluster.
  explicit Cluster(const KernelTable& kernels, const ClusterOptions& options = {});
  // Shuts down.
  ~Cluster() override;
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Engine& engine() { return *engine_; }
  void run(PlanHandle handle, int64_t first_step, int64_t steps, double patience_s = 60);

  // The driver's words, passed on to the engine. FaultError once the cluster is shut down.
  PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources = {}) override;
  void unload(PlanHandle handle) override { engine_->unload(handle); }
  const Plan& plan(PlanHandle handle) const override { return engine_->plan(handle); }
  void set_sources(PlanHandle handle, SourceMap sources) override { engine_->set_sources(handle, std::move(sources)); }
  void start(PlanHandle handle, int64_t first_step, int64_t steps) override;
  bool wait_for(double at_most_s, double patience_s) override;
  void stop() override;
  void wake() override { engine_->wake(); }
  void shutdown() override;
  Registers registers(PlanHandle handle) const override { return engine_->registers(handle); }
  void write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) override {
    engine_->write(handle, variable, from);
  }
  void observe(PlanHandle handle, const Observe& what) override { engine_->observe(handle, what); }
  Observations observations(PlanHandle handle) override { return engine_->observations(handle); }
  RunProgress progress() const override { return {engine_->idle_s(), engine_->read()}; }
  Fault stall() override { return engine_->stall(); }

 private:
  struct Actors;
  void check_up() const;

  SteadyClock clock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Actors> actors_;  // null once shut down
};

}  // namespace troupe
