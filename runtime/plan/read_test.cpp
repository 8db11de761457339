#include "runtime/plan/read.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/plan/format.h"
#include "runtime/plan/print.h"
#include "runtime/plan/sample_plans.h"
#include "runtime/plan/write.h"

namespace troupe {
namespace {

std::string file_name(const std::string& name) {
  return ::testing::TempDir() + "troupe_" + std::to_string(::getpid()) + "_" + name;
}

void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

template <class Fn>
std::string error_of(Fn fn) {
  try {
    fn();
  } catch (const FaultError& error) {
    return error.what();
  }
  return "";
}

std::string error_of_bytes(std::span<const std::byte> bytes) {
  return error_of([&] { read_plan(bytes); });
}

template <class T>
std::vector<std::byte> with(std::vector<std::byte> bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  return bytes;
}

TEST(ReadPlan, ReturnsWhatWasWritten) {
  const Plan plan = small_plan();
  EXPECT_EQ(read_plan(serialize(plan)), plan);
  EXPECT_EQ(read_plan(serialize(Plan())), Plan());
}

TEST(ReadPlan, ReturnsRandomPlansAsWritten) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Plan plan = random_plan(seed, static_cast<int>(seed * 3));
    const Plan read = read_plan(serialize(plan));
    ASSERT_TRUE(read == plan) << seed;
    ASSERT_EQ(to_text(read), to_text(plan));
  }
}

TEST(ReadPlan, ReadsFromBytesThatStartBetweenTwoWords) {
  std::vector<std::byte> bytes = serialize(small_plan());
  bytes.insert(bytes.begin(), 3, std::byte{0});
  EXPECT_EQ(read_plan(std::span(bytes).subspan(3)), small_plan());
}

TEST(ReadPlan, NamesAFileOfAnotherProgram) {
  std::vector<std::byte> bytes = serialize(small_plan());
  std::memcpy(bytes.data(),
              "\x7f"
              "ELF\x02\x01\x01\0",
              8);
  EXPECT_EQ(error_of([&] { read_plan(bytes, "plan file 'a.out'"); }),
            "plan file 'a.out' cannot be read: it starts with '\\x7fELF\\x02\\x01\\x01\\x00'; a plan starts with "
            "'TroupePl'");
}

TEST(ReadPlan, NamesBothVersionsWhenTheyDiffer) {
  EXPECT_EQ(error_of_bytes(with(serialize(small_plan()), offsetof(PlanHeader, version), kPlanVersion + 1)),
            "plan cannot be read: it is of plan format version " + std::to_string(kPlanVersion + 1) +
                "; this build reads version " + std::to_string(kPlanVersion));
}

TEST(ReadPlan, SaysWhatIsWrongWithTheSize) {
  const std::vector<std::byte> bytes = serialize(small_plan());
  const std::string whole = std::to_string(bytes.size() - 32);
  EXPECT_EQ(error_of_bytes({}), "plan cannot be read: it is empty; a plan starts with a header of 32 bytes");
  EXPECT_EQ(error_of_bytes(std::span(bytes).first(12)),
            "plan cannot be read: it has 12 bytes; the header of a plan alone has 32");
  EXPECT_EQ(error_of_bytes(std::span(bytes).first(40)),
            "plan cannot be read: it has 40 bytes; its header announces 32 + " + whole);
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{1});
  EXPECT_EQ(error_of_bytes(longer), "plan cannot be read: it has " + std::to_string(longer.size()) +
                                        " bytes; its header announces 32 + " + whole);
}

TEST(ReadPlan, NoticesADamagedHeaderAndADamagedContent) {
  const std::vector<std::byte> bytes = serialize(small_plan());
  EXPECT_NE(error_of_bytes(with(bytes, offsetof(PlanHeader, zero), '\1')).find("header is damaged"), std::string::npos);
  EXPECT_NE(error_of_bytes(with(bytes, bytes.size() / 2, '\x5a')).find("the checksum of its content is"),
            std::string::npos);
}

