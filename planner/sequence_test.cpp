#include "planner/sequence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "ops/interpret.h"
#include "planner/box.h"
#include "planner/compile.h"
#include "planner/deduce.h"
#include "planner/pieces.h"
#include "planner/shard.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

constexpr int64_t kHeads = 2;

// One attention with its gradients, over a sequence that an axis splits.
struct OneAttention {
  Graph graph;
  std::vector<ValueId> outputs;
  std::vector<ValueId> sources;

  OneAttention(int64_t length, bool causal, DType dtype = DType::f32, int64_t dim = 64) {
    for (const char* name : {"q", "k", "v", "dout"}) {
      sources.push_back(graph.source(name, dtype, {1, length, kHeads, dim}, true));
      graph.pin({sources.back(), "cp", S(1), {}, ""});
    }
    const Attrs attrs = {{"causal", int64_t{causal}}, {"scale", 0.3}, {"seq_dim", int64_t{1}}};
    const auto out = graph.add("attention", {sources[0], sources[1], sources[2]}, attrs, "attn");
    graph.set_role(Role::backward);
    outputs = graph.add("attention_gradient", {sources[3], sources[0], sources[1], sources[2], out[0], out[1]}, attrs,
                        "attn");
    outputs.insert(outputs.begin(), out.begin(), out.end());
    const char* names[] = {"out", "lse", "dq", "dk", "dv"};
    for (size_t i = 0; i < outputs.size(); ++i) {
      graph.pin({outputs[i], "cp", S(i == 1 ? 2 : 1), {}, ""});
      graph.output(names[i], outputs[i]);
    }
  }
};

Choices split(int devices, bool ring) {
  Choices choices = choices_on({{"cp", devices}});
  choices.sequence_axis = "cp";
  choices.sequence_ring = ring;
  return choices;
}

TaskGraph tasks_of(const Graph& graph, const Choices& choices) {
  const Program program = pieces(split_sequence(graph, choices));
  return shard(box(program, deduce(program, choices, Profile()), choices), choices, Profile());
}

// Of every device: the predicted seconds of its attention tasks, without the cost of firing them.
std::vector<double> attention_seconds(const TaskGraph& tasks) {
  std::vector<double> seconds(tasks.class_of.size());
  for (size_t d = 0; d < seconds.size(); ++d) {
    for (const ClassTask& task : tasks.tasks) {
      if (!task.kernel.starts_with("attention")) continue;
      seconds[d] += task.seconds[static_cast<size_t>(tasks.class_of[d])] - Profile().firing_s;
    }
  }
  return seconds;
}

// The same numbers on one device, in double precision, whatever the number of parts; also with parts that are uneven or
// empty.
TEST(Sequence, TheFormsForASplitSequenceEqualAttention) {
  for (const bool causal : {false, true}) {
    for (const int64_t length : {12, 13, 3}) {
      const OneAttention whole(length, causal, DType::f64, 4);
      std::map<ValueId, HostTensor> given;
      for (ValueId source : whole.sources) {
        HostTensor& tensor = given.emplace(source, HostTensor(whole.graph.value(source).type)).first->second;
        std::vector<double> numbers(static_cast<size_t>(tensor.elements()));
        std::iota(numbers.begin(), numbers.end(), static_cast<double>(100 * source.index()));
        for (double& x : numbers) x = std::sin(7 * x);
        tensor.set_numbers(numbers);
      }
      const std::vector<HostTensor> right = interpret(whole.graph, given, whole.outputs);
      for (const bool ring : {false, true}) {
        for (const int parts : {2, 3, 4}) {
          const Graph rewritten = split_sequence(whole.graph, split(parts, ring));
          std::vector<ValueId> wanted;
          for (const OutputValue& output : rewritten.outputs()) wanted.push_back(output.value);
          const std::vector<HostTensor> found = interpret(rewritten, given, wanted);
          for (size_t i = 0; i < right.size(); ++i) {
            for (size_t e = 0; e < right[i].numbers().size(); ++e) {
              ASSERT_NEAR(found[i].numbers()[e], right[i].numbers()[e], 1e-12)
                  << (ring ? "ring" : "gather") << " of " << length << " in " << parts << ", output " << i;
            }
          }
        }
      }
    }
  }
}

