// Cross entropy of logits[rows,classes] against labels[rows], per row, and its parts for a vocabulary that is
// split.
//
// T: float, double; Id: int32_t, int64_t. Sums are carried in double in a fixed order. All functions are
// re-entrant.
#pragma once

#include <cstdint>

namespace troupe::cpu {

// lse = log sum exp(logits), loss = lse - logits[label], 0 where label == ignore_index. A label outside the
// classes that is not ignore_index gives NaN.
template <typename T, typename Id>
void cross_entropy_forward(T* loss, T* lse, const T* logits, const Id* labels, int64_t rows, int64_t classes,
                           int64_t ignore_index);

// dlogits = (exp(logits - lse) - onehot(label)) dloss, 0 where label == ignore_index. dlogits may be logits.
template <typename T, typename Id>
void cross_entropy_backward(T* dlogits, const T* dloss, const T* logits, const T* lse, const Id* labels, int64_t rows,
                            int64_t classes, int64_t ignore_index);

// out[0] = number of labels that are not ignore_index: the weight of the mean.
template <typename Id>
int64_t count_labels(const Id* labels, int64_t rows, int64_t ignore_index);

// ---- Parts, for a shard with classes [class_offset, class_offset + classes) ----

// out[row] = max of logits; -inf without classes.
template <typename T>
void row_max(T* out, const T* logits, int64_t rows, int64_t classes);

// out[row] = sum exp(logits - maximum[row]).
template <typename T>
void row_sum_exp(T* out, const T* logits, const T* maximum, int64_t rows, int64_t classes);

// out[row] = logits[label - class_offset], 0 where the label is outside the shard or ignore_index.
template <typename T, typename Id>
void pick_label(T* out, const T* logits, const Id* labels, int64_t rows, int64_t classes, int64_t class_offset,
                int64_t ignore_index);

// As cross_entropy_backward, for the shard's classes.
template <typename T, typename Id>
void cross_entropy_backward_shard(T* dlogits, const T* dloss, const T* logits, const T* lse, const Id* labels,
                                  int64_t rows, int64_t classes, int64_t class_offset, int64_t ignore_index);

}  // namespace troupe::cpu
