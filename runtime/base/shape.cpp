#include "runtime/base/shape.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace troupe {

Dims::Dims(std::span<const int64_t> sizes) {
  if (sizes.size() > static_cast<size_t>(kMaxRank)) {
    throw PlanError("a tensor of " + std::to_string(sizes.size()) + " dims is not supported; at most " +
                    std::to_string(kMaxRank) + " dims are possible");
  }
  rank_ = static_cast<int>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), sizes_.begin());
}

Dims Dims::filled(int rank, int64_t value) {
  Dims dims;
  for (int i = 0; i < rank; ++i) dims.push_back(value);
  return dims;
}

void Dims::push_back(int64_t size) { insert(rank_, size); }

void Dims::insert(int dim, int64_t size) {
  if (rank_ == kMaxRank) {
    throw PlanError("a tensor of more than " + std::to_string(kMaxRank) + " dims is not supported");
  }
  for (int i = rank_; i > dim; --i) (*this)[i] = (*this)[i - 1];
  (*this)[dim] = size;
  ++rank_;
}

void Dims::erase(int dim) {
  for (int i = dim; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
  --rank_;
  sizes_[static_cast<size_t>(rank_)] = 0;
}

std::string Dims::str() const {
  std::string text;
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ',';
    text += std::to_string((*this)[i]);
  }
  return text;
}

bool Dims::operator==(const Dims& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

Dims strides_of(const Shape& shape) {
  Dims strides = Dims::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

std::string type_text(DType dtype, const Shape& shape) { return std::string(name_of(dtype)) + "[" + shape.str() + "]"; }

}  // namespace troupe
