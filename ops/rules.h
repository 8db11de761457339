// Rules for operands whose rank is known only at the use; the language is sbp/rule.h's.
#pragma once

#include <string>
#include <string_view>

#include "ops/op.h"

namespace troupe {

// "d0 d1 d2"; "." for no dims.
std::string dim_names(int rank, std::string_view prefix = "d");
// "d0 d1 n": names for all but the last dim, then `last`.
std::string dim_names_and(int rank, std::string_view last, std::string_view prefix = "d");
// The rule with notes that are each written ", note"; there may be none.
std::string with_notes(const std::string& rule, const std::string& notes);
// "d0 d1, d0 d1 -> d0 d1; notes" with the rank of operand 0.
std::string pointwise_rule(const OpArgs& args, std::string_view notes = "");
// The same for operands that broadcast against each other; a dim of size one that broadcasts is "1".
std::string broadcast_rule(const OpArgs& args, std::string_view notes = "");

// The shape that operands broadcast to, aligned at the last dim. Throws PlanError when they do not fit.
Shape broadcast_shape(const OpArgs& args);

// B and a split of every dim, for a tensor that has no operands: every device makes its own part.
std::vector<Signature> made_anywhere(int rank);
// The signatures of a rule's text.
std::vector<Signature> signatures_from(const std::string& rule);

}  // namespace troupe
