// The instructions for tensor cores by themselves: each element of a product, a tile and a copy is where mma.h says.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/cuda/mma.h"
#include "ops/cuda/tensor_tiles.h"

namespace troupe::cuda {
namespace {

// An array in the device's memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : size_(values.size()) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), size_ * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyDefault), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> result(size_);
    EXPECT_EQ(cudaMemcpy(result.data(), data_, size_ * sizeof(T), cudaMemcpyDefault), cudaSuccess);
    return result;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

template <class... Parameters>
void run(unsigned threads, size_t shared_bytes, void (*kernel)(Parameters...),
         std::type_identity_t<Parameters>... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = 1;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  ASSERT_EQ(cudaLaunchKernelEx(&config, kernel, arguments...), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// Numbers that both dtypes have, and whose products of 16 terms float32 has exactly.
std::vector<float> small_numbers(int count, int seed) {
  std::vector<float> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(static_cast<float>((i * 37 + seed * 11) % 127 - 63));
  return numbers;
}

// sums[16][8] += a[16][16] b[16][8], with the fragments filled element by element.
template <class T>
__global__ void mma_kernel(float* sums, const float* a, const float* b) {
  const int g = static_cast<int>(threadIdx.x) / 4;
  const int t = static_cast<int>(threadIdx.x) % 4;
  uint32_t left[4];
  for (int i = 0; i < 4; ++i) {
    const float* pair = a + (g + i % 2 * 8) * 16 + i / 2 * 8 + 2 * t;
    left[i] = packed<T>(pair[0], pair[1]);
  }
  uint32_t right[2];
  for (int i = 0; i < 2; ++i) {
    const float* pair = b + (i * 8 + 2 * t) * 8 + g;
    right[i] = packed<T>(pair[0], pair[8]);
  }
  float own[4];
  for (int i = 0; i < 4; ++i) own[i] = sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  mma<T>(own, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = own[i];
}

template <class T>
void check_mma() {
  const std::vector<float> a = small_numbers(256, 1);
  const std::vector<float> b = small_numbers(128, 2);
  const std::vector<float> start = small_numbers(128, 3);
  const DeviceArray<float> left(a), right(b), sums(start);
  run(32, 0, mma_kernel<T>, sums.data(), left.data(), right.data());
  std::vector<float> wanted = start;
  for (size_t row = 0; row < 16; ++row) {
    for (size_t k = 0; k < 16; ++k) {
      for (size_t column = 0; column < 8; ++column) wanted[row * 8 + column] += a[row * 16 + k] * b[k * 8 + column];
    }
  }
  EXPECT_EQ(sums.values(), wanted);
}

TEST(CudaMma, MultipliesMatricesWhoseElementsLieAsItSays) {
  check_mma<__nv_bfloat16>();
  check_mma<__half>();
}

// Four matrices of 8 x 8 at distances of 256 bytes, whose elements are their places.
__global__ void load_kernel(uint32_t* to, bool transposed) {
  auto* rows = reinterpret_cast<uint16_t*>(dynamic_shared);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 512; i += 32) rows[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t own[4];
  const SharedAddress row = shared_address(rows + lane / 8 * 128 + lane % 8 * 8);
  if (transposed) {
    load_transposed(own, row);
  } else {
    load_matrices(own, row);
  }
  for (int m = 0; m < 4; ++m) to[lane * 4 + m] = own[m];
}

TEST(CudaMma, LoadsMatricesAsItSays) {
  for (const bool transposed : {false, true}) {
    const DeviceArray<uint32_t> to(std::vector<uint32_t>(128));
    run(32, 1024, load_kernel, to.data(), transposed);
    const std::vector<uint32_t> found = to.values();
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t g = lane / 4;
      const uint32_t t = lane % 4;
      for (uint32_t m = 0; m < 4; ++m) {
        const uint32_t low = m * 128 + (transposed ? 2 * t * 8 + g : g * 8 + 2 * t);
        const uint32_t high = low + (transposed ? 8 : 1);
        EXPECT_EQ(found[lane * 4 + m], low | high << 16) << "lane " << lane << ", matrix " << m << transposed;
      }
    }
  }
}

// out[16][16] of the product of rows first .. of a tile with all rows of another, and of that with its rows: x y^T y.
constexpr int kTestRows = 64;
template <class T, int kDims>
struct TestTiles {
  TensorTile<T, kTestRows, kDims> x, y, out;
};
template <class T, int kDims>
__global__ void tiles_kernel(T* products, const T* x, const T* y, int rows, int dims) {
  auto& shared = shared_memory<TestTiles<T, kDims>>();
  copy_rows<kTestRows * 2>(shared.x, x, dims, 0, rows, dims);
  copy_rows<kTestRows * 2>(shared.y, y, dims, 0, rows, dims);
  close_copies();
  wait_for_copies<0>();
  __syncthreads();
  const int row = warp_of_block() * 16;
  Sums<1, kTestRows / 8> scores = {};
  add_row_products<T>(scores, LeftInTile<T, kTestRows, kDims>(shared.x, row), shared.y);
  Sums<1, kTestRows / 8> again = {};
  add_row_products<T>(again, LeftInRegisters<1, kDims>(shared.x, row), shared.y);
  for (int n = 0; n < kTestRows / 8; ++n) {
    for (int i = 0; i < 4; ++i) scores[0][n][i] = (scores[0][n][i] + again[0][n][i]) / 128;
  }
  Sums<1, kDims / 8> sums = {};
  add_weighted_rows<T>(sums, scores, shared.y);
  store_sums(products, dims, row, rows, dims, sums, shared.out, row);
}

template <class T, int kDims>
void check_tiles(int rows, int dims) {
  std::vector<T> x, y;
  const auto number = [dims](int seed, int i) {
    // Few ones, so that products stay whole and small: distinct in every row and dim.
    return (i / dims * 5 + i % dims * 3 + seed) % 17 == 0 ? static_cast<float>(i % 3 + 1) : 0.0f;
  };
  for (int i = 0; i < rows * dims; ++i) {
    x.push_back(narrowed<T>(number(1, i)));
    y.push_back(narrowed<T>(number(2, i)));
  }
  const DeviceArray<T> left(x), right(y), products(std::vector<T>(static_cast<size_t>(rows * dims)));
  run(kTestRows * 2, sizeof(TestTiles<T, kDims>), tiles_kernel<T, kDims>, products.data(), left.data(), right.data(),
      rows, dims);
  const std::vector<T> found = products.values();
  for (int row = 0; row < rows; ++row) {
    for (int d = 0; d < dims; ++d) {
      float wanted = 0;
      for (int other = 0; other < rows; ++other) {
        float score = 0;
        for (int k = 0; k < dims; ++k) score += number(1, row * dims + k) * number(2, other * dims + k);
        wanted += score / 64 * number(2, other * dims + d);
      }
      EXPECT_EQ(widened(found[static_cast<size_t>(row * dims + d)]), wanted) << row << ", " << d;
    }
  }
}

TEST(CudaMma, MultipliesTilesAndTheirParts) {
  check_tiles<__half, 64>(64, 64);
  check_tiles<__half, 64>(41, 40);
  check_tiles<__half, 128>(64, 128);
  check_tiles<__nv_bfloat16, 128>(23, 104);
}

__global__ void exp2_kernel(float* x) { x[threadIdx.x] = exp2_approximately(x[threadIdx.x]); }

TEST(CudaMma, HasPowersOfTwo) {
  const DeviceArray<float> x({0.0f, -0.0f, -HUGE_VALF, HUGE_VALF, 10.0f, -3.7f, -200.0f});
  run(7, 0, exp2_kernel, x.data());
  const std::vector<float> found = x.values();
  EXPECT_EQ(found[0], 1);
  EXPECT_EQ(found[1], 1);
  EXPECT_EQ(found[2], 0);
  EXPECT_EQ(found[3], HUGE_VALF);
  EXPECT_NEAR(found[4], 1024, 1024 * 2.4e-7);
  EXPECT_NEAR(found[5], std::exp2(-3.7), std::exp2(-3.7) * 4e-7);
  EXPECT_EQ(found[6], 0);
}

}  // namespace
}  // namespace troupe::cuda
