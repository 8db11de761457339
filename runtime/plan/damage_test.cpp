// Damaged plans: whatever happened to the bytes, the answer is a clear error and never a crash.

#include <gtest/gtest.h>

#include <cstring>

#include "runtime/base/random.h"
#include "runtime/plan/format.h"
#include "runtime/plan/read.h"
#include "runtime/plan/sample_plans.h"
#include "runtime/plan/validate.h"
#include "runtime/plan/write.h"

namespace troupe {
namespace {

enum class Outcome { unchanged, refused, flawed, another };

Outcome outcome_of(std::span<const std::byte> bytes, const Plan& original) {
  try {
    const Plan plan = read_plan(bytes);
    if (flaw_in(plan)) return Outcome::flawed;
    return plan == original ? Outcome::unchanged : Outcome::another;
  } catch (const FaultError& error) {
    EXPECT_EQ(std::string(error.what()).rfind("plan cannot be read: ", 0), 0u) << error.what();
    return Outcome::refused;
  }
}

TEST(DamagedPlan, IsRefusedWhereverItIsCut) {
  const Plan plan = small_plan();
  const std::vector<std::byte> bytes = serialize(plan);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    ASSERT_EQ(outcome_of(cut, plan), Outcome::refused) << size;
  }
  ASSERT_EQ(outcome_of(bytes, plan), Outcome::unchanged);
}

TEST(DamagedPlan, IsRefusedWhicheverBitFlips) {
  const Plan plan = small_plan();
  std::vector<std::byte> bytes = serialize(plan);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_EQ(outcome_of(bytes, plan), Outcome::refused) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(DamagedPlan, IsRefusedWhicheverBytesChange) {
  const Plan plan = random_plan(3, 20);
  const std::vector<std::byte> good = serialize(plan);
  Random random(2);
  for (int i = 0; i < 5'000; ++i) {
    std::vector<std::byte> bytes = good;
    for (int64_t n = random.between(1, 20); n > 0; --n) {
      bytes[static_cast<size_t>(random.below(static_cast<int64_t>(bytes.size())))] ^=
          static_cast<std::byte>(random.between(1, 255));
    }
    if (bytes == good) continue;  // two changes of one byte may cancel out
    ASSERT_EQ(outcome_of(bytes, plan), Outcome::refused) << i;
  }
}

// Damage that the checksum does not see, as a faulty or hostile writer would do it: Cap'n Proto's pointers,
// lengths and our numbers go wrong in every way, and reading and validation stand alone against it.
TEST(DamagedPlan, IsSurvivedWhenTheChecksumFits) {
  const Plan plan = small_plan();
  const std::vector<std::byte> good = serialize(plan);
  const size_t head = sizeof(PlanHeader);
  Random random(3);
  int counts[4] = {};
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes = good;
    for (int64_t n = random.between(1, 4); n > 0; --n) {
      const size_t at = head + static_cast<size_t>(random.below(static_cast<int64_t>(bytes.size() - head)));
      bytes[at] =
          random.chance(0.5) ? bytes[at] ^ std::byte{1} << random.below(8) : static_cast<std::byte>(random.below(256));
    }
    if (random.chance(0.1)) bytes.resize(head + 8 * static_cast<size_t>(random.below(100)));
    const PlanHeader header = plan_header(std::span(bytes).subspan(head));
    std::memcpy(bytes.data(), &header, head);
    ++counts[static_cast<int>(outcome_of(bytes, plan))];
  }
  for (int count : counts) EXPECT_GT(count, 100);  // every outcome has been seen
}

}  // namespace
}  // namespace troupe
