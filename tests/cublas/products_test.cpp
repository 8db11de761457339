// Products of queues with cuBLASLt: what reaches the library, what our own kernel does, and what becomes of failures. That the
// numbers are right, tests/cuda has for every op.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "ops/cuda/cublas_products.h"
#include "ops/cuda/list.h"
#include "runtime/base/error.h"
#include "tests/cublas/simulated_cublas_lt.h"
#include "tests/simulated_cuda/control.h"

namespace troupe::cuda {
namespace {

namespace lt = simulated_cublas_lt;

constexpr const char* kSearch = "cublasLtMatmulAlgoGetHeuristic";
constexpr const char* kMatmul = "cublasLtMatmul";

// The product that a kernel is to make, which has no other way to be told.
const Gemm* current = nullptr;

class CublasProductsTest : public testing::Test {
 protected:
  CublasProductsTest() {
    simulated_cuda::Setup setup;
    setup.devices = {{"First", 256 << 20}, {"Second", 256 << 20}};
    simulated_cuda::reset(1, setup);
    lt::reset();
    setenv("TROUPE_CUDA_GRAPHS", "0", 1);  // every launch calls the library
    backend_ = std::make_unique<CudaBackend>(add_cuda_kernels, cublas_products({lt::library(), "cuBLASLt 13.1.0"}));
    queue_ = backend_->make_queue(0);
  }

  void launch(const Gemm& gemm, DeviceQueue& queue) {
    current = &gemm;
    queue.launch([](const KernelArgs&, Stream& stream) { cuda::gemm(*current, stream); }, {});
  }
  void launch(const Gemm& gemm) { launch(gemm, *queue_); }
  static void finish(const DeviceQueue& queue) {
    ASSERT_EQ(cudaStreamSynchronize(static_cast<const CudaQueue&>(queue).stream()), cudaSuccess);
  }

  // a[m,k] b[k,n] = c[m,n] of the members' memory, in float32.
  Gemm product(int64_t m, int64_t n, int64_t k, int64_t batch = 1) {
    a_.resize(static_cast<size_t>(batch * m * k) + 16);
    b_.resize(static_cast<size_t>(batch * k * n) + 16);
    c_.assign(static_cast<size_t>(batch * m * n) + 16, -1);
    for (size_t i = 0; i < a_.size(); ++i) a_[i] = static_cast<float>(i % 7) - 3;
    for (size_t i = 0; i < b_.size(); ++i) b_[i] = static_cast<float>(i % 5) - 2;
    Gemm g;
    g.batch = batch;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a = a_.data();
    g.lda = k;
    g.stride_a = m * k;
    g.b = b_.data();
    g.ldb = g.ldc = n;
    g.stride_b = k * n;
    g.c = c_.data();
    g.stride_c = m * n;
    return g;
  }
  // What is in c must be; small integers, so exactly. Of `product`, b changes after every b_group.
  void expect_right(const Gemm& g) const {
    const auto* a = static_cast<const float*>(g.a);
    const auto* b = static_cast<const float*>(g.b);
    const auto* c = static_cast<const float*>(g.c);
    for (int64_t p = 0; p < g.batch; ++p) {
      for (int64_t i = 0; i < g.m; ++i) {
        for (int64_t j = 0; j < g.n; ++j) {
          float sum = 0;
          for (int64_t k = 0; k < g.k; ++k) {
            sum += a[p * g.stride_a + i * g.lda + k] * b[p / g.b_group * g.stride_b + k * g.ldb + j];
          }
          ASSERT_EQ(c[p * g.stride_c + i * g.ldc + j], sum) << p << " " << i << " " << j;
        }
      }
    }
  }
  Fault fault_of(const Gemm& gemm) {
    try {
      launch(gemm);
    } catch (const FaultError& error) {
      return error.fault();
    }
    ADD_FAILURE() << "no fault";
    return {};
  }

