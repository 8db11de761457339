// Files of which only some are open at a time: a process may have about a thousand open, data may have more files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "runtime/files/file.h"

namespace troupe {

// Those that were read last stay open. Thread-safe.
class OpenFiles {
 public:
  static constexpr size_t kAtOnce = 128;

  // `what` is what errors call one: "token file".
  explicit OpenFiles(std::string what, size_t at_once = kAtOnce) : what_(std::move(what)), at_once_(at_once) {}

  // One more, behind those that there are. FaultError when it cannot be opened.
  std::shared_ptr<const OpenFile> add(const std::string& path);
  // All bytes from this place of a file that `into` has room for. FaultError for a file that has become shorter, or that
  // is another one or gone when it is opened again.
  void read(size_t file, int64_t offset, std::span<std::byte> into) const;

 private:
  struct Entry {
    std::string path;
    int64_t size = 0;
    uint64_t number = 0;                     // see OpenFile
    std::shared_ptr<const OpenFile> open{};  // null: closed
    std::list<size_t>::iterator place{};     // in `recent_`, of one that is open
  };
  std::shared_ptr<const OpenFile> opened(size_t file) const;
  void keep(size_t file, std::shared_ptr<const OpenFile> open) const;

  const std::string what_;
  const size_t at_once_;
  mutable std::mutex mutex_;
  mutable std::vector<Entry> files_;
  mutable std::list<size_t> recent_;  // the files that are open, the last used first
};

}  // namespace troupe
