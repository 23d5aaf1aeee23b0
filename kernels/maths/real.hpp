// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/maths/hd.hpp"

/// Elementary functions from + - * / sqrt fma and integers alone, since the processors' own
/// libraries differ in the last bits. All polynomials are minimax fits with coefficients rounded to
/// float.
namespace mixfuse::maths {

/// The unevaluated sum hi + lo.
struct TwoFloat {
  float hi, lo;
};

MIXFUSE_HD inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

MIXFUSE_HD inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// A choice without a branch: a host compiler moves arithmetic into one, and then its loops do not
/// vectorise, or a processor guesses wrong half of the time.
MIXFUSE_HD inline std::int32_t choose(bool first, std::int32_t a, std::int32_t b) {
#if defined(__CUDA_ARCH__)
  return first ? a : b;
#else
  std::int32_t const mask = -static_cast<std::int32_t>(first);
  return (a & mask) | (b & ~mask);
#endif
}
MIXFUSE_HD inline float choose(bool first, float a, float b) {
  return float_of(static_cast<std::uint32_t>(
      choose(first, static_cast<std::int32_t>(bits_of(a)), static_cast<std::int32_t>(bits_of(b)))));
}

/// 2^k, k in [-126, 127].
MIXFUSE_HD inline float power_of_two(std::int32_t k) {
  return float_of(static_cast<std::uint32_t>(k + 127) << 23);
}

/// value / 2^n, n in [0, 252], in two steps because 2^-n alone would underflow.
MIXFUSE_HD inline float halved(float value, std::int32_t n) {
  return value * power_of_two(-(n / 2)) * power_of_two(-(n - n / 2));
}

/// a + b exactly.
MIXFUSE_HD inline TwoFloat two_sum(float a, float b) {
  float const sum = a + b;
  float const b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// a b to about 2^-45.
MIXFUSE_HD inline TwoFloat product(TwoFloat a, TwoFloat b) {
  float const hi = a.hi * b.hi;
  return two_sum(hi, std::fma(a.hi, b.hi, -hi) + std::fma(a.hi, b.lo, a.lo * b.hi));
}

/// a / b to about 2^-45.
MIXFUSE_HD inline TwoFloat quotient(TwoFloat a, TwoFloat b) {
  float const reciprocal = 1.0f / b.hi;
  float const hi = a.hi * reciprocal;
  return two_sum(hi, (std::fma(-hi, b.hi, a.hi) + std::fma(-hi, b.lo, a.lo)) * reciprocal);
}

// The high part has 15 bits, so that its product with an exponent is exact.
constexpr float ln2_hi = 0x1.62e4p-1f;
constexpr float ln2_lo = 0x1.7f7d1cp-20f;

/// The k for which value / 2^k lies in [sqrt(1/2), sqrt(2)); value is normal and positive.
MIXFUSE_HD inline std::int32_t nearest_exponent(float value) {
  constexpr std::uint32_t one = 0x3f800000u, sqrt_half = 0x3f3504f3u;
  return static_cast<std::int32_t>((bits_of(value) + (one - sqrt_half)) >> 23) - 127;
}

/// ln((1 + s) / (1 - s)) - 2 s for |s| <= 1/3. With s = x / (2 + x) the logarithm is ln(1 + x).
MIXFUSE_HD inline float log_tail(float s) {
  float const square = s * s;
  float p = 0x1.fa3712p-3f;
  p = std::fma(p, square, 0x1.b61054p-3f);
  p = std::fma(p, square, 0x1.24ff66p-2f);
  p = std::fma(p, square, 0x1.9997b8p-2f);
  p = std::fma(p, square, 0x1.555556p-1f);
  return s * square * p;
}

/// -ln U to 2^-28, U = (high:low | 1) / 2^64, which is neither 0 nor 1.
MIXFUSE_HD inline TwoFloat negative_log(std::uint32_t high, std::uint32_t low) {
  std::uint64_t const n = (static_cast<std::uint64_t>(high) << 32) | low | 1u;
  std::int32_t const k = nearest_exponent(static_cast<float>(n));
  std::uint64_t const power =
      k < 64 ? std::uint64_t{1} << k : 0u;  // 2^64 wraps, and so does n - 2^64
  auto const rest = static_cast<std::int64_t>(n - power);
  auto const rest_hi = static_cast<float>(rest);
  auto const rest_lo = static_cast<float>(rest - static_cast<std::int64_t>(rest_hi));
  TwoFloat const f = {rest_hi * power_of_two(-k), rest_lo * power_of_two(-k)};  // n / 2^k - 1
  TwoFloat divisor = two_sum(2.0f, f.hi);
  divisor.lo += f.lo;
  TwoFloat const s = quotient(f, divisor);
  auto const twos = static_cast<float>(64 - k);
  TwoFloat const sum = two_sum(twos * ln2_hi, -2.0f * s.hi);
  float const rest_of_log = std::fma(-2.0f, s.lo, -log_tail(s.hi));
  return two_sum(sum.hi, sum.lo + std::fma(twos, ln2_lo, rest_of_log));
}

/// x - ln(1 + x) without cancellation, x in [-1/2, 1].
MIXFUSE_HD inline float log_defect(float x) {
  float const s = x / (2.0f + x);
  return x * s - log_tail(s);
}

/// ln x, x in [2^-126, 2^126].
MIXFUSE_HD inline float log_of(float x) {
  std::int32_t const k = nearest_exponent(x);
  float const f = x * power_of_two(-k) - 1.0f;
  auto const twos = static_cast<float>(k);
  return std::fma(twos, ln2_hi, std::fma(twos, ln2_lo, f - log_defect(f)));
}

/// ln(1 + x), x in [0, 2^126].
MIXFUSE_HD inline float log1p_of(float x) {
  return x <= 1.0f ? x - log_defect(x) : log_of(1.0f + x);
}

/// e^-x and what is needed beside it without cancellation.
struct Decay {
  float mantissa;         // e^-x = mantissa / 2^halvings
  std::int32_t halvings;  // 0 to 231
  float value;            // e^-x, which may underflow
  float lost;             // 1 - e^-x
  float excess;           // e^-x - 1 + x
};

/// x >= 0; the exponential's argument stops at 160, below every normal float that the samplers make
/// of it.
MIXFUSE_HD inline Decay decay(TwoFloat x) {
  bool const fits = x.hi < 160.0f;
  TwoFloat const y = {choose(fits, x.hi, 160.0f), choose(fits, x.lo, 0.0f)};
  constexpr float to_integer = 0x1.8p23f;
  float const twos = (y.hi * 0x1.715476p0f + to_integer) - to_integer;
  auto const n = static_cast<std::int32_t>(twos);
  float const r = std::fma(twos, ln2_hi, -y.hi) + std::fma(twos, ln2_lo, -y.lo);
  float p = 0x1.a18032p-13f;
  p = std::fma(p, r, 0x1.6d225ap-10f);
  p = std::fma(p, r, 0x1.111056p-7f);
  p = std::fma(p, r, 0x1.55550cp-5f);
  p = std::fma(p, r, 0x1.555556p-3f);
  p = std::fma(p, r, 0.5f);
  float const curvature = r * r * p;   // e^r - 1 - r
  float const change = r + curvature;  // e^r - 1
  float const mantissa = 1.0f + change;
  float const power = halved(1.0f, n);
  float const lost = std::fma(-power, change, 1.0f - power);
  return {mantissa, n, mantissa * power, lost, n == 0 ? curvature : x.hi - lost};
}

/// sin^2(pi f / 2), f = (word | 1) / 2^32.
MIXFUSE_HD inline float sine_squared(std::uint32_t word) {
  float const f = static_cast<float>(word | 1u) * 0x1p-32f;
  float const square = f * f;
  float p = 0x1.466de4p-13f;
  p = std::fma(p, square, -0x1.32e03cp-8f);
  p = std::fma(p, square, 0x1.466ee4p-4f);
  p = std::fma(p, square, -0x1.4abbeep-1f);
  p = std::fma(p, square, 0x1.921fb6p0f);
  float const sine = f * p;
  return sine * sine;
}

}  // namespace mixfuse::maths
