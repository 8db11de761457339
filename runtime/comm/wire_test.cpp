#include "runtime/comm/wire.h"

#include <gtest/gtest.h>

#include "runtime/base/random.h"

namespace troupe {
namespace {

std::vector<WireHeader> samples() {
  const WirePlace place{7, 3, 41, 2, 1000, -1, 1 << 20};
  const WirePlace blob{8, 0, -1, 0, -1, 33, int64_t{1} << 40};
  const Message message{int64_t{1} << 50, 9, 12, 3, 41, 1, 65535, MessageKind::freed};
  std::vector<WireHeader> all;
  all.push_back({1, 0, 0, 6, WireNotes{{{message, 6}}, 0}});
  all.push_back({1, 0, 0, 6, WireNotes{std::vector(kMostNotes, WireNote{message, 6}), 9}});
  all.push_back({~uint64_t{0}, 5, 77, 6, WireFetch{place}});
  all.push_back({2, -1, 0, 6, WireFetch{blob}});
  all.push_back({3, 1, 1, 6, WireFetched{99}});
  all.push_back({4, 2, 1, 6, WireStore{place}});
  all.push_back({5, 3, 0, 6, WireStored{~uint64_t{0}}});
  all.push_back({6, 3, 0, 6, WireRefused{4, "plan 3 is not loaded"}});
  all.push_back({7, 3, 0, 6, WireRefused{4, ""}});
  all.push_back({8, 3, 0, 6, WireBeat{1 << 20}});
  all.push_back({9, 3, 0, 6, WireFence{12}});
  return all;
}

std::vector<std::byte> written(const WireHeader& header) {
  std::vector<std::byte> bytes;
  write_header(header, bytes);
  return bytes;
}

TEST(Wire, GivesBackWhatWasWritten) {
  for (const WireHeader& header : samples()) {
    const std::vector<std::byte> bytes = written(header);
    const auto* notes = std::get_if<WireNotes>(&header.body);
    EXPECT_LE(bytes.size(), 104 + 40 * (notes == nullptr ? 1 : notes->notes.size())) << header.body.index();
    EXPECT_LE(bytes.size(), kMostHeaderBytes);
    // From an odd address, as it may lie in a packet.
    std::vector<std::byte> shifted(bytes.size() + 1);
    std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
    const auto back = read_header(std::span(shifted).subspan(1));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, header);
  }
}

TEST(Wire, CutsALongRefusal) {
  const auto back = read_header(written({1, 0, 0, 1, WireRefused{2, std::string(100000, 'x')}}));
  ASSERT_TRUE(back.has_value());
  const std::string& why = std::get<WireRefused>(back->body).why;
  EXPECT_FALSE(why.empty());
  EXPECT_EQ(why, std::string(why.size(), 'x'));
}

TEST(Wire, RefusesWhatIsNoHeader) {
  EXPECT_FALSE(read_header({}).has_value());
  EXPECT_FALSE(read_header(std::vector<std::byte>(7)).has_value());
  EXPECT_FALSE(read_header(std::vector<std::byte>(kMostHeaderBytes + 8)).has_value());
  EXPECT_FALSE(read_header(std::vector<std::byte>(64, std::byte{0xff})).has_value());
  WireHeader unknown{1, 0, 0, 1, WireNotes{{WireNote{}}, 0}};
  std::get<WireNotes>(unknown.body).notes[0].message.kind = static_cast<MessageKind>(9);
  EXPECT_FALSE(read_header(written(unknown)).has_value());
  for (const size_t count : {size_t{0}, kMostNotes + 1}) {
    EXPECT_FALSE(read_header(written({1, 0, 0, 1, WireNotes{std::vector<WireNote>(count), 0}})).has_value()) << count;
  }
  EXPECT_FALSE(read_header(written({1, 0, 0, 1, WireNotes{std::vector<WireNote>(2), 2}})).has_value());
}

// Damaged, cut and invented bytes give a header or none; what is read stays inside them (the address sanitizer looks).
TEST(Wire, SurvivesAnyBytes) {
  Random random(1);
  int64_t read = 0;
  for (const WireHeader& header : samples()) {
    for (int round = 0; round < 2000; ++round) {
      std::vector<std::byte> bytes = written(header);
      for (int64_t damage = random.between(1, 4); damage > 0; --damage) {
        bytes[static_cast<size_t>(random.below(static_cast<int64_t>(bytes.size())))] ^=
            static_cast<std::byte>(random.between(1, 255));
      }
      if (random.chance(0.3))
        bytes.resize(static_cast<size_t>(random.below(static_cast<int64_t>(bytes.size()) / 8 + 1) * 8));
      bytes.shrink_to_fit();
      read += read_header(bytes).has_value();
    }
  }
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(static_cast<size_t>(random.below(32) * 8));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.chance(0.5) ? 0 : random.below(256));
    read += read_header(bytes).has_value();
  }
  EXPECT_GT(read, 1000);  // so not all was refused at the first look
}

TEST(Wire, ChecksumDoesNotDependOnRuns) {
  Random random(2);
  std::vector<std::byte> bytes(1000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  WireChecksum whole;
  whole.add(bytes);
  for (int round = 0; round < 100; ++round) {
    WireChecksum parts;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min(bytes.size() - at, static_cast<size_t>(random.between(1, 40)));
      parts.add(std::span(bytes).subspan(at, size));
      at += size;
    }
    EXPECT_EQ(parts.value(), whole.value());
  }
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::byte> damaged = bytes;
    damaged[static_cast<size_t>(random.below(1000))] ^= static_cast<std::byte>(random.between(1, 255));
    WireChecksum of;
    of.add(damaged);
    EXPECT_NE(of.value(), whole.value());
  }
  WireChecksum shorter;
  shorter.add(std::span(bytes).first(999));
  EXPECT_NE(shorter.value(), whole.value());
  EXPECT_NE(WireChecksum().value(), 0u);
}

}  // namespace
}  // namespace troupe
