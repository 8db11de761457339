#include "planner/min_sum.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/random.h"

namespace troupe {
namespace {

MinSum random_problem(Random& random, int variables, int choices, double density, int64_t limit) {
  MinSum problem(limit);
  std::vector<int> sizes;
  for (int v = 0; v < variables; ++v) {
    sizes.push_back(static_cast<int>(random.between(1, choices)));
    std::vector<double> unary;
    for (int c = 0; c < sizes.back(); ++c) unary.push_back(random.uniform());
    problem.add_variable(unary);
  }
  for (int u = 0; u < variables; ++u) {
    for (int v = u + 1; v < variables; ++v) {
      if (!random.chance(density)) continue;
      std::vector<double> table;
      for (int i = 0; i < sizes[static_cast<size_t>(u)] * sizes[static_cast<size_t>(v)]; ++i) {
        table.push_back(random.chance(0.1) ? kImpossible : random.uniform());
      }
      problem.add_pair(u, v, table);
    }
  }
  return problem;
}

double brute_force(const MinSum& problem) {
  std::vector<int> at(static_cast<size_t>(problem.variables()), 0);
  double best = problem.cost(at);
  while (true) {
    size_t k = 0;
    while (k < at.size() && ++at[k] == problem.choices(static_cast<int>(k))) at[k++] = 0;
    if (k == at.size()) return best;
    best = std::min(best, problem.cost(at));
  }
}

TEST(MinSum, FindsTheMinimumThatBruteForceFinds) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    const MinSum problem = random_problem(random, static_cast<int>(random.between(1, 7)), 4, 0.5, 1 << 16);
    EXPECT_DOUBLE_EQ(problem.cost(problem.solve()), brute_force(problem)) << "seed " << seed;
  }
}

TEST(MinSum, RepairsAWrongEarlyChoice) {
  // The first variable alone prefers 0, and so does every step of a descent from there; only both together are better.
  MinSum problem;
  const int a = problem.add_variable({0.0, 0.1});
  const int b = problem.add_variable({0.0, 0.1});
  problem.add_pair(a, b, {1.0, 5.0, 5.0, 0.0});
  EXPECT_EQ(problem.solve(), (std::vector<int>{1, 1}));
}

TEST(MinSum, StaysCloseToTheMinimumWhenTablesMustStaySmall) {
  double worst = 1;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    Random again(seed);
    const MinSum exact = random_problem(random, 12, 3, 0.5, 1 << 20);
    const MinSum bounded = random_problem(again, 12, 3, 0.5, 27);
    const double best = exact.cost(exact.solve());
    const double found = bounded.cost(bounded.solve());
    if (best >= kImpossible) continue;
    EXPECT_GE(found, best - 1e-9);
    worst = std::max(worst, found / best);
  }
  EXPECT_LT(worst, 1.5);
}

TEST(MinSum, GuessesNothingThatANeighbourRulesOut) {
  // All must choose alike, each would rather not choose 2, and the last can choose nothing else.
  MinSum problem(4);
  constexpr int kVariables = 12;
  for (int v = 0; v < kVariables; ++v) {
    const double other = v + 1 < kVariables ? 0 : kImpossible;
    problem.add_variable({other, other, 1});
    for (int u = 0; u < v; ++u) {
      std::vector<double> alike(9, kImpossible);
      for (const size_t choice : {0u, 4u, 8u}) alike[choice] = 0;
      problem.add_pair(u, v, alike);
    }
  }
  EXPECT_EQ(problem.solve(), std::vector<int>(kVariables, 2));
}

}  // namespace
}  // namespace troupe
