#include "ops/cpu/rope.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/simd.h"

namespace troupe::cpu {
namespace {

// The angle of position p is that of p - p % kBlock plus that of p % kBlock, so that few sines are computed: the rest
// is the addition theorem, in float64. The split does not depend on where a part begins, and so neither do the bits.
constexpr int64_t kBlock = 32;

void unit_circle(double* cosine, double* sine, const double* frequency, int64_t position, int64_t half) {
  for (int64_t j = 0; j < half; ++j) {
    const double angle = static_cast<double>(position) * frequency[j];
    cosine[j] = std::cos(angle);
    sine[j] = std::sin(angle);
  }
}

// Of positions first.. : cosine and sine, each [seq, half]. `work` holds (3 + 2 kBlock) half doubles.
template <typename T>
void fill_tables(T* cosine, T* sine, int64_t first, int64_t seq, int64_t half, double theta, bool inverse,
                 double* work) {
  double* frequency = work;
  double* start_cosine = work + half;  // of the block's first position
  double* start_sine = work + 2 * half;
  double* within = work + 3 * half;  // [kBlock][cosine, sine][half]
  for (int64_t j = 0; j < half; ++j) {
    frequency[j] = std::pow(theta, -static_cast<double>(j) / static_cast<double>(half));
  }
  for (int64_t i = 0; i < std::min(seq, kBlock); ++i) {
    const int64_t place = (first + i) % kBlock;
    double* at = within + 2 * half * place;
    unit_circle(at, at + half, frequency, place, half);
  }
  const double direction = inverse ? -1.0 : 1.0;
  for (int64_t i = 0; i < seq; ++i) {
    const int64_t place = (first + i) % kBlock;
    if (i == 0 || place == 0) unit_circle(start_cosine, start_sine, frequency, first + i - place, half);
    const double* c = within + 2 * half * place;
    const double* s = c + half;
    for (int64_t j = 0; j < half; ++j) {
      cosine[i * half + j] = static_cast<T>(start_cosine[j] * c[j] - start_sine[j] * s[j]);
      sine[i * half + j] = static_cast<T>(direction * (start_sine[j] * c[j] + start_cosine[j] * s[j]));
    }
  }
}

// Both numbers of a pair are read before either is written: out may be x.
template <typename T>
void turn_row(T* out, const T* x, const T* cosine, const T* sine, int64_t half) {
  for (int64_t j = 0; j < half; j += kLanes<T>) {
    const int64_t count = std::min(kLanes<T>, half - j);
    const bool full = count == kLanes<T>;
    const auto read = [=](const T* from) { return full ? load(from + j) : load_part(from + j, count); };
    const auto write = [=](T* to, Vec<T> v) { full ? store(to + j, v) : store_part(to + j, v, count); };
    const Vec<T> a = read(x), b = read(x + half), c = read(cosine), s = read(sine);
    write(out, a * c - b * s);
    write(out + half, b * c + a * s);
  }
}

}  // namespace

template <typename T>
int64_t rope_scratch_bytes(int64_t seq, int64_t dim) {
  const int64_t half = dim / 2;
  return (3 + 2 * kBlock) * half * static_cast<int64_t>(sizeof(double)) +
         2 * seq * half * static_cast<int64_t>(sizeof(T));
}

template <typename T>
void rope(T* out, const T* x, const RopeShape& shape, double theta, bool inverse, void* scratch) {
  const int64_t half = shape.dim / 2;
  double* work = static_cast<double*>(scratch);
  T* cosine = reinterpret_cast<T*>(work + (3 + 2 * kBlock) * half);
  T* sine = cosine + shape.seq * half;
  fill_tables(cosine, sine, shape.first, shape.seq, half, theta, inverse, work);
  for (int64_t o = 0; o < shape.outer; ++o) {
    for (int64_t i = 0; i < shape.seq; ++i) {
      for (int64_t n = 0; n < shape.inner; ++n) {
        const int64_t row = ((o * shape.seq + i) * shape.inner + n) * shape.dim;
        turn_row(out + row, x + row, cosine + i * half, sine + i * half, half);
      }
    }
  }
}

template int64_t rope_scratch_bytes<float>(int64_t, int64_t);
template int64_t rope_scratch_bytes<double>(int64_t, int64_t);
template void rope<float>(float*, const float*, const RopeShape&, double, bool, void*);
template void rope<double>(double*, const double*, const RopeShape&, double, bool, void*);

}  // namespace troupe::cpu
