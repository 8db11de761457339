#include "actors/listener.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "actors/control_network.h"
#include "actors/network_config.h"
#include "runtime/comm/host.h"
#include "runtime/comm/ucx_network.h"

namespace troupe {
namespace {

constexpr double kHandshakePatience = 5;  // seconds until somebody who connects has shown a certificate

// What has come in from workers, for the driver's thread.
struct Event {
  caf::actor_addr from;
  std::optional<Said> said;  // none: the connection is closed
};
class Inbox {
 public:
  void push(Event event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    came_.notify_one();
  }
  std::deque<Event> take(double at_most_s) {
    std::unique_lock lock(mutex_);
    came_.wait_for(lock, std::chrono::duration<double>(at_most_s), [&] { return !events_.empty(); });
    return std::exchange(events_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Event> events_;
};

caf::behavior listener_actor(caf::event_based_actor* self, Inbox* inbox) {
  self->set_down_handler([=](const caf::down_msg& down) { inbox->push({down.source, std::nullopt}); });
  self->set_default_handler(caf::drop);  // of a process that is no worker
  return handlers(static_cast<const Reply*>(nullptr), [=](const auto* type) {
    using T = Pointed<decltype(type)>;
    return [=](uint64_t number, const T& reply) {
      if (self->current_sender() == nullptr) return;
      if constexpr (std::is_same_v<T, Join>) self->monitor(caf::actor_cast<caf::actor>(self->current_sender()));
      inbox->push({caf::actor_cast<caf::actor_addr>(self->current_sender()), Said{number, reply}});
    };
  });
}

[[noreturn]] void fail(const std::string& address, uint16_t port, const std::string& why) {
  Fault fault;
  fault.what = "the driver cannot listen on " + address + (port == 0 ? "" : ":" + std::to_string(port)) + ": " + why;
  throw FaultError(std::move(fault));
}

std::string text_of(const in_addr& address) {
  char text[INET_ADDRSTRLEN] = {};
  return inet_ntop(AF_INET, &address, text, sizeof(text));
}

in_addr resolve(const std::string& name) {
  addrinfo hints = {};
  hints.ai_family = AF_INET;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0) {
    fail("'" + name + "'", 0, std::string("no IPv4 address by this name (") + gai_strerror(error) + ")");
  }
  const in_addr address = reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr;
  freeaddrinfo(found);
  if (address.s_addr == INADDR_ANY) {
    throw PlanError("the driver cannot listen on " + name + ": workers join one address; give the one they can reach");
  }
  return address;
}

// "127.0.0.1 (lo), 10.0.0.7 (eth0)"
std::string addresses_of_this_host() {
  std::string all;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return "none that can be listed";
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    if (!all.empty()) all += ", ";
    all += text_of(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr) + " (" + each->ifa_name + ")";
  }
  freeifaddrs(first);
  return all;
}

// Why the address cannot be bound. CAF does not say.
std::string why_not(const in_addr& address, uint16_t port) {
  sockaddr_in wanted = {};
  wanted.sin_family = AF_INET;
  wanted.sin_addr = address;
  wanted.sin_port = htons(port);
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int failed = bind(probe, reinterpret_cast<const sockaddr*>(&wanted), sizeof(wanted));
  const int error = failed == 0 ? 0 : errno;
  close(probe);
  if (error == EADDRNOTAVAIL) return "this host does not have the address; it has " + addresses_of_this_host();
  if (error == EADDRINUSE) return "another process has the port; give another, or none for any that is free";
  return error == 0 ? "" : std::strerror(error);
}

}  // namespace

struct Listener::Actors {
  explicit Actors(const std::optional<TlsIdentity>& tls) : network(system, tls) {}

  NetworkConfig config;
  Inbox inbox;
  caf::actor_system system{config};
  ControlNetwork network;
  caf::actor listener;
  std::string address;
  std::vector<caf::actor> workers;  // by index
};

Listener::Listener(const std::string& address, uint16_t port, const std::optional<TlsIdentity>& tls)
    : actors_(std::make_unique<Actors>(tls)) {
  const in_addr resolved = resolve(address);
  const std::string numeric = text_of(resolved);
  actors_->listener = actors_->system.spawn(listener_actor, &actors_->inbox);
  const bool again = port != 0;  // also while connections of an earlier run at this port are being forgotten
  const auto published = actors_->network.publish(actors_->listener, port, numeric, again);
  if (!published) {
    const std::string why = why_not(resolved, port);
    caf::anon_send_exit(actors_->listener, caf::exit_reason::user_shutdown);
    actors_->listener = nullptr;
    fail(numeric, port, why.empty() ? actors_->system.render(published.error()) : why);
  }
  actors_->address = numeric + ":" + std::to_string(*published);
}

Listener::~Listener() {
  actors_->workers.clear();
  caf::anon_send_exit(actors_->listener, caf::exit_reason::user_shutdown);
  actors_->listener = nullptr;
}

std::string Listener::address() const { return actors_->address; }

std::string Listener::memory() const { return host_identity(); }

std::unique_ptr<Network> Listener::make_network() {
  const std::string host = actors_->address.substr(0, actors_->address.rfind(':'));
  return std::make_unique<UcxNetwork>(network_devices(host, 1));
}

void Listener::send(int worker, const Order& order) {
  const caf::actor& to = actors_->workers.at(static_cast<size_t>(worker));
  std::visit([&](const auto& each) { caf::send_as(actors_->listener, to, order.number, order.request, each); },
             order.command);
}

void Listener::receive(Crew& crew, double at_most_s) {
  const SteadyClock clock;
  for (const auto& [peer, failure] : actors_->network.turned_away(kHandshakePatience)) {
    crew.refuse(peer + ": " + failure.why);
  }
  for (const Event& event : actors_->inbox.take(at_most_s)) {
    const auto known = std::find(actors_->workers.begin(), actors_->workers.end(), event.from);
    const int worker = static_cast<int>(known - actors_->workers.begin());
    if (known == actors_->workers.end()) {
      if (!event.said || !std::holds_alternative<Join>(event.said->reply)) continue;
      const auto from = caf::actor_cast<caf::actor>(event.from);
      if (from == nullptr) continue;
      const auto result = crew.on(std::get<Join>(event.said->reply), clock.now());
      if (const auto* why = std::get_if<std::string>(&result)) {
        crew.refuse(std::get<Join>(event.said->reply).host + ": " + *why);
        caf::send_as(actors_->listener, from, uint64_t{1}, uint64_t{0}, Refused{*why});
      } else {
        actors_->workers.push_back(from);
      }
    } else if (event.said) {
      crew.on(worker, *event.said, clock.now());
    } else {
      crew.lost(worker);
    }
  }
}

}  // namespace troupe
