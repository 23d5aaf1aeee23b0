// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/job.hpp"

namespace mixfuse::cpu {

/// Keeps the smallest bad sample of the first bad step.
inline void raise(PlanHeader& header, std::uint64_t mark) {
  std::uint64_t const claim = header.step + 1;
  if (header.error.claim == 0) header.error.claim = claim;
  if (header.error.claim == claim) header.error.first = std::max(header.error.first, mark);
}

}  // namespace mixfuse::cpu
