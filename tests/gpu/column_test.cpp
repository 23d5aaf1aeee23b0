// SPDX-License-Identifier: Apache-2.0

// A thread's few positions of every sample, where they meet the edges of boxes, lines, planes,
// samples and memory.

#include <gtest/gtest.h>

#include <ostream>
#include <utility>
#include <vector>

#include "tests/support/calls.hpp"
#include "tests/support/forced.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

/// As small as a picture can be that has columns inside it and over each of its ends.
struct Picture {
  char const* name;
  Layout in, out;
  Shape shape, out_shape;
  int channels;
  bool flips = false;
  friend std::ostream& operator<<(std::ostream& out, Picture const& picture) {
    return out << picture.name;
  }
};

// Segments of the order end with one sample or two.
constexpr std::int64_t odd = 45, even = 42;

// Extents of 3 put several ends into a column, 17 one at any of its positions.
Picture const pictures[] = {
    {"Lines", Layout::ncdhw, Layout::ncdhw, {odd, 2, 3, 2, 16}, {odd, 2, 3, 2, 16}, 2, true},
    {"Rows", Layout::nchw, Layout::nchw, {9, 3, 13, 16}, {9, 3, 13, 16}, 3, true},
    {"WholeRows", Layout::nchw, Layout::nchw, {even, 1, 4, 16}, {even, 1, 4, 16}, 1, true},
    {"WholePlanes", Layout::ncdhw, Layout::ncdhw, {odd, 1, 4, 1, 16}, {odd, 1, 4, 1, 16}, 1, true},
    {"LineEnds", Layout::nchw, Layout::nchw, {even, 16, 3, 3}, {even, 16, 3, 3}, 1},
    {"PlaneEnds", Layout::ncdhw, Layout::ncdhw, {odd, 16, 3, 3, 3}, {odd, 16, 3, 3, 3}, 1},
    {"Depths", Layout::ncdhw, Layout::ncdhw, {even, 16, 17, 1, 1}, {even, 16, 17, 1, 1}, 1},
    {"Heights", Layout::nchw, Layout::nchw, {odd, 16, 17, 1}, {odd, 16, 17, 1}, 1},
    {"Signals", Layout::nct, Layout::nct, {even, 16, 17}, {even, 16, 17}, 1},
    {"Frames", Layout::ntchw, Layout::ntchw, {odd, 2, 2, 3, 4}, {odd, 2, 2, 3, 4}, 2},
    {"Pixels", Layout::nhwc, Layout::nhwc, {even, 16, 3, 3}, {even, 16, 3, 3}, 3},
    {"Planes", Layout::nhwc, Layout::nchw, {odd, 4, 16, 3}, {odd, 3, 4, 16}, 3, true},
    {"PixelsOfLines", Layout::nhwc, Layout::nhwc, {odd, 4, 16, 3}, {odd, 4, 16, 3}, 3, true},
    {"PlanesOfLines", Layout::nhwc, Layout::nchw, {odd, 16, 3, 3}, {odd, 3, 16, 3}, 3},
    {"PlanesOfEnds", Layout::nhwc, Layout::nchw, {even, 12, 5, 3}, {even, 3, 12, 5}, 3},
    {"Odd", Layout::nchw, Layout::nchw, {odd, 3, 3, 5}, {odd, 3, 3, 5}, 3, true},
    {"OddVolumes", Layout::ncdhw, Layout::ncdhw, {odd, 3, 3, 5, 3}, {odd, 3, 3, 5, 3}, 1, true},
    {"OddHeights", Layout::nchw, Layout::nchw, {even, 15, 17, 1}, {even, 15, 17, 1}, 1},
    {"OddDepths", Layout::ncdhw, Layout::ncdhw, {odd, 15, 17, 1, 1}, {odd, 15, 17, 1, 1}, 1},
    {"OddPixels", Layout::nhwc, Layout::nhwc, {even, 5, 3, 3}, {even, 5, 3, 3}, 3, true},
    {"OddPanels", Layout::nchw, Layout::nchw, {5, 3, 13, 17}, {5, 3, 13, 17}, 3},
};

