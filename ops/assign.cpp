// The next version of a variable that is computed aside, a counter say, copied over the old one.

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/error.h"

namespace troupe::define {
namespace {

std::vector<TensorType> infer_assign(const OpArgs& args) {
  expect_operands(args, 2);
  if (!(args.inputs[0] == args.inputs[1])) {
    throw PlanError("the variable is " + args.inputs[1].str() + ", but the new value is " + args.inputs[0].str());
  }
  return {args.inputs[1]};
}

std::string rule_of_assign(const OpArgs& args) { return pointwise_rule(args); }

void assign_cpu(const KernelArgs& args, Stream&) { copy_unless_in_place(args.outputs[0], args.inputs[0]); }

}  // namespace

OpDef assign() {
  return {.name = "assign",
          .inputs = {"value", "variable"},
          .outputs = {"next"},
          .doc = "The variable takes this value at the end of the step.",
          .rule_of = rule_of_assign,
          .infer = infer_assign,
          .cpu = assign_cpu,
          .updates = {{0, 1}}};
}

}  // namespace troupe::define
