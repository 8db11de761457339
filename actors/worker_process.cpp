#include "actors/worker_process.h"

#include <unistd.h>

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <charconv>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "actors/control_network.h"
#include "actors/engine/thread_runner.h"
#include "actors/engine/worker.h"
#include "actors/network_config.h"
#include "runtime/comm/host.h"
#include "runtime/comm/ucx_network.h"

namespace troupe {
namespace {

using ChangedAtom = caf::atom_constant<caf::atom("changed")>;
using BeatAtom = caf::atom_constant<caf::atom("beat")>;

constexpr auto kRetry = std::chrono::milliseconds(50);
constexpr auto kAttemptPatience = std::chrono::seconds(5);  // a driver that is stopped accepts and says nothing

struct Address {
  std::string host;
  uint16_t port = 0;
};

Address parse(const std::string& text) {
  const size_t colon = text.rfind(':');
  Address address;
  if (colon != std::string::npos) {
    address.host = text.substr(0, colon);
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), address.port);
  }
  if (address.port == 0 || address.host.empty()) {
    throw PlanError("'" + text + "' is no address of a driver; it is HOST:PORT, as in 127.0.0.1:41234");
  }
  return address;
}

[[noreturn]] void fail(const std::string& what, double waited = 0) {
  Fault fault;
  fault.what = what;
  fault.deadline = waited;
  throw FaultError(std::move(fault));
}

// Tries until the driver listens.
caf::actor connect(caf::actor_system& system, ControlNetwork& network, const WorkerOptions& options) {
  const Address address = parse(options.driver);
  const SteadyClock clock;
  const double began = clock.now();
  caf::scoped_actor self(system);
  std::string why;
  do {
    caf::actor driver;
    self->request(network.actor(), kAttemptPatience, caf::connect_atom::value, address.host, address.port)
        .receive(
            [&](const caf::node_id&, const caf::strong_actor_ptr& actor, const std::set<std::string>&) {
              if (actor != nullptr) driver = caf::actor_cast<caf::actor>(actor);
            },
            [&](const caf::error& error) {
              const bool hung_up = !options.tls && error == caf::sec::disconnect_during_handshake;
              why = hung_up ? "it closes the connection; is it one with TLS, whose certificate and key a worker needs?"
                            : system.render(error);
            });
    if (driver != nullptr) return driver;
    for (const auto& [peer, failure] : network.turned_away(options.patience_s)) {
      why = failure.why;
      if (failure.refused) fail("the driver at " + options.driver + " cannot be joined with TLS: " + why);
    }
    std::this_thread::sleep_for(kRetry);
  } while (clock.now() - began < options.patience_s);
  fail("no driver answers at " + options.driver + " (" + why + ")", options.patience_s);
}

// What the actors of a worker share. It outlives them.
struct Process {
  Worker worker;
  Join join;
  std::unique_ptr<ThreadRunner> threads;
  caf::actor beat;
  bool lost = false;
};

// Says that the worker lives, also while the worker itself waits for a kernel.
caf::behavior beat_actor(caf::event_based_actor* self, caf::actor from, caf::actor driver, Worker* worker,
                         std::chrono::microseconds every) {
  self->send(self, BeatAtom::value);
  return {[=](BeatAtom) {
    const Said said = worker->beat();
    caf::send_as(from, driver, said.number, std::get<Beat>(said.reply));
    self->delayed_send(self, every, BeatAtom::value);
  }};
}

// Carries the driver's commands to the worker. Ends when the run is over, for whatever reason.
caf::behavior worker_actor(caf::event_based_actor* self, caf::actor driver, Process* process) {
  Worker* worker = &process->worker;
  self->monitor(driver);
  const auto end = [=] {
    process->threads.reset();  // by the thread that may have paused the engine
    self->quit();
  };
  self->set_down_handler([=](const caf::down_msg&) {
    process->lost = true;
    end();
  });
  self->set_default_handler(caf::drop);
  const auto say = [=](const std::vector<Said>& replies) {
    for (const Said& said : replies) {
      std::visit([&](const auto& each) { self->send(driver, said.number, each); }, said.reply);
    }
  };
  const auto me = caf::actor_cast<caf::actor_addr>(self);
  worker->set_changed([me] {
    if (const auto there = caf::actor_cast<caf::actor>(me)) caf::anon_send(there, ChangedAtom::value);
  });
  self->send(driver, uint64_t{0}, process->join);
  return handlers(static_cast<const Command*>(nullptr),
                  [=](const auto* type) {
                    using T = Pointed<decltype(type)>;
                    return [=](uint64_t number, uint64_t request, const T& command) {
                      if (self->current_sender() != caf::actor_cast<caf::strong_actor_ptr>(driver)) return;
                      say(worker->on({number, request, command}));
                      if (worker->engine() != nullptr && process->threads == nullptr) {  // welcomed
                        process->threads = std::make_unique<ThreadRunner>(*worker->engine());
                        const auto every = std::chrono::microseconds(static_cast<int64_t>(worker->beat_s() * 1e6));
                        process->beat = self->system().spawn(beat_actor, caf::actor(self), driver, worker, every);
                      }
                      if (worker->over()) end();
                    };
                  })
      .or_else([=](ChangedAtom) { say(worker->on_change()); });
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown host";
}

}  // namespace

void serve(const KernelTable& kernels, const WorkerOptions& options) {
  const SteadyClock clock;
  const Address driver = parse(options.driver);
  const auto network = [driver] { return std::make_unique<UcxNetwork>(network_devices(driver.host, driver.port)); };
  Process process{Worker(kernels, clock, network), {}, nullptr, {}};
  process.join.token = options.token;
  process.join.host = options.host.empty() ? host_name() : options.host;
  process.join.process = getpid();
  process.join.rank = options.rank;
  process.join.memory = options.memory.empty() ? host_identity() : options.memory;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int executors = options.executors > 0 ? options.executors : std::max(1, std::min(cores, options.devices));
  process.join.share = {options.devices, executors};

  NetworkConfig config;
  caf::actor_system system(config);
  ControlNetwork control(system, options.tls);
  caf::actor worker = system.spawn<caf::detached>(worker_actor, connect(system, control, options), &process);
  {
    caf::scoped_actor self(system);
    self->wait_for(worker);
    if (process.beat != nullptr) {
      caf::anon_send_exit(process.beat, caf::exit_reason::user_shutdown);
      self->wait_for(process.beat);
    }
  }
  process.beat = nullptr;
  worker = nullptr;
  const std::string& refused = process.worker.refused();
  if (!refused.empty()) fail("the driver at " + options.driver + " refuses this worker: " + refused);
  if (!process.lost && !process.worker.over()) fail("the worker has ended unasked");
  if (process.lost) fail("the driver at " + options.driver + " is gone: its connection was closed");
}

}  // namespace troupe
