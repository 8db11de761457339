// Sizes at which kernels take other ways: packs and tails, rows that a warp, a block or no registers hold, several tiles.
// The right numbers are those of the CPU's kernel in float64.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "ops/test_operands.h"
#include "tests/cuda/attention_uses.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

const RunContext kContext{.key = 7, .firing = {.step = 2, .seed = 3}};

void check(const UseCase& use, double tolerance = 2e-5, Products products = Products::own) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (is_low(dtype) && !use.takes_low()) continue;
    const UseCase tried = is_low(dtype) ? use.in_low(dtype) : use.in_f32();
    const std::vector<HostTensor> given = tried.inputs();
    std::vector<HostTensor> wide = use.inputs();
    for (size_t i = 0; i < wide.size(); ++i) wide[i].set_numbers(given[i].numbers());
    const std::vector<HostTensor> right = run_op(use.def(), use.attrs, wide, kContext);
    const std::vector<HostTensor> found = run_on_cuda(tried, given, kContext, products);
    for (size_t i = 0; i < right.size(); ++i) {
      const DType stored = found[i].type().dtype;
      const double half = stored == DType::bf16 ? 1.0 / 256 : stored == DType::f16 ? 1.0 / 2048 : 0;
      EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), tolerance + half), "")
          << tried.str() << " output " << i;
    }
  }
}

TEST(CudaSizes, ElementsInPacksAndTails) {
  for (int64_t n : {1, 3, 4, 7, 8, 1023, 1024, 4097, 300000}) {
    check({"gelu", {real({n})}});
    check({"swiglu_gradient", {real({n}), real({n}), real({n})}});
    check({"add", {real({n}), real({n})}});
    check({"add", {real({n}), real({})}});
    check({"add_n", {real({n}), real({n}), real({n})}});
    check({"cast", {real({n})}, {{"dtype", std::string("f32")}}});
    check({"dropout", {real({n})}, {{"p", 0.4}}});
    check({"reshape", {real({n})}, {{"shape", Ints{n, 1}}}});
  }
}

TEST(CudaSizes, OperandsThatBroadcast) {
  for (int64_t columns : {1, 31, 32, 100, 1024}) {
    check({"add", {real({9, columns}), real({columns})}});
    check({"mul", {real({9, columns}), real({9, 1})}});
    check({"sub", {real({3, 1, columns}), real({5, 1})}});
    check({"where", {bools({9, 1}), real({9, columns}), real({columns})}});
    check({"expand", {real({1, columns})}, {{"shape", Ints{7, columns}}}});
  }
}

TEST(CudaSizes, Transposes) {
  for (const Shape& x : {Shape{33, 65}, Shape{32, 64}, Shape{5, 100}, Shape{1, 70}, Shape{70, 3}}) {
    check({"transpose", {real(x)}, {{"perm", Ints{1, 0}}}});
  }
  check({"transpose", {real({3, 40, 5, 8})}, {{"perm", Ints{0, 2, 1, 3}}}});
  check({"transpose", {real({3, 40, 35})}, {{"perm", Ints{2, 0, 1}}}});
  check({"transpose", {real({3, 40, 35})}, {{"perm", Ints{2, 1, 0}}}});
}

TEST(CudaSizes, BytesAndLongIntegersMove) {
  for (DType dtype : {DType::b8, DType::i32, DType::i64}) {
    for (const Shape& x : {Shape{33, 65}, Shape{32, 64}}) {
      const UseCase use{"transpose", {ids(x, 2, dtype)}, {{"perm", Ints{1, 0}}}};
      EXPECT_EQ(run_on_cuda(use, use.inputs()), run_op(use.def(), use.attrs, use.inputs())) << use.str();
    }
  }
}

// Held by a warp up to 1024, by a block up to 8192, and beyond that not.
TEST(CudaSizes, Rows) {
  const Attrs last = {{"dim", yes}};
  const Attrs eps = {{"eps", 1e-5}};
  for (int64_t n : {1, 33, 768, 1024, 1025, 5000, 8193}) {
    const Operand x = real({3, n});
    const Operand row = real({n});
    for (const char* op : {"softmax", "log_softmax"}) {
      check({op, {x}, last});
      check({std::string(op) + "_gradient", {between({3, n}, -9, -5), x}, last}, 2e-4);
    }
    check({"layer_norm", {x, row, row}, eps});
    check({"layer_norm_gradient", {x, x, row, real({3}), positive({3})}}, 2e-4);
    check({"rms_norm", {x, row}, eps});
    check({"rms_norm_gradient", {x, x, row, positive({3})}}, 2e-4);
    check({"normalize", {x}, eps});
    check({"cross_entropy", {x, ids({3}, n)}});
    check({"cross_entropy_gradient", {x, ids({3}, n), between({3}, 9, 10), real({3})}});
    check({"row_sum_squares", {x}});
    check({"reduce_max", {x}, {{"dims", Ints{1}}, {"keep", no}}});
    check({"reduce_mean", {x}, {{"dims", Ints{1}}, {"keep", no}}});
  }
}

