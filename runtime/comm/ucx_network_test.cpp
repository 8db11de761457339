#include "runtime/comm/ucx_network.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <deque>

#include "runtime/base/clock.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr double kPatience = 20;

// Keeps what arrives, at places of its own making.
class Keeper final : public Network::User {
 public:
  struct Arrival {
    std::string header;
    std::vector<std::byte> bytes;
    bool complete = false;
    bool over = false;
  };

  std::optional<Into> arrived(std::span<const std::byte> header, int64_t bytes) override {
    const std::string text(reinterpret_cast<const char*>(header.data()), header.size());
    if (text == "unwanted") return std::nullopt;
    arrivals.push_back({text, std::vector<std::byte>(static_cast<size_t>(bytes)), false, false});
    Into into;
    into.tag = arrivals.size() - 1;
    into.peer = peer;
    std::span<std::byte> rest =
        place.empty() ? std::span(arrivals.back().bytes) : place.first(arrivals.back().bytes.size());
    while (rest.size() > run) {
      into.pieces.push_back(rest.first(run));
      rest = rest.subspan(run);
    }
    if (!rest.empty()) into.pieces.push_back(rest);
    return into;
  }
  void received(uint64_t tag, bool complete) override {
    arrivals[tag].complete = complete;
    arrivals[tag].over = true;
  }
  void sent(uint64_t tag) override { done.push_back(tag); }
  void failed(int of, const std::string& why) override { failures.emplace_back(of, why); }

  size_t run = size_t{1} << 40;  // in pieces of so many bytes
  std::span<std::byte> place;    // if any, all arrivals begin here
  int peer = 0;                  // that they are from
  std::deque<Arrival> arrivals;
  std::vector<uint64_t> done;
  std::vector<std::pair<int, std::string>> failures;
};

std::span<const std::byte> text(const std::string& of) { return std::as_bytes(std::span(of)); }

class UcxNetworkTest : public testing::Test {
 protected:
  UcxNetworkTest() {
    near_.connect(1, far_->address());
    far_->connect(0, near_.address());
  }
  template <class Done>
  bool until(Done&& done) {
    for (const double began = clock_.now(); clock_.now() - began < kPatience;) {
      near_.progress(here_);
      if (far_ != nullptr) far_->progress(there_);
      if (done()) return true;
    }
    return false;
  }

  SteadyClock clock_;
  UcxNetwork near_;
  std::unique_ptr<UcxNetwork> far_ = std::make_unique<UcxNetwork>();
  Keeper here_;
  Keeper there_;
};

TEST_F(UcxNetworkTest, BytesOfAnySizeArriveInOrderOfTheirHeaders) {
  Random random(1);
  const std::vector<size_t> sizes = {0, 1, 8, 100, 5000, 9000, 100000, 1 << 20, (16 << 20) + 3, 7, 0};
  for (const size_t run : {size_t{1} << 40, size_t{4096}}) {
    there_ = Keeper();
    here_ = Keeper();
    there_.run = run;
    std::vector<std::vector<std::byte>> sent;
    for (size_t size : sizes) {
      sent.emplace_back(size);
      for (std::byte& byte : sent.back()) byte = static_cast<std::byte>(random.next());
    }
    for (size_t i = 0; i < sent.size(); ++i) {
      Pieces pieces;
      if (!sent[i].empty()) pieces.push_back(sent[i]);
      near_.send(1, text("header " + std::to_string(i)), pieces, i);
    }
    const auto all = [&] {
      size_t over = 0;
      for (const auto& arrival : there_.arrivals) over += arrival.over;
      return over == sizes.size() && here_.done.size() == sizes.size();
    };
    ASSERT_TRUE(until(all));
    for (size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_EQ(there_.arrivals[i].header, "header " + std::to_string(i));
      EXPECT_TRUE(there_.arrivals[i].complete);
      EXPECT_TRUE(there_.arrivals[i].bytes == sent[i]) << sizes[i] << " bytes in runs of " << run;
    }
  }
}

