// The shape of a tensor: up to kMaxRank dims, row-major, sizes may be zero.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"

namespace troupe {

constexpr int kMaxRank = 8;

// A short list of int64: a shape, an offset, strides. A value type without heap memory, so that views are cheap.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> sizes) : Dims(std::span<const int64_t>(sizes.begin(), sizes.size())) {}
  // Throws PlanError when there are more than kMaxRank dims.
  explicit Dims(std::span<const int64_t> sizes);
  explicit Dims(const std::vector<int64_t>& sizes) : Dims(std::span<const int64_t>(sizes)) {}
  static Dims filled(int rank, int64_t value);

  int rank() const { return rank_; }
  int64_t operator[](int dim) const { return sizes_[static_cast<size_t>(dim)]; }
  int64_t& operator[](int dim) { return sizes_[static_cast<size_t>(dim)]; }
  int64_t back() const { return (*this)[rank_ - 1]; }
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return sizes_.data() + rank_; }
  void push_back(int64_t size);
  void insert(int dim, int64_t size);
  void erase(int dim);
  std::vector<int64_t> vector() const { return {begin(), end()}; }

  // The number of elements; 1 for rank 0.
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t size : *this) n *= size;
    return n;
  }
  // "8,16"; empty for rank 0.
  std::string str() const;

  bool operator==(const Dims& other) const;

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

using Shape = Dims;

// Row-major strides in elements.
Dims strides_of(const Shape& shape);

// "f32[8,16]"
std::string type_text(DType dtype, const Shape& shape);

}  // namespace troupe
