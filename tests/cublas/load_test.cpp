// Finding cuBLASLt: libraries that stand for NVIDIA's are there, are not, lack functions, or are too new.

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "ops/cuda/cublas_lt.h"

namespace troupe::cuda {
namespace {

namespace fs = std::filesystem;

class LoadCublasLt : public testing::Test {
 protected:
  LoadCublasLt() { fs::create_directories(root_); }
  ~LoadCublasLt() override { fs::remove_all(root_); }

  // A folder with a library of this name.
  std::string folder(const std::string& name, const std::string& file, const std::string& library) {
    fs::create_directories(root_ / name);
    fs::copy_file(library, root_ / name / file);
    return root_ / name;
  }

  // Another for every test: what has been loaded from a path stays.
  const fs::path root_ = fs::temp_directory_path() / ("cublas_lt." + std::to_string(getpid()) + "." +
                                                      testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(LoadCublasLt, FindsAllFunctionsAndSaysTheVersion) {
  const CublasLtFound found =
      load_cublas_lt({"/nowhere", folder("a", "libcublasLt.so.13", TROUPE_STUB_CUBLASLT)}, 13000);
  ASSERT_NE(found.library, nullptr) << found.description;
  EXPECT_EQ(found.description, "cuBLASLt 13.10.2");
  for_each_function(*found.library,
                    [](const auto& function, const char* name) { EXPECT_NE(function, nullptr) << name; });
}

TEST_F(LoadCublasLt, WithoutOneSaysWhereItLooked) {
  const CublasLtFound found = load_cublas_lt({"/nowhere", root_}, 13000);
  EXPECT_EQ(found.library, nullptr);
  EXPECT_EQ(found.description,
            "no cuBLASLt: libcublasLt.so.13 or libcublasLt.so.12 is not in /nowhere, " + root_.string());
}

TEST_F(LoadCublasLt, PassesOverOneThatIsNewerThanTheDriver) {
  const std::string newer = folder("a", "libcublasLt.so.13", TROUPE_STUB_CUBLASLT);
  EXPECT_EQ(load_cublas_lt({newer}, 12080).description, "no cuBLASLt: libcublasLt.so.12 is not in " + newer);
  fs::copy_file(TROUPE_STUB_CUBLASLT, fs::path(newer) / "libcublasLt.so.12");
  EXPECT_NE(load_cublas_lt({newer}, 12080).library, nullptr);
  EXPECT_NE(load_cublas_lt({newer}, 0).library, nullptr);
}

TEST_F(LoadCublasLt, PassesOverWhatIsNotTheLibraryAndSaysSo) {
  const std::string other = folder("a", "libcublasLt.so.13", TROUPE_NO_CUBLASLT);
  EXPECT_EQ(load_cublas_lt({other}, 13000).description,
            "no cuBLASLt: " + other + "/libcublasLt.so.13 has no cublasLtGetVersion");
  std::ofstream(root_ / "libcublasLt.so.12") << "text";
  const CublasLtFound found = load_cublas_lt({root_}, 13000);
  EXPECT_TRUE(found.description.find("libcublasLt.so.12: ") != std::string::npos) << found.description;
  EXPECT_NE(load_cublas_lt({other, root_, folder("b", "libcublasLt.so.12", TROUPE_STUB_CUBLASLT)}, 13000).library,
            nullptr);
}

TEST_F(LoadCublasLt, LooksInTheFoldersOfTheEnvironmentFirst) {
  constexpr std::array kNames = {"TROUPE_CUBLASLT", "CUDA_HOME", "CUDA_PATH"};
  std::map<std::string, std::string> before;
  for (const char* name : kNames) {
    if (const char* value = std::getenv(name); value != nullptr) before[name] = value;
  }
  setenv("TROUPE_CUBLASLT", "/first::/second", 1);
  setenv("CUDA_HOME", "/home", 1);
  setenv("CUDA_PATH", "/path", 1);
  EXPECT_EQ(cublas_lt_folders(),
            (std::vector<std::string>{"/first", "/second", "", "/home/lib64", "/path/lib64", "/usr/local/cuda/lib64"}));
  for (const char* name : kNames) unsetenv(name);
  EXPECT_EQ(cublas_lt_folders(), (std::vector<std::string>{"", "/usr/local/cuda/lib64"}));
  for (const auto& [name, value] : before) setenv(name.c_str(), value.c_str(), 1);
}

// NVIDIA's own, where it is installed: what of it needs no GPU.
TEST(InstalledCublasLt, MakesDescriptions) {
  const CublasLtFound found = load_cublas_lt(cublas_lt_folders(), 0);
  if (found.library == nullptr) GTEST_SKIP() << found.description;
  const CublasLt& library = *found.library;
  EXPECT_GE(library.get_version(), 120000u);
  EXPECT_STREQ(library.get_status_name(CublasStatus::not_supported), "CUBLAS_STATUS_NOT_SUPPORTED");
  const auto succeeds = [](CublasStatus status) { return status == CublasStatus::success; };
  CublasMatmul* matmul = nullptr;
  ASSERT_TRUE(succeeds(library.matmul_create(&matmul, CublasCompute::f32, CublasType::f32)));
  const auto set = [&](CublasMatmulAttribute attribute, auto value) {
    return library.matmul_set(matmul, attribute, &value, sizeof(value));
  };
  EXPECT_TRUE(succeeds(set(CublasMatmulAttribute::transpose_a, CublasOperation::transpose)));
  EXPECT_TRUE(succeeds(set(CublasMatmulAttribute::transpose_b, CublasOperation::none)));
  EXPECT_TRUE(succeeds(set(CublasMatmulAttribute::epilogue, CublasEpilogue::bias)));
  EXPECT_TRUE(succeeds(set(CublasMatmulAttribute::bias_pointer, static_cast<const void*>(&library))));
  EXPECT_FALSE(succeeds(set(CublasMatmulAttribute::epilogue, uint64_t{4})));  // of another size
  EXPECT_TRUE(succeeds(library.matmul_destroy(matmul)));
  CublasLayout* layout = nullptr;
  ASSERT_TRUE(succeeds(library.layout_create(&layout, CublasType::bf16, 8, 4, 8)));
  const int32_t count = 3;
  const int64_t stride = 32;
  EXPECT_TRUE(succeeds(library.layout_set(layout, CublasLayoutAttribute::batch_count, &count, sizeof(count))));
  EXPECT_TRUE(succeeds(library.layout_set(layout, CublasLayoutAttribute::batch_stride, &stride, sizeof(stride))));
  EXPECT_FALSE(succeeds(library.layout_set(layout, CublasLayoutAttribute::batch_stride, &count, sizeof(count))));
  EXPECT_TRUE(succeeds(library.layout_destroy(layout)));
  CublasPreference* preference = nullptr;
  ASSERT_TRUE(succeeds(library.preference_create(&preference)));
  const auto prefer = [&](CublasPreferenceAttribute attribute, auto value) {
    return library.preference_set(preference, attribute, &value, sizeof(value));
  };
  EXPECT_TRUE(succeeds(prefer(CublasPreferenceAttribute::workspace_bytes, uint64_t{1} << 25)));
  EXPECT_TRUE(succeeds(prefer(CublasPreferenceAttribute::reduction_mask, CublasReduction::compute_type)));
  for (const auto attribute : {CublasPreferenceAttribute::alignment_a, CublasPreferenceAttribute::alignment_b,
                               CublasPreferenceAttribute::alignment_c, CublasPreferenceAttribute::alignment_d}) {
    EXPECT_TRUE(succeeds(prefer(attribute, uint32_t{16})));
    EXPECT_FALSE(succeeds(prefer(attribute, uint64_t{16})));
  }
  EXPECT_TRUE(succeeds(library.preference_destroy(preference)));
}

}  // namespace
}  // namespace troupe::cuda
