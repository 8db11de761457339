// What an exchange makes of what another process says: a process that is in error, or that is no member of the run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "actors/engine/exchange_hosts.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr std::byte kSent{7};
int64_t unsent = 0;  // bytes that tasks have read and that nobody had sent

void use(const KernelArgs& args, Stream&) {
  const auto* bytes = args.inputs[0].as<std::byte>();
  unsent += args.inputs[0].bytes() - std::count(bytes, bytes + args.inputs[0].bytes(), kSent);
}

KernelTable kernels() {
  KernelTable table = sample_kernels();
  table.add("use", DeviceKind::cpu, use);
  return table;
}

std::vector<int64_t> elements(std::span<const std::byte> bytes) {
  std::vector<int64_t> values(bytes.size() / sizeof(int64_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
using Elements = std::vector<int64_t>;

// Hears what the other process says to a network that the test has.
class Listening final : public Network::User {
 public:
  std::optional<Into> arrived(std::span<const std::byte> header, int64_t) override {
    const std::optional<WireHeader> read = read_header(header);
    if (!read) return std::nullopt;
    if (const auto* refusal = std::get_if<WireRefused>(&read->body)) refused.push_back(*refusal);
    if (const auto* fetch = std::get_if<WireFetch>(&read->body)) asked.push_back(fetch->place);
    if (const auto* store = std::get_if<WireStore>(&read->body)) asked.push_back(store->place);
    return std::nullopt;
  }
  void received(uint64_t, bool) override {}
  void sent(uint64_t) override {}
  void failed(int, const std::string&) override {}
  std::vector<WireRefused> refused;
  std::vector<WirePlace> asked;  // what is fetched and stored
};

// "use" of this process reads "made" of eight elements, which a stranger's process sends, as often as `readers`.
struct Strange {
  explicit Strange(int readers = 1) {
    made = builder.output(builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "count"),
                          {.name = "made", .elements = 8, .slots = 2});
    const StreamId here = builder.stream(builder.device("cpu:0"), "s");
    for (int r = 0; r < readers; ++r) {
      reader = builder.task(here, "a" + std::to_string(r), "use");
      builder.read(reader, made);
    }
    hosts.load(builder.finish());
    hosts.stranger().connect(0, "queue 0");
    say(WireFence{1});
    EXPECT_TRUE(hosts.restart(0)) << hosts.failure();
  }
  // To the last reader, or one before it.
  WireNote ready(int64_t version, int before = 0) const {
    Message message;
    message.version = version;
    message.epoch = hosts.epoch();
    message.task = reader.value - before;
    message.port = 0;
    message.reg = made.value;
    message.slot = static_cast<int32_t>(version % 2);
    return {message, 1};
  }
  void say(const WireNote& note, size_t size = 0, uint64_t key = Hosts::kKey, int from = 1, uint64_t number = 0) {
    say(WireNotes{{note}, 0}, size, key, from, number);
  }
  void say(decltype(WireHeader::body) body, size_t size = 0, uint64_t key = Hosts::kKey, int from = 1,
           uint64_t number = 0) {
    std::vector<std::byte> header;
    if (number == 0) number = key == Hosts::kKey && from == 1 ? ++said : 1;
    write_header({key, from, 0, number, std::move(body)}, header);
    say_bytes(header, size);
  }
  void say_bytes(std::span<const std::byte> header, size_t size) {
    Pieces pieces;
    if (size > 0) pieces.emplace_back(sent.data(), size);
    hosts.stranger().send(0, header, std::move(pieces), 1);
  }
  // The fault, when there is one after all that was said.
  std::string fault() {
    hosts.run();
    hosts.stranger().progress(listening);
    return hosts.fault();
  }

  KernelTable table = kernels();
  Hosts hosts{table, {.seed = 1, .delay = 0, .shares = {{1, 1}, {1, 1}}, .stranger = 1}};
  PlanBuilder builder;
  RegisterId made;
  TaskId reader;
  Listening listening;
  uint64_t said = 0;
  std::vector<std::byte> sent = std::vector<std::byte>(64, kSent);
};

TEST(Exchange, WhatIsNotForThisRunIsDropped) {
  Strange other;
  other.hosts.go(1);
  other.say_bytes(other.sent, 0);
  other.say_bytes(std::span(other.sent).first(13), 64);
  other.say(other.ready(0), 64, Hosts::kKey + 1);
  for (int from : {0, -1, 2, 3, INT32_MAX, INT32_MIN}) other.say(other.ready(0), 64, Hosts::kKey, from);
  WireNote wrong = other.ready(0);
  wrong.message.plan = 3;
  other.say(wrong, 64);
  wrong = other.ready(0);
  wrong.message.epoch -= 1;
  other.say(wrong, 64);
  other.say(WireFetched{77}, 64);
  other.say(WireStored{77});
  other.say(WireRefused{77, "no"});
  EXPECT_EQ(other.fault(), "");
  EXPECT_FALSE(other.hosts.reached());
  EXPECT_EQ(elements(other.hosts.bytes(0, other.made)), Elements(8, 0));
  other.say(other.ready(0), 64);
  EXPECT_EQ(other.fault(), "");
  EXPECT_TRUE(other.hosts.reached());
  EXPECT_EQ(other.hosts.bytes(0, other.made)[63], std::byte{7});
}

TEST(Exchange, WhatComesTwiceIsDroppedAndWhatIsMissingNamed) {
  Strange other;
  other.hosts.go(2);
  other.say(other.ready(0), 64);
  other.say(other.ready(0), 64, Hosts::kKey, 1, other.said);
  other.say(WireFence{9}, 0, Hosts::kKey, 1, 1);
  EXPECT_EQ(other.fault(), "");
  other.say(other.ready(1), 64, Hosts::kKey, 1, other.said + 2);
  EXPECT_EQ(other.fault(),
            "worker 1 is out of touch: its message 3 is missing, a later one has come; waited for worker 1");
  EXPECT_FALSE(other.hosts.reached());
}

TEST(Exchange, ANoteThatCannotBeIsAFault) {
  const auto expect = [](const std::string& what, const std::function<void(Message&, int32_t & executor)>& change,
                         size_t size = 64) {
    Strange other;
    WireNote note = other.ready(0);
    change(note.message, note.executor);
    other.say(note, size);
    EXPECT_NE(other.fault().find(what), std::string::npos) << what << ": " << other.fault();
  };
  const std::string unread = "worker 1 sent bytes that nobody here reads";
  for (int32_t no : {-1, 0, 2, INT32_MAX, INT32_MIN}) {
    expect("worker 1 speaks for an executor that is not its own", [&](Message&, int32_t& by) { by = no; });
  }
  for (int32_t no : {-1, 0, 2, INT32_MAX, INT32_MIN}) {  // 0: the stranger's own
    expect(unread, [&](Message& m, int32_t&) { m.task = no; });
    expect("worker 1 said something of a task that is not here", [&](Message& m, int32_t&) { m.task = no; }, 0);
  }
  for (int32_t no : {-1, 1, INT32_MAX, INT32_MIN}) {
    expect(unread, [&](Message& m, int32_t&) { m.reg = no; });
    expect("worker 1 said something", [&](Message& m, int32_t&) { m.reg = no; }, 0);
    expect("no such port", [&](Message& m, int32_t&) { m.port = no; });
  }
  for (int32_t no : {-1, 2, INT32_MAX, INT32_MIN}) expect(unread, [&](Message& m, int32_t&) { m.slot = no; });
  expect("does not lie in that slot", [](Message& m, int32_t&) { m.slot = 1; });
  for (int64_t no : {int64_t{2}, INT64_MAX - 1, INT64_MIN}) {
    expect("refused", [&](Message& m, int32_t&) { m.version = no; });
  }
  expect(unread, [](Message&, int32_t&) {}, 56);
  expect(unread, [](Message& m, int32_t&) { m.kind = MessageKind::freed; });
  expect("no such port", [](Message& m, int32_t&) { m.kind = MessageKind::freed; }, 0);
}

TEST(Exchange, BytesBelongToOneOfSeveralNotes) {
  for (const uint8_t of : {0, 1, 2}) {
    Strange other;
    other.hosts.go(1);
    WireNote stale = other.ready(0);
    stale.message.epoch -= 1;
    WireNotes notes{{stale, stale, stale}, of};
    notes.notes[of] = other.ready(0);
    other.say(notes, 64);
    EXPECT_EQ(other.fault(), "");
    EXPECT_TRUE(other.hosts.reached());
    EXPECT_EQ(other.hosts.bytes(0, other.made)[63], std::byte{7});
  }
}

TEST(Exchange, MoreMessagesThanCreditsAreAFault) {
  Strange other;
  other.hosts.hold();  // nobody takes them
  for (int64_t version = 0; version < 100; ++version) other.say(other.ready(version), 64);
  other.hosts.run();
  EXPECT_NE(other.fault().find("worker 1 sent more messages than its credits allow"), std::string::npos)
      << other.fault();
  other.hosts.resume();
}

TEST(Exchange, WhatIsNotThereIsRefused) {
  Strange other;
  uint64_t requests = 0;
  const auto place = [&](int32_t reg, int32_t slot, int32_t reader, int64_t file = -1, int64_t bytes = 0) {
    return WirePlace{++requests, 0, reg, slot, reader, file, bytes};
  };
  for (int32_t no : {7, INT32_MAX}) other.say(WireFetch{place(no, 0, -1)});
  for (int32_t no : {-1, 2, INT32_MAX, INT32_MIN}) other.say(WireFetch{place(other.made.value, no, -1)});
  for (int32_t no : {0, 1, 9, INT32_MAX}) other.say(WireFetch{place(other.made.value, 0, no)});  // it reads nothing
  for (int64_t no : {int64_t{-1}, int64_t{-7}, INT64_MAX, INT64_MIN}) other.say(WireFetch{place(-1, 0, -1, no, 8)});
  for (int64_t no : {int64_t{-1}, INT64_MAX, INT64_MIN}) other.say(WireFetch{place(-1, 0, -1, 0, no)});
  other.say(WireStore{place(other.made.value, 0, -1)}, 56);
  other.say(WireStore{place(9, 0, -1)}, 64);
  EXPECT_EQ(other.fault(), "");
  EXPECT_EQ(other.listening.refused.size(), requests);
  EXPECT_EQ(elements(other.hosts.bytes(0, other.made)), Elements(8, 0));
}

TEST(Exchange, BytesMustHaveComeBeforeTheirVersionIsReady) {
  Strange other(2);
  other.hosts.go(2);
  other.say(other.ready(0, 1), 64);
  other.say(other.ready(0));  // the other reader of the same bytes
  EXPECT_EQ(other.fault(), "");
  other.say(other.ready(1, 1));
  const std::string fault = other.fault();
  EXPECT_NE(fault.find("worker 1 said that version 1 of register 'made' is ready, and has not sent its bytes"),
            std::string::npos)
      << fault;
  EXPECT_FALSE(other.hosts.reached());
}

TEST(Exchange, BytesThatAreNotTheNextVersionsAreNotWritten) {
  for (int64_t version : {int64_t{0}, int64_t{2}}) {
    Strange other;
    other.hosts.go(1);
    other.say(other.ready(0), 64);
    EXPECT_EQ(other.fault(), "");
    std::fill(other.sent.begin(), other.sent.end(), std::byte{9});
    other.say(other.ready(version), 64);
    EXPECT_NE(other.fault().find("worker 1 sent the bytes of version " + std::to_string(version) +
                                 " of register 'made'; refused: version 1 is the next one"),
              std::string::npos)
        << other.fault();
    EXPECT_EQ(other.hosts.bytes(0, other.made)[0], std::byte{7});
  }
}

// What the other one says to a fetch, or to a store, of 64 bytes; why that failed, and what became of the bytes.
std::pair<std::string, std::byte> answered(bool store, const std::function<void(Strange&, uint64_t request)>& answer) {
  Strange other;
  std::vector<std::byte> bytes(64, std::byte{1});
  ExchangeJob job;
  WirePlace place;
  place.reg = other.made.value;
  if (store) {
    other.hosts.exchange(0).store(job, 1, place, {bytes});
  } else {
    other.hosts.exchange(0).fetch(job, 1, place, {bytes});
  }
  EXPECT_EQ(other.fault(), "");
  EXPECT_EQ(other.listening.asked.size(), 1u);
  answer(other, other.listening.asked.front().request);
  EXPECT_EQ(other.fault(), "");
  EXPECT_TRUE(other.hosts.exchange(0).done(job));
  other.hosts.exchange(0).abandon(job);
  return {job.failure() ? job.failure()->what : "", bytes[0]};
}

TEST(Exchange, ARequestIsDoneByTheAnswerToItAlone) {
  const auto fetched = [](Strange& other, uint64_t request) { other.say(WireFetched{request}, 64); };
  const auto stored = [](Strange& other, uint64_t request) { other.say(WireStored{request}); };
  EXPECT_EQ(answered(false, fetched), std::pair(std::string(), std::byte{7}));
  EXPECT_EQ(answered(true, stored), std::pair(std::string(), std::byte{1}));
  EXPECT_EQ(answered(false, stored).first,
            "register 'made' of worker 1: instead of the bytes it said that it has kept them");
  EXPECT_EQ(
      answered(true, fetched),
      std::pair(std::string("register 'made' of worker 1: instead of keeping the bytes it sent some"), std::byte{1}));
}

TEST(Exchange, ABadAddressIsNamedWithWhoseItIs) {
  QueueNetworks networks(1, 0);
  const SteadyClock clock;
  ExchangeOptions options;
  options.self = 2;
  options.names = {"worker 0", "worker 1", "the driver"};
  options.far = {true, true, false};
  Exchange exchange(networks.make(), options, clock);
  const auto refused = [&](const std::vector<std::string>& addresses) -> std::string {
    try {
      exchange.connect(addresses);
    } catch (const FaultError& error) {
      EXPECT_EQ(error.fault().peer, "worker 1");
      return error.fault().what;
    }
    return "";
  };
  EXPECT_EQ(refused({"queue 0", "nowhere", ""}),
            "the address of worker 1 cannot be used: no way to another process: 'nowhere' is no address");
  EXPECT_EQ(refused({"queue 0", "", ""}), "the address of worker 1 cannot be used: none was told");
  EXPECT_EQ(refused({"queue 0"}), "the address of worker 1 cannot be used: none was told");
  EXPECT_EQ(refused({"queue 0", "queue 0", ""}), "");
}

// Whatever another process says, in whatever order: what tasks here see are versions whose bytes have come, one after
// another, and all else is a fault of that process or nothing (the address sanitizer looks at the rest).
TEST(Exchange, SurvivesWhateverIsSaid) {
  Random random(7);
  const auto number = [&]() -> int64_t {
    const int64_t odd[] = {-1, 0, 1, 2, 3, 64, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    return odd[random.below(std::ssize(odd))];
  };
  int faults = 0;
  uint64_t fired = 0;
  unsent = 0;
  for (int round = 0; round < 100; ++round) {
    Strange other(2);
    other.hosts.go(1000);
    int64_t next = 0;
    ExchangeJob job;
    WirePlace asked;
    asked.reg = other.made.value;
    std::vector<std::byte> bytes(64);
    other.hosts.exchange(0).fetch(job, 1, asked, {bytes});
    for (int said = 0; said < 20 && other.fault().empty(); ++said) {
      const auto request = static_cast<uint64_t>(random.below(30));
      const WirePlace place{request,
                            static_cast<uint16_t>(number()),
                            static_cast<int32_t>(number()),
                            static_cast<int32_t>(number()),
                            static_cast<int32_t>(number()),
                            number(),
                            number()};
      const size_t size = random.chance(0.5) ? 64 : static_cast<size_t>(random.below(65));
      WireNote wrong = other.ready(random.chance(0.5) ? next : number(), static_cast<int>(random.below(2)));
      if (random.chance(0.1)) wrong.message.slot = static_cast<int32_t>(number());
      if (random.chance(0.1)) wrong.message.port = static_cast<int32_t>(number());
      if (random.chance(0.1)) wrong.message.reg = static_cast<int32_t>(number());
      if (random.chance(0.1)) wrong.message.kind = MessageKind::freed;
      switch (random.below(8)) {
        case 0:
          other.say(wrong, random.chance(0.5) ? size : 0);
          break;
        case 1:
          other.say(WireFetch{place});
          break;
        case 2:
          other.say(WireStore{place}, size);
          break;
        case 3:
          other.say(WireFetched{request}, size);
          break;
        case 4:
          other.say(WireStored{request}, random.chance(0.5) ? size : 0);
          break;
        case 5:
          other.say(WireRefused{request, "no"});
          break;
        default:  // what is right
          other.say(other.ready(next), 64);
          other.say(other.ready(next, 1));
          ++next;
      }
    }
    faults += !other.fault().empty();
    fired += other.hosts.engine(0).firings();
    other.hosts.exchange(0).abandon(job);
  }
  EXPECT_EQ(unsent, 0);
  EXPECT_GT(faults, 20);
  EXPECT_GT(fired, 100u);
}

}  // namespace
}  // namespace troupe
