// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/job.hpp"

namespace mixfuse::cuda {

/// Keeps the smallest bad sample of the first bad step, whatever the order of threads.
__device__ inline void raise(PlanHeader* header, std::uint64_t step, std::uint64_t mark) {
  using Word = unsigned long long;
  Word const claim = step + 1;
  Word const before = atomicCAS(reinterpret_cast<Word*>(&header->error.claim), Word{0}, claim);
  if (before == 0 || before == claim) {
    atomicMax(reinterpret_cast<Word*>(&header->error.first), static_cast<Word>(mark));
  }
}

}  // namespace mixfuse::cuda
