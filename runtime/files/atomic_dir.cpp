#include "runtime/files/atomic_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/disk.h"
#include "runtime/files/file.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhat = "directory";
constexpr std::string_view kPartial = ".partial-";
constexpr std::string_view kReplaced = ".replaced-";
constexpr size_t kDigits = 16;

// "/a/b/" and "/a/b" are the same directory.
std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

fs::path parent_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

std::string random_suffix() {
  std::random_device device;
  const uint64_t bits = uint64_t{device()} << 32 | device();
  char text[kDigits + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(bits));
  return text;
}

// "NAME.partial-0123456789abcdef" -> "NAME", for the given marker.
std::optional<std::string_view> name_before(std::string_view file_name, std::string_view marker) {
  if (file_name.size() <= marker.size() + kDigits) return std::nullopt;
  const std::string_view digits = file_name.substr(file_name.size() - kDigits);
  const std::string_view rest = file_name.substr(0, file_name.size() - kDigits);
  if (digits.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
  if (!rest.ends_with(marker)) return std::nullopt;
  return rest.substr(0, rest.size() - marker.size());
}

// The paths beside `path` that carry its name and this marker.
std::vector<std::string> beside(const std::string& path, std::string_view marker) {
  std::vector<std::string> found;
  const std::string name = fs::path(path).filename().string();
  std::error_code error;
  for (fs::directory_iterator it(parent_of(path), error), end; !error && it != end; it.increment(error)) {
    if (name_before(it->path().filename().string(), marker) == name) found.push_back(it->path().string());
  }
  return found;
}

void remove_all(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) refuse_write(kWhat, path, "it cannot be removed: " + error.message());
}

// The system's error, 0 for none.
int sync(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno;
  // EINVAL: a file system that has no sync for directories.
  const int error = ::fsync(file) != 0 && errno != EINVAL ? errno : 0;
  ::close(file);
  return error;
}

// The same for a directory and all that is in it; `bytes` is how many its files have.
int sync_all(const std::string& dir, int64_t& bytes) {
  std::error_code error;
  int failed = 0;
  fs::recursive_directory_iterator it(dir, error), end;
  for (; !error && it != end; it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    const bool file = fs::is_regular_file(status);
    if (!error && file) bytes += static_cast<int64_t>(it->file_size(error));
    if (!error && failed == 0 && (file || fs::is_directory(status))) failed = sync(it->path().string());
  }
  if (failed == 0) failed = error.value();
  return failed != 0 ? failed : sync(dir);
}

void rename_to(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) refuse_write(kWhat, to, std::strerror(errno));
}

// Puts `partial` at `path`. Returns where the directory that was there before lies now; empty when there was
// none.
std::string put_in_place(const std::string& partial, const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) {
    rename_to(partial, path);
    return "";
  }
  if (!S_ISDIR(status.st_mode)) refuse_write(kWhat, path, "a file of that name is in the way");
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return partial;
  if (errno != EINVAL && errno != ENOSYS) refuse_write(kWhat, path, std::strerror(errno));
  std::string replaced = path + std::string(kReplaced) + random_suffix();
  rename_to(path, replaced);
  rename_to(partial, path);  // should this fail, recover_dir brings the old one back
  return replaced;
}

void remove_if_possible(const std::string& path) {
  std::error_code ignored;  // what cannot be removed now is removed by the next writer
  fs::remove_all(path, ignored);
}

}  // namespace

AtomicDir::AtomicDir(std::string path) : path_(without_trailing_slash(std::move(path))) {
  if (fs::path(path_).filename().empty()) refuse_write(kWhat, path_, "it has no name");
  recover_dir(path_);
  for (const std::string& left : beside(path_, kPartial)) remove_all(left);
  for (const std::string& left : beside(path_, kReplaced)) remove_all(left);
  partial_ = path_ + std::string(kPartial) + random_suffix();
  if (::mkdir(partial_.c_str(), 0777) != 0) refuse_write(kWhat, path_, std::strerror(errno));
}

AtomicDir::~AtomicDir() {
  if (!committed_) remove_if_possible(partial_);
}

std::string AtomicDir::file(std::string_view name) const { return partial_ + "/" + std::string(name); }

void AtomicDir::write(std::string_view name, std::span<const std::byte> bytes) const {
  write_file("file", file(name), {{bytes}});
}

void AtomicDir::commit() {
  CHECK(!committed_, path_);
  int64_t bytes = 0;
  if (const int error = sync_all(partial_, bytes); error != 0) {
    remove_if_possible(partial_);
    refuse_write(kWhat, path_, write_failure(error, path_, bytes));
  }
  const std::string old = put_in_place(partial_, path_);
  committed_ = true;
  if (const int error = sync(parent_of(path_).string()); error != 0) refuse_write(kWhat, path_, std::strerror(error));
  if (!old.empty()) remove_if_possible(old);  // not before the new one is known to be on the disk
}

bool is_unfinished_dir(std::string_view file_name) {
  return name_before(file_name, kPartial).has_value() || name_before(file_name, kReplaced).has_value();
}

void recover_dir(const std::string& path) {
  const std::string place = without_trailing_slash(path);
  std::error_code ignored;
  if (fs::exists(place, ignored)) return;
  for (const std::string& replaced : beside(place, kReplaced)) {
    rename_to(replaced, place);
    return;
  }
}

}  // namespace troupe
