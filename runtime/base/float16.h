// IEEE 754's binary16: eleven bits of precision from 2^-14 to 65504, fewer down to 2^-24. A number to store; arithmetic
// is float32's.
#pragma once

#include <bit>
#include <cstdint>

namespace troupe {

struct Float16 {
  uint16_t bits = 0;

  Float16() = default;
  // To the nearest, ties to the even one; from 65520 on to infinity. NaN stays NaN. Without branches, so that compilers
  // make vectors of it.
  explicit Float16(float value) {
    constexpr uint32_t kLeastNormal = 0x38800000;  // 2^-14
    constexpr uint32_t kInfinity = 0x7f800000;
    const uint32_t whole = std::bit_cast<uint32_t>(value);
    const uint32_t size = whole & 0x7fffffff;
    const uint32_t rounded = ((size + 0xfff + ((size >> 13) & 1)) >> 13) - (112 << 10);
    const uint32_t normal = rounded < 0x7c00 ? rounded : 0x7c00;
    // At 0.5 the last bit of a float32 is 2^-24: the addition rounds as binary16 does there.
    const uint32_t tiny = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000;
    const uint32_t number = size < kLeastNormal ? tiny : normal;
    const uint32_t nan = 0x7e00 | ((size >> 13) & 0x3ff);  // quiet, with what fits of the fraction
    bits = static_cast<uint16_t>(((whole >> 16) & 0x8000) | (size > kInfinity ? nan : number));
  }
  operator float() const {
    const uint32_t size = bits & 0x7fffu;
    const uint32_t moved = size << 13;
    const uint32_t normal = moved + (112u << 23);
    const uint32_t special = moved + (224u << 23);  // infinity and NaN
    const uint32_t tiny = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(size)) * 0x1p-24f);
    const uint32_t number = size < 0x400 ? tiny : size < 0x7c00 ? normal : special;
    return std::bit_cast<float>(number | (static_cast<uint32_t>(bits & 0x8000u) << 16));
  }
};

}  // namespace troupe
