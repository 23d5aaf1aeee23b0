// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/job.hpp"
#include "kernels/maths/hd.hpp"

namespace mixfuse::maths {

/// What the error word takes of a bad sample: larger for a smaller sample, never 0.
MIXFUSE_HD inline std::uint64_t error_mark(ErrorWord::Code code, std::int64_t sample) {
  return ~(static_cast<std::uint64_t>(sample) << 8 | static_cast<std::uint64_t>(code));
}

}  // namespace mixfuse::maths
