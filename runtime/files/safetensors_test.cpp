#include "runtime/files/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "runtime/base/random.h"
#include "runtime/files/test_dir.h"

namespace troupe {
namespace {

// A file made by hand: the header's size, the header, the data.
std::string raw(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &size, 8);
  return text + header + data;
}

// Why a file of this content is refused, without the file's name.
std::string refusal_of(const std::string& content) {
  const std::string text = fault_of([&] { parse_safetensors(std::as_bytes(std::span(content)), "x"); });
  const std::string start = "safetensors file 'x' cannot be read: ";
  return text.rfind(start, 0) == 0 ? text.substr(start.size()) : text;
}

std::string refusal_of_header(const std::string& header, const std::string& data = "12345678") {
  return refusal_of(raw(header, data));
}

template <class T>
std::vector<T> values_of(const NamedTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TestDir dir;
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};
  const std::vector<double> d = {0.5};
  const std::vector<int32_t> i = {-1, 2};
  const std::vector<int64_t> l = {1LL << 40};
  const std::vector<uint8_t> u = {1, 2, 255}, b = {0, 1};
  write_safetensors(dir / "x",
                    {{"w", DType::f32, {2, 3}, bytes_of(w)},
                     {"d", DType::f64, {}, bytes_of(d)},
                     {"i", DType::i32, {2, 1}, bytes_of(i)},
                     {"l", DType::i64, {1}, bytes_of(l)},
                     {"u", DType::u8, {3}, bytes_of(u)},
                     {"b", DType::b8, {2}, bytes_of(b)},
                     {"none", DType::f32, {0, 7}, {}}},
                    {{"format", "pt"}, {"note", "\u20ac \"quoted\"\n"}});
  const SafetensorsFile file(dir / "x");
  ASSERT_EQ(file.tensors().size(), 7u);
  EXPECT_EQ(values_of<float>(*file.find("w")), w);
  EXPECT_EQ(file.find("w")->shape, Shape({2, 3}));
  EXPECT_EQ(file.find("w")->dtype, DType::f32);
  EXPECT_EQ(values_of<double>(*file.find("d")), d);
  EXPECT_EQ(file.find("d")->shape, Shape());
  EXPECT_EQ(values_of<int32_t>(*file.find("i")), i);
  EXPECT_EQ(values_of<int64_t>(*file.find("l")), l);
  EXPECT_EQ(values_of<uint8_t>(*file.find("u")), u);
  EXPECT_EQ(values_of<uint8_t>(*file.find("b")), b);
  EXPECT_EQ(file.find("b")->dtype, DType::b8);
  EXPECT_EQ(file.find("none")->shape, Shape({0, 7}));
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_EQ(file.metadata(), (SafetensorsMetadata{{"format", "pt"}, {"note", "\u20ac \"quoted\"\n"}}));
}

TEST(Safetensors, FloatsOfTwoBytesComeBack) {
  const TestDir dir;
  const std::vector<uint16_t> bits = {0x3f80, 0x8001, 0x7c00};
  write_safetensors(dir / "x", {{"b", DType::bf16, {3}, bytes_of(bits)}, {"h", DType::f16, {3}, bytes_of(bits)}}, {});
  const SafetensorsFile file(dir / "x");
  EXPECT_EQ(file.find("b")->dtype, DType::bf16);
  EXPECT_EQ(file.find("h")->dtype, DType::f16);
  for (const char* name : {"b", "h"}) EXPECT_EQ(values_of<uint16_t>(*file.find(name)), bits);
}

TEST(Safetensors, AFileCanBeWithoutTensors) {
  const TestDir dir;
  write_safetensors(dir / "x", {});
  EXPECT_EQ(content_of(dir / "x"), raw("{}      ", ""));
  EXPECT_TRUE(SafetensorsFile(dir / "x").tensors().empty());
}

TEST(Safetensors, TheBytesOfAFileAreFixed) {
  const TestDir dir;
  const std::vector<uint8_t> u = {'x'}, w = {'a', 'b', 'c', 'd'};
  const NamedTensor small{"a", DType::u8, {1}, bytes_of(u)}, large{"b", DType::i32, {1}, bytes_of(w)};
  write_safetensors(dir / "x", {small, large}, {{"k", "v"}});
  const std::string expected = raw(R"({"__metadata__":{"k":"v"},"b":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},)"
                                   R"("a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}})"
                                   "     ",
                                   "abcdx");
  EXPECT_EQ(content_of(dir / "x"), expected);
  write_safetensors(dir / "y", {large, small}, {{"k", "v"}});
  EXPECT_EQ(content_of(dir / "y"), expected);
}

TEST(Safetensors, EveryTensorIsAlignedToItsElements) {
  const TestDir dir;
  Random random(1);
  const std::vector<std::byte> zeros(800);
  for (int round = 0; round < 10; ++round) {
    std::vector<NamedTensor> tensors;
    for (int64_t n = random.below(10); n > 0; --n) {
      const auto dtype = static_cast<DType>(random.below(static_cast<int64_t>(kLastDType) + 1));
      const int64_t size = random.below(100);
      tensors.push_back(
          {"t" + std::to_string(n), dtype, {size}, std::span(zeros).first(static_cast<size_t>(size * size_of(dtype)))});
    }
    write_safetensors(dir / "x", tensors);
    const SafetensorsFile file(dir / "x");
    ASSERT_EQ(file.tensors().size(), tensors.size());
    for (const NamedTensor& tensor : file.tensors()) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % static_cast<uintptr_t>(size_of(tensor.dtype)), 0u);
    }
  }
}

TEST(Safetensors, RefusesToWriteWhatCannotBeReadBack) {
  const TestDir dir;
  const std::vector<uint8_t> u = {1};
  const auto tensor = [&](const std::string& name) { return NamedTensor{name, DType::u8, {1}, bytes_of(u)}; };
  const std::string start = "safetensors file '" + dir.path() + "/x' cannot be written: ";
  EXPECT_EQ(fault_of([&] { write_safetensors(dir / "x", {tensor("w"), tensor("v"), tensor("w")}); }),
            start + "two tensors are called 'w'");
  EXPECT_EQ(fault_of([&] { write_safetensors(dir / "x", {tensor("__metadata__")}); }),
            start + "a tensor cannot be called '__metadata__'");
  EXPECT_EQ(fault_of([&] { write_safetensors(dir / "x", {}, {{"k", "\xff"}}); }),
            start + "the metadata 'k' is not UTF-8");
  EXPECT_EQ(fault_of([&] { write_safetensors(dir / "no/x", {tensor("w")}); }),
            "safetensors file '" + dir.path() + "/no/x' cannot be written: No such file or directory");
}

