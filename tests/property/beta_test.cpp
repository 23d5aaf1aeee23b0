// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/beta.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/maths/philox.hpp"

namespace mixfuse::maths {
namespace {

constexpr double significance = 1e-6;
constexpr double flushed_below = 0x1p-126;

struct Shapes {
  float a, b;
};

constexpr Shapes shapes_tested[] = {
    {1e-6f, 1e-6f}, {0.01f, 0.01f}, {0.1f, 0.1f},   {0.2f, 0.2f},     {0.4f, 0.4f},
    {1.0f, 1.0f},   {2.0f, 2.0f},   {8.0f, 8.0f},   {100.0f, 100.0f}, {1e6f, 1e6f},
    {0.2f, 0.8f},   {2.0f, 1.0f},   {1e-3f, 5.0f},  {100.0f, 3.0f},   {0.01f, 1e4f},
    {1e-6f, 2e-6f}, {1e6f, 9e5f},   {1e-3f, 1e-3f}, {1e-6f, 1e6f},
};

std::uint32_t draws_tested() {
  char const* const value = std::getenv("MIXFUSE_TEST_LONG");
  return value != nullptr && std::string_view(value) == "1" ? 10000000 : 1000000;
}

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

std::vector<Weight> draw(Shapes shapes, std::uint64_t seed, std::uint32_t count) {
  // The shapes are part of the counter, so that the laws of one test are independent.
  std::uint32_t stream = 0;
  for (std::uint32_t i = 0; i < std::size(shapes_tested); ++i) {
    if (shapes_tested[i].a == shapes.a && shapes_tested[i].b == shapes.b) stream = i;
  }
  BetaLaw const law = make_beta_law(shapes.a, shapes.b);
  std::vector<Weight> weights(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    weights[i] = draw_beta(law, [&](std::uint32_t block) {
      return philox({{i, stream, block, 0u}}, low(seed), high(seed));
    });
  }
  return weights;
}

double below(double a, double b, double x) {
  return x <= 0 ? 0 : x >= 1 ? 1 : boost::math::ibeta(a, b, x);
}

/// Both tails, so that "too good" is as exact as "too bad".
struct PValue {
  double p, rest;
};

void expect_ok(PValue value, char const* test) {
  testing::Test::RecordProperty("p", std::to_string(value.p));
  EXPECT_GE(value.p, significance) << test;
  EXPECT_GE(value.rest, significance) << test << ": too good";
}

/// Kolmogorov's law with Stephens' correction for finite n.
PValue kolmogorov(double gap, double n) {
  double const x = gap * (std::sqrt(n) + 0.12 + 0.11 / std::sqrt(n));
  double p = 0, rest = 0;
  for (int k = 1; k < 100; ++k) {
    p += (k % 2 == 1 ? 2 : -2) * std::exp(-2.0 * k * k * x * x);
    double const odd = (2 * k - 1) * std::acos(-1.0) / x;
    rest += std::sqrt(2 * std::acos(-1.0)) / x * std::exp(-odd * odd / 8);
  }
  return x < 1 ? PValue{1 - rest, rest} : PValue{p, 1 - p};
}

/// The largest distance between the steps at ranks first .. first + count - 1 of n and a rising
/// cdf(0 .. count - 1), exactly, but with few calls of cdf: an interval is opened only while it may
/// hold more than the best.
template <class Cdf>
class LargestGap {
 public:
  LargestGap(Cdf cdf, std::size_t first, std::size_t n)
      : cdf_(cdf), first_(first), n_(static_cast<double>(n)) {}

  double find(std::size_t count) {
    if (count == 0) return 0;
    double const left = visit(0), right = visit(count - 1);
    search(0, left, count - 1, right);
    return best_;
  }