TEST_F(UcxNetworkTest, GathersWhatLiesApart) {
  for (const auto& [bytes, stride, count] :
       std::vector<std::array<size_t, 3>>{{8, 24, 100}, {40, 100, 5000}, {4096, 8192, 700}}) {
    there_ = Keeper();
    std::vector<std::byte> from(stride * count);
    Random random(2);
    for (std::byte& byte : from) byte = static_cast<std::byte>(random.next());
    Pieces pieces;
    std::vector<std::byte> expected;
    for (size_t i = 0; i < count; ++i) {
      pieces.push_back(std::span(from).subspan(i * stride, bytes));
      expected.insert(expected.end(), pieces.back().begin(), pieces.back().end());
    }
    near_.send(1, text("rows"), pieces, 5);
    ASSERT_TRUE(until([&] { return !there_.arrivals.empty() && there_.arrivals[0].over; }));
    EXPECT_TRUE(there_.arrivals[0].complete);
    EXPECT_TRUE(there_.arrivals[0].bytes == expected);
  }
}

TEST_F(UcxNetworkTest, OnePieceWithinRegisteredMemoryCarriesItsHandle) {
  constexpr size_t kBytes = 8 << 20;
  std::vector<std::byte> from(kBytes);
  std::vector<std::byte> to(kBytes);
  Random random(3);
  for (std::byte& byte : from) byte = static_cast<std::byte>(random.next());
  near_.register_memory(std::span(from).first(kBytes / 2));
  far_->register_memory(to);
  there_.place = to;
  // How many sends and pulls carried a handle.
  const auto carried = [&](const Pieces& pieces) {
    const int64_t sends = near_.registered_sends();
    const int64_t pulls = far_->registered_pulls();
    near_.send(1, text("bytes"), pieces, 1);
    EXPECT_TRUE(until([&] { return !there_.arrivals.empty() && there_.arrivals.back().over && !here_.done.empty(); }));
    std::vector<std::byte> expected;
    for (const std::span<std::byte> piece : pieces) expected.insert(expected.end(), piece.begin(), piece.end());
    EXPECT_TRUE(there_.arrivals.back().complete);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), to.begin()));
    there_.arrivals.clear();
    here_.done.clear();
    return std::pair(near_.registered_sends() - sends, far_->registered_pulls() - pulls);
  };
  using Carried = std::pair<int64_t, int64_t>;
  const std::span all(from);
  EXPECT_EQ(carried({all.subspan(4096, 1 << 20)}), (Carried{1, 1}));
  EXPECT_EQ(carried({all.subspan(kBytes / 2 - 4096, 1 << 20)}), (Carried{0, 1}));  // beyond the region
  EXPECT_EQ(carried({all.first(1 << 18), all.subspan(1 << 19, 1 << 18)}), (Carried{0, 1}));
  there_.run = 1 << 18;
  EXPECT_EQ(carried({all.first(1 << 20)}), (Carried{1, 0}));
  there_.run = kBytes;
  near_.unregister_memory(std::span(from).first(kBytes / 2));
  EXPECT_EQ(carried({all.first(1 << 20)}), (Carried{0, 1}));
  far_->unregister_memory(to);
  EXPECT_EQ(carried({all.first(1 << 20)}), (Carried{0, 0}));
}

TEST_F(UcxNetworkTest, LetsBytesGoBy) {
  std::vector<std::byte> small(100);
  std::vector<std::byte> large(8 << 20);
  near_.send(1, text("unwanted"), {small}, 1);
  near_.send(1, text("unwanted"), {large}, 2);
  near_.send(1, text("wanted"), {small}, 3);
  ASSERT_TRUE(until([&] { return here_.done.size() == 3 && !there_.arrivals.empty() && there_.arrivals[0].over; }));
  EXPECT_EQ(there_.arrivals.size(), 1u);
}

TEST_F(UcxNetworkTest, TellsOfAPeerThatIsGone) {
  std::vector<std::byte> bytes(64);
  near_.send(1, text("first"), {bytes}, 1);
  ASSERT_TRUE(until([&] { return !there_.arrivals.empty() && !here_.done.empty(); }));
  far_.reset();
  ASSERT_TRUE(until([&] { return !here_.failures.empty(); }));
  EXPECT_EQ(here_.failures[0].first, 1);
  EXPECT_FALSE(here_.failures[0].second.empty());
  near_.send(1, text("late"), {bytes}, 2);  // harmless
  ASSERT_TRUE(until([&] { return here_.done.size() == 2; }));
}

