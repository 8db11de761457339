#include "runtime/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace troupe {

void check_failed(const char* condition, const char* file, int line, const std::string& values) {
  std::fprintf(stderr, "%s:%d: CHECK(%s) failed; values: %s\n", file, line, condition, values.c_str());
  std::abort();
}

}  // namespace troupe
