#include "ops/pull.h"

#include <gtest/gtest.h>

#include <cstring>

#include "runtime/base/random.h"

namespace troupe {
namespace {

// A random box of a shape, and where it is put in an output of the same shape.
PullRegion::Source random_source(Random& random, const Shape& shape, const Dims& extent, int inputs) {
  PullRegion::Source source;
  source.input = static_cast<int>(random.below(inputs));
  source.offset = Dims::filled(shape.rank(), 0);
  for (int d = 0; d < shape.rank(); ++d) source.offset[d] = random.below(shape[d] - extent[d] + 1);
  return source;
}

int64_t bytes_of(const std::vector<ByteRuns>& runs) {
  int64_t bytes = 0;
  for (const ByteRuns& run : runs) bytes += run.total();
  return bytes;
}

// What is not among the bytes that it is said to read does not change what a pull computes.
TEST(Pull, ReadsWhatItSaysAndNoMore) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const int inputs = 3;
    const bool flat = random.chance(0.3);
    Dims shape = Dims::filled(flat ? 1 : static_cast<int>(random.between(1, 4)), 1);
    for (int d = 0; d < shape.rank(); ++d) shape[d] = random.between(1, flat ? 60 : 5);
    const auto elements = static_cast<size_t>(shape.elements());
    std::vector<PullRegion> regions;
    int64_t wanted = 0;
    for (int64_t r = random.between(1, 3); r > 0; --r) {
      PullRegion region;
      region.extent = region.offset = Dims::filled(shape.rank(), 0);
      int64_t size = 1;
      for (int d = 0; d < shape.rank(); ++d) {
        region.extent[d] = random.between(1, shape[d]);
        region.offset[d] = random.below(shape[d] - region.extent[d] + 1);
        size *= region.extent[d];
      }
      const int64_t sources = random.between(1, 2);
      for (int64_t s = 0; s < sources; ++s) {
        region.sources.push_back(random_source(random, shape, region.extent, inputs));
      }
      if (sources == 2) region.program = {0, 1, -1};
      wanted += size * sources;
      regions.push_back(region);
    }
    const Attrs attrs = pull_attrs(regions, flat, true, 0);

    std::vector<std::vector<float>> clean(inputs, std::vector<float>(elements));
    std::vector<std::vector<float>> spoilt(inputs, std::vector<float>(elements, -1e30f));
    int64_t read = 0;
    std::vector<TensorView> views;
    for (int i = 0; i < inputs; ++i) {
      for (float& value : clean[i]) value = static_cast<float>(random.uniform());
      views.push_back({nullptr, DType::f32, shape, Dims::filled(shape.rank(), 0), shape});
      const std::vector<ByteRuns> runs = pull_reads(attrs, static_cast<size_t>(i), views.back());
      read += bytes_of(runs);
      for (const ByteRuns& run : runs) {
        for (int64_t k = 0; k < run.count; ++k) {
          const int64_t at = run.offset + k * run.stride;
          ASSERT_LE(at + run.bytes, static_cast<int64_t>(elements * sizeof(float)));
          std::memcpy(reinterpret_cast<std::byte*>(spoilt[i].data()) + at,
                      reinterpret_cast<const std::byte*>(clean[i].data()) + at, static_cast<size_t>(run.bytes));
        }
      }
    }
    EXPECT_LE(read, wanted * static_cast<int64_t>(sizeof(float)));
    const auto pulled = [&](std::vector<std::vector<float>>& from) {
      std::vector<float> out(elements);
      for (int i = 0; i < inputs; ++i) views[i].data = from[i].data();
      const TensorView output{out.data(), DType::f32, shape, Dims::filled(shape.rank(), 0), shape};
      std::vector<std::byte> scratch(static_cast<size_t>(pull_scratch_bytes(regions, DType::f32)));
      std::string failure;
      KernelArgs args;
      args.inputs = views;
      args.outputs = std::span(&output, 1);
      args.scratch = scratch;
      args.attrs = &attrs;
      args.failure = &failure;
      Stream stream;
      pull_kernel(args, stream);
      EXPECT_EQ(failure, "");
      return out;
    };
    ASSERT_EQ(pulled(spoilt), pulled(clean)) << "round " << round;
  }
}

TEST(Pull, JoinsWhatLiesSideBySide) {
  const auto slice = [](int64_t first, int64_t size) {
    PullRegion region;
    region.offset = Dims{first};
    region.extent = Dims{size};
    region.sources.push_back({0, 0, Dims{first}});
    return region;
  };
  const TensorView view{nullptr, DType::f32, Shape{100}, Dims{0}, Shape{100}};
  const std::vector<ByteRuns> runs =
      pull_reads(pull_attrs({slice(10, 5), slice(40, 2), slice(15, 5)}, true, true, 0), 0, view);
  EXPECT_EQ(runs, (std::vector<ByteRuns>{{40, 40, 1, 0}, {160, 8, 1, 0}}));
  EXPECT_TRUE(pull_reads(pull_attrs({slice(0, 1)}, true, true, 0), 1, view).empty());
}

}  // namespace
}  // namespace troupe
