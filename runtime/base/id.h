// Strong ids: an index that cannot be mixed up with an index of another kind.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

namespace troupe {

template <class Tag>
struct Id {
  int32_t value = -1;
  constexpr Id() = default;
  constexpr explicit Id(int64_t v) : value(static_cast<int32_t>(v)) {}
  constexpr bool valid() const { return value >= 0; }
  constexpr size_t index() const { return static_cast<size_t>(value); }
  constexpr auto operator<=>(const Id&) const = default;
  friend std::ostream& operator<<(std::ostream& out, Id id) { return out << id.value; }
};

using DeviceId = Id<struct DeviceTag>;      // an entry of the plan's device table
using NodeId = Id<struct NodeTag>;          // a node of the logical graph
using ValueId = Id<struct ValueTag>;        // a value of the logical graph
using TaskId = Id<struct TaskTag>;          // a task (one op on one device)
using RegisterId = Id<struct RegisterTag>;  // an output buffer of a task
using StreamId = Id<struct StreamTag>;      // an ordered queue of firings on a device

}  // namespace troupe

template <class Tag>
struct std::hash<troupe::Id<Tag>> {
  size_t operator()(troupe::Id<Tag> id) const { return std::hash<int32_t>()(id.value); }
};
