// For tests: uses of every op, on which all of them are tried (gradients, laws of signatures, dtypes, shared memory).
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "ops/interpret.h"
#include "runtime/base/random.h"
#include "sbp/laws.h"

namespace troupe {

struct Operand {
  LawInput values;
  DType dtype = DType::f64;
};

struct UseCase {
  std::string op;
  std::vector<Operand> operands;
  Attrs attrs = {};
  // Which outputs a loss may depend on; the others are kept for the backward pass.
  std::vector<int> differentiable = {0};
  // More signatures hold than in a proper use: no dims, nothing to reduce, a single summand.
  bool is_corner = false;

  const OpDef& def() const { return *find_op(op); }
  std::vector<TensorType> types() const {
    std::vector<TensorType> types;
    for (const Operand& operand : operands) types.push_back({operand.dtype, operand.values.shape});
    return types;
  }
  std::vector<TensorType> output_types() const {
    const std::vector<TensorType> inputs = types();
    return def().infer({inputs, attrs});
  }
  std::vector<Signature> signatures(int parts) const {
    const std::vector<TensorType> inputs = types();
    return signatures_of(def(), {inputs, attrs}, parts);
  }
  // The use with float32 in place of float64.
  UseCase in_f32() const;
  // The use with bf16 or f16 in place of float64, where the op takes it; float32 where the op wants that.
  UseCase in_low(DType low) const;
  bool takes_low() const { return def().precision != Precision::full && has_float64(); }
  bool has_float64() const {
    return std::any_of(operands.begin(), operands.end(), [](const Operand& o) { return o.dtype == DType::f64; });
  }
  // "matmul(f64[5,7], f64[7,4]) {trans_b=1}"
  std::string str() const;
  // Numbers as the operands want them, the same for the same seed.
  std::vector<HostTensor> inputs(uint64_t seed = 1) const;
};

// Sizes are uneven, differ, and are larger than the three devices on which missing claims are looked for.
const std::vector<UseCase>& use_cases();

// The ops that have no kernel of their own or whose law is another (accumulate sums over time).
bool has_no_law(const std::string& op);

// Empty, or the first element that differs by more than tolerance * max(1, |right|).
std::string difference(std::span<const double> values, std::span<const double> right, double tolerance);

}  // namespace troupe
