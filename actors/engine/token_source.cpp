#include "actors/engine/token_source.h"

#include <string>
#include <utility>

#include "runtime/base/error.h"

namespace troupe {

TokenSource::TokenSource(const TokenRows& rows)
    : TokenSource(std::make_shared<const TokenFiles>(TokenFiles::open(rows.paths, rows.type)), rows) {}

TokenSource::TokenSource(std::shared_ptr<const TokenFiles> files, TokenRows rows)
    : files_(std::move(files)),
      rows_(std::move(rows)),
      windows_(TokenWindows::shuffled(rows_.tokens, rows_.seq, rows_.batch, rows_.seed)) {
  const int64_t needed = rows_.first + rows_.tokens - 1;  // a row takes one token fewer than its window
  if (needed <= files_->size()) return;
  Fault fault;
  fault.what = "'" + rows_.paths.front() + "' has become shorter: " + std::to_string(files_->size()) +
               " tokens in all, " + std::to_string(needed) + " are needed";
  throw FaultError(std::move(fault));
}

void TokenSource::read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) {
  const int64_t piece = static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece;
  try {
    for (int64_t row = 0; row < out.shape[0]; ++row) {
      const int64_t start = windows_.start(firing.step, piece * out.logical[0] + out.offset[0] + row);
      files_->copy(rows_.first + start + out.offset[1], out.shape[1], out.as<int32_t>() + row * out.shape[1]);
    }
  } catch (const FaultError& error) {
    *failure = error.fault().what;
  }
}

}  // namespace troupe
