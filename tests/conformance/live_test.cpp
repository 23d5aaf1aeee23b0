// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>

#include "kernels/maths/philox.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::test {
namespace {

constexpr std::uint64_t limit = std::uint64_t{1} << 48;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

Spec busy(Pairing pairing = Pairing::permutation, Granularity granularity = Granularity::sample,
          std::int64_t group = 0) {
  Spec spec;
  spec.policies = {{Mixup{{0.3f, 0.3f}, Fold::none}, 0.4f}, {CutMix{{1.0f, 2.0f}}, 0.4f}};
  spec.probability = 0.9f;
  spec.flip = 0.5f;
  spec.pairing = pairing;
  spec.granularity = granularity;
  spec.group = group;
  return spec;
}

/// A plan from a draw that lives beside it, at a place.
struct Living {
  Living(Place where, std::int64_t capacity, Draw draw)
      : place{where}, draws{where, {draw}}, plan{capacity, where.device, where.queue} {}

  std::vector<Row> rows(Spec const& spec, Extents const& batch, Schedule schedule = {}) {
    plan_into(plan, spec, batch, Live(draws.data(), schedule), place.queue);
    return read_rows(plan, place.queue);
  }
  [[nodiscard]] Draw draw() const { return draws.get()[0]; }
  void set(Draw draw) { draws.set({draw}); }

