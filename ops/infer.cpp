#include "ops/infer.h"

namespace troupe {
namespace {

const TensorType& operand(const OpArgs& args, int i) { return args.inputs[static_cast<size_t>(i)]; }

}  // namespace

std::string operand_text(const OpArgs& args, int i, const char* name) {
  return std::string(name) + " is " + operand(args, i).str();
}

void expect_operands(const OpArgs& args, int least) {
  const auto given = static_cast<int>(args.inputs.size());
  if (given < least) {
    throw PlanError("takes at least " + std::to_string(least) + " operands, got " + std::to_string(given));
  }
}

void expect_float(const OpArgs& args, int i, const char* name) {
  const DType dtype = operand(args, i).dtype;
  if (dtype == DType::f32 || dtype == DType::f64) return;
  throw PlanError(operand_text(args, i, name) + ", but must be f32 or f64; cast it");
}

void expect_any_float(const OpArgs& args, int i, const char* name) {
  if (is_float(operand(args, i).dtype)) return;
  throw PlanError(operand_text(args, i, name) + ", but must be f32, f64, bf16 or f16; cast it");
}

void expect_number(const OpArgs& args, int i, const char* name) {
  const DType dtype = operand(args, i).dtype;
  if (dtype == DType::f32 || dtype == DType::f64 || dtype == DType::i32 || dtype == DType::i64) return;
  throw PlanError(operand_text(args, i, name) + ", but must be f32, f64, i32 or i64; cast it");
}

void expect_any_number(const OpArgs& args, int i, const char* name) {
  if (!is_low(operand(args, i).dtype)) expect_number(args, i, name);
}

void expect_ids(const OpArgs& args, int i, const char* name) {
  const DType dtype = operand(args, i).dtype;
  if (dtype == DType::i32 || dtype == DType::i64) return;
  throw PlanError(operand_text(args, i, name) + ", but must be i32 or i64; cast it");
}

void expect_dtype(const OpArgs& args, int i, const char* name, DType dtype) {
  if (operand(args, i).dtype == dtype) return;
  throw PlanError(operand_text(args, i, name) + ", but must be " + std::string(name_of(dtype)));
}

void expect_rank(const OpArgs& args, int i, const char* name, int least) {
  if (args.rank(i) >= least) return;
  throw PlanError(operand_text(args, i, name) + ", but must have at least " + std::to_string(least) + " dims");
}

void expect_scalar(const OpArgs& args, int i, const char* name) {
  if (args.rank(i) == 0) return;
  throw PlanError(operand_text(args, i, name) + ", but must be a scalar (no dims)");
}

void expect_same_dtype(const OpArgs& args, int a, const char* a_name, int b, const char* b_name) {
  if (operand(args, a).dtype == operand(args, b).dtype) return;
  throw PlanError("dtypes differ: " + operand_text(args, a, a_name) + ", " + operand_text(args, b, b_name) +
                  "; cast one of them");
}

void expect_same_type(const OpArgs& args, int a, const char* a_name, int b, const char* b_name) {
  if (operand(args, a) == operand(args, b)) return;
  throw PlanError(operand_text(args, a, a_name) + ", " + operand_text(args, b, b_name) +
                  "; both must have the same dtype and shape");
}

void expect_shape(const OpArgs& args, int i, const char* name, const Shape& shape, const std::string& why) {
  if (args.shape(i) == shape) return;
  throw PlanError(operand_text(args, i, name) + ", but must be " + type_text(operand(args, i).dtype, shape) + ": " +
                  why);
}

int dim_of(const OpArgs& args, const char* name) {
  expect_operands(args, 1);
  expect_rank(args, 0, name, 1);
  const int64_t dim = args.attrs.integer("dim");
  if (dim < 0 || dim >= args.rank(0)) {
    throw PlanError("dim is " + std::to_string(dim) + ", but " + operand_text(args, 0, name) + " with dims 0.." +
                    std::to_string(args.rank(0) - 1));
  }
  return static_cast<int>(dim);
}

Shape shape_attr(const Attrs& attrs) {
  const Shape shape(attrs.integers("shape"));
  for (int64_t size : shape) {
    if (size < 0) throw PlanError("shape is [" + shape.str() + "], but sizes must not be negative");
  }
  return shape;
}

DType dtype_attr(const Attrs& attrs) { return dtype_from_name(attrs.text("dtype")); }

std::vector<TensorType> infer_same_float(const OpArgs& args) {
  expect_operands(args, 1);
  expect_float(args, 0, "x");
  return infer_same_any_float(args);
}

std::vector<TensorType> infer_same_any_float(const OpArgs& args) {
  expect_operands(args, 1);
  expect_any_float(args, 0, "x");
  for (int i = 1; i < static_cast<int>(args.inputs.size()); ++i) {
    expect_same_type(args, 0, "operand 0", i, ("operand " + std::to_string(i)).c_str());
  }
  return {args.inputs[0]};
}

std::vector<TensorType> infer_any_same(const OpArgs& args) {
  expect_operands(args, 1);
  return {args.inputs[0]};
}

DType sum_dtype(DType dtype) { return is_low(dtype) ? DType::f32 : dtype; }

Shape rows_of(const Shape& shape) {
  Shape rows = shape;
  rows.erase(shape.rank() - 1);
  return rows;
}

int64_t row_count(const Shape& shape) { return rows_of(shape).elements(); }

}  // namespace troupe
