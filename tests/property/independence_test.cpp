// SPDX-License-Identifier: Apache-2.0

// What must not know of each other. Each seed is the first 64 bits of SHA-256 of its test's name.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/poisson.hpp>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse {
namespace {

constexpr double significance = 1e-6;

std::vector<Row> rows_of(Spec const& spec, std::int64_t count, Draw draw) {
  Queue const queue = Queue::cpu(1);
  Plan plan(count, Device::cpu(), queue);
  plan_into(plan, spec, {count, 2, {8, 8}, true}, draw, queue);
  return {plan.rows(), plan.rows() + count};
}

Spec spec_of(std::vector<Choice> policies) {
  Spec spec;
  spec.policies = std::move(policies);
  spec.pairing = Pairing::roll;
  return spec;
}

/// Uniform in [0, 1].
std::vector<float> lambdas(std::int64_t count, Draw draw) {
  std::vector<float> values;
  for (Row const& row : rows_of(spec_of({{Mixup{}, 1.0f}}), count, draw)) {
    values.push_back(row.outside);
  }
  return values;
}

/// Something drawn for each sample, uniform over `cells`.
struct Feature {
  char const* name;
  std::size_t cells;
  std::vector<std::size_t> cell = {};
};

std::size_t cell_of(float lambda, std::size_t cells) {
  return std::min(cells - 1, static_cast<std::size_t>(lambda * static_cast<float>(cells)));
}

Feature octiles(char const* name, std::vector<float> const& values, std::size_t cells) {
  Feature feature{name, cells};
  for (float const value : values) feature.cell.push_back(cell_of(value, cells));
  return feature;
}

/// Whatever `given` is, `free` is uniform.
void expect_independent(Feature const& given, Feature const& free) {
  ASSERT_EQ(given.cell.size(), free.cell.size());
  std::vector<double> counts(given.cells * free.cells), rows(given.cells);
  for (std::size_t i = 0; i < free.cell.size(); ++i) {
    ++counts[given.cell[i] * free.cells + free.cell[i]];
    ++rows[given.cell[i]];
  }
  double statistic = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    double const expected = rows[k / free.cells] / static_cast<double>(free.cells);
    ASSERT_GT(expected, 5) << given.name << ", cell " << k / free.cells;
    statistic += (counts[k] - expected) * (counts[k] - expected) / expected;
  }
  auto const degrees = static_cast<double>(given.cells * (free.cells - 1));
  double const p =
      boost::math::cdf(boost::math::complement(boost::math::chi_squared(degrees), statistic));
  EXPECT_GE(p, significance) << free.name << " with " << given.name << ": " << statistic;
  if (counts.size() >= 5) {
    EXPECT_LE(p, 1 - significance) << free.name << " with " << given.name << ": too good";
  }
}

/// How many pairs, one of each, are equal.
double equalities(std::vector<float> one, std::vector<float> other) {
  std::sort(one.begin(), one.end());
  std::sort(other.begin(), other.end());
  double pairs = 0;
  for (float const value : one) {
    auto const [first, last] = std::equal_range(other.begin(), other.end(), value);
    pairs += static_cast<double>(last - first);
  }
  return pairs;
}

/// No more than a Poisson variable of that mean would be.
void expect_rare(double count, double mean, std::string const& what) {
  EXPECT_GE(boost::math::cdf(
                boost::math::complement(boost::math::poisson(mean), count - 1 < 0 ? 0 : count - 1)),
            count < 1 ? 0 : significance)
      << what << ": " << count << " equal, expected " << mean;
}

// P(two uniform numbers round to the same float): in [2^-k-1, 2^-k) there are 2^23 floats of mass
// 2^(-24 - k) each.
constexpr double equal_floats = 0x1p-25 * 4 / 3;

