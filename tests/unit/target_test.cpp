// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/target.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "mixfuse/mixfuse.hpp"
#include "tests/support/number.hpp"

namespace mixfuse::maths {
namespace {

/// Of K classes, with ids in memory and smoothing as its caller says.
struct Ids {
  std::vector<std::int64_t> own, partners;
  LabelJob job{};

  Ids(std::vector<std::int64_t> ids, std::int64_t classes) : own(std::move(ids)) {
    job.samples = static_cast<std::int64_t>(own.size());
    job.classes = classes;
    job.ids = true;
    job.on = 0.9f;
    job.off = 0.02f;
    job.own = {own.data(), DType::i64, {1, 0}};
    job.partners = job.own;
  }
};

TEST(OneHot, IsOnInItsColumnAndOffElsewhere) {
  Ids const ids({}, 5);
  for (std::int64_t id = 0; id < 5; ++id) {
    for (std::int64_t column = 0; column < 5; ++column) {
      EXPECT_EQ(one_hot(ids.job, id, column), id == column ? 0.9f : 0.02f);
    }
  }
}

TEST(OneHot, LeavesOutBadAndIgnoredIdsSmoothingIncluded) {
  Ids ids({}, 5);
  std::int64_t const bad[] = {-1,
                              5,
                              255,
                              std::numeric_limits<std::int32_t>::max(),
                              std::numeric_limits<std::int64_t>::max(),
                              std::numeric_limits<std::int64_t>::min()};
  for (std::int64_t const id : bad) {
    EXPECT_TRUE(is_bad(ids.job, id));
    for (std::int64_t column = 0; column < 5; ++column) EXPECT_EQ(one_hot(ids.job, id, column), 0);
  }
  ids.job.has_ignored = true;
  for (std::int64_t const ignored : {std::int64_t{2}, std::int64_t{-1}, std::int64_t{255}}) {
    ids.job.ignored = ignored;
    EXPECT_FALSE(is_bad(ids.job, ignored));
    EXPECT_EQ(one_hot(ids.job, ignored, 2), 0);
    EXPECT_EQ(one_hot(ids.job, 3, 3), 0.9f) << "the others are as before";
    EXPECT_EQ(is_bad(ids.job, -1), ignored != -1);
  }
}

TEST(LoadId, ReadsEveryIntegerTypeWithItsStride) {
  std::uint8_t const bytes[] = {250, 0, 255};
  std::int32_t const ints[] = {-7, 0, std::numeric_limits<std::int32_t>::min()};
  std::int64_t const longs[] = {1, 0, std::numeric_limits<std::int64_t>::min()};
  EXPECT_EQ(load_id({bytes, DType::u8, {2, 0}}, 1), 255);
  EXPECT_EQ(load_id({bytes, DType::u8, {2, 0}}, 0), 250);
  EXPECT_EQ(load_id({ints, DType::i32, {2, 0}}, 1), ints[2]);
  EXPECT_EQ(load_id({longs, DType::i64, {2, 0}}, 1), longs[2]);
  EXPECT_EQ(load_id({longs, DType::i64, {0, 0}}, 1), 1) << "stride 0 repeats";
}

TEST(LoadValue, ReadsEveryTypeOfRows) {
  F16 const half[] = {{0x3c00}, {0x3800}};
  Bf16 const brain[] = {{0x3f80}, {0x3f00}};
  float const single[] = {1.0f, 0.5f};
  std::uint8_t const boolean[] = {1, 0, 2};
  EXPECT_EQ(load_value({half, DType::f16, {}}, 1), 0.5f);
  EXPECT_EQ(load_value({brain, DType::bf16, {}}, 1), 0.5f);
  EXPECT_EQ(load_value({single, DType::f32, {}}, 1), 0.5f);
  EXPECT_EQ(load_value({boolean, DType::boolean, {}}, 0), 1.0f);
  EXPECT_EQ(load_value({boolean, DType::boolean, {}}, 1), 0.0f);
  EXPECT_EQ(load_value({boolean, DType::boolean, {}}, 2), 1.0f) << "any byte but 0 is true";
}

TEST(Mixed, TakesOneSideAloneAtOneAndZero) {
  float const nan = std::nanf("");
  EXPECT_EQ(mixed(1.0f, 3.0f, nan), 3.0f);
  EXPECT_EQ(mixed(0.0f, nan, 3.0f), 3.0f);
  EXPECT_EQ(mixed(0.25f, 1.0f, 0.0f), 0.25f);
  EXPECT_EQ(mixed(0.25f, 0.0f, 1.0f), 0.75f);
}

TEST(DenseTarget, IsTheOwnLabelWhereASampleMeetsItself) {
  Ids ids({1, 2}, 3);
  float out[6];
  ids.job.out = {out, DType::f32, {3, 1}};
  auto const target = [&](std::int32_t partner) {
    for (std::int64_t column = 0; column < 3; ++column) {
      dense_target(ids.job, {partner, 1, 1, 0.25f, 0, {}}, 0, column);
    }
    return std::vector<float>(out, out + 3);
  };
  EXPECT_EQ(target(0), (std::vector<float>{0.02f, 0.9f, 0.02f}));
  EXPECT_EQ(target(1)[1], blend(0.25f, 0.9f, 0.02f));
  EXPECT_EQ(target(1)[2], blend(0.25f, 0.02f, 0.9f));
  ids.job.second = true;  // partner 0 is then another sample
  ids.partners = {2, 2};
  ids.job.partners = {ids.partners.data(), DType::i64, {1, 0}};
  EXPECT_EQ(target(0)[2], blend(0.25f, 0.02f, 0.9f));
}

TEST(DenseTarget, OfRowsTakesThePartnersUnlessASampleMeetsItself) {
  float const infinite = std::numeric_limits<float>::infinity();
  std::vector<float> const rows{1, infinite, 0, 4, 5, 6};
  float out[3];
  LabelJob job{};
  job.classes = 3;
  job.own = job.partners = {rows.data(), DType::f32, {3, 1}};
  job.out = {out, DType::f32, {0, 1}};
  auto const target = [&](std::int64_t sample, std::int32_t partner) {
    for (std::int64_t column = 0; column < 3; ++column) {
      dense_target(job, {partner, 1, 1, 0.25f, 0, {}}, sample, column);
    }
    return std::vector<float>(out, out + 3);
  };
  EXPECT_EQ(target(0, 1), (std::vector<float>{3.25f, infinite, 4.5f}));
  EXPECT_EQ(target(0, 0), (std::vector<float>{1, infinite, 0})) << "blended, infinity gives NaN";
  EXPECT_EQ(target(1, 1), (std::vector<float>{4, 5, 6}));
}

TEST(SparseTarget, KeepsIdsIgnoredOnesTooAndWritesBadOnesAsMinusOne) {
  Ids ids({1, 9, 7, -1}, 3);
  ids.job.has_ignored = true;
  ids.job.ignored = 7;
  std::vector<std::int64_t> own(4), partner(4);
  std::vector<float> weight(4);
  ids.job.out = {own.data(), DType::i64, {1, 0}};
  ids.job.partner = {partner.data(), DType::i64, {1, 0}};
  ids.job.weight = {weight.data(), DType::f32, {1, 0}};
  for (std::int32_t i = 0; i < 4; ++i) {
    sparse_target(ids.job, {3 - i, 1, 1, static_cast<float>(i) / 4, 0, {}}, i);
  }
  EXPECT_EQ(own, (std::vector<std::int64_t>{1, -1, 7, -1}));
  EXPECT_EQ(partner, (std::vector<std::int64_t>{-1, 7, -1, 1}));
  EXPECT_EQ(weight, (std::vector<float>{0, 0.25f, 0.5f, 0.75f}));
}

TEST(LabelMark, NamesTheBadSampleAndTheSmallestWinsAsMaximum) {
  Ids ids({0, 5, 2, -3}, 3);
  auto const word = [&](std::int64_t sample, std::int32_t partner) {
    return ErrorWord{1, label_mark(ids.job, {partner, 1, 1, 1, 0, {}}, sample)};
  };
  EXPECT_EQ(word(0, 1).first, 0u) << "a partner's id is checked as its own sample's";
  EXPECT_EQ(word(1, 0).code(), ErrorWord::Code::label);
  EXPECT_EQ(word(1, 0).sample(), 1);
  EXPECT_EQ(word(3, 0).sample(), 3);
  EXPECT_GT(word(1, 0).first, word(3, 0).first);

  ids.job.second = true;
  ids.partners = {0, 0, 8, 0};
  ids.job.partners = {ids.partners.data(), DType::i64, {1, 0}};
  EXPECT_EQ(word(0, 2).code(), ErrorWord::Code::partner_label);
  EXPECT_EQ(word(0, 2).sample(), 2);
  EXPECT_EQ(word(1, 2).code(), ErrorWord::Code::label) << "the smaller sample";
  EXPECT_EQ(word(3, 2).code(), ErrorWord::Code::partner_label);

  ids.job.ids = false;
  EXPECT_EQ(word(1, 2).first, 0u) << "rows have no ids";
}

/// Dense targets of samples 0 and 1 of K classes, mixed with each other.
template <class T>
std::vector<T> targets_of(std::int64_t classes, float smoothing, float weight, DType dtype,
                          std::int64_t partner_id) {
  Queue const queue = Queue::cpu(1);
  Plan plan(2, Device::cpu(), queue);
  Row const rows[2] = {{1, weight, weight, weight, 0, {}}, {0, weight, weight, weight, 0, {}}};
  plan_into(plan, rows, {2, 1, {1}, false}, {}, queue);
  std::vector<std::int64_t> const ids{classes / 3, partner_id};
  std::vector<T> out(static_cast<std::size_t>(2 * classes));
  label_into(TensorView(out.data(), dtype, {2, classes}),
             ConstTensorView(ids.data(), DType::i64, {2}), {smoothing}, plan, queue);
  return out;
}

TEST(DenseTargets, SumToOneAndAreCloseToTheExactMixture) {
  constexpr float weights[] = {0.0f, 1.0f,         0.5f,     1.0f / 3, 0.1f,
                               0.7f, 1 - 0x1p-24f, 0x1p-20f, 0.999f};
  for (std::int64_t const classes : {1, 2, 10, 1000, 21841}) {
    for (float const smoothing : {0.0f, 0.1f, 0.5f, 1.0f}) {
      for (float const weight : weights) {
        for (std::int64_t const partner : {classes - 1, classes / 3}) {
          auto const f32 = targets_of<float>(classes, smoothing, weight, DType::f32, partner);
          auto const f16 =
              targets_of<std::uint16_t>(classes, smoothing, weight, DType::f16, partner);
          auto const bf16 =
              targets_of<std::uint16_t>(classes, smoothing, weight, DType::bf16, partner);
          double sum = 0, sum16 = 0, sum_bf16 = 0;
          for (std::size_t k = 0; k < static_cast<std::size_t>(classes); ++k) {
            sum += static_cast<double>(f32[k]);
            sum16 += static_cast<double>(widen(F16{f16[k]}));
            sum_bf16 += static_cast<double>(widen(Bf16{bf16[k]}));
            ASSERT_EQ(f16[k], narrow<F16>(f32[k]).bits) << "rounded once";
            ASSERT_EQ(bf16[k], narrow<Bf16>(f32[k]).bits) << "rounded once";
            double const s = static_cast<double>(smoothing), w = static_cast<double>(weight);
            auto const column = static_cast<std::int64_t>(k);
            double const exact =
                s / static_cast<double>(classes) +
                (1 - s) * (w * (column == classes / 3) + (1 - w) * (column == partner));
            long double const unit = test::ulp(DType::f32, static_cast<long double>(exact));
            ASSERT_LE(std::fabs(static_cast<double>(f32[k]) - exact), static_cast<double>(2 * unit))
                << classes << " " << smoothing << " " << weight << " column " << k;
          }
          ASSERT_NEAR(sum, 1, 2.4e-7) << classes << " " << smoothing << " " << weight;
          ASSERT_NEAR(sum16, 1, 0x1p-11 + static_cast<double>(classes) * 0x1p-25)
              << classes << " " << smoothing << " " << weight;
          ASSERT_NEAR(sum_bf16, 1, 0x1p-8) << classes << " " << smoothing << " " << weight;
          if (partner == classes / 3) {
            float const on = f32[static_cast<std::size_t>(partner)];
            ASSERT_EQ(on, targets_of<float>(classes, smoothing, 1.0f, DType::f32,
                                            partner)[static_cast<std::size_t>(partner)])
                << "a class on both sides is exactly on";
          }
        }
      }
    }
  }
}

TEST(LabelRule, SmoothsNothingByDefault) {
  auto const row = targets_of<float>(4, LabelRule{}.smoothing, 1.0f, DType::f32, 0);
  EXPECT_EQ(row, (std::vector<float>{0, 1, 0, 0, 1, 0, 0, 0}));
}

}  // namespace
}  // namespace mixfuse::maths
