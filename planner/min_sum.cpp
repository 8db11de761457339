#include "planner/min_sum.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "planner/eliminator.h"
#include "runtime/base/check.h"

namespace troupe {

int MinSum::add_variable(std::vector<double> unary) {
  CHECK(!unary.empty());
  unary_.push_back(std::move(unary));
  pairs_of_.emplace_back();
  return variables() - 1;
}

void MinSum::add_pair(int u, int v, std::vector<double> table) {
  CHECK(u != v && static_cast<int>(table.size()) == choices(u) * choices(v), u, v, table.size());
  const int pair = static_cast<int>(pairs_.size());
  pairs_of_[static_cast<size_t>(u)].push_back(pair);
  pairs_of_[static_cast<size_t>(v)].push_back(pair);
  pairs_.push_back({u, v, std::move(table)});
}

double MinSum::cost(const std::vector<int>& assignment) const {
  double total = 0;
  for (size_t v = 0; v < unary_.size(); ++v) total += unary_[v][static_cast<size_t>(assignment[v])];
  for (const Pair& pair : pairs_) {
    total += pair.table[static_cast<size_t>(assignment[static_cast<size_t>(pair.u)] * choices(pair.v) +
                                            assignment[static_cast<size_t>(pair.v)])];
  }
  return total;
}

double MinSum::local_cost(const std::vector<int>& assignment, int variable, int choice) const {
  double total = unary_[static_cast<size_t>(variable)][static_cast<size_t>(choice)];
  for (int p : pairs_of_[static_cast<size_t>(variable)]) {
    const Pair& pair = pairs_[static_cast<size_t>(p)];
    const int x = pair.u == variable ? choice : assignment[static_cast<size_t>(pair.u)];
    const int y = pair.v == variable ? choice : assignment[static_cast<size_t>(pair.v)];
    total += pair.table[static_cast<size_t>(x * choices(pair.v) + y)];
  }
  return total;
}

std::vector<int> MinSum::descend(std::vector<int> start) const {
  bool changed = true;
  while (changed) {
    changed = false;
    for (int v = 0; v < variables(); ++v) {
      double best = local_cost(start, v, start[static_cast<size_t>(v)]);
      for (int choice = 0; choice < choices(v); ++choice) {
        const double cost_here = local_cost(start, v, choice);
        if (cost_here < best) {
          best = cost_here;
          start[static_cast<size_t>(v)] = choice;
          changed = true;
        }
      }
    }
  }
  return start;
}

std::vector<int> MinSum::solve() const {
  std::vector<int> start;
  for (const std::vector<double>& unary : unary_) {
    start.push_back(static_cast<int>(std::min_element(unary.begin(), unary.end()) - unary.begin()));
  }
  const std::vector<int> hint = descend(std::move(start));
  const Choices useful = useful_choices();
  std::vector<int> found = hint;
  // What was fixed by guesswork may have left nothing possible: larger tables guess less.
  for (const int64_t limit : {table_limit_, 8 * table_limit_, 64 * table_limit_}) {
    std::vector<int> candidate = descend(solve_reduced(useful, hint, limit));
    if (cost(candidate) <= cost(found)) found = std::move(candidate);
    if (cost(found) < kImpossible) break;
  }
  return found;
}

bool MinSum::is_possible(const Choices& useful, int v, int choice) const {
  if (unary_[static_cast<size_t>(v)][static_cast<size_t>(choice)] >= kImpossible) return false;
  return std::all_of(pairs_of_[static_cast<size_t>(v)].begin(), pairs_of_[static_cast<size_t>(v)].end(), [&](int p) {
    const Pair& pair = pairs_[static_cast<size_t>(p)];
    const std::vector<int>& partners = useful[static_cast<size_t>(pair.u == v ? pair.v : pair.u)];
    return std::any_of(partners.begin(), partners.end(), [&](int y) {
      const int entry = pair.u == v ? choice * choices(pair.v) + y : y * choices(pair.v) + choice;
      return pair.table[static_cast<size_t>(entry)] < kImpossible;
    });
  });
}

MinSum::Choices MinSum::possible_choices() const {
  Choices all;
  for (int v = 0; v < variables(); ++v) {
    all.emplace_back(static_cast<size_t>(choices(v)));
    std::iota(all.back().begin(), all.back().end(), 0);
  }
  Choices possible = all;
  for (bool changed = true; changed;) {
    changed = false;
    for (int v = 0; v < variables(); ++v) {
      std::vector<int>& list = possible[static_cast<size_t>(v)];
      const auto dropped = std::erase_if(list, [&](int choice) { return !is_possible(possible, v, choice); });
      if (list.empty()) return all;
      changed = changed || dropped > 0;
    }
  }
  return possible;
}

MinSum::Choices MinSum::useful_choices() const {
  Choices useful = possible_choices();
  for (bool changed = true; changed;) {
    changed = false;
    for (int v = 0; v < variables(); ++v) {
      std::vector<int>& list = useful[static_cast<size_t>(v)];
      for (size_t c = list.size(); c-- > 0;) {
        const bool worse = std::any_of(list.begin(), list.end(), [&](int other) {
          if (other == list[c]) return false;
          const double gain = least_gain(useful, v, list[c], other);
          return gain > 0 || (gain == 0 && other < list[c]);
        });
        if (!worse) continue;
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(c));
        changed = true;
      }
    }
  }
  return useful;
}

