// CUDA kernels that the uses of ops do not reach, or not all of: sums over time and devices, refused steps, bad labels.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "ops/pull.h"
#include "ops/test_operands.h"
#include "runtime/base/random.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

HostTensor tensor(DType dtype, const Shape& shape, std::vector<double> numbers) {
  HostTensor result({dtype, shape});
  result.set_numbers(numbers);
  return result;
}

// ---- Sums over devices and over time, to the bit ----

std::vector<double> numbers_of(Random& random, int64_t n) {
  std::vector<double> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(4 * random.uniform() - 2);
  return numbers;
}

TEST(CudaPull, AssemblesAndAddsAsTheCpuDoes) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    const bool flat = random.chance(0.3);
    const DType dtype =
        std::array{DType::f32, DType::f64, DType::bf16, DType::f16}[static_cast<size_t>(random.below(4))];
    Dims shape = Dims::filled(flat ? 1 : static_cast<int>(random.between(1, 4)), 1);
    for (int d = 0; d < shape.rank(); ++d) shape[d] = random.between(1, flat ? 60 : 6);
    std::vector<PullRegion> regions;
    for (int64_t r = random.between(1, 3); r > 0; --r) {
      PullRegion region;
      region.extent = region.offset = Dims::filled(shape.rank(), 0);
      for (int d = 0; d < shape.rank(); ++d) {
        region.extent[d] = random.between(1, shape[d]);
        region.offset[d] = random.below(shape[d] - region.extent[d] + 1);
      }
      const int sources = static_cast<int>(random.between(1, 4));
      for (int s = 0; s < sources; ++s) {
        PullRegion::Source source{.input = static_cast<int>(random.below(3)), .offset = region.offset};
        for (int d = 0; d < shape.rank(); ++d) source.offset[d] = random.below(shape[d] - region.extent[d] + 1);
        region.sources.push_back(source);
      }
      if (sources == 2) region.program = {0, 1, -1};
      if (sources == 3) region.program = {0, 1, 2, -1, -1};
      if (sources == 4) region.program = {0, 1, -1, 2, 3, -1, -1};
      regions.push_back(region);
    }
    const int reduction = static_cast<int>(random.below(3));
    const Attrs attrs = pull_attrs(regions, flat, true, reduction);
    std::vector<HostTensor> registers;
    std::vector<TensorView> inputs;
    for (int i = 0; i < 3; ++i) registers.push_back(tensor(dtype, shape, numbers_of(random, shape.elements())));
    for (const HostTensor& input : registers) inputs.push_back(input.view());
    std::vector<std::byte> scratch(static_cast<size_t>(pull_scratch_bytes(regions, dtype)));
    HostTensor right({dtype, shape});
    HostTensor found({dtype, shape});
    const TensorView right_view = right.view();
    const TensorView found_view = found.view();
    std::string failure;
    Stream stream;
    pull_kernel({inputs, {&right_view, 1}, scratch, &attrs, 0, {}, &failure}, stream);
    run_cuda_kernel("pull", {inputs, {&found_view, 1}, {}, &attrs, 0, {}, &failure});
    EXPECT_EQ(found, right) << attrs.str();
    EXPECT_EQ(failure, "");
  }
}

TEST(CudaPull, DoesNotAddIntegers) {
  const std::vector<PullRegion> regions = {
      {.offset = {0}, .extent = {4}, .sources = {{0, 0, {0}}, {0, 0, {0}}}, .program = {0, 1, -1}}};
  const Attrs attrs = pull_attrs(regions, false, false, 0);
  const HostTensor x({DType::i32, {4}});
  const TensorView view = x.view();
  std::string failure;
  run_cuda_kernel("pull", {{&view, 1}, {&view, 1}, {}, &attrs, 0, {}, &failure});
  EXPECT_EQ(failure, "sums between devices are possible for f32, f64, bf16 and f16, not for i32");
}

