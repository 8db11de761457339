// A directory that appears whole or not at all, such as a checkpoint.
//
// It is written as NAME.partial-<16 hex digits> beside its place, synced to the disk and renamed. An existing
// NAME is exchanged in one step where the file system can; elsewhere it is first renamed to NAME.replaced-<16
// hex digits>, and for that moment there is no NAME; recover_dir then brings it back. At most one process may
// write a NAME at a time.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace troupe {

class AtomicDir {
 public:
  // Removes what interrupted writers of this name have left, and begins. The parent must exist. Throws
  // FaultError, as all members do, with the path and the system's reason.
  explicit AtomicDir(std::string path);
  // Without commit() nothing remains.
  ~AtomicDir();
  AtomicDir(const AtomicDir&) = delete;
  AtomicDir& operator=(const AtomicDir&) = delete;

  // Where a file of this name is to be written, by whatever means.
  std::string file(std::string_view name) const;
  void write(std::string_view name, std::span<const std::byte> bytes) const;
  // Syncs everything to the disk and puts the directory in its place. Once.
  void commit();

 private:
  std::string path_;
  std::string partial_;
  bool committed_ = false;
};

// Whether a file name is one that AtomicDir uses on the way: listings skip these.
bool is_unfinished_dir(std::string_view file_name);

// Brings back what an interrupted replacement moved away, when `path` itself is missing. Readers call it
// first.
void recover_dir(const std::string& path);

}  // namespace troupe
