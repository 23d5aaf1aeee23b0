// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/beta.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

namespace mixfuse::maths {
namespace {

static_assert(std::is_trivially_copyable_v<BetaLaw>);

constexpr std::uint32_t extremes[] = {0u,          1u,          0x7fffffffu, 0x80000000u,
                                      0xffffff7fu, 0xffffff80u, 0xffffffffu};
constexpr int extreme_blocks = 7 * 7 * 7 * 7;
constexpr long double smallest = 0x1p-126L;

Words extreme_block(int i) {
  Words words = {};
  for (std::uint32_t& word : words.w) {
    word = extremes[i % 7];
    i /= 7;
  }
  return words;
}

/// Gives what it is told, and remembers what it gave last.
template <class Give>
class Recorder {
 public:
  explicit Recorder(Give give) : give_(give) {}
  Words operator()(std::uint32_t block) {
    EXPECT_EQ(block, tries_) << "blocks are asked for in order";
    ++tries_;
    return last_ = give_();
  }
  std::uint32_t tries() const { return tries_; }
  Words last() const { return last_; }

 private:
  Give give_;
  Words last_ = {};
  std::uint32_t tries_ = 0;
};

struct Exact {
  long double own, partner;
};

long double exact_negative_log(std::uint32_t high, std::uint32_t low) {
  std::uint64_t const n = (static_cast<std::uint64_t>(high) << 32) | low | 1u;
  return n >> 63 != 0 ? -std::log1p(-std::ldexp(static_cast<long double>(~n + 1u), -64))
                      : 64 * std::log(2.0L) - std::log(static_cast<long double>(n));
}

Exact exact_symmetric(float a, Words const& words) {
  long double const f = std::ldexp(static_cast<long double>(words.w[2] | 1u), -32);
  long double const sine = std::sin(std::acos(-1.0L) / 2 * f);
  long double const power = exact_negative_log(words.w[0], words.w[1]) / a;
  if (power > 1000) return words.w[3] >> 31 == 0 ? Exact{0, 1} : Exact{1, 0};
  long double const t = std::expm1(power) * sine * sine;  // T^2 / 2a
  long double const small = 1 / (1 + t) / (2 * (1 + std::sqrt(t / (1 + t))));
  return words.w[3] >> 31 == 0 ? Exact{small, 1 - small} : Exact{1 - small, small};
}

/// The proposal that these words name under the law's hat, whether it would be accepted or not.
Exact exact_proposal(BetaLaw const& law, float a, float b, Words const& words) {
  long double const lesser = std::min(a, b), greater = std::max(a, b);
  long double const depth = exact_negative_log(words.w[0], words.w[1]);
  long double z = 0;
  if (words.w[2] < law.left.share) {
    z = -(law.left.corner + law.left.scale * depth);
  } else if (0xffffffffu - words.w[2] < law.right.share) {
    z = law.right.corner + law.right.scale * depth;
  } else {
    long double const uniform = std::ldexp(
        static_cast<long double>((static_cast<std::uint64_t>(words.w[0]) << 32) | words.w[1]), -64);
    z = static_cast<long double>(law.left.corner + law.right.corner) * uniform - law.left.corner;
  }
  long double const x = lesser / (lesser + greater * std::exp(-z));
  long double const y = greater / (greater + lesser * std::exp(z));
  return a < b ? Exact{x, y} : Exact{y, x};
}

struct Report {
  double error = 0;  // relative, of the smaller side
  double gap = 0;    // of the sum from 1
  std::uint32_t tries = 0;
};

/// Draws once, checks all that must hold for every draw, and returns how far it is from exact.
template <class Give>
void check_draw(float a, float b, Give give, Report& report) {
  BetaLaw const law = make_beta_law(a, b);
  Recorder<Give> source(give);
  Weight const weight = draw_beta(law, source);
  ASSERT_GE(source.tries(), 1u);
  ASSERT_LE(source.tries(), a == b ? 1u : most_tries);
  report.tries += source.tries();
  ASSERT_TRUE(weight.own >= 0 && weight.own <= 1) << weight.own;
  ASSERT_TRUE(weight.partner >= 0 && weight.partner <= 1) << weight.partner;
  report.gap =
      std::max(report.gap, std::fabs(static_cast<double>(weight.own) + weight.partner - 1));

  Words const words = source.last();
  Exact const exact = a == b ? exact_symmetric(a, words) : exact_proposal(law, a, b, words);
  bool const own_is_smaller = exact.own < exact.partner;
  long double const small = std::min(exact.own, exact.partner);
  float const drawn = own_is_smaller ? weight.own : weight.partner;
  if (drawn == 0) {
    ASSERT_LT(small, smallest * (1 + 1e-6L));
    ASSERT_EQ(own_is_smaller ? weight.partner : weight.own, 1.0f);
  } else {
    ASSERT_GE(drawn, 0x1p-126f) << "what would be subnormal is exactly 0";
    report.error = std::max(report.error, static_cast<double>(std::fabs(drawn - small) / small));
  }
}

struct Shapes {
  float a, b;
};

class BetaOf : public testing::TestWithParam<Shapes> {};

TEST_P(BetaOf, SmallerSideIsExactToAMillionth) {
  auto const [a, b] = GetParam();
  std::mt19937_64 engine(0x2d72d2a07846f2b9u);
  std::uint32_t const a_millionth = 1u << 12;
  Report report;
  constexpr int draws = 40000;
  for (int i = 0; i < draws; ++i) {
    // In every second draw U is so near 1 that a small shape does not underflow.
    auto const any = [&] {
      std::uint64_t const x = engine(), y = engine();
      Words words = {{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                      static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y >> 32)}};
      if ((i & 1) != 0)
        words.w[0] = ~(words.w[0] % a_millionth * static_cast<std::uint32_t>(1 + (y & 0xffu)));
      return words;
    };
    ASSERT_NO_FATAL_FAILURE(check_draw(a, b, any, report));
  }
  for (int i = 0; i < extreme_blocks; ++i) {
    ASSERT_NO_FATAL_FAILURE(check_draw(
        a, b, [&] { return extreme_block(i); }, report));
  }
  EXPECT_LE(report.error, 1e-6);
  EXPECT_LE(report.gap, 0x1p-24);
  RecordProperty("error", std::to_string(report.error * 1e9) + "e-9");
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BetaOf,
    testing::Values(Shapes{1e-6f, 1e-6f}, Shapes{1e-5f, 1e-5f}, Shapes{1e-4f, 1e-4f},
                    Shapes{1e-3f, 1e-3f}, Shapes{0.01f, 0.01f}, Shapes{0.1f, 0.1f},
                    Shapes{0.2f, 0.2f}, Shapes{0.4f, 0.4f}, Shapes{1.0f, 1.0f}, Shapes{2.0f, 2.0f},
                    Shapes{8.0f, 8.0f}, Shapes{100.0f, 100.0f}, Shapes{1e4f, 1e4f},
                    Shapes{1e6f, 1e6f}, Shapes{1e-6f, 2e-6f}, Shapes{1e-6f, 1.0f},
                    Shapes{1e-6f, 1e6f}, Shapes{1e6f, 1e-6f}, Shapes{1e-3f, 1.1e-3f},
                    Shapes{1e-3f, 5.0f}, Shapes{0.01f, 1e4f}, Shapes{0.2f, 0.8f},
                    Shapes{2.0f, 1.0f}, Shapes{100.0f, 3.0f}, Shapes{5.0f, 1e6f},
                    Shapes{1e6f, 9e5f}, Shapes{999999.0f, 1e6f}));

TEST(Beta, SmallerSideIsExactToAMillionthForRandomShapes) {
  std::mt19937_64 engine(0x1d2b13d1113db777u);
  std::uniform_real_distribution<float> decade(-6.0f, 6.0f);
  Report report;
  constexpr int laws = 400, draws = 500;
  for (int i = 0; i < laws; ++i) {
    float const a = std::clamp(std::pow(10.0f, decade(engine)), 1e-6f, 1e6f);
    float const b = i % 4 == 0 ? a : std::clamp(std::pow(10.0f, decade(engine)), 1e-6f, 1e6f);
    auto const any = [&] {
      std::uint64_t const x = engine(), y = engine();
      return Words{{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                    static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y >> 32)}};
    };
    for (int k = 0; k < draws; ++k)
      ASSERT_NO_FATAL_FAILURE(check_draw(a, b, any, report)) << a << ' ' << b;
  }
  EXPECT_LE(report.error, 1e-6);
  EXPECT_LE(report.gap, 0x1p-24);
  EXPECT_LE(report.tries, 1.1 * laws * draws);
}

