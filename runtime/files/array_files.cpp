#include "runtime/files/array_files.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/files/npy_header.h"

namespace troupe {

ArrayFiles ArrayFiles::open(const std::vector<std::string>& paths) {
  if (paths.empty()) throw PlanError("no array files are given");
  ArrayFiles files;
  files.files_ = std::make_unique<OpenFiles>("array file");
  for (const std::string& path : paths) {
    const std::shared_ptr<const OpenFile> file = files.files_->add(path);
    const NpyHeader header = read_npy_header(*file);
    Shape row = header.shape;
    row.erase(0);
    if (files.parts_.empty()) {
      files.dtype_ = header.dtype;
      files.row_shape_ = row;
      files.row_bytes_ = row.elements() * size_of(header.dtype);
    } else if (header.dtype != files.dtype_ || row != files.row_shape_) {
      refuse_read(file->what(), path,
                  "its rows are " + type_text(header.dtype, row) + ", those of '" + paths.front() + "' are " +
                      type_text(files.dtype_, files.row_shape_));
    }
    files.parts_.push_back({header.data, files.rows_, header.shape[0]});
    files.rows_ += header.shape[0];
  }
  return files;
}

void ArrayFiles::read(int64_t row, int64_t byte, std::span<std::byte> into) const {
  if (into.empty()) return;
  CHECK(row >= 0 && byte >= 0 && byte < row_bytes_, row, byte, row_bytes_);
  CHECK(row < rows_ && static_cast<int64_t>(into.size()) <= (rows_ - row) * row_bytes_ - byte, row, rows_, into.size());
  auto part =
      std::upper_bound(parts_.begin(), parts_.end(), row, [](int64_t r, const Part& p) { return r < p.begin; }) - 1;
  int64_t from = (row - part->begin) * row_bytes_ + byte;
  for (; !into.empty(); ++part, from = 0) {
    const auto count = std::min(into.size(), static_cast<size_t>(part->rows * row_bytes_ - from));
    files_->read(static_cast<size_t>(part - parts_.begin()), part->data + from, into.first(count));
    into = into.subspan(count);
  }
}

}  // namespace troupe
