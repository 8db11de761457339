#include "actors/engine/crew.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

class CrewTest : public testing::Test {
 protected:
  CrewTest() : crew_(options()) {}
  static CrewOptions options() {
    CrewOptions made;
    made.workers = 2;
    made.token = "right";
    return made;
  }
  static Join join(const std::string& host, int32_t devices = 1) {
    Join made;
    made.token = "right";
    made.host = host;
    made.process = 7;
    made.share = {devices, 1};
    return made;
  }
  void gather() {
    crew_.on(join("a", 2), 0);
    crew_.on(join("b"), 0);
  }
  std::string refusal(const Join& join) { return std::get<std::string>(crew_.on(join, 0)); }

  void say(int worker, const Reply& reply, double now) { crew_.on(worker, {++said_[worker], reply}, now); }

  Crew crew_;
  uint64_t said_[2] = {0, 0};
};

TEST_F(CrewTest, LetsInWhoShowsTheTokenUntilItIsComplete) {
  Join stranger = join("x");
  stranger.token = "wrong";
  EXPECT_NE(refusal(stranger).find("token"), std::string::npos);
  stranger.token = "righ";
  EXPECT_NE(refusal(stranger).find("token"), std::string::npos);
  Join old = join("x");
  old.version = kControlVersion + 1;
  EXPECT_NE(refusal(old).find("same version of Troupe"), std::string::npos);
  EXPECT_NE(refusal(join("x", 0)).find("no device"), std::string::npos);
  EXPECT_EQ(std::get<int>(crew_.on(join("a", 2), 0)), 0);
  EXPECT_FALSE(crew_.complete());
  EXPECT_EQ(std::get<int>(crew_.on(join("b"), 0)), 1);
  EXPECT_TRUE(crew_.complete());
  EXPECT_EQ(crew_.devices(), 3);
  EXPECT_NE(refusal(join("c")).find("2 workers already"), std::string::npos);
}

TEST_F(CrewTest, NumbersWorkersByTheirRanks) {
  Crew crew({4, "right", 1});
  const auto ranked = [](const std::string& host, int32_t devices, int32_t rank) {
    Join made = join(host, devices);
    made.rank = rank;
    return made;
  };
  const auto refusal_of = [&](const Join& join) { return std::get<std::string>(crew.on(join, 0)); };
  EXPECT_EQ(std::get<int>(crew.on(ranked("d", 5, 3), 0)), 0);
  EXPECT_EQ(std::get<int>(crew.on(ranked("x", 6, -1), 0)), 1);
  EXPECT_EQ(crew.name(0), "worker 3 (d, process 7)");
  EXPECT_EQ(crew.name(1), "a worker (x, process 7)");  // 1 may be another's
  EXPECT_EQ(refusal_of(ranked("other", 1, 3)), "its rank is that of worker 3 (d, process 7)");
  EXPECT_EQ(refusal_of(ranked("other", 1, 4)), "its rank is 4; those of the run's 4 workers are 0 to 3");
  EXPECT_EQ(refusal_of(ranked("other", 1, -2)), "its rank is -2; those of the run's 4 workers are 0 to 3");
  EXPECT_EQ(std::get<int>(crew.on(ranked("a", 7, 0), 0)), 2);
  EXPECT_EQ(std::get<int>(crew.on(ranked("c", 8, 2), 0)), 3);
  std::vector<int32_t> devices;
  for (const WorkerShare& share : crew.shares()) devices.push_back(share.devices);
  EXPECT_EQ(devices, (std::vector<int32_t>{7, 6, 8, 5}));
  std::vector<int> joined_as;
  for (int w = 0; w < 4; ++w) joined_as.push_back(crew.joined_as(w));
  EXPECT_EQ(joined_as, (std::vector<int>{2, 1, 3, 0}));
  EXPECT_EQ(crew.name(1), "worker 1 (x, process 7)");
  // What they say is told by the order in which they joined.
  const uint64_t request = crew.ask();
  for (const int joined : {0, 2, 3}) crew.on(joined, {1, Answer{request, Answer::Outcome::done, {}}}, 0);
  EXPECT_EQ(crew.owing(), "worker 1 (x, process 7)");
  crew.lost(0);
  EXPECT_EQ(crew.gone()->what, "worker 3 (d, process 7) is gone: its connection was closed");
  EXPECT_EQ(crew.gone()->device, "cpu:21 to cpu:25");
}

