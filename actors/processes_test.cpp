// Runs over worker processes of this host.

#include <gtest/gtest.h>
#include <signal.h>

#include <optional>
#include <vector>

#include "actors/engine/interpreter.h"
#include "actors/engine/sample_graphs.h"
#include "actors/listener.h"
#include "actors/test_workers.h"
#include "actors/worker_process.h"
#include "runtime/base/clock.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr char kHere[] = "127.0.0.1";

// With TLS, or in the clear.
class Processes : public testing::TestWithParam<bool> {
 protected:
  const std::optional<TlsIdentity>& tls() const { return tls_; }
  WorkerOptions worker(int devices, const std::string& memory = "") const {
    return worker_options(devices, tls_, memory);
  }

 private:
  const std::optional<TlsIdentity> tls_ = GetParam() ? std::optional(make_tls_identity()) : std::nullopt;
};
INSTANTIATE_TEST_SUITE_P(Network, Processes, testing::Bool(),
                         [](const auto& suite) { return std::string(suite.param ? "WithTls" : "InTheClear"); });

TEST_P(Processes, ComputeWhatTheInterpreterDoes) {
  WorkerProcess first(worker(1));
  WorkerProcess second(worker(8));
  const SteadyClock clock;
  Listener listener(kHere, 0, tls());
  first.tell(listener.address());
  second.tell(listener.address());
  Driver driver(listener, {2, kToken, 5}, clock);
  ASSERT_TRUE(driver.gather(20, 20));
  const KernelTable kernels = sample_kernels();
  int graphs = 0;
  for (uint64_t seed = 0; graphs < 6; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    if (!graph.sources.empty() || graph.plan.devices.size() < 2) continue;
    ++graphs;
    const PlanHandle plan = driver.load(std::make_shared<const Plan>(graph.plan), {});
    const Registers registers = driver.registers(plan);
    Interpreter expected(graph.plan, kernels, {}, 0);
    const auto each = [&](auto&& visit) {
      for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
        const PlanRegister& of = graph.plan.registers[r];
        if (!of.is_control() && of.device.valid()) visit(RegisterId(static_cast<int64_t>(r)), of);
      }
    };
    each([&](RegisterId reg, const PlanRegister& of) {
      for (int32_t v = 0; v < of.initial; ++v) expected.set(reg, v, registers.bytes(reg, static_cast<size_t>(v)));
    });
    expected.run(7);
    for (const auto& [step, steps] : {std::pair(0, 4), std::pair(4, 3)}) {
      driver.start(plan, step, steps);
      while (!driver.wait_for(1, 20)) {
      }
    }
    each([&](RegisterId reg, const PlanRegister& of) {
      if (of.arena != ArenaKind::variables || !of.producer.valid()) return;
      EXPECT_TRUE(std::ranges::equal(registers.bytes(reg), expected.newest(reg))) << graph.plan.name << of.name;
    });
    driver.unload(plan);
  }
  driver.dismiss();
  EXPECT_EQ(first.ended(), 0);
  EXPECT_EQ(second.ended(), 0);
}

// Workers that say they are elsewhere, and two that share memory with the driver: everything between them goes over the
// network, what the driver reads and writes too.
TEST_P(Processes, ThatShareNoMemoryComputeTheSame) {
  WorkerProcess first(worker(2));
  WorkerProcess second(worker(1, "elsewhere"));
  WorkerProcess third(worker(1));
  WorkerProcess fourth(worker(8, "far away"));
  const SteadyClock clock;
  Listener listener(kHere, 0, tls());
  Driver driver(listener, {4, kToken, 5}, clock);
  for (WorkerProcess* each : {&first, &second, &third, &fourth}) each->tell(listener.address());
  ASSERT_TRUE(driver.gather(20, 20));
  const KernelTable kernels = sample_kernels();
  Random random(1);
  int graphs = 0;
  for (uint64_t seed = 0; graphs < 25; ++seed) {
    const SampleGraph graph = sample_graph(seed);
    if (!graph.sources.empty() || graph.plan.devices.size() < 2) continue;
    ++graphs;
    const PlanHandle plan = driver.load(std::make_shared<const Plan>(graph.plan), {});
    Interpreter expected(graph.plan, kernels, {}, 0);
    const std::vector<std::byte> zeros(1 << 16);
    std::vector<std::pair<RegisterId, PlanVariable>> variables;  // every register of one slot in an arena that stays
    for (size_t r = 0; r < graph.plan.registers.size(); ++r) {
      const PlanRegister& of = graph.plan.registers[r];
      const RegisterId reg(static_cast<int64_t>(r));
      if (of.is_control() || !of.device.valid()) continue;
      for (int32_t v = 0; v < of.initial; ++v) {
        expected.set(reg, v, std::span(zeros).first(static_cast<size_t>(of.bytes)));
      }
      if (of.arena != ArenaKind::variables || of.initial == 0) continue;
      variables.push_back({reg, {of.name, of.dtype, of.shape, {{reg, Box::whole(of.shape), -1}}}});
      std::vector<std::byte> bytes(static_cast<size_t>(of.bytes));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
      driver.write(plan, variables.back().second, bytes);
      expected.set(reg, 0, bytes);
    }
    expected.run(9);
    for (const auto& [step, steps] : {std::pair(0, 4), std::pair(4, 3), std::pair(7, 2)}) {
      driver.start(plan, step, steps);
      while (!driver.wait_for(1, 20)) {
      }
    }
    for (const auto& [reg, variable] : variables) {
      std::vector<std::byte> bytes(expected.newest(reg).size());
      driver.registers(plan).read(variable, bytes);
      EXPECT_TRUE(std::ranges::equal(bytes, expected.newest(reg))) << graph.plan.name << variable.name;
    }
    driver.unload(plan);
  }
  driver.dismiss();
  for (WorkerProcess* each : {&first, &second, &third, &fourth}) EXPECT_EQ(each->ended(), 0);
}

