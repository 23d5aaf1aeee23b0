// SPDX-License-Identifier: Apache-2.0

// Pairings as laws. Each seed is the first 64 bits of SHA-256 of its test's name, parameters apart.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse {
namespace {

constexpr double significance = 1e-6;
using Partners = std::vector<std::int32_t>;
using Counts = std::vector<std::int64_t>;

bool long_run() {
  char const* const value = std::getenv("MIXFUSE_TEST_LONG");
  return value != nullptr && std::string_view(value) == "1";
}

void expect_chi_square(double statistic, double degrees, std::string const& what) {
  double const p =
      boost::math::cdf(boost::math::complement(boost::math::chi_squared(degrees), statistic));
  EXPECT_GE(p, significance) << what << ": chi-square " << statistic << " with " << degrees;
  if (degrees >= 4) {
    EXPECT_LE(p, 1 - significance) << what << ": too good, " << statistic << " with " << degrees;
  }
}

void expect_law(Counts const& counts, std::vector<double> const& mass, std::string const& what) {
  auto const total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), 0LL));
  double statistic = 0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    double const expected = total * mass[k], gap = static_cast<double>(counts[k]) - expected;
    statistic += gap * gap / expected;
  }
  if (counts.size() > 1) {
    expect_chi_square(statistic, static_cast<double>(counts.size()) - 1, what);
  }
}

void expect_uniform(Counts const& counts, std::string const& what) {
  expect_law(counts, std::vector<double>(counts.size(), 1 / static_cast<double>(counts.size())),
             what);
}

/// Counts of 0, 1, ..., and of that or more, against Poisson(1).
void expect_poisson(Counts const& counts, std::string const& what) {
  std::vector<double> mass;
  double rest = 1, term = std::exp(-1.0);
  for (std::size_t k = 0; k + 1 < counts.size(); ++k) {
    mass.push_back(term);
    rest -= term;
    term /= static_cast<double>(k + 1);
  }
  mass.push_back(rest);
  expect_law(counts, mass, what);
}

void expect_mean(double sum, double count, double mean, double variance, std::string const& what) {
  double const z = (sum - count * mean) / std::sqrt(count * variance);
  EXPECT_GE(std::erfc(std::fabs(z) / std::sqrt(2.0)), significance) << what << ": z = " << z;
}

bool is_permutation(Partners const& partners) {
  std::vector<bool> taken(partners.size());
  for (std::int32_t const partner : partners) {
    auto const at = static_cast<std::size_t>(partner);
    if (at >= taken.size() || taken[at]) return false;
    taken[at] = true;
  }
  return true;
}

/// Of a permutation.
std::size_t cycles_in(Partners const& partners) {
  std::vector<bool> seen(partners.size());
  std::size_t cycles = 0;
  for (std::size_t start = 0; start < partners.size(); ++start) {
    if (!seen[start]) ++cycles;
    for (std::size_t i = start; !seen[i]; i = static_cast<std::size_t>(partners[i])) seen[i] = true;
  }
  return cycles;
}

std::size_t fixed_points_in(Partners const& partners) {
  std::size_t fixed = 0;
  for (std::size_t i = 0; i < partners.size(); ++i) {
    fixed += partners[i] == static_cast<std::int32_t>(i);
  }
  return fixed;
}

bool is_legal(Pairing pairing, Partners const& partners) {
  switch (pairing) {
    case Pairing::permutation:
      return is_permutation(partners);
    case Pairing::cycle:
      return is_permutation(partners) && cycles_in(partners) == 1;
    case Pairing::pairs: {
      std::size_t const odd = partners.size() % 2;
      return is_permutation(partners) && fixed_points_in(partners) == odd &&
             cycles_in(partners) == partners.size() / 2 + odd;
    }
    default:
      return std::all_of(partners.begin(), partners.end(), [&](std::int32_t partner) {
        return partner >= 0 && partner < static_cast<std::int32_t>(partners.size());
      });
  }
}

/// f(partners) for each of `count` consecutive groups; partners count within their group.
template <class F>
void for_groups(Pairing pairing, std::int32_t size, std::int64_t count, Draw draw, F f) {
  Queue const queue = Queue::cpu(1);
  std::int64_t const most = std::max<std::int64_t>(1, (1 << 17) / size);
  Plan plan(most * size, Device::cpu(), queue);
  Spec spec;
  spec.pairing = pairing;
  spec.group = size;
  Partners partners(static_cast<std::size_t>(size));
  for (std::int64_t done = 0; done < count;) {
    std::int64_t const groups = std::min(most, count - done);
    plan_into(plan, spec, {groups * size, 1, {1}, false}, draw, queue);
    Row const* row = plan.rows();
    for (std::int64_t start = 0; start < groups * size; start += size) {
      for (std::int32_t& partner : partners) {
        partner = row++->partner - static_cast<std::int32_t>(start);
      }
      f(partners);
    }
    done += groups;
    draw.first += static_cast<std::uint64_t>(groups * size);
  }
}

