#include "runtime/files/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"
#include "runtime/files/json.h"

namespace troupe {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

constexpr const char* kWhat = "safetensors file";
constexpr std::string_view kMetadata = "__metadata__";
constexpr uint64_t kHeaderLimit = 100'000'000;  // bytes; the limit of the format's own reader

struct FormatDType {
  DType dtype;
  std::string_view name;
};
constexpr std::array<FormatDType, 8> kDTypes = {{{DType::f32, "F32"},
                                                 {DType::f64, "F64"},
                                                 {DType::i32, "I32"},
                                                 {DType::i64, "I64"},
                                                 {DType::u8, "U8"},
                                                 {DType::b8, "BOOL"},
                                                 {DType::bf16, "BF16"},
                                                 {DType::f16, "F16"}}};

std::string format_name(DType dtype) {
  const auto it = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const auto& entry) { return entry.dtype == dtype; });
  CHECK(it != kDTypes.end(), static_cast<int>(dtype));
  return std::string(it->name);
}

Json numbers(std::span<const int64_t> values) {
  Json::Array array;
  for (int64_t value : values) array.emplace_back(value);
  return array;
}

// --- reading ---

// Why a header is refused; the file's name is added where it is caught.
struct Refused {
  std::string reason;
};

[[noreturn]] void refuse_tensor(const std::string& name, const std::string& reason) {
  throw Refused{"tensor '" + name + "': " + reason};
}

DType dtype_in(const std::string& name, const Json& entry) {
  const Json* json = entry.find("dtype");
  const auto* text = json != nullptr ? json->as<std::string>() : nullptr;
  if (text == nullptr) refuse_tensor(name, "its dtype is missing or no text");
  for (const FormatDType& known : kDTypes) {
    if (known.name == *text) return known.dtype;
  }
  refuse_tensor(name, "dtype " + *text + " is not supported; " +
                          join(kDTypes, ", ", [](const auto& known) { return std::string(known.name); }) + " are");
}

std::vector<int64_t> integers_in(const std::string& name, const Json& entry, const char* field) {
  const Json* json = entry.find(field);
  const auto* array = json != nullptr ? json->as<Json::Array>() : nullptr;
  if (array == nullptr) refuse_tensor(name, std::string(field) + " is missing or no list");
  std::vector<int64_t> values;
  for (const Json& item : *array) {
    const auto* value = item.as<int64_t>();
    if (value == nullptr || *value < 0) refuse_tensor(name, std::string(field) + " holds " + item.str());
    values.push_back(*value);
  }
  return values;
}

// Nothing when the product does not fit.
std::optional<int64_t> bytes_of(DType dtype, const std::vector<int64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t bytes = size_of(dtype);
  for (int64_t size : shape) {
    if (size > std::numeric_limits<int64_t>::max() / bytes) return std::nullopt;
    bytes *= size;
  }
  return bytes;
}

// Checks the entry by itself; whether the data has no gaps is checked over all of them.
NamedTensor tensor_in(const std::string& name, const Json& entry, std::span<const std::byte> data) {
  const DType dtype = dtype_in(name, entry);
  const std::vector<int64_t> shape = integers_in(name, entry, "shape");
  const std::vector<int64_t> offsets = integers_in(name, entry, "data_offsets");
  const std::string shape_text = "[" + join(shape, ",", [](int64_t size) { return std::to_string(size); }) + "]";
  if (shape.size() > static_cast<size_t>(kMaxRank)) {
    refuse_tensor(name, "it has " + std::to_string(shape.size()) + " dims; at most " + std::to_string(kMaxRank) +
                            " are possible");
  }
  if (offsets.size() != 2 || offsets[0] > offsets[1]) refuse_tensor(name, "data_offsets are not [begin, end]");
  if (static_cast<uint64_t>(offsets[1]) > data.size()) {
    refuse_tensor(name, "its data ends at byte " + std::to_string(offsets[1]) + "; the file has " +
                            std::to_string(data.size()) + " bytes of data");
  }
  const int64_t size = offsets[1] - offsets[0];
  if (bytes_of(dtype, shape) != size) {
    refuse_tensor(name, format_name(dtype) + " " + shape_text + " does not have " + std::to_string(size) + " bytes");
  }
  return {name, dtype, Shape(shape), data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(size))};
}

SafetensorsMetadata metadata_in(const Json& json) {
  const auto* members = json.as<Json::Object>();
  if (members == nullptr) throw Refused{"__metadata__ is no object"};
  SafetensorsMetadata metadata;
  for (const auto& [name, value] : *members) {
    const auto* text = value.as<std::string>();
    if (text == nullptr) throw Refused{"__metadata__ '" + name + "' is no text"};
    metadata[name] = *text;
  }
  return metadata;
}