/// 31 x 31 shapes from 1e-6 to 1e6; each one with another.
template <class Visit>
void for_each_of_the_grid(Visit visit) {
  std::vector<float> shapes;
  for (int i = 0; i < 31; ++i) {
    shapes.push_back(std::clamp(static_cast<float>(std::pow(10.0, -6 + 0.4 * i)), 1e-6f, 1e6f));
  }
  for (float const a : shapes) {
    for (float const b : shapes) visit(a, b);
  }
}

TEST(Beta, EveryShapeOfTheGridIsDrawnFinite) {
  std::mt19937_64 engine(0x24e66793e3c74526u);
  for_each_of_the_grid([&](float a, float b) {
    BetaLaw const law = make_beta_law(a, b);
    for (int i = 0; i < 1000; ++i) {
      std::uint32_t tries = 0;
      Weight const weight = draw_beta(law, [&](std::uint32_t) {
        ++tries;
        std::uint64_t const x = engine(), y = engine();
        return Words{{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                      static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y >> 32)}};
      });
      ASSERT_TRUE(weight.own >= 0 && weight.own <= 1) << a << ' ' << b;
      ASSERT_LE(std::fabs(static_cast<double>(weight.own) + weight.partner - 1), 0x1p-24)
          << a << ' ' << b;
      ASSERT_LE(tries, most_tries);
    }
  });
}