TEST(CudaAccumulate, AddsAlongTheTreeAsTheCpuDoes) {
  Random random(2);
  for (const auto& [first, count, total, pieces] :
       {std::array<int64_t, 4>{0, 4, 4, 1}, {0, 5, 8, 1}, {3, 5, 8, 2}, {0, 3, 3, 3}, {1, 6, 7, 1}}) {
    const Attrs attrs = {
        {"pieces_per_shard", pieces}, {"first_shard", first}, {"shards", count}, {"total_shards", total}};
    HostTensor right({DType::f32, {8, 5}});
    HostTensor found({DType::f32, {8, 5}});
    for (int32_t round = 0; round < count * pieces + 2; ++round) {
      const HostTensor x = tensor(DType::f32, {5}, numbers_of(random, 5));
      const TensorView input = x.view();
      const Firing firing{.round = round};
      for (HostTensor* stack : {&right, &found}) {
        TensorView output = stack->view();
        output.shape = output.logical = {5};
        const RunContext context{.firing = firing};
        run_kernel(*find_op("accumulate"), attrs, {&input, 1}, {&output, 1},
                   stack == &right ? context : on_cuda(context));
      }
      ASSERT_EQ(found, right) << attrs.str() << ", round " << round;
    }
  }
}

TEST(CudaHalves, AreThoseOfTheCpu) {
  for (int64_t mirrored : {no, yes}) {
    for (int64_t dim : {0, 1}) {
      const Attrs attrs = {{"dim", dim}, {"parts", int64_t{3}}, {"mirrored", mirrored}};
      Random random(3);
      const HostTensor x = tensor(DType::f32, {11, 8}, numbers_of(random, 88));
      const auto right = run_op(*find_op("halves"), attrs, std::span(&x, 1));
      EXPECT_EQ(run_op(*find_op("halves"), attrs, std::span(&x, 1), on_cuda()), right);
      EXPECT_EQ(run_op(*find_op("join_halves"), attrs, right, on_cuda())[0], x);
    }
  }
}

// ---- Steps that are refused, first steps, losses that are not finite ----

void expect_as_cpu(const std::string& op, const Attrs& attrs, const std::vector<HostTensor>& inputs) {
  const auto right = run_op(*find_op(op), attrs, inputs);
  const auto found = run_op(*find_op(op), attrs, inputs, on_cuda());
  for (size_t i = 0; i < right.size(); ++i) {
    EXPECT_EQ(difference(found[i].numbers(), right[i].numbers(), 1e-14), "") << op << " " << attrs.str() << ": " << i;
  }
}

TEST(CudaUpdates, LeaveEverythingWhereTheStepIsRefused) {
  const auto f64 = [](std::vector<double> numbers) {
    const auto n = static_cast<int64_t>(numbers.size());
    return tensor(DType::f64, {n}, std::move(numbers));
  };
  const HostTensor p = f64({1, -2, 3}), g = f64({kNan, 5, 6}), m = f64({7, 8, 9}), v = f64({1, 2, 3});
  const HostTensor lr = tensor(DType::f64, {}, {0.1}), ok = tensor(DType::f64, {}, {0});
  const HostTensor step = tensor(DType::i64, {}, {3});
  const Attrs none = {};
  const Attrs momentum = {{"momentum", 0.9}};
  const auto kept = [](const std::string& op, const Attrs& attrs, const std::vector<HostTensor>& inputs) {
    return run_op(*find_op(op), attrs, inputs, on_cuda());
  };
  EXPECT_EQ(kept("sgd", none, {p, g, lr, lr, ok}), (std::vector{p}));
  EXPECT_EQ(kept("sgd", momentum, {p, g, lr, lr, ok, m}), (std::vector{p, m}));
  EXPECT_EQ(kept("adamw", none, {p, g, lr, lr, ok, step, m, v}), (std::vector{p, m, v}));
  EXPECT_EQ(kept("apply_update", none, {p, g, lr, lr, ok}), (std::vector{p}));
  EXPECT_EQ(kept("adafactor_moment", {{"beta2_decay", -0.8}}, {v, g, lr, ok, step}), (std::vector{v}));
  const auto lamb = kept("lamb", none, {p, g, lr, ok, step, m, v});
  EXPECT_EQ(lamb[1], m);
  EXPECT_EQ(lamb[2], v);
  EXPECT_EQ(kept("muon_momentum", momentum, {g, lr, ok, m})[1], m);
}

