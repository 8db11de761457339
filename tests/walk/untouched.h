// The bytes of a device's arenas that no plan gave to anybody.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/engine.h"

namespace troupe {

// Fills the workspace and io arenas, but for slots and scratch, with a pattern, and finds who writes there: gaps
// between tensors and what no device needs.
class Untouched {
 public:
  // Nothing may run.
  Untouched(Engine& engine, PlanHandle handle);
  int64_t bytes() const;
  // Empty, or the first place where the pattern is gone.
  std::string flaw() const;

 private:
  struct Gap {
    std::string place;
    std::span<std::byte> bytes;
  };
  std::vector<Gap> gaps_;
};

}  // namespace troupe