TEST(CudaSizes, Columns) {
  for (int64_t rows : {1, 127, 129, 1000}) {
    for (int64_t n : {1, 8, 13}) {
      check({"row_sum", {real({rows, n})}}, 1e-4);
      check({"reduce_min", {real({rows, n})}, {{"dims", Ints{0}}, {"keep", no}}});
      check({"reduce_sum", {real({rows, n, 3})}, {{"dims", Ints{0, 2}}, {"keep", no}}}, 1e-4);
      check({"softmax", {real({rows, n})}, {{"dim", no}}});
      check({"rms_norm_gradient", {real({rows, n}), real({rows, n}), real({n}), positive({rows})}}, 4e-4);
    }
  }
}

// To the bit: the order is fixed.
TEST(CudaSizes, TreeSums) {
  for (int64_t n : {1, 2, 5, 1000, 1024, 1025, 3000, 10001}) {
    const UseCase use = UseCase{"tree_sum", {real({n})}}.in_f32();
    EXPECT_EQ(run_on_cuda(use, use.inputs()), run_op(use.def(), use.attrs, use.inputs())) << n;
  }
}

TEST(CudaSizes, Tables) {
  for (int64_t dim : {1, 4, 130}) {
    check({"embedding", {ids({300}, 50), real({50, dim})}});
    check({"embedding_gradient", {ids({600}, 70), real({600, dim})}, {{"rows", int64_t{70}}}}, 5e-5);
  }
}

// Numbers of tokens that warps have whole, and not; some experts are full.
TEST(CudaSizes, PlacesOfTokens) {
  for (int64_t seq : {1, 31, 32, 33, 100}) {
    const UseCase use{
        "expert_places", {ids({3, seq, 2}, 5, DType::i32)}, {{"experts", int64_t{5}}, {"capacity", int64_t{16}}}};
    EXPECT_EQ(run_on_cuda(use, use.inputs()), run_op(use.def(), use.attrs, use.inputs())) << seq;
  }
}

// Windows that overlap, leave gaps, reach over their neighbours, and share planes out unevenly.
TEST(CudaSizes, Pools) {
  struct Case {
    Ints kernel, stride, padding, dilation, size, windows;
  };
  for (const auto& [kernel, stride, padding, dilation, size, windows] :
       {Case{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {9, 11}, {9, 11}}, Case{{2, 1}, {3, 4}, {0, 0}, {1, 1}, {9, 11}, {3, 3}},
        Case{{5, 4}, {1, 2}, {2, 1}, {1, 1}, {9, 11}, {9, 5}}, Case{{3, 2}, {1, 1}, {1, 1}, {3, 5}, {9, 11}, {5, 8}}}) {
    const Operand x = real({2, 70, size[0], size[1]});
    const Operand dy = real({2, 70, windows[0], windows[1]});
    Attrs attrs = {{"kernel", kernel}, {"stride", stride}, {"padding", padding}};
    if (dilation == Ints{1, 1}) {
      check({"avg_pool2d", {x}, attrs});
      attrs.set("count_padding", no);
      check({"avg_pool2d", {x}, attrs});
      attrs.set("size", size);
      check({"avg_pool2d_gradient", {dy}, attrs});
    }
    attrs = {{"kernel", kernel}, {"stride", stride}, {"padding", padding}, {"dilation", dilation}};
    check({"max_pool2d", {x}, attrs});
    check({"max_pool2d_gradient", {dy, x}, attrs});
  }
  for (const Ints& plane : {Ints{7, 4}, Ints{9, 11}, Ints{20, 3}}) {  // smaller, as large, larger
    check({"adaptive_avg_pool2d", {real({2, 70, 9, 11})}, {{"output_size", plane}}});
    check({"adaptive_avg_pool2d_gradient", {real({2, 70, plane[0], plane[1]})}, {{"size", Ints{9, 11}}}});
  }
}

// Of equal elements the first takes the gradient, of several NaNs too; the largest is NaN where one is.
TEST(CudaSizes, LargestOfEqualElementsAndNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  HostTensor x({DType::f32, {1, 1, 2, 4}}), dy({DType::f32, {1, 1, 1, 2}});
  x.set_numbers(std::array<double, 8>{3, 3, 9, nan, 1, 3, nan, 9});
  dy.set_numbers(std::array<double, 2>{5, 7});
  const Attrs attrs = {{"kernel", Ints{2, 2}}, {"stride", Ints{2, 2}}, {"padding", Ints{0, 0}}};
  const std::vector<double> y = run_op(*find_op("max_pool2d"), attrs, {&x, 1}, on_cuda())[0].numbers();
  EXPECT_EQ(y[0], 3);
  EXPECT_TRUE(std::isnan(y[1]));
  const auto dx = run_op(*find_op("max_pool2d_gradient"), attrs, std::array{dy, x}, on_cuda())[0].numbers();
  EXPECT_EQ(dx, (std::vector<double>{5, 0, 0, 7, 0, 0, 0, 0}));
}

