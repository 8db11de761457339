// Bad data and mistakes: what the user reads.

#include <gtest/gtest.h>

#include "ops/graph.h"
#include "ops/interpret.h"

namespace troupe {
namespace {

HostTensor numbers(DType dtype, const Shape& shape, const std::vector<double>& values) {
  HostTensor tensor({dtype, shape});
  tensor.set_numbers(values);
  return tensor;
}

std::string fault_of(const char* op, const Attrs& attrs, const std::vector<HostTensor>& inputs) {
  try {
    run_op(*find_op(op), attrs, inputs);
  } catch (const FaultError& error) {
    return error.fault().what;
  }
  return "";
}

// What is said of a device's report of it.
std::string text_of_report(const char* op, const Attrs& attrs, const std::vector<HostTensor>& inputs, int operand,
                           int64_t element, int64_t value) {
  std::vector<TensorType> types;
  std::vector<TensorView> of_inputs;
  for (const HostTensor& input : inputs) {
    types.push_back(input.type());
    of_inputs.push_back(input.view());
  }
  std::vector<TensorView> of_outputs;
  for (const TensorType& type : find_op(op)->infer({types, attrs})) {
    const Dims zero = Dims::filled(type.shape.rank(), 0);
    of_outputs.push_back({nullptr, type.dtype, type.shape, zero, type.shape});
  }
  KernelArgs args;
  args.inputs = of_inputs;
  args.outputs = of_outputs;
  args.attrs = &attrs;
  KernelTable table;
  add_cpu_kernels(table);
  return table.text_of(op, args, {KernelReport::kReported, 0, operand, element, value});
}

TEST(BadData, DevicesReportItInTheSameWords) {
  const HostTensor table({DType::f32, {4, 2}});
  const std::vector<HostTensor> looked_up = {numbers(DType::i64, {2, 3}, {0, 1, 2, 3, 4, 1}), table};
  EXPECT_EQ(text_of_report("embedding", {}, looked_up, 0, 4, 4), fault_of("embedding", {}, looked_up));
  const std::vector<HostTensor> dy = {numbers(DType::i64, {1}, {9}), HostTensor({DType::f32, {1, 2}})};
  const Attrs rows = {{"rows", int64_t{4}}};
  EXPECT_EQ(text_of_report("embedding_gradient", rows, dy, 0, 0, 9), fault_of("embedding_gradient", rows, dy));
  const std::vector<HostTensor> classes = {HostTensor({DType::f32, {3, 5}}), numbers(DType::i64, {3}, {4, -100, 5})};
  for (const char* op : {"cross_entropy", "picked_logit"}) {
    EXPECT_EQ(text_of_report(op, {}, classes, 1, 2, 5), fault_of(op, {}, classes)) << op;
  }
  const std::vector<HostTensor> choices = {numbers(DType::i32, {2, 3, 1}, {1, 0, 2, 2, 2, 2})};
  for (const int64_t experts : {2, 3}) {  // a choice outside; too many tokens for one
    const Attrs few = {{"experts", experts}, {"capacity", int64_t{2}}, {"dropless", int64_t{1}}};
    const std::string text = fault_of("expert_places", few, choices);
    EXPECT_NE(text, "");
    EXPECT_EQ(experts == 2 ? text_of_report("expert_places", few, choices, 0, 2, 2)
                           : text_of_report("expert_places", few, choices, 1, 5, 3),
              text);
  }
  EXPECT_EQ(text_of_report("exp", {}, {table}, 0, 3, 7), "element 3 of operand 0 is 7, which 'exp' cannot take");
}

TEST(BadData, AnIdOutsideTheTableIsNamedWithItsPlace) {
  const HostTensor table({DType::f32, {4, 2}});
  EXPECT_EQ(fault_of("embedding", {}, {numbers(DType::i64, {2, 3}, {0, 1, 2, 3, 4, 1}), table}),
            "id 4 at [1,1] is outside the table's rows 0..3");
  EXPECT_EQ(fault_of("embedding", {}, {numbers(DType::i32, {2}, {-1, 1}), table}),
            "id -1 at [0] is outside the table's rows 0..3");
  EXPECT_EQ(fault_of("embedding_gradient", {{"rows", int64_t{4}}},
                     {numbers(DType::i64, {1}, {9}), HostTensor({DType::f32, {1, 2}})}),
            "id 9 at [0] is outside the table's rows 0..3");
  EXPECT_EQ(fault_of("embedding", {}, {numbers(DType::i64, {4}, {0, 1, 2, 3}), table}), "");
}

TEST(BadData, AnIdOfAnotherShardIsNone) {
  // A shard of rows 2..3 of a table of 4: ids 0 and 3 are both good, 4 is not.
  const HostTensor shard = numbers(DType::f64, {2, 1}, {20, 30});
  const HostTensor ids = numbers(DType::i64, {2}, {0, 3});
  HostTensor out({DType::f64, {2, 1}});
  const TensorView inputs[] = {ids.view(), shard.view({2, 0}, {4, 1})};
  const TensorView output = out.view();
  run_kernel(*find_op("embedding"), {}, inputs, {&output, 1});
  EXPECT_EQ(out.numbers(), (std::vector<double>{0, 30}));
}

TEST(BadData, ALabelOutsideTheClassesIsNamedWithItsPlace) {
  const HostTensor logits({DType::f32, {3, 5}});
  const HostTensor labels = numbers(DType::i64, {3}, {4, -100, 5});
  const std::string expected = "label 5 at [2] is outside 0..4 and is not ignore_index=-100";
  EXPECT_EQ(fault_of("cross_entropy", {}, {logits, labels}), expected);
  EXPECT_EQ(fault_of("picked_logit", {}, {logits, labels}), expected);
  const HostTensor row({DType::f32, {3}});
  EXPECT_EQ(fault_of("cross_entropy_gradient", {}, {logits, labels, row, row}), expected);
  EXPECT_EQ(fault_of("cross_entropy", {{"ignore_index", int64_t{5}}}, {logits, numbers(DType::i64, {3}, {4, 0, 5})}),
            "");
}

// The text of the error that `add` throws for operands of these types.
std::string error_of(const char* op, const std::vector<TensorType>& types, const Attrs& attrs = {}) {
  Graph graph;
  std::vector<ValueId> inputs;
  for (const TensorType& type : types) {
    inputs.push_back(graph.source("x" + std::to_string(inputs.size()), type.dtype, type.shape, false));
  }
  try {
    graph.add(op, inputs, attrs, "block3.up", {"model.py", 41});
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

TEST(Mistakes, SayTheShapesAndWhatWouldBeRight) {
  EXPECT_EQ(error_of("matmul", {{DType::f32, {512, 1024}}, {DType::f32, {4096, 1024}}}),
            "matmul 'block3.up': inner dims differ: a is f32[512,1024], b is f32[4096,1024]; a.dim(1)=1024 must equal "
            "b.dim(0)=4096 (model.py:41)");
  EXPECT_EQ(error_of("linear", {{DType::f32, {8, 3}}, {DType::f32, {4, 2}}}),
            "linear 'block3.up': inner dims differ: x is f32[8,3], w is f32[4,2]; x.dim(1)=3 must equal w.dim(1)=2 "
            "(model.py:41)");
  EXPECT_EQ(error_of("linear", {{DType::f32, {8, 2}}, {DType::f32, {4, 2}}, {DType::f32, {3}}}),
            "linear 'block3.up': b is f32[3], but must be f32[4]: one per row of w, and w is f32[4,2] (model.py:41)");
  EXPECT_EQ(
      error_of("add", {{DType::f32, {8, 3}}, {DType::f32, {8}}}),
      "add 'block3.up': operands do not broadcast: f32[8,3] and f32[8]; dim 1 of the result would be 3 and 8, but "
      "sizes must be equal or 1 (model.py:41)");
  EXPECT_EQ(error_of("add", {{DType::f32, {8}}, {DType::f64, {8}}}),
            "add 'block3.up': dtypes differ: a is f32[8], b is f64[8]; cast one of them (model.py:41)");
  EXPECT_EQ(error_of("softmax", {{DType::f32, {8, 3}}}, {{"dim", int64_t{2}}}),
            "softmax 'block3.up': dim is 2, but x is f32[8,3] with dims 0..1 (model.py:41)");
  EXPECT_EQ(error_of("rope", {{DType::f32, {2, 4, 8, 3}}}, {{"theta", 1e4}}),
            "rope 'block3.up': x is f32[2,4,8,3]; its last dim is turned in pairs and must be even (model.py:41)");
  EXPECT_EQ(error_of("rope", {{DType::f32, {8, 4}}}, {{"theta", 1e4}}),
            "rope 'block3.up': x is f32[8,4] and seq_dim is 2, but must be a dim before the last one (model.py:41)");
  EXPECT_EQ(error_of("gelu", {{DType::i64, {8}}}),
            "gelu 'block3.up': x is i64[8], but must be f32, f64, bf16 or f16; cast it (model.py:41)");
  EXPECT_EQ(error_of("reshape", {{DType::f32, {8, 3}}}, {{"shape", std::vector<int64_t>{5, 5}}}),
            "reshape 'block3.up': x is f32[8,3] with 24 elements, but shape is [5,5] with 25; both must hold as "
            "many elements (model.py:41)");
  EXPECT_EQ(error_of("slice", {{DType::f32, {8}}}, {{"dim", int64_t{0}}, {"start", int64_t{2}}, {"stop", int64_t{9}}}),
            "slice 'block3.up': start is 2 and stop is 9, but x is f32[8]; 0 <= start <= stop <= x.dim(0)=8 must hold "
            "(model.py:41)");
  EXPECT_EQ(
      error_of("sgd", {{DType::f32, {2}}, {DType::f32, {2}}, {DType::f32, {}}, {DType::f32, {}}, {DType::f32, {}}},
               {{"momentum", 0.9}}),
      "sgd 'block3.up': momentum needs the operand m, of p's type (model.py:41)");
}

TEST(Mistakes, TooFewOrTooManyOperandsAreCounted) {
  EXPECT_EQ(error_of("matmul", {{DType::f32, {2, 2}}}),
            "matmul 'block3.up': takes at least 2 operands, got 1 (model.py:41)");
  EXPECT_EQ(error_of("exp", {{DType::f32, {2}}, {DType::f32, {2}}}),
            "exp 'block3.up': takes 1 operands, got 2 (model.py:41)");
  EXPECT_EQ(error_of("concat", {}, {{"dim", int64_t{0}}}),
            "concat 'block3.up': takes 1 or more operands, got 0 (model.py:41)");
  EXPECT_EQ(error_of("no_such_op", {}), "no_such_op 'block3.up': there is no op of this name (model.py:41)");
}

// No use of an op with wrong operands may end the process: infer refuses it, for any rank and dtype.
TEST(Mistakes, OfAnyKindThrow) {
  const std::vector<TensorType> kinds = {
      {DType::f32, {}}, {DType::f64, {3}}, {DType::i64, {2, 3}}, {DType::b8, {1, 2, 3}}};
  for (const OpDef& op : all_ops()) {
    for (size_t operands = 0; operands <= op.inputs.size() + 1; ++operands) {
      for (const TensorType& kind : kinds) error_of(op.name.c_str(), std::vector<TensorType>(operands, kind));
    }
  }
}

}  // namespace
}  // namespace troupe
