#include "runtime/files/json.h"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

void append_utf8(std::string& text, uint32_t code) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 0x3f)), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  }
}

// The length of the character that starts here; 0 when it is none (too long a form, a surrogate, beyond
// U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool shortest = first != 0xe0 || byte(1) >= 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return continues(1) && continues(2) && shortest && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool in_range = (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) < 0x90);
    return continues(1) && continues(2) && continues(3) && in_range ? 4 : 0;
  }
  return 0;
}

void write_text(std::string& out, std::string_view text) {
  CHECK(is_utf8(text), text);
  out += '"';
  for (char c : text) {
    constexpr const char* digits = "0123456789abcdef";
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string double_text(double value) {
  CHECK(std::isfinite(value), value);
  std::string text = number_text(value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";  // else it would read back as an integer
  return text;
}

void write(std::string& out, const Json& json) {
  if (json.is_null()) {
    out += "null";
  } else if (const auto* flag = json.as<bool>()) {
    out += *flag ? "true" : "false";
  } else if (const auto* integer = json.as<int64_t>()) {
    out += std::to_string(*integer);
  } else if (const auto* number = json.as<double>()) {
    out += double_text(*number);
  } else if (const auto* text = json.as<std::string>()) {
    write_text(out, *text);
  } else if (const auto* array = json.as<Json::Array>()) {
    out += '[';
    for (const Json& item : *array) {
      if (&item != array->data()) out += ',';
      write(out, item);
    }
    out += ']';
  } else {
    const auto& members = *json.as<Json::Object>();
    out += '{';
    for (const auto& member : members) {
      if (&member != members.data()) out += ',';
      write_text(out, member.first);
      out += ':';
      write(out, member.second);
    }
    out += '}';
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json whole() {
    Json json = value(0);
    skip_space();
    if (at_ != text_.size()) fail("nothing may follow the value");
    return json;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const { throw JsonError{at_, reason}; }

  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void expect(char c, const char* reason) {
    if (!take(c)) fail(reason);
  }

  void skip_space() {
    while (next() == ' ' || next() == '\t' || next() == '\n' || next() == '\r') ++at_;
  }

  Json value(int depth) {
    skip_space();
    if (depth > kJsonDepth) fail("more than " + std::to_string(kJsonDepth) + " values inside one another");
    if (take("null")) return nullptr;
    if (take("true")) return true;
    if (take("false")) return false;
    const char c = next();
    if (c == '"') return text();
    if (c == '[') return array(depth);
    if (c == '{') return object(depth);
    if (c == '-' || is_digit(c)) return number();
    fail("a value is missing");
  }

  Json array(int depth) {
    ++at_;
    Json::Array items;
    skip_space();
    if (take(']')) return items;
    do {
      items.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    expect(']', "',' or ']' is missing");
    return items;
  }

  Json object(int depth) {
    ++at_;
    Json::Object members;
    std::unordered_set<std::string> names;
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      const size_t start = at_;
      if (next() != '"') fail("a name is missing");
      std::string name = text();
      if (!names.insert(name).second) {
        at_ = start;
        fail("the name '" + name + "' comes twice");
      }
      skip_space();
      expect(':', "':' is missing");
      members.emplace_back(std::move(name), value(depth + 1));
      skip_space();
    } while (take(','));
    expect('}', "',' or '}' is missing");
    return members;
  }

  std::string text() {
    ++at_;
    std::string out;
    while (!take('"')) {
      if (at_ == text_.size()) fail("a text does not end");
      if (take('\\')) {
        escape(out);
        continue;
      }
      if (static_cast<uint8_t>(next()) < 0x20) fail("a control character in a text");
      const size_t length = utf8_length(text_.substr(at_));
      if (length == 0) fail("a text is not UTF-8");
      out += text_.substr(at_, length);
      at_ += length;
    }
    return out;
  }

  void escape(std::string& out) {
    constexpr std::string_view letters = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    if (take('u')) {
      append_utf8(out, code_point());
      return;
    }
    const size_t letter = at_ < text_.size() ? letters.find(next()) : std::string_view::npos;
    if (letter == std::string_view::npos) fail("an unknown escape in a text");
    out += meanings[letter];
    ++at_;
  }

  // What follows "\u"; two of them where it is the first half of a pair.
  uint32_t code_point() {
    const uint32_t high = hex4();
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high > 0xdbff || !take("\\u")) fail("half a surrogate pair in a text");
    const uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair in a text");
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }

  uint32_t hex4() {
    uint32_t code = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() != 4 || result.ptr != digits.data() + 4) fail("four hex digits are missing");
    at_ += 4;
    return code;
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void digits() {
    if (!is_digit(next())) fail("a digit is missing");
    while (is_digit(next())) ++at_;
  }

  Json number() {
    const size_t start = at_;
    const bool negative = take('-');
    if (!take('0')) digits();
    const bool zero = at_ == start + (negative ? 2 : 1) && text_[at_ - 1] == '0';
    bool integer = !(negative && zero);  // -0 is a double
    if (take('.')) {
      integer = false;
      digits();
    }
    if (take('e') || take('E')) {
      integer = false;
      if (!take('+')) take('-');
      digits();
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    if (int64_t value; integer && std::from_chars(first, last, value).ec == std::errc()) return value;
    double value = 0;
    if (std::from_chars(first, last, value).ec != std::errc()) {
      at_ = start;
      fail("a number is out of range");
    }
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view name) const {
  const Object* members = as<Object>();
  if (members == nullptr) return nullptr;
  for (const auto& [key, value] : *members) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string Json::str() const {
  std::string out;
  write(out, *this);
  return out;
}

std::string JsonError::str() const { return "at byte " + std::to_string(offset) + ": " + reason; }

std::variant<Json, JsonError> parse_json(std::string_view text) {
  try {
    return Parser(text).whole();
  } catch (const JsonError& error) {
    return error;
  }
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace troupe
