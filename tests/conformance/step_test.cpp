// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

class Step : public OnDevice {};

Spec random_spec(Random& random) {
  Spec spec;
  auto const share = [&] { return static_cast<float>(random.uniform()); };
  auto const fold = [&] { return static_cast<Fold>(random.below(3)); };
  float const first = share();
  Boxes const boxes{static_cast<Boxes::Kind>(random.below(4)), 0.2, 0.7};
  float const alpha = random.below(2) == 0 ? 1.0f : 0.2f;
  spec.policies = {
      {Mixup{{alpha, alpha}, fold()}, first},
      {CutMix{{1.0f, random.below(2) == 0 ? 1.0f : 2.5f}, fold(), boxes}, (1 - first) * share()}};
  spec.probability = random.below(2) == 0 ? 1.0f : share();
  spec.pairing = static_cast<Pairing>(random.below(6));
  bool const paired = spec.pairing == Pairing::pairs || spec.pairing == Pairing::reverse;
  spec.granularity = random.below(3) == 0 ? Granularity::batch
                     : paired             ? Granularity::pair
                                          : Granularity::sample;
  spec.group = random.below(2) == 0 ? 0 : 1 + random.below(6);
  spec.flip = random.below(2) == 0 ? 0.0f : share();
  return spec;
}

std::vector<std::int64_t> class_of_each(std::int64_t samples, Random& random) {
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < samples; ++i) classes.push_back(random.below(10));
  return classes;
}

TEST_F(Step, OneCallEqualsPlanThenMixThenLabel) {
  Random random(51);
  for (int k = 0; k < (small() ? 60 : 200); ++k) {
    std::int64_t const samples = 1 + random.below(12);
    Array const images = tagged(k % 2 == 0 ? DType::f32 : DType::u8, {samples, 2, 6, 5});
    Labels labels{ids(DType::i64, class_of_each(samples, random))};
    Target const target = k % 3 == 0 ? Target::sparse : Target::dense;
    if (target == Target::dense) labels.rule.smoothing = 0.1f;
    Draw const draw{random.bits(), random.bits() >> 16, random.bits() >> 17};
    Spec const spec = random_spec(random);

    Place const place = here();
    Plan plan = make_plan(place, spec, extents_of_array(images), draw);
    auto const rows = read_rows(plan, place.queue);
    Stepped const step = step_at(place, {images}, labels, plan, same_as(images), target, 10);
    expect_same(step.images, mix_at(place, {images}, rows, same_as(images)), "images");
    expect_same(step.targets, label_at(place, labels, rows, target, DType::f32, 10));
    expect_mixed(step.images, images, nullptr, rows);
    EXPECT_EQ(read_rows(plan, place.queue), rows) << "a plan was changed by its use";

    if (on_cuda()) {
      EXPECT_EQ(rows, drawn_rows(on_cpu(), spec, extents_of_array(images), draw));
      Plan other = make_plan(on_cpu(), spec, extents_of_array(images), draw);
      Stepped const expected =
          step_at(on_cpu(), {images}, labels, other, same_as(images), target, 10);
      expect_same(step.images, expected.images, "images");
      expect_same(step.targets, expected.targets);
    }
  }
}

TEST_F(Step, InPlaceEqualsOutOfPlace) {
  Random random(53);
  for (int k = 0; k < 40; ++k) {
    std::int64_t const samples = 1 + random.below(9);
    Array const images = tagged(DType::f16, {samples, 3, 5, 7});
    Labels const labels{ids(DType::i32, class_of_each(samples, random))};
    Spec spec = random_spec(random);
    if (spec.pairing == Pairing::replacement) spec.pairing = Pairing::cycle;
    Place const place = here();
    Plan plan = make_plan(place, spec, extents_of_array(images), {random.bits(), 0, 0});
    Stepped const out = step_at(place, {images}, labels, plan, same_as(images), Target::dense, 10);
    Stepped const in = step_in_place_at(place, images, labels, plan, Target::dense, 10);
    expect_same(in.images, out.images, "images");
    expect_same(in.targets, out.targets);
  }
}

TEST_F(Step, ASecondBatchBringsImagesAndLabels) {
  Random random(57);
  Array const images = tagged(DType::u8, {5, 2, 6, 5});
  Array other = images;
  for (std::int64_t i = 0; i < other.count(); ++i) other.set(i, random.below(256));
  auto const rows = random_rows(extents_of_array(images), random, Partners::any);
  Labels const labels{ids(DType::u8, class_of_each(5, random)),
                      ids(DType::u8, class_of_each(5, random))};
  Plan plan = make_plan(here(), rows, extents_of_array(images));
  Stepped const step =
      step_at(here(), {images, other}, labels, plan,
              {DType::bf16, Layout::by_rank, images.shape, {1, 2, 1}}, Target::dense, 10);
  expect_mixed(step.images, images, &other, rows);
  expect_targets(step.targets.dense(), labels.own, &*labels.second, rows, {});
}

