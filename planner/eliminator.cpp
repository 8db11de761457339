#include "planner/eliminator.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace troupe {
namespace {

// How an eliminated variable follows from those that were eliminated later.
struct Elimination {
  int variable;
  std::vector<int> given;
  std::vector<int> best;  // by assignment of `given`, the first one major
};

class Eliminator {
 public:
  Eliminator(std::vector<int> sizes, std::vector<CostTable> tables, std::vector<int> hint, int64_t limit)
      : sizes_(std::move(sizes)),
        hint_(std::move(hint)),
        limit_(limit),
        tables_of_(sizes_.size()),
        neighbours_(sizes_.size()) {
    for (CostTable& table : tables) add(std::move(table));
    for (size_t v = 0; v < sizes_.size(); ++v) {
      table_size_.push_back(count_table(static_cast<int>(v)));
      by_size_.emplace(table_size_[v], static_cast<int>(v));
    }
  }

  std::vector<int> run() {
    while (!by_size_.empty()) {
      const auto [size, cheapest] = *by_size_.begin();
      if (size * sizes_[index(cheapest)] <= limit_) {
        eliminate(cheapest);
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

  void add(CostTable table) {
    // A variable without a choice is no dimension of the table; left in, such variables would tie all others together.
    std::erase_if(table.variables, [&](int v) { return sizes_[index(v)] == 1; });
    if (table.variables.empty()) return;
    for (int v : table.variables) {
      tables_of_[index(v)].push_back(tables_.size());
      for (int other : table.variables) {
        if (other != v) neighbours_[index(v)].insert(other);
      }
    }
    tables_.push_back(std::move(table));
  }

  // Entries of the table that eliminating `v` would leave.
  int64_t count_table(int v) const {
    int64_t size = 1;
    for (int n : neighbours_[index(v)]) {
      size *= sizes_[index(n)];
      if (size > limit_) return limit_ + 1;
    }
    return size;
  }

  int most_connected() const {
    int best = -1;
    for (size_t v = 0; v < sizes_.size(); ++v) {
      if (!by_size_.contains({table_size_[v], static_cast<int>(v)})) continue;
      if (best < 0 || neighbours_[v].size() > neighbours_[index(best)].size()) best = static_cast<int>(v);
    }
    return best;
  }

  // Takes out the tables that `v` is in, in the order in which they came.
  std::vector<CostTable> take(int v) {
    std::vector<CostTable> taken;
    for (size_t f : tables_of_[index(v)]) {
      CostTable& table = tables_[f];
      if (!table.variables.empty()) taken.push_back(std::exchange(table, CostTable()));
    }
    return taken;
  }

  // Takes `v` out of the graph, once what is left of its tables has been added.
  void retire(int v) {
    by_size_.erase({table_size_[index(v)], v});
    for (int n : neighbours_[index(v)]) {
      neighbours_[index(n)].erase(v);
      by_size_.erase({table_size_[index(n)], n});
      table_size_[index(n)] = count_table(n);
      by_size_.emplace(table_size_[index(n)], n);
    }
    neighbours_[index(v)].clear();
  }

  // For every table: how far its entry moves when variable `all[k]` moves by one.
  std::vector<int64_t> strides(const CostTable& table, const std::vector<int>& all) const {
    std::vector<int64_t> result(all.size(), 0);
    int64_t stride = 1;
    for (size_t i = table.variables.size(); i-- > 0;) {
      const auto at = std::find(all.begin(), all.end(), table.variables[i]) - all.begin();
      result[static_cast<size_t>(at)] = stride;
      stride *= sizes_[index(table.variables[i])];
    }
    return result;
  }

  // The sum of the tables as one table over `all`, the first variable major.
  std::vector<double> sum(const std::vector<CostTable>& tables, const std::vector<int>& all) const {
    int64_t entries = 1;
    for (int v : all) entries *= sizes_[index(v)];
    std::vector<double> result(static_cast<size_t>(entries), 0);
    for (const CostTable& table : tables) {
      const std::vector<int64_t> stride = strides(table, all);
      std::vector<int> at(all.size(), 0);
      int64_t entry = 0;
      for (int64_t i = 0; i < entries; ++i) {
        result[static_cast<size_t>(i)] += table.costs[static_cast<size_t>(entry)];
        for (size_t k = all.size(); k-- > 0;) {  // count up, the last variable fastest
          entry += stride[k];
          if (++at[k] < sizes_[index(all[k])]) break;
          entry -= stride[k] * at[k];
          at[k] = 0;
        }
      }
    }
    return result;
  }

  void eliminate(int v) {
    const std::vector<CostTable> tables = take(v);
    const std::vector<int> given(neighbours_[index(v)].begin(), neighbours_[index(v)].end());
    std::vector<int> all = given;
    all.push_back(v);
    const std::vector<double> costs = sum(tables, all);
    const auto size = static_cast<size_t>(sizes_[index(v)]);
    Elimination elimination{v, given, {}};
    CostTable left{given, {}};
    for (size_t row = 0; row < costs.size(); row += size) {
      const auto first = costs.begin() + static_cast<std::ptrdiff_t>(row);
      const auto best = std::min_element(first, first + static_cast<std::ptrdiff_t>(size));
      elimination.best.push_back(static_cast<int>(best - first));
      left.costs.push_back(*best);
    }
    eliminations_.push_back(std::move(elimination));
    if (!given.empty()) add(std::move(left));
    retire(v);
  }

  void fix(int v) {
    const std::vector<CostTable> tables = take(v);
    const int choice = best_alone(v, tables);
    for (const CostTable& table : tables) {
      CostTable left;
      for (int other : table.variables) {
        if (other != v) left.variables.push_back(other);
      }
      if (left.variables.empty()) continue;
      const auto at = std::find(table.variables.begin(), table.variables.end(), v) - table.variables.begin();
      int64_t inner = 1;
      for (size_t i = static_cast<size_t>(at) + 1; i < table.variables.size(); ++i) {
        inner *= sizes_[index(table.variables[i])];
      }
      for (size_t entry = 0; entry < table.costs.size(); ++entry) {
        const int64_t here = static_cast<int64_t>(entry) / inner % sizes_[index(v)];
        if (here == choice) left.costs.push_back(table.costs[entry]);
      }
      add(std::move(left));
    }
    retire(v);
    eliminations_.push_back({v, {}, {choice}});
  }

  // The choice that would be best if every table could have its way; the hint where several are.
  int best_alone(int v, const std::vector<CostTable>& tables) const {
    std::vector<double> costs(static_cast<size_t>(sizes_[index(v)]), 0);
    for (const CostTable& table : tables) {
      std::vector<double> least(costs.size(), std::numeric_limits<double>::infinity());
      const auto at = std::find(table.variables.begin(), table.variables.end(), v) - table.variables.begin();
      int64_t inner = 1;
      for (size_t i = static_cast<size_t>(at) + 1; i < table.variables.size(); ++i) {
        inner *= sizes_[index(table.variables[i])];
      }
      for (size_t entry = 0; entry < table.costs.size(); ++entry) {
        double& cost = least[static_cast<size_t>(static_cast<int64_t>(entry) / inner % sizes_[index(v)])];
        cost = std::min(cost, table.costs[entry]);
      }
      for (size_t c = 0; c < costs.size(); ++c) costs[c] += least[c];
    }
    const double best = *std::min_element(costs.begin(), costs.end());
    if (costs[static_cast<size_t>(hint_[index(v)])] <= best) return hint_[index(v)];
    return static_cast<int>(std::find(costs.begin(), costs.end(), best) - costs.begin());
  }

  std::vector<int> sizes_;
  std::vector<int> hint_;
  int64_t limit_;
  std::vector<CostTable> tables_;               // those taken out are empty
  std::vector<std::vector<size_t>> tables_of_;  // by variable; some of them taken out
  std::vector<std::set<int>> neighbours_;       // by variable
  std::vector<int64_t> table_size_;             // by variable
  std::set<std::pair<int64_t, int>> by_size_;   // of the variables that are left: table size, variable
  std::vector<Elimination> eliminations_;
};

}  // namespace

std::vector<int> eliminate_variables(std::vector<int> sizes, std::vector<CostTable> tables, std::vector<int> hint,
                                     int64_t limit) {
  return Eliminator(std::move(sizes), std::move(tables), std::move(hint), limit).run();
}

}  // namespace troupe
