// The attributes of an op: named constants that are known when the graph is written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {

using Attr = std::variant<int64_t, double, std::string, std::vector<int64_t>>;

// A small map sorted by name, compared by content.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<std::string, Attr>> entries);

  void set(std::string_view name, Attr value);
  const Attr* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Each throws PlanError when the attribute is absent or of another kind (an int is accepted as a number).
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  const std::vector<int64_t>& integers(std::string_view name) const;
  // The same with a value for an absent attribute.
  int64_t integer(std::string_view name, int64_t otherwise) const;
  double number(std::string_view name, double otherwise) const;

  const std::vector<std::pair<std::string, Attr>>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  // "dims=[0,1], keep=1"
  std::string str() const;
  bool operator==(const Attrs&) const = default;

 private:
  std::vector<std::pair<std::string, Attr>> entries_;
};

}  // namespace troupe
