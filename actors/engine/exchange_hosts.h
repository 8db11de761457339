// Processes that share no memory, all in one thread for tests: engines and exchanges are those of real processes; the
// network is of queues, and what a driver would tell them is told here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "actors/engine/control.h"
#include "actors/engine/engine.h"
#include "actors/engine/queue_network.h"
#include "runtime/base/clock.h"

namespace troupe {

struct HostsOptions {
  uint64_t seed = 0;
  int delay = 0;                    // see QueueNetworks
  std::vector<WorkerShare> shares;  // by process
  int stranger = -1;                // of this process there is a network alone, for the test to use
  bool checksums = false;
  std::set<int> near = {};  // of these processes each takes the others to share memory with it; such are only loaded
};

// Not thread-safe. Process 2 is called "worker 2", and its network has that number.
class Hosts {
 public:
  static constexpr uint64_t kKey = 4711;
  static constexpr double kPatience = 5;

  Hosts(const KernelTable& kernels, const HostsOptions& options);

  QueueNetworks& networks() { return networks_; }
  SimulatedClock& clock() { return clock_; }
  Engine& engine(size_t process) { return *hosts_[process].engine; }
  Exchange& exchange(size_t process) { return *hosts_[process].exchange; }
  Network& stranger() { return *stranger_; }
  std::span<std::byte> bytes(size_t process, RegisterId reg, size_t slot = 0) {
    return engine(process).registers(plan_).bytes(reg, slot);
  }

  void load(const Plan& plan, SourceMap sources = {});
  // The process is gone, and the network tells its peers.
  void kill(size_t process);
  // All begin a life of the plan with this step, and have what they read of others' memory. False when one has not.
  bool restart(int64_t first_step);
  void go(int64_t until);
  // Whatever can happen does, in random order, until nothing does for a while or this is so.
  void run(const std::function<bool()>& until = nullptr);
  bool reached();
  void hold();
  // Nothing is under way any more. False when that does not come.
  bool fence();
  void resume();
  // Names the first fault.
  std::string fault();
  // What the last restart or fence failed with.
  const std::string& failure() const { return failure_; }
  // The life of the plan.
  uint32_t epoch() const { return epoch_; }

 private:
  struct Host {
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Exchange> exchange;  // goes first, as a worker's does
  };
  bool wait(const std::vector<std::unique_ptr<ExchangeJob>>& jobs);

  const HostsOptions options_;
  SimulatedClock clock_;
  QueueNetworks networks_;
  Random random_;
  std::vector<Host> hosts_;  // empty for the stranger, and when killed
  std::unique_ptr<Network> stranger_;
  PlanHandle plan_;
  int32_t plans_ = 0;
  uint32_t epoch_ = 0;
  uint64_t fences_ = 0;
  bool held_ = false;
  std::string failure_;
};

}  // namespace troupe
