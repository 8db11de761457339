#include "actors/engine/exchange_options.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

// Workers 0 and 2 share memory with the driver, which is the last; 1 and 3 are elsewhere.
TEST(ExchangeOptions, SayWhoIsFarAndWhoseExecutorsAreWhich) {
  Welcome welcome;
  welcome.beat_s = 2;
  welcome.workers = {{1, 1}, {4, 2}, {1, 1}, {2, 3}};
  welcome.names = {"a", "b", "c", "d", "the driver"};
  welcome.near = {1, 0, 1, 0, 1};
  welcome.key = 4711;
  welcome.checksums = true;
  const ExchangeOptions options = exchange_options(welcome, 2);
  EXPECT_EQ(options.self, 2);
  EXPECT_EQ(options.key, 4711u);
  EXPECT_EQ(options.names, welcome.names);
  EXPECT_TRUE(options.checksums);
  EXPECT_EQ(options.patience_s, 20);
  EXPECT_EQ(options.process_of, (std::vector<int>{0, 1, 1, 2, 3, 3, 3}));
  EXPECT_EQ(options.far, (std::vector<bool>{false, true, false, true, false}));
  EXPECT_EQ(exchange_options(welcome, 4).far, (std::vector<bool>{false, true, false, true, false}));
  EXPECT_EQ(exchange_options(welcome, 1).far, (std::vector<bool>{true, false, true, true, true}));
}

}  // namespace
}  // namespace troupe
