// A directory for the files of one test, removed with everything in it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "runtime/base/error.h"

namespace troupe {

class TestDir {
 public:
  TestDir() {
    std::string name = ::testing::TempDir() + "troupe_XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~TestDir() { std::filesystem::remove_all(path_); }
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // The path of a new file with this content.
  std::string with_file(const std::string& name, const std::string& content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return *this / name;
  }
  std::set<std::string> names() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) names.insert(entry.path().filename().string());
    return names;
  }

 private:
  std::string path_;
};

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The text of the FaultError that fn throws; "none" when it throws nothing.
template <class Fn>
std::string fault_of(Fn fn) {
  try {
    fn();
  } catch (const FaultError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace troupe
