// Where data enters: a source fills the outputs of its source task, one piece at a time.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/device/kernel.h"

namespace troupe {

// Called from executor threads, several at a time (one per device): implementations are thread-safe. A source never
// waits.
class Source {
 public:
  virtual ~Source() = default;
  // True when `read` can be called for this step. When it becomes true later, the feeder wakes the executors.
  virtual bool ready(int64_t step) const = 0;
  // Fills `out` with the part out.offset/out.shape of piece (firing.shard, firing.piece) of the batch of
  // firing.step; out.logical is the piece's shape. Row i of the piece is row
  //   (shard * pieces_per_shard + piece) * out.logical[0] + i
  // of the global batch. On failure (a file that cannot be read) describes it in `failure`.
  virtual void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) = 0;
};

}  // namespace troupe
