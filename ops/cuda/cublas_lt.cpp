#include "ops/cuda/cublas_lt.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <sstream>

#include "runtime/base/text.h"

namespace troupe::cuda {
namespace {

constexpr std::array kMajors = {13, 12};

const std::string& as_is(const std::string& text) { return text; }

std::string last_error() {
  const char* why = dlerror();
  return why == nullptr ? "unknown reason" : why;
}

std::string version_text(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

// The first function that is missing; empty when all are there.
std::string find_functions(void* handle, CublasLt& library) {
  std::string missing;
  for_each_function(library, [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr && missing.empty()) missing = name;
  });
  return missing;
}

}  // namespace

std::vector<std::string> cublas_lt_folders() {
  const auto value_of = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  std::vector<std::string> folders;
  std::istringstream listed(value_of("TROUPE_CUBLASLT"));
  for (std::string folder; std::getline(listed, folder, ':');) {
    if (!folder.empty()) folders.push_back(folder);
  }
  folders.emplace_back();
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string root = value_of(name); !root.empty()) folders.push_back(root + "/lib64");
  }
  folders.emplace_back("/usr/local/cuda/lib64");
  return folders;
}

CublasLtFound load_cublas_lt(const std::vector<std::string>& folders, int driver) {
  std::vector<std::string> names;
  std::vector<std::string> refused;
  for (const int major : kMajors) {
    if (driver != 0 && driver / 1000 < major) continue;
    const std::string name = "libcublasLt.so." + std::to_string(major);
    names.push_back(name);
    for (const std::string& folder : folders) {
      const std::string path = folder.empty() ? name : folder + "/" + name;
      void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) {
        const std::string why = last_error();
        const bool is_absent = why.starts_with(path + ": cannot open shared object file");  // not what it needs itself
        if (!is_absent) refused.push_back(why);
        continue;
      }
      auto library = std::make_shared<CublasLt>();
      if (const std::string missing = find_functions(handle, *library); !missing.empty()) {
        refused.push_back(path + " has no " + missing);
        continue;
      }
      const std::string description = "cuBLASLt " + version_text(library->get_version());
      return {std::move(library), description};
    }
  }
  if (refused.empty()) {
    const auto text = [](const std::string& folder) { return folder.empty() ? "the loader's path" : folder; };
    refused.push_back(join(names, " or ", as_is) + " is not in " + join(folders, ", ", text));
  }
  return {nullptr, "no cuBLASLt: " + join(refused, "; ", as_is)};
}

}  // namespace troupe::cuda
