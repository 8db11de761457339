// Everything that is decided about a plan and not computed: one value. `compile` is a pure function of the graph, the
// choices and the profile.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "planner/pipeline.h"
#include "runtime/base/profile.h"
#include "sbp/boxing.h"
#include "sbp/layout.h"

namespace troupe {

struct Choices {
  std::string name = "plan";           // of the plan: "train", "evaluate"
  Mesh mesh;                           // along whose axes layouts lie: of every stage; DeviceIds index `devices`
  std::vector<std::string> devices;    // "cpu:0", ...
  int64_t memory_bytes = 0;            // per device; 0: no limit
  std::vector<std::string> data_axes;  // axes that split the batch dim of the sources
  int batch_shards = 1;                // fixed for a run
  int pieces_per_shard = 1;
  // Variables stored in parts that are made whole for each pass over a piece, and let go of after their last use in it.
  // Others are made whole once per step.
  std::set<std::string> gathered_per_pass;
  std::vector<std::string> recompute;  // modules whose forward pass is done again for their backward pass
  std::vector<std::string> offload;    // modules of which what is kept for the backward pass waits in host memory
  int64_t host_memory_bytes = 0;       // per device; 0: no limit
  std::vector<Mesh> hosts;             // by stage: the host memory beside each device; empty: none
  // What the step computes in: float32, or bfloat16 or float16 where ops can (see planner/precision.h).
  DType precision = DType::f32;
  int source_slots = 2;  // pieces that a source may read ahead, at least 1
  // Sources read into host memory, which devices reach slowly: each copies what it needs once (planner/copy_sources.h).
  bool copies_sources = false;
  uint64_t seed = 0;
  uint64_t epoch = 0;
  // Layouts and addresses of variables that other plans of this epoch fixed already, by name.
  struct BoundVariable {
    Layout layout;
    std::vector<int64_t> offsets;  // in the variables arena, by position
  };
  std::map<std::string, BoundVariable> variables;
  std::vector<int64_t> variables_end;  // by device: where the variables arena is free; empty: at 0
  Topology topology;                   // empty places: one host
  Pipeline pipeline;
  // The axis that splits the sequence of the sources, and whether attention then sends keys and values round in a ring
  // of its devices (see planner/sequence.h). Empty: none.
  std::string sequence_axis;
  bool sequence_ring = false;
  // The plan shows one device of each class of equal devices, which stands for all of them: made to be looked at, in a
  // time that does not grow with the number of devices, and not to be run.
  bool one_per_class = false;

  // Takes an axis out of the mesh: its coordinates become the stages of the pipeline.
  void cut_stages(const std::string& axis);
  // Puts host memory beside every device, as devices of its own: "host:3" beside "gpu:3".
  void add_hosts();
  // Devices in the order of stages, within one in that of its mesh; then, where there are hosts, those of each stage. A
  // device's place in this order is its *position*: one for each stage that it is of. Hosts are counted as stages that
  // follow the others.
  int positions() const { return mesh.size() * stages(); }
  // Without hosts.
  size_t device_count() const { return devices.size() / (hosts.empty() ? 1 : 2); }
  int stages() const { return pipeline.stage_count() * (hosts.empty() ? 1 : 2); }
  bool is_host(int stage) const { return stage >= pipeline.stage_count(); }
  // The stage whose devices these hosts stand beside; a stage of devices itself.
  int beside(int stage) const { return stage % pipeline.stage_count(); }
  const Mesh& host_mesh(int stage) const { return hosts[static_cast<size_t>(stage)]; }
  int stage_at(int position) const { return position / mesh.size(); }
  int in_stage(int position) const { return position % mesh.size(); }  // position in the stage's mesh
  const Mesh& stage_mesh(int stage) const;
  DeviceId device_at(int position) const { return stage_mesh(stage_at(position)).device(in_stage(position)); }
  // The stage whose mesh this is.
  int stage_of(const Mesh& stage_mesh) const;
  bool is_data_axis(int axis) const;
  // Those larger than 1, in mesh order.
  std::vector<int> split_data_axes() const;
  // The size of the data axes together: how many pieces a round holds.
  int data_parallel_size() const;
  // How many firings of the piece rate a step has: the pieces of the busiest device.
  int rounds() const;
};

// The batch shards [first, first + count) that the data-parallel rank `rank` of `ranks` works on.
struct ShardRange {
  int first = 0;
  int count = 0;
};
ShardRange shards_of(int batch_shards, int ranks, int rank);

}  // namespace troupe
