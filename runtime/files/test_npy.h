// Files of the .npy format for tests.
#pragma once

#include <cstring>
#include <string>
#include <vector>

namespace troupe {

// As np.save pads it, in this version of the format.
inline std::string npy_header(std::string text, int major = 1) {
  const size_t before = major == 1 ? 10 : 12;
  text.resize((before + text.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  text += '\n';
  std::string head = "\x93NUMPY";
  head += static_cast<char>(major);
  head += '\0';
  for (size_t i = 0; i < before - 8; ++i) head += static_cast<char>(text.size() >> 8 * i & 0xff);
  return head + text;
}

inline std::string npy_dict(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

// The numbers as elements of this type.
template <class T>
std::string npy_file(const std::string& descr, const std::string& shape, const std::vector<T>& elements) {
  std::string data(elements.size() * sizeof(T), '\0');
  if (!data.empty()) std::memcpy(data.data(), elements.data(), data.size());
  return npy_header(npy_dict(descr, shape)) + data;
}

}  // namespace troupe
