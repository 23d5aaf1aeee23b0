// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/uniform.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::maths {

/// length^axes; at most 2^63 for the lengths that the host lets through.
MIXFUSE_HD inline std::uint64_t power(std::uint64_t length, int axes) {
  std::uint64_t product = length;
  for (int k = 1; k < axes; ++k) product *= length;
  return product;
}

/// floor(share * whole) without rounding, 0 <= share <= 1.
MIXFUSE_HD inline std::uint64_t floor_share(float share, std::uint64_t whole) {
  std::uint32_t bits;
  std::memcpy(&bits, &share, sizeof bits);
  if (bits >= 0x3f800000) return whole;  // 1
  int const exponent = static_cast<int>(bits >> 23);
  if (exponent < 127 - 64) return 0;  // share < 2^-63
  std::uint64_t const mantissa = (bits & 0x7fffff) | 0x800000;
  int const shift = 150 - exponent;  // share = mantissa / 2^shift, shift in 24..86
  std::uint64_t const low = mantissa * (whole & 0xffffffff);
  std::uint64_t const high = mantissa * (whole >> 32) + (low >> 32);
  if (shift >= 32) return high >> (shift - 32);
  return high << (32 - shift) | (low & 0xffffffff) >> shift;
}

/// Largest s with s^axes <= share * length^axes, decided in integers.
MIXFUSE_HD inline std::int32_t box_side(float share, std::int32_t length, int axes) {
  std::uint64_t const target = floor_share(share, power(static_cast<std::uint64_t>(length), axes));
  if (axes == 1) return static_cast<std::int32_t>(target);
  if (axes == 2) {
    // Below 2^62, so that the root is at most 1 too large or too small.
    auto side = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(target)));
    if (side * side > target) --side;
    if ((side + 1) * (side + 1) <= target) ++side;
    return static_cast<std::int32_t>(side);
  }
  std::uint64_t side = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 30; bit != 0; bit >>= 1) {
    std::uint64_t const tried = side | bit;
    if (tried <= static_cast<std::uint64_t>(length) && power(tried, axes) <= target) side = tried;
  }
  return static_cast<std::int32_t>(side);
}

struct Span {
  std::int32_t lo, hi;
};

MIXFUSE_HD inline Span clip(std::int64_t lo, std::int64_t hi, std::int32_t length) {
  return {static_cast<std::int32_t>(lo < 0 ? 0 : lo),
          static_cast<std::int32_t>(hi > length ? length : hi)};
}

/// One axis of a box of side `side` on `length` pixels, from the word high:low.
MIXFUSE_HD inline Span place(Boxes::Kind kind, std::int32_t side, std::int32_t length,
                             std::uint32_t high, std::uint32_t low) {
  std::int64_t const half = side / 2;
  if (half == 0 && (kind == Boxes::Kind::paper || kind == Boxes::Kind::uniform)) return {0, 0};
  auto const uniform = [&](std::int64_t n) {
    return static_cast<std::int64_t>(below(static_cast<std::uint32_t>(n), high, low));
  };
  switch (kind) {
    case Boxes::Kind::paper: {
      std::int64_t const centre = uniform(length);
      return clip(centre - half, centre + half, length);
    }
    case Boxes::Kind::uniform: {
      // [c - half, c + half) meets [0, L) for c in 1 - half .. L - 1 + half.
      std::int64_t const centre = uniform(length + 2 * half - 1) + 1 - half;
      return clip(centre - half, centre + half, length);
    }
    default: {
      std::int64_t const origin = uniform(std::int64_t{length} - side + 1);
      return clip(origin, origin + side, length);
    }
  }
}

/// own / all as f32, rounded once; 0 <= own <= all < 2^53.
MIXFUSE_HD inline float exact_share(std::uint64_t own, std::uint64_t all) {
  double const numerator = static_cast<double>(own);
  double const quotient = numerator / static_cast<double>(all);
  // The double quotient is rounded to odd, so that the second rounding decides alone.
  double const rest = std::fma(-quotient, static_cast<double>(all), numerator);
  std::uint64_t bits;
  std::memcpy(&bits, &quotient, sizeof bits);
  bits -= static_cast<std::uint64_t>(rest < 0.0);
  bits |= static_cast<std::uint64_t>(rest != 0.0);
  double odd;
  std::memcpy(&odd, &bits, sizeof odd);
  return static_cast<float>(odd);
}

}  // namespace mixfuse::maths
