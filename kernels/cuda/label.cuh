// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/error.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse::cuda {

/// How a block divides dense targets: `lanes` threads write a row, or a chunk of a long one.
struct LabelTiling {
  static constexpr std::int64_t widest = 8;   // elements of an access
  static constexpr std::int64_t longest = 8;  // accesses of a thread
  std::int64_t lanes, rows, chunk, chunks;

  __host__ __device__ LabelTiling(LabelJob const& job, std::int64_t block) {
    // A row's first and last accesses may be partial; short rows share a block.
    std::int64_t const accesses = job.classes / width(job) + 2;
    lanes = accesses < block ? accesses : block;
    rows = job.sparse ? block : block / lanes;
    chunk = lanes * longest;
    chunks = job.sparse ? 1 : (accesses + chunk - 1) / chunk;
  }

  /// Elements of 16 bytes; 1 where columns do not lie side by side or are labels' rows.
  static __host__ __device__ std::int64_t width(LabelJob const& job) {
    if (!job.ids || job.out.stride[1] != 1) return 1;
    return job.out.dtype == DType::f32 ? 4 : 8;
  }
};

inline std::int64_t label_tiles(LabelJob const& job, std::int64_t block) {
  LabelTiling const tiling(job, block);
  return (job.samples + tiling.rows - 1) / tiling.rows * tiling.chunks;
}

/// Accesses [begin, end) of a row, every `lanes`-th. They lie on multiples of 16 bytes, wherever
/// the row begins.
template <class Out>
__device__ void write_one_hots(LabelJob const& job, maths::OneHots const& hots, std::int64_t sample,
                               std::int64_t begin, std::int64_t end, std::int64_t lanes) {
  constexpr int width = 16 / static_cast<int>(sizeof(Out));
  Out* const row = static_cast<Out*>(job.out.data) + sample * job.out.stride[0];
  auto const before =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % 16 / sizeof(Out));
  for (std::int64_t access = begin; access < end; access += lanes) {
    std::int64_t const column = access * width - before;
    if (column >= 0 && column + width <= job.classes) {
      Packed<Out, width> packed;
#pragma unroll
      for (int i = 0; i < width; ++i) packed.put(i, maths::narrow<Out>(hots.at(column + i)));
      packed.store(row + column);
    } else {
      for (int i = 0; i < width; ++i) {
        if (column + i >= 0 && column + i < job.classes) {
          row[column + i] = maths::narrow<Out>(hots.at(column + i));
        }
      }
    }
  }
}

/// One block's worth, shared by the label kernel and by the blocks of the mix kernels that write
/// targets. A function of its own: inlined, it would be most of each of them.
static __device__ __noinline__ void label_tile(LabelJob const& job, std::int64_t tile) {
  LabelTiling const tiling(job, blockDim.x);
  std::int64_t const lanes = job.sparse ? 1 : tiling.lanes;
  std::int64_t const chunk = tile % tiling.chunks, lane = threadIdx.x % lanes;
  std::int64_t const local = threadIdx.x / lanes;
  std::int64_t const sample = tile / tiling.chunks * tiling.rows + local;
  if (local >= tiling.rows || sample >= job.samples) return;
  Row const& row = job.rows[sample];
  if (chunk == 0 && lane == 0) {
    if (std::uint64_t const mark = maths::label_mark(job, row, sample)) {
      raise(job.header, job.header->step, mark);
    }
  }
  if (job.sparse) return maths::sparse_target(job, row, sample);

  std::int64_t const begin = chunk * tiling.chunk + lane, end = (chunk + 1) * tiling.chunk;
  if (tiling.width(job) == 1) {
    for (std::int64_t column = begin; column < min(end, job.classes); column += lanes) {
      maths::dense_target(job, row, sample, column);
    }
    return;
  }
  maths::OneHots const hots = maths::one_hots(job, row, sample);
  std::int64_t const stop = min(end, job.classes / tiling.width(job) + 2);
  switch (job.out.dtype) {
    case DType::f16:
      return write_one_hots<maths::F16>(job, hots, sample, begin, stop, lanes);
    case DType::bf16:
      return write_one_hots<maths::Bf16>(job, hots, sample, begin, stop, lanes);
    default:
      return write_one_hots<float>(job, hots, sample, begin, stop, lanes);
  }
}

}  // namespace mixfuse::cuda