TEST(CudaUpdates, TakeTheWholeGradientAtTheFirstStep) {
  const HostTensor p = tensor(DType::f64, {2}, {1, -2});
  const HostTensor g = tensor(DType::f64, {2}, {0.5, 0.25});
  const HostTensor m = tensor(DType::f64, {2}, {kNan, kNan});
  const HostTensor one = tensor(DType::f64, {}, {1});
  expect_as_cpu("sgd", {{"momentum", 0.9}, {"dampening", 0.5}}, {p, g, one, one, one, m, tensor(DType::i64, {}, {0})});
  expect_as_cpu("sgd", {{"momentum", 0.0}}, {p, g, one, one, one, p});
}

TEST(CudaLossScale, FallsAndGrowsAsOnTheCpu) {
  const Attrs attrs = {{"growth", 2.0}, {"backoff", 0.5}, {"interval", int64_t{3}}, {"floor", 1.0}};
  for (double scale : {1.0, 1.5, 1024.0, 3e38}) {
    for (int64_t good : {0, 1, 2}) {
      for (double loss : {1.0, kInfinity, kNan}) {
        for (double norm : {1.0, kInfinity, kNan}) {
          expect_as_cpu("loss_scale_update", attrs,
                        {tensor(DType::f32, {}, {scale}), tensor(DType::i64, {}, {static_cast<double>(good)}),
                         tensor(DType::f32, {}, {loss}), tensor(DType::f32, {}, {norm})});
        }
      }
    }
  }
}

TEST(CudaScalars, SeeWhatIsNotFinite) {
  for (double x : {1.0, kInfinity, -kInfinity, kNan}) {
    expect_as_cpu("is_finite", {}, {tensor(DType::f32, {}, {1}), tensor(DType::f64, {}, {x})});
  }
  for (double norm : {0.5, 4.0})
    expect_as_cpu("global_norm_scale", {{"max_norm", 1.0}}, {tensor(DType::f64, {}, {norm})});
}

// ---- What is in no table makes its own row NaN, and touches nothing else ----

TEST(CudaBadIds, GiveNanInTheirRows) {
  const HostTensor logits = tensor(DType::f32, {3, 4}, std::vector<double>(12, 1));
  const HostTensor labels = tensor(DType::i64, {3}, {2, 4, -1});
  const auto loss = run_op(*find_op("cross_entropy"), {}, std::array{logits, labels}, on_cuda())[0].numbers();
  EXPECT_NEAR(loss[0], std::log(4), 1e-6);
  EXPECT_TRUE(std::isnan(loss[1]) && std::isnan(loss[2]));
  const auto picked = run_op(*find_op("picked_logit"), {}, std::array{logits, labels}, on_cuda())[0].numbers();
  EXPECT_EQ(picked[0], 1);
  EXPECT_TRUE(std::isnan(picked[1]) && std::isnan(picked[2]));
  const HostTensor ids = tensor(DType::i64, {3}, {2, 3, -1});
  const HostTensor table = tensor(DType::f32, {3, 4}, std::vector<double>(12, 1));
  const auto rows = run_op(*find_op("embedding"), {}, std::array{ids, table}, on_cuda())[0].numbers();
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(std::isnan(rows[i]), i >= 4) << i;
  const auto gradient =
      run_op(*find_op("embedding_gradient"), {{"rows", int64_t{3}}}, std::array{ids, logits}, on_cuda())[0].numbers();
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_EQ(gradient[i], i < 8 ? 0 : 1) << i;
}

}  // namespace
}  // namespace troupe
