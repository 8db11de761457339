// For tests: an op or a whole graph on the shards of a mesh, with boxing between nodes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/interpret.h"
#include "sbp/layout.h"
#include "sbp/test_shards.h"

namespace troupe {

struct MeshOp {
  const OpDef& op;
  const Attrs& attrs;
  std::vector<TensorType> outputs;  // logical
  RunContext context;
};

// The outputs in these layouts. Throws FaultError when a device finds bad data.
inline std::vector<Shards> run_on_mesh(const MeshOp& use, const std::vector<TensorType>& types,
                                       const std::vector<Shards>& inputs, const std::vector<Layout>& layouts,
                                       const Mesh& mesh) {
  std::vector<Shards> results;
  for (size_t i = 0; i < layouts.size(); ++i) results.push_back({layouts[i], use.outputs[i].shape, {}});
  for (int position = 0; position < mesh.size(); ++position) {
    std::vector<HostTensor> tensors;
    std::vector<TensorView> in, out;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Box box = inputs[i].layout.box(inputs[i].shape, position);
      tensors.emplace_back(TensorType{types[i].dtype, box.extent});
      tensors.back().set_numbers(inputs[i].parts[static_cast<size_t>(position)]);
      in.push_back(tensors.back().view(box.offset, inputs[i].shape));
    }
    for (const Shards& result : results) {
      const Box box = result.layout.box(result.shape, position);
      tensors.emplace_back(TensorType{use.outputs[static_cast<size_t>(&result - results.data())].dtype, box.extent});
      out.push_back(tensors.back().view(box.offset, result.shape));
    }
    run_kernel(use.op, use.attrs, in, out, use.context);
    for (size_t i = 0; i < results.size(); ++i) results[i].parts.push_back(tensors[inputs.size() + i].numbers());
  }
  return results;
}

// The whole tensor that the shards represent.
inline std::vector<double> gathered(const Shards& shards) {
  std::vector<double> values(static_cast<size_t>(shards.shape.elements()));
  const Box whole = Box::whole(shards.shape);
  for (int position = 0; position < shards.layout.mesh().size(); ++position) {
    const Box box = shards.layout.box(shards.shape, position);
    for_each_index(box, [&](const Dims& index) {
      values[place_in(whole, index)] = value_at(shards, position, place_in(box, index));
    });
  }
  return values;
}

// Layouts of operands under one signature per axis.
inline std::vector<Layout> layouts_of(const Mesh& mesh, const std::vector<Signature>& per_axis, bool outputs) {
  const size_t count = outputs ? per_axis[0].outputs.size() : per_axis[0].inputs.size();
  std::vector<Layout> layouts;
  for (size_t i = 0; i < count; ++i) {
    std::vector<Sbp> sbp;
    for (const Signature& signature : per_axis) sbp.push_back(outputs ? signature.outputs[i] : signature.inputs[i]);
    layouts.emplace_back(mesh, sbp);
  }
  return layouts;
}

// Some operand has the same dim split by several axes.
inline bool splits_a_dim_twice(const std::vector<Signature>& per_axis) {
  for (size_t i = 0; i < per_axis[0].inputs.size(); ++i) {
    if (per_axis.size() > 1 && per_axis[0].inputs[i].is_split() && per_axis[0].inputs[i] == per_axis[1].inputs[i]) {
      return true;
    }
  }
  return false;
}

inline bool is_extreme(const Sbp& sbp) { return sbp.is_partial() && !sbp.is_partial_sum(); }

inline bool has_extreme(const Signature& signature) {
  return std::any_of(signature.inputs.begin(), signature.inputs.end(), is_extreme) ||
         std::any_of(signature.outputs.begin(), signature.outputs.end(), is_extreme);
}

// The signatures of a use along every axis, as a planner may combine them. Signatures are stated for one axis; where
// they depend on the number of parts (a dim that is merged with another), a dim that two axes split must be splittable
// among their product.
inline std::vector<std::vector<Signature>> combinations_of(const OpDef& op, const OpArgs& args, const Mesh& mesh) {
  std::vector<std::vector<Signature>> result = {{}};
  const std::vector<Signature> among_all = signatures_of(op, args, mesh.size());
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    std::vector<std::vector<Signature>> longer;
    for (const std::vector<Signature>& chosen : result) {
      for (const Signature& signature : signatures_of(op, args, mesh.axis(axis).size)) {
        if (has_extreme(signature)) continue;  // laws_test.cpp has them, with operands in a range that allows them
        longer.push_back(chosen);
        longer.back().push_back(signature);
        if (!splits_a_dim_twice(longer.back())) continue;
        if (std::find(among_all.begin(), among_all.end(), signature) == among_all.end()) longer.pop_back();
      }
    }
    result = std::move(longer);
  }
  return result;
}

}  // namespace troupe
