#include "runtime/comm/chunks.h"

#include <gtest/gtest.h>

#include <cstring>

namespace troupe {
namespace {

using Over = std::vector<std::pair<uint64_t, bool>>;
using Tags = std::vector<uint64_t>;

std::vector<std::byte> counted(size_t bytes) {
  std::vector<std::byte> made(bytes);
  for (size_t i = 0; i < bytes; ++i) made[i] = static_cast<std::byte>(i * 7 + i / 256);
  return made;
}

void copy(const Pieces& from, const Pieces& to) {
  std::vector<std::byte> bytes;
  for (const std::span<std::byte> piece : from) bytes.insert(bytes.end(), piece.begin(), piece.end());
  const std::byte* next = bytes.data();
  for (const std::span<std::byte> piece : to) {
    std::memcpy(piece.data(), next, piece.size());
    next += piece.size();
  }
}

TEST(Chunks, BytesComeToTheirPlacesWhateverThePieces) {
  constexpr size_t kBytes = 3 * kChunkBytes + 5;
  std::vector<std::byte> from = counted(kBytes);
  std::vector<std::byte> to(kBytes);
  Pieces pieces;
  for (size_t at = 0; at < kBytes; at += 700'000) {
    pieces.push_back(std::span(from).subspan(at, std::min<size_t>(700'000, kBytes - at)));
  }
  OutgoingChunks out;
  IncomingChunks in;
  out.add(4, pieces, 10);
  in.begin(4, {{to}, 20, 1}, kBytes);
  std::vector<int64_t> sizes;
  while (const auto chunk = out.next()) {
    sizes.push_back(size_of(chunk->pieces));
    EXPECT_TRUE(out.over().empty() && in.idle());
    const auto place = in.next(chunk->header, sizes.back());
    ASSERT_TRUE(place);
    copy(chunk->pieces, *place);
    in.received(4, sizes.back(), true);
    out.sent(4, true);
  }
  EXPECT_EQ(sizes, (std::vector<int64_t>{kChunkBytes, kChunkBytes, kChunkBytes, 5}));
  EXPECT_EQ(out.over(), Tags{10});
  EXPECT_TRUE(out.over().empty());
  EXPECT_EQ(in.over(), (Over{{20, true}}));
  EXPECT_TRUE(in.idle());
  EXPECT_TRUE(to == from);
}

TEST(Chunks, FewAreUnderWayToAPeer) {
  std::vector<std::byte> bytes(8 * kChunkBytes);
  OutgoingChunks out;
  out.add(1, {std::span(bytes).first(2 * kChunkBytes)}, 10);
  out.add(2, {bytes}, 20);
  // The messages of the chunks that may go now.
  const auto go = [&] {
    Tags messages;
    while (const auto chunk = out.next()) messages.push_back(chunk->header.message);
    return messages;
  };
  EXPECT_EQ(go(), (Tags{1, 1}));
  out.sent(1, true);
  EXPECT_TRUE(out.over().empty());
  EXPECT_EQ(go(), Tags{2});
  out.sent(1, true);
  EXPECT_EQ(out.over(), Tags{10});
  EXPECT_EQ(go(), Tags{2});
  out.sent(2, true);
  EXPECT_EQ(out.next()->header.offset, 2 * kChunkBytes);
}

TEST(Chunks, NoMoreGoesWhenOneDidNotOrThePeerIsGone) {
  std::vector<std::byte> bytes(8 * kChunkBytes);
  OutgoingChunks out;
  out.add(1, {bytes}, 10);
  out.add(2, {bytes}, 20);
  while (out.next()) {
  }
  out.sent(1, false);
  EXPECT_EQ(out.next()->header.message, 2u);
  EXPECT_TRUE(out.over().empty());
  out.sent(1, true);
  EXPECT_EQ(out.over(), Tags{10});
  out.add(3, {bytes}, 30);
  out.end();
  EXPECT_FALSE(out.next());
  EXPECT_EQ(out.over(), Tags{30});  // none of it is under way
  out.sent(2, false);
  EXPECT_EQ(out.over(), Tags{20});
}

class IncomingChunksTest : public testing::Test {
 protected:
  // A message of ten bytes from peer 1, its first four under way.
  IncomingChunksTest() {
    in.begin(7, {{to}, 20, 1}, 10);
    EXPECT_EQ(in.next({7, 0}, 4)->front().data(), to.data());
  }
  // It ends as soon as what is under way has.
  void expect_ended() {
    EXPECT_TRUE(in.idle());
    in.received(7, 4, true);
    EXPECT_EQ(in.over(), (Over{{20, false}}));
    EXPECT_FALSE(in.next({7, 4}, 6));
    EXPECT_TRUE(in.idle());
  }
  std::vector<std::byte> to = std::vector<std::byte>(10);
  IncomingChunks in;
};

TEST_F(IncomingChunksTest, ChunksThatDoNotFollowEndTheMessage) {
  EXPECT_FALSE(in.next({7, 5}, 1));
  expect_ended();
}

TEST_F(IncomingChunksTest, AChunkTwiceEndsTheMessage) {
  EXPECT_FALSE(in.next({7, 0}, 4));
  expect_ended();
}

TEST_F(IncomingChunksTest, MoreBytesThanWereSaidEndTheMessage) {
  EXPECT_FALSE(in.next({7, 4}, 7));
  expect_ended();
}

TEST_F(IncomingChunksTest, AnEmptyChunkEndsTheMessage) {
  EXPECT_FALSE(in.next({7, 4}, 0));
  expect_ended();
}

TEST_F(IncomingChunksTest, OneThatDidNotComeEndsTheMessage) {
  ASSERT_TRUE(in.next({7, 4}, 6));
  in.received(7, 6, false);
  expect_ended();
}

TEST_F(IncomingChunksTest, APeerThatIsGoneEndsItsMessages) {
  std::vector<std::byte> other(10);
  in.begin(8, {{other}, 30, 2}, 10);
  in.begin(9, {{other}, 40, 1}, 10);
  in.end(1);
  EXPECT_EQ(in.over(), (Over{{40, false}}));
  expect_ended();
  ASSERT_TRUE(in.next({8, 0}, 10));
  in.received(8, 10, true);
  EXPECT_EQ(in.over(), (Over{{30, true}}));
}

TEST_F(IncomingChunksTest, ANumberThatIsTakenOrUnknownIsNotTouched) {
  std::vector<std::byte> other(10);
  in.begin(7, {{other}, 30, 2}, 10);
  EXPECT_EQ(in.over(), (Over{{30, false}}));
  EXPECT_FALSE(in.next({6, 0}, 4));
  EXPECT_EQ(in.next({7, 4}, 6)->front().data(), &to[4]);
  in.received(7, 6, true);
  in.received(7, 4, true);
  EXPECT_EQ(in.over(), (Over{{20, true}}));
}

TEST_F(IncomingChunksTest, PiecesThatDoNotFitEndTheMessage) {
  in.begin(8, {{to}, 30, 1}, 11);
  EXPECT_EQ(in.over(), (Over{{30, false}}));
  EXPECT_FALSE(in.next({8, 0}, 10));
}

}  // namespace
}  // namespace troupe
