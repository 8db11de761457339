#include "planner/pipeline.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

Pipeline pipeline_of(int stages, Schedule schedule, int chunks_per_stage = 1) {
  Pipeline pipeline;
  for (int s = 0; s < stages; ++s) pipeline.stages.push_back(Mesh({{"dp", 1}}, {DeviceId(s)}));
  pipeline.chunks = stages * chunks_per_stage;
  pipeline.schedule = schedule;
  return pipeline;
}

std::string turns(const Pipeline& pipeline, int stage, int pieces) {
  return str(fold(turns_of(pipeline, stage, pieces)));
}

TEST(Schedules, GpipeRunsAllForwardPassesFirst) {
  const Pipeline pipeline = pipeline_of(4, Schedule::gpipe);
  for (int stage = 0; stage < 4; ++stage) {
    const std::string s = std::to_string(stage);
    EXPECT_EQ(turns(pipeline, stage, 6), "6xF" + s + " 6xB" + s);
    EXPECT_EQ(in_flight(turns_of(pipeline, stage, 6), {Pass::forward, stage}, {Pass::backward, stage}), 6);
  }
}

TEST(Schedules, OneForwardOneBackwardHoldsNoMorePiecesThanStagesFollow) {
  const Pipeline pipeline = pipeline_of(4, Schedule::one_f_one_b);
  EXPECT_EQ(turns(pipeline, 0, 6), "4xF0 2x(B0 F0) 4xB0");
  EXPECT_EQ(turns(pipeline, 2, 6), "2xF2 4x(B2 F2) 2xB2");
  EXPECT_EQ(turns(pipeline, 3, 6), "6x(F3 B3)");
  for (int stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(in_flight(turns_of(pipeline, stage, 16), {Pass::forward, stage}, {Pass::backward, stage}), 4 - stage);
  }
}

TEST(Schedules, ZeroBubbleComputesWeightGradientsLateAndHoldsAsMuchAs1F1B) {
  const Pipeline pipeline = pipeline_of(4, Schedule::zero_bubble);
  EXPECT_EQ(turns(pipeline, 0, 4), "4xF0 4x(B0 W0)");
  for (int stage = 0; stage < 4; ++stage) {
    const std::vector<Turn> all = turns_of(pipeline, stage, 9);
    for (Pass pass : {Pass::forward, Pass::backward, Pass::weight}) {
      EXPECT_EQ(std::count(all.begin(), all.end(), Turn{pass, stage}), 9);
    }
    EXPECT_EQ(in_flight(all, {Pass::forward, stage}, {Pass::backward, stage}), 4 - stage);
    EXPECT_EQ(in_flight(all, {Pass::forward, stage}, {Pass::weight, stage}), 4);
  }
}

TEST(Schedules, InterleavedTakesItsChunksInTurn) {
  const Pipeline pipeline = pipeline_of(2, Schedule::interleaved, 2);
  std::string text;
  for (Turn turn : turns_of(pipeline, 0, 4)) text += name_of(turn.pass) + std::to_string(turn.chunk) + " ";
  EXPECT_EQ(text, "F0 F0 F2 F2 F0 B2 F0 B2 F2 B0 F2 B0 B2 B2 B0 B0 ");
  for (int stage = 0; stage < 2; ++stage) {
    const std::vector<Turn> all = turns_of(pipeline, stage, 8);
    for (int chunk : {stage, stage + 2}) {
      for (Pass pass : {Pass::forward, Pass::backward}) {
        EXPECT_EQ(std::count(all.begin(), all.end(), Turn{pass, chunk}), 8);
      }
    }
  }
}

// Nothing is done backward before it was done forward, on any stage, for any number of pieces.
TEST(Schedules, AllTurnsAreThereAndInOrder) {
  for (const auto& [schedule, per_stage] : {std::pair(Schedule::gpipe, 1),
                                            {Schedule::one_f_one_b, 1},
                                            {Schedule::zero_bubble, 1},
                                            {Schedule::interleaved, 3}}) {
    for (int stages = 1; stages <= 5; ++stages) {
      const Pipeline pipeline = pipeline_of(stages, schedule, per_stage);
      for (int pieces = stages; pieces <= 4 * stages; pieces += schedule == Schedule::interleaved ? stages : 1) {
        for (int stage = 0; stage < stages; ++stage) {
          std::map<Turn, int> done;
          std::vector<Turn> unfolded;
          const std::vector<Turn> all = turns_of(pipeline, stage, pieces);
          for (Turn turn : all) {
            ++done[turn];
            if (turn.pass == Pass::forward) continue;
            const Turn before{turn.pass == Pass::weight ? Pass::backward : Pass::forward, turn.chunk};
            EXPECT_LE(done[turn], done[before]);
          }
          for (const auto& [turn, count] : done) EXPECT_EQ(count, pieces);
          for (const Stretch& stretch : fold(all)) {
            for (int i = 0; i < stretch.repeat; ++i) {
              unfolded.insert(unfolded.end(), stretch.turns.begin(), stretch.turns.end());
            }
          }
          EXPECT_EQ(unfolded, all);
        }
      }
    }
  }
}