  Place place;
  Values<Draw> draws;
  Plan plan;
};

void expect_draw(Draw got, Draw expected) {
  EXPECT_EQ(got.seed, expected.seed);
  EXPECT_EQ(got.step, expected.step);
  EXPECT_EQ(got.first, expected.first);
}

struct Way {
  char const* name;
  Spec spec;
  friend std::ostream& operator<<(std::ostream& out, Way const& way) { return out << way.name; }
};

class LiveEach : public OnDeviceWith<Way> {};
class LiveOf : public OnDevice {};

// Of samples that a block sorts, and of some that take the device.
class LiveSized : public OnDeviceWith<std::int64_t> {
 protected:
  void SetUp() override {
    OnDeviceWith::SetUp();
    if (GetParam() > 1000 && !calls::is_schedule("0")) {
      GTEST_SKIP() << "one of an emulator's schedules is enough for so many samples";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Samples, LiveSized, testing::Values(1000, 4200));

TEST_P(LiveEach, PlanNIsTheEagerOneOfStepN) {
  Spec const& spec = GetParam().spec;
  for (std::int64_t const samples : {1, 2, 33, 300, 4500}) {
    Extents const batch = image(samples, 9, 7);
    Draw draw{5, 0xffffffff, limit - 5000};  // the step's low word ends
    Living living(here(), samples, draw);
    int const steps = samples < 1000 ? 10 : 2;
    for (int n = 0; n < steps; ++n, ++draw.step) {
      ASSERT_EQ(living.rows(spec, batch), drawn_rows(on_cpu(), spec, batch, draw))
          << samples << " samples, step " << n;
    }
    expect_draw(living.draw(), draw);
    EXPECT_FALSE(error_of(living.plan, here()));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, LiveEach,
    testing::Values(Way{"permutation", busy()}, Way{"cycle", busy(Pairing::cycle)},
                    Way{"pairs", busy(Pairing::pairs)},
                    Way{"pair_of_pairs", busy(Pairing::pairs, Granularity::pair)},
                    Way{"pair_of_reverse", busy(Pairing::reverse, Granularity::pair)},
                    Way{"roll", busy(Pairing::roll)},
                    Way{"replacement", busy(Pairing::replacement)},
                    Way{"batch", busy(Pairing::permutation, Granularity::batch)},
                    Way{"groups_of_7", busy(Pairing::permutation, Granularity::batch, 7)},
                    Way{"groups_of_7_pairs", busy(Pairing::pairs, Granularity::pair, 7)},
                    Way{"groups_of_64_roll", busy(Pairing::roll, Granularity::sample, 64)}),
    [](auto const& info) { return info.param.name; });

TEST_F(LiveOf, GroupsThatTheBatchCutsAnywhereAreRight) {
  Spec const spec = busy(Pairing::cycle, Granularity::batch, 5);
  Living living(here(), 21, {});
  for (std::uint64_t first = 0; first < 6; ++first) {
    for (std::int64_t samples = 1; samples <= 21; samples += 4) {
      Draw const draw{1, 2, first};
      living.set(draw);
      ASSERT_EQ(living.rows(spec, image(samples, 5, 5)),
                drawn_rows(on_cpu(), spec, image(samples, 5, 5), draw));
    }
  }
}

TEST_F(LiveOf, ABatchOfNoSamplesAdvancesTheStepAndWritesNothingElse) {
  std::size_t const size = Plan::bytes(7, test_device());
  Buffer const memory(here(), size);
  Plan plan(7, test_device(), memory.data(), size, test_queue());
  plan_into(plan, busy(), image(7, 4, 4), Draw{1, 2, 3}, test_queue());
  (void)read_rows(plan, test_queue());
  Bytes const before = memory.read();
  Values<Draw> const draws(here(), {{9, 8, 7}});
  Values<float> const bad(here(), {nan, nan, nan, nan});
  Schedule const schedule{reinterpret_cast<Beta const*>(bad.data()), bad.data(), bad.data()};
  for (Pairing const pairing : {Pairing::permutation, Pairing::roll}) {
    for (std::int64_t const group : {0, 3}) {
      Spec const spec = busy(pairing, Granularity::sample, group);
      plan_into(plan, spec, image(0, 4, 4), Live(draws.data()), test_queue());
      plan_into(plan, spec, image(0, 4, 4), Live(draws.data(), schedule), test_queue());
    }
  }
  expect_draw(draws.get()[0], {9, 16, 7});
  EXPECT_EQ(plan.extents().samples, 0);
  EXPECT_EQ(memory.read(), before);
}

TEST_P(LiveSized, AlphasAreThoseOfTheMoment) {
  Place const place = here();
  Extents const batch = image(GetParam(), 9, 7);
  Living living(place, batch.samples, {3, 0, 0});
  Values<Beta> weights(place, {{}, {}});
  Spec spec = busy();
  Spec off = spec;  // what the spec says of them does not matter
  std::get<Mixup>(off.policies[0].policy).weight = {0, 0};
  std::get<CutMix>(off.policies[1].policy).weight = {0, 0};
  std::uint64_t step = 0;
  for (auto const& [mixup, cutmix] : {std::pair<Beta, Beta>{{1, 1}, {1, 1}},
                                      {{0.2f, 0.2f}, {3, 0.5f}},
                                      {{0, 0}, {1, 1}},
                                      {{1e-6f, 1e6f}, {1e6f, 1e-6f}},
                                      {{1e6f, 1e-6f}, {0, 0}},
                                      {{0, 0}, {0, 0}},
                                      {{1e6f, 1e6f}, {1e-6f, 1e-6f}},
                                      {{0.5f, 4}, {4, 0.5f}}}) {
    weights.set({mixup, cutmix});
    std::get<Mixup>(spec.policies[0].policy).weight = mixup;
    std::get<CutMix>(spec.policies[1].policy).weight = cutmix;
    ASSERT_EQ(living.rows(off, batch, {weights.data(), nullptr, nullptr}),
              drawn_rows(on_cpu(), spec, batch, {3, step, 0}))
        << step;
    ++step;
  }
  EXPECT_FALSE(error_of(living.plan, place));
}

TEST_P(LiveSized, ProbabilitiesAreThoseOfTheMoment) {
  Place const place = here();
  Extents const batch = image(GetParam(), 9, 7);
  Living living(place, batch.samples, {3, 0, 0});
  Values<float> shares(place, {0, 0}), probability(place, {0});
  Spec spec = busy();
  std::uint64_t step = 0;
  for (auto const& [first, second, all] : {std::tuple<float, float, float>{1, 0, 1},
                                           {0, 1, 0.5f},
                                           {0.3f, 0.7f, 1},
                                           {1.0f / 3, 2.0f / 3, 0.999f},
                                           {0.25f, 0.125f, 0.75f},
                                           {0, 0, 1},
                                           {0.5f, 0.5f, 0}}) {
    shares.set({first, second});
    probability.set({all});
    spec.policies[0].probability = first;
    spec.policies[1].probability = second;
    spec.probability = all;
    ASSERT_EQ(living.rows(busy(), batch, {nullptr, shares.data(), probability.data()}),
              drawn_rows(on_cpu(), spec, batch, {3, step, 0}))
        << step;
    ++step;
  }
  EXPECT_FALSE(error_of(living.plan, place));
}

TEST_P(LiveSized, AScheduleIsFollowedWhole) {
  Place const place = here();
  Extents const batch = image(GetParam(), 5, 5);
  Living living(place, batch.samples, {3, 9, 0});
  Values<Beta> const weights(place, {{2, 5}, {0, 0}});
  Values<float> const shares(place, {0.6f, 0.2f}), probability(place, {0.8f});
  Spec spec = busy();
  spec.policies = {{Mixup{{2, 5}, Fold::none}, 0.6f}, {CutMix{{0, 0}}, 0.2f}};
  spec.probability = 0.8f;
  EXPECT_EQ(living.rows(busy(), batch, {weights.data(), shares.data(), probability.data()}),
            drawn_rows(on_cpu(), spec, batch, {3, 9, 0}));
  EXPECT_EQ(living.draw().step, 10u);
}

TEST_P(LiveSized, AsManyPoliciesAsThereCanBeAreScheduled) {
  Place const place = here();
  Extents const batch = image(GetParam(), 9, 7);
  for (int const count : {1, 3, max_policies}) {
    Spec spec = busy();
    spec.policies.clear();
    std::vector<Beta> alphas;
    std::vector<float> parts;
    for (int k = 0; k < count; ++k) {
      float const size = static_cast<float>(k) + 0.5f;
      alphas.push_back({size, 2});
      parts.push_back(0.9f / static_cast<float>(count));
      if (k % 2 == 0) {
        spec.policies.push_back({Mixup{alphas.back()}, parts.back()});
      } else {
        spec.policies.push_back({CutMix{alphas.back()}, parts.back()});
      }
    }
    Spec other = spec;  // in all that is scheduled
    for (int k = 0; k < count; ++k) {
      auto& [policy, share] = other.policies[static_cast<std::size_t>(k)];
      share = 0;
      std::visit(
          [](auto& of) {
            if constexpr (requires { of.weight; }) of.weight = {1, 1};
          },
          policy);
    }
    Living living(place, batch.samples, {3, 9, 0});
    Values<Beta> weights(place, alphas);
    Values<float> const shares(place, parts);
    Schedule const schedule{weights.data(), shares.data(), nullptr};
    EXPECT_EQ(living.rows(other, batch, schedule), drawn_rows(on_cpu(), spec, batch, {3, 9, 0}));
    EXPECT_FALSE(error_of(living.plan, place));
    alphas.back() = {nan, 1};
    weights.set(alphas);
    living.rows(other, batch, schedule);
    EXPECT_EQ(error_of(living.plan, place).code(), ErrorWord::Code::weight);
    for (float const last : {nan, 1.0f}) {  // not a probability; with the others above 1
      if (count == 1 && last == 1.0f) continue;
      parts.back() = last;
      Values<float> const bad(place, parts);
      Living wrong(place, batch.samples, {3, 9, 0});
      wrong.rows(other, batch, {nullptr, bad.data(), nullptr});
      EXPECT_EQ(error_of(wrong.plan, place).code(), ErrorWord::Code::probability) << count;
    }
  }
}

// Of 2^32 words so many are below as the probability says, to the word.
TEST_P(LiveSized, AScheduledProbabilityIsExact) {
  Place const place = here();
  Extents const batch = image(GetParam(), 4, 4);
  Draw const draw{9, 8, 7};
  for (auto const purpose : {maths::Purpose::gate, maths::Purpose::policy}) {
    for (std::uint32_t const above : {0u, 1u}) {
      std::uint64_t at = 0;  // a sample whose word, or the one above it, is a float's share
      std::uint32_t bound = 1;
      for (; bound % 256 != 0; ++at) {
        bound = maths::draw_words(draw.seed, draw.first + at, draw.step, purpose).w[0] + above;
      }
      ASSERT_LE(at, static_cast<std::uint64_t>(batch.samples));
      Values<float> const probability(place, {static_cast<float>(bound) * 0x1p-32f});
      bool const is_gate = purpose == maths::Purpose::gate;
      Living living(place, batch.samples, draw);
      auto const rows = living.rows(mixup_spec(1e6f), batch,
                                    {nullptr, is_gate ? nullptr : probability.data(),
                                     is_gate ? probability.data() : nullptr});
      EXPECT_EQ(rows[at - 1].label != 1.0f, above == 1) << is_gate;
    }
  }
}

/// What is wrong in device memory, and what comes of it.
struct Bad {
  char const* name;
  ErrorWord::Code code;
  Draw draw = {3, 5, 2};
  std::vector<Beta> weights = {{1, 1}, {1, 1}};
  std::vector<float> shares = {0.5f, 0.5f};
  float probability = 1;
  bool any_size = false;  // also of batches above a block's reach, of each kind one
  friend std::ostream& operator<<(std::ostream& out, Bad const& bad) { return out << bad.name; }

  [[nodiscard]] Bad of_any_size() const {
    Bad bad = *this;
    bad.any_size = true;
    return bad;
  }
  [[nodiscard]] static Bad step(char const* name, std::uint64_t step) {
    return {name, ErrorWord::Code::draw, {3, step, 2}};
  }
  [[nodiscard]] static Bad first(char const* name, std::uint64_t first) {
    return {name, ErrorWord::Code::draw, {3, 4, first}};
  }
  [[nodiscard]] static Bad gate(char const* name, float probability) {
    Bad bad{name, ErrorWord::Code::probability};
    bad.probability = probability;
    return bad;
  }
  [[nodiscard]] static Bad share(char const* name, float first, float second) {
    Bad bad{name, ErrorWord::Code::probability};
    bad.shares = {first, second};
    return bad;
  }
  [[nodiscard]] static Bad weight(char const* name, Beta first, Beta second) {
    Bad bad{name, ErrorWord::Code::weight};
    bad.weights = {first, second};
    return bad;
  }
};

class LiveBad : public OnDeviceWith<Bad> {
 protected:
  /// The rows at a place, with the error word and the draw that are left.
  struct Outcome {
    std::vector<Row> rows;
    ErrorWord error;
    Draw draw;
  };

  [[nodiscard]] static Outcome outcome(Place place, Bad const& bad, std::int64_t samples) {
    Living living(place, samples, bad.draw);
    Values<Beta> const weights(place, bad.weights);
    Values<float> const shares(place, bad.shares), probability(place, {bad.probability});
    Spec spec = busy();
    spec.policies[0].probability = 0.5f;
    spec.policies[1].probability = 0.5f;
    auto rows = living.rows(spec, image(samples, 9, 7),
                            {weights.data(), shares.data(), probability.data()});
    return {std::move(rows), error_of(living.plan, place), living.draw()};
  }
};

TEST_P(LiveBad, ValuesSetTheErrorWordAndLeaveWhatDependsOnThemUnmixed) {
  using Code = ErrorWord::Code;
  Bad const& bad = GetParam();
  for (std::int64_t const samples : {1, 50, 4500}) {
    if (samples == 4500 && !bad.any_size) continue;
    Outcome const got = outcome(here(), bad, samples), expected = outcome(on_cpu(), bad, samples);
    ASSERT_EQ(got.rows, expected.rows);
    EXPECT_EQ(got.error.claim, expected.error.claim);
    EXPECT_EQ(got.error.first, expected.error.first);
    EXPECT_EQ(got.error.code(), bad.code);
    EXPECT_EQ(got.error.sample(), 0);
    bool const bad_step = bad.draw.step >= limit;
    EXPECT_EQ(got.error.step(), bad_step ? limit : bad.draw.step);
    Draw next = bad.draw;
    next.step += bad_step ? 0 : 1;
    expect_draw(got.draw, next);

    // The rest is what a legal draw without the bad policies gives.
    Spec rest = busy();
    rest.probability = bad.code == Code::weight ? 1.0f : 0.0f;
    if (bad.code == Code::draw) rest.flip = 0;
    rest.policies[0] = {Mixup{bad.weights[0]}, 0.5f};
    rest.policies[1] = {CutMix{bad.weights[1]}, 0.5f};
    if (bad.code == Code::weight) {
      auto const turn_off = [](Beta& weight) {
        auto const inside = [](float shape) { return shape >= 1e-6f && shape <= 1e6f; };
        if (!inside(weight.a) || !inside(weight.b)) weight = {0, 0};
      };
      turn_off(std::get<Mixup>(rest.policies[0].policy).weight);
      turn_off(std::get<CutMix>(rest.policies[1].policy).weight);
    }
    Draw legal = bad.draw;
    if (bad_step) legal.step = 0;
    if (bad.code == Code::draw) legal.first = 0;
    ASSERT_EQ(got.rows, drawn_rows(on_cpu(), rest, image(samples, 9, 7), legal));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, LiveBad,
    testing::Values(
        Bad::step("step_at_the_limit", limit), Bad::step("step_2_63", 1ULL << 63).of_any_size(),
        Bad::step("step_all_ones", ~0ULL), Bad::first("first_at_the_limit", limit).of_any_size(),
        Bad::first("first_all_ones", ~0ULL), Bad::gate("probability_nan", nan).of_any_size(),
        Bad::gate("probability_negative", -1e-6f), Bad::gate("probability_above_1", 1.000001f),
        Bad::gate("probability_infinite", infinity), Bad::share("share_nan", nan, 0.5f),
        Bad::share("second_share_nan", 0.5f, nan), Bad::share("share_negative", -0.25f, 0.5f),
        Bad::share("share_above_1", 0, 1.5f),
        Bad::share("shares_above_1_together", 0.75f, 0.5f).of_any_size(),
        Bad::weight("alpha_nan", {nan, 1}, {1, 1}), Bad::weight("beta_nan", {1, 1}, {1, nan}),
        Bad::weight("alpha_negative", {-1, 1}, {1, 1}),
        Bad::weight("both_negative", {1, 1}, {-1, -1}), Bad::weight("one_0", {0, 1}, {1, 1}),
        Bad::weight("other_0", {1, 0}, {1, 1}),
        Bad::weight("alpha_too_small", {1, 1}, {0.99e-6f, 1}),
        Bad::weight("beta_too_large", {1, 1.01e6f}, {1, 1}),
        Bad::weight("infinite", {infinity, infinity}, {1, 1}),
        Bad::weight("both", {nan, nan}, {-1, 0}).of_any_size()),
    [](auto const& info) { return info.param.name; });

TEST_F(LiveOf, TheSmallestCodeOfSeveralErrorsIsReported) {
  for (auto const& [step, probability, code] :
       {std::tuple{limit, nan, ErrorWord::Code::draw},
        std::tuple{std::uint64_t{5}, nan, ErrorWord::Code::probability},
        std::tuple{std::uint64_t{5}, 1.0f, ErrorWord::Code::weight}}) {
    Living living(here(), 9, {1, step, 0});
    Values<Beta> const weights(here(), {{nan, 1}, {1, 1}});
    Values<float> const gate(here(), {probability});
    living.rows(busy(), image(9, 4, 4), {weights.data(), nullptr, gate.data()});
    EXPECT_EQ(error_of(living.plan, here()).code(), code);
  }
}

TEST_F(LiveOf, AnErrorStaysUntilItIsClearedAndTheStepsAfterItAreRight) {
  Place const place = here();
  Living living(place, 30, {3, 0, 0});
  Values<float> probability(place, {1});
  Schedule const schedule{nullptr, nullptr, probability.data()};
  Spec spec = busy();
  for (float const value : {1.0f, nan, 1.0f, -1.0f, 1.0f}) {
    std::uint64_t const step = living.draw().step;
    probability.set({value});
    auto const rows = living.rows(busy(), image(30, 5, 5), schedule);
    spec.probability = value == 1.0f ? 1.0f : 0.0f;
    ASSERT_EQ(rows, drawn_rows(on_cpu(), spec, image(30, 5, 5), {3, step, 0}));
    EXPECT_EQ(static_cast<bool>(error_of(living.plan, place)), step > 0);
  }
  EXPECT_EQ(error_of(living.plan, place).step(), 1u);
  clear_error(living.plan, place.queue);
  EXPECT_FALSE(error_of(living.plan, place));
}

TEST_P(LiveSized, TheLastStepAndTheLastIndexAreDrawnAndTheNextAreNot) {
  Place const place = here();
  std::int64_t const samples = GetParam();
  Extents const batch = image(samples, 5, 5);
  std::uint64_t const first = limit - static_cast<std::uint64_t>(samples);
  Living living(place, samples, {1, limit - 2, first});
  for (std::uint64_t const step : {limit - 2, limit - 1}) {
    EXPECT_EQ(living.rows(busy(), batch), drawn_rows(on_cpu(), busy(), batch, {1, step, first}));
  }
  EXPECT_FALSE(error_of(living.plan, place));
  for (int k = 0; k < 2; ++k) {
    for (Row const& row : living.rows(busy(), batch)) EXPECT_EQ(row.label, 1.0f);
    EXPECT_EQ(error_of(living.plan, place).step(), limit);
    expect_draw(living.draw(), {1, limit, first});
  }
  clear_error(living.plan, place.queue);
  living.set({1, 7, first + 1});
  for (Row const& row : living.rows(busy(), batch)) EXPECT_EQ(row.label, 1.0f);
  EXPECT_EQ(error_of(living.plan, place).step(), 7u);
  living.rows(busy(), image(samples - 1, 5, 5));
  EXPECT_EQ(living.draw().step, 9u);
}

TEST_F(LiveOf, LargeStepsAndIndexesDoNotWrap) {
  std::set<float> weights;
  std::size_t drawn = 0;
  Spec const spec = mixup_spec();
  for (std::uint64_t const step :
       {0xffffffffULL, 0x100000000ULL, 0x100000001ULL, (1ULL << 48) - 1}) {
    for (std::uint64_t const first : {0xffffffffULL, 0x100000000ULL, (1ULL << 48) - 1}) {
      for (std::uint64_t const seed : {0ULL, 1ULL, 1ULL << 63, ~0ULL}) {
        Living living(here(), 1, {seed, step, first});
        weights.insert(living.rows(spec, image(1, 4, 4))[0].label);
        ++drawn;
      }
    }
  }
  EXPECT_EQ(weights.size(), drawn);
}

TEST_F(LiveOf, WhatTheHostCanKnowIsRefusedAndNothingMoves) {
  Place const place = here();
  Living living(place, 9, {1, 2, 3});
  auto const before = living.rows(busy(), image(9, 5, 5));
  Spec given = busy(), beyond = busy();
  given.pairing = Pairing::given;
  beyond.policies[0].probability = 2;
  auto const refused = [&](Spec const& spec, Extents const& batch, Draw* draw, Schedule schedule,
                           std::string const& name) {
    try {
      plan_into(living.plan, spec, batch, Live(draw, schedule), place.queue);
      ADD_FAILURE() << name << " was taken";
    } catch (invalid_argument const& error) {
      EXPECT_EQ(std::string(error.what()).find(name), 0u) << error.what();
    }
  };
  auto const odd = [](auto* at) {
    return reinterpret_cast<decltype(at)>(reinterpret_cast<std::uintptr_t>(at) + 1);
  };
  Draw* const draw = living.draws.data();
  Values<float> const values(place, {1, 1, 1, 1});
  float const* const floats = values.data();
  auto const* const betas = reinterpret_cast<Beta const*>(floats);
  Extents const batch = image(9, 5, 5);
  refused(busy(), batch, nullptr, {}, "live.draw");
  refused(busy(), batch, odd(draw), {}, "live.draw");
  refused(busy(), batch, odd(draw), {betas, floats, floats}, "live.draw");
  refused(busy(), batch, draw, {odd(betas), nullptr, nullptr}, "live.schedule.weights");
  refused(busy(), batch, draw, {nullptr, odd(floats), nullptr}, "live.schedule.probabilities");
  refused(busy(), batch, draw, {nullptr, nullptr, odd(floats)}, "live.schedule.probability");
  refused(given, batch, draw, {}, "spec.pairing");
  refused(beyond, batch, draw, {}, "spec.policies[0].probability");
  refused(busy(), image(10, 5, 5), draw, {}, "batch");
  auto* const rows = const_cast<Row*>(living.plan.rows());  // NOLINT
  refused(busy(), batch, reinterpret_cast<Draw*>(rows), {}, "live.draw");
  expect_draw(living.draw(), {1, 3, 3});
  EXPECT_EQ(read_rows(living.plan, place.queue), before);
}

}  // namespace
}  // namespace mixfuse::test
