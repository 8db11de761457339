// A process that gives its devices to a run: what `troupe worker` does.
#pragma once

#include <optional>
#include <string>

#include "actors/tls_identity.h"
#include "runtime/device/kernel.h"

namespace troupe {

struct WorkerOptions {
  std::string driver;  // its address, "HOST:PORT"
  std::string token;   // of the run
  std::string host;    // what errors call this host; empty: by its own name
  int devices = 1;
  int rank = -1;                   // its number among the run's workers; -1: any that is left
  std::string memory;              // as in Join; by default what this process can map
  int executors = 0;               // threads; 0: as many as cores or devices, whichever is less
  double patience_s = 30;          // for a driver that does not listen yet
  std::optional<TlsIdentity> tls;  // the run's, when its connections are encrypted
};

// Serves a run until its driver says that it is over. FaultError when the driver cannot be reached, refuses this worker
// or goes away; PlanError for options that cannot be used.
void serve(const KernelTable& kernels, const WorkerOptions& options);

}  // namespace troupe