TEST(Beta, ExtremeWordsEndForEveryShapeOfTheGrid) {
  for_each_of_the_grid([&](float a, float b) {
    Report report;
    for (std::uint32_t const word : extremes) {
      ASSERT_NO_FATAL_FAILURE(check_draw(
          a, b,
          [&] {
            return Words{{word, word, word, word}};
          },
          report))
          << a << ' ' << b << ' ' << word;
    }
    EXPECT_LE(report.error, 1e-6) << a << ' ' << b;
  });
}

TEST(Beta, HatLiesAboveTheDensityAndIsNotWasted) {
  for_each_of_the_grid([&](float a, float b) {
    if (a == b) return;
    BetaLaw const law = make_beta_law(a, b);
    long double const p =
        static_cast<long double>(std::min(a, b)) / (static_cast<long double>(a) + b);
    long double const total = static_cast<long double>(a) + b;
    long double density = 0;
    for (Side const side : {Side::left, Side::right}) {
      HatSide const& hat = side == Side::left ? law.left : law.right;
      ASSERT_GT(hat.corner, 0) << a << ' ' << b;
      long double const end = hat.corner + 40.0L * hat.scale;
      constexpr int steps = 2000;
      for (int i = 0; i < steps; ++i) {  // denser towards the mode
        long double const u = (i + 0.5L) / steps, distance = end * u * u * u;
        auto const x = static_cast<float>(distance);
        long double const z = side == Side::left ? -distance : distance;
        long double const growth = std::expm1(z);
        // Where expm1 overflows nothing is left of the density; for tiny z the series avoids
        // cancellation.
        long double const drop = std::fabs(z) < 1e-4L
                                     ? total * p * (1 - p) * z * z / 2 * (1 + (1 - 2 * p) * z / 3)
                                 : growth > 1e4000L ? total * ((1 - p) * z + std::log(p))
                                                    : total * (std::log1p(p * growth) - p * z);
        long double const hat_drop = std::max(0.0L, (distance - hat.corner) / hat.scale);
        ASSERT_GE(drop, hat_drop - 1e-6L * (1 + hat_drop))
            << a << ' ' << b << " at " << static_cast<double>(z);
        ASSERT_NEAR(
            static_cast<double>(
                log_drop(law, side, x, decay({x, static_cast<float>(distance - x)})) / drop),
            1, 4e-6)
            << a << ' ' << b << " at " << static_cast<double>(z);
        density += std::exp(-drop) * end * 3 * u * u / steps;
      }
    }
    long double const area = static_cast<long double>(law.left.scale) + law.left.corner +
                             law.right.corner + law.right.scale;
    EXPECT_GE(density / area, 0.883L) << a << ' ' << b;
    EXPECT_LE(density / area, 1.001L) << a << ' ' << b;
    EXPECT_NEAR(law.left.share, static_cast<double>(law.left.scale / area) * 0x1p32, 2000);
    EXPECT_NEAR(law.right.share, static_cast<double>(law.right.scale / area) * 0x1p32, 2000);
  });
}

