// A two-layer perceptron with its update, as a logical graph: the smallest thing that walks through every stage.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/interpret.h"
#include "planner/choices.h"
#include "runtime/device/source.h"

namespace troupe {

struct MlpShape {
  int64_t batch = 16;
  int64_t in = 10;
  int64_t hidden = 24;
  int64_t classes = 7;
};

// x, y -> cross entropy; SGD with momentum, clipped by the global norm. The graph's batch dim holds `rows` rows: those
// of a round. Outputs "loss" and "norm".
Graph mlp_graph(const MlpShape& shape, int64_t rows);

// The whole batch of a step, from a formula.
HostTensor mlp_inputs(const MlpShape& shape, int64_t step);
HostTensor mlp_labels(const MlpShape& shape, int64_t step);
// Initial values by variable name.
std::map<std::string, HostTensor> mlp_variables(const Graph& graph);

// Feeds a function of the step, piece by piece.
class BatchSource final : public Source {
 public:
  using Batch = HostTensor (*)(const MlpShape&, int64_t step);
  BatchSource(MlpShape shape, Batch batch) : shape_(shape), batch_(batch) {}
  bool ready(int64_t) const override { return true; }
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override;

 private:
  MlpShape shape_;
  Batch batch_;
};

// A mesh with data axis dp and axis tp on devices cpu:0...
Choices mlp_choices(int dp, int tp, int batch_shards, int pieces_per_shard = 1);

// The losses and variables after so many steps of a plan for these choices, on `executors` threads.
struct TrainedMlp {
  std::vector<float> losses;
  std::map<std::string, HostTensor> variables;
};
TrainedMlp train_mlp(const MlpShape& shape, const Choices& choices, int steps, int executors);

// The same computed op by op on whole tensors, without a plan.
TrainedMlp interpret_mlp(const MlpShape& shape, int steps);

}  // namespace troupe
