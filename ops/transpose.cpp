#include "ops/cpu/movement.h"
#include "ops/definitions.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/text.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_transpose(const OpArgs& args) {
  expect_operands(args, 1);
  const std::vector<int64_t>& perm = args.attrs.integers("perm");
  const int rank = args.rank(0);
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  bool valid = static_cast<int>(perm.size()) == rank;
  Shape y;
  for (size_t i = 0; valid && i < perm.size(); ++i) {
    valid = perm[i] >= 0 && perm[i] < rank && !seen[static_cast<size_t>(perm[i])];
    if (!valid) break;
    seen[static_cast<size_t>(perm[i])] = true;
    y.push_back(args.shape(0)[static_cast<int>(perm[i])]);
  }
  if (!valid) {
    throw PlanError("perm is [" + join(perm, ",", [](int64_t d) { return std::to_string(d); }) + "], but " +
                    operand_text(args, 0, "x") + "; perm must name each of its " + std::to_string(rank) + " dims once");
  }
  return {{args.inputs[0].dtype, y}};
}

std::string transpose_rule(const OpArgs& args) {
  const std::vector<int64_t>& perm = args.attrs.integers("perm");
  const std::string y = join(perm, " ", [](int64_t d) { return "d" + std::to_string(d); });
  return dim_names(args.rank(0)) + " -> " + (perm.empty() ? "." : y) + "; movement";
}

std::vector<ValueId> transpose_gradient(GradientBuilder& g) {
  const std::vector<int64_t>& perm = g.attrs().integers("perm");
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return {g.add("transpose", {g.gradient()}, {{"perm", inverse}})};
}

void transpose_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  const std::vector<int64_t>& attr = args.attrs->integers("perm");
  int perm[kMaxRank];
  for (size_t i = 0; i < attr.size(); ++i) perm[i] = static_cast<int>(attr[i]);
  cpu::permute(args.outputs[0].data, x.data, x.shape.begin(), perm, x.shape.rank(), size_of(x.dtype));
}

}  // namespace

OpDef transpose() {
  return {.name = "transpose",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "Dim i of y is dim perm[i] of x.",
          .rule_of = transpose_rule,
          .infer = infer_transpose,
          .gradient = transpose_gradient,
          .precision = Precision::follow,
          .cpu = transpose_cpu};
}

}  // namespace troupe::define