// Tiles and parts of tiles of channels, windows and what is summed over, up to 250 terms below 4; windows that leave gaps.
TEST(CudaSizes, Convolutions) {
  struct Case {
    int64_t batch, in, out, groups;
    Ints size, kernel, stride, padding, dilation, windows;
  };
  for (const Case& c : {Case{2, 5, 40, 1, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {9, 7}},
                        Case{3, 28, 33, 1, {6, 5}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {3, 3}},
                        Case{3, 36, 34, 1, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {5, 5}},
                        Case{2, 70, 6, 2, {7, 8}, {2, 1}, {3, 2}, {0, 0}, {1, 1}, {2, 4}},
                        Case{2, 6, 6, 3, {9, 9}, {3, 2}, {1, 2}, {2, 3}, {2, 5}, {9, 5}}}) {
    const Operand x = real({c.batch, c.in, c.size[0], c.size[1]});
    const Operand w = real({c.out, c.in / c.groups, c.kernel[0], c.kernel[1]});
    const Operand dy = real({c.batch, c.out, c.windows[0], c.windows[1]});
    const Attrs attrs = {{"stride", c.stride}, {"padding", c.padding}, {"dilation", c.dilation}};
    check({"conv2d", {x, w}, attrs}, 2e-4);
    check({"conv2d", {x, w, real({c.out})}, attrs}, 2e-4);
    Attrs with_size = attrs;
    with_size.set("size", c.size);
    with_size.set("group_out", c.groups > 1 ? c.out / c.groups : 0);
    check({"conv2d_input_gradient", {dy, w}, with_size}, 2e-4);
    Attrs with_kernel = attrs;
    with_kernel.set("kernel", c.kernel);
    with_kernel.set("group_in", c.groups > 1 ? c.in / c.groups : 0);
    check({"conv2d_weight_gradient", {x, dy}, with_kernel}, 2e-4);
  }
}

using CudaProductSizes = ForProducts;
INSTANTIATE_TEST_SUITE_P(Products, CudaProductSizes, kAllProducts, name_of_products);

// Inner products of up to 200 terms below 4.
TEST_P(CudaProductSizes, InAndBeyondTiles) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {33, 65, 17}, {64, 32, 16}, {100, 3, 200}}) {
    for (int64_t trans_a : {no, yes}) {
      for (int64_t trans_b : {no, yes}) {
        const Operand a = real(trans_a ? Shape{k, m} : Shape{m, k});
        const Operand b = real(trans_b ? Shape{n, k} : Shape{k, n});
        check({"matmul", {a, b}, {{"trans_a", trans_a}, {"trans_b", trans_b}}}, 2e-4, GetParam());
      }
    }
    check({"linear", {real({m, k}), real({n, k}), real({n})}}, 2e-4, GetParam());
  }
}

// Of terms below 4.
TEST_P(CudaProductSizes, OfLongSums) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{64, 48, 1024}, {63, 47, 1023}}) {
    check({"matmul", {real({m, k}), real({k, n})}}, 1e-3, GetParam());
    check({"linear_weight_gradient", {real({k, m}), real({k, n})}}, 1e-3, GetParam());
    check({"linear", {real({m, k}), real({n, k}), real({n})}}, 1e-3, GetParam());
  }
}

// Tiles of 128, which are taken where there are 64 of them.
TEST_P(CudaProductSizes, OfLargeTiles) {
  const UseCase use = UseCase{"matmul", {real({64, 130, 9}), real({64, 9, 129})}}.in_f32();
  const std::vector<HostTensor> found = run_on_cuda(use, use.inputs(), {}, GetParam());
  const std::vector<HostTensor> right = run_op(use.def(), use.attrs, use.inputs());
  EXPECT_EQ(difference(found[0].numbers(), right[0].numbers(), 2e-5), "");
}

TEST(CudaSizes, Attention) {
  for (int64_t causal : {no, yes}) {
    for (int64_t dim : {3, 64, 80, 160}) {
      const Attrs attrs = {{"causal", causal}, {"scale", 0.3}, {"seq_dim", int64_t{2}}};
      const Operand q = real({1, 2, 70, dim});
      const Operand k = real({1, 1, 130, dim});
      check({"attention", {q, k, k}, attrs}, 1e-4);
    }
    const Attrs attrs = {{"causal", causal}, {"scale", 0.3}, {"seq_dim", int64_t{1}}};
    const Operand q = real({1, 70, 2, 20});
    const Operand k = real({1, 130, 1, 20});
    check({"attention_gradient", {q, q, k, k, q, between({1, 2, 70}, 6, 8)}, attrs}, 1e-3);
  }
}

TEST(CudaSizes, AttentionOnTensorCores) {
  for (const UseCase& use : tensor_attention_uses()) check(use, use.op == "attention" ? 1e-4 : 1e-3);
}

}  // namespace
}  // namespace troupe
