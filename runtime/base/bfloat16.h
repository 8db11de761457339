// The upper half of a float32: its range, and eight bits of precision. A number to store; arithmetic is float32's.
#pragma once

#include <bit>
#include <cstdint>

namespace troupe {

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  // To the nearest, ties to the even one; beyond the largest number to infinity. NaN stays NaN.
  explicit BFloat16(float value) {
    const uint32_t whole = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (whole + 0x7fff + ((whole >> 16) & 1)) >> 16;
    // Carrying out of a NaN's fraction would make it a zero or an infinity: it is cut off instead, and kept quiet.
    bits = static_cast<uint16_t>((whole & 0x7fffffff) > 0x7f800000 ? (whole >> 16) | 0x40 : rounded);
  }
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

}  // namespace troupe
