// The safetensors format: tensors by name, in one file that can be mapped.
//
//   8 bytes   size of the header, little-endian
//   header    JSON: {"__metadata__": {text: text, ...}, NAME: {"dtype": "F32", "shape": [2,3],
//             "data_offsets": [begin, end]}, ...}, padded with spaces to a multiple of 8
//   data      the tensors, row-major and little-endian; offsets count from here, without gaps or overlap
//
// A file that cannot be read or written is a FaultError that names it and the reason.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/files/file.h"

namespace troupe {

struct NamedTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  // the owner is elsewhere
};

using SafetensorsMetadata = std::map<std::string, std::string>;

// The bytes depend on the set of tensors, not on their order: they are written by falling element size, then
// by name, so that each is aligned to its elements. Names must differ.
void write_safetensors(const std::string& path, std::vector<NamedTensor> tensors,
                       const SafetensorsMetadata& metadata = {});

// What the bytes of a file hold; the tensors' bytes lie among them. `path` is for errors alone.
struct SafetensorsContent {
  std::vector<NamedTensor> tensors;  // sorted by name
  SafetensorsMetadata metadata;
};
SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& path);

// A safetensors file, mapped. Moved only; reads are thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path)
      : file_("safetensors file", path), content_(parse_safetensors(file_.bytes(), path)) {}

  // Sorted by name. Files of other writers may hold tensors whose bytes are not aligned to their elements.
  const std::vector<NamedTensor>& tensors() const { return content_.tensors; }
  // nullptr when there is none.
  const NamedTensor* find(std::string_view name) const;
  const SafetensorsMetadata& metadata() const { return content_.metadata; }

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

}  // namespace troupe
