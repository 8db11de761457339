// Whole files: mapped for reading, written from bytes in memory. What goes wrong is a FaultError that names
// the file and the reason.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace troupe {

// "PATH cannot be read: REASON" and "PATH cannot be written: REASON"; `what` is put in front: "token file".
[[noreturn]] void refuse_read(const std::string& what, const std::string& path, const std::string& reason);
[[noreturn]] void refuse_write(const std::string& what, const std::string& path, const std::string& reason);

// A file mapped into memory, read-only. Moved only. The bytes are page-aligned. Whoever cuts the file short
// while it is mapped ends the process: files that are mapped are replaced, not rewritten.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const std::string& what, const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// Writes the parts one after another to a new or emptied file. Not synced to the disk: AtomicDir does that.
void write_file(const std::string& what, const std::string& path, std::span<const std::span<const std::byte>> parts);

}  // namespace troupe