double MinSum::least_gain(const Choices& useful, int v, int choice, int other) const {
  const std::vector<double>& unary = unary_[static_cast<size_t>(v)];
  double gain = unary[static_cast<size_t>(choice)] - unary[static_cast<size_t>(other)];
  for (int p : pairs_of_[static_cast<size_t>(v)]) {
    const Pair& pair = pairs_[static_cast<size_t>(p)];
    const int partner = pair.u == v ? pair.v : pair.u;
    double least = std::numeric_limits<double>::infinity();
    for (int y : useful[static_cast<size_t>(partner)]) {
      const auto entry = [&](int x) {
        return pair.table[static_cast<size_t>(pair.u == v ? x * choices(pair.v) + y : y * choices(pair.v) + x)];
      };
      least = std::min(least, entry(choice) - entry(other));
    }
    gain += least;
  }
  return gain;
}

std::vector<int> MinSum::solve_reduced(const Choices& useful, const std::vector<int>& hint, int64_t limit) const {
  std::vector<int> sizes;
  std::vector<int> reduced_hint;
  std::vector<CostTable> tables;
  for (int v = 0; v < variables(); ++v) {
    const std::vector<int>& list = useful[static_cast<size_t>(v)];
    const auto hinted = std::find(list.begin(), list.end(), hint[static_cast<size_t>(v)]);
    sizes.push_back(static_cast<int>(list.size()));
    reduced_hint.push_back(hinted == list.end() ? 0 : static_cast<int>(hinted - list.begin()));
    tables.push_back({{v}, {}});
    for (int c : list) tables.back().costs.push_back(unary_[static_cast<size_t>(v)][static_cast<size_t>(c)]);
  }
  for (const Pair& pair : pairs_) {
    tables.push_back({{pair.u, pair.v}, {}});
    for (int x : useful[static_cast<size_t>(pair.u)]) {
      for (int y : useful[static_cast<size_t>(pair.v)]) {
        tables.back().costs.push_back(pair.table[static_cast<size_t>(x * choices(pair.v) + y)]);
      }
    }
  }
  std::vector<int> assignment =
      eliminate_variables(std::move(sizes), std::move(tables), std::move(reduced_hint), limit);
  for (size_t v = 0; v < assignment.size(); ++v) assignment[v] = useful[v][static_cast<size_t>(assignment[v])];
  return assignment;
}

}  // namespace troupe
