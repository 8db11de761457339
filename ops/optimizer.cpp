#include "ops/optimizer.h"

#include "ops/dispatch.h"
#include "ops/infer.h"

namespace troupe {

void expect_update(const OpArgs& args, std::initializer_list<std::pair<int, const char*>> state) {
  expect_operands(args, kOk + 1);
  expect_float(args, kParameter, "p");
  expect_same_type(args, kParameter, "p", kGradient, "g");
  for (auto [operand, name] : {std::pair{kLr, "lr"}, {kScale, "scale"}, {kOk, "ok"}}) {
    expect_float_scalar(args, operand, name);
  }
  for (auto [operand, name] : state) expect_same_type(args, kParameter, "p", operand, name);
}

void expect_step(const OpArgs& args, int operand) {
  if (args.inputs[static_cast<size_t>(operand)] == TensorType{DType::i64, {}}) return;
  throw PlanError(operand_text(args, operand, "step") + ", but must be i64[]");
}

void expect_float_scalar(const OpArgs& args, int operand, const char* name) {
  expect_float(args, operand, name);
  expect_scalar(args, operand, name);
}

double scalar_of(const TensorView& view) {
  double value = 0;
  with_float(view.dtype, [&](auto zero) { value = *view.as<decltype(zero)>(); });
  return value;
}

void start_from(const KernelArgs& args, std::initializer_list<std::pair<int, int>> updates) {
  for (auto [output, input] : updates) {
    copy_unless_in_place(args.outputs[static_cast<size_t>(output)], args.inputs[static_cast<size_t>(input)]);
  }
}

}  // namespace troupe
