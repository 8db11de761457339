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

// Two steps of LAMB's direction on one number, and how far it is taken.
TEST(Lamb, FollowsThePaper) {
  const Attrs attrs = {{"beta1", 0.9}, {"beta2", 0.99}, {"eps", 1e-6}, {"weight_decay", 0.1}};
  std::vector<HostTensor> state = {number(0), number(0), number(0)};
  double m = 0, v = 0;
  for (int step = 1; step <= 2; ++step) {
    const HostTensor inputs[] = {
        number(1.5), number(0.3 * step), number(0.5), number(1), number(step - 1, DType::i64), state[1], state[2]};
    state = run_op(*find_op("lamb"), attrs, inputs);
    m = 0.9 * m + 0.1 * 0.15 * step;
    v = 0.99 * v + 0.01 * 0.15 * 0.15 * step * step;
    const double adam = m / (1 - std::pow(0.9, step)) / (std::sqrt(v / (1 - std::pow(0.99, step))) + 1e-6);
    EXPECT_NEAR(first(state[0]), adam + 0.1 * 1.5, 1e-12);
  }
}

TEST(Lamb, TakesTheDirectionAsFarAsTheClampedNormsSay) {
  const auto rate = [](double p, double u) {
    const HostTensor inputs[] = {number(0.5), number(p * p), number(u * u)};
    return first(run_op(*find_op("lamb_rate"), {{"least", 1.0}, {"most", 10.0}}, inputs)[0]);
  };
  EXPECT_DOUBLE_EQ(rate(4, 2), 0.5 * 4 / 2);
  EXPECT_DOUBLE_EQ(rate(40, 2), 0.5 * 10 / 2);
  EXPECT_DOUBLE_EQ(rate(0.25, 2), 0.5 * 1 / 2);
  EXPECT_EQ(rate(0, 2), 0.5);
  EXPECT_EQ(rate(4, 0), 0.5);
}

HostTensor matrix(Shape shape, std::vector<double> values) {
  HostTensor tensor({DType::f64, shape});
  tensor.set_numbers(values);
  return tensor;
}

TEST(Adafactor, DividesByTheFactoredSecondMoment) {
  const HostTensor g = matrix({2, 3}, {1, 2, 3, 4, 5, 6});
  const HostTensor inputs[] = {g, number(0.5), matrix({2}, {2, 4}), matrix({3}, {1, 4, 9}), number(3)};
  const std::vector<double> u = run_op(*find_op("adafactor_direction"), {{"eps", 1e-3}}, inputs)[0].numbers();
  const std::vector<double> v = {2. / 3, 8. / 3, 18. / 3, 4. / 3, 16. / 3, 36. / 3};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(u[i], 0.5 * g.numbers()[i] / std::sqrt(v[i]), 1e-12);
}

TEST(Adafactor, KeepsMeansThatForgetMoreSlowly) {
  const HostTensor inputs[] = {number(0.5), number(3), number(0.5), number(1), number(3, DType::i64)};
  const double weight = std::pow(4.0, -0.8);
  const auto next = [&](int64_t square) {
    return first(run_op(*find_op("adafactor_moment"), {{"beta2_decay", -0.8}, {"square", square}}, inputs)[0]);
  };
  EXPECT_NEAR(next(0), 0.5 + weight * (3 * 0.25 - 0.5), 1e-12);
  EXPECT_NEAR(next(1), 0.5 + weight * (9 * 0.25 - 0.5), 1e-12);
}

TEST(Adafactor, ClipsTheUpdateAndFollowsTheParametersSize) {
  const auto rate = [](double lr, int64_t step, double p, double u) {
    const HostTensor inputs[] = {number(lr), number(static_cast<double>(step), DType::i64), number(4 * p * p),
                                 number(4 * u * u)};
    const Attrs attrs = {{"eps", 1e-3}, {"d", 2.0}, {"elements", int64_t{4}}};
    return first(run_op(*find_op("adafactor_rate"), attrs, inputs)[0]);
  };
  EXPECT_DOUBLE_EQ(rate(0.01, 0, 3, 1), 0.01 * 3);
  EXPECT_DOUBLE_EQ(rate(0.01, 0, 0, 8), 0.01 * 1e-3 / 4);
  EXPECT_DOUBLE_EQ(rate(0.9, 3, 3, 1), 0.5 * 3);
}

// The polynomial acts on singular values alone.
double singular_value(double s, int steps) {
  for (int i = 0; i < steps; ++i) s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
  return s;
}

