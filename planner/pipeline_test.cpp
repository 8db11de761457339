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
