// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/real.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

namespace mixfuse::maths {
namespace {

constexpr int samples = 1000000;

class Largest {
 public:
  void relative(long double value, long double exact) {
    long double const error = exact == 0 ? std::fabs(value) : std::fabs((value - exact) / exact);
    if (!(error <= error_)) error_ = error;  // a NaN stays
  }
  double error() const { return static_cast<double>(error_); }

 private:
  long double error_ = 0;
};

class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : engine_(seed) {}
  float between(float lo, float hi) {
    return std::uniform_real_distribution<float>(lo, hi)(engine_);
  }
  float magnitude(float lo, float hi) {
    return std::clamp(std::exp(between(std::log(lo), std::log(hi))), lo, hi);
  }
  std::uint64_t bits() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

long double exact_negative_log(std::uint64_t n) {
  n |= 1u;
  return n >> 63 != 0 ? -std::log1p(-std::ldexp(static_cast<long double>(~n + 1u), -64))
                      : 64 * std::log(2.0L) - std::log(static_cast<long double>(n));
}

long double sum(TwoFloat x) { return static_cast<long double>(x.hi) + x.lo; }

TEST(Real, BitsOfAFloatComeBack) {
  for (std::uint32_t const bits : {0u, 1u, 0x3f800000u, 0x7f7fffffu, 0x80000000u, 0xff800000u}) {
    EXPECT_EQ(bits_of(float_of(bits)), bits);
  }
}

TEST(Real, PowersOfTwoAreExact) {
  for (std::int32_t k = -126; k <= 127; ++k) EXPECT_EQ(power_of_two(k), std::ldexp(1.0f, k));
  for (std::int32_t n = 0; n <= 252; ++n) EXPECT_EQ(halved(1.5f, n), std::ldexp(1.5f, -n)) << n;
}

TEST(Real, NearestExponentPutsAValueAboutOne) {
  Numbers numbers(0x761cba7d8beb5feeu);
  for (int i = 0; i < samples; ++i) {
    float const x = numbers.magnitude(1e-37f, 1e37f);
    float const m = std::ldexp(x, -nearest_exponent(x));
    ASSERT_GE(m, 0.70710677f) << x;
    ASSERT_LT(m, 1.41421366f) << x;
  }
}

TEST(Real, TwoFloatArithmeticKeepsTwiceTheDigits) {
  Numbers numbers(0xed8dfba9f2b31b03u);
  Largest of_product, of_quotient;
  for (int i = 0; i < samples; ++i) {
    float const a = numbers.magnitude(1e-9f, 1e9f), b = numbers.magnitude(1e-9f, 1e9f);
    EXPECT_EQ(sum(two_sum(a, -b)), static_cast<long double>(a) - b);
    TwoFloat const x = {a, a * numbers.between(-0x1p-25f, 0x1p-25f)};
    TwoFloat const y = {b, b * numbers.between(-0x1p-25f, 0x1p-25f)};
    of_product.relative(sum(product(x, y)), sum(x) * sum(y));
    of_quotient.relative(sum(quotient(x, y)), sum(x) / sum(y));
  }
  EXPECT_LE(of_product.error(), 0x1p-45);
  EXPECT_LE(of_quotient.error(), 0x1p-45);
}

TEST(Real, NegativeLogKeepsTwentyEightBits) {
  Numbers numbers(0x486408811c30e3afu);
  Largest largest;
  auto const check = [&](std::uint64_t n) {
    TwoFloat const log =
        negative_log(static_cast<std::uint32_t>(n >> 32), static_cast<std::uint32_t>(n));
    ASSERT_GT(log.hi, 0.0f) << n;
    ASSERT_EQ(log.hi, log.hi + log.lo) << n;
    largest.relative(sum(log), exact_negative_log(n));
  };
  for (int i = 0; i < samples; ++i) {
    std::uint64_t const n = numbers.bits();
    check(n);
    check(n >> (numbers.bits() & 63u));     // U near 0
    check(~(n >> (numbers.bits() & 63u)));  // U near 1
    check(0xb504f333f9de6484u +
          (n >> (numbers.bits() & 63u)) / 8);  // about sqrt(1/2), where the exponent steps
  }
  for (std::uint64_t const n :
       {0ull, 1ull, 2ull, ~0ull, 0x7fffffffffffffffull, 0x8000000000000000ull})
    check(n);
  EXPECT_LE(largest.error(), 0x1p-28);
}

TEST(Real, LogarithmsAgreeWithLongDouble) {
  Numbers numbers(0x4c685f206c24ee67u);
  Largest defect, log1p;
  long double log = 0;
  for (int i = 0; i < samples; ++i) {
    for (float const x : {numbers.between(-0.5f, 1.0f), numbers.magnitude(1e-6f, 1.0f),
                          -numbers.magnitude(1e-6f, 0.5f)}) {
      long double const exact = x;
      long double const near_zero =
          exact * exact * (0.5L - exact * (1.0L / 3 - exact * (0.25L - exact * 0.2L)));
      defect.relative(log_defect(x), std::fabs(x) < 1e-4f ? near_zero : exact - std::log1p(exact));
    }
    float const large = numbers.magnitude(1e-12f, 1e13f);
    log = std::max(log, std::fabs(log_of(large) - std::log(static_cast<long double>(large))) /
                            std::max(1.0L, std::fabs(std::log(static_cast<long double>(large)))));
    log1p.relative(log1p_of(large), std::log1p(static_cast<long double>(large)));
  }
  EXPECT_LE(defect.error(), 3.5e-7);
  EXPECT_LE(log, 1.2e-7L);
  EXPECT_LE(log1p.error(), 2e-7);
}

TEST(Real, DecayKeepsItsDigitsAtBothEnds) {
  Numbers numbers(0x8c9df35f13d06af7u);
  Largest scaled, lost, excess;
  for (int i = 0; i < samples; ++i) {
    float const hi =
        (i & 1) != 0 ? numbers.between(0.0f, 159.9f) : numbers.magnitude(1e-12f, 20.0f);
    TwoFloat const x = two_sum(hi, hi * numbers.between(-0x1p-25f, 0x1p-25f));
    Decay const e = decay(x);
    scaled.relative(std::ldexp(static_cast<long double>(e.mantissa), -e.halvings),
                    std::exp(-sum(x)));
    lost.relative(e.lost, -std::expm1(-sum(x)));
    long double const y = sum(x);
    excess.relative(e.excess, y < 1e-3L
                                  ? y * y * (0.5L - y * (1.0L / 6 - y * (1.0L / 24 - y / 120)))
                                  : std::expm1(-y) + y);
    ASSERT_NEAR(e.value, halved(e.mantissa, e.halvings), 0x1p-149f);  // subnormals may round twice
  }
  EXPECT_LE(scaled.error(), 1.2e-7);
  EXPECT_LE(lost.error(), 1.6e-7);
  EXPECT_LE(excess.error(), 1.2e-6);
}

TEST(Real, DecayIsDefinedAtNothingAndFarOut) {
  Decay const none = decay({0.0f, 0.0f});
  EXPECT_EQ(none.value, 1.0f);
  EXPECT_EQ(none.lost, 0.0f);
  EXPECT_EQ(none.excess, 0.0f);
  for (float const x : {160.0f, 161.0f, 1e9f, std::numeric_limits<float>::max()}) {
    Decay const far = decay({x, 0.0f});
    EXPECT_EQ(far.halvings, 231);
    EXPECT_EQ(far.value, 0.0f);
    EXPECT_EQ(far.lost, 1.0f);
    EXPECT_EQ(far.excess, x - 1.0f);
  }
}

TEST(Real, SineSquaredAgreesWithLongDouble) {
  Numbers numbers(0xa2a1c9f08fc24563u);
  Largest largest;
  auto const check = [&](std::uint32_t word) {
    long double const f = std::ldexp(static_cast<long double>(word | 1u), -32);
    long double const sine = std::sin(std::acos(-1.0L) / 2 * f);
    largest.relative(sine_squared(word), sine * sine);
  };
  for (int i = 0; i < samples; ++i) {
    auto const word = static_cast<std::uint32_t>(numbers.bits());
    check(word);
    check(word >> (numbers.bits() & 31u));
  }
  for (std::uint32_t const word :
       {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffff7fu, 0xffffff80u, 0xffffffffu})
    check(word);
  EXPECT_LE(largest.error(), 4.5e-7);
}

}  // namespace
}  // namespace mixfuse::maths