void check_without_gaps(std::vector<NamedTensor> tensors, std::span<const std::byte> data) {
  std::sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* end = data.data();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const NamedTensor& tensor = tensors[i];
    if (tensor.bytes.data() < end)
      refuse_tensor(tensor.name, "its data overlaps that of '" + tensors[i - 1].name + "'");
    if (tensor.bytes.data() > end) {
      refuse_tensor(tensor.name,
                    std::to_string(tensor.bytes.data() - end) + " bytes before its data belong to no tensor");
    }
    end += tensor.bytes.size();
  }
  const size_t used = static_cast<size_t>(end - data.data());
  if (used != data.size()) {
    throw Refused{"the file has " + std::to_string(data.size()) + " bytes of data; its tensors have " +
                  std::to_string(used)};
  }
}

Json header_in(std::span<const std::byte> bytes, uint64_t& header_size) {
  if (bytes.size() < 8)
    throw Refused{"it has " + std::to_string(bytes.size()) + " bytes; the size of its header takes 8"};
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > kHeaderLimit) {
    throw Refused{"its header of " + std::to_string(header_size) + " bytes is too long; at most " +
                  std::to_string(kHeaderLimit) + " are possible"};
  }
  if (header_size > bytes.size() - 8) {
    throw Refused{"it is cut short: it has " + std::to_string(bytes.size()) + " bytes, its header alone needs 8 + " +
                  std::to_string(header_size)};
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  std::variant<Json, JsonError> parsed = parse_json(text);
  if (const auto* error = std::get_if<JsonError>(&parsed)) throw Refused{"its header is no JSON " + error->str()};
  return std::get<Json>(std::move(parsed));
}

bool by_name(const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; }

}  // namespace

void write_safetensors(const std::string& path, std::vector<NamedTensor> tensors, const SafetensorsMetadata& metadata) {
  std::sort(tensors.begin(), tensors.end(), by_name);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const NamedTensor& tensor = tensors[i];
    CHECK(static_cast<int64_t>(tensor.bytes.size()) == tensor.shape.elements() * size_of(tensor.dtype), tensor.name,
          type_text(tensor.dtype, tensor.shape), tensor.bytes.size());
    if (i > 0 && tensor.name == tensors[i - 1].name) {
      refuse_write(kWhat, path, "two tensors are called '" + tensor.name + "'");
    }
    if (tensor.name == kMetadata || !is_utf8(tensor.name)) {
      refuse_write(kWhat, path, "a tensor cannot be called '" + tensor.name + "'");
    }
  }
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const NamedTensor& a, const NamedTensor& b) { return size_of(a.dtype) > size_of(b.dtype); });

  Json::Object header;
  if (!metadata.empty()) {
    Json::Object members;
    for (const auto& [name, text] : metadata) {
      if (!is_utf8(name) || !is_utf8(text)) refuse_write(kWhat, path, "the metadata '" + name + "' is not UTF-8");
      members.emplace_back(name, text);
    }
    header.emplace_back(kMetadata, std::move(members));
  }
  int64_t end = 0;
  for (const NamedTensor& tensor : tensors) {
    const std::array<int64_t, 2> offsets = {end, end + static_cast<int64_t>(tensor.bytes.size())};
    header.emplace_back(tensor.name, Json::Object{{"dtype", format_name(tensor.dtype)},
                                                  {"shape", numbers(tensor.shape.vector())},
                                                  {"data_offsets", numbers(offsets)}});
    end = offsets[1];
  }
  std::string text = Json(std::move(header)).str();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kHeaderLimit) refuse_write(kWhat, path, "its header would be longer than the format allows");
  const uint64_t size = text.size();

  std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(&size, 1)), std::as_bytes(std::span(text))};
  for (const NamedTensor& tensor : tensors) parts.push_back(tensor.bytes);
  write_file(kWhat, path, parts);
}

SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& path) {
  SafetensorsContent content;
  try {
    uint64_t header_size = 0;
    const Json header = header_in(bytes, header_size);
    const auto data = bytes.subspan(8 + static_cast<size_t>(header_size));
    const auto* members = header.as<Json::Object>();
    if (members == nullptr) throw Refused{"its header is no JSON object"};
    for (const auto& [name, entry] : *members) {
      if (name == kMetadata) {
        content.metadata = metadata_in(entry);
      } else {
        content.tensors.push_back(tensor_in(name, entry, data));
      }
    }
    check_without_gaps(content.tensors, data);
  } catch (const Refused& refused) {
    refuse_read(kWhat, path, refused.reason);
  }
  std::sort(content.tensors.begin(), content.tensors.end(), by_name);
  return content;
}

const NamedTensor* SafetensorsFile::find(std::string_view name) const {
  const auto it = std::lower_bound(tensors().begin(), tensors().end(), name,
                                   [](const NamedTensor& tensor, std::string_view n) { return tensor.name < n; });
  return it != tensors().end() && it->name == name ? &*it : nullptr;
}

}  // namespace troupe