TEST_F(CrewTest, ARequestIsSettledWhenAllHaveAnsweredIt) {
  gather();
  const uint64_t old = crew_.ask();
  const uint64_t request = crew_.ask();
  say(0, Answer{old, Answer::Outcome::fault, {}}, 0);  // to what is no longer asked
  EXPECT_EQ(crew_.owing(), "worker 0 (a, process 7), worker 1 (b, process 7)");
  say(1, Answer{request, Answer::Outcome::done, {}}, 0);
  say(1, Answer{request, Answer::Outcome::done, {}}, 0);  // twice is once
  EXPECT_FALSE(crew_.settled());
  say(0, Answer{request, Answer::Outcome::user_error, {"no kernel", "", "", "", 0}}, 0);
  EXPECT_TRUE(crew_.settled());
  EXPECT_EQ(crew_.failure()->fault.what, "worker 0 (a, process 7): no kernel");
  crew_.ask();
  EXPECT_FALSE(crew_.failure().has_value());
}

TEST_F(CrewTest, ARequestIsRefusedByAllWhenEachCallsItTheUsersMistake) {
  gather();
  const Answer mistake{crew_.ask(), Answer::Outcome::user_error, {"no kernel", "", "", "", 0}};
  say(0, mistake, 0);
  say(0, mistake, 0);
  EXPECT_FALSE(crew_.refused_by_all());
  say(1, mistake, 0);
  EXPECT_TRUE(crew_.refused_by_all());
  const uint64_t request = crew_.ask();
  EXPECT_FALSE(crew_.refused_by_all());
  say(0, Answer{request, Answer::Outcome::user_error, {}}, 0);
  say(1, Answer{request, Answer::Outcome::fault, {}}, 0);
  EXPECT_FALSE(crew_.refused_by_all());
}

TEST_F(CrewTest, StepsAreReachedInTheirLifeOnly) {
  gather();
  crew_.go(3, 10);
  say(0, Reached{2, 10}, 0);
  say(0, Reached{3, 9}, 0);
  say(1, Reached{3, 10}, 0);
  EXPECT_FALSE(crew_.reached());
  say(0, Reached{3, 10}, 0);
  EXPECT_TRUE(crew_.reached());
}

TEST_F(CrewTest, WhoIsSilentForAHeartbeatIsGivenUpAndNotHeardAgain) {
  gather();
  for (int tenth = 0; tenth <= 9; ++tenth) {
    say(1, Beat{static_cast<uint64_t>(tenth)}, tenth / 10.0);
    crew_.tick(tenth / 10.0);
  }
  EXPECT_FALSE(crew_.fault().has_value());
  say(1, Beat{95}, 0.95);
  crew_.tick(1.05);
  ASSERT_TRUE(crew_.fault().has_value());
  EXPECT_EQ(crew_.fault()->what, "worker 0 (a, process 7) has gone silent");
  EXPECT_EQ(crew_.fault()->device, "cpu:0 to cpu:1");
  EXPECT_GE(crew_.fault()->deadline, 1);
  const uint64_t request = crew_.ask();
  EXPECT_EQ(crew_.owing(), "worker 1 (b, process 7)");
  say(0, Answer{request, Answer::Outcome::fault, {"late", "", "", "", 0}}, 1.1);
  say(1, Answer{request, Answer::Outcome::done, {}}, 1.1);
  EXPECT_FALSE(crew_.failure().has_value());
  crew_.forgive();
  EXPECT_EQ(crew_.fault()->what, "worker 0 (a, process 7) has gone silent");  // what is gone stays gone
}

