// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <ostream>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

struct Types {
  DType in, out;
  friend std::ostream& operator<<(std::ostream& out, Types const& types) {
    return out << name_of(types.in) << "_to_" << name_of(types.out);
  }
};

Types const pairs[] = {
    {DType::u8, DType::f32},  {DType::u8, DType::f16},  {DType::u8, DType::bf16},
    {DType::f32, DType::f32}, {DType::f16, DType::f16}, {DType::bf16, DType::bf16},
    {DType::f64, DType::f64}, {DType::f32, DType::f16}, {DType::f32, DType::bf16}};

Normalise map_of(int channels) {
  Normalise normalise;
  normalise.channels = channels;
  for (int c = 0; c < channels; ++c) {
    normalise.mean[c] = 0.485 - 0.04 * c;
    normalise.std[c] = 0.229 + 0.003 * c;
  }
  return normalise;
}

/// Within tolerance of the reference, and as on the CPU byte for byte.
Array expect_right(Batch const& in, std::vector<Row> const& rows, Normalise const& normalise,
                   Output const& out, Form form = {}) {
  Array const got = mix_at(here(), in, rows, normalise, out, form);
  expect_normalised(got, in.images, in.second ? &*in.second : nullptr, rows, normalise);
  if (on_cuda()) {
    expect_same(got, mix_at(on_cpu(), in, rows, normalise, out, form), "CUDA against CPU");
  }
  return got;
}

Shape shape_in(Layout layout, std::int64_t samples, std::int64_t channels, std::int64_t height,
               std::int64_t width) {
  return layout == Layout::nchw ? Shape{samples, channels, height, width}
                                : Shape{samples, height, width, channels};
}

class NormaliseEach : public OnDeviceWith<Types> {};

TEST_P(NormaliseEach, EqualsTheReferenceFromEveryLayoutToEveryLayout) {
  Random random(3);
  auto const [in, out] = GetParam();
  for (std::int64_t const channels : {1, 3, 4}) {
    for (std::int64_t const width : {6, 37}) {
      for (Layout const from : {Layout::nchw, Layout::nhwc}) {
        for (Layout const to : {Layout::nchw, Layout::nhwc}) {
          Array const images = tagged(in, shape_in(from, 5, channels, 7, width), from);
          Array const second = tagged(in, images.shape, from);
          auto const rows = random_rows(extents_of_array(images), random, Partners::any);
          Shape const shape = shape_in(to, 5, channels, 7, width);
          for (int const maps : {1, static_cast<int>(channels)}) {
            expect_right({images}, rows, map_of(maps), {out, to, shape, {}});
            expect_right({images, second}, rows, map_of(maps), {out, to, shape, {2, 3, 1}},
                         {1, 5, 1});
            if (!small()) {
              expect_right({images}, rows, map_of(maps), {out, to, shape, {1, 2, 3}}, {1, 1, 2});
            }
          }
        }
      }
    }
  }
}

TEST_P(NormaliseEach, EqualsTheReferenceInTheOtherLayouts) {
  Random random(5);
  auto const [in, out] = GetParam();
  struct {
    Layout layout;
    Shape shape;
    int channels;
  } const pictures[] = {{Layout::nf, {6, 17}, 1},
                        {Layout::nct, {5, 3, 9}, 3},
                        {Layout::ntchw, {4, 2, 3, 5, 4}, 3},
                        {Layout::ncdhw, {4, 2, 3, 5, 4}, 2}};
  for (auto const& picture : pictures) {
    Array const images = tagged(in, picture.shape, picture.layout);
    auto const rows = random_rows(extents_of_array(images), random, Partners::any);
    for (int const maps : {1, picture.channels}) {
      expect_right({images}, rows, map_of(maps), {out, picture.layout, picture.shape, {}});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, NormaliseEach, testing::ValuesIn(pairs), [](auto const& info) {
  std::ostringstream name;
  name << info.param;
  return name.str();
});

class NormaliseMix : public OnDevice {};

TEST_F(NormaliseMix, EveryWidthIsRightWhereSamplesAreMirrored) {
  Random random(7);
  for (std::int64_t const width : {1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65}) {
    Array const images = tagged(DType::u8, {4, 3, width, 3}, Layout::nhwc);
    auto rows = random_rows(extents_of_array(images), random, Partners::any);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].flip = i % 3 != 0;
    expect_right({images}, rows, map_of(3), {DType::f32, Layout::nchw, {4, 3, 3, width}, {}});
    expect_right({images}, rows, map_of(3), {DType::bf16, Layout::nhwc, images.shape, {}});
  }
}

TEST_F(NormaliseMix, AsManyChannelsAsThereCanBe) {
  Random random(9);
  for (Layout const to : {Layout::nchw, Layout::nhwc}) {
    Array const images = tagged(DType::f32, {3, 4, 5, max_channels}, Layout::nhwc);
    auto const rows = random_rows(extents_of_array(images), random, Partners::any);
    expect_right({images}, rows, map_of(max_channels),
                 {DType::f32, to, shape_in(to, 3, max_channels, 4, 5), {}});
  }
}

TEST_F(NormaliseMix, ACopyIsNormalisedAsABlendOfEqualsIs) {
  Array const images = tagged(DType::u8, {2, 3, 4, 5});
  std::vector<Row> rows{{0, 1, 1, 1, 0, {}}, {0, 0, 0, 0, 0, {}}};
  Output const out{DType::f32, Layout::nchw, images.shape, {}};
  Array const copied = expect_right({images}, rows, map_of(3), out);
  rows[1] = {1, 0.3f, 0.3f, 0.3f, 0, {}};
  Array const alone = expect_right({images}, rows, map_of(3), out);
  for (std::int64_t i = 0; i < 60; ++i) {
    EXPECT_EQ(copied.bits(i), copied.bits(i + 60));
    EXPECT_EQ(copied.bits(i), alone.bits(i));
  }
}

TEST_F(NormaliseMix, ZeroIsMinusMeanOverDeviationAndFullScaleIsOne) {
  Array images(DType::u8, {2, 1, 2});
  images.set(1, 255);
  images.set(3, 255);
  std::vector<Row> const rows{{1, 0.5f, 0.5f, 0.5f, 0, {}}, {0, 1, 1, 1, 0, {}}};
  Normalise normalise{1, {0.5}, {0.25}};
  Output const out{DType::f32, Layout::by_rank, images.shape, {}};
  Array const got = expect_right({images}, rows, normalise, out);
  for (std::int64_t i = 0; i < 4; ++i)
    EXPECT_NEAR(static_cast<double>(got.get(i)), i % 2 == 0 ? -2.0 : 2.0, 1e-6);
}

}  // namespace
}  // namespace mixfuse::test
