// What the driver and the workers of a run say to each other. The driver sends a command to all workers and waits until
// each has answered before it sends one that relies on it. What goes between two of them is numbered in each direction, so
// that it is heard in the order of sending and once, whatever comes twice or late on the way (in_order.h).
//
//   join -> welcome                     a worker offers devices, and learns which part of the run it has
//   connect                             processes that share no memory connect
//   hold, load, resume                  a plan, and memory that all map
//   hold, restart, resume, go           a life of a plan begins; all have restarted before one goes
//   hold, fence                         what was under way between processes that share no memory has arrived
//   go -> reached                       later steps, when a life goes on
//   beat                                a worker lives, and how often its tasks have fired
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "actors/engine/array_source.h"
#include "actors/engine/memory.h"
#include "actors/engine/observe.h"
#include "actors/engine/standing.h"
#include "actors/engine/token_source.h"
#include "runtime/base/error.h"

namespace troupe {

// Raised with every change of what follows; processes of different versions do not work together.
constexpr int32_t kControlVersion = 3;

// What one worker has of a run.
struct WorkerShare {
  int32_t devices = 0;
  int32_t executors = 0;
};

// ---- from a worker ----

struct Join {
  int32_t version = kControlVersion;
  std::string token;  // of the run; nobody without it is let in
  std::string host;
  int32_t process = 0;
  WorkerShare share;
  std::string memory;  // processes that say the same here as the driver can map its memory (host_identity)
  int32_t rank = -1;   // its number among the run's workers; -1: any that is left
};

// How to connect to a worker; empty when it shares memory with all others.
struct LinkAddress {
  uint64_t request = 0;
  std::string address;
};

// A request has been carried out, or has failed. What that leaves in the worker is the driver's to mend: it begins the plan
// afresh, or ends the run.
struct Answer {
  uint64_t request = 0;
  enum class Outcome : uint8_t { done, user_error, fault } outcome = Outcome::done;
  Fault fault;  // of a user's error only `what`
};

// All steps before this one are done.
struct Reached {
  uint32_t epoch = 0;
  int64_t step = 0;
};

// Where the worker's streams stand in the plan that runs.
struct StallPart {
  uint64_t request = 0;
  Standings where;
};

struct ObservedPart {
  uint64_t request = 0;
  Observations seen;
};

// What the worker's clock shows.
struct TimeIs {
  uint64_t request = 0;
  double now = 0;
};

struct Beat {
  uint64_t firings = 0;
  int64_t read = -1;     // see RunProgress
  double missing_s = 0;  // how long a command has been missing that was sent before one that is here; 0: none is
};

// ---- from the driver: each with the number that the answer has ----

struct Welcome {
  int32_t index = 0;                 // of this worker
  double beat_s = 0.25;              // how often it is to be heard
  std::vector<WorkerShare> workers;  // of the run
  ArenaFile doorbells;               // by executor of the run
  std::vector<std::string> names;    // of the processes: workers, then the driver
  std::vector<uint8_t> near;         // by process: shares memory with the driver, which is the last
  uint64_t key = 0;                  // of messages between processes that share none
  bool checksums = false;            // of the bytes between them
};
// The addresses of all processes that share no memory with others.
struct Connect {
  std::vector<std::string> addresses;
};
// Answered when all that was under way has arrived.
struct Fence {
  uint64_t number = 0;
};
struct Refused {
  std::string why;
};
struct LoadPlan {
  int32_t handle = 0;
  ArenaFile plan;  // serialized
  std::vector<Memory::Block> blocks;
  ArenaFile lanes;
};
struct UnloadPlan {
  int32_t handle = 0;
};
// Where a source's data comes from: an array of the batches that the driver hands over, rows of token files, or rows of array
// files. Two of the three are empty.
struct SourceSpec {
  std::string name;  // in PlanTask::kernel
  int64_t feed = -1;
  std::string array;
  TokenRows rows;
  ArrayRows array_rows;
};
struct SetSources {
  int32_t handle = 0;
  std::vector<SourceSpec> sources;
};
// A batch for the sources of a feed; those of steps before `oldest` are no longer needed.
struct HandOver {
  struct Array {
    std::string name;
    int32_t dtype = 0;
    std::vector<int64_t> shape;
    int64_t offset = 0;  // of its bytes in the memory
  };
  int64_t feed = 0;
  int64_t step = 0;
  int64_t oldest = 0;
  ArenaFile memory;
  std::vector<Array> arrays;
};
struct DropFeed {  // nobody puts batches into it any more
  int64_t feed = 0;
};
struct Restart {
  int32_t handle = 0;
  uint32_t epoch = 0;
  int64_t first_step = 0;
};
struct Go {
  int32_t handle = 0;
  int64_t until = 0;
};
struct Hold {};
struct Resume {};
struct Stop {};
struct SetObserved {
  int32_t handle = 0;
  Observe what;
};
struct GetObserved {
  int32_t handle = 0;
};
struct GetTime {};
struct GetStall {};
struct Leave {};

using Command = std::variant<Welcome, Refused, Connect, Fence, LoadPlan, UnloadPlan, SetSources, HandOver, DropFeed,
                             Restart, Go, Hold, Resume, Stop, SetObserved, GetObserved, GetTime, GetStall, Leave>;
// What the driver calls it when it is not answered.
inline constexpr const char* kCommandNames[] = {"welcome",      "refused",     "connect",   "fence",     "load",
                                                "unload",       "set sources", "hand over", "drop feed", "restart",
                                                "go",           "hold",        "resume",    "stop",      "set observed",
                                                "get observed", "get time",    "get stall", "leave"};
static_assert(std::size(kCommandNames) == std::variant_size_v<Command>);
using Reply = std::variant<Join, LinkAddress, Answer, Reached, Fault, StallPart, ObservedPart, TimeIs, Beat>;

// On their way. A worker that joins has no number yet: 0.
struct Order {
  uint64_t number = 0;
  uint64_t request = 0;  // 0: nobody waits for the answer
  Command command;
};
struct Said {
  uint64_t number = 0;
  Reply reply;
};

}  // namespace troupe
