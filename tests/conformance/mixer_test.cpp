// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/mixer.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <utility>

#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::test {
namespace {

constexpr std::int64_t classes = 5;

Spec switching(Pairing pairing = Pairing::permutation) {
  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.2f}}, 0.5f}, {CutMix{}, 0.5f}};
  spec.flip = 0.5f;
  spec.pairing = pairing;
  return spec;
}

void expect_draw(Draw got, Draw expected) {
  EXPECT_EQ(got.seed, expected.seed);
  EXPECT_EQ(got.step, expected.step);
  EXPECT_EQ(got.first, expected.first);
}

/// A batch's tensors at the device under test, and what the eager step makes of them.
struct Training {
  static inline std::int64_t width = 5;

  explicit Training(std::int64_t samples)
      : array{tagged(DType::u8, {samples, 3, 6, width})},
        classes_of{ids(DType::i64, ids_below(classes, samples))},
        images{here(), array},
        labels{here(), classes_of},
        out{here(), DType::u8, array.shape},
        targets{here(), DType::f32, {samples, classes}} {}

  void step(Mixer& mixer) { mixer({out, targets.view()}, {images, labels, {}, {}}, test_queue()); }
  void step_in_place(Mixer& mixer) {
    images.write(array);
    mix_over_images(mixer);
  }
  void mix_over_images(Mixer& mixer) {
    mixer.in_place({images, targets.view()}, labels, {}, test_queue());
  }

  void expect(Tensor const& mixed, Spec const& spec, Draw draw) const {
    Plan plan = make_plan(on_cpu(), spec, extents_of_array(array), draw);
    Stepped const expected =
        step_at(on_cpu(), {array}, {classes_of}, plan, same_as(array), Target::dense, classes);
    expect_same(mixed.read(), expected.images, "images");
    expect_same(targets.read(), expected.targets.dense(), "targets");
  }

  Array array, classes_of;
  Tensor images, labels, out, targets;
};

/// By the width of images. On a GPU those of 16 are aligned: a step is one launch, which draws the
/// next step's plan, else two.
class MixerOf : public OnDeviceWith<int> {
 protected:
  MixerOf() { Training::width = GetParam(); }

  [[nodiscard]] static Mixer make(Spec const& spec, Draw first, std::int64_t capacity) {
    return Mixer(spec, first, capacity, test_device(), test_queue());
  }
};

TEST_P(MixerOf, StepNIsTheEagerStepN) {
  for (Pairing const pairing : {Pairing::permutation, Pairing::reverse}) {
    Training training(9);
    Mixer mixer = make(switching(pairing), {3, 4, 5}, 9);
    for (std::uint64_t n = 0; n < 10; ++n) {
      training.step(mixer);
      training.expect(training.out, switching(pairing), {3, 4 + n, 5});
      EXPECT_EQ(read_rows(mixer.plan(), test_queue()),
                drawn_rows(on_cpu(), switching(pairing), mixer.plan().extents(), {3, 4 + n, 5}));
    }
    expect_draw(mixer.read_draw(test_queue()), {3, 14, 5});
  }
}

TEST_P(MixerOf, StepsQueuedAtOnceAreTheEagerSteps) {
  for (std::int64_t const samples : {5, 130}) {
    std::deque<Training> trainings;
    for (int n = 0; n < 24; ++n) trainings.emplace_back(samples);
    Mixer mixer = make(switching(), {3, 0, 5}, samples);
    auto const in_place = [](std::uint64_t n) { return n % 8 == 5; };
    std::uint64_t n = 0;
    for (Training& training : trainings) {
      if (n == 12) mixer.set_draw({3, 12, 5}, test_queue());
      in_place(n++) ? training.mix_over_images(mixer) : training.step(mixer);
    }
    Training nothing(0);
    nothing.step(mixer);
    Training more(samples), last(samples);
    more.step(mixer);
    last.step(mixer);
    more.expect(more.out, switching(), {3, n + 1, 5});
    last.expect(last.out, switching(), {3, n + 2, 5});
    n = 0;
    for (Training const& training : trainings) {
      training.expect(in_place(n) ? training.images : training.out, switching(), {3, n, 5});
      ++n;
    }
  }
}

