#include "actors/engine/sample_step.h"

#include <string>
#include <utility>
#include <vector>

#include "actors/engine/plan_builder.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr int32_t kPieces = 2;
constexpr int64_t kTokens = 4;

std::string numbered(const std::string& what, size_t d) { return what + std::to_string(d); }

}  // namespace

Plan sample_step(int devices) {
  const auto n = static_cast<size_t>(devices);
  PlanBuilder builder("train", kPieces);
  std::vector<TaskId> forward;
  std::vector<TaskId> backward;
  std::vector<TaskId> sum;
  std::vector<TaskId> update;
  std::vector<RegisterId> batches;
  std::vector<RegisterId> weights;
  for (size_t d = 0; d < n; ++d) {
    const DeviceId device = builder.device(numbered("cpu:", d));
    const StreamId compute = builder.stream(device, "compute");
    const TaskId source = builder.source(builder.stream(device, "read", true), numbered("read", d), "tokens");
    batches.push_back(builder.output(
        source, {.name = numbered("batch", d), .elements = kTokens, .arena = ArenaKind::io, .slots = 3}));
    forward.push_back(builder.task(compute, numbered("forward", d), "mix"));
    backward.push_back(builder.task(compute, numbered("backward", d), "mix"));
    sum.push_back(builder.task(compute, numbered("sum", d), "mix", 1));
    update.push_back(builder.task(compute, numbered("update", d), "mix", 1));
    builder.segment(compute, kPieces, {forward[d]});
    builder.segment(compute, kPieces, {backward[d]});
    builder.segment(compute, 1, {sum[d], update[d]});
    weights.push_back(builder.output(
        update[d], {.name = numbered("weight", d), .elements = 3, .arena = ArenaKind::variables, .initial = 1}));
    builder.variable(numbered("weight", d), weights[d]);
  }
  std::vector<RegisterId> activations;
  for (size_t d = 0; d < n; ++d) {
    builder.read(forward[d], batches[d]);
    builder.read(forward[d], weights[d], kPieces);
    if (d > 0) builder.read(forward[d], activations[d - 1]);
    activations.push_back(
        builder.output(forward[d], {.name = numbered("activation", d), .elements = kTokens, .slots = kPieces}));
  }
  std::vector<RegisterId> gradients;
  for (size_t d = n; d-- > 0;) {
    builder.read(backward[d], activations[d]);
    builder.at(backward[d]).attrs.set("every", int64_t{kPieces});
    gradients.push_back(
        builder.output(backward[d], {.name = numbered("gradient", d), .elements = 3, .every = kPieces}));
    if (d == 0) continue;
    const RegisterId delta =
        builder.output(backward[d], {.name = numbered("delta", d), .elements = 1, .every = kPieces});
    builder.read(backward[d - 1], delta, kPieces);
  }
  for (size_t d = 0; d < n; ++d) {
    for (RegisterId gradient : gradients) builder.read(sum[d], gradient);
    builder.read(update[d], builder.output(sum[d], {.name = numbered("total", d), .elements = 3}));
    builder.read(update[d], weights[d]);
  }
  return builder.finish();
}

Plan sample_evaluation(int devices) {
  PlanBuilder builder("evaluate");
  const auto n = static_cast<size_t>(devices);
  std::vector<TaskId> evaluate;
  std::vector<RegisterId> weights;
  for (size_t d = 0; d < n; ++d) {
    const DeviceId device = builder.device(numbered("cpu:", d));
    evaluate.push_back(builder.task(builder.stream(device, "compute"), numbered("evaluate", d), "mix"));
    weights.push_back(
        builder.constant(device, {.name = numbered("weight", d), .elements = 3, .arena = ArenaKind::variables}));
    builder.variable(numbered("weight", d), weights[d]);
  }
  RegisterId last;
  for (size_t d = 0; d < n; ++d) {
    builder.read(evaluate[d], weights[(d + 1) % n]);
    if (d > 0) builder.read(evaluate[d], last);
    last = builder.output(evaluate[d], {.name = numbered("value", d), .elements = 5, .slots = 2});
  }
  return builder.finish();
}

std::shared_ptr<Feed> sample_feed(uint64_t key, int64_t steps) {
  auto feed = std::make_shared<Feed>();
  for (int64_t step = 0; step < steps; ++step) {
    auto tokens = std::make_shared<std::vector<uint64_t>>();
    for (uint64_t i = 0; i < kTokens; ++i) tokens->push_back(mix64(mix64(key, i), static_cast<uint64_t>(step)));
    FedBatch batch;
    batch.arrays["tokens"] = {DType::i64, Shape{kTokens}, reinterpret_cast<const std::byte*>(tokens->data())};
    batch.memory = tokens;
    feed->put(step, std::move(batch));
  }
  return feed;
}

SourceMap sources_of(const std::shared_ptr<Feed>& feed) {
  return {{"tokens", std::make_shared<FeedSource>(feed, "tokens")}};
}

}  // namespace troupe