TEST(Beta, SwappedShapesSwapTheSides) {
  for (Shapes const shapes : {Shapes{0.2f, 0.8f}, Shapes{1e-3f, 5.0f}, Shapes{3.0f, 100.0f}}) {
    BetaLaw const forward = make_beta_law(shapes.a, shapes.b),
                  backward = make_beta_law(shapes.b, shapes.a);
    for (int i = 0; i < extreme_blocks; ++i) {
      auto const words = [&](std::uint32_t) { return extreme_block(i); };
      Weight const x = draw_beta(forward, words), y = draw_beta(backward, words);
      EXPECT_EQ(x.own, y.partner);
      EXPECT_EQ(x.partner, y.own);
    }
  }
}

/// Rounding the larger side from the rounded smaller one costs up to 3/4 ulp, a mode kept as one
/// float 1 ulp.
TEST(Beta, NarrowLawsRoundEachSideOnce) {
  std::mt19937_64 engine(0xc170fe95a6ee16c9u);
  for (Shapes const shapes :
       {Shapes{1e6f, 1e6f}, Shapes{1e6f, 9e5f}, Shapes{9e5f, 1e6f}, Shapes{999999.0f, 1e6f}}) {
    BetaLaw const law = make_beta_law(shapes.a, shapes.b);
    for (int i = 0; i < 20000; ++i) {
      Recorder source([&] {
        std::uint64_t const x = engine(), y = engine();
        return Words{{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                      static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y >> 32)}};
      });
      Weight const weight = draw_beta(law, source);
      Exact const exact = law.symmetric ? exact_symmetric(shapes.a, source.last())
                                        : exact_proposal(law, shapes.a, shapes.b, source.last());
      auto const ulps = [](float drawn, long double from) {
        return static_cast<double>(std::fabs(drawn - from) * (drawn < 0.5f ? 0x1p25L : 0x1p24L));
      };
      ASSERT_LE(ulps(weight.own, exact.own), 0.6) << shapes.a << ' ' << shapes.b;
      ASSERT_LE(ulps(weight.partner, exact.partner), 0.6) << shapes.a << ' ' << shapes.b;
    }
  }
}

TEST(Beta, TheSixteenthProposalIsTaken) {
  BetaLaw const law = make_beta_law(2.0f, 1.0f);
  // The top word of the acceptance test leaves no room, and the place is far from the mode.
  Recorder source([] { return Words{{0u, 0u, 0x80000000u, 0xffffffffu}}; });
  Weight const weight = draw_beta(law, source);
  EXPECT_EQ(source.tries(), most_tries);
  EXPECT_TRUE(weight.own > 0 && weight.own < 1);
}

}  // namespace
}  // namespace mixfuse::maths
