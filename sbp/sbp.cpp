#include "sbp/sbp.h"

#include <charconv>

#include "runtime/base/error.h"
#include "runtime/base/shape.h"

namespace troupe {

std::string Sbp::str() const {
  switch (kind) {
    case Kind::split:
      return "S(" + std::to_string(dim) + ")" + (mirrored ? "~" : shift > 0 ? "+" + std::to_string(shift) : "");
    case Kind::broadcast:
      return "B";
    case Kind::partial:
      break;
  }
  if (reduction == Reduction::sum) return "P";
  return reduction == Reduction::max ? "P(max)" : "P(min)";
}

Sbp sbp_from_text(std::string_view text) {
  if (text == "B") return B;
  if (text == "P" || text == "P(sum)") return P;
  if (text == "P(max)") return P_of(Reduction::max);
  if (text == "P(min)") return P_of(Reduction::min);
  // A dim has one digit: kMaxRank is 8.
  static_assert(kMaxRank <= 10);
  if (text.size() >= 4 && text.starts_with("S(") && text[3] == ')' && text[2] >= '0' && text[2] < '0' + kMaxRank) {
    const int dim = text[2] - '0';
    const std::string_view order = text.substr(4);
    if (order.empty()) return S(dim);
    if (order == "~") return S_mirrored(dim);
    int16_t shift = 0;
    const auto [end, error] = std::from_chars(order.data() + 1, order.data() + order.size(), shift);
    if (order[0] == '+' && error == std::errc() && end == order.data() + order.size() && shift > 0) {
      return S_shifted(dim, shift);
    }
  }
  throw PlanError("'" + std::string(text) + "' is not an SBP; S(0) to S(" + std::to_string(kMaxRank - 1) +
                  "), B, P, P(max) or P(min) are possible");
}

}  // namespace troupe
