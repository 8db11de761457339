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
// Choices that go with none of a neighbour's are dropped, and those that another one beats whatever their neighbours do
// (Goldstein 1994); the rest is exact by
// elimination as long as the tables that arise have at most `table_limit` entries, see eliminator.h, and a last descent
// repairs what was fixed wrongly where they have more. A plain value; deterministic: ties go to the lower choice.
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

  using Choices = std::vector<std::vector<int>>;  // by variable, ascending
  // Whether every neighbour has a choice that goes with this one.
  bool is_possible(const Choices& useful, int variable, int choice) const;
  // Those that have such neighbours, which have such neighbours in turn (arc consistency, Mackworth 1977); all where
  // nothing is possible.
  Choices possible_choices() const;
  // Of these, those that no other choice of the variable beats.
  Choices useful_choices() const;
  // What taking `other` for `choice` gains at least, whatever the neighbours choose.
  double least_gain(const Choices& useful, int variable, int choice, int other) const;
  std::vector<int> solve_reduced(const Choices& useful, const std::vector<int>& hint, int64_t limit) const;
  double local_cost(const std::vector<int>& assignment, int variable, int choice) const;
  // Coordinate descent from `start` until nothing improves.
  std::vector<int> descend(std::vector<int> start) const;

  int64_t table_limit_;
  std::vector<std::vector<double>> unary_;
  std::vector<Pair> pairs_;
  std::vector<std::vector<int>> pairs_of_;  // by variable
};

}  // namespace troupe
