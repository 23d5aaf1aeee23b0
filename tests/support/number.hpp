// SPDX-License-Identifier: Apache-2.0
#pragma once

// Elements of any dtype as numbers; written without the library's maths.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "mixfuse/tensor.hpp"

namespace mixfuse::test {

/// Of a binary floating point format.
struct Format {
  int fraction;  // stored bits
  int exponent;  // bits
  [[nodiscard]] int bias() const { return (1 << (exponent - 1)) - 1; }
};

inline Format format_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return {10, 5};
    case DType::bf16:
      return {7, 8};
    case DType::f32:
      return {23, 8};
    case DType::f64:
      return {52, 11};
    default:
      throw std::logic_error("not a floating point dtype");
  }
}

inline bool is_float(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

/// One rounding, to nearest even.
inline std::uint64_t encode(long double value, Format format) {
  std::uint64_t const sign = std::signbit(value) ? 1ULL << (format.fraction + format.exponent) : 0;
  std::uint64_t const infinite = ((1ULL << format.exponent) - 1) << format.fraction;
  if (std::isnan(value)) return sign | infinite | 1ULL << (format.fraction - 1);
  value = std::fabs(value);
  if (value == 0) return sign;
  if (std::isinf(value)) return sign | infinite;
  int const smallest = 1 - format.bias();
  int const power = std::max(std::ilogb(value), smallest);
  long double const quanta = std::nearbyint(std::ldexp(value, format.fraction - power));
  if (power > format.bias()) return sign | infinite;
  std::uint64_t const bits = (static_cast<std::uint64_t>(power - smallest) << format.fraction) +
                             static_cast<std::uint64_t>(quanta);
  return sign | std::min(bits, infinite);
}

inline long double decode(std::uint64_t bits, Format format) {
  std::uint64_t const fraction = bits & ((1ULL << format.fraction) - 1);
  auto const power = static_cast<int>((bits >> format.fraction) & ((1ULL << format.exponent) - 1));
  bool const negative = (bits >> (format.fraction + format.exponent) & 1) != 0;
  long double magnitude = 0;
  if (power == (1 << format.exponent) - 1) {
    magnitude = fraction == 0 ? HUGE_VALL : std::nanl("");
  } else if (power == 0) {
    magnitude = std::ldexp(static_cast<long double>(fraction), 1 - format.bias() - format.fraction);
  } else {
    magnitude = std::ldexp(static_cast<long double>(fraction + (1ULL << format.fraction)),
                           power - format.bias() - format.fraction);
  }
  return negative ? -magnitude : magnitude;
}

inline std::uint64_t bits_at(DType dtype, std::byte const* from) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, from, size_of(dtype));
  return bits;
}

inline long double load(DType dtype, std::byte const* from) {
  std::uint64_t const bits = bits_at(dtype, from);
  if (is_float(dtype)) return decode(bits, format_of(dtype));
  if (dtype == DType::i32) return static_cast<std::int32_t>(bits);
  return static_cast<long double>(static_cast<std::int64_t>(bits));
}

inline void store(DType dtype, std::byte* to, long double value) {
  std::uint64_t const bits = is_float(dtype)
                                 ? encode(value, format_of(dtype))
                                 : static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  std::memcpy(to, &bits, size_of(dtype));
}

/// Distance between neighbours of that dtype at a value.
inline long double ulp(DType dtype, long double value) {
  Format const format = format_of(dtype);
  int const power = value == 0 ? 1 - format.bias() : std::max(std::ilogb(value), 1 - format.bias());
  return std::ldexp(1.0L, power - format.fraction);
}

}  // namespace mixfuse::test
