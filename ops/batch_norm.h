// What batch norm and its parts share. The samples of x[samples, channels, ..] make up pieces of `samples` (an
// attribute) that follow one another, each with statistics of its own: means and the like are [pieces, channels].
// Without the attribute all samples are one piece.
#pragma once

#include "ops/cpu/batch_norm.h"
#include "ops/op.h"

namespace troupe {

int64_t samples_per_piece(const Attrs& attrs, const Shape& x);
// [pieces, channels]
Shape statistics_shape(const OpArgs& args, int x);
// Elements that go into one piece's statistics of a channel.
double statistics_count(const Attrs& attrs, const Shape& x);

// Operand `x` is float and [samples, channels, ..]; its samples are whole pieces or part of one. Throws PlanError.
void expect_samples(const OpArgs& args, int x, const char* name);
void expect_statistics(const OpArgs& args, int operand, const char* name, int x);
void expect_channels(const OpArgs& args, int operand, const char* name, int x);

// An axis of `parts` devices can give each whole pieces.
bool splits_between_pieces(const OpArgs& args, int x, int parts);

// Names of dims for rules: "n c d2 d3", "n c", "c", and the notes ", !d2, !d3".
struct SampleNames {
  std::string x, statistics = "n c", channels = "c", notes;
  explicit SampleNames(int rank);
};

// Samples of a part of x that belong to one piece: where the first stands in the part, and the piece's row in the part
// of a tensor of statistics.
struct SampleRun {
  cpu::Samples samples;
  int64_t first = 0;  // element
  int64_t piece = 0;  // of the whole x
};

// Calls fn(run) for each piece that a part of x has samples of.
template <class Fn>
void for_each_run(const TensorView& x, const Attrs& attrs, Fn fn) {
  const int64_t channels = x.shape[1], count = samples_per_piece(attrs, x.logical);
  int64_t inner = 1;
  for (int d = 2; d < x.shape.rank(); ++d) inner *= x.shape[d];
  const int64_t begin = x.offset[0], end = begin + x.shape[0];
  for (int64_t at = begin; at < end;) {
    const int64_t piece = at / count, stop = piece * count + count < end ? piece * count + count : end;
    fn(SampleRun{{stop - at, channels, inner}, (at - begin) * channels * inner, piece});
    at = stop;
  }
}

// The row of a piece in a part of a tensor [pieces, channels].
template <class T>
T* row_of(const TensorView& statistics, const SampleRun& run) {
  return statistics.as<T>() + (run.piece - statistics.offset[0]) * statistics.shape[1];
}

}  // namespace troupe
