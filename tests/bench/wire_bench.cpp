// How long small messages take over the network, here the loopback device, alone and while a large message goes the same
// way. Both ends run in one thread, and what is measured is the processor time of that thread, so that other work on the
// machine changes little.
//
//   wire_bench [MIB]        of the large message, 256 by default
//
// A line for a header alone and one for a header with 4 KiB: one way alone, and behind the large message.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/ucx_network.h"

namespace troupe {
namespace {

constexpr int kAlone = 20'000;  // small messages
constexpr int kRounds = 5;      // large ones
constexpr size_t kSmall = 4096;
constexpr uint64_t kLargeTag = 1;

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Counts what arrives; a header of one byte announces a large message.
class End final : public Network::User {
 public:
  explicit End(size_t bytes) : small_(kSmall), large_(bytes) {}
  std::optional<Into> arrived(std::span<const std::byte> header, int64_t bytes) override {
    const bool is_large = header.size() == 1;
    if (bytes == 0) return ++small, std::nullopt;
    return Into{{std::span(is_large ? large_ : small_).first(static_cast<size_t>(bytes))}, is_large ? kLargeTag : 0};
  }
  void received(uint64_t tag, bool complete) override {
    if (!complete) std::abort();
    ++(tag == kLargeTag ? large : small);
  }
  void sent(uint64_t tag) override { under_way -= tag == kLargeTag; }
  void failed(int, const std::string&) override { std::abort(); }

  void send(size_t bytes) {
    const bool is_large = bytes > kSmall;
    under_way += is_large;
    const std::byte header[2]{};
    Pieces pieces;
    if (bytes > 0) pieces.push_back(std::span(is_large ? large_ : small_).first(bytes));
    network.send(0, std::span(header).first(is_large ? 1 : 2), std::move(pieces), is_large ? kLargeTag : 0);
  }

  UcxNetwork network;
  int small = 0;  // that have come
  int large = 0;
  int under_way = 0;  // large ones that go

 private:
  std::vector<std::byte> small_;
  std::vector<std::byte> large_;
};

struct Ends {
  explicit Ends(size_t large) : from(large), to(large) {
    from.network.connect(0, to.network.address());
    to.network.connect(0, from.network.address());
  }
  double one_way(size_t bytes) {
    const double began = processor_seconds();
    const int before = to.small;
    from.send(bytes);
    while (to.small == before) progress();
    return processor_seconds() - began;
  }
  void progress() {
    from.network.progress(from);
    to.network.progress(to);
  }
  End from;
  End to;
};

std::string words(std::vector<double> took) {
  std::sort(took.begin(), took.end());
  char text[99];
  std::snprintf(text, sizeof(text), "%.1f us (longest of %zu: %.1f us)", took[took.size() / 2] * 1e6, took.size(),
                took.back() * 1e6);
  return text;
}

void measure(Ends& ends, size_t large, size_t small) {
  std::vector<double> alone;
  for (int i = 0; i < kAlone; ++i) alone.push_back(ends.one_way(small));
  std::vector<double> behind;
  double large_s = 0;
  for (int round = 0; round <= kRounds; ++round) {
    if (round == 1) behind.clear(), large_s = 0;  // the first touches the memory
    const double began = processor_seconds();
    ends.from.send(large);
    while (ends.from.under_way > 0) behind.push_back(ends.one_way(small));
    while (ends.to.large <= round) ends.progress();
    large_s += processor_seconds() - began;
  }
  ends.to.large = 0;
  std::printf("%zu B alone: %s; behind a large message: %s; that: %.1f ms\n", small, words(alone).c_str(),
              words(behind).c_str(), large_s / kRounds * 1e3);
}

}  // namespace
}  // namespace troupe

int main(int argc, char** argv) {
  const size_t large = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 256) << 20;
  try {
    troupe::Ends ends(large);
    for (const size_t small : {size_t{0}, troupe::kSmall}) troupe::measure(ends, large, small);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "wire_bench: %s\n", error.what());
    return 1;
  }
}