TEST_P(Processes, AKilledWorkerIsNamedAtOnceWithWhatWaitedForIt) {
  WorkerProcess first(worker(1));
  WorkerOptions ranked = worker(1);
  ranked.rank = 0;  // although it joins after the other
  WorkerProcess second(ranked);
  const SteadyClock clock;
  Listener listener(kHere, 0, tls());
  Driver driver(listener, {2, kToken, 5}, clock);
  first.tell(listener.address());
  EXPECT_FALSE(driver.gather(0.2, 20));
  second.tell(listener.address());
  ASSERT_TRUE(driver.gather(20, 20));
  const PlanHandle plan = driver.load(std::make_shared<const Plan>(ping_pong()), {});
  driver.start(plan, 0, 1'000'000'000);
  EXPECT_FALSE(driver.wait_for(0.2, 20));
  kill(second.process(), SIGKILL);
  Fault fault;
  EXPECT_LT(seconds_until_fault(driver, &fault), 10);
  EXPECT_NE(fault.what.find("process " + std::to_string(second.process()) + ") is gone"), std::string::npos)
      << fault.str();
  EXPECT_NE(fault.what.find("; what waits for it:\n  'b' on cpu:1 of worker 1 ("), std::string::npos) << fault.str();
  EXPECT_TRUE(fault.what.starts_with("worker 0 (")) << fault.str();
  EXPECT_EQ(fault.device, "cpu:0");
  EXPECT_EQ(fault.task, "a") << fault.str();
  EXPECT_THROW(driver.start(plan, 0, 1), FaultError);
  driver.dismiss();
  EXPECT_EQ(first.ended(), 0);
}

TEST(Stalls, AKernelThatHangsIsNamedWithThoseThatWaitForItInOtherProcesses) {
  WorkerProcess first(worker_options(1, std::nullopt));
  WorkerProcess second(worker_options(1, std::nullopt));
  WorkerProcess third(worker_options(1, std::nullopt));
  const SteadyClock clock;
  Listener listener;
  Driver driver(listener, {3, kToken, 5}, clock);
  for (WorkerProcess* each : {&first, &second, &third}) each->tell(listener.address());
  ASSERT_TRUE(driver.gather(20, 20));
  PlanBuilder builder;
  RegisterId handed;
  for (int s = 0; s < 3; ++s) {
    const std::string number = std::to_string(s);
    const StreamId stream = builder.stream(builder.device("cpu:" + number), "s");
    const TaskId task = builder.task(stream, "stage" + number, s == 1 ? "hang" : "mix");
    builder.at(task).line = {"/home/me/model.py", 41 + s};
    if (s > 0) builder.read(task, handed);
    handed = builder.output(task, {.name = "y" + number, .slots = 2});
  }
  driver.start(driver.load(std::make_shared<const Plan>(builder.finish()), {}), 0, 1'000'000'000);
  Fault fault;
  try {
    while (!driver.wait_for(1, 1.5)) {
    }
    ADD_FAILURE() << "the run went on";
  } catch (const FaultError& error) {
    fault = error.fault();
  }
  EXPECT_EQ(fault.task, "stage1") << fault.str();
  EXPECT_EQ(fault.device, "cpu:1");
  for (const std::string text :
       {"; the one that should have moved is 'stage1' on cpu:1 of worker 1 (",
        ") (model.py:42): its kernel has not ended for ", "\n  'stage2' on cpu:2 of worker 2 (",
        "), step 3, waits for version 3 of register 'y1' from 'stage1' on cpu:1 of "}) {
    EXPECT_NE(fault.what.find(text), std::string::npos) << text << " is not in " << fault.str();
  }
  driver.dismiss();
  for (WorkerProcess* each : {&first, &second, &third}) EXPECT_EQ(each->ended(), 0);
}

TEST_P(Processes, AStoppedWorkerIsGivenUpAfterItsHeartbeat) {
  WorkerProcess first(worker(1));
  WorkerProcess second(worker(1));
  {
    const SteadyClock clock;
    Listener listener(kHere, 0, tls());
    Driver driver(listener, {2, kToken, 1}, clock);
    first.tell(listener.address());
    second.tell(listener.address());
    ASSERT_TRUE(driver.gather(20, 20));
    const PlanHandle plan = driver.load(std::make_shared<const Plan>(ping_pong()), {});
    driver.start(plan, 0, 1'000'000'000);
    EXPECT_FALSE(driver.wait_for(0.2, 20));
    kill(second.process(), SIGSTOP);
    Fault fault;
    EXPECT_LT(seconds_until_fault(driver, &fault), 10);
    EXPECT_NE(fault.what.find("has gone silent"), std::string::npos) << fault.str();
    EXPECT_THROW(driver.start(plan, 0, 1), FaultError);
  }
  kill(second.process(), SIGCONT);  // it wakes after its run has ended
  EXPECT_EQ(second.ended(), 3);
}

TEST_P(Processes, AWrongTokenIsRefusedAndTooFewWorkersAreCounted) {
  WorkerOptions options = worker(1);
  options.token = "guess";
  options.host = "node7";
  WorkerProcess stranger(options);
  const SteadyClock clock;
  Listener listener(kHere, 0, tls());
  Driver driver(listener, {1, kToken, 5}, clock);
  stranger.tell(listener.address());
  try {
    driver.gather(2, 1.5);
    ADD_FAILURE() << "it was let in";
  } catch (const FaultError& error) {
    EXPECT_EQ(error.fault().what,
              "0 workers have joined; the run needs 1; not let in: node7: its token is not the run's");
  }
  EXPECT_EQ(stranger.ended(), 3);
  driver.dismiss();  // nobody
}

TEST(Addresses, AWorkerThatFindsNoDriverSaysWhere) {
  const KernelTable kernels = sample_kernels();
  WorkerOptions options;
  options.patience_s = 0.2;
  options.driver = "127.0.0.1:1";
  try {
    serve(kernels, options);
    ADD_FAILURE() << "it found one";
  } catch (const FaultError& error) {
    EXPECT_NE(error.fault().what.find("no driver answers at 127.0.0.1:1"), std::string::npos) << error.fault().str();
    EXPECT_EQ(error.fault().deadline, 0.2);
  }
  for (const char* wrong : {"", "127.0.0.1", "127.0.0.1:", ":41234", "127.0.0.1:port"}) {
    options.driver = wrong;
    EXPECT_THROW(serve(kernels, options), PlanError) << wrong;
  }
}

TEST(Addresses, ADriverListensWhereItIsTold) {
  WorkerOptions options = worker_options(1, std::nullopt);
  options.host = "node7";
  WorkerProcess worker(options);
  const SteadyClock clock;
  Listener listener("127.0.0.2");
  EXPECT_TRUE(listener.address().starts_with("127.0.0.2:"));
  Driver driver(listener, {2, kToken, 5}, clock);
  worker.tell(listener.address());
  try {
    driver.gather(2, 1.5);
    ADD_FAILURE() << "there is one only";
  } catch (const FaultError& error) {
    EXPECT_NE(error.fault().what.find("1 workers have joined: worker 0 (node7, process "), std::string::npos)
        << error.fault().str();
  }
}

// What the error says.
std::string refused(const std::string& address, uint16_t port = 0) {
  try {
    Listener listener(address, port);
  } catch (const FaultError& error) {
    return error.fault().what;
  }
  ADD_FAILURE() << "it listens on " << address;
  return "";
}

TEST(Addresses, ADriverThatCannotListenSaysWhy) {
  std::optional<Listener> first(std::in_place);
  const std::string address = first->address();
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  EXPECT_EQ(refused("localhost", port), "the driver cannot listen on " + address +
                                            ": another process has the port; give another, or none for any that is "
                                            "free");
  first.reset();
  EXPECT_EQ(Listener("localhost", port).address(), address);
  const std::string elsewhere = refused("192.0.2.1");
  EXPECT_TRUE(elsewhere.starts_with(
      "the driver cannot listen on 192.0.2.1: this host does not have the address; it has 127.0.0.1 (lo)"))
      << elsewhere;
  const std::string unknown = refused("no.such.host.invalid");
  EXPECT_TRUE(unknown.starts_with("the driver cannot listen on 'no.such.host.invalid': no IPv4 address by this name ("))
      << unknown;
  EXPECT_THROW(Listener("0.0.0.0"), PlanError);
}

TEST_P(Processes, AWorkerEndsWhenItsDriverIsGone) {
  WorkerProcess only(worker(1));
  {
    const SteadyClock clock;
    Listener listener(kHere, 0, tls());
    Driver driver(listener, {1, kToken, 5}, clock);
    only.tell(listener.address());
    ASSERT_TRUE(driver.gather(20, 20));
  }
  EXPECT_EQ(only.ended(), 3);
}

}  // namespace
}  // namespace troupe
