#include "actors/engine/exchange.h"

#include <gtest/gtest.h>

#include <cstring>

#include "actors/engine/exchange_hosts.h"
#include "actors/engine/interpreter.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"

namespace troupe {
namespace {

// Reads the first half of each input.
std::vector<ByteRuns> first_half(const Attrs&, size_t, const TensorView& input) {
  return {{0, input.bytes() / 2, 1, 0}};
}
// Every second element.
std::vector<ByteRuns> every_second(const Attrs&, size_t, const TensorView& input) {
  return {{0, 8, input.elements() / 2, 16}};
}

// Fills with the step.
void count(const KernelArgs& args, Stream&) {
  for (const TensorView& output : args.outputs) {
    for (int64_t i = 0; i < output.elements(); ++i) output.as<int64_t>()[i] = 100 * args.firing.step + i + 1;
  }
}
void nothing(const KernelArgs&, Stream&) {}

KernelTable kernels() {
  KernelTable table = sample_kernels();
  table.add("count", DeviceKind::cpu, count);
  table.add("use", DeviceKind::cpu, nothing);
  table.add("half", DeviceKind::cpu, nothing, first_half);
  table.add("second", DeviceKind::cpu, nothing, every_second);
  return table;
}

// Every register that stays as it was made, against the interpreter's.
void expect_equal(Hosts& hosts, const std::vector<WorkerShare>& shares, const Plan& plan, const Interpreter& expected,
                  uint64_t seed) {
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const RegisterId id(static_cast<int64_t>(r));
    const PlanRegister& reg = plan.registers[r];
    if (reg.is_control() || !reg.device.valid() || !reg.producer.valid()) continue;
    const PlanTask& task = plan.task(reg.producer);
    if (plan.streams[task.stream.index()].runs_ahead) continue;                                    // further on
    if (task.shards > 0 && task.shards * task.pieces_per_shard < task.firings_per_step) continue;  // ended empty
    const auto process = static_cast<size_t>(process_of_device(plan.devices[reg.device.index()].name, shares));
    const std::span<std::byte> found = hosts.engine(process).registers(PlanHandle(0)).bytes(id);
    EXPECT_TRUE(std::ranges::equal(found, expected.newest(id))) << "seed " << seed << ", " << reg.name;
  }
}

TEST(Exchange, PlansComputeWhatTheInterpreterDoesWhateverTheDelays) {
  const KernelTable table = kernels();
  const std::vector<WorkerShare> shares = {{1, 1}, {1, 1}, {8, 2}};
  int graphs = 0;
  int64_t crossed = 0;
  for (uint64_t seed = 0; graphs < 30; ++seed) {
    const SampleGraph graph = sample_graph(seed, {.reuse_bytes = false});
    if (graph.plan.devices.size() < 2) continue;
    ++graphs;
    Hosts hosts(table, {seed, static_cast<int>(seed % 3) * 8, shares});
    hosts.load(graph.plan, graph.sources);
    const auto run = [&](int64_t until) {
      hosts.go(until);
      hosts.run([&] { return hosts.reached(); });
      ASSERT_TRUE(hosts.reached()) << "seed " << seed << ": " << hosts.fault();
    };
    ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
    run(3);
    hosts.go(1000);  // ended where it is, in the middle of a step
    hosts.run([left = 25]() mutable { return --left < 0; });
    hosts.hold();
    ASSERT_TRUE(hosts.fence()) << hosts.failure();
    for (size_t h = 0; h < shares.size(); ++h) hosts.engine(h).stop();
    hosts.resume();
    hosts.run();
    Interpreter expected(graph.plan, table, graph.sources, 4);
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& reg = graph.plan.registers[r];
      if (reg.is_control() || !reg.device.valid()) continue;
      const auto process = static_cast<size_t>(process_of_device(graph.plan.devices[reg.device.index()].name, shares));
      const RegisterId id(static_cast<int64_t>(r));
      for (int32_t v = 0; v < reg.initial; ++v) {
        expected.set(id, v, hosts.bytes(process, id, static_cast<size_t>(v)));
      }
    }
    expected.run(5);
    ASSERT_TRUE(hosts.restart(4)) << hosts.failure();
    run(6);
    run(9);
    expect_equal(hosts, shares, graph.plan, expected, seed);
    EXPECT_EQ(hosts.fault(), "");
    for (size_t h = 0; h < 3; ++h) crossed += hosts.networks().bytes(h, (h + 1) % 3);
  }
  EXPECT_GT(crossed, 5'000);
}

// "made" of eight elements on the first device, with whoever reads it on others.
struct Made {
  Made() {
    for (const char* name : {"cpu:0", "cpu:1", "cpu:2"}) streams.push_back(builder.stream(builder.device(name), "s"));
    producer = builder.task(streams[0], "produce", "count");
    made = builder.output(producer, {.name = "made", .elements = 8});
  }
  TaskId reader(size_t device, const std::string& kernel) {
    const TaskId task = builder.task(streams[device], "read" + std::to_string(count++), kernel);
    builder.read(task, made);
    return task;
  }
  PlanBuilder builder;
  std::vector<StreamId> streams;
  TaskId producer;
  RegisterId made;
  int count = 0;
};
const std::vector<WorkerShare> kThree = {{1, 1}, {1, 1}, {1, 1}};

std::vector<int64_t> elements(std::span<const std::byte> bytes) {
  std::vector<int64_t> values(bytes.size() / sizeof(int64_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
using Elements = std::vector<int64_t>;

TEST(Exchange, OnlyBytesThatAreReadCrossAndEqualReadsOfAProcessOnce) {
  Made graph;
  for (const char* kernel : {"half", "half", "second"}) graph.reader(1, kernel);
  graph.reader(2, "half");
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 1, .delay = 5, .shares = kThree});
  hosts.load(graph.builder.finish());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  for (size_t h : {1, 2}) {
    for (std::byte& byte : hosts.bytes(h, graph.made)) byte = std::byte{0};
  }
  hosts.go(1);
  hosts.run([&] { return hosts.reached(); });
  ASSERT_TRUE(hosts.reached()) << hosts.fault();
  EXPECT_EQ(hosts.networks().bytes(0, 1), 32 + 32);
  EXPECT_EQ(hosts.networks().bytes(0, 2), 32);
  EXPECT_EQ(elements(hosts.bytes(1, graph.made)), (Elements{1, 2, 3, 4, 5, 0, 7, 0}));
  EXPECT_EQ(elements(hosts.bytes(2, graph.made)), (Elements{1, 2, 3, 4, 0, 0, 0, 0}));
}

// A run of one step in which the bytes from the first process to the second have this fate.
std::string fault_of(Fate fate, bool checksums, Elements* found = nullptr) {
  Made graph;
  graph.reader(1, "use");
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 3, .delay = 5, .shares = kThree, .checksums = checksums});
  hosts.networks().fate = [&](size_t, size_t, std::span<const std::byte>) { return fate; };
  hosts.load(graph.builder.finish());
  EXPECT_TRUE(hosts.restart(0)) << hosts.failure();
  hosts.go(1);
  hosts.run();
  EXPECT_NE(hosts.reached(), !hosts.fault().empty());
  if (found != nullptr) *found = elements(hosts.bytes(1, graph.made));
  return hosts.fault();
}

