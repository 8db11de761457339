// What counts as live in a workspace whatever the timing.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// When another stream is done with a slot is a matter of timing. So slots that another stream than their writer's reads
// count always, and the most bytes that live together are the same in every run. Bytes that several of them use, one
// after another, count once.
class KeptBytes {
 public:
  explicit KeptBytes(const Plan& plan);

  // Whether the slots of this register count always.
  bool is_kept(RegisterId reg) const { return kept_[reg.index()]; }
  // Bytes of a device that count always.
  int64_t of(DeviceId device) const;
  // How many of the `bytes` from `offset` on in a device's workspace do not count always.
  int64_t others(DeviceId device, int64_t offset, int64_t bytes) const;

 private:
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };
  std::vector<bool> kept_;                  // by register
  std::vector<std::vector<Range>> ranges_;  // by device: in order, none touches another
};

}  // namespace troupe