// In a ring a part that no query sees is read all the same, which counts little when sequences are long.
TEST(Sequence, PairedQueriesGiveAllDevicesTheSameWorkBehindACausalMask) {
  for (const bool ring : {false, true}) {
    for (const int devices : {2, 3, 4}) {
      const TaskGraph tasks = tasks_of(OneAttention(6144, true).graph, split(devices, ring));
      const std::vector<double> seconds = attention_seconds(tasks);
      for (double of_one : seconds) EXPECT_NEAR(of_one, seconds[0], 0.03 * seconds[0]) << devices << ring;
    }
  }
}

TEST(Sequence, WithoutPairsTheLastOfFourDevicesHasSevenTimesTheWorkOfTheFirst) {
  Graph graph;
  std::vector<ValueId> operands;
  for (const char* name : {"q", "k", "v"}) {
    operands.push_back(graph.source(name, DType::f32, {1, 6144, kHeads, 64}, true));
    graph.pin({operands.back(), "cp", S(1), {}, ""});
  }
  const Attrs attrs = {{"causal", int64_t{1}}, {"scale", 0.3}, {"seq_dim", int64_t{1}}};
  const ValueId out = graph.add("attention", operands, attrs, "attn").front();
  graph.pin({out, "cp", S(1), {}, "", true});
  graph.output("out", out);
  const std::vector<double> seconds = attention_seconds(tasks_of(graph, choices_on({{"cp", 4}})));
  for (size_t d = 0; d < seconds.size(); ++d) {
    EXPECT_NEAR(seconds[d] / seconds[0], static_cast<double>(2 * d + 1), 0.03) << d;
  }
}

// Bytes of float32 keys and values.
double keys_and_values(int64_t length) { return static_cast<double>(2 * length * kHeads * 64 * 4); }

std::map<std::string, double> bytes_of(const Graph& graph, const Choices& choices) {
  std::map<std::string, double> bytes;
  for (const PlanTraffic& row : compile(graph, choices, Profile()).plan.promise.traffic) {
    bytes[row.kind] += static_cast<double>(row.bytes);
  }
  return bytes;
}

// A device receives the other parts of keys and values forward and again backward, and the other devices' shares of its
// own part's gradients: three times (p - 1) / p of all keys and values, gathered or in a ring alike. What pairing moves
// is half of q, out, dout and dq, and of lse, which is asked for here.
TEST(Sequence, TrafficIsThreeTimesKeysAndValuesAndHalfAPartForEachPairedTensor) {
  const int64_t length = 512;
  for (const int devices : {2, 4}) {
    const double of_keys = 3 * (devices - 1) * keys_and_values(length);
    auto gathered = bytes_of(OneAttention(length, false).graph, split(devices, false));
    EXPECT_EQ(gathered["all_gather"] + gathered["reduce_scatter"], of_keys);
    EXPECT_EQ(gathered["permute"], 0);
    EXPECT_EQ(bytes_of(OneAttention(length, false).graph, split(devices, true))["permute"], of_keys);
    auto paired = bytes_of(OneAttention(length, true).graph, split(devices, false));
    const double lse = kHeads * length / 2 * 4;
    EXPECT_EQ(paired["permute"], 4 * keys_and_values(length) / 2 / 2 + lse) << devices;
  }
}

TEST(Sequence, ARingHoldsLessThanGatheredKeysAndValues) {
  const Graph graph = OneAttention(4096, true).graph;
  int64_t peaks[2];
  for (const bool ring : {false, true}) {
    peaks[ring] = compile(graph, split(8, ring), Profile()).summary.memory[0].activations;
  }
  EXPECT_LT(peaks[1], peaks[0] * 2 / 3) << peaks[0] << " " << peaks[1];
}

TEST(Sequence, NoDeviceOfARingHoldsAllKeys) {
  const Compiled compiled = compile(OneAttention(768, true).graph, split(3, true), Profile());
  EXPECT_EQ(compiled.stages.at("box").find(" B = "), std::string::npos) << compiled.stages.at("box");
  EXPECT_EQ(compiled.stages.at("box").find(" P = "), std::string::npos) << compiled.stages.at("box");
}

TEST(Sequence, AnAxisOfOneDeviceOrNoneChangesNothing) {
  const Graph graph = OneAttention(16, true).graph;
  EXPECT_EQ(split_sequence(graph, split(1, true)).str(), graph.str());
  EXPECT_EQ(split_sequence(graph, choices_on({{"cp", 4}})).str(), graph.str());
}

}  // namespace
}  // namespace troupe
