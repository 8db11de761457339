// The functions of ops/cuda/mma.h without a GPU, where that has PTX. What each lane of a warp holds is as the PTX ISA has it,
// in "Matrix Fragments for mma.m16n8k16 with floating point type" and "ldmatrix".
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>

#include <cstring>
#include <type_traits>

#include "tests/simulated_cuda/device_code.h"

namespace troupe::simulated {

template <class T>
float low_number(uint32_t pair, int i) {
  T number;
  number.bits = static_cast<uint16_t>(pair >> 16 * i);
  return number;
}

struct MmaOperands {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};

template <class T>
void multiply(const uint64_t (&brought)[kWarp]) {
  float a[16][16], b[16][8], sums[16][8];
  for (int l = 0; l < kWarp; ++l) {
    const auto& operands = *reinterpret_cast<const MmaOperands*>(brought[l]);
    const int group = l / 4;
    const int in_group = l % 4;
    for (int i = 0; i < 8; ++i) {
      const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      a[row][in_group * 2 + i % 2 + (i < 4 ? 0 : 8)] = low_number<T>(operands.a[i / 2], i % 2);
    }
    for (int i = 0; i < 4; ++i) {
      b[in_group * 2 + i % 2 + (i < 2 ? 0 : 8)][group] = low_number<T>(operands.b[i / 2], i % 2);
      sums[i < 2 ? group : group + 8][in_group * 2 + i % 2] = operands.sums[i];
    }
  }
  // The sixteen terms by themselves, so that it shows which of them are added at once.
  for (int row = 0; row < 16; ++row) {
    float terms[8] = {};
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) terms[column] += a[row][k] * b[k][column];
    }
    for (int column = 0; column < 8; ++column) sums[row][column] += terms[column];
  }
  for (int l = 0; l < kWarp; ++l) {
    float* to = reinterpret_cast<const MmaOperands*>(brought[l])->sums;
    for (int i = 0; i < 4; ++i) to[i] = sums[i < 2 ? l / 4 : l / 4 + 8][l % 4 * 2 + i % 2];
  }
}

struct LdmatrixOperands {
  uint32_t* to;
  const unsigned char* row;
};

// Lanes 8 m to 8 m + 7 have the rows of matrix m.
template <bool kTransposed>
void load(const uint64_t (&brought)[kWarp]) {
  uint16_t matrices[4][8][8];
  for (int m = 0; m < 4; ++m) {
    const unsigned char* rows[8];
    for (int row = 0; row < 8; ++row) rows[row] = reinterpret_cast<const LdmatrixOperands*>(brought[8 * m + row])->row;
    read_rows(rows);
    for (int row = 0; row < 8; ++row) std::memcpy(matrices[m][row], rows[row], 16);
  }
  for (int l = 0; l < kWarp; ++l) {
    uint32_t* to = reinterpret_cast<const LdmatrixOperands*>(brought[l])->to;
    for (int m = 0; m < 4; ++m) {
      const int row = l / 4;
      const int column = l % 4 * 2;
      const uint32_t low = kTransposed ? matrices[m][column][row] : matrices[m][row][column];
      const uint32_t high = kTransposed ? matrices[m][column + 1][row] : matrices[m][row][column + 1];
      to[m] = low | high << 16;
    }
  }
}

}  // namespace troupe::simulated

namespace troupe::cuda {

template <class T>
void mma(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  const simulated::MmaOperands operands{sums, a, b};
  simulated::do_together(reinterpret_cast<uint64_t>(&operands), simulated::multiply<T>);
}

using SharedAddress = uintptr_t;
inline SharedAddress shared_address(const void* p) { return reinterpret_cast<SharedAddress>(p); }
inline void load_matrices(uint32_t (&to)[4], SharedAddress row) {
  const simulated::LdmatrixOperands operands{to, reinterpret_cast<const unsigned char*>(row)};
  simulated::do_together(reinterpret_cast<uint64_t>(&operands), simulated::load<false>);
}
inline void load_transposed(uint32_t (&to)[4], SharedAddress row) {
  const simulated::LdmatrixOperands operands{to, reinterpret_cast<const unsigned char*>(row)};
  simulated::do_together(reinterpret_cast<uint64_t>(&operands), simulated::load<true>);
}

template <int kBytes>
void copy_async(void* to, const void* from, bool is_there) {
  simulated::copy_later(to, from, kBytes, is_there ? kBytes : 0);
}
inline void close_copies() { simulated::close_copies(); }
template <int kBut>
void wait_for_copies() {
  simulated::wait_for_copies(kBut);
}

template <class T>
uint32_t packed(float low, float high) {
  return T(low).bits | static_cast<uint32_t>(T(high).bits) << 16;
}

inline float exp2_approximately(float x) {
  const float result = exp2f(x);
  return result < 0x1p-126f ? 0.0f : result;
}

}  // namespace troupe::cuda
