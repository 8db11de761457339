#include "runtime/base/attrs.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

auto lower_bound(auto& entries, std::string_view name) {
  return std::lower_bound(entries.begin(), entries.end(), name,
                          [](const auto& entry, std::string_view n) { return entry.first < n; });
}

template <class T>
const T& get(const Attrs& attrs, std::string_view name, const char* kind) {
  const Attr* attr = attrs.find(name);
  if (attr == nullptr) throw PlanError("attribute '" + std::string(name) + "' is missing");
  const T* value = std::get_if<T>(attr);
  if (value == nullptr) throw PlanError("attribute '" + std::string(name) + "' must be " + kind);
  return *value;
}

}  // namespace

Attrs::Attrs(std::initializer_list<std::pair<std::string, Attr>> entries) {
  for (const auto& [name, value] : entries) set(name, value);
}

void Attrs::set(std::string_view name, Attr value) {
  auto it = lower_bound(entries_, name);
  if (it != entries_.end() && it->first == name) {
    it->second = std::move(value);
  } else {
    entries_.insert(it, {std::string(name), std::move(value)});
  }
}

const Attr* Attrs::find(std::string_view name) const {
  auto it = lower_bound(entries_, name);
  return it != entries_.end() && it->first == name ? &it->second : nullptr;
}

int64_t Attrs::integer(std::string_view name) const { return get<int64_t>(*this, name, "an integer"); }

double Attrs::number(std::string_view name) const {
  const Attr* attr = find(name);
  if (attr != nullptr && std::holds_alternative<int64_t>(*attr)) {
    return static_cast<double>(std::get<int64_t>(*attr));
  }
  return get<double>(*this, name, "a number");
}

const std::string& Attrs::text(std::string_view name) const { return get<std::string>(*this, name, "a text"); }

const std::vector<int64_t>& Attrs::integers(std::string_view name) const {
  return get<std::vector<int64_t>>(*this, name, "a list of integers");
}

int64_t Attrs::integer(std::string_view name, int64_t otherwise) const { return has(name) ? integer(name) : otherwise; }

double Attrs::number(std::string_view name, double otherwise) const { return has(name) ? number(name) : otherwise; }

std::string Attrs::str() const {
  return join(entries_, ", ", [](const auto& entry) {
    struct Text {
      std::string operator()(int64_t v) const { return std::to_string(v); }
      std::string operator()(double v) const { return number_text(v); }
      std::string operator()(const std::string& v) const { return "'" + v + "'"; }
      std::string operator()(const std::vector<int64_t>& v) const {
        return "[" + join(v, ",", [](int64_t x) { return std::to_string(x); }) + "]";
      }
    };
    return entry.first + "=" + std::visit(Text(), entry.second);
  });
}

}  // namespace troupe
