// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "tests/support/number.hpp"

namespace mixfuse::test {

/// How far a blend of `own` and `partner` may be from the exact value.
inline long double blend_tolerance(DType out, long double own, long double partner) {
  long double const larger = std::max(std::fabs(own), std::fabs(partner));
  switch (out) {
    case DType::u8:
      return 0.5L + 0x1p-15L;
    case DType::f16:
    case DType::bf16:
      return (0.5L + 0x1p-10L) * ulp(out, larger);
    default:
      return ulp(out, larger);
  }
}

/// How far the sum of a dense row of targets, made from legal ids, may be from 1.
inline double row_sum_tolerance(DType target, double classes) {
  switch (target) {
    case DType::f16:
      return 0x1p-11 + classes * 0x1p-25;
    case DType::bf16:
      return 0x1p-8;
    default:
      return 2.4e-7;
  }
}

/// How far one target may be from the exact value.
inline long double target_tolerance(DType target, long double exact) {
  return (target == DType::f32 ? 2 : 0.5L + 0x1p-6L) * ulp(target, exact);
}

}  // namespace mixfuse::test