TEST(NewtonSchulz, PullsSingularValuesTowardsOne) {
  for (const Shape& shape : {Shape{2, 2, 3}, Shape{2, 3, 2}}) {
    HostTensor x({DType::f64, shape});
    std::vector<double> values(12, 0);
    const auto row = static_cast<size_t>(shape[2]);
    values[0] = 3;        // of the first matrix, on the diagonal
    values[row + 1] = 4;  // norm 5
    values[6] = -0.01;    // of the second
    x.set_numbers(values);
    const std::vector<double> y = run_op(*find_op("newton_schulz"), {}, std::vector{x})[0].numbers();
    EXPECT_NEAR(y[0], singular_value(0.6, 5), 1e-12);
    EXPECT_NEAR(y[row + 1], singular_value(0.8, 5), 1e-12);
    EXPECT_NEAR(y[6], -singular_value(1, 5), 1e-12);
    EXPECT_EQ(y[1], 0);
  }
}

TEST(Muon, LooksAheadWithNesterov) {
  const HostTensor inputs[] = {number(3), number(0.5), number(1), number(0.25)};
  const auto run = [&](int64_t nesterov) {
    return run_op(*find_op("muon_momentum"), {{"momentum", 0.9}, {"nesterov", nesterov}}, inputs);
  };
  const double m = 0.9 * 0.25 + 0.1 * 1.5;
  EXPECT_DOUBLE_EQ(first(run(0)[1]), m);
  EXPECT_DOUBLE_EQ(first(run(0)[0]), m);
  EXPECT_DOUBLE_EQ(first(run(1)[0]), 0.9 * m + 0.1 * 1.5);
}

TEST(ApplyUpdate, ShrinksAndSteps) {
  const HostTensor inputs[] = {number(1.5), number(0.25), number(0.5), number(2), number(1)};
  EXPECT_DOUBLE_EQ(first(run_op(*find_op("apply_update"), {{"weight_decay", 0.1}}, inputs)[0]), 1.5 * 0.95 - 0.5);
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
  EXPECT_EQ(run_op(*find_op("apply_update"), {}, sgd)[0], number(1.5));
  const HostTensor lamb[] = {number(1.5),           number(nan), number(nan), number(0),
                             number(7, DType::i64), number(0.5), number(0.75)};
  const std::vector<HostTensor> moments = run_op(*find_op("lamb"), {}, lamb);
  EXPECT_EQ(moments[1], number(0.5));
  EXPECT_EQ(moments[2], number(0.75));
  const HostTensor muon[] = {number(nan), number(nan), number(0), number(0.5)};
  EXPECT_EQ(run_op(*find_op("muon_momentum"), {{"momentum", 0.9}}, muon)[1], number(0.5));
  const HostTensor moment[] = {number(0.5), number(nan), number(nan), number(0), number(7, DType::i64)};
  EXPECT_EQ(run_op(*find_op("adafactor_moment"), {{"beta2_decay", -0.8}}, moment)[0], number(0.5));
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

// (scale, good steps) after a step with this loss and norm.
std::pair<double, double> next_scale(double scale, int64_t good_steps, double loss, double norm) {
  const Attrs attrs = {{"growth", 4.0}, {"backoff", 0.5}, {"interval", int64_t{3}}, {"floor", 2.0}};
  const HostTensor inputs[] = {number(scale, DType::f32), number(static_cast<double>(good_steps), DType::i64),
                               number(loss, DType::f32), number(norm, DType::f32)};
  const std::vector<HostTensor> state = run_op(*find_op("loss_scale_update"), attrs, inputs);
  return {first(state[0]), first(state[1])};
}

TEST(LossScale, GrowsAfterSoManyFiniteStepsInARow) {
  EXPECT_EQ(next_scale(16, 0, 1, 1), std::pair(16.0, 1.0));
  EXPECT_EQ(next_scale(16, 1, 1, 1), std::pair(16.0, 2.0));
  EXPECT_EQ(next_scale(16, 2, 1, 1), std::pair(64.0, 0.0));
}

TEST(LossScale, BacksOffDownToItsFloor) {
  EXPECT_EQ(next_scale(16, 2, 1, INFINITY), std::pair(8.0, 0.0));
  EXPECT_EQ(next_scale(3, 1, 1, NAN), std::pair(2.0, 0.0));
  EXPECT_EQ(next_scale(2, 1, 1, NAN), std::pair(2.0, 0.0));
}

TEST(LossScale, StaysWhereTheLossIsNotFiniteOrItWouldBeInfinite) {
  EXPECT_EQ(next_scale(16, 2, NAN, NAN), std::pair(16.0, 2.0));
  EXPECT_EQ(next_scale(0x1p127, 2, 1, 1), std::pair(0x1p127, 0.0));
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
