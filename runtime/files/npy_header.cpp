#include "runtime/files/npy_header.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read as they lie in the file");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kBeforeSize = 8;  // magic and version
constexpr int64_t kMostHeader = 64 * 1024;

struct Element {
  std::string_view descr;  // without its byte order
  DType dtype;
};
constexpr Element kElements[] = {{"f4", DType::f32}, {"f8", DType::f64}, {"i4", DType::i32}, {"i8", DType::i64},
                                 {"u1", DType::u8},  {"b1", DType::b8},  {"f2", DType::f16}};

// What the header says, as it says it.
struct Said {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// Reads the dict of the header: a Python literal, of which only what NumPy writes is known.
class Parser {
 public:
  Parser(const OpenFile& file, std::string_view text) : file_(file), text_(text) {}

  Said parse() {
    Said said;
    expect('{');
    while (!skip('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !said.descr) {
        said.descr = descr();
      } else if (key == "fortran_order" && !said.fortran_order) {
        said.fortran_order = boolean();
      } else if (key == "shape" && !said.shape) {
        said.shape = sizes();
      } else {
        damaged("'descr', 'fortran_order' and 'shape', once each, are expected, not '" + key + "'");
      }
      if (skip(',')) continue;
      expect('}');
      break;
    }
    spaces();
    if (at_ != text_.size()) damaged("nothing is expected behind it");
    return said;
  }

 private:
  [[noreturn]] void damaged(const std::string& why) const {
    refuse_read(file_.what(), file_.path(), "its header is damaged: at character " + std::to_string(at_) + ", " + why);
  }
  void spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool skip(char c) {
    spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!skip(c)) damaged(std::string("'") + c + "' is expected");
  }
  bool skip(std::string_view word) {
    spaces();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string string() {
    const char quote = skip('"') ? '"' : '\'';
    if (quote == '\'') expect(quote);
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) damaged("a text has no end");
    const std::string text(text_.substr(at_, end - at_));
    at_ = end + 1;
    return text;
  }
  std::string descr() {
    if (skip('[')) {
      refuse_read(file_.what(), file_.path(),
                  "its elements are records; write each of their fields to a file of its own");
    }
    return string();
  }
  bool boolean() {
    if (skip("True")) return true;
    if (!skip("False")) damaged("True or False is expected");
    return false;
  }
  std::vector<int64_t> sizes() {
    std::vector<int64_t> sizes;
    expect('(');
    while (!skip(')')) {
      sizes.push_back(size());
      if (skip(',')) continue;
      expect(')');
      break;
    }
    return sizes;
  }
  int64_t size() {
    spaces();
    const size_t begin = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value)) {
        damaged("a size is too large");
      }
    }
    if (at_ == begin) damaged("a size is expected");
    skip('L');  // of Python 2
    return value;
  }

  const OpenFile& file_;
  std::string_view text_;
  size_t at_ = 0;
};

DType dtype_of(const OpenFile& file, const std::string& descr) {
  const bool ordered = !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  const std::string_view element = std::string_view(descr).substr(ordered ? 1 : 0);
  std::string known;
  for (const Element& each : kElements) {
    known += (known.empty() ? "" : ", ") + std::string(name_of(each.dtype));
    if (element != each.descr) continue;
    if (descr[0] != '>' || size_of(each.dtype) == 1) return each.dtype;
    refuse_read(file.what(), file.path(),
                "its elements are '" + descr + "', big-endian; write array.astype('<" + std::string(element) + "')");
  }
  refuse_read(file.what(), file.path(),
              "tensors of its element type '" + descr + "' do not exist; the types are " + known +
                  ": write array.astype('<f4'), say");
}

std::string tuple_text(const std::vector<int64_t>& sizes) {
  std::string text;
  for (int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + (sizes.size() == 1 ? ",)" : ")");
}

int64_t little_endian(std::string_view bytes) {
  int64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string text_at(const OpenFile& file, int64_t offset, int64_t size) {
  std::string text(static_cast<size_t>(size), '\0');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

NpyHeader read_npy_header(const OpenFile& file) {
  const auto refuse = [&](const std::string& why) { refuse_read(file.what(), file.path(), why); };
  const std::string start = text_at(file, 0, std::min(file.size(), kBeforeSize));
  if (start.starts_with("PK")) refuse("it is an archive, as np.savez writes; write each array with np.save");
  if (!start.starts_with(kMagic) || file.size() < kBeforeSize) {
    refuse("it does not begin as a file of NumPy's .npy format, which np.save writes");
  }
  const int major = static_cast<unsigned char>(start[6]), minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    refuse("version " + std::to_string(major) + "." + std::to_string(minor) +
           " of the .npy format is unknown; 1.0, 2.0 and 3.0 are possible");
  }
  const int64_t width = major == 1 ? 2 : 4;
  if (file.size() < kBeforeSize + width) refuse("its header is cut off");
  const int64_t size = little_endian(text_at(file, kBeforeSize, width));
  NpyHeader header;
  header.data = kBeforeSize + width + size;
  if (size > kMostHeader) refuse("its header is damaged: " + std::to_string(size) + " bytes long");
  if (header.data > file.size()) refuse("its header is cut off");

  const std::string text = text_at(file, kBeforeSize + width, size);
  const Said said = Parser(file, text).parse();
  if (!said.descr || !said.fortran_order || !said.shape) {
    refuse("its header is damaged: it must have 'descr', 'fortran_order' and 'shape'");
  }
  header.dtype = dtype_of(file, *said.descr);
  const std::vector<int64_t>& shape = *said.shape;
  if (shape.empty()) refuse("its array has no dims; dim 0 is the batch dim");
  if (shape.size() > kMaxRank) {
    refuse("its array has " + std::to_string(shape.size()) + " dims; at most " + std::to_string(kMaxRank) +
           " are possible");
  }
  if (*said.fortran_order && shape.size() > 1) {
    refuse("its array lies column by column; write np.ascontiguousarray(array)");
  }
  if (std::find(shape.begin() + 1, shape.end(), 0) != shape.end()) {
    refuse("the rows of its shape " + tuple_text(shape) + " are empty");
  }
  int64_t bytes = size_of(header.dtype);
  bool huge = false;
  for (size_t d = shape.size(); d-- > 0;) huge |= __builtin_mul_overflow(bytes, shape[d], &bytes);
  if (huge || bytes > file.size() - header.data) {
    refuse("an array of shape " + tuple_text(shape) + " of '" + *said.descr + "' takes " +
           (huge ? "more bytes than any file has" : std::to_string(bytes) + " bytes") + " behind the header, " +
           std::to_string(file.size() - header.data) + " are there");
  }
  header.shape = Shape(shape);
  return header;
}

}  // namespace troupe