/// Any bits, with many zeros that have a sign. Beside more NaNs some f32 are as near to one bf16 as
/// to the next, the same ones in all samples: mixed they still are.
Array any_bits(DType dtype, Picture const& picture, Random& random) {
  Array array(dtype, picture.shape, picture.in);
  std::size_t const size = size_of(dtype);
  std::int64_t const sample = array.count() / picture.shape[0];
  for (std::int64_t i = 0; i < array.count(); ++i) {
    std::uint64_t const sign = std::uint64_t{1} << (8 * size - 1);
    array.set_bits(i, random.below(8) == 0 ? sign : random.bits() & (sign | (sign - 1)));
    if (dtype != DType::f32) continue;
    if (random.below(64) == 0) array.set_bits(i, 0x7fc00000);
    if (i % sample % 3 == 0) array.set_bits(i, 0x3f818000);
  }
  return array;
}

/// A quarter of the boxes are a single pixel; others are on each axis all, all but an end, or a
/// single position.
std::vector<Row> thin_rows(Extents const& extents, bool flips, Random& random) {
  auto rows = random_rows(extents, random, Partners::permuted);
  for (Row& row : rows) {
    if (!flips) row.flip = 0;
    if (random.below(2) == 0) row.outside = 1.0f, row.inside = 0.0f;
    bool const single = random.below(4) == 0;
    for (int axis = 0; axis < extents.axes; ++axis) {
      auto const length = static_cast<std::int32_t>(extents.spatial[axis]);
      auto const at = static_cast<std::int32_t>(random.below(length));
      std::pair<std::int32_t, std::int32_t> const spans[] = {
          {0, length}, {0, length - 1}, {1, length}, {at, at + 1}};
      auto const& [lo, hi] = spans[length == 1 ? 0 : single ? 3 : random.below(4)];
      row.box.lo[axis] = lo;
      row.box.hi[axis] = hi;
    }
  }
  return rows;
}

/// Rows without a box. If none is mirrored, other kernels mix them.
std::vector<Row> plain_rows(Extents const& extents, bool flips, Random& random) {
  auto rows = random_rows(extents, random, Partners::permuted);
  for (Row& row : rows) {
    row.outside = row.inside;
    if (!flips) row.flip = 0;
  }
  return rows;
}

std::vector<std::int64_t> classes_of_each(std::int64_t samples) {
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < samples; ++i) classes.push_back(i % 10);
  return classes;
}

class ColumnEach : public OnDeviceWith<Picture> {};

