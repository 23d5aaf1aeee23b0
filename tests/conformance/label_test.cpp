// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"
#include "tests/support/tolerance.hpp"

namespace mixfuse::test {
namespace {

class Label : public OnDevice {};

std::vector<Row> label_rows(std::int64_t samples, Random& random,
                            Partners partners = Partners::any) {
  auto rows = random_rows(image(samples, 16, 16), random, partners);
  if (samples > 3) {
    rows[0].label = 1.0f;
    rows[1].label = 0.0f;
    rows[2].partner = 2;
  }
  return rows;
}

/// Labels here are right, and as on the CPU byte for byte.
Labelled expect_dense(Labels const& labels, std::vector<Row> const& rows, DType dtype,
                      std::int64_t classes, Form form = {}) {
  Labelled const got = label_at(here(), labels, rows, Target::dense, dtype, classes, form);
  expect_targets(got.dense(), labels.own, labels.second ? &*labels.second : nullptr, rows,
                 labels.rule);
  if (on_cuda()) {
    expect_same(got, label_at(on_cpu(), labels, rows, Target::dense, dtype, classes, form));
  }
  return got;
}

Array random_ids(DType dtype, std::int64_t samples, std::int64_t classes, Random& random) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < samples; ++i) values.push_back(random.below(classes));
  return ids(dtype, values);
}

Array random_label_rows(DType dtype, Shape shape, Random& random) {
  Array rows(dtype, std::move(shape));
  for (std::int64_t i = 0; i < rows.count(); ++i) {
    rows.set(i, dtype == DType::boolean ? static_cast<long double>(random.below(2))
                                        : static_cast<long double>(random.uniform()));
  }
  return rows;
}

TEST_F(Label, IdsOfEveryTypeBecomeDenseTargetsOfEveryType) {
  Random random(1);
  for (DType const id : {DType::u8, DType::i32, DType::i64}) {
    for (DType const target : {DType::f32, DType::f16, DType::bf16}) {
      for (float const smoothing : {0.0f, 0.1f, 1.0f}) {
        Labels labels{random_ids(id, 7, 13, random)};
        labels.rule.smoothing = smoothing;
        auto const rows = label_rows(7, random);
        expect_dense(labels, rows, target, 13);
        expect_dense(labels, rows, target, 13, {3, 5, 2});
        labels.second = random_ids(id, 7, 13, random);
        EXPECT_FALSE(expect_dense(labels, rows, target, 13, {1, 0, 1}).error);
      }
    }
  }
}

TEST_F(Label, RowsOfFloatsKeepTheirDtypeAndAreMixedLinearly) {
  Random random(2);
  for (DType const dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    Labels labels{random_label_rows(dtype, {6, 17}, random)};
    auto const rows = label_rows(6, random);
    expect_dense(labels, rows, dtype, 17);
    expect_dense(labels, rows, dtype, 17, {1, 3, 2});
    labels.second = random_label_rows(dtype, {6, 17}, random);
    expect_dense(labels, rows, dtype, 17);
  }
}

TEST_F(Label, HalvesAreBlendedInFloatsAndRoundedOnce) {
  // Around every edge: zero, subnormals, 1 and its ties, the largest, infinity, NaN.
  std::map<DType, std::vector<std::uint64_t>> const edges{
      {DType::f16, {0,      1,      2,      3,      0x3fe,  0x3ff,  0x400,  0x401,  0x7ff,
                    0x3bff, 0x3c00, 0x3c01, 0x3c02, 0x3c03, 0x7bfe, 0x7bff, 0x7c00, 0x7e01,
                    0x8000, 0x8001, 0x83ff, 0x8400, 0xbc01, 0xfbff, 0xfc00}},
      {DType::bf16, {0,      1,      2,      3,      0x7e,   0x7f,   0x80,   0x81,   0xff,
                     0x3f7f, 0x3f80, 0x3f81, 0x3f82, 0x3f83, 0x7f7e, 0x7f7f, 0x7f80, 0x7fc1,
                     0x8000, 0x8001, 0x807f, 0x8080, 0xbf81, 0xff7f, 0xff80}}};
  for (auto const& [dtype, values] : edges) {
    auto const count = static_cast<std::int64_t>(values.size());
    Array halves(dtype, {2, count * count});
    for (std::int64_t i = 0; i < count * count; ++i) {
      halves.set_bits(i, values[static_cast<std::size_t>(i / count)]);
      halves.set_bits(count * count + i, values[static_cast<std::size_t>(i % count)]);
    }
    for (float const weight : {1.0f, 0.0f, 0.5f, 0.25f, 0.7f, 0x1p-20f}) {
      std::vector<Row> const rows{{1, 1, 1, weight, 0, {}}, {0, 1, 1, weight, 0, {}}};
      Array const got =
          label_at(here(), {halves}, rows, Target::dense, dtype, count * count).dense();
      for (std::int64_t i = 0; i < got.count(); ++i) {
        std::int64_t const other = (i + count * count) % got.count();
        auto const own = static_cast<float>(halves.get(i));
        auto const partner = static_cast<float>(halves.get(other));
        std::uint64_t expected = halves.bits(weight == 1.0f ? i : other);
        if (weight != 1.0f && weight != 0.0f) {
          float const blend = std::fma(weight, own, std::fma(-weight, partner, partner));
          expected = encode(std::fabs(blend), format_of(dtype));  // a NaN is the positive one
          if (std::signbit(blend) && !std::isnan(blend)) expected |= 0x8000;
        }
        ASSERT_EQ(got.bits(i), expected)
            << name_of(dtype) << ' ' << own << " and " << partner << ", weight " << weight;
      }
    }
  }
}

