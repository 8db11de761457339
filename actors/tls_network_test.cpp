// Who is not let into a run with TLS; processes_test.cpp has those that are.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "actors/listener.h"
#include "actors/test_workers.h"
#include "runtime/base/clock.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

constexpr char kHere[] = "127.0.0.1";

// A connection of somebody who is no worker.
class Stranger {
 public:
  explicit Stranger(const std::string& address) {
    sockaddr_in there = {};
    there.sin_family = AF_INET;
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&there), sizeof(there)), 0);
  }
  ~Stranger() { close(socket_); }
  Stranger(const Stranger&) = delete;
  void say(const std::string& text) const { send(socket_, text.data(), text.size(), MSG_NOSIGNAL); }
  bool hung_up() const {
    char byte = 0;
    return recv(socket_, &byte, 1, MSG_DONTWAIT) == 0;
  }
  // Until the other end closes it.
  void wait() const {
    char bytes[100];
    while (recv(socket_, bytes, sizeof(bytes), 0) > 0) {
    }
  }

 private:
  int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

// All the while others connect that speak another protocol, say nothing or hang up, and a worker that has another
// certificate and one that has none try to join.
TEST(TlsNetwork, StrangersDisturbNobody) {
  const TlsIdentity identity = make_tls_identity();
  WorkerProcess first(worker_options(1, identity));
  WorkerProcess second(worker_options(1, identity));
  WorkerProcess other(worker_options(1, make_tls_identity()));
  WorkerProcess plain(worker_options(1, std::nullopt));
  const SteadyClock clock;
  Listener listener(kHere, 0, identity);
  Driver driver(listener, {2, kToken, 5}, clock);
  for (WorkerProcess* each : {&other, &plain, &first}) each->tell(listener.address());
  std::atomic<int> turned_away = 0;
  std::jthread strangers([&](const std::stop_token& over) {
    const Stranger silent(listener.address());
    while (!over.stop_requested()) {
      const Stranger hangs_up(listener.address());
      const Stranger stranger(listener.address());
      stranger.say("GET / HTTP/1.0\r\n\r\n");
      stranger.wait();
      ++turned_away;
    }
  });
  EXPECT_FALSE(driver.gather(0.3, 20));
  second.tell(listener.address());
  while (!driver.gather(1, 20)) {
  }
  const PlanHandle plan = driver.load(std::make_shared<const Plan>(ping_pong()), {});
  driver.start(plan, 0, 1'000'000'000);
  const int before = turned_away;
  while (turned_away < before + 50) EXPECT_FALSE(driver.wait_for(0.05, 20));
  driver.stop();
  strangers.request_stop();
  strangers.join();
  driver.dismiss();
  EXPECT_EQ(first.ended(), 0);
  EXPECT_EQ(second.ended(), 0);
  EXPECT_EQ(other.ended(), 3);
}

struct Outcome {
  std::string of_worker;
  std::string of_driver;
};

// What the errors say when a worker and a driver do not have the same.
Outcome join(const std::optional<TlsIdentity>& of_driver, const std::optional<TlsIdentity>& of_worker) {
  Outcome outcome;
  const SteadyClock clock;
  Listener listener(kHere, 0, of_driver);
  std::atomic<bool> over = false;
  std::thread driving([&] {
    Driver driver(listener, {1, kToken, 5}, clock);
    try {
      while (!driver.gather(0.05, over ? 0 : 60)) {
      }
      ADD_FAILURE() << "the worker was let in";
      driver.dismiss();
    } catch (const FaultError& error) {
      outcome.of_driver = error.fault().what;
    }
  });
  WorkerOptions options = worker_options(1, of_worker);
  options.driver = listener.address();
  options.patience_s = 1;
  try {
    serve(sample_kernels(), options);
  } catch (const FaultError& error) {
    outcome.of_worker = error.fault().what;
  }
  over = true;
  driving.join();
  return outcome;
}

TEST(TlsNetwork, BothEndsSayWhatIsWrong) {
  const TlsIdentity one = make_tls_identity();
  const TlsIdentity other = make_tls_identity();
  const std::string missing = "0 workers have joined; the run needs 1";

  const Outcome different = join(one, other);
  EXPECT_TRUE(
      different.of_worker.ends_with(" cannot be joined with TLS: it shows another certificate than this end has"))
      << different.of_worker;
  EXPECT_TRUE(different.of_driver.starts_with(
      missing + "; not let in: 127.0.0.1: it does not accept the certificate of this end ("))
      << different.of_driver;

  const Outcome plain_worker = join(one, std::nullopt);
  EXPECT_TRUE(plain_worker.of_worker.ends_with(
      "(it closes the connection; is it one with TLS, whose certificate and key a worker needs?)"))
      << plain_worker.of_worker;
  EXPECT_EQ(plain_worker.of_driver, missing + "; not let in: 127.0.0.1: it does not speak TLS");

  const Outcome plain_driver = join(std::nullopt, one);
  EXPECT_TRUE(plain_driver.of_worker.ends_with(" cannot be joined with TLS: it does not speak TLS"))
      << plain_driver.of_worker;
  EXPECT_EQ(plain_driver.of_driver, missing);
}

TEST(TlsNetwork, WhoSaysNothingIsHungUpOnAndNamed) {
  const SteadyClock clock;
  Listener listener(kHere, 0, make_tls_identity());
  Driver driver(listener, {1, kToken, 5}, clock);
  const Stranger silent(listener.address());
  while (!silent.hung_up()) ASSERT_FALSE(driver.gather(0.05, 60));
  std::string error;
  // The network's thread tells of it soon after.
  for (const double until = clock.now() + 20; clock.now() < until && error.find("not let in") == std::string::npos;) {
    error = fault_of([&] { driver.gather(0.05, 0); });
  }
  EXPECT_EQ(error,
            "0 workers have joined; the run needs 1; not let in: 127.0.0.1: it has not shown a certificate within 5 s");
}

// A host that is gone without a word is noticed by the system in the end, at either end of a connection.
TEST(TlsNetwork, ConnectionsAreKeptAliveWithAndWithoutTls) {
  for (const auto& tls : {std::optional<TlsIdentity>(), std::optional(make_tls_identity())}) {
    const SteadyClock clock;
    Listener listener(kHere, 0, tls);
    const auto port = htons(static_cast<uint16_t>(std::stoi(listener.address().substr(sizeof(kHere)))));
    Driver driver(listener, {1, kToken, 5}, clock);
    std::thread worker([&, options = worker_options(1, tls)]() mutable {
      options.driver = listener.address();
      serve(sample_kernels(), options);
    });
    while (!driver.gather(1, 20)) {
    }
    int servers = 0, clients = 0;
    for (int fd = 3; fd < 1024; ++fd) {
      sockaddr_in here = {}, there = {};
      socklen_t size = sizeof(here);
      if (getsockname(fd, reinterpret_cast<sockaddr*>(&here), &size) != 0 || here.sin_family != AF_INET) continue;
      size = sizeof(there);
      if (getpeername(fd, reinterpret_cast<sockaddr*>(&there), &size) != 0) continue;  // it listens
      int alive = 0;
      size = sizeof(alive);
      ASSERT_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &size), 0);
      servers += here.sin_port == port && alive != 0;
      clients += there.sin_port == port && alive != 0;
    }
    EXPECT_EQ(servers, 1) << tls.has_value();
    EXPECT_EQ(clients, 1) << tls.has_value();
    driver.dismiss();
    worker.join();
  }
}

TEST(TlsNetwork, AnIdentityThatCannotBeUsedIsTheUsersMistake) {
  const TlsIdentity expired = make_tls_identity(-100, -10);
  EXPECT_THROW(Listener(kHere, 0, expired), PlanError);
  WorkerOptions options = worker_options(1, expired);
  options.driver = "127.0.0.1:1";
  EXPECT_THROW(serve(sample_kernels(), options), PlanError);
}

}  // namespace
}  // namespace troupe
