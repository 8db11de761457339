#include "actors/engine/credits.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace troupe {
namespace {

constexpr int64_t kVersions = 5;  // how far the enumeration goes
constexpr int64_t kFirings = 5;

// Credits by definition: sets of versions instead of counters.
struct Model {
  std::vector<Credits::InputSpec> inputs;
  std::vector<Credits::OutputSpec> outputs;
  std::vector<std::set<int64_t>> arrived;                   // by input
  std::vector<std::pair<size_t, std::set<int64_t>>> freed;  // by reader: its output, what it freed
  int64_t firings = 0;
  bool running = false;

  Model(const std::vector<Credits::InputSpec>& ins, const std::vector<Credits::OutputSpec>& outs)
      : inputs(ins), outputs(outs) {
    for (const auto& in : inputs) {
      arrived.emplace_back();
      for (int64_t v = 0; v < in.initial; ++v) arrived.back().insert(v);
    }
    for (size_t o = 0; o < outputs.size(); ++o) {
      for (int32_t r = 0; r < outputs[o].readers; ++r) freed.emplace_back(o, std::set<int64_t>());
    }
  }
  int64_t held(size_t input) const { return firings / inputs[input].every; }
  int64_t writing(size_t output) const { return outputs[output].initial + firings / outputs[output].every; }

  bool can_fire() const {
    bool can = !running;
    for (size_t i = 0; i < inputs.size(); ++i) can &= arrived[i].contains(held(i));
    for (const auto& [output, versions] : freed) {
      const int64_t before = writing(output) - outputs[output].slots;
      can &= before < 0 || versions.contains(before);
    }
    return can;
  }
  Refusal arrive(size_t input, int64_t v) const {
    if (arrived[input].contains(v)) return Refusal::repeated;
    if (v > 0 && !arrived[input].contains(v - 1)) return Refusal::out_of_order;
    return v - inputs[input].slots >= held(input) ? Refusal::overrun : Refusal::none;
  }
  Refusal free(size_t reader, int64_t v) const {
    const auto& [output, versions] = freed[reader];
    if (versions.contains(v)) return Refusal::repeated;
    if (v > 0 && !versions.contains(v - 1)) return Refusal::out_of_order;
    return v >= writing(output) ? Refusal::never_written : Refusal::none;
  }
  std::vector<int64_t> key() const {
    std::vector<int64_t> key = {firings, running};
    for (const auto& versions : arrived) key.push_back(static_cast<int64_t>(versions.size()));
    for (const auto& [output, versions] : freed) key.push_back(static_cast<int64_t>(versions.size()));
    return key;
  }
};

// What finish said: kind, port, version, slot.
using Said = std::vector<std::array<int64_t, 4>>;

Said finish(Credits& credits) {
  Said said;
  credits.finish([&](int32_t o, int64_t v, int32_t s) { said.push_back({0, o, v, s}); },
                 [&](int32_t i, int64_t v, int32_t s) { said.push_back({1, i, v, s}); });
  return said;
}

Said finish(Model& model) {
  Said said;
  for (size_t o = 0; o < model.outputs.size(); ++o) {
    const int64_t v = model.writing(o);
    const bool last = (model.firings + 1) % model.outputs[o].every == 0;
    if (last) said.push_back({0, static_cast<int64_t>(o), v, v % model.outputs[o].slots});
  }
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    const int64_t v = model.held(i);
    const bool last = (model.firings + 1) % model.inputs[i].every == 0;
    if (last) said.push_back({1, static_cast<int64_t>(i), v, v % model.inputs[i].slots});
  }
  ++model.firings;
  model.running = false;
  return said;
}

// Visits every state that messages and firings can lead to, in every order, and compares what both say there.
class Enumeration {
 public:
  int64_t states = 0;

  void visit(const Credits& credits, const Model& model) {
    if (!seen_.insert(model.key()).second) return;
    ++states;
    ASSERT_EQ(credits.can_fire(), model.can_fire());
    for (size_t i = 0; i < model.inputs.size(); ++i) {
      for (int64_t v = 0; v < kVersions; ++v) {
        Credits next = credits;
        const Refusal refusal = next.arrived(static_cast<int32_t>(i), v);
        ASSERT_EQ(refusal, model.arrive(i, v)) << text_of(refusal) << " input " << i << " version " << v;
        ASSERT_EQ(refusal != Refusal::none && next.can_fire(), refusal != Refusal::none && credits.can_fire());
        if (refusal != Refusal::none) continue;
        Model after = model;
        after.arrived[i].insert(v);
        visit(next, after);
      }
    }
    for (size_t r = 0; r < model.freed.size(); ++r) {
      for (int64_t v = 0; v < kVersions; ++v) {
        Credits next = credits;
        const Refusal refusal = next.freed(static_cast<int32_t>(r), v);
        ASSERT_EQ(refusal, model.free(r, v)) << text_of(refusal) << " reader " << r << " version " << v;
        if (refusal != Refusal::none) continue;
        Model after = model;
        after.freed[r].second.insert(v);
        visit(next, after);
      }
    }
    if (model.running) {
      Credits next = credits;
      Model after = model;
      ASSERT_EQ(finish(next), finish(after));
      visit(next, after);
    } else if (model.can_fire() && model.firings < kFirings) {
      Credits next = credits;
      next.begin();
      Model after = model;
      after.running = true;
      visit(next, after);
    }
  }