TEST_F(Label, SharesOfIdsAreRoundedOnceToHalves) {
  // Subnormals of f16, then ties, which go to the even neighbour, of f16 and bf16.
  for (float const weight : {0x1p-24f, 0x1.8p-23f, 0x1.8p-16f, 0x1.ffp-15f, 0x1.002p-1f,
                             0x1.006p-1f, 0x1.01p-1f, 0x1.03p-1f, 0x1.030002p-1f}) {
    std::vector<Row> const rows{{1, 1, 1, weight, 0, {}}, {0, 1, 1, 1.0f, 0, {}}};
    for (DType const dtype : {DType::f16, DType::bf16}) {
      Array const got =
          label_at(here(), {ids(DType::i64, {1, 2})}, rows, Target::dense, dtype, 3).dense();
      EXPECT_EQ(got.bits(0), 0u);
      EXPECT_EQ(got.bits(1), encode(weight, format_of(dtype))) << weight;
      EXPECT_EQ(got.bits(2), encode(1.0f - weight, format_of(dtype))) << weight;
    }
  }
}

TEST_F(Label, SoftRowsKeepTheirSum) {
  Random random(3);
  Array soft = random_label_rows(DType::f32, {8, 100}, random);
  for (std::int64_t i = 0; i < 8; ++i) {
    long double sum = 0;
    for (std::int64_t k = 0; k < 100; ++k) sum += soft.get(i * 100 + k);
    for (std::int64_t k = 0; k < 100; ++k) soft.set(i * 100 + k, soft.get(i * 100 + k) / sum);
  }
  Array const got = expect_dense({soft}, label_rows(8, random), DType::f32, 100).dense();
  for (std::int64_t i = 0; i < 8; ++i) {
    long double sum = 0;
    for (std::int64_t k = 0; k < 100; ++k) sum += got.get(i * 100 + k);
    EXPECT_NEAR(static_cast<double>(sum), 1.0, 4 * 0x1p-23);
  }
}

TEST_F(Label, MultiHotBooleansBecomeFloats) {
  Random random(4);
  Array hot = random_label_rows(DType::boolean, {6, 9}, random);
  for (DType const target : {DType::f32, DType::f16, DType::bf16}) {
    expect_dense({hot}, label_rows(6, random), target, 9);
  }
  // Any byte but 0 is true.
  Array loud = hot;
  for (std::int64_t i = 0; i < hot.count(); ++i) loud.set(i, hot.get(i) == 0 ? 0 : 1 + i % 255);
  auto const rows = label_rows(6, random);
  expect_same(label_at(here(), {loud}, rows, Target::dense, DType::f32, 9).dense(),
              label_at(here(), {hot}, rows, Target::dense, DType::f32, 9).dense(), "true is true");
}

TEST_F(Label, NotFiniteRowsDoNotLeakThroughAWeightOfOneOrZero) {
  for (DType const dtype : {DType::f16, DType::f32, DType::f64}) {
    Array soft(dtype, {2, 3});
    for (std::int64_t k = 0; k < 3; ++k) soft.set(3 + k, k == 1 ? HUGE_VALL : std::nanl(""));
    std::vector<Row> rows{{1, 1, 1, 1.0f, 0, {}}, {0, 1, 1, 0.0f, 0, {}}};
    Array const got = label_at(here(), {soft}, rows, Target::dense, dtype, 3).dense();
    for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(got.get(i), 0) << name_of(dtype) << " " << i;
  }
}

TEST_F(Label, LabelsAreMixedAsPixelsAre) {
  // Each image is filled with its label's target, so pixels and targets must agree.
  Random random(5);
  std::int64_t const samples = 6;
  Array images(DType::f32, {samples, samples, 4, 4});
  for (std::int64_t i = 0; i < images.count(); ++i) {
    Place7 const at = images.place_of(i);
    images.set(i, at[0] == at[1] ? 1 : 0);
  }
  std::vector<std::int64_t> own(static_cast<std::size_t>(samples));
  for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<std::int64_t>(i);
  for (Spec spec : {mixup_spec(), cutmix_spec()}) {
    for (std::uint64_t step = 0; step < 20; ++step) {
      Plan plan = make_plan(here(), spec, extents_of_array(images), {5, step, 0});
      Array const pixels = mix_at(here(), {images}, plan, same_as(images));
      Array const targets =
          label_at(here(), {ids(DType::i64, own)}, plan, Target::dense, DType::f32, samples)
              .dense();
      for (std::int64_t i = 0; i < targets.count(); ++i) {
        long double mean = 0;
        for (std::int64_t p = 0; p < 16; ++p) mean += pixels.get(i * 16 + p) / 16;
        EXPECT_NEAR(static_cast<double>(targets.get(i)), static_cast<double>(mean), 1e-6);
      }
    }
  }
}

TEST_F(Label, AClassOnBothSidesGetsBothShares) {
  for (float const smoothing : {0.0f, 0.1f}) {
    Labels labels{ids(DType::i64, {4, 4, 2})};
    labels.rule.smoothing = smoothing;
    std::vector<Row> const rows{
        {1, 0.3f, 0.3f, 0.3f, 0, {}}, {0, 0.7f, 0.7f, 0.7f, 0, {}}, {0, 0.3f, 0.3f, 0.3f, 0, {}}};
    Array const got = expect_dense(labels, rows, DType::f32, 10).dense();
    long double const off = static_cast<long double>(smoothing) / 10;
    auto const on = static_cast<float>(1 - static_cast<long double>(smoothing) + off);
    EXPECT_EQ(static_cast<float>(got.get(4)), on);
    EXPECT_EQ(static_cast<float>(got.get(14)), on);
    EXPECT_NEAR(static_cast<double>(got.get(22)), static_cast<double>(0.3f * on + 0.7L * off),
                1e-7);
  }
}

TEST_F(Label, RowsMadeOfIdsSumToOne) {
  Random random(6);
  for (std::int64_t const classes : {std::int64_t{1}, std::int64_t{2}, std::int64_t{10},
                                     std::int64_t{1000}, std::int64_t{small() ? 2048 : 21841}}) {
    for (float const smoothing : {0.0f, 0.1f, 0.5f, 1.0f}) {
      Labels labels{random_ids(DType::i64, 6, classes, random)};
      labels.rule.smoothing = smoothing;
      auto const rows = label_rows(6, random);
      Array const single = expect_dense(labels, rows, DType::f32, classes).dense();
      for (DType const dtype : {DType::f32, DType::f16, DType::bf16}) {
        Array const got = label_at(here(), labels, rows, Target::dense, dtype, classes).dense();
        for (std::int64_t i = 0; i < 6; ++i) {
          double sum = 0;
          for (std::int64_t k = 0; k < classes; ++k) {
            std::int64_t const at = i * classes + k;
            sum += static_cast<double>(got.get(at));
            if (dtype != DType::f32) {
              ASSERT_EQ(got.bits(at), encode(single.get(at), format_of(dtype)));
            }
          }
          EXPECT_NEAR(sum, 1.0, row_sum_tolerance(dtype, static_cast<double>(classes)))
              << name_of(dtype) << " K " << classes << " smoothing " << smoothing;
        }
      }
    }
  }
}

TEST_F(Label, ByDefaultNothingIsSmoothed) {
  EXPECT_EQ(LabelRule{}.smoothing, 0.0f);
  std::vector<Row> const rows{{0, 1, 1, 1, 0, {}}};
  Array const got = expect_dense({ids(DType::i32, {2})}, rows, DType::f32, 4).dense();
  for (std::int64_t k = 0; k < 4; ++k) EXPECT_EQ(got.get(k), k == 2 ? 1 : 0);
}

TEST_F(Label, UnmixedRowsAreSmoothedToo) {
  Labels labels{ids(DType::i32, {2, 0})};
  labels.rule.smoothing = 0.1f;
  std::vector<Row> const rows{{0, 1, 1, 1, 0, {}}, {0, 1, 1, 1, 0, {}}};
  Array const got = expect_dense(labels, rows, DType::f32, 4).dense();
  for (std::int64_t k = 0; k < 4; ++k) {
    EXPECT_NEAR(static_cast<double>(got.get(k)), k == 2 ? 0.925 : 0.025, 1e-7);
  }
}

TEST_F(Label, LargeIdsFindTheirColumn) {
  std::vector<Row> rows(4, Row{0, 1, 1, 0.75f, 0, {}});
  std::vector<std::int64_t> const own{257, 999, 2049, small() ? 4095 : 65537};
  std::int64_t const classes = own[3] + 1;
  for (DType const target : {DType::f32, DType::f16, DType::bf16}) {
    Array const got = expect_dense({ids(DType::i64, own)}, rows, target, classes).dense();
    for (std::int64_t i = 1; i < 4; ++i) {
      EXPECT_EQ(got.get(i * classes + own[static_cast<std::size_t>(i)]), 0.75L);
      EXPECT_EQ(got.get(i * classes + 257), 0.25L);
    }
  }
}

TEST_F(Label, BadIdsLeaveTheirShareOutAndTheErrorWordSaysWhich) {
  std::int64_t const classes = 5;
  for (float const smoothing : {0.0f, 0.1f}) {
    Labels labels{ids(DType::i64, {0, 1, -1, classes, 4, std::numeric_limits<std::int32_t>::max(),
                                   std::numeric_limits<std::int64_t>::min(), 2})};
    labels.rule.smoothing = smoothing;
    std::vector<Row> rows(8);
    for (std::int32_t i = 0; i < 8; ++i) {
      rows[static_cast<std::size_t>(i)] = {(i + 5) % 8, 0.25f, 0.25f, 0.25f, 0, {}};
    }
    Plan plan = make_plan(here(), rows, image(8, 4, 4), {1, 77, 0});
    Labelled const got = label_at(here(), labels, plan, Target::dense, DType::f32, classes);
    expect_targets(got.dense(), labels.own, nullptr, rows, labels.rule);
    EXPECT_EQ(got.error.code(), ErrorWord::Code::label);
    EXPECT_EQ(got.error.sample(), 2);
    EXPECT_EQ(got.error.step(), 77u);
    EXPECT_TRUE(got.error);
  }
}

TEST_F(Label, TheFirstBadStepStaysUntilItIsCleared) {
  Place const place = here();
  Extents const extents = image(4, 4, 4);
  Plan plan(4, place.device, place.queue);
  EXPECT_FALSE(error_of(plan, place));
  EXPECT_EQ(error_of(plan, place).sample(), -1);
  EXPECT_EQ(error_of(plan, place).code(), ErrorWord::Code::none);
  auto const labels_at = [&](std::uint64_t step, std::vector<std::int64_t> const& values) {
    plan_into(plan, mixup_spec(), extents, Draw{1, step, 0}, place.queue);
    return label_at(place, {ids(DType::i32, values)}, plan, Target::dense, DType::f32, 3).error;
  };
  EXPECT_FALSE(labels_at(4, {0, 1, 2, 0}));
  EXPECT_EQ(labels_at(5, {0, 1, 2, 9}).sample(), 3);
  EXPECT_EQ(labels_at(6, {-4, 1, 2, 0}).sample(), 3);  // a later step does not displace it
  EXPECT_EQ(labels_at(7, {0, 1, 2, 0}).step(), 5u);
  EXPECT_EQ(labels_at(5, {0, -7, 2, 9}).sample(), 1);  // the smallest of its step
  clear_error(plan, place.queue);
  EXPECT_FALSE(error_of(plan, place));
  EXPECT_EQ(labels_at(0, {0, 1, 3, 0}).sample(), 2);
  EXPECT_EQ(error_of(plan, place).step(), 0u);
}

TEST_F(Label, ABadIdOfASecondBatchIsReportedThere) {
  for (std::int64_t const bad : {9, 5, -1}) {
    Labels labels{ids(DType::i64, {0, 1, 2, 3}), ids(DType::i64, {0, bad, bad, 1})};
    std::vector<Row> rows(4, Row{0, 0.5f, 0.5f, 0.5f, 0, {}});
    rows[0].partner = 2;
    rows[3].partner = 1;
    for (Target const target : {Target::dense, Target::sparse}) {
      Labelled const got = label_at(here(), labels, rows, target, DType::f32, 5);
      EXPECT_EQ(got.error.code(), ErrorWord::Code::partner_label);
      EXPECT_EQ(got.error.sample(), 1);
      if (target == Target::dense) {
        expect_targets(got.dense(), labels.own, &*labels.second, rows, {});
      } else {
        EXPECT_EQ(got.arrays[1].get(0), -1);
      }
    }
  }
}

TEST_F(Label, AnIgnoredIdLeavesItsShareOutWithoutAnError) {
  for (std::int64_t const ignored : {std::int64_t{-100}, std::int64_t{2}}) {
    for (float const smoothing : {0.0f, 0.2f}) {
      Labels labels{ids(DType::i64, {0, ignored, 1, ignored})};
      labels.rule = {smoothing, ignored, 0};
      std::vector<Row> const rows{{1, 0.25f, 0.25f, 0.25f, 0, {}},
                                  {0, 0.25f, 0.25f, 0.25f, 0, {}},
                                  {0, 0.25f, 0.25f, 0.25f, 0, {}},
                                  {1, 0.25f, 0.25f, 0.25f, 0, {}}};
      Labelled const got = expect_dense(labels, rows, DType::f32, 4);
      EXPECT_FALSE(got.error);
      for (std::int64_t k = 0; k < 4; ++k) EXPECT_EQ(got.dense().get(12 + k), 0);
      labels.second = labels.own;
      EXPECT_FALSE(expect_dense(labels, rows, DType::f32, 4).error);
    }
  }
}

TEST_F(Label, SparseTargetsAreTwoClassesAndAWeight) {
  Random random(8);
  for (DType const id : {DType::u8, DType::i32, DType::i64}) {
    for (bool const second : {false, true}) {
      Labels labels{random_ids(id, 7, 11, random)};
      if (second) labels.second = random_ids(id, 7, 11, random);
      auto const rows = label_rows(7, random);
      for (Form const form : {Form{}, Form{1, 0, 3}}) {
        Labelled const got = label_at(here(), labels, rows, Target::sparse, DType::f32, 11, form);
        Array const& others = second ? *labels.second : labels.own;
        for (std::int64_t i = 0; i < 7; ++i) {
          Row const& row = rows[static_cast<std::size_t>(i)];
          EXPECT_EQ(got.arrays[0].get(i), labels.own.get(i));
          EXPECT_EQ(got.arrays[1].get(i), others.get(row.partner));
          EXPECT_EQ(static_cast<float>(got.arrays[2].get(i)), row.label);
        }
        EXPECT_FALSE(got.error);
      }
    }
  }
}

TEST_F(Label, InSparseTargetsABadIdIsMinusOneAndAnIgnoredOneStays) {
  Labels labels{ids(DType::i64, {3, -7, 12, -100})};
  labels.rule.ignored = -100;
  std::vector<Row> const rows{{1, 1, 1, 0.5f, 0, {}},
                              {2, 1, 1, 0.5f, 0, {}},
                              {3, 1, 1, 0.5f, 0, {}},
                              {0, 1, 1, 0.5f, 0, {}}};
  Labelled const got = label_at(here(), labels, rows, Target::sparse, DType::f32, 12);
  std::int64_t const own[] = {3, -1, -1, -100}, partner[] = {-1, -1, -100, 3};
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got.arrays[0].get(i), own[i]);
    EXPECT_EQ(got.arrays[1].get(i), partner[i]);
  }
  EXPECT_EQ(got.error.code(), ErrorWord::Code::label);
  EXPECT_EQ(got.error.sample(), 1);
}

TEST_F(Label, BatchesAroundABlockAreRight) {
  Random random(9);
  for (std::int64_t const samples : {0, 1, 2, 127, 128, 129, 1025, 70000}) {
    Labels const labels{random_ids(DType::i32, samples, 3, random)};
    auto const rows = label_rows(samples, random);
    if (samples == 0) {
      EXPECT_EQ(label_at(here(), labels, rows, Target::dense, DType::f32, 3).dense().count(), 0);
      continue;
    }
    expect_dense(labels, rows, DType::f32, 3);
    Labelled const sparse = label_at(here(), labels, rows, Target::sparse, DType::f32, 3);
    EXPECT_EQ(sparse.arrays[0].get(samples - 1), labels.own.get(samples - 1));
  }
}

TEST_F(Label, TheWholeRowOfEveryThreadCountIsTheSame) {
  Random random(10);
  Labels const labels{random_ids(DType::i32, 50, 7, random)};
  auto const rows = label_rows(50, random);
  Labelled const one = label_at(on_cpu(1), labels, rows, Target::dense, DType::f32, 7);
  for (int const threads : {2, 7}) {
    expect_same(label_at(on_cpu(threads), labels, rows, Target::dense, DType::f32, 7), one);
  }
}

}  // namespace
}  // namespace mixfuse::test