TEST_F(CrewTest, WhatIsSaidTwiceOrOutOfOrderIsHeardOnceInOrder) {
  gather();
  crew_.go(3, 10);
  const uint64_t request = crew_.ask();
  const Said beat{1, Beat{7}};
  crew_.on(1, {3, Reached{3, 10}}, 0);
  crew_.on(1, {2, Answer{request, Answer::Outcome::done, {}}}, 0);
  EXPECT_EQ(crew_.owing(), "worker 0 (a, process 7), worker 1 (b, process 7)");
  crew_.on(1, beat, 0);
  EXPECT_EQ(crew_.owing(), "worker 0 (a, process 7)");
  crew_.on(1, {4, Beat{9}}, 0);
  crew_.on(1, beat, 0);
  EXPECT_EQ(crew_.firings(), 9u);
}

TEST_F(CrewTest, WhoseMessagesAreMissingIsGivenUp) {
  const std::string lost = "worker 1 (b, process 7) is out of touch: its message 1 is missing, later ones have come";
  gather();
  crew_.on(1, {2, Beat{7}}, 0);
  for (uint64_t tenth = 0; tenth < 60; ++tenth) {
    const double now = static_cast<double>(tenth) / 10;
    say(0, Beat{}, now);
    crew_.on(1, {3 + tenth, Beat{8}}, now);
    crew_.tick(now);
    EXPECT_EQ(crew_.fault().has_value(), now >= 5) << now;
  }
  EXPECT_EQ(crew_.fault()->what, lost);
  EXPECT_EQ(crew_.fault()->device, "cpu:2");
}

TEST_F(CrewTest, WhoHasNotGotACommandIsGivenUp) {
  gather();
  say(1, Beat{7, -1, 4.9}, 0);
  EXPECT_FALSE(crew_.fault().has_value());
  say(1, Beat{7, -1, 5.1}, 0.2);
  EXPECT_EQ(crew_.fault()->what,
            "worker 1 (b, process 7) is out of touch: a command to it is missing, later ones have come");
}

TEST_F(CrewTest, WhoJoinedLongBeforeTheLastIsNotSilent) {
  crew_.on(join("a"), 0);
  crew_.on(join("b"), 1.5);
  crew_.tick(1.51);
  EXPECT_FALSE(crew_.fault().has_value());
}

TEST_F(CrewTest, ACommandThatNobodyWaitsForFailsTheRun) {
  gather();
  say(0, Answer{0, Answer::Outcome::done, {}}, 0);
  EXPECT_FALSE(crew_.fault().has_value());
  say(0, Answer{0, Answer::Outcome::fault, {"not enough memory", "", "", "", 0}}, 0);
  EXPECT_EQ(crew_.fault()->what, "worker 0 (a, process 7): not enough memory");
  EXPECT_EQ(crew_.fault()->device, "cpu:0 to cpu:1");
}

TEST_F(CrewTest, ADriverThatWasStoppedItselfGivesNobodyUp) {
  gather();
  crew_.tick(0);
  crew_.tick(100);  // in a debugger
  EXPECT_FALSE(crew_.fault().has_value());
  crew_.tick(100.4);
  crew_.tick(100.8);
  EXPECT_FALSE(crew_.fault().has_value());
  crew_.tick(101.2);
  EXPECT_TRUE(crew_.fault().has_value());
}

TEST_F(CrewTest, AClosedConnectionCountsMoreThanWhatFollowsFromIt) {
  gather();
  say(0, Fault{"its peer does not answer", "", "", "", 0}, 0);
  EXPECT_EQ(crew_.fault()->what, "worker 0 (a, process 7): its peer does not answer");
  crew_.lost(1);
  crew_.lost(1);
  EXPECT_EQ(crew_.fault()->what, "worker 1 (b, process 7) is gone: its connection was closed");
  EXPECT_EQ(crew_.fault()->device, "cpu:2");
}

TEST_F(CrewTest, AFaultIsForgivenWhenTheNextRunBegins) {
  gather();
  say(1, Fault{"no such id", "cpu:2", "embedding", "", 0}, 0);
  say(0, Fault{"later", "", "", "", 0}, 0);
  EXPECT_EQ(crew_.fault()->what, "worker 1 (b, process 7): no such id");
  EXPECT_EQ(crew_.fault()->device, "cpu:2");
  crew_.forgive();
  EXPECT_FALSE(crew_.fault().has_value());
}

}  // namespace
}  // namespace troupe
