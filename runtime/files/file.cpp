#include "runtime/files/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "runtime/base/disk.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& path, const char* doing,
                         const std::string& reason) {
  Fault fault;
  fault.what = what + " '" + path + "' cannot be " + doing + ": " + reason;
  throw FaultError(std::move(fault));
}

// Closes an open file whichever way the scope is left.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  // Some file systems report a full disk only here.
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

std::string why_not_open(int error) {
  std::string text = std::strerror(error);
  rlimit limit{};
  if (error != EMFILE || getrlimit(RLIMIT_NOFILE, &limit) != 0) return text;
  return text + ": this process may have " + std::to_string(limit.rlim_cur) + " open, sockets included; `ulimit -n " +
         std::to_string(limit.rlim_cur * 4) + "` before it starts allows it more";
}

int64_t size_of(Parts parts) {
  int64_t bytes = 0;
  for (const std::span<const std::byte> part : parts) bytes += static_cast<int64_t>(part.size());
  return bytes;
}

// The system's error, 0 for none. When it fails, what there is of the file takes no room.
int write_parts(const std::string& path, Parts parts) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return errno;
  int error = 0;
  for (std::span<const std::byte> part : parts) {
    while (error == 0 && !part.empty()) {
      const ssize_t written = ::write(file.get(), part.data(), part.size());
      if (written >= 0) {
        part = part.subspan(static_cast<size_t>(written));
      } else if (errno != EINTR) {
        error = errno;
      }
    }
  }
  if (file.close() != 0 && error == 0) error = errno;
  std::error_code ignored;  // it may be a device
  if (error != 0) std::filesystem::resize_file(path, 0, ignored);
  return error;
}

}  // namespace

void refuse_read(const std::string& what, const std::string& path, const std::string& reason) {
  refuse(what, path, "read", reason);
}

void refuse_write(const std::string& what, const std::string& path, const std::string& reason) {
  refuse(what, path, "written", reason);
}

OpenFile::OpenFile(std::string what, std::string path) : what_(std::move(what)), path_(std::move(path)) {
  Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) refuse_read(what_, path_, why_not_open(errno));
  struct stat status;
  if (::fstat(file.get(), &status) != 0) refuse_read(what_, path_, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse_read(what_, path_, "it is not a file");
  size_ = status.st_size;
  number_ = status.st_ino;
  fd_ = file.release();
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : what_(std::move(other.what_)),
      path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      number_(other.number_) {}

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(what_, other.what_);
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(number_, other.number_);
  return *this;
}

void OpenFile::read(int64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t got = ::pread(fd_, into.data(), into.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse_read(what_, path_, std::strerror(errno));
    if (got == 0) {
      refuse_read(what_, path_,
                  "bytes " + std::to_string(offset) + " to " +
                      std::to_string(offset + static_cast<int64_t>(into.size())) + " are not there; it had " +
                      std::to_string(size_) + " bytes when it was opened and has become shorter");
    }
    into = into.subspan(static_cast<size_t>(got));
    offset += got;
  }
}

MappedFile::MappedFile(const std::string& what, const std::string& path) {
  const OpenFile file(what, path);
  const auto size = static_cast<size_t>(file.size());
  if (size == 0) return;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) refuse_read(what, path, std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(data), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

void write_file(const std::string& what, const std::string& path, Parts parts) {
  const int error = write_parts(path, parts);
  if (error != 0) refuse_write(what, path, write_failure(error, path, size_of(parts)));
}

void replace_file(const std::string& what, const std::string& path, Parts parts) {
  const std::string partial = path + ".new";
  int error = write_parts(partial, parts);
  if (error == 0 && std::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(partial.c_str());
  refuse_write(what, path, write_failure(error, path, size_of(parts)));
}

}  // namespace troupe
