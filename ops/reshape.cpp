#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/box.h"

namespace troupe::define {
namespace {

// Consecutive dims of x and of y that hold the same elements, as short as possible. Dims of size one are in no group.
struct Group {
  std::vector<int> x, y;
};

std::vector<int> dims_above_one(const Shape& shape) {
  std::vector<int> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    if (shape[d] != 1) dims.push_back(d);
  }
  return dims;
}

std::vector<Group> groups_of(const Shape& x, const Shape& y) {
  const std::vector<int> x_dims = dims_above_one(x);
  const std::vector<int> y_dims = dims_above_one(y);
  std::vector<Group> groups;
  size_t i = 0;
  size_t j = 0;
  while (i < x_dims.size() && j < y_dims.size()) {
    Group group{{x_dims[i]}, {y_dims[j]}};
    int64_t x_size = x[x_dims[i++]];
    int64_t y_size = y[y_dims[j++]];
    while (x_size != y_size) {
      if (x_size < y_size) {
        group.x.push_back(x_dims[i]);
        x_size *= x[x_dims[i++]];
      } else {
        group.y.push_back(y_dims[j]);
        y_size *= y[y_dims[j++]];
      }
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

// The parts of the leading dims hold the same elements of the group.
bool same_parts(int64_t x_lead, int64_t y_lead, int64_t group_size, int parts) {
  for (int i = 0; i < parts; ++i) {
    if (part_of(x_lead, parts, i).offset * (group_size / x_lead) !=
        part_of(y_lead, parts, i).offset * (group_size / y_lead)) {
      return false;
    }
  }
  return true;
}

std::vector<TensorType> infer_reshape(const OpArgs& args) {
  expect_operands(args, 1);
  const Shape shape = shape_attr(args.attrs);
  if (shape.elements() != args.shape(0).elements()) {
    throw PlanError(operand_text(args, 0, "x") + " with " + std::to_string(args.shape(0).elements()) +
                    " elements, but shape is [" + shape.str() + "] with " + std::to_string(shape.elements()) +
                    "; both must hold as many elements");
  }
  return {{args.inputs[0].dtype, shape}};
}

// A split of the leading dim of a group stays contiguous: S(i) -> S(j) where both are the first of their group and are
// cut at the same elements. A split of any other dim scatters.
std::vector<Signature> reshape_signatures(const OpArgs& args, int parts) {
  const Shape& x = args.shape(0);
  const Shape y = shape_attr(args.attrs);
  std::vector<Signature> result = {{{B}, {B}}};
  if (x.elements() > 0) {
    for (const Group& group : groups_of(x, y)) {
      int64_t size = 1;
      for (int d : group.x) size *= x[d];
      const int i = group.x.front();
      const int j = group.y.front();
      if (same_parts(x[i], y[j], size, parts)) result.push_back({{S(i)}, {S(j)}});
    }
  }
  for (Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
    result.push_back({{P_of(reduction)}, {P_of(reduction)}});
  }
  return result;
}

std::vector<ValueId> reshape_gradient(GradientBuilder& g) {
  return {g.add("reshape", {g.gradient()}, {{"shape", g.type(g.input(0)).shape.vector()}})};
}

void reshape_cpu(const KernelArgs& args, Stream&) { copy_unless_in_place(args.outputs[0], args.inputs[0]); }

}  // namespace

OpDef reshape() {
  return {.name = "reshape",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y has the attribute shape and the elements of x in row-major order.",
          .signatures = reshape_signatures,
          .infer = infer_reshape,
          .gradient = reshape_gradient,
          .precision = Precision::follow,
          .cpu = reshape_cpu,
          .in_place = {{0, 0}}};
}

}  // namespace troupe::define