// Whatever was drawn early, by whatever came between.
TEST_P(MixerOf, AnyOrderOfStepsIsTheEagerSteps) {
  for (Pairing const pairing : {Pairing::permutation, Pairing::pairs, Pairing::replacement}) {
    Spec spec = switching(pairing);
    if (pairing == Pairing::pairs) {
      spec.granularity = Granularity::pair;
      spec.group = 7;
    }
    Mixer mixer = make(spec, {3, 0, 5}, 34);
    Values<float> const probability(here(), {0.5f});
    Draw next{3, 0, 5};
    auto const step = [&](std::int64_t samples, Spec const& by) {
      Training training(samples);
      training.step(mixer);
      training.expect(training.out, by, next);
      EXPECT_EQ(read_rows(mixer.plan(), test_queue()),
                drawn_rows(on_cpu(), by, mixer.plan().extents(), next));
      ++next.step;
    };
    auto const set = [&](Draw draw) { mixer.set_draw(next = draw, test_queue()); };
    step(34, spec);
    step(34, spec);
    step(9, spec);
    step(34, spec);
    step(34, spec);
    set({3, 5, 5});  // the step that comes anyway
    step(34, spec);
    set({3, 4, 5});  // whose rows another took the place of
    step(34, spec);
    set({3, 6, 5});
    step(34, spec);
    set({3, 7, 6});
    step(34, spec);
    set({4, 8, 6});
    step(34, spec);
    Spec rarer = spec;
    rarer.probability = 0.5f;
    mixer.follow({nullptr, nullptr, probability.data()});
    step(34, rarer);
    mixer.follow({});
    step(34, spec);
    Training::width += 16;
    step(34, spec);
    Training::width -= 16;
    if (pairing != Pairing::replacement) {
      Training training(34);
      training.step_in_place(mixer);
      training.expect(training.images, spec, next);
      ++next.step;
    }
    step(34, spec);
    set({3, (std::uint64_t{1} << 48) - 1, 5});
    step(34, spec);
    expect_draw(mixer.read_draw(test_queue()), next);
    Training training(34);
    training.step(mixer);  // there is no step 2^48
    Spec none = spec;
    none.policies.clear();
    none.flip = 0;
    training.expect(training.out, none, {3, 0, 5});
    ErrorWord const error = error_of(mixer.plan(), here());
    EXPECT_EQ(error.code(), ErrorWord::Code::draw);
    EXPECT_EQ(error.step(), next.step);
    expect_draw(mixer.read_draw(test_queue()), next);
  }
}

TEST_P(MixerOf, LabelsMayBeLeftOut) {
  Training training(9);
  Mixer mixer = make(switching(), {3, 4, 5}, 9);
  auto const expect_images = [&](Tensor const& mixed, std::uint64_t step) {
    Plan plan = make_plan(on_cpu(), switching(), extents_of_array(training.array), {3, step, 5});
    expect_same(mixed.read(), mix_at(on_cpu(), {training.array}, plan, same_as(training.array)),
                "images");
  };
  mixer({training.out}, {training.images.view()}, test_queue());
  expect_images(training.out, 4);
  mixer.in_place({training.images}, {}, {}, test_queue());
  expect_images(training.images, 5);
  EXPECT_THROW(
      mixer({training.out, training.targets.view()}, {training.images.view()}, test_queue()),
      invalid_argument);
  EXPECT_THROW(mixer({training.out}, {training.images, training.labels, {}, {}}, test_queue()),
               invalid_argument);
}

TEST_P(MixerOf, StepsInPlaceAreTheSame) {
  Training training(9);
  for (Pairing const pairing : {Pairing::permutation, Pairing::pairs, Pairing::reverse}) {
    for (std::int64_t const group : {0, 4}) {
      Spec spec = switching(pairing);
      spec.group = group;
      Mixer mixer = make(spec, {3, 0, 5}, 9);
      for (std::uint64_t n = 0; n < 3; ++n) {
        training.step_in_place(mixer);
        training.expect(training.images, spec, {3, n, 5});
      }
    }
  }
}

TEST_P(MixerOf, BatchesBelowTheCapacityAreServed) {
  Mixer mixer = make(switching(), {3, 0, 0}, 16);
  std::uint64_t n = 0;
  for (std::int64_t const samples : {16, 3, 0, 1, 15, 2}) {
    Training training(samples);
    training.step(mixer);
    training.expect(training.out, switching(), {3, n++, 0});
    training.step_in_place(mixer);
    training.expect(training.images, switching(), {3, n++, 0});
  }
  expect_draw(mixer.read_draw(test_queue()), {3, n, 0});
  Training training(17);
  EXPECT_THROW(training.step(mixer), invalid_argument);
  expect_draw(mixer.read_draw(test_queue()), {3, n, 0});
}