TEST(MappedPlan, ShowsEveryEntryOfTheFile) {
  const Plan plan = random_plan(5, 60);
  const std::string path = file_name("mapped.plan");
  write_plan(plan, path);
  const MappedPlan mapped(path);
  EXPECT_EQ(mapped.name(), plan.name);
  EXPECT_EQ(mapped.epoch(), plan.epoch);
  EXPECT_EQ(mapped.seed(), plan.seed);
  EXPECT_EQ(mapped.rounds(), plan.rounds);
  ASSERT_EQ(mapped.device_count(), static_cast<int64_t>(plan.devices.size()));
  ASSERT_EQ(mapped.stream_count(), static_cast<int64_t>(plan.streams.size()));
  ASSERT_EQ(mapped.register_count(), static_cast<int64_t>(plan.registers.size()));
  ASSERT_EQ(mapped.task_count(), static_cast<int64_t>(plan.tasks.size()));
  for (int64_t i = 0; i < mapped.device_count(); ++i) {
    EXPECT_EQ(mapped.device(DeviceId(i)), plan.devices[static_cast<size_t>(i)]);
  }
  for (int64_t i = 0; i < mapped.stream_count(); ++i) {
    EXPECT_EQ(mapped.stream(StreamId(i)), plan.streams[static_cast<size_t>(i)]);
  }
  for (int64_t i = 0; i < mapped.register_count(); ++i) {
    EXPECT_EQ(mapped.reg(RegisterId(i)), plan.reg(RegisterId(i)));
  }
  for (int64_t i = 0; i < mapped.task_count(); ++i) {
    const PlanTask& task = plan.task(TaskId(i));
    EXPECT_EQ(mapped.task(TaskId(i)), task);
    const PlanTaskHead head = mapped.task_head(TaskId(i));
    EXPECT_EQ(head.name, task.name);
    EXPECT_EQ(head.kind, task.kind);
    EXPECT_EQ(head.kernel, task.kernel);
    EXPECT_EQ(head.device, task.device);
    EXPECT_EQ(head.stream, task.stream);
    EXPECT_EQ(head.firings_per_step, task.firings_per_step);
    EXPECT_EQ(head.predicted_s, task.predicted_s);
  }
  EXPECT_TRUE(mapped.plan() == plan);
  EXPECT_TRUE(read_plan_file(path) == plan);
  std::filesystem::remove(path);
}

TEST(MappedPlan, CanBeReadAnyNumberOfTimes) {
  const std::string path = file_name("often.plan");
  write_plan(small_plan(), path);
  MappedPlan mapped(path);
  const MappedPlan moved = std::move(mapped);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(moved.plan() == small_plan());
  std::filesystem::remove(path);
}

TEST(MappedPlan, NamesTheFileThatCannotBeRead) {
  const std::string absent = file_name("absent.plan");
  EXPECT_EQ(error_of([&] { MappedPlan plan(absent); }),
            "plan file '" + absent + "' cannot be read: No such file or directory");
  EXPECT_EQ(error_of([&] { MappedPlan plan(::testing::TempDir()); }),
            "plan file '" + ::testing::TempDir() + "' cannot be read: it is not a file");
  const std::string damaged = file_name("damaged.plan");
  write_bytes(damaged, {});
  EXPECT_EQ(error_of([&] { MappedPlan plan(damaged); }),
            "plan file '" + damaged + "' cannot be read: it is empty; a plan starts with a header of 32 bytes");
  std::vector<std::byte> bytes = serialize(small_plan());
  write_bytes(damaged, with(bytes, bytes.size() / 2, '\x5a'));
  EXPECT_NE(
      error_of([&] { MappedPlan plan(damaged); }).find("plan file '" + damaged + "' cannot be read: it is damaged"),
      std::string::npos);
  std::filesystem::remove(damaged);
}

// Information, not a promise: machines differ.
TEST(MappedPlan, ReadsAPlanOfAHundredThousandTasks) {
  using Seconds = std::chrono::duration<double>;
  const auto now = std::chrono::steady_clock::now;
  const Plan plan = random_plan(1, 100'000);
  const std::string path = file_name("large.plan");
  const auto start = now();
  write_plan(plan, path);
  const auto written = now();
  const MappedPlan mapped(path);
  const auto opened = now();
  for (int64_t i = 0; i < mapped.task_count(); ++i) ASSERT_FALSE(mapped.task_head(TaskId(i)).name.empty());
  const auto walked = now();
  const Plan read = mapped.plan();
  const auto copied = now();
  EXPECT_TRUE(read == plan);
  std::printf(
      "%zu tasks, %.1f MB: write %.0f ms, map and check %.0f ms, every task's head %.0f ms, copy all %.0f "
      "ms\n",
      plan.tasks.size(), static_cast<double>(std::filesystem::file_size(path)) / 1e6,
      Seconds(written - start).count() * 1e3, Seconds(opened - written).count() * 1e3,
      Seconds(walked - opened).count() * 1e3, Seconds(copied - walked).count() * 1e3);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace troupe
