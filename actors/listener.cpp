#include "actors/listener.h"

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "actors/network_config.h"

namespace troupe {
namespace {

// What has come in from workers, for the driver's thread.
struct Event {
  caf::actor_addr from;
  std::optional<Reply> reply;  // none: the connection is closed
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
    return [=](const T& reply) {
      if (self->current_sender() == nullptr) return;
      if constexpr (std::is_same_v<T, Join>) self->monitor(caf::actor_cast<caf::actor>(self->current_sender()));
      inbox->push({caf::actor_cast<caf::actor_addr>(self->current_sender()), Reply(reply)});
    };
  });
}

}  // namespace

struct Listener::Actors {
  NetworkConfig config;
  Inbox inbox;
  caf::actor_system system{config};
  caf::actor listener;
  uint16_t port = 0;
  std::vector<caf::actor> workers;  // by index
};

Listener::Listener() : actors_(std::make_unique<Actors>()) {
  actors_->listener = actors_->system.spawn(listener_actor, &actors_->inbox);
  const auto published = actors_->system.middleman().publish(actors_->listener, 0, "127.0.0.1");
  if (!published) {
    Fault fault;
    fault.what = "no port of 127.0.0.1 can be listened on: " + actors_->system.render(published.error());
    throw FaultError(std::move(fault));
  }
  actors_->port = *published;
}

Listener::~Listener() {
  actors_->workers.clear();
  caf::anon_send_exit(actors_->listener, caf::exit_reason::user_shutdown);
  actors_->listener = nullptr;
}

std::string Listener::address() const { return "127.0.0.1:" + std::to_string(actors_->port); }

void Listener::send(int worker, uint64_t request, const Command& command) {
  const caf::actor& to = actors_->workers.at(static_cast<size_t>(worker));
  std::visit([&](const auto& each) { caf::send_as(actors_->listener, to, request, each); }, command);
}

void Listener::receive(Crew& crew, double at_most_s) {
  const SteadyClock clock;
  for (const Event& event : actors_->inbox.take(at_most_s)) {
    const auto known = std::find(actors_->workers.begin(), actors_->workers.end(), event.from);
    const int worker = static_cast<int>(known - actors_->workers.begin());
    if (known == actors_->workers.end()) {
      if (!event.reply || !std::holds_alternative<Join>(*event.reply)) continue;
      const auto from = caf::actor_cast<caf::actor>(event.from);
      if (from == nullptr) continue;
      const auto result = crew.on(std::get<Join>(*event.reply), clock.now());
      if (const auto* why = std::get_if<std::string>(&result)) {
        caf::send_as(actors_->listener, from, uint64_t{0}, Refused{*why});
      } else {
        actors_->workers.push_back(from);
      }
    } else if (event.reply) {
      crew.on(worker, *event.reply, clock.now());
    } else {
      crew.lost(worker);
    }
  }
}

}  // namespace troupe
