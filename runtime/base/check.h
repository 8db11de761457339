// CHECK(cond, values...): an invariant of ours. When it does not hold, the program is wrong: print the condition, the
// place and the values, and abort. A user's mistake is a PlanError, the world's failure a Fault (see error.h).
#pragma once

#include <sstream>
#include <string>

namespace troupe {

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& values);

template <class... Values>
[[noreturn]] void check_failed_with(const char* condition, const char* file, int line, const Values&... values) {
  std::ostringstream text;
  ((text << values << ' '), ...);
  check_failed(condition, file, line, text.str());
}

}  // namespace troupe

// A macro because it must show the text of the condition and not evaluate the values unless it fails.
#define CHECK(condition, ...)   \
  (static_cast<bool>(condition) \
       ? void()                 \
       : ::troupe::check_failed_with(#condition, __FILE__, __LINE__ __VA_OPT__(, ) __VA_ARGS__))