TEST(Exchange, BytesThatAreDamagedOrLostAreNamed) {
  const Elements right = {1, 2, 3, 4, 5, 6, 7, 8};
  Elements found;
  EXPECT_EQ(fault_of(Fate::arrive, true, &found), "");
  EXPECT_EQ(found, right);
  EXPECT_EQ(fault_of(Fate::damage, true),
            "worker 0 register 'made' arrived with bytes that do not have their checksum; waited for worker 0");
  EXPECT_EQ(fault_of(Fate::damage, false, &found), "");  // who does not look does not see it
  EXPECT_NE(found, right);
  EXPECT_EQ(fault_of(Fate::lose, false), "worker 0 register 'made' did not arrive whole; waited for worker 0");
  EXPECT_NE(fault_of(Fate::repeat, false), "");
}

// A graph whose first device reads a constant of the second before its first firing, and what that makes.
TEST(Exchange, APeerThatFailsIsNamedInEveryPhase) {
  const KernelTable table = kernels();
  for (const std::string phase : {"before it begins", "at the restart", "in a step", "at a fence"}) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      PlanBuilder builder;
      const StreamId here = builder.stream(builder.device("cpu:0"), "s");
      const DeviceId other = builder.device("cpu:1");
      const StreamId there = builder.stream(other, "s");
      const TaskId a = builder.task(here, "a", "mix");
      const TaskId b = builder.task(there, "b", "mix");
      builder.read(a, builder.constant(other, {.name = "constant", .elements = 1000, .initial = 1}));
      builder.read(b, builder.output(a, {.name = "there", .slots = 2}));
      builder.read(a, builder.output(b, {.name = "back", .slots = 2, .initial = 1}));
      Hosts hosts(table, {.seed = seed, .delay = 6, .shares = {{1, 1}, {1, 1}}});
      hosts.load(builder.finish());
      if (phase == "before it begins") hosts.kill(1);
      if (phase == "at the restart") {
        hosts.networks().fate = [&](size_t from, size_t, std::span<const std::byte>) {
          return from == 1 ? Fate::lose : Fate::arrive;
        };
      }
      const bool began = hosts.restart(0);
      if (phase == "before it begins" || phase == "at the restart") {
        EXPECT_NE(hosts.failure() + hosts.fault(), "") << phase;
        EXPECT_NE((hosts.failure() + hosts.fault()).find("worker 1"), std::string::npos) << phase << hosts.failure();
        EXPECT_NE(hosts.failure(), "waits for ever") << phase;
        continue;
      }
      ASSERT_TRUE(began) << hosts.failure();
      hosts.go(1'000'000);
      hosts.run([left = 100]() mutable { return --left < 0; });
      EXPECT_EQ(hosts.fault(), "");
      if (phase == "at a fence") hosts.hold();
      hosts.kill(1);
      if (phase == "at a fence") {
        hosts.fence();
        EXPECT_NE(hosts.failure(), "waits for ever");
        hosts.resume();
      }
      hosts.run();
      EXPECT_TRUE(hosts.fault().starts_with("worker 1 ")) << phase << hosts.fault();
      EXPECT_NE(hosts.fault().find("waited for worker 1"), std::string::npos) << phase << hosts.fault();
    }
  }
}