TEST_F(UcxNetworkTest, EndsWhatIsUnderWayToAPeerThatIsDisconnected) {
  std::vector<std::byte> bytes(64 << 20);
  near_.send(1, text("large"), {bytes}, 1);
  ASSERT_TRUE(until([&] { return !there_.arrivals.empty(); }));
  near_.disconnect(1);
  ASSERT_TRUE(until([&] { return here_.done.size() == 1; }));
  far_->disconnect(0);
  ASSERT_TRUE(until([&] { return there_.arrivals[0].over; }));
  near_.disconnect(1);  // harmless
}

TEST_F(UcxNetworkTest, SmallMessagesGoBetweenTheChunksOfALargeOne) {
  constexpr size_t kLarge = 256 << 20;
  std::vector<std::byte> large(kLarge);
  std::vector<std::byte> small(4096);
  near_.send(1, text("first"), {large}, 1);
  near_.send(1, text("second"), {large}, 2);
  for (int i = 0; i < 20; ++i) {
    here_.done.clear();
    near_.send(1, text("small"), {small}, 3);
    ASSERT_TRUE(until([&] {
      return here_.done.size() == 1 && there_.arrivals.size() == static_cast<size_t>(i) + 3 &&
             there_.arrivals.back().over;
    }));
    EXPECT_EQ(here_.done[0], 3u);
  }
  EXPECT_FALSE(there_.arrivals[0].over || there_.arrivals[1].over);
  EXPECT_EQ(there_.arrivals[0].header, "first");
  EXPECT_EQ(there_.arrivals[1].header, "second");
  near_.disconnect(1);
  ASSERT_TRUE(until([&] { return here_.done.size() == 3; }));
  far_->disconnect(0);
  ASSERT_TRUE(until([&] { return there_.arrivals[0].over && there_.arrivals[1].over; }));
  EXPECT_FALSE(there_.arrivals[0].complete || there_.arrivals[1].complete);
}

// Also where the sender knows nothing of it, and what it sends no more is not waited for.
TEST_F(UcxNetworkTest, EndsWhatHasComeInPartFromAPeerThatIsDisconnected) {
  std::vector<std::byte> bytes(64 << 20);
  near_.send(1, text("large"), {bytes}, 1);
  ASSERT_TRUE(until([&] { return !there_.arrivals.empty(); }));
  far_->disconnect(0);
  ASSERT_TRUE(until([&] { return there_.arrivals[0].over; }));
  EXPECT_FALSE(there_.arrivals[0].complete);
  near_.disconnect(1);
  ASSERT_TRUE(until([&] { return here_.done.size() == 1; }));
}

TEST_F(UcxNetworkTest, NothingIsKeptOfAPeerThatIsNotConnected) {
  std::vector<std::byte> bytes(8 << 20);
  there_.peer = 5;
  near_.send(1, text("large"), {bytes}, 1);
  ASSERT_TRUE(until([&] { return !there_.arrivals.empty() && there_.arrivals[0].over && here_.done.size() == 1; }));
  EXPECT_FALSE(there_.arrivals[0].complete);
}

TEST_F(UcxNetworkTest, WakesASleeper) {
  near_.send(1, text("connect"), {}, 1);
  ASSERT_TRUE(until([&] { return !there_.arrivals.empty() && !here_.done.empty(); }));
  const auto sleeps = [&] {  // once all is there that is on its way
    for (const double began = clock_.now(); clock_.now() - began < kPatience; far_->progress(there_)) {
      if (!far_->arm()) continue;
      pollfd entry{far_->file(), POLLIN, 0};
      if (poll(&entry, 1, 0) == 0) return true;
    }
    return false;
  };
  ASSERT_TRUE(sleeps());
  while (!near_.arm()) near_.progress(here_);
  near_.send(1, text("wake"), {}, 2);
  EXPECT_FALSE(near_.arm());  // its end is to be told
  near_.progress(here_);
  pollfd entry{far_->file(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, static_cast<int>(kPatience * 1000)), 1);
  ASSERT_TRUE(until([&] { return there_.arrivals.size() == 2; }));
  std::vector<std::byte> large(64 << 20);
  for (uint64_t tag : {3, 4}) near_.send(1, text("large"), {large}, tag);
  ASSERT_TRUE(until([&] { return there_.arrivals.size() == 4; }));
  ASSERT_TRUE(sleeps());
  far_->disconnect(0);
  EXPECT_FALSE(far_->arm());  // that they end is to be told
}

}  // namespace
}  // namespace troupe
