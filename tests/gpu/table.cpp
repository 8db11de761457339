#include "tests/gpu/table.h"

#include <algorithm>

#include "ops/test_operands.h"

namespace troupe {
namespace {

constexpr int64_t kBatch = 64;
constexpr int64_t kTokens = 1024;
constexpr int64_t kHeads = 12;
constexpr int64_t kHeadDim = 64;
constexpr int64_t kModel = kHeads * kHeadDim;
constexpr int64_t kHidden = 4 * kModel;
constexpr int64_t kClasses = 50304;
constexpr int64_t kParameters = 124'475'904;

constexpr int64_t kLlamaTokens = 8192;
constexpr int64_t kLlamaHeads = 32;
constexpr int64_t kLlamaKeyHeads = 8;
constexpr int64_t kLlamaHeadDim = 128;

double bytes_of(const std::vector<TensorType>& types) {
  double bytes = 0;
  for (const TensorType& type : types) bytes += static_cast<double>(type.shape.elements() * size_of(type.dtype));
  return bytes;
}

}  // namespace

Work work_of(const UseCase& use) {
  const std::vector<TensorType> inputs = use.types();
  Work work{.bytes = bytes_of(inputs) + bytes_of(use.output_types())};
  if (use.def().flops != nullptr) work.flops = use.def().flops({inputs, use.attrs});
  return work;
}

Rate rate_of(const Work& work, double milliseconds) {
  const double per_second = (work.flops > 0 ? work.flops : work.bytes) / (milliseconds * 1e-3);
  return {per_second, per_second / (work.flops > 0 ? kPeakFlopsPerSecond : kPeakBytesPerSecond)};
}

double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

std::vector<UseCase> gpt2_kernels() {
  const Shape rows{kBatch, kTokens};
  const Operand x = real({kBatch, kTokens, kModel});
  const Operand hidden = real({kBatch, kTokens, kHidden});
  const Operand row = real({kModel});
  const Operand logits = real({kBatch, kTokens, kClasses});
  const Operand classes = ids(rows, kClasses);
  const Operand weight = real({kHidden, kModel});
  const Operand q = real({kBatch, kTokens, kHeads, kHeadDim});
  const Operand parameters = real({kParameters});
  const Operand one = between({}, 1, 1);
  const Attrs causal = {{"causal", yes}, {"scale", 0.125}, {"seq_dim", int64_t{1}}};
  std::vector<UseCase> uses = {
      {"layer_norm", {x, row, row}, {{"eps", 1e-5}}},
      {"layer_norm_gradient", {x, x, row, real(rows), positive(rows)}},
      {"gelu", {hidden}},
      {"gelu_gradient", {hidden, hidden}},
      {"add", {x, x}},
      {"cross_entropy", {logits, classes}},
      {"cross_entropy_gradient", {logits, classes, between(rows, 11, 12), real(rows)}},
      {"adamw", {parameters, parameters, one, one, one, ids({}, 9), parameters, positive({kParameters})}},
      {"embedding", {classes, real({kClasses, kModel})}},
      {"embedding_gradient", {classes, x}, {{"rows", kClasses}}},
      {"attention", {q, q, q}, causal},
      {"attention_gradient", {q, q, q, q, q, between({kBatch, kHeads, kTokens}, 6, 8)}, causal},
      {"linear", {x, weight, real({kHidden})}},
      {"linear_input_gradient", {hidden, weight}},
      {"linear_weight_gradient", {x, hidden}},
  };
  for (UseCase& use : uses) use = use.takes_low() ? use.in_low(DType::bf16) : use.in_f32();
  return uses;
}

std::vector<UseCase> llama_attention() {
  const Operand q = real({1, kLlamaTokens, kLlamaHeads, kLlamaHeadDim});
  const Operand k = real({1, kLlamaTokens, kLlamaKeyHeads, kLlamaHeadDim});
  const Attrs causal = {{"causal", yes}, {"scale", 0.088}, {"seq_dim", int64_t{1}}};
  return {UseCase{"attention", {q, k, k}, causal}.in_low(DType::bf16),
          UseCase{"attention_gradient", {q, q, k, k, q, between({1, kLlamaHeads, kLlamaTokens}, 8, 10)}, causal}.in_low(
              DType::bf16)};
}

}  // namespace troupe
