#include "ops/rules.h"

#include <algorithm>

#include "ops/infer.h"
#include "runtime/base/text.h"
#include "sbp/rule.h"

namespace troupe {
namespace {

std::string with_notes(std::string rule, std::string_view notes) {
  return notes.empty() ? rule : rule + "; " + std::string(notes);
}

}  // namespace

std::string dim_names(int rank, std::string_view prefix) {
  if (rank == 0) return ".";
  std::string names;
  for (int d = 0; d < rank; ++d) names += (d == 0 ? "" : " ") + std::string(prefix) + std::to_string(d);
  return names;
}

std::string dim_names_and(int rank, std::string_view last, std::string_view prefix) {
  return rank == 1 ? std::string(last) : dim_names(rank - 1, prefix) + " " + std::string(last);
}

std::string with_notes(const std::string& rule, const std::string& notes) {
  return notes.empty() ? rule : rule + ";" + notes.substr(1);
}

std::string pointwise_rule(const OpArgs& args, std::string_view notes) {
  const std::string dims = dim_names(args.rank(0));
  const auto operand = [&](const TensorType&) { return dims; };
  return with_notes(join(args.inputs, ", ", operand) + " -> " + dims, notes);
}

Shape broadcast_shape(const OpArgs& args) {
  int rank = 0;
  for (const TensorType& input : args.inputs) rank = std::max(rank, input.shape.rank());
  Shape shape = Dims::filled(rank, 1);
  for (const TensorType& input : args.inputs) {
    const int missing = rank - input.shape.rank();
    for (int d = missing; d < rank; ++d) {
      const int64_t size = input.shape[d - missing];
      if (size == 1 || size == shape[d]) continue;
      if (shape[d] != 1) {
        const auto text = [](const TensorType& type) { return type.str(); };
        throw PlanError("operands do not broadcast: " + join(args.inputs, " and ", text) + "; dim " +
                        std::to_string(d) + " of the result would be " + std::to_string(shape[d]) + " and " +
                        std::to_string(size) + ", but sizes must be equal or 1");
      }
      shape[d] = size;
    }
  }
  return shape;
}

std::string broadcast_rule(const OpArgs& args, std::string_view notes) {
  const Shape shape = broadcast_shape(args);
  const auto operand = [&](const TensorType& input) {
    const int missing = shape.rank() - input.shape.rank();
    std::string names;
    for (int d = missing; d < shape.rank(); ++d) {
      if (!names.empty()) names += " ";
      names += input.shape[d - missing] == shape[d] ? "d" + std::to_string(d) : "1";
    }
    return names.empty() ? "." : names;
  };
  return with_notes(join(args.inputs, ", ", operand) + " -> " + dim_names(shape.rank()), notes);
}

std::vector<Signature> made_anywhere(int rank) {
  std::vector<Signature> signatures = {{{}, {B}}};
  for (int d = 0; d < rank; ++d) signatures.push_back({{}, {S(d)}});
  return signatures;
}

std::vector<Signature> signatures_from(const std::string& rule) { return signatures_of(parse_rule(rule)); }

}  // namespace troupe
