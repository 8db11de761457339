// What both ends of the network share: CAF's configuration, and handlers for the messages of control.h.
#pragma once

#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/message_handler.hpp>
#include <string>
#include <type_traits>
#include <variant>

#include "actors/control_messages.h"

namespace troupe {

template <class Pointer>
using Pointed = std::remove_const_t<std::remove_pointer_t<Pointer>>;

struct NetworkConfig : caf::actor_system_config {
  NetworkConfig() {
    load<caf::io::middleman>();
    set("scheduler.max-threads", 1u);
    set("scheduler.policy", caf::atom("sharing"));  // a thread that polls while idle would take a core from an executor
    set("middleman.workers", 0u);
    add_types(static_cast<const Command*>(nullptr));
    add_types(static_cast<const Reply*>(nullptr));
  }

 private:
  template <class... T>
  void add_types(const std::variant<T...>*) {
    (add_message_type<T>(std::string("troupe.") + typeid(T).name()), ...);
  }
};

// One handler per alternative of a variant: `handle(pointer to the type)` makes it.
template <class... T, class Handle>
caf::message_handler handlers(const std::variant<T...>*, const Handle& handle) {
  return caf::message_handler{handle(static_cast<const T*>(nullptr))...};
}

}  // namespace troupe
