#include "sbp/mesh.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string error_of(const std::vector<Axis>& axes, const std::vector<DeviceId>& devices) {
  try {
    Mesh(axes, devices);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

TEST(Mesh, DevicesLieInRowMajorOrderOfTheAxes) {
  const Mesh mesh({{"dp", 2}, {"tp", 3}});
  EXPECT_EQ(mesh.size(), 6);
  EXPECT_EQ(mesh.coordinate(4, 0), 1);
  EXPECT_EQ(mesh.coordinate(4, 1), 1);
  EXPECT_EQ(mesh.position_at({1, 2}), 5);
  EXPECT_EQ(mesh.group(4, 0), (std::vector<int>{1, 4}));
  EXPECT_EQ(mesh.group(4, 1), (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(mesh.find_axis("tp"), 1);
  EXPECT_EQ(mesh.find_axis("pp"), -1);
  EXPECT_EQ(mesh.str(), "mesh dp=2, tp=3");
}

TEST(Mesh, PositionsAndDevicesAreDifferentThings) {
  const Mesh mesh({{"x", 3}}, {DeviceId(7), DeviceId(2), DeviceId(5)});
  EXPECT_EQ(mesh.device(1), DeviceId(2));
  EXPECT_EQ(mesh.position_of(DeviceId(5)), 2);
  EXPECT_EQ(mesh.position_of(DeviceId(0)), -1);
}

TEST(Mesh, IsComparedByContent) {
  EXPECT_EQ(Mesh({{"x", 2}}), Mesh({{"x", 2}}, {DeviceId(0), DeviceId(1)}));
  EXPECT_NE(Mesh({{"x", 2}}), Mesh({{"y", 2}}));
  EXPECT_NE(Mesh({{"x", 2}}), Mesh({{"x", 2}}, {DeviceId(1), DeviceId(0)}));
  EXPECT_EQ(Mesh(), Mesh());
  EXPECT_EQ(Mesh().size(), 0);
}

TEST(Mesh, RefusesWhatIsNoMeshAndSaysWhy) {
  const DeviceId a(0), b(1);
  EXPECT_EQ(error_of({{"x", 3}}, {a, b}), "mesh x=3: 2 devices are given; 3 are needed");
  EXPECT_EQ(error_of({{"x", 2}}, {a, a}), "mesh x=2: device 0 is listed twice");
  EXPECT_EQ(error_of({{"x", 2}, {"x", 1}}, {a, b}), "mesh x=2, x=1: two axes are named 'x'; names must differ");
  EXPECT_EQ(error_of({{"x", 0}}, {}), "mesh x=0: axis 'x' has size 0; at least 1 is possible");
}

}  // namespace
}  // namespace troupe
