// Random actor graphs, and kernels whose results tell which inputs they saw, in which order.
#pragma once

#include <atomic>
#include <cstdint>

#include "actors/engine/loaded_plan.h"
#include "runtime/device/kernel.h"
#include "runtime/plan/plan.h"

namespace troupe {

// "mix": every output element is a hash of the firing, the task's key, all input elements in order, and, within an
// accumulator of `every` firings (an attribute), of what the output held.
KernelTable sample_kernels();

// Fills with hashes of its number and the piece. Ready when asked once more than it hesitates.
class SampleSource final : public Source {
 public:
  explicit SampleSource(uint64_t number, int hesitation = 0) : number_(number), hesitation_(hesitation) {}
  bool ready(int64_t step) const override;
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override;

 private:
  const uint64_t number_;
  const int hesitation_;
  mutable std::atomic<int64_t> asked_{0};
};

struct SampleGraph {
  Plan plan;
  SourceMap sources;
  bool reuses_bytes = false;  // two registers share theirs, kept apart by control edges
};

struct SampleGraphOptions {
  bool hesitant_sources = false;  // some must be asked again
  bool reuse_bytes = true;
  bool guard_reuse = true;  // false: the control edges between registers that share bytes are left out, a mistake
};

// A live graph: several devices and streams, several rounds, accumulators, held registers, variables overwritten in
// place, feedback, control edges, empty firings, sources that read ahead. The same seed gives the same graph.
SampleGraph sample_graph(uint64_t seed, const SampleGraphOptions& options = {});

}  // namespace troupe