 private:
  double rank(std::size_t i) const { return static_cast<double>(first_ + i) / n_; }
  double visit(std::size_t i) {
    double const u = cdf_(i);
    best_ = std::max({best_, rank(i + 1) - u, u - rank(i)});
    return u;
  }
  void search(std::size_t left, double at_left, std::size_t right, double at_right) {
    if (right - left < 2 || std::max(rank(right) - at_left, at_right - rank(left + 1)) <= best_)
      return;
    std::size_t const middle = left + (right - left) / 2;
    double const at_middle = visit(middle);
    search(left, at_left, middle, at_middle);
    search(middle, at_middle, right, at_right);
  }

  Cdf cdf_;
  std::size_t first_;
  double n_;
  double best_ = 0;
};

/// Draws by their smaller side, which alone has all the digits.
struct Sides {
  std::vector<float> low, high;  // own where it is the smaller, rising; partner otherwise, falling
  std::size_t none_low = 0, none_high = 0;  // smaller side flushed to 0

  explicit Sides(std::vector<Weight> const& weights) {
    for (Weight const& weight : weights) {
      bool const own = weight.own <= weight.partner;
      float const small = own ? weight.own : weight.partner;
      if (small == 0) {
        ++(own ? none_low : none_high);
      } else {
        (own ? low : high).push_back(small);
      }
    }
    std::sort(low.begin(), low.end());
    std::sort(high.begin(), high.end(), std::greater<>());
  }
};

/// KS of u = I(lambda), or 1 - I(1 - lambda) where that is the smaller side. Inside the flushed
/// atoms u is the test's own.
PValue pair_test(Shapes shapes, Sides const& sides, std::uint64_t seed) {
  double const a = shapes.a, b = shapes.b;
  std::size_t const n = sides.none_low + sides.low.size() + sides.high.size() + sides.none_high;
  std::mt19937_64 engine(~seed);
  auto const atom = [&](std::size_t count, double from, double to) {
    std::vector<double> u(count);
    for (double& x : u)
      x = from + (to - from) * std::ldexp(static_cast<double>(engine() >> 11), -53);
    std::sort(u.begin(), u.end());
    return u;
  };
  auto const first = atom(sides.none_low, 0, below(a, b, flushed_below));
  auto const last = atom(sides.none_high, 1 - below(b, a, flushed_below), 1);
  std::size_t rank = 0;
  double gap = 0;
  auto const add = [&](auto cdf, std::size_t count) {
    gap = std::max(gap, LargestGap(cdf, rank, n).find(count));
    rank += count;
  };
  add([&](std::size_t i) { return first[i]; }, first.size());
  add([&](std::size_t i) { return below(a, b, sides.low[i]); }, sides.low.size());
  add([&](std::size_t i) { return 1 - below(b, a, sides.high[i]); }, sides.high.size());
  add([&](std::size_t i) { return last[i]; }, last.size());
  return kolmogorov(gap, static_cast<double>(n));
}

/// The same for those draws alone whose smaller side is a normal float.
PValue conditional_test(Shapes shapes, Sides const& sides) {
  double const a = shapes.a, b = shapes.b;
  double const from = below(a, b, flushed_below), to_1 = below(b, a, flushed_below);
  double const mass = 1 - from - to_1;
  std::size_t const n = sides.low.size() + sides.high.size();
  auto const low_cdf = [&](std::size_t i) { return (below(a, b, sides.low[i]) - from) / mass; };
  auto const high_cdf = [&](std::size_t i) {
    return 1 - (below(b, a, sides.high[i]) - to_1) / mass;
  };
  double const gap = std::max(LargestGap(low_cdf, 0, n).find(sides.low.size()),
                              LargestGap(high_cdf, sides.low.size(), n).find(sides.high.size()));
  return kolmogorov(gap, static_cast<double>(n));
}

/// What a float lambda <= edge can come from: all below the midpoint to the next float.
double mass_up_to(Shapes shapes, float edge) {
  if (edge == 0) return below(shapes.a, shapes.b, flushed_below);
  return below(shapes.a, shapes.b, (static_cast<double>(edge) + std::nextafter(edge, 2.0f)) / 2);
}

/// The least normal float whose mass reaches the share.
float quantile(Shapes shapes, double share) {
  std::uint32_t under = bits_of(0x1p-126f), over = bits_of(1.0f);
  while (over - under > 1) {
    std::uint32_t const middle = under + (over - under) / 2;
    (mass_up_to(shapes, float_of(middle)) < share ? under : over) = middle;
  }
  return float_of(over);
}

/// Edges of cells (edges[i - 1], edges[i]]; the atoms {0} and {1} are the first and the last cell.
std::vector<float> cell_edges(Shapes shapes) {
  constexpr int cells = 64;
  std::vector<float> edges = {0.0f, 1e-30f, 1e-12f, 1e-6f, 1 - 1e-6f, 1 - 0x1p-24f, 1.0f};
  for (int i = 1; i < cells; ++i) edges.push_back(quantile(shapes, static_cast<double>(i) / cells));
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  return edges;
}

/// Chi-square over cells of float lambda alone; false where too few cells are left for a test.
bool cell_test(Shapes shapes, std::vector<Weight> const& weights, PValue& result,
               std::size_t& cells) {
  std::vector<float> const edges = cell_edges(shapes);
  std::vector<double> counts(edges.size());
  for (Weight const& weight : weights) {
    counts[static_cast<std::size_t>(std::lower_bound(edges.begin(), edges.end(), weight.own) -
                                    edges.begin())] += 1;
  }
  double const n = static_cast<double>(weights.size());
  std::vector<double> expected, found;
  double before = 0, mass = 0, count = 0;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    double const up_to = edges[i] == 1 ? 1 : mass_up_to(shapes, edges[i]);
    mass += (up_to - before) * n;
    count += counts[i];
    before = up_to;
    if (mass >= 20) {
      expected.push_back(mass);
      found.push_back(count);
      mass = count = 0;
    }
  }
  if (!expected.empty()) {  // what is left over at the end
    expected.back() += mass;
    found.back() += count;
  }
  cells = expected.size();
  if (cells < 2) return false;
  double chi_square = 0;
  for (std::size_t i = 0; i < cells; ++i) {
    double const difference = found[i] - expected[i];
    chi_square += difference * difference / expected[i];
  }
  double const freedom = static_cast<double>(cells - 1) / 2;
  result = {boost::math::gamma_q(freedom, chi_square / 2),
            boost::math::gamma_p(freedom, chi_square / 2)};
  return true;
}

class Beta : public testing::TestWithParam<Shapes> {};

TEST_P(Beta, PairsFollowTheLaw) {
  constexpr std::uint64_t seed = 0x90f2cf2c11dfb7eeu;
  expect_ok(pair_test(GetParam(), Sides(draw(GetParam(), seed, draws_tested())), seed), "T-pair");
}

TEST_P(Beta, CellsFollowTheLaw) {
  constexpr std::uint64_t seed = 0x65f3de07f3a078dbu;
  PValue value = {};
  std::size_t cells = 0;
  if (!cell_test(GetParam(), draw(GetParam(), seed, draws_tested()), value, cells)) return;
  RecordProperty("p", std::to_string(value.p));
  EXPECT_GE(value.p, significance) << cells << " cells";
  if (cells >= 5) {  // with fewer, chi-square may be 0
    EXPECT_GE(value.rest, significance) << cells << " cells: too good";
  }
}

/// Shapes that put enough draws off the ends for sums to be normal.
class BetaOfLargerShapes : public Beta {};

TEST_P(BetaOfLargerShapes, MomentsAreTheLaws) {
  constexpr std::uint64_t seed = 0x27fa68a69e9a2ad8u;
  long double const a = GetParam().a, b = GetParam().b, s = a + b, n = draws_tested();
  long double const mean = a / s;
  long double const variance = a * b / (s * s * (s + 1));
  long double const excess =
      6 * ((a - b) * (a - b) * (s + 1) - a * b * (s + 2)) / (a * b * (s + 2) * (s + 3));
  long double const product = a * b / (s * (s + 1));  // E[lambda (1 - lambda)]
  long double const product_square = a * b * (a + 1) * (b + 1) / (s * (s + 1) * (s + 2) * (s + 3));
  long double first = 0, second = 0, across = 0;
  for (Weight const& weight : draw(GetParam(), seed, draws_tested())) {
    bool const own = weight.own <= weight.partner;
    long double const small = own ? weight.own : weight.partner;
    long double const from_mean = own ? small - mean : b / s - small;
    first += from_mean;
    second += from_mean * from_mean - variance;
    across += small * (1 - small) - product;
  }
  EXPECT_LT(std::fabs(first / std::sqrt(n * variance)), 5);
  EXPECT_LT(std::fabs(second / std::sqrt(n * variance * variance * (2 + excess))), 5);
  EXPECT_LT(std::fabs(across / std::sqrt(n * (product_square - product * product))), 5);
}

/// Shapes of which many draws are flushed.
class BetaOfTinyShapes : public Beta {};

TEST_P(BetaOfTinyShapes, NormalSmallSidesFollowTheConditionalLaw) {
  constexpr std::uint64_t seed = 0x83940dd7ce5743efu;
  Sides const sides(draw(GetParam(), seed, draws_tested()));
  ASSERT_GE(sides.low.size() + sides.high.size(), 50u);
  expect_ok(conditional_test(GetParam(), sides), "T-pair of normal floats");
}

std::string name_of(testing::TestParamInfo<Shapes> const& info) {
  auto const digits = [](float x) {
    std::string text = testing::PrintToString(x);
    for (char& c : text) c = c == '.' ? 'p' : c == '-' ? 'm' : c == '+' ? '_' : c;
    return text;
  };
  return digits(info.param.a) + "_and_" + digits(info.param.b);
}

template <class Keep>
std::vector<Shapes> those(Keep keep) {
  std::vector<Shapes> kept;
  std::copy_if(std::begin(shapes_tested), std::end(shapes_tested), std::back_inserter(kept), keep);
  return kept;
}

INSTANTIATE_TEST_SUITE_P(Shapes, Beta, testing::ValuesIn(shapes_tested), name_of);
INSTANTIATE_TEST_SUITE_P(Shapes, BetaOfLargerShapes, testing::ValuesIn(those([](Shapes shapes) {
                           double const a = shapes.a, b = shapes.b;
                           return 1e6 * a * b / (a + b) >= 1000;
                         })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Shapes, BetaOfTinyShapes, testing::ValuesIn(those([](Shapes shapes) {
                           return std::min(shapes.a, shapes.b) <= 1e-3f;
                         })),
                         name_of);

TEST(BetaOfAThousandth, IsRarelyNearHalfAndBalanced) {
  constexpr std::uint64_t seed = 0xd630939ffe4ee1d5u;
  constexpr int n = 100000;
  int middle = 0, above = 0;
  for (Weight const& weight : draw({1e-3f, 1e-3f}, seed, n)) {
    ASSERT_TRUE(weight.own >= 0 && weight.own <= 1);
    middle += weight.own > 0.4f && weight.own < 0.6f ? 1 : 0;
    above += weight.own > weight.partner ? 1 : 0;
  }
  double const share = below(1e-3f, 1e-3f, 0.6f) - below(1e-3f, 1e-3f, 0.4f);
  EXPECT_NEAR(share, 4.0e-4, 1e-5);
  EXPECT_NEAR(middle, n * share, 5 * std::sqrt(n * share));
  EXPECT_NEAR(above, n / 2, 5 * std::sqrt(n / 4.0));
}

}  // namespace
}  // namespace mixfuse::maths
