// What tests of sources share.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/device/source.h"

namespace troupe {

// Has a source fill the view for a piece of a step, two in each shard. Returns its failure; empty when there is none.
inline std::string read_piece(Source& source, int64_t step, int32_t shard, int32_t piece, const TensorView& view) {
  Firing firing;
  firing.step = step;
  firing.shard = shard;
  firing.piece = piece;
  std::string failure;
  source.read(firing, 2, view, &failure);
  return failure;
}

}  // namespace troupe
