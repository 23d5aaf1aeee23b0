// SPDX-License-Identifier: Apache-2.0

// Results do not depend on blocks and grids.

#include "kernels/cuda/launch.hpp"

#include <gtest/gtest.h>

#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

class Forced {
 public:
  Forced(int block, int grid) { detail::launch_override() = {block, grid}; }
  ~Forced() { detail::launch_override() = {}; }
  Forced(Forced const&) = delete;
  Forced& operator=(Forced const&) = delete;
};

struct Launch {
  int block, grid;
  friend std::ostream& operator<<(std::ostream& out, Launch const& launch) {
    return out << "block " << launch.block << ", grid " << launch.grid;
  }
};

Launch const launches[] = {{32, 0},  {64, 3},  {96, 1}, {128, 7},
                           {256, 2}, {512, 0}, {0, 1},  {1024, 5}};

class LaunchEach : public OnDeviceWith<Launch> {};

Spec busy_spec(Pairing pairing, std::int64_t group) {
  Spec spec = cutmix_spec();
  spec.policies[0].probability = 0.5f;
  spec.policies.push_back({Mixup{{0.4f, 0.4f}}, 0.4f});
  spec.pairing = pairing;
  spec.group = group;
  spec.flip = 0.5f;
  return spec;
}

TEST_P(LaunchEach, PlansAreTheSameBits) {
  Extents const batch = image(300, 9, 7);
  for (Pairing const pairing : {Pairing::permutation, Pairing::pairs, Pairing::roll}) {
    for (std::int64_t const group : {0, 7, 64}) {
      Spec const spec = busy_spec(pairing, group);
      auto const expected = drawn_rows(on_cpu(), spec, batch, {5, 6, 3});
      Forced const forced(GetParam().block, GetParam().grid);
      EXPECT_EQ(drawn_rows(here(), spec, batch, {5, 6, 3}), expected)
          << static_cast<int>(pairing) << ", group " << group;
    }
  }
}

TEST_P(LaunchEach, DeviceWideSortsAreTheSameBits) {
  Extents const batch = image(4100, 5, 5);
  Spec const spec = busy_spec(Pairing::permutation, 0);
  auto const expected = drawn_rows(on_cpu(), spec, batch, {5, 6, 3});
  Forced const forced(GetParam().block, GetParam().grid);
  EXPECT_EQ(drawn_rows(here(), spec, batch, {5, 6, 3}), expected);
}

TEST_P(LaunchEach, StepsAreTheSameBytes) {
  Array const images = tagged(DType::f32, {9, 3, 11, 7});
  Batch const batch{images};
  Labels const labels{ids(DType::i64, {0, 1, 2, 3, 4, 5, 6, 7, 12})};  // the last one is bad
  Spec const spec = busy_spec(Pairing::permutation, 0);
  Extents const extents = extents_of_array(images);
  Plan cpu_plan = make_plan(on_cpu(), spec, extents, {1, 2, 3});
  Plan plan = make_plan(here(), spec, extents, {1, 2, 3});
  auto const expected =
      step_at(on_cpu(), batch, labels, cpu_plan, same_as(images), Target::dense, 10);
  Forced const forced(GetParam().block, GetParam().grid);
  auto const got = step_at(here(), batch, labels, plan, same_as(images), Target::dense, 10);
  expect_same(got.images, expected.images, "images");
  expect_same(got.targets, expected.targets);
  auto const in_place = step_in_place_at(here(), images, labels, plan, Target::sparse, 10);
  expect_same(in_place.images, expected.images, "in place");
}

INSTANTIATE_TEST_SUITE_P(Launches, LaunchEach, testing::ValuesIn(launches));

}  // namespace
}  // namespace mixfuse::test
