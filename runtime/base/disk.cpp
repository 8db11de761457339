#include "runtime/base/disk.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/text.h"

namespace troupe {

std::string write_failure(int error, const std::string& path, int64_t needed) {
  std::string text = std::strerror(error);
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) return text;
  text += ": it needs " + bytes_text(needed);
  if (error == EDQUOT) return text + ", more than the quota here leaves";
  if (error == EFBIG) {
    rlimit limit{};
    const bool limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < static_cast<rlim_t>(needed);
    if (!limited) return text + ", more than a file may have here";
    return text + ", this process may write files of " + bytes_text(static_cast<int64_t>(limit.rlim_cur));
  }
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct statvfs status {};
  if (statvfs(folder.c_str(), &status) != 0) return text;
  return text + ", " + bytes_text(static_cast<int64_t>(status.f_bavail * status.f_frsize)) + " are free";
}

}  // namespace troupe
