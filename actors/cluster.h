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
#include "runtime/base/clock.h"

namespace troupe {

struct ClusterOptions {
  int devices = 1;        // how many the plans will use
  int executors = 0;      // threads; 0: as many as cores or devices, whichever is less
  double spin_s = 50e-6;  // see EngineOptions
};

// The driver's handle. Used by one thread at a time; the engine's rules hold.
class Cluster {
 public:
  // The table outlives the cluster.
  explicit Cluster(const KernelTable& kernels, const ClusterOptions& options = {});
  // Shuts down.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Engine& engine();

  // The driver's words, passed on to the engine. FaultError once the cluster is shut down.
  PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources = {});
  void start(PlanHandle handle, int64_t first_step, int64_t steps);
  void wait(double patience_s);
  void run(PlanHandle handle, int64_t first_step, int64_t steps, double patience_s = 60);
  void stop();
  // Ends what runs and joins every thread. May be called twice.
  void shutdown();

 private:
  struct Actors;
  void check_up() const;

  SteadyClock clock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Actors> actors_;  // null once shut down
};

}  // namespace troupe