  std::vector<float> a_, b_, c_;
  std::unique_ptr<CudaBackend> backend_;
  std::unique_ptr<DeviceQueue> queue_;
};

TEST_F(CublasProductsTest, TheFirstOfAKindSearchesAndLaterOnesOnlyStart) {
  const Gemm g = product(5, 6, 7);
  launch(g);
  finish(*queue_);
  expect_right(g);
  EXPECT_EQ(lt::calls(kSearch), 1);
  EXPECT_EQ(lt::calls(kMatmul), 1);
  const int64_t objects = lt::objects();
  const int64_t bytes = simulated_cuda::bytes_in_use();
  for (int i = 0; i < 10; ++i) launch(g);
  Gemm scaled = g;
  scaled.alpha = 2;
  scaled.beta = -1;
  launch(scaled);
  finish(*queue_);
  expect_right(g);
  EXPECT_EQ(lt::calls(kSearch), 1);
  EXPECT_EQ(lt::calls(kMatmul), 12);
  for (const char* call : {"cublasLtMatmulDescCreate", "cublasLtMatmulPreferenceCreate", "cublasLtCreate"}) {
    EXPECT_EQ(lt::calls(call), 1) << call;
  }
  EXPECT_EQ(lt::calls("cublasLtMatrixLayoutCreate"), 3);
  EXPECT_EQ(lt::objects(), objects);
  EXPECT_EQ(simulated_cuda::bytes_in_use(), bytes);
}

TEST_F(CublasProductsTest, EveryOtherKindIsSearchedFor) {
  const std::vector<void (*)(Gemm&)> changes = {
      [](Gemm&) {},
      [](Gemm& g) { g.m = 4; },
      [](Gemm& g) { g.n = 4; },
      [](Gemm& g) { g.k = 4; },
      [](Gemm& g) { g.ldc = 9; },
      [](Gemm& g) { g.trans_a = true; },
      [](Gemm& g) { g.trans_b = true; },
      [](Gemm& g) { g.bias = g.b; },
      [](Gemm& g) { g.dtype = DType::bf16; },
      [](Gemm& g) { g.dtype = g.out_dtype = DType::bf16; },
      [](Gemm& g) { g.a = static_cast<const float*>(g.a) + 1; },
  };
  int64_t searches = 0;
  for (const auto change : changes) {
    Gemm g = product(8, 8, 8);
    change(g);
    for (int i = 0; i < 2; ++i) launch(g);
    EXPECT_EQ(lt::calls(kSearch), ++searches);
    EXPECT_EQ(lt::calls(kMatmul), 2 * searches);
  }
  finish(*queue_);
}

// Also where the memory itself is aligned better: what comes behind other rows or matrices, in another part of a mesh, may not.
TEST_F(CublasProductsTest, TheAlgorithmDoesNotDependOnWhereATensorLies) {
  Gemm g = product(6, 6, 6);
  for (int64_t row : {0, 1, 2, 3}) {
    g.m = 2;
    g.a = a_.data() + row * g.lda;
    g.c = c_.data() + row * g.ldc;
    launch(g);
  }
  finish(*queue_);
  EXPECT_EQ(lt::calls(kSearch), 1);
}

TEST_F(CublasProductsTest, ExpertsThatShareAMatrixAreOneProduct) {
  Gemm g = product(3, 5, 4, 6);
  g.b_group = 2;
  launch(g);
  finish(*queue_);
  expect_right(g);
  EXPECT_EQ(lt::calls(kMatmul), 1);
}

TEST_F(CublasProductsTest, OurKernelTakesWhatTheLibraryDoesNot) {
  const std::vector<int32_t> counts = {2, 1, 0, 3, 3, 1};
  Gemm rows = product(3, 5, 4, 6);
  rows.rows = {GemmRows::Of::a, counts.data(), 3, 0};
  Gemm apart = product(3, 5, 4, 6);  // rows that share b do not follow one another
  apart.b_group = 2;
  apart.stride_c = 20;
  Gemm nothing = product(3, 5, 4);
  nothing.k = 0;
  Gemm wide = product(8, 8, 8);
  wide.dtype = DType::bf16;
  wide.bias = wide.b;
  c_.resize(500);
  for (Gemm* g : {&rows, &apart, &nothing, &wide}) {
    g->a = a_.data();
    g->b = b_.data();
    g->c = c_.data();
    if (g->bias != nullptr) g->bias = b_.data();
    launch(*g);
  }
  finish(*queue_);
  EXPECT_EQ(lt::calls(kMatmul), 0);
  EXPECT_EQ(simulated_cuda::kernels_run(), 1 + 4);  // the first sets the step
}

TEST_F(CublasProductsTest, OurKernelTakesWhatThereIsNoAlgorithmFor) {
  lt::know_none_below(16);
  const Gemm odd = product(5, 7, 3);
  for (int i = 0; i < 3; ++i) launch(odd);
  finish(*queue_);
  expect_right(odd);
  EXPECT_EQ(lt::calls(kSearch), 1);
  EXPECT_EQ(lt::calls(kMatmul), 0);
  const Gemm even = product(4, 8, 12);
  launch(even);
  finish(*queue_);
  expect_right(even);
  EXPECT_EQ(lt::calls(kMatmul), 1);
}

TEST_F(CublasProductsTest, EqualProductsHaveEqualBits) {
  Gemm g = product(9, 10, 300);
  for (float& x : a_) x = 1 / (x + 0.3F);
  launch(g);
  finish(*queue_);
  const std::vector<float> first = c_;
  for (int i = 0; i < 5; ++i) {
    launch(g);
    finish(*queue_);
    EXPECT_EQ(c_, first);
  }
}

TEST_F(CublasProductsTest, AFailingCallIsAFaultThatNamesIt) {
  const Gemm g = product(5, 6, 7, 2);
  for (const char* call : {"cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate",
                           "cublasLtMatrixLayoutSetAttribute", "cublasLtMatmulPreferenceCreate",
                           "cublasLtMatmulPreferenceSetAttribute", kSearch, kMatmul}) {
    lt::fail_call(call, CublasStatus::alloc_failed);
    const Fault fault = fault_of(g);
    EXPECT_EQ(fault.device, "cuda:0");
    EXPECT_EQ(fault.what, "multiplying f32[5,7] and [7,6], a batch of 2: " + std::string(call) +
                              ": CUBLAS_STATUS_ALLOC_FAILED (the simulated library has failed)");
  }
  for (int i = 0; i < 20; ++i) launch(g);
  lt::fail_call(kMatmul, CublasStatus::alloc_failed);  // while something is in the stream
  fault_of(g);
  launch(g);
  finish(*queue_);
  expect_right(g);
}

TEST_F(CublasProductsTest, NoMemoryLeaksWhereCallsFail) {
  const int64_t before = lt::objects();
  const Gemm g = product(5, 6, 7);
  for (int nth = 1; nth <= 3; ++nth) {
    lt::fail_call("cublasLtMatrixLayoutCreate", CublasStatus::alloc_failed, nth);
    fault_of(g);
  }
  lt::fail_call(kSearch, CublasStatus::execution_failed);
  fault_of(g);
  EXPECT_EQ(lt::objects(), before);
}

TEST_F(CublasProductsTest, OfADeviceThatHasFailedCudaSaysWhy) {
  const Gemm g = product(5, 6, 7);
  launch(g);
  simulated_cuda::fail_call("cudaLaunchKernelExC", cudaErrorIllegalAddress);
  simulated_cuda::fail_call("cudaStreamQuery", cudaErrorIllegalAddress);
  const Fault fault = fault_of(g);
  EXPECT_EQ(fault.what,
            "multiplying f32[5,7] and [7,6]: cublasLtMatmul: cudaErrorIllegalAddress (an illegal memory access was "
            "encountered)");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CublasProductsTest, QueuesOfADeviceShareItsContextAndHaveTheirOwnWorkspace) {
  const int64_t of_one = simulated_cuda::bytes_in_use();
  EXPECT_GE(of_one, backend_->queue_bytes());
  const auto second = backend_->make_queue(0);
  const auto other = backend_->make_queue(1);
  EXPECT_EQ(lt::calls("cublasLtCreate"), 2);
  EXPECT_EQ(simulated_cuda::bytes_in_use(), 3 * of_one);
  const Gemm g = product(5, 6, 7);
  for (const DeviceQueue* queue : {queue_.get(), second.get(), other.get()}) {
    launch(g, const_cast<DeviceQueue&>(*queue));
    finish(*queue);
    expect_right(g);
  }
}

// A third time and later the library is not asked any more.
TEST_F(CublasProductsTest, ProductsThatComeAgainArePartOfCudaGraphs) {
  setenv("TROUPE_CUDA_GRAPHS", "1", 1);
  const auto queue = backend_->make_queue(0);
  KernelTable kernels;
  backend_->add_kernels(kernels);
  const Kernel matmul = kernels.find("matmul", DeviceKind::cuda);
  const Gemm g = product(5, 6, 7);
  const auto view = [](std::vector<float>& of, int64_t rows, int64_t columns) {
    return TensorView{of.data(), DType::f32, {rows, columns}, {0, 0}, {rows, columns}};
  };
  const std::vector<TensorView> inputs = {view(a_, 5, 7), view(b_, 7, 6)};
  const std::vector<TensorView> outputs = {view(c_, 5, 6)};
  const Attrs attrs;
  std::string failure;
  const KernelArgs args{inputs, outputs, {}, &attrs, 0, {}, &failure};
  for (int step = 0; step < 5; ++step) {
    std::fill(c_.begin(), c_.end(), -1);
    for (int i = 0; i < 2; ++i) queue->launch(matmul, args);
    queue->mark();
    EXPECT_EQ(lt::calls(kMatmul), step == 0 ? 2 : 4) << step;
    finish(*queue);
    expect_right(g);
  }
  EXPECT_EQ(lt::calls(kSearch), 1);
}

TEST_F(CublasProductsTest, WhatFailsWhenAQueueIsMadeIsAFault) {
  lt::fail_call("cublasLtCreate", CublasStatus::not_initialized);
  try {
    backend_->make_queue(1);
    FAIL() << "no fault";
  } catch (const FaultError& error) {
    EXPECT_EQ(error.fault().device, "cuda:1");
    EXPECT_EQ(error.fault().what, "cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED (the simulated library has failed)");
  }
  EXPECT_NE(backend_->make_queue(1), nullptr);
}

TEST_F(CublasProductsTest, NothingIsLeftOfAQueueAndABackend) {
  for (int64_t m : {5, 6}) {
    launch(product(m, 6, 7));
    finish(*queue_);
  }
  queue_.reset();
  while (simulated_cuda::step()) {
  }
  EXPECT_EQ(lt::objects(), 1);  // the device's context
  EXPECT_EQ(simulated_cuda::bytes_in_use(), 0);
  backend_.reset();
  EXPECT_EQ(lt::objects(), 0);
}

TEST_F(CublasProductsTest, ABackendWithoutTheLibrarySaysSoAndMultipliesAllTheSame) {
  CudaBackend without(add_cuda_kernels, cublas_products({nullptr, "no cuBLASLt: it is not here"}));
  EXPECT_TRUE(without.description().ends_with(", no cuBLASLt: it is not here")) << without.description();
  EXPECT_TRUE(backend_->description().ends_with(", cuBLASLt 13.1.0")) << backend_->description();
  EXPECT_EQ(without.queue_bytes(), 0);
  const auto queue = without.make_queue(0);
  const Gemm g = product(5, 6, 7);
  launch(g, *queue);
  finish(*queue);
  expect_right(g);
  EXPECT_EQ(lt::calls(kMatmul), 0);
}

}  // namespace
}  // namespace troupe::cuda
