#include "runtime/device/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace troupe {

void Arena::map(int flags) {
  if (bytes_ == 0) return;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE, flags, file_, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(memory);
  if ((flags & MAP_NORESERVE) != 0) return;
  madvise(memory, static_cast<size_t>(bytes_), MADV_HUGEPAGE);  // fewer TLB misses; a failure changes nothing
}

Arena::Arena(int64_t bytes) : bytes_(bytes) { map(MAP_PRIVATE | MAP_ANONYMOUS); }

Arena Arena::sparse(int64_t bytes) {
  Arena made;
  made.bytes_ = bytes;
  made.map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  return made;
}

Arena Arena::shared(int64_t bytes) {
  Arena made;
  made.bytes_ = bytes;
  made.file_ = memfd_create("troupe", MFD_CLOEXEC);
  if (made.file_ < 0 || ftruncate(made.file_, bytes) != 0) throw std::bad_alloc();
  made.map(MAP_SHARED);
  return made;
}

Arena Arena::open(const ArenaFile& file) {
  const std::string path = "/proc/" + std::to_string(file.process) + "/fd/" + std::to_string(file.file);
  const auto refuse = [&](const std::string& why) {
    Fault fault;
    fault.what = "shared memory of process " + std::to_string(file.process) + " cannot be opened: " + why;
    throw FaultError(std::move(fault));
  };
  Arena made;
  made.file_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (made.file_ < 0) refuse(std::strerror(errno));
  struct stat status {};
  if (fstat(made.file_, &status) != 0 || status.st_size != file.bytes) refuse("it is not what it was said to be");
  made.bytes_ = file.bytes;
  made.map(MAP_SHARED);
  close(std::exchange(made.file_, -1));
  return made;
}

ArenaFile Arena::file() const {
  CHECK(file_ >= 0, "the arena is not shared");
  return {getpid(), file_, bytes_};
}

Arena::~Arena() {
  if (data_ != nullptr && of_backend_ == nullptr) munmap(data_, static_cast<size_t>(bytes_));
  if (file_ >= 0) close(file_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      file_(std::exchange(other.file_, -1)),
      of_backend_(std::move(other.of_backend_)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_, other.file_);
  std::swap(of_backend_, other.of_backend_);
  return *this;
}

}  // namespace troupe
