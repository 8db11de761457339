// For tests: uses of attention that its kernels for tensor cores take when they are in bf16 or f16.
#pragma once

#include <vector>

#include "ops/test_operands.h"

namespace troupe {

// Tiles and parts of tiles of queries and keys, whole rows of a tile and parts of them, heads in groups, masks, and the forms
// for a sequence that three devices split. All can be split among three devices.
inline std::vector<UseCase> tensor_attention_uses() {
  std::vector<UseCase> uses;
  const auto add = [&uses](const Shape& q, const Shape& k, const Attrs& attrs, bool has_mask) {
    const int64_t seq = attrs.integer("seq_dim");
    const Operand query = real(q);
    const Operand key = real(k);
    const Operand mask = bools({q[0], 1, 1, k[static_cast<int>(seq)]});
    const Operand lse = between({q[0], q[static_cast<int>(3 - seq)], q[static_cast<int>(seq)]}, 5, 6);
    uses.push_back({"attention", {query, key, key}, attrs});
    uses.push_back({"attention_gradient", {query, query, key, key, query, lse}, attrs});
    if (!has_mask) return;
    for (size_t i = uses.size() - 2; i < uses.size(); ++i) uses[i].operands.push_back(mask);
  };
  const auto attrs = [](int64_t causal, int64_t seq_dim) {
    return Attrs{{"causal", causal}, {"scale", 0.125}, {"seq_dim", seq_dim}};
  };
  const auto split = [&attrs](int64_t causal, int64_t shift) {
    Attrs result = attrs(causal, 1);
    result.set("parts", int64_t{3});
    result.set("paired", causal);
    if (shift >= 0) result.set("shift", shift);
    return result;
  };
  add({1, 3, 150, 64}, {1, 3, 70, 64}, attrs(no, 2), false);
  add({1, 3, 70, 64}, {1, 3, 150, 64}, attrs(yes, 2), false);
  add({1, 3, 40, 128}, {1, 1, 150, 128}, attrs(no, 2), true);
  add({1, 140, 1, 72}, {1, 140, 1, 72}, attrs(yes, 1), true);
  add({3, 5, 2, 8}, {3, 65, 1, 8}, attrs(no, 1), false);
  add({1, 100, 2, 64}, {1, 100, 1, 64}, split(yes, -1), false);
  add({1, 100, 1, 64}, {1, 100, 1, 64}, split(yes, 1), true);
  add({1, 300, 1, 64}, {1, 300, 1, 64}, split(yes, 0), false);
  add({1, 70, 2, 128}, {1, 70, 1, 128}, split(no, 2), false);
  return uses;
}

}  // namespace troupe
