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

/// A NaN gets one bit pattern, since processors differ in which they make.
MIXFUSE_HD inline float one_nan(float x) {
  auto const bits = static_cast<std::int32_t>(bits_of(x));
  return float_of(static_cast<std::uint32_t>(choose(x == x, bits, 0x7fc00000)));
}
MIXFUSE_HD inline double one_nan(double x) {
  return x == x ? x : static_cast<double>(float_of(0x7fc00000));
}

MIXFUSE_HD inline float widen(float x) { return x; }
MIXFUSE_HD inline double widen(double x) { return x; }
MIXFUSE_HD inline float widen(std::uint8_t x) {
#if defined(__CUDA_ARCH__)
  return float_of(0x4b000000u | x) - 0x1p23f;  // GPUs convert integers at a quarter of the rate
#else
  return static_cast<float>(x);
#endif
}
MIXFUSE_HD inline float widen(Bf16 x) { return float_of(std::uint32_t{x.bits} << 16); }
MIXFUSE_HD inline float widen(F16 x) {
  std::uint32_t const sign = (x.bits & 0x8000u) << 16;
  std::int32_t const rest = x.bits & 0x7fff;
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  std::uint32_t const nan = sign | 0x7f800000u | static_cast<std::uint32_t>(rest & 0x3ff) << 13;
  return rest > 0x7c00 ? float_of(nan) : wide;  // the processor would make all NaNs one
#else
  std::int32_t const normal = (rest << 13) + (rest >= 0x7c00 ? 0x70000000 : 0x38000000);
  // Subnormal: an integer times 2^-24, exact.
  auto const small = static_cast<std::int32_t>(bits_of(static_cast<float>(rest) * 0x1p-24f));
  return float_of(sign | static_cast<std::uint32_t>(choose(rest < 0x0400, small, normal)));
#endif
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

/// Of x in [-1/2, 255.5]: beyond 2^23 neighbours are 1 apart, so that the sum's lowest bits are the
/// rounded integer.
MIXFUSE_HD inline std::uint8_t nearest_byte(float x) {
  return static_cast<std::uint8_t>(bits_of(x + 0x1.8p23f));
}

/// Saturates; NaN does not occur, since u8 is only made of u8.
template <>
MIXFUSE_HD inline std::uint8_t narrow<std::uint8_t>(float x) {
  return nearest_byte(x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x);
}

/// Rounded, with the bits given for a NaN.
MIXFUSE_HD inline Bf16 rounded_bf16(float x, std::int32_t nan) {
  std::uint32_t const bits = bits_of(x);
  auto const number = static_cast<std::int32_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  return {static_cast<std::uint16_t>(choose(x == x, number, nan))};
}

MIXFUSE_HD inline F16 rounded_f16(float x, std::int32_t nan) {
#if defined(__CUDA_ARCH__)
  std::uint16_t rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
  return {x == x ? rounded : static_cast<std::uint16_t>(nan)};
#else
  auto const bits = static_cast<std::int32_t>(bits_of(x));
  std::int32_t const sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  std::int32_t const normal = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  // Below 2^-14: adding 1/2 leaves the rounded integer.
  float const shifted = float_of(static_cast<std::uint32_t>(rest)) + 0.5f;
  std::int32_t const small = static_cast<std::int32_t>(bits_of(shifted)) - 0x3f000000;
  std::int32_t half = choose(rest < 0x38800000, small, normal);
  half = choose(rest >= 0x477ff000, 0x7c00, half);  // 65520 and more
  return {static_cast<std::uint16_t>(choose(x == x, sign | half, nan))};
#endif
}

/// A NaN becomes quiet and keeps its sign and top payload bits.
template <>
MIXFUSE_HD inline Bf16 narrow<Bf16>(float x) {
  return rounded_bf16(x, static_cast<std::int32_t>(bits_of(x) >> 16 | 0x40));
}

template <>
MIXFUSE_HD inline F16 narrow<F16>(float x) {
  auto const bits = static_cast<std::int32_t>(bits_of(x));
  return rounded_f16(x, (bits >> 16 & 0x8000) | 0x7e00 | (bits >> 13 & 0x1ff));
}

/// The same of arithmetic's results, whose NaN differ between processors: each gets one pattern.
template <class T>
MIXFUSE_HD inline T narrow_to_one_nan(Real<T> x) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return rounded_bf16(x, 0x7fc0);
  } else if constexpr (std::is_same_v<T, F16>) {
    return rounded_f16(x, 0x7e00);
  } else if constexpr (std::is_same_v<T, Real<T>>) {
    return one_nan(x);
  } else {
    return narrow<T>(x);
  }
}

}  // namespace mixfuse::maths
