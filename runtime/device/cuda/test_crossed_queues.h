// For tests: queues that wait for one another.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/device/backend.h"
#include "runtime/device/cuda/test_kernels.h"
#include "runtime/device/test_wait.h"

namespace troupe {

// Cells on devices, and queues that write them from one another in an order that marks alone keep: what is read must be
// what a host would have computed.
class CrossedQueues {
 public:
  static constexpr int kQueues = 4;
  static constexpr int kCells = 6;

  CrossedQueues(DeviceBackend& backend, int devices, uint64_t seed) : backend_(backend), random_(mix64(seed, 5)) {
    for (int q = 0; q < kQueues; ++q) queues_.push_back(backend_.make_queue(q % devices));
    for (int c = 0; c < kCells; ++c) {
      cells_.push_back(backend_.allocate(c % devices, 8));
      expected_.push_back(0);
    }
    last_.resize(kCells);
  }

  bool run(int launches) {
    for (int i = 1; i <= launches; ++i) {
      const auto q = static_cast<size_t>(random_.below(kQueues));
      const auto in = static_cast<size_t>(random_.below(kCells));
      const auto out = static_cast<size_t>(random_.below(kCells));
      wait_for(q, last_[in].write);
      wait_for(q, last_[out].write);
      for (const auto& [reader, mark] : last_[out].reads) wait_for(q, {static_cast<int>(reader), mark});
      append(*queues_[q], cells_[in].get(), cells_[out].get(), i);
      expected_[out] = expected_[in] * 31 + static_cast<uint64_t>(i);
      const uint64_t mark = queues_[q]->mark();
      last_[in].reads[q] = mark;
      last_[out] = {{static_cast<int>(q), mark}, {}};
      if (random_.chance(0.05)) wait_until_passed(*queues_[q], mark);
    }
    for (const auto& queue : queues_) wait_until_passed(*queue, queue->mark());
    bool right = true;
    for (size_t c = 0; c < kCells; ++c) {
      uint64_t have = 0;
      backend_.copy(&have, cells_[c].get(), 8);
      right &= have == expected_[c];
    }
    return right;
  }

 private:
  struct Write {
    int queue = -1;
    uint64_t mark = 0;
  };
  struct Uses {
    Write write;
    std::map<size_t, uint64_t> reads;  // by queue
  };
  void wait_for(size_t q, const Write& what) {
    if (what.queue < 0 || static_cast<size_t>(what.queue) == q) return;
    queues_[q]->wait_for(*queues_[static_cast<size_t>(what.queue)], what.mark);
  }

  DeviceBackend& backend_;
  Random random_;
  std::vector<std::unique_ptr<DeviceQueue>> queues_;
  std::vector<DeviceMemory> cells_;
  std::vector<uint64_t> expected_;
  std::vector<Uses> last_;
};

}  // namespace troupe