TEST(Exchange, ALinkThatIsSilentIsTold) {
  Made graph;
  graph.reader(1, "use");
  const KernelTable table = kernels();
  Hosts hosts(table, {.seed = 3, .delay = 0, .shares = kThree});
  hosts.load(graph.builder.finish());
  ASSERT_TRUE(hosts.restart(0)) << hosts.failure();
  const auto pass = [&](double seconds) {
    for (const double until = hosts.clock().now() + seconds; hosts.clock().now() < until;) {
      hosts.clock().advance_to(hosts.clock().now() + 0.25);
      hosts.run();
    }
  };
  pass(3 * Hosts::kPatience);
  EXPECT_EQ(hosts.fault(), "");  // beats
  hosts.networks().fail(1, true);
  pass(Hosts::kPatience - 1);
  EXPECT_EQ(hosts.fault(), "");
  pass(2);
  EXPECT_NE(hosts.fault().find("worker 1 says nothing over the network; waited for worker 1"), std::string::npos)
      << hosts.fault();
}

// Hears what the other process says to a network that the test has.
class Listening final : public Network::User {
 public:
  std::optional<Into> arrived(std::span<const std::byte> header, int64_t) override {
    const std::optional<WireHeader> read = read_header(header);
    if (read && std::holds_alternative<WireRefused>(read->body)) refused.push_back(std::get<WireRefused>(read->body));
    return std::nullopt;
  }
  void received(uint64_t, bool) override {}
  void sent(uint64_t) override {}
  void failed(int, const std::string&) override {}
  std::vector<WireRefused> refused;
};

// "use" of this process reads "made" of eight elements, which a stranger's process sends.
struct Strange {
  Strange() {
    made = builder.output(builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "count"),
                          {.name = "made", .elements = 8, .slots = 2});
    const StreamId here = builder.stream(builder.device("cpu:0"), "s");
    reader = builder.task(here, "a", "use");
    builder.read(reader, made);
    hosts.load(builder.finish());
    hosts.stranger().connect(0, "queue 0");
    say(WireFence{1});
    EXPECT_TRUE(hosts.restart(0)) << hosts.failure();
  }
  WireNote ready(int64_t version) const {
    Message message;
    message.version = version;
    message.epoch = hosts.epoch();
    message.task = reader.value;
    message.port = 0;
    message.reg = made.value;
    message.slot = static_cast<int32_t>(version % 2);
    return {message, 1};
  }
  void say(const WireNote& note, size_t size, uint64_t key = Hosts::kKey, int from = 1) {
    say(WireNotes{{note}, 0}, size, key, from);
  }
  void say(decltype(WireHeader::body) body, size_t size = 0, uint64_t key = Hosts::kKey, int from = 1) {
    std::vector<std::byte> header;
    write_header({key, from, 0, std::move(body)}, header);
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
  std::vector<std::byte> sent = std::vector<std::byte>(64, std::byte{7});
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

}  // namespace
}  // namespace troupe
