#include "actors/engine/device_times.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "runtime/base/error.h"

namespace troupe {
namespace {

// Of a device whose clock began 1000 seconds later than the host's.
class Stamp final : public DeviceStamp {
 public:
  explicit Stamp(double at) : at_(at) {}
  double seconds_since(const DeviceStamp& earlier) const override {
    if (std::isnan(at_)) throw FaultError({.what = "the device has failed"});
    return at_ - static_cast<const Stamp&>(earlier).at_;
  }

 private:
  double at_;
};

// Nothing but stamps, at times that the test has set.
class Queue final : public DeviceQueue {
 public:
  void launch(Kernel, const KernelArgs&) override {}
  uint64_t mark() override { return 1; }
  bool has_passed(uint64_t) const override { return ends; }
  void wait_for(const DeviceQueue&, uint64_t) override {}
  void call(std::function<void()>) override {}
  std::unique_ptr<DeviceStamp> stamp() override {
    if (!keeps_time) return nullptr;
    const double at = times.front();
    times.pop_front();
    return std::make_unique<Stamp>(at);
  }

  std::deque<double> times;
  bool keeps_time = true;
  bool ends = true;
};

class DeviceTimesTest : public testing::Test {
 protected:
  DeviceTimesTest() { clock.advance_to(1003); }

  // As the executor sees a firing that it puts into a queue, or computes.
  static TracedFiring put_at(double begin) {
    TracedFiring firing;
    firing.begin_s = begin;
    firing.end_s = begin + 0.001;
    return firing;
  }
  static TracedFiring put_at(double begin, double waited_from) {
    TracedFiring firing = put_at(begin);
    firing.waited_for = WaitsFor::input;
    firing.wait_begin_s = waited_from;
    firing.wait_end_s = begin;
    return firing;
  }
  static void fire(DeviceTimes& times, int64_t stream) {
    times.begin(StreamId(stream));
    times.end(StreamId(stream));
  }

  SimulatedClock clock;
  Queue queue;
};

TEST_F(DeviceTimesTest, FiringsRanWhenTheirDeviceSays) {
  queue.times = {3, /**/ 5, 5.5, /**/ 5.5, 6};
  DeviceTimes times({nullptr, &queue}, clock);
  fire(times, 1);
  fire(times, 0);
  fire(times, 1);
  const std::vector<TracedFiring> firings = times.put_into({put_at(1004), put_at(1004.5), put_at(1004.7)});
  EXPECT_DOUBLE_EQ(firings[0].begin_s, 1005);
  EXPECT_DOUBLE_EQ(firings[0].end_s, 1005.5);
  EXPECT_DOUBLE_EQ(firings[1].begin_s, 1004.5);  // on the host
  EXPECT_DOUBLE_EQ(firings[1].end_s, 1004.501);
  EXPECT_DOUBLE_EQ(firings[2].begin_s, 1005.5);
  EXPECT_DOUBLE_EQ(firings[2].end_s, 1006);
}

TEST_F(DeviceTimesTest, AFiringThatIsNotTracedHasNoTimes) {
  queue.times = {3, /**/ 4, /**/ 6, 7};
  DeviceTimes times({&queue}, clock);
  times.begin(StreamId(0));  // of one that turned out empty
  fire(times, 0);
  EXPECT_DOUBLE_EQ(times.put_into({put_at(1005)})[0].begin_s, 1006);
}

TEST_F(DeviceTimesTest, AWaitIsWhereTheDeviceStoodStill) {
  queue.times = {3, /**/ 5, 6, /**/ 7, 8, /**/ 8, 9, /**/ 20, 21};
  DeviceTimes times({&queue}, clock);
  for (int i = 0; i < 4; ++i) fire(times, 0);
  // The first waited; the second for what came after the first had run; the third although its device was busy anyway; of the
  // fourth nothing is known.
  const std::vector<TracedFiring> firings =
      times.put_into({put_at(1005, 1004), put_at(1007, 1005.2), put_at(1007.5, 1007.2), put_at(1007.6)});
  EXPECT_EQ(firings[0].waited_for, WaitsFor::input);
  EXPECT_DOUBLE_EQ(firings[0].wait_begin_s, 1004);
  EXPECT_DOUBLE_EQ(firings[0].wait_end_s, 1005);
  EXPECT_EQ(firings[1].waited_for, WaitsFor::input);
  EXPECT_DOUBLE_EQ(firings[1].wait_begin_s, 1006);
  EXPECT_DOUBLE_EQ(firings[1].wait_end_s, 1007);
  EXPECT_EQ(firings[2].waited_for, WaitsFor::nothing);
  EXPECT_EQ(firings[3].waited_for, WaitsFor::nothing);
}

TEST_F(DeviceTimesTest, ADeviceThatKeepsNoTimeLeavesWhatWasSeen) {
  queue.keeps_time = false;
  DeviceTimes times({&queue}, clock);
  fire(times, 0);
  EXPECT_DOUBLE_EQ(times.put_into({put_at(1005)})[0].begin_s, 1005);
}

TEST_F(DeviceTimesTest, SoDoesOneThatHasFailed) {
  queue.times = {3, /**/ 5, 6, /**/ 7, NAN};
  DeviceTimes times({&queue}, clock);
  fire(times, 0);
  fire(times, 0);
  const std::vector<TracedFiring> firings = times.put_into({put_at(1004.5), put_at(1004.6)});
  EXPECT_DOUBLE_EQ(firings[0].begin_s, 1004.5);
  EXPECT_DOUBLE_EQ(firings[1].begin_s, 1004.6);
}

TEST_F(DeviceTimesTest, AQueueThatDoesNotComeToItsEndIsAFault) {
  queue.times = {3};
  queue.ends = false;
  EXPECT_THROW(DeviceTimes({&queue}, clock), FaultError);
}

}  // namespace
}  // namespace troupe
