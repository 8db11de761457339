// Minimising a sum of costs over many small choices that depend on each other in pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe {

// A cost that rules a combination out. Finite, so that sums stay ordered.
constexpr double kImpossible = 1e30;

// minimise  sum_i unary_i[x_i] + sum_(i,j) pair_ij[x_i][x_j]
//
// Exact by eliminating one variable after another (bucket elimination; Dechter 1999) as long as the tables that arise
// have at most `table_limit` entries. Where they would not, the variable with the most neighbours is fixed to its value
// in a local minimum and the rest is exact again; a last descent repairs what that fixed wrongly. A plain value;
// deterministic: ties go to the lower choice.
class MinSum {
 public:
  explicit MinSum(int64_t table_limit = 1 << 16) : table_limit_(table_limit) {}

  int add_variable(std::vector<double> unary);
  // table[x_u * choices(v) + x_v]. u != v.
  void add_pair(int u, int v, std::vector<double> table);

  std::vector<int> solve() const;
  double cost(const std::vector<int>& assignment) const;
  int choices(int variable) const { return static_cast<int>(unary_[static_cast<size_t>(variable)].size()); }
  int variables() const { return static_cast<int>(unary_.size()); }

 private:
  struct Pair {
    int u, v;
    std::vector<double> table;
  };

  double local_cost(const std::vector<int>& assignment, int variable, int choice) const;
  // Coordinate descent from `start` until nothing improves.
  std::vector<int> descend(std::vector<int> start) const;

  int64_t table_limit_;
  std::vector<std::vector<double>> unary_;
  std::vector<Pair> pairs_;
  std::vector<std::vector<int>> pairs_of_;  // by variable
};

}  // namespace troupe
