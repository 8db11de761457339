// What an op means. One definition holds everything that passes and devices need to know about it; nothing else in
// Troupe names an op. To add one: write its definition file and its test, and add one line to list.cpp.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/attrs.h"
#include "runtime/base/dtype.h"
#include "runtime/base/id.h"
#include "runtime/base/shape.h"
#include "runtime/device/kernel.h"
#include "sbp/signature.h"

namespace troupe {

class GradientBuilder;
struct SequenceSplit;

struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  std::string str() const { return type_text(dtype, shape); }
  bool operator==(const TensorType&) const = default;
};

// Where a part lies in its tensor.
struct Place {
  Dims offset;
  Shape logical;
};

// The operands of one use of an op, for the functions of its definition.
struct OpArgs {
  std::span<const TensorType> inputs;
  const Attrs& attrs;
  std::span<const Place> places = {};  // of inputs that are parts, where that is known and asked for
  int rank(int input) const { return inputs[static_cast<size_t>(input)].shape.rank(); }
  const Shape& shape(int input) const { return inputs[static_cast<size_t>(input)].shape; }
};

// Whether an op computes on the low dtype (bf16, f16) in a step of that precision: never; where all its floating-point
// operands are of it; always. (A node with the attribute `full` never does.)
enum class Precision : uint8_t { full, follow, low };
const char* name_of(Precision precision);

// An operand may be absent only at the end of the list (a bias); `xs...` as the last name takes any number.
struct OpDef {
  std::string name;
  std::vector<std::string> inputs = {};
  std::vector<std::string> outputs = {};
  std::string doc = {};  // one sentence with the formula; becomes the docstring in Python

  // The splits that need no communication: a fixed rule, or one made from ranks and attributes, or signatures listed
  // for a use whose axis has `parts` devices (where a rule cannot say it). Exactly one of the three. See sbp/rule.h.
  std::string rule = {};
  std::string (*rule_of)(const OpArgs&) = nullptr;
  std::vector<Signature> (*signatures)(const OpArgs&, int parts) = nullptr;

  // The types of the outputs. Throws PlanError with the text alone; the graph adds op, path and line.
  std::vector<TensorType> (*infer)(const OpArgs&) = nullptr;

  // The gradient in terms of other ops: returns one value per input, invalid where there is none. nullptr: not
  // differentiable.
  std::vector<ValueId> (*gradient)(GradientBuilder&) = nullptr;

  // The same op built from others between which boxing can stand, for splits that need communication inside: returns
  // one value per output. nullptr: there is no such form.
  std::vector<ValueId> (*decompose)(GradientBuilder&) = nullptr;

  // The same op where an axis splits the sequence and the op couples positions: returns one value per output, and says
  // how they must be made. nullptr: positions are independent, or the planner may do as it likes.
  std::vector<ValueId> (*split_sequence)(GradientBuilder&, SequenceSplit&) = nullptr;

  // What the op does in a step of low precision, and which operands of a `low` op stay float32 all the same. An op that
  // is not `full` takes bf16 and f16: it computes in float32 and rounds once when it stores.
  Precision precision = Precision::full;
  std::vector<int> full_inputs = {};

  // Local shapes come from the views, never from attributes; where a part lies, from view.offset and view.logical.
  Kernel cpu = nullptr;

  // Of an op that cannot take all values: what a kernel on a device reports, in the words of the CPU kernel.
  KernelExplain explain = nullptr;

  // Scratch for the CPU kernel on operands of these local types. nullptr: none.
  int64_t (*scratch_bytes)(const OpArgs&) = nullptr;

  // Floating-point operations on operands of these types; nullptr: bound by memory traffic. By place: they depend on
  // where the parts lie, not on their sizes alone (a causal mask).
  double (*flops)(const OpArgs&) = nullptr;
  bool flops_by_place = false;

  // (output, input): the output may take the input's memory when nobody reads the input later and both have the same
  // local type (an operand that broadcasts is smaller).
  std::vector<std::pair<int, int>> in_place = {};

  // Draws numbers that its path keys; an attribute `key` stands for the hash of another path.
  bool random = false;

  // (output, input): the output is the next version of the variable that is this input; it always takes its memory.
  std::vector<std::pair<int, int>> updates = {};
};

// Every op, in a fixed order. The list is built on first use and never changes; reading is thread-safe.
const std::vector<OpDef>& all_ops();

// nullptr when there is no op of this name.
const OpDef* find_op(std::string_view name);

// All signatures of a use of an op along an axis of `parts` devices, all-B first.
std::vector<Signature> signatures_of(const OpDef& op, const OpArgs& args, int parts);

// Adds the CPU kernel of every op to the table.
void add_cpu_kernels(KernelTable& table);

}  // namespace troupe
