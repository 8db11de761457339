// Optimizer steps against torch.optim's formulas written out, and the steps that are refused.

#include <gtest/gtest.h>

#include <cmath>

#include "ops/test_use_cases.h"

namespace troupe {
namespace {

HostTensor number(double value, DType dtype = DType::f64) {
  HostTensor tensor({dtype, {}});
  tensor.set_numbers(std::vector{value});
  return tensor;
}

double first(const HostTensor& tensor) { return tensor.numbers()[0]; }

// Three steps of Adam on one number, with the gradient g * scale.
double adam_by_hand(double p, double lr, double scale, double decay, bool decoupled) {
  double m = 0, v = 0;
  for (int step = 1; step <= 3; ++step) {
    double g = 0.3 * step * scale;
    if (!decoupled) g += decay * p;
    if (decoupled) p -= lr * decay * p;
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    p -= lr * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.99, step))) + 1e-6);
  }
  return p;
}

TEST(AdamW, FollowsTorch) {
  for (bool decoupled : {true, false}) {
    const Attrs attrs = {
        {"beta1", 0.9}, {"beta2", 0.99}, {"eps", 1e-6}, {"weight_decay", 0.1}, {"decoupled", int64_t{decoupled}}};
    std::vector<HostTensor> state = {number(1.5), number(0), number(0)};
    for (int step = 0; step < 3; ++step) {
      const HostTensor inputs[] = {state[0],  number(0.3 * (step + 1)), number(0.05), number(0.5),
                                   number(1), number(step, DType::i64), state[1],     state[2]};
      state = run_op(*find_op("adamw"), attrs, inputs);
    }
    EXPECT_NEAR(first(state[0]), adam_by_hand(1.5, 0.05, 0.5, 0.1, decoupled), 1e-12);
  }
}

// Three steps of SGD with momentum on one number: the first takes the whole gradient.
double sgd_by_hand(double p, double dampening, bool nesterov) {
  double buffer = 0;
  for (int step = 0; step < 3; ++step) {
    const double g = 0.3 * (step + 1) * 0.5 + 0.1 * p;
    buffer = step == 0 ? g : 0.9 * buffer + (1 - dampening) * g;
    p -= 0.05 * (nesterov ? g + 0.9 * buffer : buffer);
  }
  return p;
}

TEST(Sgd, FollowsTorchWithMomentumDampeningAndNesterov) {
  for (bool nesterov : {true, false}) {
    const double dampening = nesterov ? 0 : 0.25;
    const Attrs attrs = {
        {"momentum", 0.9}, {"dampening", dampening}, {"weight_decay", 0.1}, {"nesterov", int64_t{nesterov}}};
    std::vector<HostTensor> state = {number(1.5), number(0)};
    for (int step = 0; step < 3; ++step) {
      std::vector<HostTensor> inputs = {state[0], number(0.3 * (step + 1)), number(0.05), number(0.5), number(1),
                                        state[1]};
      if (dampening != 0) inputs.push_back(number(step, DType::i64));
      state = run_op(*find_op("sgd"), attrs, inputs);
    }
    EXPECT_NEAR(first(state[0]), sgd_by_hand(1.5, dampening, nesterov), 1e-12);
  }
}

TEST(Updates, ChangeNothingWhereTheStepIsNotOk) {
  const double nan = std::nan("");
  const HostTensor adam[] = {number(1.5), number(nan),  number(0.1), number(nan),
                             number(0),   number(0.25), number(0.5), number(0.75)};
  std::vector<HostTensor> inputs(std::begin(adam), std::end(adam));
  inputs[5] = number(7, DType::i64);
  const std::vector<HostTensor> state = run_op(*find_op("adamw"), {}, inputs);
  EXPECT_EQ(state, (std::vector<HostTensor>{number(1.5), number(0.5), number(0.75)}));
  const HostTensor sgd[] = {number(1.5), number(nan), number(0.1), number(1), number(0)};
  EXPECT_EQ(run_op(*find_op("sgd"), {}, sgd)[0], number(1.5));
}

TEST(GlobalNorm, IsThatOfTorch) {
  const Attrs attrs = {{"max_norm", 2.0}};
  const auto scale = [&](double norm) {
    const HostTensor inputs[] = {number(norm)};
    return first(run_op(*find_op("global_norm_scale"), attrs, inputs)[0]);
  };
  EXPECT_EQ(scale(1), 1);
  EXPECT_DOUBLE_EQ(scale(8), 2 / (8 + 1e-6));
  EXPECT_TRUE(std::isnan(scale(std::nan(""))));
}

TEST(IsFinite, IsFalseForInfinityAndNan) {
  const auto finite = [](double a, double b) {
    const HostTensor inputs[] = {number(a), number(b, DType::f32)};
    return first(run_op(*find_op("is_finite"), {}, inputs)[0]);
  };
  EXPECT_EQ(finite(1, 2), 1);
  EXPECT_EQ(finite(INFINITY, 2), 0);
  EXPECT_EQ(finite(1, NAN), 0);
}

}  // namespace
}  // namespace troupe
