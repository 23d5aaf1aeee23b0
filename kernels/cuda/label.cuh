// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/error.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse::cuda {

inline constexpr int per_thread = 4;

/// Blocks' worth of labels.
__host__ __device__ inline std::int64_t label_items(LabelJob const& job, std::int64_t block) {
  std::int64_t const elements = job.samples * (job.sparse ? 1 : job.classes);
  return (elements + block * per_thread - 1) / (block * per_thread);
}

/// One block's worth, shared by the label kernel and by the blocks of the mix kernels that write
/// targets.
__device__ inline void label_item(LabelJob const& job, std::int64_t item) {
  std::int64_t const columns = job.sparse ? 1 : job.classes;
  std::int64_t const elements = job.samples * columns;
  for (int k = 0; k < per_thread; ++k) {
    std::int64_t const element = (item * per_thread + k) * blockDim.x + threadIdx.x;
    if (element >= elements) return;
    std::int64_t const sample = element / columns;
    std::int64_t const column = element - sample * columns;
    Row const& row = job.rows[sample];
    if (column == 0) {
      if (std::uint64_t const mark = maths::label_mark(job, row, sample)) {
        raise(job.header, job.header->step, mark);
      }
    }
    job.sparse ? maths::sparse_target(job, row, sample)
               : maths::dense_target(job, row, sample, column);
  }
}

}  // namespace mixfuse::cuda