TEST(Lambda, OfNeighbouringDrawsIsIndependentAndNotReused) {
  constexpr std::int64_t count = 1 << 17;
  constexpr Draw base{0xf7611d8ecdd0d9e8, 1000, 0};
  struct {
    char const* name;
    Draw draw;
  } const others[] = {
      {"step + 1", {base.seed, base.step + 1, 0}},
      {"step + 2^16", {base.seed, base.step + (1 << 16), 0}},
      {"step + 2^32", {base.seed, base.step + (std::uint64_t{1} << 32), 0}},
      {"first + B", {base.seed, base.step, count}},
      {"first + 2^32", {base.seed, base.step, std::uint64_t{1} << 32}},
      {"seed + 1", {base.seed + 1, base.step, 0}},
      {"seed + 2^32", {base.seed + (std::uint64_t{1} << 32), base.step, 0}},
  };
  auto const compare = [&](std::vector<float> const& own, std::vector<float> const& other,
                           char const* name) {
    expect_independent(octiles("lambda", own, 16), octiles(name, other, 16));
    double aligned = 0;
    for (std::size_t i = 0; i < own.size(); ++i) aligned += own[i] == other[i];
    auto const n = static_cast<double>(own.size());
    expect_rare(aligned, n * equal_floats, std::string(name) + ", the same sample");
    expect_rare(equalities(own, other), n * n * equal_floats, std::string(name) + ", any samples");
  };
  auto const own = lambdas(count, base);
  for (auto const& other : others) compare(own, lambdas(count, other.draw), other.name);

  std::vector<float> even, odd;
  auto const twice = lambdas(2 * count, {base.seed, base.step + 2, 0});
  for (std::size_t i = 0; i < twice.size(); i += 2) {
    even.push_back(twice[i]);
    odd.push_back(twice[i + 1]);
  }
  compare(even, odd, "sample + 1");
}

TEST(Lambda, IsUncorrelatedAtEveryStride) {
  constexpr std::int64_t count = 1000000;
  auto const values = lambdas(count, {0x613a1dc932939b15, 0, 0});
  for (std::size_t const stride : {1u, 2u, 4u, 31u, 32u, 33u, 64u, 256u, 257u, 1024u, 65536u}) {
    double sum = 0;
    for (std::size_t i = stride; i < values.size(); ++i) {
      sum +=
          (static_cast<double>(values[i]) - 0.5) * (static_cast<double>(values[i - stride]) - 0.5);
    }
    double const z = 12 * sum / std::sqrt(static_cast<double>(values.size() - stride));
    EXPECT_GE(std::erfc(std::fabs(z) / std::sqrt(2.0)), significance) << stride << ": z = " << z;
  }
}

TEST(Lambda, OfConsecutiveBatchesIsNotReused) {
  constexpr std::uint64_t seed = 0x2095d389d8d12f95;
  std::vector<std::vector<float>> batches;
  for (std::uint64_t r = 0; r < 64; ++r) batches.push_back(lambdas(256, {seed, 3, r * 256}));
  double equal = 0, pairs = 0;
  for (std::size_t r = 0; r < batches.size(); ++r) {
    for (std::size_t s = 0; s < r; ++s) {
      equal += equalities(batches[r], batches[s]);
      pairs += 256.0 * 256.0;
    }
  }
  expect_rare(equal, pairs * equal_floats, "64 batches");
}

/// All that one draw decides. Different specs share their words, so what they draw can be compared.
TEST(Purposes, AreIndependentOfEachOther) {
  constexpr std::int64_t count = 1 << 20;
  constexpr std::int32_t group = 16;
  constexpr Draw draw{0xb34bc171861df218, 12, 0};
  Boxes const half{Boxes::Kind::min_max, 0.5, 0.5}, any{Boxes::Kind::min_max, 0.125, 1.0};

  auto const feature = [&](char const* name, std::size_t cells, Spec const& spec, auto cell) {
    Feature made{name, cells};
    std::int32_t sample = 0;
    for (Row const& row : rows_of(spec, count, draw)) {
      made.cell.push_back(static_cast<std::size_t>(cell(row, sample++)));
    }
    return made;
  };
  auto const boxed = [&](Boxes boxes) { return spec_of({{CutMix{{}, Fold::none, boxes}, 1.0f}}); };
  auto const paired = [&](Pairing pairing) {
    Spec spec;
    spec.pairing = pairing;
    spec.group = group;
    return spec;
  };
  auto const offset = [](Row const& row, std::int32_t sample) {
    return (row.partner - sample + group) % group;
  };
  Spec gated = spec_of({{Mixup{{1e6f, 1e6f}}, 1.0f}});
  gated.probability = 0.5f;
  Spec flipped;
  flipped.flip = 0.5f;

  Feature const features[] = {
      // Partners in a group depend on each other: only ever what is given.
      feature("partner", group, paired(Pairing::permutation), offset),
      feature("meets itself", 2, paired(Pairing::permutation),
              [](Row const& row, std::int32_t sample) { return row.partner == sample; }),
      feature("replacement", group, paired(Pairing::replacement), offset),
      feature("lambda", 8, spec_of({{Mixup{}, 1.0f}}),
              [](Row const& row, std::int32_t) { return cell_of(row.outside, 8); }),
      feature("gate", 2, gated, [](Row const& row, std::int32_t) { return row.outside != 1.0f; }),
      feature("policy", 2,
              spec_of({{Mixup{{1e6f, 1e6f}}, 0.5f}, {CutMix{{}, Fold::none, half}, 0.5f}}),
              [](Row const& row, std::int32_t) { return row.outside != 1.0f; }),
      feature("box place", 25, boxed(half),
              [](Row const& row, std::int32_t) { return row.box.lo[0] * 5 + row.box.lo[1]; }),
      feature("box side", 64, boxed(any),
              [](Row const& row, std::int32_t) {
                return (row.box.hi[0] - row.box.lo[0] - 1) * 8 + row.box.hi[1] - row.box.lo[1] - 1;
              }),
      feature("flip", 2, flipped, [](Row const& row, std::int32_t) { return row.flip; }),
  };
  constexpr std::size_t first_free = 2;
  for (std::size_t free = first_free; free < std::size(features); ++free) {
    for (std::size_t given = 0; given < free; ++given) {
      expect_independent(features[given], features[free]);
    }
  }
}

