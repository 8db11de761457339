// What the ops on logits[.., classes] and labels[..] share.
#pragma once

#include "ops/op.h"

namespace troupe {

// The label that counts for nothing; PyTorch's default.
int64_t ignore_index(const Attrs& attrs);

// Operand 0: float logits with a last dim of classes; operand 1: ids, one per row. Throws PlanError.
void expect_logits_and_labels(const OpArgs& args);

// Operand 1 of a kernel holds only ignore_index and classes of the whole logits (operand 0); otherwise says in
// *args.failure which label does not, and where it stands in the whole tensor.
bool labels_are_valid(const KernelArgs& args);

// What it says of one, for reports from devices.
std::string explain_label(const KernelArgs& args, const KernelReport& report);

// "5 at [2,3]" for the element of a part, in coordinates of the whole.
std::string element_text(int64_t value, int64_t index, const TensorView& view);

}  // namespace troupe
