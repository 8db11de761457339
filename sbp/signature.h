// Signatures: the valid choices of SBP for the inputs and outputs of an op along one axis, without
// communication.
#pragma once

#include <string>
#include <vector>

#include "sbp/sbp.h"

namespace troupe {

struct Signature {
  std::vector<Sbp> inputs;
  std::vector<Sbp> outputs;
  bool operator==(const Signature&) const = default;
  auto operator<=>(const Signature&) const = default;
  // "S(0), B -> S(0)"
  std::string str() const;
};

}  // namespace troupe
