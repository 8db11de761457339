// JSON (RFC 8259), strict and small: for the header of safetensors and the notes beside a checkpoint.
//
// A number without fraction and exponent that fits is an int64_t, any other a double. Objects keep their
// order and refuse a name that comes twice. Texts are UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json(std::nullptr_t = nullptr) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t{value}) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  // nullptr when the value is of another kind; T is bool, int64_t, double, std::string, Array or Object.
  template <class T>
  const T* as() const {
    return std::get_if<T>(&value_);
  }
  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  // The member of an object; nullptr when there is none or this is no object.
  const Json* find(std::string_view name) const;

  // Without spaces; reads back as an equal value. Doubles must be finite and texts UTF-8.
  std::string str() const;
  bool operator==(const Json&) const = default;

 private:
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_;
};

constexpr int kJsonDepth = 64;  // arrays and objects inside one another, so that no input exhausts the stack

// Where a text stops being JSON, and why.
struct JsonError {
  size_t offset = 0;  // in bytes
  std::string reason;
  // "at byte 12: a value is missing"
  std::string str() const;
};

// The whole text is one value, with white space around it.
std::variant<Json, JsonError> parse_json(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace troupe
