// What the infer functions of many ops check, with texts that say what would be right.
#pragma once

#include <string>

#include "ops/op.h"
#include "runtime/base/error.h"

namespace troupe {

// "a is f32[8,16]"
std::string operand_text(const OpArgs& args, int operand, const char* name);

// Each throws PlanError when it does not hold; `name` is the operand's name in the text.
void expect_operands(const OpArgs& args, int least);
void expect_float(const OpArgs& args, int operand, const char* name);       // f32 or f64
void expect_any_float(const OpArgs& args, int operand, const char* name);   // or bf16, f16
void expect_number(const OpArgs& args, int operand, const char* name);      // f32, f64, i32 or i64
void expect_any_number(const OpArgs& args, int operand, const char* name);  // or bf16, f16
void expect_ids(const OpArgs& args, int operand, const char* name);         // i32 or i64
void expect_dtype(const OpArgs& args, int operand, const char* name, DType dtype);
void expect_rank(const OpArgs& args, int operand, const char* name, int least);
void expect_scalar(const OpArgs& args, int operand, const char* name);
void expect_same_dtype(const OpArgs& args, int a, const char* a_name, int b, const char* b_name);
void expect_same_type(const OpArgs& args, int a, const char* a_name, int b, const char* b_name);
void expect_shape(const OpArgs& args, int operand, const char* name, const Shape& shape, const std::string& why);

// The attribute `dim` of an op that works on one dim of operand 0.
int dim_of(const OpArgs& args, const char* name);

// The attributes `shape` and `dtype`.
Shape shape_attr(const Attrs& attrs);
DType dtype_attr(const Attrs& attrs);

// The common infer functions: one float operand, the output of the same type; all operands of one float type.
std::vector<TensorType> infer_same_float(const OpArgs& args);
std::vector<TensorType> infer_same_any_float(const OpArgs& args);  // bf16 and f16 too
std::vector<TensorType> infer_any_same(const OpArgs& args);        // one operand of any dtype

// What sums over rows come in: float32 for bfloat16 and float16, the same dtype for others.
DType sum_dtype(DType dtype);

// The shape without its last dim: the rows of an op that works on the last dim.
Shape rows_of(const Shape& shape);
// The product of all dims but the last one.
int64_t row_count(const Shape& shape);

}  // namespace troupe