TEST_P(MixerOf, AcceptsASecondBatchAndNormalises) {
  Array const images = tagged(DType::u8, {6, 3, 4, Training::width});
  Array other = images;
  for (std::int64_t i = 0; i < other.count(); ++i) other.set(i, i * 31 % 256);
  Normalise const normalise{3, {0.4, 0.5, 0.6}, {0.2, 0.25, 0.3}};
  auto const mixed = [&](Place place, auto&& step) {
    Tensor const own(place, images), partners(place, other);
    Tensor const ids_own(place, ids(DType::i64, {0, 1, 2, 3, 4, 0}));
    Tensor const ids_partners(place, ids(DType::i64, {4, 4, 3, 2, 1, 0}));
    Tensor const out(place, DType::bf16, images.shape), targets(place, DType::f32, {6, classes});
    step(Mixed{out, targets.view()},
         Originals{
             {own.view(), partners.view()}, {ids_own.view(), ids_partners.view()}, {}, normalise});
    return std::pair(out.read(), targets.read());
  };
  auto const got = mixed(here(), [](Mixed const& out, Originals const& in) {
    Mixer mixer = make(switching(), {1, 2, 3}, 6);
    mixer(out, in, test_queue());
  });
  auto const expected = mixed(on_cpu(), [&](Mixed const& out, Originals const& in) {
    Plan plan = make_plan(on_cpu(), switching(), extents_of_array(images), {1, 2, 3});
    step_into(out, in, plan, on_cpu().queue);
  });
  expect_same(got.first, expected.first, "images");
  expect_same(got.second, expected.second, "targets");
}

TEST_P(MixerOf, ContinuesFromACheckpoint) {
  Training training(9);
  Mixer mixer = make(switching(), {3, 4, 5}, 9);
  training.step(mixer);
  training.step(mixer);
  Draw kept{};
  mixer.draw_into(&kept, test_queue());
  expect_draw(mixer.read_draw(test_queue()), {3, 6, 5});  // waits
  expect_draw(kept, {3, 6, 5});
  training.step(mixer);
  Array const images = training.out.read(), targets = training.targets.read();

  Mixer resumed = make(switching(), kept, 9);
  training.step(resumed);
  expect_same(training.out.read(), images, "images");
  expect_same(training.targets.read(), targets, "targets");

  mixer.set_draw(kept, test_queue());
  training.step(mixer);
  expect_same(training.out.read(), images, "images");
  expect_draw(mixer.read_draw(test_queue()), {3, 7, 5});
}

TEST_P(MixerOf, FollowsASchedule) {
  Training training(9);
  Mixer mixer = make(switching(), {3, 0, 0}, 9);
  Values<Beta> weights(here(), {{2, 2}, {0, 0}});
  Values<float> probability(here(), {0.5f});
  Spec spec = switching();
  training.step(mixer);
  training.expect(training.out, spec, {3, 0, 0});
  mixer.follow({weights.data(), nullptr, probability.data()});
  spec.policies = {{Mixup{{2, 2}}, 0.5f}, {CutMix{{0, 0}}, 0.5f}};
  spec.probability = 0.5f;
  training.step(mixer);
  training.expect(training.out, spec, {3, 1, 0});
  weights.set({{0, 0}, {1, 3}});
  probability.set({1.0f});
  spec.policies = {{Mixup{{0, 0}}, 0.5f}, {CutMix{{1, 3}}, 0.5f}};
  spec.probability = 1;
  training.step(mixer);
  training.expect(training.out, spec, {3, 2, 0});
  mixer.follow({});
  training.step(mixer);
  training.expect(training.out, switching(), {3, 3, 0});
}

TEST_P(MixerOf, ABadIdOrABadScheduleSetsTheErrorWordOfItsStep) {
  Training training(9);
  Mixer mixer = make(switching(), {3, 4, 5}, 9);
  training.step(mixer);
  EXPECT_FALSE(error_of(mixer.plan(), here()));
  training.labels.write(ids(DType::i64, {0, 1, 2, 3, 4, 99, 0, 99, 0}));
  training.step(mixer);
  training.step(mixer);
  ErrorWord error = error_of(mixer.plan(), here());
  EXPECT_EQ(error.code(), ErrorWord::Code::label);
  EXPECT_EQ(error.step(), 5u);
  EXPECT_EQ(error.sample(), 5);
  mixer.clear_error(test_queue());
  EXPECT_FALSE(error_of(mixer.plan(), here()));

  training.labels.write(training.classes_of);
  Values<float> const bad(here(), {std::numeric_limits<float>::quiet_NaN()});
  mixer.follow({nullptr, nullptr, bad.data()});
  training.step(mixer);
  error = error_of(mixer.plan(), here());
  EXPECT_EQ(error.code(), ErrorWord::Code::probability);
  EXPECT_EQ(error.step(), 7u);
  Spec unmixed = switching();
  unmixed.probability = 0;
  training.expect(training.out, unmixed, {3, 7, 5});
}

