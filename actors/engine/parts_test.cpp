#include "actors/engine/parts.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace troupe {
namespace {

TEST(Parts, EveryBoxOfASmallTensorIsTakenAndPutBack) {
  const Shape shape{3, 2, 4};
  std::vector<int32_t> whole(24);
  std::iota(whole.begin(), whole.end(), 0);
  const Dims strides = strides_of(shape);
  int boxes = 0;
  for (int64_t a = 0; a < 3; ++a) {
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t c = 0; c < 4; ++c) {
        for (int64_t x = 0; x <= 3 - a; ++x) {
          for (int64_t y = 0; y <= 2 - b; ++y) {
            for (int64_t z = 0; z <= 4 - c; ++z) {
              const Box box{Dims{a, b, c}, Dims{x, y, z}};
              std::vector<int32_t> part(static_cast<size_t>(box.elements()));
              take_part(std::as_bytes(std::span(whole)), shape, DType::i32, box,
                        std::as_writable_bytes(std::span(part)));
              size_t at = 0;
              for (int64_t i = 0; i < x; ++i) {
                for (int64_t j = 0; j < y; ++j) {
                  for (int64_t k = 0; k < z; ++k) {
                    ASSERT_EQ(part[at++], (a + i) * strides[0] + (b + j) * strides[1] + c + k) << box.str();
                  }
                }
              }
              std::vector<int32_t> rest(24, -1);
              put_part(std::as_writable_bytes(std::span(rest)), shape, DType::i32, box, std::as_bytes(std::span(part)));
              ASSERT_EQ(std::count(rest.begin(), rest.end(), -1), 24 - box.elements());
              for (size_t e = 0; e < 24; ++e) ASSERT_TRUE(rest[e] == -1 || rest[e] == whole[e]);
              ++boxes;
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(boxes, (3 + 2 + 1 + 3) * (2 + 1 + 2) * (4 + 3 + 2 + 1 + 4));
}

TEST(Parts, AScalarIsOnePart) {
  const double pi = 3.14;
  double copy = 0;
  put_part(std::as_writable_bytes(std::span(&copy, 1)), Shape{}, DType::f64, Box{}, std::as_bytes(std::span(&pi, 1)));
  EXPECT_EQ(copy, pi);
}

}  // namespace
}  // namespace troupe