struct Times {
  double forward = 1;
  double backward = 2;  // all of it
  double weight = 0;    // that part of it which may come later
};

// When all stages are done, each as soon as what it waits for is there; times[c] of chunk c.
double makespan(const Pipeline& pipeline, int pieces, const std::vector<Times>& times) {
  const bool split = pipeline.schedule == Schedule::zero_bubble;
  std::map<std::pair<Turn, int>, double> done;  // by turn and piece
  std::vector<double> free_at(pipeline.stages.size(), 0);
  std::vector<size_t> next(pipeline.stages.size(), 0);
  std::vector<std::vector<Turn>> turns;
  std::map<Turn, int> fired;
  for (int stage = 0; stage < pipeline.stage_count(); ++stage) turns.push_back(turns_of(pipeline, stage, pieces));
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t stage = 0; stage < turns.size(); ++stage) {
      while (next[stage] < turns[stage].size()) {
        const Turn turn = turns[stage][next[stage]];
        const int piece = fired[turn];
        const bool forward = turn.pass == Pass::forward;
        const Turn before{turn.pass, turn.chunk + (forward ? -1 : 1)};
        const bool first = turn.pass == Pass::weight || before.chunk < 0 || before.chunk == pipeline.chunks;
        if (!first && !done.contains({before, piece})) break;
        const Times& time = times[static_cast<size_t>(turn.chunk)];
        const double takes = forward                     ? time.forward
                             : turn.pass == Pass::weight ? time.weight
                             : split                     ? time.backward - time.weight
                                                         : time.backward;
        const double begin = first ? free_at[stage] : std::max(free_at[stage], done.at({before, piece}));
        free_at[stage] = done[{turn, piece}] = begin + takes;
        ++fired[turn];
        ++next[stage];
        moved = true;
      }
    }
  }
  for (size_t stage = 0; stage < turns.size(); ++stage) EXPECT_EQ(next[stage], turns[stage].size()) << "stuck";
  return *std::max_element(free_at.begin(), free_at.end());
}

// F, B and W of all chunks of a stage together: (p - 1)(F + B) of every step is a bubble under GPipe and 1F1B, with v
// chunks per stage (p - 1)(F + B) / v (Narayanan et al. 2021, section 2), with backward passes in two parts
// (p - 1)(F + B - 2W), B being all of the backward pass (Qi et al. 2023, table 1: (p - 1)(T_F + T_B - T_W) for ZB-H1).
TEST(Schedules, BubblesAreThePublishedOnes) {
  for (int stages : {2, 4, 8}) {
    for (int pieces : {2 * stages, 4 * stages}) {
      const auto bubble = [&](Schedule schedule, int per_stage) {
        const Pipeline pipeline = pipeline_of(stages, schedule, per_stage);
        const double share = 1.0 / per_stage;
        const std::vector<Times> times(static_cast<size_t>(pipeline.chunks), {1 * share, 2 * share, 1 * share});
        return makespan(pipeline, pieces, times) - pieces * 3.0;
      };
      SCOPED_TRACE(testing::Message() << stages << " stages, " << pieces << " pieces");
      EXPECT_NEAR(bubble(Schedule::gpipe, 1), (stages - 1) * 3.0, 1e-9);
      EXPECT_NEAR(bubble(Schedule::one_f_one_b, 1), (stages - 1) * 3.0, 1e-9);
      EXPECT_NEAR(bubble(Schedule::interleaved, 2), (stages - 1) * 3.0 / 2, 1e-9);
      EXPECT_NEAR(bubble(Schedule::interleaved, 4), (stages - 1) * 3.0 / 4, 1e-9);
      // T_F = T_B = T_W = 1, where T_B is what other stages wait for.
      EXPECT_NEAR(bubble(Schedule::zero_bubble, 1), (stages - 1) * 1.0, 1e-9);
    }
  }
}

std::string refusal(const Pipeline& pipeline, int pieces) {
  try {
    turns_of(pipeline, 0, pieces);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

TEST(Schedules, WhatAScheduleCannotDoIsRefusedWithWhatWouldDo) {
  EXPECT_NE(refusal(pipeline_of(4, Schedule::one_f_one_b), 3).find("more batch_shards or pieces_per_shard"),
            std::string::npos);
  EXPECT_NE(refusal(pipeline_of(2, Schedule::gpipe, 2), 4).find("'interleaved' has several"), std::string::npos);
  EXPECT_NE(refusal(pipeline_of(2, Schedule::interleaved, 2), 3).find("in multiples of the 2 stages"),
            std::string::npos);
  EXPECT_THROW(schedule_named("dualpipe"), PlanError);
  EXPECT_EQ(schedule_named("1f1b"), Schedule::one_f_one_b);
}

}  // namespace
}  // namespace troupe