TEST(Box, IsPlacedWhateverTheDrawnLambda) {
  constexpr std::int64_t count = 1000000;
  Spec const spec = spec_of({{CutMix{{}, Fold::none, {Boxes::Kind::inside, 0, 1}}, 1.0f}});
  auto const rows = rows_of(spec, count, {0x68c575bf40e037ae, 0, 0});
  for (std::int32_t side = 1; side < 8; ++side) {  // lambda decides the side
    auto const origins = static_cast<std::size_t>(9 - side);
    Feature any{"side", 1}, place{"origin", origins * origins};
    for (Row const& row : rows) {
      if (row.box.hi[0] - row.box.lo[0] != side) continue;
      any.cell.push_back(0);
      place.cell.push_back(static_cast<std::size_t>(row.box.lo[0]) * origins +
                           static_cast<std::size_t>(row.box.lo[1]));
    }
    EXPECT_GT(any.cell.size(), 10000u);
    expect_independent(any, place);
  }
}

TEST(Probability, IsTheShareThatIsMixed) {
  constexpr std::int64_t count = 1000000;
  struct {
    float probability;
    double allowed;  // deviation
  } constexpr cases[] = {{0.0f, 0}, {1.0f, 0}, {0.5f, 5 * 500}, {0.1f, 5 * 300}, {1e-3f, 5 * 31.6}};
  for (auto const& [probability, allowed] : cases) {
    Spec gate = spec_of({{Mixup{{1e6f, 1e6f}}, 1.0f}}), policy = gate, flip = gate;
    gate.probability = probability;
    policy.policies[0].probability = probability;
    flip.flip = probability;
    double mixed = 0, chosen = 0, flipped = 0;
    Draw const draw{0x2d53dcf2e03783e3, 0, 0};
    for (Row const& row : rows_of(gate, count, draw)) mixed += row.outside != 1.0f;
    for (Row const& row : rows_of(policy, count, draw)) chosen += row.outside != 1.0f;
    for (Row const& row : rows_of(flip, count, draw)) flipped += row.flip;
    double const expected = static_cast<double>(probability) * count;
    EXPECT_NEAR(mixed, expected, allowed) << "gate";
    EXPECT_NEAR(chosen, expected, allowed) << "policy";
    EXPECT_NEAR(flipped, expected, allowed) << "flip";
  }
}

TEST(Seeds, AtTheEndsOfTheirRangeAreDistinctAndNotDegenerate) {
  constexpr std::int64_t count = 1 << 16;
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  std::vector<std::vector<float>> drawn;
  for (std::uint64_t const seed : {std::uint64_t{0}, std::uint64_t{1}, top, ~std::uint64_t{0}}) {
    drawn.push_back(lambdas(count, {seed, 0, 0}));
    Feature const any{"seed", 1, std::vector<std::size_t>(count)};
    expect_independent(any, octiles("lambda", drawn.back(), 64));
    Spec permuted;
    double fixed = 0;
    std::int32_t sample = 0;
    for (Row const& row : rows_of(permuted, count, {seed, 0, 0})) fixed += row.partner == sample++;
    EXPECT_LT(fixed, 12) << "of a Poisson variable of mean 1";
    for (std::size_t k = 0; k + 1 < drawn.size(); ++k) {
      expect_rare(equalities(drawn[k], drawn.back()), 0x1p32 * equal_floats, "two seeds");
      expect_independent(octiles("one seed", drawn[k], 16), octiles("another", drawn.back(), 16));
    }
  }
}

}  // namespace
}  // namespace mixfuse
