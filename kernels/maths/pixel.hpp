// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/real.hpp"

namespace mixfuse::maths {

/// Sixteen-bit floats as they lie in memory.
struct F16 {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};

/// Blending is in f32, for f64 in f64.
template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;

MIXFUSE_HD inline float widen(float x) { return x; }
MIXFUSE_HD inline double widen(double x) { return x; }
MIXFUSE_HD inline float widen(std::uint8_t x) { return static_cast<float>(x); }
MIXFUSE_HD inline float widen(Bf16 x) { return float_of(std::uint32_t{x.bits} << 16); }
/// No branch, so that loops over it vectorise.
MIXFUSE_HD inline float widen(F16 x) {
  std::uint32_t const sign = (x.bits & 0x8000u) << 16;
  std::int32_t const rest = x.bits & 0x7fff;
  std::int32_t const normal = (rest << 13) + (rest >= 0x7c00 ? 0x70000000 : 0x38000000);
  // Subnormal: an integer times 2^-24, exact.
  auto const small = static_cast<std::int32_t>(bits_of(static_cast<float>(rest) * 0x1p-24f));
  return float_of(sign | static_cast<std::uint32_t>(rest < 0x0400 ? small : normal));
}

/// The store: one rounding to nearest even, where the type is narrower.
template <class T>
MIXFUSE_HD inline T narrow(Real<T> x);

template <>
MIXFUSE_HD inline float narrow<float>(float x) {
  return x;
}

template <>
MIXFUSE_HD inline double narrow<double>(double x) {
  return x;
}

/// Saturates; NaN does not occur, since u8 is only made of u8.
template <>
MIXFUSE_HD inline std::uint8_t narrow<std::uint8_t>(float x) {
  float const clamped = x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x;
  return static_cast<std::uint8_t>(bits_of(clamped + 0x1p23f));  // its lowest bits are the integer
}

template <>
MIXFUSE_HD inline Bf16 narrow<Bf16>(float x) {
  std::uint32_t const bits = bits_of(x);
  std::uint32_t const rounded = bits + 0x7fff + (bits >> 16 & 1);
  return {static_cast<std::uint16_t>((x == x ? rounded : bits | 0x400000) >> 16)};
}

template <>
MIXFUSE_HD inline F16 narrow<F16>(float x) {
  auto const bits = static_cast<std::int32_t>(bits_of(x));
  std::int32_t const sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  std::int32_t const normal = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  // Below 2^-14: adding 1/2 leaves the rounded integer.
  float const shifted = float_of(static_cast<std::uint32_t>(rest)) + 0.5f;
  std::int32_t const small = static_cast<std::int32_t>(bits_of(shifted)) - 0x3f000000;
  std::int32_t const nan = 0x7e00 | (rest >> 13 & 0x1ff);  // quiet, top payload bits kept
  std::int32_t half = rest < 0x38800000 ? small : normal;
  half = rest >= 0x477ff000 ? 0x7c00 : half;  // 65520 and more
  half = rest > 0x7f800000 ? nan : half;
  return {static_cast<std::uint16_t>(sign | half)};
}

}  // namespace mixfuse::maths
