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
MIXFUSE_HD inline float widen(F16 x) {
  std::uint32_t const sign = (x.bits & 0x8000u) << 16;
  std::uint32_t const rest = x.bits & 0x7fffu;
  if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return float_of(sign | ((rest << 13) + 0x38000000));
  // Subnormal: an integer times 2^-24, exact.
  return float_of(sign | bits_of(static_cast<float>(rest) * 0x1p-24f));
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
  if ((bits & 0x7fffffff) > 0x7f800000) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <>
MIXFUSE_HD inline F16 narrow<F16>(float x) {
  std::uint32_t const bits = bits_of(x);
  std::uint32_t const sign = bits >> 16 & 0x8000;
  std::uint32_t const rest = bits & 0x7fffffff;
  std::uint32_t half;
  if (rest > 0x7f800000) {  // NaN stays quiet and keeps its top payload bits
    half = 0x7e00 | (rest >> 13 & 0x1ff);
  } else if (rest >= 0x477ff000) {  // 65520 and more
    half = 0x7c00;
  } else if (rest < 0x38800000) {  // below 2^-14: adding 1/2 leaves the rounded integer
    half = bits_of(float_of(rest) + 0.5f) - 0x3f000000;
  } else {
    half = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

}  // namespace mixfuse::maths