TEST_P(ColumnEach, MeetsThinBoxesAndAnyBits) {
  if (!calls::is_schedule("0")) {
    GTEST_SKIP() << "one of an emulator's schedules is enough for so many pictures";
  }
  Picture const& picture = GetParam();
  Labels const labels{ids(DType::i64, classes_of_each(picture.shape[0]))};
  Random random(71);
  for (auto const& [from, to] : {std::pair{DType::u8, DType::u8},
                                 {DType::u8, DType::f32},
                                 {DType::f16, DType::f16},
                                 {DType::bf16, DType::bf16},
                                 {DType::f32, DType::bf16},
                                 {DType::f32, DType::f32}}) {
    Array const images = any_bits(from, picture, random);
    Array const second = any_bits(from, picture, random);
    Extents const extents = extents_of_array(images);
    Output const out{to, picture.out, picture.out_shape, {}};
    for (int n = 0; n < 8; ++n) {
      int const segment = 1 << n % 3;
      bool const plain = n >= 4;
      auto const rows_for = [&](bool flips) {
        return plain ? plain_rows(extents, flips, random) : thin_rows(extents, flips, random);
      };
      auto const step = [&](Place place, std::vector<Row> const& rows) {
        Plan plan = make_plan(place, rows, extents);
        return step_at(place, {images}, labels, plan, out, Target::dense, 10);
      };
      auto rows = rows_for(false);
      Stepped const expected = step(on_cpu(), rows);
      {
        Forced const forced(32, 5, segment, 64);
        Stepped const got = step(here(), rows);
        expect_same(got.images, expected.images, "a step");
        expect_same(got.targets, expected.targets);
      }
      auto const expect_same_as_cpu = [&](Batch const& batch, Normalise const& normalise,
                                          bool flips) {
        rows = rows_for(flips);
        Array const mixed = mix_at(on_cpu(), batch, rows, normalise, out);
        Forced const forced(32, 0, segment, 32);
        expect_same(mix_at(here(), batch, rows, normalise, out), mixed, "mixed");
      };
      int const maps = to == DType::u8 ? 0 : segment % 4 == 0 ? picture.channels : 1;
      Normalise normalise{maps, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
      // What is between two bf16 stays there; a zero still shows the mean.
      if (segment == 2) normalise = {maps, {1e-12}, {0.5}};
      expect_same_as_cpu({images}, normalise, picture.flips && !plain);
      expect_same_as_cpu({images, second}, {}, picture.flips);
      if (HasFailure()) FAIL() << name_of(from) << " to " << name_of(to) << ", " << segment;
    }
    if (from != to || picture.in != picture.out) continue;
    for (int n = 0; n < 21; ++n) {
      bool const plain = n >= 16;
      auto rows =
          plain ? plain_rows(extents, false, random) : thin_rows(extents, n % 4 == 0, random);
      // A copy asks nothing of the row behind it, which is then read for itself alone.
      for (std::size_t i = 0; !plain && n % 2 != 0 && i < rows.size(); ++i) {
        bool const copies = i % 2 == 0;
        float const other = n < 8 ? 0.0f : 0.25f;
        rows[i].outside = copies || n % 4 == 1 ? 1.0f : other;
        rows[i].inside = copies || n % 4 == 3 ? 1.0f : other;
      }
      auto const step = [&](Place place) {
        Plan plan = make_plan(place, rows, extents);
        return step_in_place_at(place, images, labels, plan, Target::dense, 10);
      };
      Stepped const expected = step(on_cpu());
      int const parts = 1 << (n % 3 == 0 ? 4 : n % 5);
      Forced const forced(32, n % 3, 0, 32, parts);
      Stepped const got = step(here());
      expect_same(got.images, expected.images, "in place");
      expect_same(got.targets, expected.targets);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, ColumnEach, testing::ValuesIn(pictures),
                         [](auto const& info) { return info.param.name; });

class ColumnOnce : public OnDevice {};

// In place the sample behind a chunk is read with it: for the row before, or, where that one only
// copies, for its own row alone.
TEST_F(ColumnOnce, ARowBehindACopyIsReadIfItsBoxIsMet) {
  Random random(83);
  for (auto const& [dtype, width] : {std::pair{DType::f32, 4}, {DType::f32, 3}, {DType::u8, 3}}) {
    Array const images = tagged(dtype, {34, 4, 3, 3, width}, Layout::ncdhw);
    Extents const extents = extents_of_array(images);
    for (int n = 0; n < 16; ++n) {
      auto rows = thin_rows(extents, false, random);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].partner = static_cast<std::int32_t>((i + 1) % rows.size());
        bool const copies = i % 2 == static_cast<std::size_t>(n % 2);
        bool const pastes = random.below(2) == 0;
        rows[i].outside = copies || !pastes ? 1.0f : 0.25f;
        rows[i].inside = copies ? 1.0f : pastes ? 0.0f : 0.25f;
      }
      Array const expected = mix_at(on_cpu(), {images}, rows, same_as(images));
      Forced const forced(32, 0, 0, 0, 1);
      expect_same(mix_in_place_at(here(), images, rows), expected, "in place");
    }
  }
}

// Only where memory ends with the tensor, is a read beyond it seen.
TEST_F(ColumnOnce, ReadsNothingOutsideTheBatch) {
  Place const place = here();
  Random random(73);
  for (std::int64_t const length : {41, 256}) {
    Array const images = tagged(DType::u8, {9, 1, length}, Layout::nct);
    Extents const extents = extents_of_array(images);
    void* const memory = allocate_on_device(images.bytes.size());
    write_to_device(memory, images.bytes.data(), images.bytes.size());
    ConstTensorView const own(memory, DType::u8, {9, 1, length}, place.device, Layout::nct);
    for (std::int64_t offset = 0; offset < 128; ++offset) {
      auto const rows = thin_rows(extents, false, random);
      Array const expected = mix_at(on_cpu(), {images}, rows, same_as(images));
      Plan plan = make_plan(place, rows, extents);
      Tensor const out(place, DType::u8, images.shape, Layout::nct, {offset % 16, 0, 1});
      mix_into(out, own, plan, place.queue);
      expect_same(out.read(), expected, "mixed");
    }
    release_on_device(memory);
  }
}

}  // namespace
}  // namespace mixfuse::test
