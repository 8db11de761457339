// Files: read from at any place or mapped whole, written from bytes in memory. What goes wrong is a FaultError that names
// the file and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace troupe {

// "PATH cannot be read: REASON" and "PATH cannot be written: REASON"; `what` is put in front: "token file".
[[noreturn]] void refuse_read(const std::string& what, const std::string& path, const std::string& reason);
[[noreturn]] void refuse_write(const std::string& what, const std::string& path, const std::string& reason);

// A file that is open for reading. Moved only; reads are thread-safe. What is gone when it is read (a file that was cut
// short, a disk that fails) is a FaultError: the bytes of a map would end the process.
class OpenFile {
 public:
  OpenFile(std::string what, std::string path);
  ~OpenFile();
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;

  const std::string& what() const { return what_; }
  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }       // when it was opened
  uint64_t number() const { return number_; }  // on its file system: of another file of the same path another
  int descriptor() const { return fd_; }
  // All bytes from this place that `into` has room for.
  void read(int64_t offset, std::span<std::byte> into) const;

 private:
  std::string what_;
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
  uint64_t number_ = 0;
};

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

using Parts = std::span<const std::span<const std::byte>>;

// Writes the parts one after another to a new or emptied file. Not synced to the disk: AtomicDir does that.
void write_file(const std::string& what, const std::string& path, Parts parts);
// The same as PATH.new, which is then renamed: PATH is what it was until it is whole.
void replace_file(const std::string& what, const std::string& path, Parts parts);

}  // namespace troupe