struct Law {
  Pairing pairing;
  std::int32_t size;
  std::size_t outcomes;
  std::int64_t draws;
  friend std::ostream& operator<<(std::ostream& out, Law const& law) {
    char const* const names[] = {"permutation", "cycle", "pairs", "", "", "replacement"};
    return out << names[static_cast<int>(law.pairing)] << law.size;
  }
};

constexpr Law laws[] = {
    {Pairing::permutation, 1, 1, 10},
    {Pairing::permutation, 2, 2, 200000},
    {Pairing::permutation, 3, 6, 200000},
    {Pairing::permutation, 4, 24, 200000},
    {Pairing::permutation, 5, 120, 500000},
    {Pairing::permutation, 6, 720, 1000000},
    {Pairing::cycle, 1, 1, 10},
    {Pairing::cycle, 2, 1, 1000},
    {Pairing::cycle, 3, 2, 200000},
    {Pairing::cycle, 4, 6, 200000},
    {Pairing::cycle, 5, 24, 200000},
    {Pairing::cycle, 6, 120, 400000},
    {Pairing::cycle, 7, 720, 700000},
    {Pairing::pairs, 1, 1, 10},
    {Pairing::pairs, 2, 1, 1000},
    {Pairing::pairs, 3, 3, 200000},
    {Pairing::pairs, 4, 3, 200000},
    {Pairing::pairs, 5, 15, 200000},
    {Pairing::pairs, 6, 15, 200000},
    {Pairing::pairs, 7, 105, 400000},
    {Pairing::replacement, 1, 1, 10},
    {Pairing::replacement, 2, 4, 200000},
    {Pairing::replacement, 3, 27, 200000},
    {Pairing::replacement, 4, 256, 400000},
};

class PairingLaw : public testing::TestWithParam<Law> {};

TEST_P(PairingLaw, EveryLegalOutcomeComesEquallyOften) {
  Law const law = GetParam();
  auto const size = static_cast<std::size_t>(law.size);

  // Every map of the group into itself has a code; the legal ones have a cell.
  std::size_t codes = 1;
  for (std::size_t i = 0; i < size; ++i) codes *= size;
  std::vector<std::int32_t> cell_of(codes, -1);
  std::size_t cells = 0;
  Partners map(size);
  for (std::size_t code = 0; code < codes; ++code) {
    std::size_t rest = code;
    for (std::size_t i = size; i-- > 0; rest /= size) {
      map[i] = static_cast<std::int32_t>(rest % size);
    }
    if (is_legal(law.pairing, map)) cell_of[code] = static_cast<std::int32_t>(cells++);
  }
  ASSERT_EQ(cells, law.outcomes);

  Counts counts(cells);
  std::int64_t illegal = 0;
  for_groups(law.pairing, law.size, law.draws * (long_run() ? 4 : 1), {0xab822f6d37003446, 1, 0},
             [&](Partners const& partners) {
               std::size_t code = 0;
               for (std::int32_t const partner : partners) {
                 code = code * size + static_cast<std::size_t>(partner);
               }
               std::int32_t const cell = code < codes ? cell_of[code] : -1;
               cell < 0 ? ++illegal : ++counts[static_cast<std::size_t>(cell)];
             });
  EXPECT_EQ(illegal, 0);
  expect_uniform(counts, "outcomes");
}

INSTANTIATE_TEST_SUITE_P(All, PairingLaw, testing::ValuesIn(laws),
                         testing::PrintToStringParamName());

class Permutation : public testing::TestWithParam<std::int32_t> {};

TEST_P(Permutation, HasThePositionsFixedPointsAndSuccessionsOfAUniformOne) {
  std::int32_t const size = GetParam();
  std::int64_t const draws = long_run() ? 200000 : 20000;
  auto const n = static_cast<std::size_t>(size);
  Counts positions(n * n), fixed_points(8);
  double fixed = 0, successions = 0;
  for_groups(Pairing::permutation, size, draws, {0xd009ff13c863458f, 0, 0},
             [&](Partners const& partners) {
               ASSERT_TRUE(is_permutation(partners));
               for (std::size_t i = 0; i < n; ++i) {
                 ++positions[i * n + static_cast<std::size_t>(partners[i])];
                 // The successions of the sorted word: a cut cannot fall between i and i + 1.
                 successions += partners[i] == static_cast<std::int32_t>(i) + 1;
               }
               std::size_t const count = fixed_points_in(partners);
               fixed += static_cast<double>(count);
               ++fixed_points[std::min(count, fixed_points.size() - 1)];
             });

  double const b = size, expected = static_cast<double>(draws) / b;
  double statistic = 0;
  for (std::int64_t const count : positions) {
    double const gap = static_cast<double>(count) - expected;
    statistic += gap * gap / expected;
  }
  expect_chi_square(statistic * (b - 1) / b, (b - 1) * (b - 1), "positions");
  expect_mean(fixed, static_cast<double>(draws), 1, 1, "fixed points");
  expect_poisson(fixed_points, "fixed points");
  double const mean = (b - 1) / b;
  expect_mean(successions, static_cast<double>(draws), mean, (b - 2) / b + mean - mean * mean,
              "successions");
}

