// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/row.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse::maths {
namespace {

constexpr std::uint64_t always = std::uint64_t{1} << 32;
constexpr std::uint64_t seed = 11, step = 3;

Policy policy_of(Policy::Kind kind, Fold fold = Fold::none,
                 Boxes::Kind boxes = Boxes::Kind::paper) {
  Policy policy{};
  policy.kind = kind;
  policy.fold = fold;
  policy.boxes = boxes;
  policy.below = always;
  policy.law = make_beta_law(1.0f, 1.0f);
  return policy;
}

/// 100 images of 9 x 7, each mixed by the policy.
PlanJob job_of(Policy const& policy, std::uint64_t first = 0) {
  PlanJob job{};
  job.samples = 100;
  job.draw = {seed, step, first};
  job.granularity = Granularity::sample;
  job.gate = always;
  job.policies = 1;
  job.policy[0] = policy;
  job.axes = 2;
  job.spatial[0] = 9;
  job.spatial[1] = 7;
  return job;
}

std::uint64_t word(Purpose purpose, std::uint64_t index) {
  return draw_words(seed, index, step, purpose).w[0];
}

Weight lambda(std::uint64_t index) {
  return draw_beta(make_beta_law(1.0f, 1.0f), [&](std::uint32_t block) {
    return draw_words(seed, index, step, Purpose::lambda, block);
  });
}

PlanJob const mixup = job_of(policy_of(Policy::Kind::mixup));
PlanJob const cutmix = job_of(policy_of(Policy::Kind::cutmix));

void expect_unmixed(Row const& row, std::int32_t partner) {
  EXPECT_EQ(row, (Row{partner, 1, 1, 1, 0, {}})) << row;
}

TEST(DrawRow, OfMixupHasOneWeightAndNoBox) {
  for (std::int32_t i = 0; i < 100; ++i) {
    float const l = lambda(static_cast<std::uint64_t>(i)).own;
    EXPECT_EQ(draw_row(mixup, i, 99 - i), (Row{99 - i, l, l, l, 0, {}}));
  }
}

TEST(DrawRow, OfCutMixLabelsWhatItPastes) {
  std::int32_t mixed = 0;
  for (std::int32_t i = 0; i < 100; ++i) {
    Row const row = draw_row(cutmix, i, 99 - i);
    auto const index = static_cast<std::uint64_t>(i);
    Box const box =
        draw_box(cutmix, cutmix.policy[0], lambda(index).partner, WordsAt{cutmix, index});
    std::int32_t const pasted = (box.hi[0] - box.lo[0]) * (box.hi[1] - box.lo[1]);
    EXPECT_EQ(row, (Row{99 - i, 1, 0, static_cast<float>(63 - pasted) / 63.0f, 0, box}));
    mixed += pasted > 0;
  }
  EXPECT_GT(mixed, 50);
}

TEST(DrawRow, IsMixedWhereTheGatesWordIsBelowTheGate) {
  PlanJob job = mixup;
  for (std::int32_t i = 0; i < 20; ++i) {
    std::uint64_t const gate = word(Purpose::gate, static_cast<std::uint64_t>(i));
    job.gate = gate;
    expect_unmixed(draw_row(job, i, 5), 5);
    job.gate = gate + 1;
    EXPECT_EQ(draw_row(job, i, 5), draw_row(mixup, i, 5));
    job.gate = 0;
    expect_unmixed(draw_row(job, i, 5), 5);
  }
}

TEST(DrawRow, TakesTheFirstPolicyThatItsWordIsBelow) {
  PlanJob job = mixup;
  job.policies = 2;
  job.policy[1] = cutmix.policy[0];
  for (std::int32_t i = 0; i < 20; ++i) {
    std::uint64_t const drawn = word(Purpose::policy, static_cast<std::uint64_t>(i));
    job.policy[0].below = drawn + 1;
    EXPECT_EQ(draw_row(job, i, 5), draw_row(mixup, i, 5));
    job.policy[0].below = drawn;
    EXPECT_EQ(draw_row(job, i, 5), draw_row(cutmix, i, 5));
    job.policy[1].below = drawn;  // the rest is identity
    expect_unmixed(draw_row(job, i, 5), 5);
    job.policy[1].below = always;
  }
}

TEST(DrawRow, IsUnmixedWithoutAPolicyOrWithOneThatIsOff) {
  PlanJob none = mixup, off = mixup, first_off = cutmix;
  none.policies = 0;
  off.policy[0].kind = Policy::Kind::identity;
  first_off.policies = 2;  // a policy that is off still takes its share
  first_off.policy[1] = first_off.policy[0];
  first_off.policy[0].kind = Policy::Kind::identity;
  for (PlanJob const& job : {none, off, first_off}) {
    for (std::int32_t i = 0; i < 20; ++i) expect_unmixed(draw_row(job, i, 5), 5);
  }
}

TEST(DrawRow, FoldsTheDrawnLambdaBeforeAnyBox) {
  bool folded[2] = {};
  for (std::int32_t i = 0; i < 100; ++i) {
    auto const index = static_cast<std::uint64_t>(i);
    Weight const drawn = lambda(index);
    float const larger = std::max(drawn.own, drawn.partner);
    float const smaller = std::min(drawn.own, drawn.partner);
    folded[drawn.own > drawn.partner] = true;
    for (Fold const fold : {Fold::none, Fold::own, Fold::partner}) {
      float const own = fold == Fold::none ? drawn.own : fold == Fold::own ? larger : smaller;
      float const partner = fold == Fold::none  ? drawn.partner
                            : fold == Fold::own ? smaller
                                                : larger;
      PlanJob const weights = job_of(policy_of(Policy::Kind::mixup, fold));
      PlanJob const boxes = job_of(policy_of(Policy::Kind::cutmix, fold));
      EXPECT_EQ(draw_row(weights, i, 0).outside, own);
      Box const expected = draw_box(boxes, boxes.policy[0], partner, WordsAt{boxes, index});
      Box const box = draw_row(boxes, i, 0).box;
      for (int axis = 0; axis < 2; ++axis) {
        EXPECT_EQ(box.lo[axis], expected.lo[axis]);
        EXPECT_EQ(box.hi[axis], expected.hi[axis]);
      }
    }
  }
  EXPECT_TRUE(folded[0] && folded[1]);
}

TEST(DrawRow, WithAnEmptyBoxKeepsWeightsOneAndZeroAndLabelOne) {
  for (Boxes::Kind const kind : {Boxes::Kind::paper, Boxes::Kind::inside, Boxes::Kind::uniform}) {
    PlanJob job = job_of(policy_of(Policy::Kind::cutmix, Fold::none, kind));
    job.spatial[1] = 1;  // on which no side below 1 fits
    for (std::int32_t i = 0; i < 20; ++i) {
      EXPECT_EQ(draw_row(job, i, 5), (Row{5, 1, 0, 1, 0, {}})) << draw_row(job, i, 5);
    }
  }
}

TEST(DrawRow, OfMinMaxDoesNotUseLambda) {
  Policy policy = policy_of(Policy::Kind::cutmix, Fold::none, Boxes::Kind::min_max);
  for (int axis = 0; axis < 2; ++axis) {
    policy.side_lo[axis] = 2;
    policy.side_hi[axis] = 5;
  }
  PlanJob const job = job_of(policy);
  policy.law = make_beta_law(1e-3f, 5.0f);
  PlanJob const other = job_of(policy);
  for (std::int32_t i = 0; i < 20; ++i) EXPECT_EQ(draw_row(job, i, 5), draw_row(other, i, 5));
}

TEST(DrawRow, OfMinMaxReachesBothBoundsAndDrawsEachAxisApart) {
  Policy policy = policy_of(Policy::Kind::cutmix, Fold::none, Boxes::Kind::min_max);
  policy.side_lo[0] = 2, policy.side_hi[0] = 5;
  policy.side_lo[1] = 3, policy.side_hi[1] = 3;
  PlanJob const job = job_of(policy);
  std::set<std::int32_t> sides;
  for (std::int32_t i = 0; i < 100; ++i) {
    Box const box = draw_row(job, i, 5).box;
    sides.insert(box.hi[0] - box.lo[0]);
    EXPECT_EQ(box.hi[1] - box.lo[1], 3);
  }
  EXPECT_EQ(sides, (std::set<std::int32_t>{2, 3, 4, 5}));
}

TEST(DrawRow, OfAVolumePlacesEachAxisByWordsOfItsOwn) {
  PlanJob job = job_of(policy_of(Policy::Kind::cutmix, Fold::none, Boxes::Kind::inside));
  job.axes = 3;
  for (std::int32_t& length : job.spatial) length = 50;
  for (std::int32_t i = 0; i < 20; ++i) {
    auto const index = static_cast<std::uint64_t>(i);
    std::int32_t const side = box_side(lambda(index).partner, 50, 3);
    Words const first = draw_words(seed, index, step, Purpose::box_place, 0);
    Words const second = draw_words(seed, index, step, Purpose::box_place, 1);
    std::uint32_t const words[3][2] = {
        {first.w[0], first.w[1]}, {first.w[2], first.w[3]}, {second.w[0], second.w[1]}};
    Box const box = draw_row(job, i, 5).box;
    for (int axis = 0; axis < 3; ++axis) {
      Span const expected = place(Boxes::Kind::inside, side, 50, words[axis][0], words[axis][1]);
      EXPECT_EQ(box.lo[axis], expected.lo) << axis;
      EXPECT_EQ(box.hi[axis], expected.hi) << axis;
    }
  }
}

TEST(DrawRow, GivesEachTryOfTheSamplerABlockOfItsOwn) {
  Policy policy = policy_of(Policy::Kind::mixup);
  policy.law = make_beta_law(0.2f, 0.8f);  // by rejection
  PlanJob const job = job_of(policy);
  std::uint32_t most = 0;
  for (std::int32_t i = 0; i < 100; ++i) {
    Weight const expected = draw_beta(policy.law, [&](std::uint32_t block) {
      most = std::max(most, block);
      return draw_words(seed, static_cast<std::uint64_t>(i), step, Purpose::lambda, block);
    });
    EXPECT_EQ(draw_row(job, i, 5).outside, expected.own);
  }
  EXPECT_GT(most, 0u) << "some first tries were rejected";
}

TEST(DrawRow, ThatMeetsItselfKeepsItsDrawnWeights) {
  for (PlanJob const& job : {mixup, cutmix}) {
    for (std::int32_t i = 0; i < 20; ++i) {
      Row expected = draw_row(job, i, i + 1);
      expected.partner = i;
      EXPECT_EQ(draw_row(job, i, i), expected);
    }
  }
}

TEST(DrawRow, WithABadPartnerIsUnmixedButFlippedAsEver) {
  PlanJob job = mixup;
  job.flip = always;
  EXPECT_EQ(draw_row(job, 7, -1), (Row{7, 1, 1, 1, 1, {}}));
  expect_unmixed(draw_row(mixup, 7, -1), 7);
}

TEST(DrawRow, IsFlippedBySamplesWhateverElseIsDrawn) {
  for (std::int32_t i = 0; i < 20; ++i) {
    PlanJob job = mixup;
    job.granularity = Granularity::batch;
    job.draw.first = 1000;
    for (std::uint64_t const gate : {std::uint64_t{0}, always}) {
      job.gate = gate;
      job.flip = word(Purpose::flip, 1000 + static_cast<std::uint64_t>(i));
      EXPECT_EQ(draw_row(job, i, 5).flip, 0u);
      job.flip += 1;
      EXPECT_EQ(draw_row(job, i, 5).flip, 1u);
    }
  }
}

TEST(DrawnAt, IsTheGranularitysGlobalIndex) {
  struct {
    Granularity granularity;
    std::int64_t group;
    std::uint64_t first;
    std::int32_t sample, partner;
    std::uint64_t index;
  } constexpr cases[] = {
      {Granularity::sample, 0, 40, 3, 1, 43},
      {Granularity::sample, 4, 40, 3, 1, 43},
      {Granularity::pair, 0, 40, 3, 1, 41},
      {Granularity::pair, 0, 40, 1, 3, 41},
      {Granularity::pair, 4, 42, 3, 3, 45},
      {Granularity::batch, 0, 40, 0, 5, 40},
      {Granularity::batch, 0, 43, 9, 5, 43},
      {Granularity::batch, 4, 40, 3, 2, 40},
      {Granularity::batch, 4, 40, 4, 5, 44},
      {Granularity::batch, 4, 42, 0, 1, 40},  // a group that began before the call
      {Granularity::batch, 4, 42, 1, 0, 40},
      {Granularity::batch, 4, 42, 2, 3, 44},
      {Granularity::batch, 3, (std::uint64_t{1} << 32) + 1, 4, 3, (std::uint64_t{1} << 32) + 5},
      {Granularity::batch, std::int64_t{1} << 40, (std::uint64_t{1} << 41) + 7, 3, 3,
       std::uint64_t{1} << 41},
  };
  for (auto const& c : cases) {
    PlanJob job = mixup;
    job.granularity = c.granularity;
    job.group = c.group;
    job.draw.first = c.first;
    EXPECT_EQ(drawn_at(job, c.sample, c.partner), c.index) << c.first << " + " << c.sample;
    EXPECT_EQ(draw_row(job, c.sample, c.partner).outside, lambda(c.index).own);
    job.gate = word(Purpose::gate, c.index);
    expect_unmixed(draw_row(job, c.sample, c.partner), c.partner);
    job.gate = always;
    job.policy[0].below = word(Purpose::policy, c.index);
    expect_unmixed(draw_row(job, c.sample, c.partner), c.partner);
  }
}

TEST(DrawnAt, GivesBothOfAPairOneWeight) {
  Queue const queue = Queue::cpu(1);
  Plan plan(100, Device::cpu(), queue);
  for (Pairing const pairing : {Pairing::reverse, Pairing::pairs}) {
    for (std::int64_t const group : {0, 7}) {
      Spec const spec{{{CutMix{}, 1.0f}}, 1.0f, pairing, Granularity::pair, group};
      plan_into(plan, spec, {100, 2, {9, 7}, true}, {seed, step, 3}, queue);
      for (std::int32_t i = 0; i < 100; ++i) {
        Row row = plan.rows()[plan.rows()[i].partner];
        EXPECT_EQ(row.partner, i);
        row.partner = plan.rows()[i].partner;
        EXPECT_EQ(row, plan.rows()[i]);
      }
    }
  }
}

TEST(Groups, AreCutAtMultiplesOfTheGlobalIndex) {
  PlanJob job = mixup;
  for (std::int64_t const group : {0, 1, 2, 3, 7, 64}) {
    for (std::uint64_t const first : {0u, 1u, 5u, 6u, 63u, 64u, 1000u}) {
      for (std::int32_t const samples : {1, 2, 5, 7, 14, 70}) {
        job.group = group;
        job.draw.first = first;
        job.samples = samples;
        auto const global = [&](std::int32_t sample) {
          return group == 0 ? 0 : (static_cast<std::int64_t>(first) + sample) / group;
        };
        std::int32_t next = 0;
        for (std::int64_t index = 0; index < group_count(job); ++index) {
          Group const found = group_at(job, index);
          ASSERT_EQ(found.start, next) << group << " " << first << " " << samples;
          ASSERT_GT(found.size, 0);
          next = found.start + found.size;
          for (std::int32_t i = found.start; i < next; ++i) {
            ASSERT_EQ(group_of(job, i), index);
            ASSERT_EQ(global(i), global(found.start));
          }
          ASSERT_TRUE(next >= samples || global(next) != global(next - 1));
        }
        ASSERT_EQ(next, samples);
      }
    }
  }
}

TEST(GivenPartner, IsReadInItsTypeAndStrideAndCheckedAgainstTheBatch) {
  std::int64_t const wide[] = {5, 0, -1, 0, 100, 0, std::int64_t{1} << 32, 0, 99};
  std::int32_t const narrow[] = {5, -1, 100, -2147483647 - 1, 99};
  std::int32_t const expected[] = {5, -1, -1, -1, 99};
  PlanJob job = mixup;
  job.pairing = Pairing::given;
  for (bool const is_wide : {true, false}) {
    job.given = is_wide ? static_cast<void const*>(wide) : narrow;
    job.given_wide = is_wide;
    job.given_stride = is_wide ? 2 : 1;
    for (std::int32_t i = 0; i < 5; ++i) {
      EXPECT_EQ(given_partner(job, i), expected[i]);
      Link const link = unsorted_link(job, {0, 100}, i);
      EXPECT_TRUE(link.sample == i && link.partner == expected[i] && link.entry == ~i);
    }
  }
}

TEST(UnsortedLink, OfReplacementIsDrawnForEachSampleInItsGroup) {
  PlanJob job = mixup;
  job.pairing = Pairing::replacement;
  job.draw.first = 1000;
  Group const group{10, 6};
  std::set<std::int32_t> seen;
  for (std::int32_t k = 0; k < group.size; ++k) {
    Link const link = unsorted_link(job, group, k);
    Words const words =
        draw_words(seed, 1010 + static_cast<std::uint64_t>(k), step, Purpose::replacement);
    EXPECT_EQ(link.sample, 10 + k);
    EXPECT_EQ(link.partner, 10 + static_cast<std::int32_t>(below(6, words.w[0], words.w[1])));
    seen.insert(link.partner);
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST(Keyed, KeysAreSixtyFourBitsOfTheGlobalIndex) {
  PlanJob const job = job_of(mixup.policy[0], std::uint64_t{1} << 40);
  for (std::int32_t i = 0; i < 20; ++i) {
    Words const words = draw_words(seed, (std::uint64_t{1} << 40) + static_cast<std::uint64_t>(i),
                                   step, Purpose::pair_key);
    Keyed const key = keyed(job, i);
    EXPECT_EQ(key.sample, i);
    EXPECT_EQ(key.key, std::uint64_t{words.w[0]} << 32 | words.w[1]);
  }
}

}  // namespace
}  // namespace mixfuse::maths
