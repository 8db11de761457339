// Gathering rows of a table that may be a shard of rows [row_offset, row_offset + rows) of the whole.
//
// T: float, double; Id: int32_t, int64_t. All functions are re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// out[count,dim] = table[ids[i] - row_offset], zeros for ids outside the shard: the sum over shards is the
// whole.
template <typename T, typename Id>
void embedding_forward(T* out, const T* table, const Id* ids, int64_t count, int64_t dim, int64_t row_offset,
                       int64_t rows);

// dtable[rows,dim] is zeroed, then dout[i] is added to row ids[i] - row_offset for i = 0, 1, ...
template <typename T, typename Id>
void embedding_backward(T* dtable, const T* dout, const Id* ids, int64_t count, int64_t dim, int64_t row_offset,
                        int64_t rows);

}  // namespace troupe::cpu