TEST_F(Step, BadIdsSetTheErrorWordAndTheRestGoesOn) {
  Array const images = tagged(DType::f32, {4, 1, 3, 3});
  Labels const labels{ids(DType::i64, {0, 99, 2, -1})};
  std::vector<Row> const rows{{1, 0.5f, 0.5f, 0.5f, 0, {}},
                              {2, 0.5f, 0.5f, 0.5f, 0, {}},
                              {3, 0.5f, 0.5f, 0.5f, 0, {}},
                              {0, 0.5f, 0.5f, 0.5f, 0, {}}};
  for (bool const in_place : {false, true}) {
    Plan plan = make_plan(here(), rows, extents_of_array(images), {0, 12, 0});
    Stepped const step =
        in_place ? step_in_place_at(here(), images, labels, plan, Target::dense, 5)
                 : step_at(here(), {images}, labels, plan, same_as(images), Target::dense, 5);
    expect_mixed(step.images, images, nullptr, rows);
    expect_targets(step.targets.dense(), labels.own, nullptr, rows, {});
    EXPECT_EQ(step.targets.error.sample(), 1);
    EXPECT_EQ(step.targets.error.step(), 12u);
  }
}

TEST_F(Step, OfNoSamplesWritesNothingAndOfOneCopies) {
  for (std::int64_t const samples : {0, 1}) {
    Array const images = tagged(DType::f32, {samples, 2, 3, 4});
    Labels const labels{
        ids(DType::i64, std::vector<std::int64_t>(static_cast<std::size_t>(samples), 3))};
    for (Pairing const pairing : {Pairing::permutation, Pairing::cycle, Pairing::pairs,
                                  Pairing::reverse, Pairing::roll, Pairing::replacement}) {
      for (Spec spec : {mixup_spec(), cutmix_spec()}) {
        spec.pairing = pairing;
        Plan plan = make_plan(here(), spec, extents_of_array(images), {4, 4, 4});
        Stepped const step =
            step_at(here(), {images}, labels, plan, same_as(images), Target::dense, 5);
        expect_same(step.images, images, "a batch of 0 or 1");
        for (std::int64_t k = 0; k < 5 * samples; ++k) {
          EXPECT_EQ(step.targets.dense().get(k), k == 3 ? 1 : 0);
        }
      }
    }
  }
}

TEST_F(Step, ImagesWithoutPixelsStillGetTheirTargets) {
  for (Shape const& shape : {Shape{3, 0, 4, 5}, Shape{3, 2, 0, 5}, Shape{3, 2, 4, 0}}) {
    Array const images(DType::f32, shape);
    Labels const labels{ids(DType::i64, {0, 1, 2})};
    Plan plan = make_plan(here(), mixup_spec(), extents_of_array(images), {1, 1, 1});
    auto const rows = read_rows(plan, here().queue);
    Stepped const out = step_at(here(), {images}, labels, plan, same_as(images), Target::dense, 3);
    expect_targets(out.targets.dense(), labels.own, nullptr, rows, {});
    Stepped const in = step_in_place_at(here(), images, labels, plan, Target::dense, 3);
    expect_same(in.targets, out.targets);
  }
}

TEST_F(Step, OneWeightForTheBatchEqualsTheSameWeightInEachRow) {
  Array const images = tagged(DType::f32, {6, 2, 5, 4});
  Spec spec = mixup_spec();
  spec.granularity = Granularity::batch;
  auto const drawn = drawn_rows(here(), spec, extents_of_array(images), {3, 3, 3});
  auto by_hand = drawn;
  for (Row& row : by_hand) row.outside = row.inside = row.label = drawn[0].label;
  expect_same(mix_at(here(), {images}, drawn, same_as(images)),
              mix_at(here(), {images}, by_hand, same_as(images)), "one weight");
}

TEST_F(Step, EveryNumberOfThreadsGivesTheSameBytes) {
  Random random(61);
  for (int k = 0; k < 20; ++k) {
    Spec const spec = random_spec(random);
    Array const images = tagged(DType::bf16, {33, 2, 6, 5});
    Labels const labels{ids(DType::i64, class_of_each(33, random))};
    std::vector<Stepped> results;
    std::vector<std::vector<Row>> rows;
    for (int const threads : {1, 2, 7}) {
      Plan plan = make_plan(on_cpu(threads), spec, extents_of_array(images), {7, 7, 7});
      rows.push_back(read_rows(plan, on_cpu().queue));
      results.push_back(
          step_at(on_cpu(threads), {images}, labels, plan, same_as(images), Target::dense, 10));
      EXPECT_EQ(rows.back(), rows.front());
      expect_same(results.back().images, results.front().images, "images");
      expect_same(results.back().targets, results.front().targets);
    }
  }
}

TEST_F(Step, TheSplitOfAGlobalBatchIntoAlignedGroupsDoesNotMatter) {
  // 512 samples at once, or 100 + 412, or 512 from the middle of a data set.
  for (Granularity const granularity : {Granularity::sample, Granularity::batch}) {
    for (Pairing const pairing : {Pairing::permutation, Pairing::cycle, Pairing::pairs,
                                  Pairing::reverse, Pairing::roll, Pairing::replacement}) {
      for (std::uint64_t const first :
           {std::uint64_t{0}, std::uint64_t{4000}, std::uint64_t{1} << 40}) {
        Spec spec = cutmix_spec();
        spec.pairing = pairing;
        spec.granularity = granularity;
        spec.group = 4;
        spec.flip = 0.5f;
        auto whole = drawn_rows(here(), spec, image(512, 8, 9), {5, 6, first});
        auto const head = drawn_rows(here(), spec, image(100, 8, 9), {5, 6, first});
        auto const tail = drawn_rows(here(), spec, image(412, 8, 9), {5, 6, first + 100});
        for (std::size_t i = 0; i < 512; ++i) {
          Row const& part = i < 100 ? head[i] : tail[i - 100];
          if (i >= 100) whole[i].partner -= 100;
          ASSERT_EQ(whole[i], part) << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse::test