TEST_P(MixerOf, ARefusedStepLeavesPlanAndDrawAsTheyWere) {
  Training training(9), other(8);
  Mixer mixer = make(switching(), {3, 4, 5}, 9);
  auto const refused = [&](TensorView out, Samples images, Targets targets, Samples labels) {
    EXPECT_THROW(mixer({out, targets}, {images, labels, {}, {}}, test_queue()), invalid_argument);
  };
  auto const refuse_all = [&] {
    refused(other.out, training.images, training.targets.view(), training.labels);
    refused(training.out, training.images, other.targets.view(), training.labels);
    refused(training.out, training.images, training.targets.view(), other.labels);
    refused(training.images, training.images, training.targets.view(), training.labels);
    refused(other.out, other.images, training.targets.view(), other.labels);
    EXPECT_THROW(
        mixer.in_place({training.images, other.targets.view()}, training.labels, {}, test_queue()),
        invalid_argument);
  };
  refuse_all();
  expect_draw(mixer.read_draw(test_queue()), {3, 4, 5});
  EXPECT_EQ(mixer.plan().extents().samples, 0);
  Plan untouched(9, test_device(), test_queue());
  EXPECT_TRUE(read_rows(mixer.plan(), test_queue()).empty());
  training.step(mixer);
  auto const rows = read_rows(mixer.plan(), test_queue());
  refuse_all();
  expect_draw(mixer.read_draw(test_queue()), {3, 5, 5});
  EXPECT_EQ(read_rows(mixer.plan(), test_queue()), rows);
  training.step(mixer);
  training.expect(training.out, switching(), {3, 5, 5});
}

TEST_P(MixerOf, PairingsWithoutAPermutationAreRefusedInPlaceOnly) {
  Training training(9);
  Mixer mixer = make(switching(Pairing::replacement), {3, 4, 5}, 9);
  EXPECT_THROW(training.step_in_place(mixer), invalid_argument);
  training.step(mixer);
  training.expect(training.out, switching(Pairing::replacement), {3, 4, 5});
}

TEST_P(MixerOf, ABadSpecOrDrawIsRefusedWhenItIsMade) {
  Spec bad = switching();
  bad.probability = 2;
  EXPECT_THROW((void)make(bad, {}, 9), invalid_argument);
  EXPECT_THROW((void)make(switching(Pairing::given), {}, 9), invalid_argument);
  EXPECT_THROW((void)make(switching(), {0, std::uint64_t{1} << 48, 0}, 9), invalid_argument);
  EXPECT_THROW((void)make(switching(), {}, -1), invalid_argument);
  Mixer mixer = make(switching(), {1, 2, 3}, 9);
  EXPECT_THROW(mixer.set_draw({0, 0, ~std::uint64_t{0}}, test_queue()), invalid_argument);
  EXPECT_THROW(mixer.draw_into(nullptr, test_queue()), invalid_argument);
  expect_draw(mixer.read_draw(test_queue()), {1, 2, 3});
}

TEST_P(MixerOf, AMovedMixerGoesOn) {
  Training training(9);
  Mixer first = make(switching(), {3, 4, 5}, 9);
  training.step(first);
  Mixer second = std::move(first);
  training.step(second);
  training.expect(training.out, switching(), {3, 5, 5});
}

TEST_P(MixerOf, EveryNumberOfThreadsGivesTheSameBytes) {
  Array const images = tagged(DType::f32, {33, 2, 6, 5});
  Array const labels = ids(DType::i64, ids_below(classes, 33));
  std::vector<Array> results;
  for (int const threads : {1, 2, 7}) {
    Place const place = on_cpu(threads);
    Mixer mixer(switching(), {1, 2, 3}, 33, place.device, place.queue);
    Tensor const in(place, images), ids_in(place, labels), out(place, DType::f32, images.shape),
        targets(place, DType::f32, {33, classes});
    for (int n = 0; n < 3; ++n) {
      mixer({out, targets.view()}, {in, ids_in, {}, {}}, place.queue);
    }
    results.push_back(out.read());
    expect_same(results.back(), results.front(), "images");
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, MixerOf, testing::Values(5, 16));

}  // namespace
}  // namespace mixfuse::test
