#include "runtime/base/dtype.h"

#include <array>
#include <string>

#include "runtime/base/error.h"

namespace troupe {
namespace {

constexpr std::array<std::string_view, 8> kNames = {"f32", "f64", "i32", "i64", "u8", "bool", "bf16", "f16"};

}  // namespace

std::string_view name_of(DType dtype) { return kNames.at(static_cast<size_t>(dtype)); }

DType dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<DType>(i);
  }
  throw PlanError("dtype '" + std::string(name) +
                  "' is unknown; f32, f64, i32, i64, u8, bool, bf16 or f16 are possible");
}

}  // namespace troupe
