// Text for people: lists, numbers, byte counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

template <class Range, class Fn>
std::string join(const Range& range, std::string_view separator, Fn&& text_of) {
  std::string text;
  bool first = true;
  for (const auto& item : range) {
    if (!first) text += separator;
    first = false;
    text += text_of(item);
  }
  return text;
}

// "a, b, c and 45 more".
std::string some_of(const std::vector<std::string>& names, size_t most);

// The shortest decimal form that reads back as the same double: "0.1", "1e-05", "3".
std::string number_text(double value);

// "512 B", "64.0 KiB", "1.5 GiB".
std::string bytes_text(int64_t bytes);

// "1.2 us", "3.4 ms", "5.6 s".
std::string seconds_text(double seconds);

}  // namespace troupe