 private:
  std::set<std::vector<int64_t>> seen_;
};

std::vector<Credits::InputSpec> some_inputs() {
  std::vector<Credits::InputSpec> specs;
  for (int32_t every : {1, 2}) {
    for (int32_t slots : {1, 2, 3}) {
      for (int32_t initial = 0; initial <= std::min(slots, 2); ++initial) specs.push_back({every, slots, initial});
    }
  }
  return specs;
}

std::vector<Credits::OutputSpec> some_outputs() {
  std::vector<Credits::OutputSpec> specs;
  for (const Credits::InputSpec& spec : some_inputs()) {
    for (int32_t readers : {0, 1, 2}) specs.push_back({spec.every, spec.slots, spec.initial, readers});
  }
  return specs;
}

int64_t enumerate(const std::vector<Credits::InputSpec>& inputs, const std::vector<Credits::OutputSpec>& outputs) {
  Enumeration enumeration;
  enumeration.visit(Credits(inputs, outputs), Model(inputs, outputs));
  return enumeration.states;
}

TEST(Credits, EqualsTheModelInEveryStateOfEveryTaskWithOneInputAndOneOutput) {
  int64_t states = 0;
  for (const auto& in : some_inputs()) {
    for (const auto& out : some_outputs()) states += enumerate({in}, {out});
  }
  EXPECT_GT(states, 10000);
}

TEST(Credits, EqualsTheModelInEveryStateOfEveryTaskWithTwoInputs) {
  for (const auto& a : some_inputs()) {
    for (const auto& b : some_inputs()) enumerate({a, b}, {{1, 2, 0, 1}});
  }
}

TEST(Credits, EqualsTheModelInEveryStateOfEveryTaskWithTwoOutputs) {
  for (const auto& a : some_outputs()) {
    for (const auto& b : {Credits::OutputSpec{1, 1, 0, 1}, {2, 2, 1, 1}, {1, 3, 2, 0}}) enumerate({{1, 2, 0}}, {a, b});
  }
}

TEST(Credits, AnUpdateWaitsForTheReadersOfTheVersionThatItOverwrites) {
  const std::vector<Credits::OutputSpec> variable = {{1, 1, 1, 2}};  // one slot, one initial version, two readers
  Credits credits({}, variable);
  EXPECT_FALSE(credits.can_fire());
  EXPECT_EQ(credits.freed(0, 0), Refusal::none);
  EXPECT_FALSE(credits.can_fire());
  EXPECT_EQ(credits.freed(1, 0), Refusal::none);
  EXPECT_TRUE(credits.can_fire());
}

TEST(Credits, AHeldInputIsFreedAfterItsLastFiring) {
  const std::vector<Credits::InputSpec> held = {{3, 1, 0}};
  Credits credits(held, {});
  ASSERT_EQ(credits.arrived(0, 0), Refusal::none);
  for (int firing = 0; firing < 3; ++firing) {
    ASSERT_TRUE(credits.can_fire());
    credits.begin();
    EXPECT_EQ(finish(credits).size(), firing == 2 ? 1u : 0u);
  }
  EXPECT_FALSE(credits.can_fire());
}

TEST(Credits, RefusesPortsThatAreNotThere) {
  const std::vector<Credits::InputSpec> one = {{}};
  Credits credits(one, {});
  EXPECT_EQ(credits.arrived(1, 0), Refusal::no_such_port);
  EXPECT_EQ(credits.arrived(-1, 0), Refusal::no_such_port);
  EXPECT_EQ(credits.freed(0, 0), Refusal::no_such_port);
}

TEST(Credits, ARestartForgetsEverything) {
  const std::vector<Credits::InputSpec> in = {{1, 2, 1}};
  const std::vector<Credits::OutputSpec> out = {{1, 1, 1, 1}};
  Credits credits(in, out);
  ASSERT_EQ(credits.freed(0, 0), Refusal::none);
  credits.begin();
  finish(credits);
  credits.restart();
  EXPECT_EQ(credits.firings(), 0);
  EXPECT_EQ(credits.arrived(0, 1), Refusal::none);
  EXPECT_EQ(credits.freed(0, 0), Refusal::none);
  EXPECT_TRUE(credits.can_fire());
}

}  // namespace
}  // namespace troupe