INSTANTIATE_TEST_SUITE_P(Sizes, Permutation, testing::Values(32, 100, 257));

TEST(Permutations, AreOddHalfOfTheTime) {
  struct {
    std::int32_t size;
    std::int64_t draws;
  } constexpr cases[] = {{16, 100000}, {256, 10000}, {4096, 600}};
  for (auto const& [size, draws] : cases) {
    Counts parity(2);
    for_groups(
        Pairing::permutation, size, draws * (long_run() ? 10 : 1), {0x62eeea72d3370d8a, 2, 0},
        [&](Partners const& partners) { ++parity[(partners.size() - cycles_in(partners)) % 2]; });
    expect_uniform(parity, "parity at " + std::to_string(size));
  }
}

TEST(Permutations, OfNeighbouringDrawsAgreeAsOftenAsByChance) {
  constexpr std::int64_t draws = 20000;
  constexpr Draw base{0xbb65a4581aabbbe2, 7, 0};
  for (std::int32_t const size : {32, 100}) {
    auto const all = static_cast<std::uint64_t>(size * draws);
    auto const drawn = [&](Draw draw) {
      std::vector<Partners> groups;
      for_groups(Pairing::permutation, size, draws, draw,
                 [&](Partners const& partners) { groups.push_back(partners); });
      return groups;
    };
    auto const compare = [&](auto const& groups, auto const& others, std::size_t shift,
                             char const* what) {
      Counts agreements(8);
      for (std::size_t g = 0; g < groups.size(); ++g) {
        Partners const &one = groups[g], &other = others[(g + shift) % others.size()];
        std::size_t count = 0;
        for (std::size_t i = 0; i < one.size(); ++i) count += one[i] == other[i];
        ++agreements[std::min(count, agreements.size() - 1)];
      }
      expect_poisson(agreements, what + (" at " + std::to_string(size)));
    };
    auto const groups = drawn(base);
    compare(groups, groups, 1, "group and next");
    compare(groups, drawn({base.seed, base.step + 1, 0}), 0, "step and next");
    compare(groups, drawn({base.seed, base.step + (1 << 16), 0}), 0, "step + 2^16");
    compare(groups, drawn({base.seed, base.step, all}), 0, "batch and next");
    compare(groups, drawn({base.seed + 1, base.step, 0}), 0, "seed and next");
    compare(groups, drawn({base.seed + (std::uint64_t{1} << 32), base.step, 0}), 0, "seed + 2^32");
  }
}

Partners drawn_batch(Plan& plan, Pairing pairing, std::int64_t size, std::uint64_t seed) {
  Spec spec;
  spec.pairing = pairing;
  plan_into(plan, spec, {size, 1, {1}, false}, {seed, 0, 0}, Queue::cpu(1));
  Partners partners(static_cast<std::size_t>(size));
  std::transform(plan.rows(), plan.rows() + size, partners.begin(),
                 [](Row const& row) { return row.partner; });
  return partners;
}

TEST(Pairings, AreLegalForEverySmallBatch) {
  Plan plan(300, Device::cpu(), Queue::cpu(1));
  for (Pairing const pairing :
       {Pairing::permutation, Pairing::cycle, Pairing::pairs, Pairing::replacement}) {
    for (std::int64_t size = 1; size <= 300; ++size) {
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        ASSERT_TRUE(is_legal(pairing, drawn_batch(plan, pairing, size, seed)))
            << static_cast<int>(pairing) << " of " << size << ", seed " << seed;
      }
    }
  }
}

TEST(Pairings, AreLegalAroundEveryPowerOfTwo) {
  int const most = long_run() ? 24 : 20;
  Plan plan((std::int64_t{1} << most) + 1, Device::cpu(), Queue::cpu(1));
  for (int k = 0; k <= most; ++k) {
    for (std::int64_t const off : {-1, 0, 1}) {
      std::int64_t const size = (std::int64_t{1} << k) + off;
      for (Pairing const pairing : {Pairing::permutation, Pairing::cycle, Pairing::pairs}) {
        if (size == 0 || (pairing != Pairing::permutation && k > 13)) continue;
        ASSERT_TRUE(is_legal(pairing, drawn_batch(plan, pairing, size, 3)))
            << static_cast<int>(pairing) << " of " << size;
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse
