#include "runtime/files/npy_header.h"

#include <gtest/gtest.h>

#include "runtime/base/random.h"
#include "runtime/files/test_dir.h"
#include "runtime/files/test_npy.h"

namespace troupe {
namespace {

class NpyHeaderTest : public testing::Test {
 protected:
  NpyHeader header_of(const std::string& content) {
    std::filesystem::remove(dir_ / "a.npy");  // to write over a file takes some file systems milliseconds
    return read_npy_header(OpenFile("array file", dir_.with_file("a.npy", content)));
  }
  // Why the file cannot be read; "none" when it can.
  std::string refusal(const std::string& content) {
    const std::string text = fault_of([&] { header_of(content); });
    const std::string before = "array file '" + dir_.path() + "/a.npy' cannot be read: ";
    return text.starts_with(before) ? text.substr(before.size()) : text;
  }

  TestDir dir_;
};

std::string zeros(size_t bytes) { return std::string(bytes, '\0'); }

TEST_F(NpyHeaderTest, ReadsEachVersionOfTheFormat) {
  for (int major : {1, 2, 3}) {
    const std::string head = npy_header(npy_dict("<f4", "(2, 3)"), major);
    const NpyHeader header = header_of(head + zeros(24));
    EXPECT_EQ(header.dtype, DType::f32);
    EXPECT_EQ(header.shape, Shape({2, 3}));
    EXPECT_EQ(header.data, static_cast<int64_t>(head.size()));
  }
}

TEST_F(NpyHeaderTest, KnowsTheElementTypesOfTensors) {
  const std::pair<const char*, DType> types[] = {{"<f4", DType::f32}, {"<f8", DType::f64}, {"<i4", DType::i32},
                                                 {"<i8", DType::i64}, {"|u1", DType::u8},  {"|b1", DType::b8},
                                                 {"<f2", DType::f16}, {">u1", DType::u8}};
  for (const auto& [descr, dtype] : types) {
    EXPECT_EQ(header_of(npy_header(npy_dict(descr, "(1,)")) + zeros(8)).dtype, dtype) << descr;
  }
}

TEST_F(NpyHeaderTest, ReadsWhatOtherWritersWrite) {
  const auto shape_of = [&](const std::string& text) { return header_of(npy_header(text) + zeros(24)).shape; };
  EXPECT_EQ(shape_of("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}"), Shape({2, 3}));
  EXPECT_EQ(shape_of(npy_dict("<f4", "(2L, 3L)")), Shape({2, 3}));   // Python 2
  EXPECT_EQ(shape_of(npy_dict("<f4", "(6,)", "True")), Shape({6}));  // one dim has one order
  EXPECT_EQ(shape_of(npy_dict("<f4", "(0, 3)")), Shape({0, 3}));
  EXPECT_EQ(shape_of(npy_dict("<f4", "(2,)")), Shape({2}));  // with bytes behind the elements
}

TEST_F(NpyHeaderTest, SaysWhatIsWrongWithAnArrayAndHowToWriteIt) {
  const auto of = [&](const std::string& dict) { return refusal(npy_header(dict) + zeros(64)); };
  EXPECT_EQ(of(npy_dict(">f4", "(2,)")), "its elements are '>f4', big-endian; write array.astype('<f4')");
  EXPECT_EQ(of(npy_dict("<u2", "(2,)")),
            "tensors of its element type '<u2' do not exist; the types are f32, f64, i32, i64, u8, bool, f16: write "
            "array.astype('<f4'), say");
  EXPECT_NE(of(npy_dict("|O", "(2,)")).find("element type '|O' do not exist"), std::string::npos);
  EXPECT_NE(of(npy_dict("", "(2,)")).find("element type '' do not exist"), std::string::npos);
  EXPECT_EQ(of("{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (2,), }"),
            "its elements are records; write each of their fields to a file of its own");
  EXPECT_EQ(of(npy_dict("<f4", "(2, 3)", "True")),
            "its array lies column by column; write np.ascontiguousarray(array)");
  EXPECT_EQ(of(npy_dict("<f4", "()")), "its array has no dims; dim 0 is the batch dim");
  EXPECT_EQ(of(npy_dict("<f4", "(1,1,1,1,1,1,1,1,1)")), "its array has 9 dims; at most 8 are possible");
  EXPECT_EQ(of(npy_dict("<f4", "(2, 0)")), "the rows of its shape (2, 0) are empty");
}

TEST_F(NpyHeaderTest, NamesAFileThatIsNoneOrIsShort) {
  const std::string none = "it does not begin as a file of NumPy's .npy format, which np.save writes";
  EXPECT_EQ(refusal(""), none);
  EXPECT_EQ(refusal("\x93NUM"), none);
  EXPECT_EQ(refusal("hello, world"), none);
  EXPECT_EQ(refusal("PK\x03\x04"), "it is an archive, as np.savez writes; write each array with np.save");
  EXPECT_EQ(refusal(std::string("\x93NUMPY\x04\x00", 8)),
            "version 4.0 of the .npy format is unknown; 1.0, 2.0 and 3.0 are possible");
  EXPECT_EQ(refusal(std::string("\x93NUMPY\x01\x00\x05", 9)), "its header is cut off");
  EXPECT_EQ(refusal(npy_header(npy_dict("<f4", "(2,)")).substr(0, 40)), "its header is cut off");
  EXPECT_EQ(refusal(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)),
            "its header is damaged: 4294967295 bytes long");
  EXPECT_EQ(refusal(npy_header(npy_dict("<f4", "(2, 3)")) + zeros(23)),
            "an array of shape (2, 3) of '<f4' takes 24 bytes behind the header, 23 are there");
  EXPECT_EQ(refusal(npy_header(npy_dict("<f4", "(4611686018427387904,)"))),
            "an array of shape (4611686018427387904,) of '<f4' takes more bytes than any file has behind the header, 0 "
            "are there");
  EXPECT_NE(refusal(npy_header(npy_dict("<f4", "(0, 4611686018427387904)"))).find("than any file"), std::string::npos);
  EXPECT_EQ(refusal(npy_header(npy_dict("<f4", "(99999999999999999999,)"))),
            "its header is damaged: at character 69, a size is too large");
  EXPECT_EQ(refusal(npy_header("{'descr': '<f4', 'shape': (2,), }")),
            "its header is damaged: it must have 'descr', 'fortran_order' and 'shape'");
}

// Damaged headers are read or refused; what is read lies within the file.
TEST_F(NpyHeaderTest, SurvivesDamage) {
  const std::string whole = npy_header(npy_dict("<i4", "(5, 2, 3)")) + zeros(120);
  const std::string signs = "'\"{}()[],: \n0123456789-<>|LTFi4\x93" + std::string(1, '\0');
  Random random(1);
  int read = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string file = whole;
    for (int64_t changes = random.between(1, 3); changes > 0; --changes) {
      const auto at = static_cast<size_t>(random.below(80));
      const auto what = random.below(4);
      if (what == 0) file[at] = signs[static_cast<size_t>(random.below(static_cast<int64_t>(signs.size())))];
      if (what == 1) file.erase(at, static_cast<size_t>(random.below(8)));
      if (what == 2) file.insert(at, file.substr(static_cast<size_t>(random.below(60)), 5));
      if (what == 3) file.resize(static_cast<size_t>(random.below(static_cast<int64_t>(file.size()) + 1)));
      if (file.size() < 80) file.resize(80);
    }
    try {
      const NpyHeader header = header_of(file);
      ++read;
      const int64_t bytes = header.shape.elements() * size_of(header.dtype);
      ASSERT_LE(header.data + bytes, static_cast<int64_t>(file.size()));
    } catch (const FaultError& error) {
      ASSERT_NE(std::string(error.what()).find("/a.npy' cannot be read: "), std::string::npos);
    }
  }
  EXPECT_GT(read, 10);
  EXPECT_LT(read, 2000);
}

}  // namespace
}  // namespace troupe
