// The list of ops: one line each.

#include <algorithm>
#include <numeric>

#include "ops/definitions.h"
#include "ops/pull.h"
#include "ops/rules.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

std::vector<OpDef> make_list() {
  return {
      define::variable(),
      define::source(),
      define::fill(),
      define::to_layout(),
      define::assign(),
      define::accumulate(),
      define::matmul(),
      define::linear(),
      define::linear_input_gradient(),
      define::linear_weight_gradient(),
      define::row_sum(),
      define::conv2d(),
      define::conv2d_input_gradient(),
      define::conv2d_weight_gradient(),
      define::max_pool2d(),
      define::max_pool2d_gradient(),
      define::avg_pool2d(),
      define::avg_pool2d_gradient(),
      define::adaptive_avg_pool2d(),
      define::adaptive_avg_pool2d_gradient(),
      define::embedding(),
      define::embedding_gradient(),
      define::layer_norm(),
      define::layer_norm_gradient(),
      define::rms_norm(),
      define::rms_norm_gradient(),
      define::batch_norm(),
      define::batch_norm_gradient(),
      define::channel_sum(),
      define::channel_square_sum(),
      define::channel_product_sum(),
      define::channel_normalize(),
      define::batch_norm_input_gradient(),
      define::normalize(),
      define::normalize_gradient(),
      define::softmax(),
      define::softmax_gradient(),
      define::log_softmax(),
      define::log_softmax_gradient(),
      define::attention(),
      define::attention_gradient(),
      define::merge_attention(),
      define::halves(),
      define::join_halves(),
      define::rope(),
      define::gelu(),
      define::gelu_gradient(),
      define::relu(),
      define::relu_gradient(),
      define::tanh(),
      define::tanh_gradient(),
      define::sigmoid(),
      define::sigmoid_gradient(),
      define::silu(),
      define::silu_gradient(),
      define::swiglu(),
      define::swiglu_gradient(),
      define::exp(),
      define::log(),
      define::softplus(),
      define::sqrt(),
      define::rsqrt(),
      define::neg(),
      define::abs(),
      define::sign(),
      define::cos(),
      define::sin(),
      define::square(),
      define::add(),
      define::sub(),
      define::mul(),
      define::div(),
      define::minimum(),
      define::maximum(),
      define::add_n(),
      define::equal(),
      define::less(),
      define::where(),
      define::sum_to(),
      define::expand(),
      define::add_scalar(),
      define::mul_scalar(),
      define::rsub_scalar(),
      define::rdiv_scalar(),
      define::pow_scalar(),
      define::minimum_scalar(),
      define::maximum_scalar(),
      define::reshape(),
      define::transpose(),
      define::slice(),
      define::pad(),
      define::concat(),
      define::split(),
      define::cast(),
      define::reduce_sum(),
      define::reduce_mean(),
      define::reduce_max(),
      define::reduce_min(),
      define::count(),
      define::count_labels(),
      define::weighted_mean(),
      define::margin_logits(),
      define::margin_logits_gradient(),
      define::cross_entropy(),
      define::cross_entropy_gradient(),
      define::exp_sum(),
      define::picked_logit(),
      define::top_k(),
      define::top_k_gradient(),
      define::expert_places(),
      define::dispatch(),
      define::combine(),
      define::routed_dot(),
      define::expert_linear(),
      define::expert_linear_weight_gradient(),
      define::dropout(),
      define::random_normal(),
      define::random_uniform(),
      define::row_sum_squares(),
      define::tree_sum(),
      define::global_norm_scale(),
      define::is_finite(),
      define::loss_scale_update(),
      define::sgd(),
      define::adamw(),
      define::apply_update(),
      define::lamb(),
      define::lamb_rate(),
      define::mean_squares(),
      define::adafactor_moment(),
      define::adafactor_direction(),
      define::adafactor_rate(),
      define::muon_momentum(),
      define::newton_schulz(),
  };
}

// The ops' indices in all_ops(), by name.
std::vector<int> make_index() {
  const std::vector<OpDef>& ops = all_ops();
  std::vector<int> index(ops.size());
  std::iota(index.begin(), index.end(), 0);
  std::sort(index.begin(), index.end(), [&](int a, int b) { return ops[size_t(a)].name < ops[size_t(b)].name; });
  for (size_t i = 1; i < index.size(); ++i) {
    CHECK(ops[size_t(index[i - 1])].name != ops[size_t(index[i])].name, ops[size_t(index[i])].name);
  }
  return index;
}

bool dims_exist(const std::vector<Sbp>& sbp, std::span<const TensorType> types) {
  for (size_t i = 0; i < sbp.size() && i < types.size(); ++i) {
    if (sbp[i].is_split() && sbp[i].dim >= types[i].shape.rank()) return false;
  }
  return true;
}

}  // namespace

const std::vector<OpDef>& all_ops() {
  static const std::vector<OpDef> ops = make_list();
  return ops;
}

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::full:
      return "full";
    case Precision::follow:
      return "follow";
    case Precision::low:
      return "low";
  }
  return "";
}

const OpDef* find_op(std::string_view name) {
  static const std::vector<int> index = make_index();
  const std::vector<OpDef>& ops = all_ops();
  const auto it = std::lower_bound(index.begin(), index.end(), name,
                                   [&](int i, std::string_view wanted) { return ops[size_t(i)].name < wanted; });
  return it != index.end() && ops[size_t(*it)].name == name ? &ops[size_t(*it)] : nullptr;
}

std::vector<Signature> signatures_of(const OpDef& op, const OpArgs& args, int parts) {
  std::vector<Signature> found;
  if (op.signatures != nullptr) {
    found = op.signatures(args, parts);
  } else {
    found = signatures_from(op.rule_of != nullptr ? op.rule_of(args) : op.rule);
  }
  CHECK(!found.empty(), op.name);
  const Signature whole{std::vector<Sbp>(args.inputs.size(), B), std::vector<Sbp>(found.front().outputs.size(), B)};
  std::vector<Signature> result = {whole};
  for (Signature& signature : found) {
    CHECK(signature.inputs.size() == args.inputs.size(), op.name, signature.str(), args.inputs.size());
    if (!dims_exist(signature.inputs, args.inputs)) continue;
    if (std::find(result.begin(), result.end(), signature) == result.end()) result.push_back(std::move(signature));
  }
  return result;
}

void add_cpu_kernels(KernelTable& table) {
  for (const OpDef& op : all_ops()) {
    if (op.cpu != nullptr) table.add(op.name, DeviceKind::cpu, op.cpu);
    if (op.explain != nullptr) table.explain(op.name, op.explain);
  }
  table.add("pull", DeviceKind::cpu, pull_kernel, pull_reads);
}

}  // namespace troupe
