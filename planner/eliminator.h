// Exact minimisation of a sum of cost tables, one variable after another.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe {

// A cost table over some variables, the first one major.
struct CostTable {
  std::vector<int> variables;
  std::vector<double> costs;
};

// The assignment that minimises the sum of the tables; `sizes`: how many choices each variable has. Bucket elimination
// (Dechter 1999): exact as long as the tables that arise have at most `limit` entries. Where they would not, the
// variable with the most neighbours is fixed to the choice that looks best by its own tables, `hint` in doubt, and the
// rest is exact again. Deterministic: ties go to the lower choice.
std::vector<int> eliminate_variables(std::vector<int> sizes, std::vector<CostTable> tables, std::vector<int> hint,
                                     int64_t limit);

}  // namespace troupe
