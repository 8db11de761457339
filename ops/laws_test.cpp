// Every signature that an op claims holds, and every one that holds is claimed or stands in a list here with its
// reason.

#include "sbp/laws.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ops/test_use_cases.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

HostTensor tensor_of(const LawTensor& part, DType dtype) {
  HostTensor tensor({dtype, part.box.extent});
  tensor.set_numbers(part.data);
  return tensor;
}

// Attributes that state a logical shape, for infer on parts. Kernels get the attributes as they are.
Attrs local_attrs(const Attrs& attrs, const Shape& output) {
  Attrs local = attrs;
  if (attrs.has("shape")) local.set("shape", output.vector());
  for (const char* first : {"rows", "experts"}) {
    if (attrs.has(first) && output.rank() > 0) local.set(first, output[0]);
  }
  if (attrs.has("columns")) local.set("columns", output.back());
  if (attrs.has("capacity") && output.rank() > 2) local.set("capacity", output[2]);
  return local;
}

// Runs the op's kernel on parts, where the types of the parts fit each other.
LawOp law_op(const UseCase& use) {
  return [&use](const std::vector<LawTensor>& inputs, std::vector<LawTensor>& outputs) {
    std::vector<TensorType> types;
    for (size_t i = 0; i < inputs.size(); ++i) types.push_back({use.operands[i].dtype, inputs[i].box.extent});
    std::vector<TensorType> inferred;
    try {
      inferred = use.def().infer({types, local_attrs(use.attrs, outputs[0].box.extent)});
    } catch (const PlanError&) {
      return false;
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!(inferred[i].shape == outputs[i].box.extent)) return false;
    }
    std::vector<HostTensor> tensors;
    std::vector<TensorView> input_views, output_views;
    for (size_t i = 0; i < inputs.size(); ++i) tensors.push_back(tensor_of(inputs[i], types[i].dtype));
    for (size_t i = 0; i < outputs.size(); ++i) tensors.push_back(tensor_of(outputs[i], inferred[i].dtype));
    for (size_t i = 0; i < inputs.size(); ++i) {
      input_views.push_back(tensors[i].view(inputs[i].box.offset, inputs[i].logical));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      output_views.push_back(tensors[inputs.size() + i].view(outputs[i].box.offset, outputs[i].logical));
    }
    try {
      run_kernel(use.def(), use.attrs, input_views, output_views, {.key = 7, .firing = {.seed = 3}});
    } catch (const FaultError&) {
      return false;
    }
    for (size_t i = 0; i < outputs.size(); ++i) outputs[i].data = tensors[inputs.size() + i].numbers();
    return true;
  };
}

LawCase law_case(const UseCase& use) {
  LawCase result;
  for (const Operand& operand : use.operands) result.inputs.push_back(operand.values);
  for (const TensorType& type : use.output_types()) result.outputs.push_back(type.shape);
  return result;
}

// Indices are never partial here, integers that are added could be.
std::vector<Signature> claims_of(const UseCase& use, int devices) {
  std::vector<Signature> claims = use.signatures(devices);
  std::erase_if(claims, [&](const Signature& claim) {
    for (size_t i = 0; i < claim.inputs.size(); ++i) {
      if (claim.inputs[i].is_partial() && use.operands[i].values.integers_below > 0) return true;
    }
    return false;
  });
  return claims;
}

LawReport report_of(const UseCase& use, int devices) {
  const bool single = use.operands.size() == 1;
  const bool rounds_to_f32 = use.op == "cast" && use.attrs.text("dtype") == "f32";
  const LawOptions options{
      .devices = devices, .repeats = single ? 3 : 1, .max_and_min = single, .tolerance = rounds_to_f32 ? 1e-6 : 1e-9};
  return check_laws(law_op(use), claims_of(use, devices), {law_case(use)}, options);
}

// Why a signature that holds is not claimed. "*": all of the op's.
struct NotClaimed {
  const char* reason;
  std::vector<const char*> ops;
  std::vector<const char*> signatures;
};

