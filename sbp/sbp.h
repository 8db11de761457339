// How a tensor lies along one axis of a mesh: split, broadcast or partial.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe {

enum class Reduction : uint8_t { sum, max, min };

// Along one axis of n devices:
//   split on dim d: device i holds the i-th balanced part of dim d (see part_of); shifted by s: part i - s, modulo n;
//                   mirrored: part n - 1 - i
//   broadcast:      every device holds all of it
//   partial:        every device holds a tensor of the whole shape; their sum (max, min) is the value
struct Sbp {
  enum class Kind : uint8_t { split, broadcast, partial };
  Kind kind = Kind::broadcast;
  int8_t dim = 0;                        // split only
  Reduction reduction = Reduction::sum;  // partial only
  int16_t shift = 0;                     // split only, at least 0
  bool mirrored = false;                 // split only, and then not shifted

  bool is_split() const { return kind == Kind::split; }
  bool is_split_on(int d) const { return is_split() && dim == d; }
  bool is_broadcast() const { return kind == Kind::broadcast; }
  bool is_partial() const { return kind == Kind::partial; }
  bool is_partial_sum() const { return is_partial() && reduction == Reduction::sum; }
  // Which of n parts device `i` holds of a split dim.
  int part(int i, int n) const { return mirrored ? n - 1 - i : (i - shift % n + n) % n; }
  bool operator==(const Sbp&) const = default;
  auto operator<=>(const Sbp&) const = default;
  // "S(0)", "S(0)+2" shifted, "S(0)~" mirrored, "B", "P", "P(max)", "P(min)"
  std::string str() const;
};

constexpr Sbp S(int dim) { return {Sbp::Kind::split, static_cast<int8_t>(dim)}; }
constexpr Sbp S_shifted(int dim, int shift) {
  return {Sbp::Kind::split, static_cast<int8_t>(dim), Reduction::sum, static_cast<int16_t>(shift)};
}
constexpr Sbp S_mirrored(int dim) { return {Sbp::Kind::split, static_cast<int8_t>(dim), Reduction::sum, 0, true}; }
inline constexpr Sbp B{};
inline constexpr Sbp P{Sbp::Kind::partial};
constexpr Sbp P_of(Reduction reduction) { return {Sbp::Kind::partial, 0, reduction}; }

// The inverse of str(); throws PlanError.
Sbp sbp_from_text(std::string_view text);

}  // namespace troupe
