// A two-layer perceptron with its update, as a logical graph: the smallest thing that walks through every stage.
#pragma once

#include "tests/walk/training.h"

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

Batches mlp_batches(const MlpShape& shape);

// A mesh with data axis dp and axis tp on devices cpu:0...
Choices mlp_choices(int dp, int tp, int batch_shards, int pieces_per_shard = 1);
int64_t rows_of_round(const MlpShape& shape, const Choices& choices);

Trained train_mlp(const MlpShape& shape, const Choices& choices, int steps, const HowToRun& how = {});
// The same computed op by op on whole tensors, without a plan.
Trained interpret_mlp(const MlpShape& shape, int steps);

}  // namespace troupe
