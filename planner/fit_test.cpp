#include "planner/fit.h"

#include <gtest/gtest.h>

#include <numeric>

#include "planner/test_models.h"

namespace troupe {
namespace {

constexpr int kBlocks = 3;
const std::vector<std::string> kModules = [] {
  std::vector<std::string> modules;
  for (int block = 0; block < kBlocks; ++block) {
    const std::string name = "blocks." + std::to_string(block);
    for (const char* part : {"", ".ln1", ".attn", ".ln2", ".mlp"}) modules.push_back(name + part);
  }
  return modules;
}();

struct Case {
  const char* name;
  std::vector<Axis> axes;
  bool zero = false;
  bool split = false;
};
const Case kCases[] = {{"dp", {{"dp", 2}}},
                       {"tp", {{"tp", 2}}, false, true},
                       {"zero", {{"dp", 2}}, true},
                       {"dp and pp", {{"dp", 2}, {"pp", 2}}}};

struct Planned {
  ModelBuilder model;
  Choices choices;
};

Planned planned(const Case& c) {
  Choices choices = choices_on(c.axes, 4);
  if (choices.mesh.find_axis("pp") >= 0) {
    cut_pipeline(choices, {"tok", "pos", "blocks.0", "blocks.1", "blocks.2", "ln", "head"}, Schedule::one_f_one_b);
  }
  const GptShape shape{
      .vocab = 32, .layers = kBlocks, .dim = 32, .heads = 4, .seq = 32, .rows = 2 * choices.data_parallel_size()};
  ModelBuilder model = gpt_model(shape);
  if (c.split) split_blocks(model, "tp");
  if (c.zero) model.zero("dp", choices, true);
  return {std::move(model), choices};
}

int64_t need_of(const Plan& plan) {
  int64_t most = 0;
  for (const PlanDevice& device : plan.devices) {
    most = std::max(most, std::accumulate(std::begin(device.arena_bytes), std::end(device.arena_bytes), int64_t{0}));
  }
  return most;
}

// The need of the plan with these modules recomputed, and its step time, with as few slots as it may have.
std::pair<int64_t, double> tried(const Planned& p, const std::vector<std::string>& modules) {
  Choices choices = p.choices;
  choices.recompute = modules;
  if (choices.pipeline.is_cut()) choices.pipeline.send_slots = 1;
  const Plan plan = compile(p.model.graph, choices, Profile()).plan;
  return {need_of(plan), plan.promise.step_s};
}

// The memory that a refusal says would do.
int64_t said_to_do(const std::string& text) {
  const std::string words = "the least that would do is memory=";
  const size_t at = text.find(words);
  EXPECT_NE(at, std::string::npos) << text;
  return at == std::string::npos ? 0 : std::stoll(text.substr(at + words.size()));
}

template <class Compile>
void expect_refused_below_what_would_do(Choices choices, const Compile& compile_with) {
  choices.memory_bytes = 1 << 10;
  int64_t least = 0;
  try {
    compile_with(choices);
    FAIL() << "compiled";
  } catch (const PlanError& error) {
    least = said_to_do(error.what());
    EXPECT_NE(std::string(error.what()).find("the largest tensors at the peak: "), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(" KiB"), std::string::npos);
  }
  choices.memory_bytes = least;
  EXPECT_LE(need_of(compile_with(choices)), least);
  choices.memory_bytes = least - 1;
  EXPECT_THROW(compile_with(choices), PlanError);
}

TEST(Fit, NothingIsRecomputedWhereAllFits) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    Planned p = planned(c);
    p.choices.memory_bytes = tried(p, {}).first;
    const Fitted fitted = fit(p.model.graph, p.choices, kModules, Profile());
    EXPECT_EQ(fitted.choices.recompute, std::vector<std::string>{});
    EXPECT_LE(need_of(fitted.compiled.plan), p.choices.memory_bytes);
  }
}

TEST(Fit, RecomputesNoMoreThanAnyChoiceOfBlocksThatFits) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    Planned p = planned(c);
    std::vector<std::pair<int64_t, double>> all;
    for (unsigned set = 0; set < 1u << kBlocks; ++set) {
      std::vector<std::string> modules;
      for (int block = 0; block < kBlocks; ++block) {
        if ((set >> block & 1) != 0) modules.push_back("blocks." + std::to_string(block));
      }
      all.push_back(tried(p, modules));
    }
    const int64_t most = all.front().first;
    const int64_t least = std::min_element(all.begin(), all.end())->first;
    EXPECT_LT(least, most);
    for (int percent : {0, 50}) {
      p.choices.memory_bytes = least + (most - least) * percent / 100;
      double best = 1e9;
      for (const auto& [need, seconds] : all) {
        if (need <= p.choices.memory_bytes) best = std::min(best, seconds);
      }
      const Fitted fitted = fit(p.model.graph, p.choices, kModules, Profile());
      EXPECT_LE(need_of(fitted.compiled.plan), p.choices.memory_bytes);
      EXPECT_LE(fitted.compiled.plan.promise.step_s, best * 1.01) << percent << " %";
      EXPECT_LE(fitted.compiles, 16 + 4);
    }
  }
}

TEST(Fit, WhatCannotFitIsRefusedWithTheLeastThatCan) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const Planned p = planned(c);
    const Profile profile;
    expect_refused_below_what_would_do(p.choices, [&](const Choices& choices) {
      return fit(p.model.graph, choices, kModules, profile).compiled.plan;
    });
    expect_refused_below_what_would_do(
        p.choices, [&](const Choices& choices) { return compile(p.model.graph, choices, profile).plan; });
  }
}

}  // namespace
}  // namespace troupe