TEST(Safetensors, SaysWhyTheStartOfAFileIsRefused) {
  EXPECT_EQ(refusal_of(""), "it has 0 bytes; the size of its header takes 8");
  EXPECT_EQ(refusal_of("1234567"), "it has 7 bytes; the size of its header takes 8");
  EXPECT_EQ(refusal_of(std::string(8, '\xff') + "{}"),
            "its header of 18446744073709551615 bytes is too long; at most 100000000 are possible");
  EXPECT_EQ(refusal_of(raw("{}", "").substr(0, 9)), "it is cut short: it has 9 bytes, its header alone needs 8 + 2");
  EXPECT_EQ(refusal_of_header("{\"a\":}"), "its header is no JSON at byte 5: a value is missing");
  EXPECT_EQ(refusal_of_header("[]"), "its header is no JSON object");
  EXPECT_EQ(refusal_of_header(R"({"a":1,"a":2})"), "its header is no JSON at byte 7: the name 'a' comes twice");
  EXPECT_EQ(refusal_of_header(R"({"__metadata__":{"a":1}})"), "__metadata__ 'a' is no text");
  EXPECT_EQ(refusal_of_header(R"({"__metadata__":[]})"), "__metadata__ is no object");
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(Safetensors, SaysWhyATensorIsRefused) {
  const auto refusal = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return refusal_of_header("{\"w\":" + entry(dtype, shape, offsets) + "}");
  };
  EXPECT_EQ(refusal("F32", "[2]", "[0,8]"), "none");
  EXPECT_EQ(refusal("BF16", "[4]", "[0,8]"), "none");
  EXPECT_EQ(refusal("I16", "[4]", "[0,8]"),
            "tensor 'w': dtype I16 is not supported; F32, F64, I32, I64, U8, BOOL, BF16, F16 are");
  EXPECT_EQ(refusal("F32", "[3]", "[0,8]"), "tensor 'w': F32 [3] does not have 8 bytes");
  EXPECT_EQ(refusal("F32", "[4294967296,4294967296]", "[0,8]"),
            "tensor 'w': F32 [4294967296,4294967296] does not have 8 bytes");
  EXPECT_EQ(refusal("F32", "[4]", "[0,16]"), "tensor 'w': its data ends at byte 16; the file has 8 bytes of data");
  EXPECT_EQ(refusal("F32", "[0]", "[8,4]"), "tensor 'w': data_offsets are not [begin, end]");
  EXPECT_EQ(refusal("F32", "[2]", "[0]"), "tensor 'w': data_offsets are not [begin, end]");
  EXPECT_EQ(refusal("F32", "[-2]", "[0,8]"), "tensor 'w': shape holds -2");
  EXPECT_EQ(refusal("F32", "[2.0]", "[0,8]"), "tensor 'w': shape holds 2.0");
  EXPECT_EQ(refusal("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "tensor 'w': it has 9 dims; at most 8 are possible");
  EXPECT_EQ(refusal_of_header(R"({"w":{}})"), "tensor 'w': its dtype is missing or no text");
  EXPECT_EQ(refusal_of_header(R"({"w":{"dtype":"F32"}})"), "tensor 'w': shape is missing or no list");
}

TEST(Safetensors, DataHasNeitherGapsNorOverlap) {
  const auto refusal = [](const std::string& a, const std::string& b) {
    return refusal_of_header("{\"a\":" + entry("U8", "[4]", a) + ",\"b\":" + entry("U8", "[4]", b) + "}");
  };
  EXPECT_EQ(refusal("[4,8]", "[0,4]"), "none");
  EXPECT_EQ(refusal("[0,4]", "[2,6]"), "tensor 'b': its data overlaps that of 'a'");
  EXPECT_EQ(refusal("[0,4]", "[0,4]"), "tensor 'b': its data overlaps that of 'a'");
  EXPECT_EQ(refusal_of_header("{\"a\":" + entry("U8", "[4]", "[3,7]") + "}"),
            "tensor 'a': 3 bytes before its data belong to no tensor");
  EXPECT_EQ(refusal_of_header("{\"a\":" + entry("U8", "[4]", "[0,4]") + "}"),
            "the file has 8 bytes of data; its tensors have 4");
}

TEST(Safetensors, NamesTheFileThatCannotBeRead) {
  const TestDir dir;
  const std::string bad = dir.with_file("bad", "1234567");
  EXPECT_EQ(fault_of([&] { SafetensorsFile file(bad); }),
            "safetensors file '" + bad + "' cannot be read: it has 7 bytes; the size of its header takes 8");
  EXPECT_EQ(fault_of([&] { SafetensorsFile file(dir / "no"); }),
            "safetensors file '" + dir.path() + "/no' cannot be read: No such file or directory");
}

// Whatever happened to the bytes: a fault that names the file, or tensors that lie inside the file.
TEST(Safetensors, SurvivesDamagedFiles) {
  const TestDir dir;
  std::vector<uint8_t> bytes(64);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  write_safetensors(dir / "good",
                    {{"w", DType::f32, {2, 4}, bytes_of(bytes).first(32)},
                     {"steps", DType::i64, {2}, bytes_of(bytes).first(16)},
                     {"mask", DType::b8, {5}, bytes_of(bytes).first(5)}},
                    {{"format", "troupe"}});
  const std::string good = content_of(dir / "good");
  for (size_t size = 0; size < good.size(); ++size) ASSERT_NE(refusal_of(good.substr(0, size)), "none") << size;

  Random random(3);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string content = good;
    for (int64_t n = random.between(1, 3); n > 0; --n) {
      const auto at = static_cast<size_t>(random.below(static_cast<int64_t>(good.size())));
      content[at] = random.chance(0.5) ? "{}[]\",:0123456789-"[random.below(18)] : static_cast<char>(random.below(256));
    }
    try {
      unsigned sum = 0;
      for (const NamedTensor& tensor : parse_safetensors(std::as_bytes(std::span(content)), "x").tensors) {
        for (std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
      }
      ASSERT_LE(sum, 255 * good.size());
    } catch (const FaultError& error) {
      ASSERT_EQ(std::string(error.what()).rfind("safetensors file 'x' cannot be read: ", 0), 0u);
      ++refused;
    }
  }
  EXPECT_GT(refused, 10'000);
  EXPECT_LT(refused, 20'000);
}

}  // namespace
}  // namespace troupe
