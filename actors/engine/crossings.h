// Which registers of a plan cross between processes, and which of their bytes: where two share no memory, one reads no
// more of the other's register than its kernels do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "runtime/comm/network.h"
#include "runtime/device/byte_runs.h"
#include "runtime/device/kernel.h"
#include "runtime/plan/plan.h"

namespace troupe {

// What some tasks of one process read of a register of another: the same bytes, which are sent once.
struct Crossing {
  RegisterId reg;
  int from = 0;  // the process where it lies
  int to = 0;    // the readers' process
  std::vector<ByteRuns> runs;
  int64_t bytes = 0;
};

// A pure function of its arguments, so that both ends find the same.
class Crossings {
 public:
  // Nothing crosses.
  Crossings() = default;
  // By device: the process that has it.
  Crossings(const Plan& plan, const KernelTable& kernels, const std::function<int(DeviceId)>& process_of);

  // Number of the crossing, -1 when the register is on the reader's own process or is a control edge.
  int find(TaskId reader, RegisterId reg) const;
  const Crossing& at(int number) const { return all_[static_cast<size_t>(number)]; }
  int count() const { return static_cast<int>(all_.size()); }
  // The crossings whose bytes a process needs before the first firing: of registers that have an initial version, or
  // no producer. With a reader of each.
  struct Initial {
    int crossing = 0;
    TaskId reader;
  };
  const std::vector<Initial>& initial() const { return initial_; }

 private:
  std::vector<Crossing> all_;
  std::vector<Initial> initial_;
  std::map<std::pair<TaskId, RegisterId>, int> by_reader_;
};

// Where the runs lie in a slot that begins here.
Pieces pieces_of(const std::vector<ByteRuns>& runs, std::byte* slot);

}  // namespace troupe
