#include "sbp/signature.h"

#include "runtime/base/text.h"

namespace troupe {

std::string Signature::str() const {
  const auto list = [](const std::vector<Sbp>& sbp) { return join(sbp, ", ", [](const Sbp& s) { return s.str(); }); };
  return list(inputs) + " -> " + list(outputs);
}

}  // namespace troupe