const std::vector<NotClaimed>& not_claimed() {
  static const std::vector<NotClaimed> list = {
      {"a decreasing function swaps maximum and minimum; only increasing ones let them pass",
       {"neg", "rsqrt", "rsub_scalar", "mul_scalar", "rdiv_scalar", "pow_scalar", "global_norm_scale"},
       {"P(max) -> P(min)", "P(min) -> P(max)"}},
      {"increasing for positive numbers only", {"pow_scalar"}, {"P(max) -> P(max)", "P(min) -> P(min)"}},
      {"linear in scale and shift, which are parameters and never partial",
       {"layer_norm", "layer_norm_gradient", "rms_norm", "rms_norm_gradient", "batch_norm", "batch_norm_gradient",
        "channel_normalize", "batch_norm_input_gradient"},
       {"B, P, P -> P, B, B", "B, P -> P, B", "B, B, P, B, B -> P, B, B", "B, B, P, B -> P, B", "B, B, B, P, P -> P",
        "B, B, P, B, B, B, B -> P"}},
      {"statistics of a whole piece are never partial where they are read",
       {"channel_product_sum", "channel_normalize", "batch_norm_input_gradient"},
       {"B, B, B, P -> P", "B, P, P, B -> P", "B, B, P, B, P -> P", "P, P, B, B, P -> P", "P, P, B, P, B, P, B -> P"}},
      {"another order of the sum than the canonical one", {"tree_sum"}, {"S(0) -> P", "S(1) -> P", "P -> P"}},
      {"holds while no part is infinite", {"is_finite", "loss_scale_update"}, {"*"}},
      {"reads nothing of the old version, and a partial variable helps nobody", {"assign"}, {"*"}},
      {"a ring is for devices that do not hold all keys; other forms claim it",
       {"attention", "attention_gradient"},
       {"S(1), B, B -> S(1), S(2)", "S(1), B, B, B -> S(1), S(2)", "S(1), B, S(2) -> S(1), P, P"}},
      {"an update of partial parameters helps nobody; any ok but 0 counts as 1",
       {"sgd", "adamw", "lamb", "lamb_rate", "apply_update", "adafactor_moment", "adafactor_direction",
        "adafactor_rate", "muon_momentum"},
       {"*"}},
  };
  return list;
}

bool is_left_out(const std::string& op, const Signature& signature) {
  for (const NotClaimed& entry : not_claimed()) {
    if (std::find(entry.ops.begin(), entry.ops.end(), op) == entry.ops.end()) continue;
    for (const char* text : entry.signatures) {
      if (signature.str() == text || text == std::string("*")) return true;
    }
  }
  return false;
}

// The numbers of combinations are products; this one is searched in its own test.
bool is_searched_apart(const UseCase& use) { return use.op == "attention_gradient"; }

TEST(Laws, ClaimsHoldAndNoneIsMissing) {
  for (const UseCase& use : use_cases()) {
    if (is_searched_apart(use)) continue;
    for (int devices : {2, 3, 4}) {
      // Missing claims show on three devices; the search over several operands is long.
      if (devices != 3 && use.operands.size() > 1) continue;
      LawReport report = report_of(use, devices);
      std::erase_if(report.unclaimed, [&](const Signature& s) { return use.is_corner || is_left_out(use.op, s); });
      EXPECT_EQ(report.str(), "") << use.str() << " on " << devices;
    }
  }
}

// dout, q and out always lie alike, and k and v: made from one another, they take one SBP in the search.
TEST(Laws, AttentionGradientClaimsAllWaysToSplit) {
  for (const UseCase& use : use_cases()) {
    if (!is_searched_apart(use)) continue;
    const LawOp op = law_op(use);
    const LawOp grouped = [&](const std::vector<LawTensor>& inputs, std::vector<LawTensor>& outputs) {
      const auto made_from = [](LawTensor tensor, double frequency) {
        for (double& value : tensor.data) value = std::sin(frequency * value);
        return tensor;
      };
      const LawTensor& q = inputs[0];
      const LawTensor& k = inputs[1];
      std::vector<LawTensor> all = {made_from(q, 3), q, k, made_from(k, 5), made_from(q, 7)};
      all.insert(all.end(), inputs.begin() + 2, inputs.end());
      return op(all, outputs);
    };
    std::vector<Signature> claims;
    for (const Signature& claim : use.signatures(3)) {
      const std::vector<Sbp>& in = claim.inputs;
      if (in[0].is_partial()) continue;  // linear in dout: tried on meshes
      EXPECT_TRUE(in[0] == in[1] && in[1] == in[4] && in[2] == in[3]) << claim.str();
      claims.push_back({{in[1], in[2]}, claim.outputs});
      claims.back().inputs.insert(claims.back().inputs.end(), in.begin() + 5, in.end());  // lse and mask
    }
    const LawCase all = law_case(use);
    LawCase groups{{all.inputs[1], all.inputs[2]}, all.outputs};
    groups.inputs.insert(groups.inputs.end(), all.inputs.begin() + 5, all.inputs.end());
    const LawOptions options{.devices = 3, .repeats = 1, .max_and_min = false};
    // Sines of parts are no parts: a search among splits.
    LawReport report = check_laws(grouped, claims, {groups}, options);
    std::erase_if(report.unclaimed, [&](const Signature& signature) {
      if (use.is_corner || is_left_out(use.op, signature)) return true;
      return std::any_of(signature.inputs.begin(), signature.inputs.end(), [](Sbp sbp) { return sbp.is_partial(); });
    });
    EXPECT_EQ(report.str(), "") << use.str();
  }
}

}  // namespace
}  // namespace troupe
