// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/hd.hpp"

namespace mixfuse::maths {

/// Divides numbers below 2^31 by one that is known before: a multiplication, since GPUs divide in
/// dozens of instructions. T. Granlund and P. L. Montgomery, Division by invariant integers using
/// multiplication, PLDI 1994.
struct Divisor {
  static constexpr std::int64_t end = std::int64_t{1} << 31;
  std::uint32_t by, factor, shift;

  MIXFUSE_HD std::uint32_t quotient(std::uint32_t x) const {
    return static_cast<std::uint32_t>((std::uint64_t{2 * x} * factor) >> 32) >> shift;
  }
};

/// 1 <= by < 2^31.
constexpr Divisor divisor(std::int64_t by) {
  std::uint32_t shift = 0;
  while ((std::int64_t{1} << shift) < by) ++shift;
  return {static_cast<std::uint32_t>(by),
          static_cast<std::uint32_t>(
              (std::uint64_t{1} << (31 + shift)) / static_cast<std::uint64_t>(by) + 1),
          shift};
}

}  // namespace mixfuse::maths
