#include "planner/min_sum.h"

#include <algorithm>
#include <set>

#include "runtime/base/check.h"

namespace troupe {
namespace {

// A cost table over some variables, the first one major.
struct Factor {
  std::vector<int> variables;
  std::vector<double> table;
};

// How an eliminated variable follows from those that were eliminated later.
struct Elimination {
  int variable;
  std::vector<int> given;
  std::vector<int> best;  // by assignment of `given`, the first one major
};

class Eliminator {
 public:
  Eliminator(std::vector<int> sizes, std::vector<Factor> factors, std::vector<int> hint, int64_t limit)
      : sizes_(std::move(sizes)), factors_(std::move(factors)), hint_(std::move(hint)), limit_(limit),
        neighbours_(sizes_.size()), alive_(sizes_.size(), true) {
    for (const Factor& factor : factors_) connect(factor.variables);
  }

  std::vector<int> run() {
    for (size_t left = sizes_.size(); left > 0; --left) {
      const int next = cheapest();
      if (table_size(next) * sizes_[index(next)] <= limit_) {
        eliminate(next);
      } else {
        fix(most_connected());
      }
    }
    std::vector<int> assignment(sizes_.size(), 0);
    for (size_t e = eliminations_.size(); e-- > 0;) {
      const Elimination& elimination = eliminations_[e];
      int64_t entry = 0;
      for (int v : elimination.given) entry = entry * sizes_[index(v)] + assignment[index(v)];
      assignment[index(elimination.variable)] = elimination.best[static_cast<size_t>(entry)];
    }
    return assignment;
  }

 private:
  static size_t index(int v) { return static_cast<size_t>(v); }

  void connect(const std::vector<int>& variables) {
    for (int a : variables) {
      for (int b : variables) {
        if (a != b) neighbours_[index(a)].insert(b);
      }
    }
  }

  int64_t table_size(int v) const {
    int64_t size = 1;
    for (int n : neighbours_[index(v)]) size = std::min(size * sizes_[index(n)], limit_ + 1);
    return size;
  }

  int cheapest() const {
    int best = -1;
    int64_t best_size = 0;
    for (size_t v = 0; v < sizes_.size(); ++v) {
      if (!alive_[v]) continue;
      const int64_t size = table_size(static_cast<int>(v));
      if (best < 0 || size < best_size) {
        best = static_cast<int>(v);
        best_size = size;
      }
    }
    return best;
  }

  int most_connected() const {
    int best = -1;
    for (size_t v = 0; v < sizes_.size(); ++v) {
      if (alive_[v] && (best < 0 || neighbours_[v].size() > neighbours_[index(best)].size())) {
        best = static_cast<int>(v);
      }
    }
    return best;
  }

  // Takes out the factors that `v` is in.
  std::vector<Factor> take(int v) {
    std::vector<Factor> taken;
    std::vector<Factor> kept;
    for (Factor& factor : factors_) {
      const bool has = std::find(factor.variables.begin(), factor.variables.end(), v) != factor.variables.end();
      (has ? taken : kept).push_back(std::move(factor));
    }
    factors_ = std::move(kept);
    return taken;
  }

  void retire(int v) {
    alive_[index(v)] = false;
    for (int n : neighbours_[index(v)]) neighbours_[index(n)].erase(v);
    neighbours_[index(v)].clear();
  }

  // For every factor: how far its entry moves when variable `all[k]` moves by one.
  std::vector<int64_t> strides(const Factor& factor, const std::vector<int>& all) const {
    std::vector<int64_t> result(all.size(), 0);
    int64_t stride = 1;
    for (size_t i = factor.variables.size(); i-- > 0;) {
      const auto at = std::find(all.begin(), all.end(), factor.variables[i]) - all.begin();
      result[static_cast<size_t>(at)] = stride;
      stride *= sizes_[index(factor.variables[i])];
    }
    return result;
  }

  // The sum of the factors as one table over `all`, the first variable major.
  std::vector<double> sum(const std::vector<Factor>& factors, const std::vector<int>& all) const {
    int64_t entries = 1;
    for (int v : all) entries *= sizes_[index(v)];
    std::vector<double> table(static_cast<size_t>(entries), 0);
    for (const Factor& factor : factors) {
      const std::vector<int64_t> stride = strides(factor, all);
      std::vector<int> at(all.size(), 0);
      int64_t entry = 0;
      for (int64_t i = 0; i < entries; ++i) {
        table[static_cast<size_t>(i)] += factor.table[static_cast<size_t>(entry)];
        for (size_t k = all.size(); k-- > 0;) {  // count up, the last variable fastest
          entry += stride[k];
          if (++at[k] < sizes_[index(all[k])]) break;
          entry -= stride[k] * at[k];
          at[k] = 0;
        }
      }
    }
    return table;
  }

  void eliminate(int v) {
    const std::vector<Factor> factors = take(v);
    const std::vector<int> given(neighbours_[index(v)].begin(), neighbours_[index(v)].end());
    std::vector<int> all = given;
    all.push_back(v);
    const std::vector<double> table = sum(factors, all);
    const auto size = static_cast<size_t>(sizes_[index(v)]);
    Elimination elimination{v, given, {}};
    Factor left{given, {}};
    for (size_t row = 0; row < table.size(); row += size) {
      const auto best = std::min_element(table.begin() + static_cast<int64_t>(row),
                                         table.begin() + static_cast<int64_t>(row + size));
      elimination.best.push_back(static_cast<int>(best - table.begin() - static_cast<int64_t>(row)));
      left.table.push_back(*best);
    }
    retire(v);
    eliminations_.push_back(std::move(elimination));
    if (!given.empty()) {
      connect(given);
      factors_.push_back(std::move(left));
    }
  }

  void fix(int v) {
    const int choice = hint_[index(v)];
    for (Factor& factor : take(v)) {
      Factor left;
      for (int other : factor.variables) {
        if (other != v) left.variables.push_back(other);
      }
      if (left.variables.empty()) continue;
      const auto at = std::find(factor.variables.begin(), factor.variables.end(), v) - factor.variables.begin();
      int64_t inner = 1;
      for (size_t i = static_cast<size_t>(at) + 1; i < factor.variables.size(); ++i) {
        inner *= sizes_[index(factor.variables[i])];
      }
      for (size_t entry = 0; entry < factor.table.size(); ++entry) {
        const int64_t here = static_cast<int64_t>(entry) / inner % sizes_[index(v)];
        if (here == choice) left.table.push_back(factor.table[entry]);
      }
      factors_.push_back(std::move(left));
    }
    retire(v);
    eliminations_.push_back({v, {}, {choice}});
  }

  std::vector<int> sizes_;
  std::vector<Factor> factors_;
  std::vector<int> hint_;
  int64_t limit_;
  std::vector<std::set<int>> neighbours_;
  std::vector<bool> alive_;
  std::vector<Elimination> eliminations_;
};

}  // namespace

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
  std::vector<int> sizes;
  std::vector<Factor> factors;
  for (int v = 0; v < variables(); ++v) {
    sizes.push_back(choices(v));
    factors.push_back({{v}, unary_[static_cast<size_t>(v)]});
  }
  for (const Pair& pair : pairs_) factors.push_back({{pair.u, pair.v}, pair.table});
  std::vector<int> found = descend(Eliminator(sizes, std::move(factors), hint, table_limit_).run());
  return cost(found) <= cost(hint) ? found : hint;
}

}  // namespace troupe
