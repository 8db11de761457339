#include "planner/pieces.h"

#include <gtest/gtest.h>

#include "planner/test_models.h"

namespace troupe {
namespace {

// A line per node, without types: "piece y = linear(x, w)".
std::string lines(const Program& program) {
  std::string text;
  for (const ProgramNode& node : program.nodes) {
    text += name_of(node.rate);
    text += " ";
    for (ValueId output : node.outputs) text += (output == node.outputs[0] ? "" : ", ") + program.value(output).name;
    text += " = " + node.op->name + "(";
    for (size_t i = 0; i < node.inputs.size(); ++i) text += (i == 0 ? "" : ", ") + program.value(node.inputs[i]).name;
    text += ")\n";
  }
  return text;
}

std::string error_of(const Graph& graph) {
  try {
    pieces(graph);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "none";
}

ValueId fill(Graph& graph, double value, const Shape& shape, const std::string& scope) {
  return graph.add("fill", {}, {{"value", value}, {"shape", shape.vector()}, {"dtype", std::string("f32")}}, scope)
      .front();
}

TEST(Pieces, WhatDependsOnASourceFiresPerPieceAndAnUpdateOncePerStep) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId w = graph.variable("w", DType::f32, {4, 4});
  const ValueId y = graph.add("linear", {x, w}, {}, "y").front();
  const ValueId loss = graph.add("reduce_sum", {y}, {{"dims", std::vector<int64_t>{0, 1}}}, "loss").front();
  const ValueId gradient = graph.gradients(loss, {w}).front();
  graph.set_role(Role::update);
  const ValueId lr = fill(graph, 0.1, {}, "lr");
  const ValueId ok = graph.add("is_finite", {loss}, {}, "ok").front();
  graph.assign(w, graph.add("sgd", {w, gradient, lr, lr, ok}, {}, "sgd").front());
  const Program program = pieces(graph);
  EXPECT_EQ(lines(program), R"(piece x = source()
step w = variable()
piece y.linear = linear(x, w)
piece loss.reduce_sum = reduce_sum(y.linear)
piece loss.reduce_sum.total = accumulate(loss.reduce_sum)
piece loss.reduce_sum.grad.fill = fill()
piece loss.reduce_sum.grad.expand = expand(loss.reduce_sum.grad.fill)
piece y.linear.grad.linear_weight_gradient = linear_weight_gradient(x, loss.reduce_sum.grad.expand)
piece y.linear.grad.linear_weight_gradient.total = accumulate(y.linear.grad.linear_weight_gradient)
step lr.fill = fill()
step ok.is_finite = is_finite(loss.reduce_sum.total)
step sgd.sgd = sgd(w, y.linear.grad.linear_weight_gradient.total, lr.fill, lr.fill, ok.is_finite)
)");
  EXPECT_EQ(program.variables.size(), 1u);
  EXPECT_EQ(program.node(program.variables[0].update).op->name, "sgd");
  EXPECT_TRUE(program.variables[0].trained);
}

TEST(Pieces, UsesOfASharedVariableAreAccumulatedApartAndThenAdded) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId w = graph.variable("w", DType::f32, {4, 4});
  const ValueId first = graph.add("linear", {x, w}, {}, "first").front();
  const ValueId second = graph.add("linear", {first, w}, {}, "second").front();
  const ValueId loss = graph.add("reduce_sum", {second}, {{"dims", std::vector<int64_t>{0, 1}}}, "loss").front();
  const ValueId gradient = graph.gradients(loss, {w}).front();
  graph.set_role(Role::update);
  graph.output("norm", graph.add("row_sum_squares", {gradient}, {}, "norm").front());
  const std::string text = lines(pieces(graph));
  EXPECT_NE(text.find(R"(step norm.row_sum_squares = row_sum_squares(w.grad.add_n)
step norm = to_layout(norm.row_sum_squares)
)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("step w.grad.add_n = add_n(first.linear.grad.linear_weight_gradient.total, "
                      "second.linear.grad.linear_weight_gradient.total)"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("piece w.grad.add_n"), std::string::npos) << text;
}

TEST(Pieces, ANodeThatNobodyNeedsIsDropped) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId unused = graph.variable("unused", DType::f32, {4, 4});
  graph.add("linear", {x, unused}, {}, "nothing");
  graph.add("relu", {x}, {}, "nothing");
  graph.output("y", graph.add("exp", {x}, {}, "y").front());
  EXPECT_EQ(lines(pieces(graph)), R"(piece x = source()
step unused = variable()
piece y.exp = exp(x)
piece y = to_layout(y.exp)
)");
}

TEST(Pieces, ACounterIsComputedAsideAndAssignedAtTheEnd) {
  Graph graph;
  const ValueId steps = graph.variable("steps", DType::f32, {});
  graph.set_role(Role::update);
  graph.assign(steps, graph.add("add_scalar", {steps}, {{"value", 1.0}}, "count").front());
  graph.output("double", graph.add("mul_scalar", {steps}, {{"value", 2.0}}, "twice").front());
  EXPECT_EQ(lines(pieces(graph)), R"(step steps = variable()
step count.add_scalar = add_scalar(steps)
step twice.mul_scalar = mul_scalar(steps)
step double = to_layout(twice.mul_scalar)
step steps.next = assign(count.add_scalar, steps)
)");
}

struct Sgd {
  Graph graph;
  ValueId w = graph.variable("w", DType::f32, {4});
  ValueId next;
  Sgd() {
    graph.set_role(Role::update);
    const ValueId lr = fill(graph, 0.1, {}, "lr");
    next = graph
               .add("sgd", {w, fill(graph, 1, {4}, "g"), lr, lr, graph.add("is_finite", {lr}, {}, "ok").front()}, {},
                    "sgd")
               .front();
    graph.assign(w, next);
  }
};

TEST(Pieces, AnUpdateOverwritesAfterTheLastReader) {
  Sgd sgd;
  sgd.graph.output("w", sgd.w);
  sgd.graph.output("doubled", sgd.graph.add("mul_scalar", {sgd.w}, {{"value", 2.0}}, "doubled").front());
  EXPECT_EQ(lines(pieces(sgd.graph)), R"(step w = variable()
step lr.fill = fill()
step g.fill = fill()
step ok.is_finite = is_finite(lr.fill)
step doubled.mul_scalar = mul_scalar(w)
step w = to_layout(w)
step sgd.sgd = sgd(w, g.fill, lr.fill, lr.fill, ok.is_finite)
step doubled = to_layout(doubled.mul_scalar)
)");
}

TEST(Pieces, AnUpdateWhoseResultIsReadWritesAside) {
  Sgd sgd;
  sgd.graph.output("w", sgd.next);
  EXPECT_EQ(lines(pieces(sgd.graph)), R"(step w = variable()
step lr.fill = fill()
step g.fill = fill()
step ok.is_finite = is_finite(lr.fill)
step sgd.sgd = sgd(w, g.fill, lr.fill, lr.fill, ok.is_finite)
step w = to_layout(sgd.sgd)
step w.next = assign(sgd.sgd, w)
)");
}

TEST(Pieces, VariablesMayTakeEachOthersValues) {
  Graph graph;
  const ValueId a = graph.variable("a", DType::f32, {4});
  const ValueId b = graph.variable("b", DType::f32, {4});
  graph.assign(a, b);
  graph.assign(b, a);
  EXPECT_EQ(lines(pieces(graph)), R"(step a = variable()
step b = variable()
step a.held = to_layout(b)
step b.held = to_layout(a)
step a.next = assign(a.held, a)
step b.next = assign(b.held, b)
)");
}

TEST(Pieces, UpdatesThatReadEachOthersVariablesDoNotBothOverwrite) {
  Graph graph;
  const ValueId a = graph.variable("a", DType::f32, {4});
  const ValueId b = graph.variable("b", DType::f32, {4});
  graph.set_role(Role::update);
  const ValueId lr = fill(graph, 0.1, {}, "lr");
  const ValueId ok = graph.add("is_finite", {lr}, {}, "ok").front();
  graph.assign(a, graph.add("sgd", {a, b, lr, lr, ok}, {}, "first").front());
  graph.assign(b, graph.add("sgd", {b, a, lr, lr, ok}, {}, "second").front());
  EXPECT_EQ(lines(pieces(graph)), R"(step a = variable()
step b = variable()
step lr.fill = fill()
step ok.is_finite = is_finite(lr.fill)
step first.sgd = sgd(a, b, lr.fill, lr.fill, ok.is_finite)
step second.sgd = sgd(b, a, lr.fill, lr.fill, ok.is_finite)
step a.next = assign(first.sgd, a)
)");
}

TEST(Pieces, ANextVersionMayNotBeComputedPerPiece) {
  Graph graph;
  const ValueId x = graph.source("x", DType::f32, {8, 4}, true);
  const ValueId seen = graph.variable("seen", DType::f32, {8, 4});
  graph.assign(seen, graph.add("exp", {x}, {}, "running", {"model.py", 12}).front());
  EXPECT_EQ(error_of(graph),
            "exp 'running.exp': a variable's next value must be computed once per step, but this one is computed per "
            "piece (model.py:12)");
}

}  // namespace
}  // namespace troupe
