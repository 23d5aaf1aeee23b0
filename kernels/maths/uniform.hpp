// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/hd.hpp"

namespace mixfuse::maths {

/// Uniform in 0..n-1, n < 2^32, as floor(word n / 2^64): no value off by more than n / 2^64.
MIXFUSE_HD inline std::uint32_t below(std::uint32_t n, std::uint32_t high, std::uint32_t low) {
  return static_cast<std::uint32_t>((std::uint64_t{high} * n + (std::uint64_t{low} * n >> 32)) >>
                                    32);
}

}  // namespace mixfuse::maths
