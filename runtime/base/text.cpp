#include "runtime/base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <span>

namespace troupe {
namespace {

std::string printed(const char* format, double value, const char* unit) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value, unit);
  return text.data();
}

}  // namespace

std::string some_of(const std::vector<std::string>& names, size_t most) {
  const size_t shown = std::min(names.size(), most);
  const std::string text = join(std::span(names).first(shown), ", ", [](const std::string& name) { return name; });
  return names.size() == shown ? text : text + " and " + std::to_string(names.size() - shown) + " more";
}

std::string number_text(double value) {
  std::array<char, 64> text;
  const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), result.ptr};
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const std::array<const char*, 5> units = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return printed("%.1f %s", value, units[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds < 1e-6) return printed("%.0f %s", seconds * 1e9, "ns");
  if (seconds < 1e-3) return printed("%.1f %s", seconds * 1e6, "us");
  if (seconds < 1) return printed("%.1f %s", seconds * 1e3, "ms");
  return printed("%.1f %s", seconds, "s");
}

}  // namespace troupe
