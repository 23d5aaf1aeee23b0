// SPDX-License-Identifier: Apache-2.0

// Results do not depend on blocks and grids.

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/maths/philox.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/forced.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::test {
namespace {

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

TEST_P(LaunchEach, LiveDrawsAreTheSameBitsAndAdvanceOnce) {
  Place const place = here();
  Values<Beta> const weights(place, {{2, 2}, {0.3f, 1}});
  Values<float> const shares(place, {0.25f, 0.75f}), probability(place, {0.9f});
  for (Pairing const pairing : {Pairing::permutation, Pairing::pairs, Pairing::roll}) {
    for (auto const& [samples, group] :
         {std::pair{300, 0}, {300, 7}, {300, 64}, {4100, 0}, {0, 7}}) {
      if (samples > 300 && pairing != Pairing::permutation) continue;
      Extents const batch = image(samples, 9, 7);
      Spec spec = busy_spec(pairing, group);
      if (pairing == Pairing::pairs) spec.granularity = Granularity::pair;
      Spec scheduled = spec;
      scheduled.policies = {{CutMix{{2, 2}}, 0.25f}, {Mixup{{0.3f, 1}}, 0.75f}};
      scheduled.probability = 0.9f;
      Draw draw{5, 6, 3};
      Values<Draw> const draws(place, {draw});
      Plan plan(samples, place.device, place.queue);
      for (int n = 0; n < 2; ++n, ++draw.step) {
        auto const expected = drawn_rows(on_cpu(), scheduled, batch, draw);
        Forced const forced(GetParam().block, GetParam().grid);
        plan_into(plan, spec, batch,
                  Live(draws.data(), {weights.data(), shares.data(), probability.data()}),
                  place.queue);
        ASSERT_EQ(read_rows(plan, place.queue), expected)
            << static_cast<int>(pairing) << ", group " << group;
        ASSERT_EQ(draws.get()[0].step, draw.step + 1);
      }
      EXPECT_FALSE(error_of(plan, place));
    }
  }
}

class LaunchOnce : public OnDevice {};

TEST_F(LaunchOnce, GroupsInADeviceWideSortAreTheSameBits) {
  Extents const batch = image(4400, 5, 5);
  Spec const spec = busy_spec(Pairing::permutation, 4200);
  for (std::uint64_t step = 6; step < 14; ++step) {
    Draw const draw{5, step, 4000};  // the end of one group, then a whole one
    auto const expected = drawn_rows(on_cpu(), spec, batch, draw);
    Forced const forced(step == 6 ? 64 : 32, step == 6 ? 3 : 1);
    EXPECT_EQ(drawn_rows(here(), spec, batch, draw), expected);
  }
}

TEST_F(LaunchOnce, BlocksSortWordsManyTimesTheirSize) {
  Extents const batch = image(1000, 9, 7);
  for (std::uint64_t step = 1; step <= 6; ++step) {
    Spec const spec = busy_spec(Pairing::permutation, step % 2 == 0 ? 600 : 0);
    auto const expected = drawn_rows(on_cpu(), spec, batch, {5, step, 3});
    for (int const block : {32, 96}) {
      Forced const forced(block, 0);
      EXPECT_EQ(drawn_rows(here(), spec, batch, {5, step, 3}), expected) << block;
    }
  }
}

TEST_F(LaunchOnce, NoRowIsWrittenBehindTheBatch) {
  for (auto const& [pairing, samples] :
       {std::pair{Pairing::replacement, 64}, {Pairing::cycle, 4128}}) {
    Place const place = here();
    Plan plan(samples + 1, place.device, place.queue);
    Row before, after;
    read_from_device(&before, plan.rows() + samples, sizeof before);
    Forced const forced(32, 1);  // its last round ends with the batch
    plan_into(plan, busy_spec(pairing, 0), image(samples, 9, 7), Draw{}, place.queue);
    read_from_device(&after, plan.rows() + samples, sizeof after);
    EXPECT_EQ(after, before);
  }
}

// A root of more than 53 bits, and the longest sides that there are.
TEST_F(LaunchOnce, BoxesOfHugeImagesAreTheSameBits) {
  for (Extents const& batch :
       {Extents{300, 1, {2147483647, 0, 0}, false}, Extents{300, 2, {1 << 30, 1 << 22, 0}, true},
        Extents{300, 3, {1 << 20, 1 << 17, 1 << 15}, true}}) {
    for (auto const kind : {Boxes::Kind::paper, Boxes::Kind::inside, Boxes::Kind::uniform}) {
      Spec const spec = cutmix_spec(Boxes{kind});
      EXPECT_EQ(drawn_rows(here(), spec, batch, {5, 6, 3}),
                drawn_rows(on_cpu(), spec, batch, {5, 6, 3}));
    }
  }
}

/// Samples 0..n-1 in the order of their keys.
std::vector<std::int64_t> sorted_word(std::int64_t n, Draw draw) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> keyed;
  for (std::int64_t i = 0; i < n; ++i) {
    auto const words = maths::draw_words(draw.seed, draw.first + static_cast<std::uint64_t>(i),
                                         draw.step, maths::Purpose::pair_key);
    keyed.emplace_back(maths::join(words.w[0], words.w[1]), i);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::int64_t> word;
  for (auto const& [key, sample] : keyed) word.push_back(sample);
  return word;
}

// Where a cycle ends depends on the first sample of the word alone, `reach` places before: as far
// as a step of a scan takes it, in a warp or over warps. A step soon `after` has such a word.
TEST_F(LaunchOnce, ACycleKnowsItsLeastSampleAtAnyDistance) {
  struct {
    std::int64_t samples, reach;
    std::uint64_t after;
  } const words[] = {{100, 1, 0},       {60, 2, 0},        {60, 4, 0},        {60, 8, 0},
                     {60, 16, 300},     {60, 32, 800},     {100, 64, 24800},  {130, 96, 4000},
                     {200, 160, 37300}, {330, 288, 45000}, {600, 544, 246900}};
  for (auto const& [samples, reach, after] : words) {
    Draw draw{1, after, 0};
    bool found = false;
    while (!found && draw.step < after + 10000) {
      ++draw.step;
      auto const word = sorted_word(samples, draw);
      auto const least = *std::min_element(word.begin() + 1, word.begin() + reach + 1);
      auto const next = word[static_cast<std::size_t>(reach + 1)];
      found = word[0] < next && next < least;
    }
    ASSERT_TRUE(found) << reach;
    Extents const batch = image(samples, 4, 4);
    auto const expected = drawn_rows(on_cpu(), mixup_spec(), batch, draw);
    Forced const forced(32, 0);
    EXPECT_EQ(drawn_rows(here(), mixup_spec(), batch, draw), expected) << reach;
  }
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

// Cycles begin and end in any of a run's parts: whole chunks, a sample, or none.
TEST_F(LaunchOnce, RunsInPlaceAreTheSameBytesInAnyParts) {
  for (DType const dtype : {DType::u8, DType::f32}) {
    Array const images = tagged(dtype, {47, 1, 4, 8});
    for (Pairing const pairing :
         {Pairing::permutation, Pairing::pairs, Pairing::reverse, Pairing::roll}) {
      for (auto const& [group, boxes] :
           {std::pair{0, true}, {5, true}, {20, true}, {0, false}, {5, false}, {20, false}}) {
        Spec spec = busy_spec(pairing, group);
        if (!boxes) spec.policies.erase(spec.policies.begin());
        if (!boxes || dtype == DType::f32) spec.flip = 0;
        auto const in_place = [&](Place place) {
          Plan plan = make_plan(place, spec, extents_of_array(images), {9, 8, 3});
          Tensor const inout(place, images);
          mix_in_place(inout, plan, place.queue);
          return inout.read();
        };
        Array const expected = in_place(on_cpu());
        for (int const parts : {1, 2, 3, 16}) {
          Forced const forced(32, 3, 0, 0, parts);
          expect_same(in_place(here()), expected, "in place");
        }
      }
    }
  }
}

// The sign of an entry says that its cycle ends there; sample 0 has none, wherever it lies.
TEST_F(LaunchOnce, APartBeginsBehindAnySample) {
  for (DType const dtype : {DType::u8, DType::f32}) {
    Array const images = tagged(dtype, {16, 1, 1, 4});
    for (std::uint64_t step = 0; step < 24; ++step) {
      auto const in_place = [&](Place place) {
        Plan plan = make_plan(place, mixup_spec(), extents_of_array(images), {9, step, 3});
        Tensor const inout(place, images);
        mix_in_place(inout, plan, place.queue);
        return inout.read();
      };
      Array const expected = in_place(on_cpu());
      Forced const forced(32, 0, 0, 0, 16);
      expect_same(in_place(here()), expected, "in place");
    }
  }
}

// Rows of many accesses, in chunks; at any address; with shares halfway between two bf16.
TEST_F(LaunchOnce, TargetsOfAnyLengthAndFormAreTheSameBytes) {
  Random random(79);
  for (std::int64_t const classes : {2, 16, 1100, 1300, 2100}) {
    std::vector<std::int64_t> own{0, classes - 1, classes, -1, 1, -7};
    for (std::int64_t i = 0; i < 34; ++i) own.push_back(i * 7 % classes);
    std::vector<std::int64_t> others(own.rbegin(), own.rend());
    auto rows = random_rows(image(40, 9, 7), random, Partners::any);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i % 2 == 0) rows[i].label = 0.505859375f;
      if (i % 5 == 0) rows[i].label = i % 10 == 0 ? 1.0f : 0.0f;
    }
    for (Form const form : {Form{}, Form{1, 3, 1}, Form{1, 0, 2}}) {
      for (DType const dtype : {DType::f16, DType::bf16, DType::f32}) {
        for (float const smoothing : {0.0f, 0.2529296875f, 0.98828125f}) {
          if (classes > 16 && smoothing != 0.0f) continue;
          Labels labels{ids(DType::i64, own)};
          labels.rule = {smoothing, smoothing == 0.0f ? std::optional{classes / 2} : std::nullopt,
                         0};
          if (dtype != DType::f16) labels.second = ids(DType::i64, others);
          auto const expected =
              label_at(on_cpu(), labels, rows, Target::dense, dtype, classes, form);
          Forced const forced(32, 7);
          expect_same(label_at(here(), labels, rows, Target::dense, dtype, classes, form),
                      expected);
          if (HasFailure()) FAIL() << name_of(dtype) << ", " << classes << " classes";
        }
      }
    }
  }
}

TEST_F(LaunchOnce, RowsOfHalvesKeepTheirNaN) {
  Array labels(DType::f16, {8, 3});
  for (std::int64_t i = 0; i < 24; ++i) {
    labels.set_bits(i, i % 3 == 0 ? 0x7c01u : i % 3 == 1 ? 0xfc01u : 0x7bffu);
  }
  std::vector<Row> rows(8, Row{1, 1, 1, 1, 0, {}});
  for (std::size_t i = 0; i < 4; ++i) rows[i].label = 0;
  auto const expected = label_at(on_cpu(), {labels}, rows, Target::dense, DType::f16, 3);
  expect_same(label_at(here(), {labels}, rows, Target::dense, DType::f16, 3), expected);
}

class LaunchMany : public OnDevice {};

// Grids are that large along x alone.
TEST_F(LaunchMany, BlocksBeyond65535AreLaunched) {
  if (!calls::is_schedule("0")) {
    GTEST_SKIP() << "one of an emulator's schedules is enough for so many blocks";
  }
  Array const images = tagged(DType::u8, {66000, 1});
  Random random(3);
  auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
  Array const expected = mix_at(on_cpu(), {images}, rows, same_as(images));
  Forced const forced(32, 0);  // small, since an emulator runs every thread of every block
  expect_same(mix_at(here(), {images}, rows, same_as(images)), expected, "many blocks");
}

INSTANTIATE_TEST_SUITE_P(Launches, LaunchEach, testing::ValuesIn(launches));

/// How a sample is read and written: the kernels' columns, each with its own edges.
struct Path {
  char const* name;
  Layout in, out;
  Shape shape, out_shape;
  Form form = {};
};

Path const paths[] = {
    {"Vectors", Layout::nchw, Layout::nchw, {11, 3, 4, 32}, {11, 3, 4, 32}},
    {"VectorsOverLineEnds", Layout::nchw, Layout::nchw, {11, 2, 8, 6}, {11, 2, 8, 6}},
    {"VectorsOfPixels", Layout::nhwc, Layout::nhwc, {11, 4, 16, 3}, {11, 4, 16, 3}},
    {"VectorsOfVolumes", Layout::ncdhw, Layout::ncdhw, {7, 2, 3, 5, 16}, {7, 2, 3, 5, 16}},
    {"VectorsOfVideo", Layout::ntchw, Layout::ntchw, {7, 2, 3, 5, 16}, {7, 2, 3, 5, 16}},
    {"VectorsOfSignals", Layout::nct, Layout::nct, {11, 3, 64}, {11, 3, 64}},
    {"VectorsOfFeatures", Layout::nf, Layout::nf, {11, 160}, {11, 160}},
    {"PaddedVectors", Layout::nchw, Layout::nchw, {7, 3, 4, 16}, {7, 3, 4, 16}, {16, 16, 1}},
    {"Planes", Layout::nhwc, Layout::nchw, {11, 5, 32, 3}, {11, 3, 5, 32}},
    {"PlanesOverLineEnds", Layout::nhwc, Layout::nchw, {11, 8, 6, 3}, {11, 3, 8, 6}},
    {"PlanesToPixels", Layout::nchw, Layout::nhwc, {11, 3, 4, 16}, {11, 4, 16, 3}},
    {"Elements", Layout::nchw, Layout::nchw, {11, 3, 7, 5}, {11, 3, 7, 5}},
    {"Shifted", Layout::nchw, Layout::nchw, {7, 3, 4, 16}, {7, 3, 4, 16}, {1, 0, 1}},
    {"ShiftedEachApart", Layout::nchw, Layout::nchw, {11, 3, 5, 17}, {11, 3, 5, 17}, {3, 0, 1}},
    {"ShiftedPixels", Layout::nhwc, Layout::nhwc, {9, 5, 13, 3}, {9, 5, 13, 3}},
    {"ShiftedAndSmall", Layout::nct, Layout::nct, {9, 3, 7}, {9, 3, 7}},
    {"StridedElements", Layout::nchw, Layout::nchw, {5, 2, 4, 16}, {5, 2, 4, 16}, {0, 1, 2}},
};

/// Blocks, grids and panels differ from kind to kind, so that each meets every segment.
struct Kind {
  char const* name;
  int block, grid, panel;
};

constexpr Kind kinds[] = {
    {"mixup", 0, 0, 0}, {"cutmix", 32, 0, 32}, {"both", 64, 5, 64}, {"flipped", 0, 3, 32}};
constexpr int segments[] = {1, 2, 4};

class PathEach : public OnDeviceWith<std::tuple<Path, DType>> {
 protected:
  /// Rows of a kind, over a permutation or not.
  static std::vector<Row> rows_of(Kind const& kind, Extents const& extents, Partners partners) {
    std::string const name = kind.name;
    Random random(name.size());
    auto rows = random_rows(extents, random, partners);
    for (Row& row : rows) {
      if (name != "flipped") row.flip = 0;
      if (name == "mixup") row.inside = row.outside, row.box = {};
      if (name == "cutmix") row.outside = 1.0f, row.inside = 0.0f;
    }
    return rows;
  }
};

TEST_P(PathEach, IsTheSameBytesInSegmentsOfEveryLengthAndInPanels) {
  auto const& [path, dtype] = GetParam();
  Array const images = tagged(dtype, path.shape, path.in);
  Extents const extents = extents_of_array(images);
  for (DType const to : {dtype, DType::f16, DType::bf16, DType::f32}) {
    bool const wider = to != dtype && (dtype == DType::u8 || dtype == DType::f32);
    if (to != dtype && !wider) continue;
    Output const out{to, path.out, path.out_shape, path.form};
    for (Kind const& kind : kinds) {
      for (Partners const partners : {Partners::permuted, Partners::any}) {
        auto const rows = rows_of(kind, extents, partners);
        Array const expected = mix_at(on_cpu(), {images}, rows, out, path.form);
        for (int const segment : segments) {
          if (partners == Partners::any && segment != 4) continue;
          Forced const forced(kind.block, kind.grid, segment, kind.panel);
          expect_same(mix_at(here(), {images}, rows, out, path.form), expected, "mixed");
          if (HasFailure()) FAIL() << name_of(to) << ", " << kind.name << ", segment " << segment;
        }
      }
    }
  }
}

// The first is drawn late, the second early.
TEST_P(PathEach, StepsOfAMixerAreTheSameBytes) {
  auto const& [path, dtype] = GetParam();
  bool const as_others = dtype != DType::u8 && dtype != DType::f32;
  if (as_others && std::string(path.name) != "Vectors") return;
  constexpr std::int64_t columns = 300;
  Array const images = tagged(dtype, path.shape, path.in);
  std::int64_t const samples = images.shape.front();
  Array const labels = ids(DType::i64, ids_below(columns, samples));
  for (DType const to : {dtype, DType::bf16}) {
    if (to != dtype && as_others) continue;
    for (Kind const& kind : kinds) {
      bool const flips = std::string(kind.name) == "flipped";
      if (flips && !extents_of_array(images).width) continue;
      Spec spec = kind.panel == 0 ? mixup_spec() : busy_spec(Pairing::permutation, 0);
      spec.flip = flips ? 0.5f : 0.0f;
      Mixer mixer(spec, {3, 0, 5}, 16, test_device(), test_queue());
      Tensor const in(here(), images, path.form), classes(here(), labels);
      Tensor const out(here(), to, path.out_shape, path.out, path.form);
      Tensor const targets(here(), DType::f32, {samples, columns});
      for (std::uint64_t n = 0; n < 2; ++n) {
        Forced const forced(kind.block, kind.grid, n == 0 ? 2 : 8, kind.panel);
        mixer({out, {targets.view()}}, {in, classes, {}, {}}, test_queue());
        Plan plan = make_plan(on_cpu(), spec, mixer.plan().extents(), {3, n, 5});
        auto const expected = step_at(on_cpu(), {images}, {labels}, plan,
                                      {to, path.out, path.out_shape, {}}, Target::dense, columns);
        expect_same(out.read(), expected.images, "mixed");
        expect_same(targets.read(), expected.targets.dense(), "targets");
        if (HasFailure()) FAIL() << name_of(to) << ", " << kind.name << ", step " << n;
      }
    }
  }
}

TEST_P(PathEach, IsTheSameBytesInPlace) {
  auto const& [path, dtype] = GetParam();
  if (path.in != path.out) return;  // in place there is one layout
  Array const images = tagged(dtype, path.shape, path.in);
  Extents const extents = extents_of_array(images);
  for (Kind const& kind : kinds) {
    auto const rows = rows_of(kind, extents, Partners::permuted);
    Array const expected = mix_at(on_cpu(), {images}, rows, same_as(images, path.form), path.form);
    for (int const parts : {0, 1, 2, 16}) {
      Forced const forced(kind.block, kind.grid, 0, 0, parts);
      expect_same(mix_in_place_at(here(), images, rows, path.form), expected, kind.name);
    }
  }
}

std::string path_name(testing::TestParamInfo<std::tuple<Path, DType>> const& info) {
  return std::string(std::get<0>(info.param).name) + "_" + name_of(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Paths, PathEach,
                         testing::Combine(testing::ValuesIn(paths),
                                          testing::Values(DType::u8, DType::f16, DType::bf16,
                                                          DType::f32, DType::f64)),
                         path_name);

}  // namespace
}  // namespace mixfuse::test
