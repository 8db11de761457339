#include "actors/control_messages.h"

#include <gtest/gtest.h>

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <cmath>
#include <limits>

namespace troupe {
namespace {

template <class T>
T sent(T message) {
  std::vector<char> bytes;
  caf::binary_serializer sink(nullptr, bytes);
  EXPECT_EQ(sink(message), caf::none);
  T received;
  caf::binary_deserializer source(nullptr, bytes);
  EXPECT_EQ(source(received), caf::none);
  return received;
}

TEST(ControlMessages, AValueThatIsNotFiniteArrivesAsItIs) {
  NonFinite found;
  found.element = 7;
  for (const double value : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    found.value = value;
    EXPECT_EQ(sent(found).value, value);
  }
  found.value = std::nan("");
  EXPECT_TRUE(std::isnan(sent(found).value));
  ObservedPart part;
  part.seen.nonfinite = found;
  const ObservedPart received = sent(part);
  ASSERT_TRUE(received.seen.nonfinite);
  EXPECT_TRUE(std::isnan(received.seen.nonfinite->value));
  EXPECT_EQ(received.seen.nonfinite->element, 7);
}

}  // namespace
}  // namespace troupe
