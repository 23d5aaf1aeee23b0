// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/error.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse::cuda {

/// How blocks divide dense targets: `lanes` threads write a row, or one of the `chunks` of a long
/// one; a tile is a block's worth. There are fewer than 2^31 of them: more would be half a terabyte
/// of targets at least.
struct LabelTiling {
  static constexpr unsigned longest = 8;  // accesses of a thread
  unsigned lanes, rows, chunks, tiles;
};

struct LabelWork {
  LabelJob job;
  LabelTiling tiling;
};

/// Elements of 16 bytes; 1 where columns do not lie side by side or are labels' rows.
__host__ __device__ inline int label_width(LabelJob const& job) {
  if (!job.ids || job.out.stride[1] != 1) return 1;
  return job.out.dtype == DType::f32 ? 4 : 8;
}

/// Of a row, whose first and last may be partial.
__host__ __device__ inline std::int64_t label_accesses(LabelJob const& job) {
  int const width = label_width(job);  // a power of 2: see label_tiles about divisions
  return (job.classes >> (width == 8 ? 3 : width == 4 ? 2 : 0)) + 2;
}

inline LabelWork label_work(LabelJob const& job, int block) {
  std::int64_t const accesses = label_accesses(job);
  std::int64_t const lanes = job.sparse ? 1 : std::min<std::int64_t>(accesses, block);
  std::int64_t const rows = block / lanes;  // short ones share a block
  std::int64_t const chunk = lanes * LabelTiling::longest;
  std::int64_t const chunks = job.sparse ? 1 : (accesses + chunk - 1) / chunk;
  std::int64_t const tiles = (job.samples + rows - 1) / rows * chunks;
  return {job,
          {static_cast<unsigned>(lanes), static_cast<unsigned>(rows), static_cast<unsigned>(chunks),
           static_cast<unsigned>(tiles)}};
}

/// Accesses [begin, end) of a row, every `lanes`-th. They lie on multiples of 16 bytes, wherever
/// the row begins. All but its first and last and those of the two classes are alike.
template <class Out>
__device__ void write_one_hots(LabelJob const& job, Row const& row, std::int64_t sample,
                               unsigned begin, unsigned end, unsigned lanes) {
  constexpr int width = 16 / static_cast<int>(sizeof(Out)), shift = width == 8 ? 3 : 2;
  Out* const to = static_cast<Out*>(job.out.data) + sample * job.out.stride[0];
  int const before = static_cast<int>(reinterpret_cast<std::uintptr_t>(to) % 16 / sizeof(Out));
  // Of ids, which may be any numbers, the low word: another access that has it is made like theirs.
  auto const access_of = [&](std::int64_t id) {
    return static_cast<unsigned>((static_cast<std::uint64_t>(id) + before) >> shift);
  };
  maths::OneHots const hots = maths::one_hots(job, row, sample);
  unsigned const own = access_of(hots.own), partner = access_of(hots.partner);
  Packed<Out, width / 4> neither;  // a word of them
#pragma unroll
  for (int i = 0; i < width / 4; ++i) neither.put(i, maths::narrow<Out>(hots.neither));
  std::uint32_t const word = neither.word[0];
  for (unsigned access = begin; access < end; access += lanes) {
    std::int64_t const column = std::int64_t{access} * width - before;
    bool const whole = column >= 0 && column + width <= job.classes;
    if (whole && access != own && access != partner) {
      // Not a Packed's store(), which takes registers that small kernels do not have.
      __stcg(reinterpret_cast<uint4*>(to + column), uint4{word, word, word, word});
    } else if (column < job.classes) {
      maths::OneHots const again = maths::one_hots(job, row, sample);  // few registers for the rest
      for (int i = 0; i < width; ++i) {
        if (column + i >= 0 && column + i < job.classes) {
          to[column + i] = maths::narrow<Out>(again.at(column + i));
        }
      }
    }
  }
}

/// By `rows`, of the step that `step()` tells where an error asks for it.
template <class Step>
__device__ void label_tile(LabelJob const& job, LabelTiling const& tiling, Row const* rows,
                           Step const& step, unsigned tile) {
  unsigned const lane = threadIdx.x % tiling.lanes, local = threadIdx.x / tiling.lanes;
  unsigned const group = tile / tiling.chunks, chunk = tile % tiling.chunks;
  std::int64_t const sample = std::int64_t{group} * tiling.rows + local;
  if (local >= tiling.rows || sample >= job.samples) return;
  Row const& row = rows[sample];
  if (chunk == 0 && lane == 0) {
    if (std::uint64_t const mark = maths::label_mark(job, row, sample)) {
      raise(job.header, step(), mark);
    }
  }
  if (job.sparse) return maths::sparse_target(job, row, sample);

  std::int64_t const length = tiling.lanes * LabelTiling::longest, first = chunk * length;
  std::int64_t const end = first + length;
  if (label_width(job) == 1) {
    for (std::int64_t column = first + lane; column < min(end, job.classes);
         column += tiling.lanes) {
      maths::dense_target(job, row, sample, column);
    }
    return;
  }
  // Of fewer than 2^32 accesses: a row of more would be 64 GB.
  auto const begin = static_cast<unsigned>(first) + lane;
  auto const stop = static_cast<unsigned>(min(end, label_accesses(job)));
  switch (job.out.dtype) {
    case DType::f16:
      return write_one_hots<maths::F16>(job, row, sample, begin, stop, tiling.lanes);
    case DType::bf16:
      return write_one_hots<maths::Bf16>(job, row, sample, begin, stop, tiling.lanes);
    default:
      return write_one_hots<float>(job, row, sample, begin, stop, tiling.lanes);
  }
}

/// A tile and each that is a whole grid later. A function of its own, since inlined it would be
/// most of each mix kernel. To need no stack it calls nothing, and 64-bit divisions are calls;
/// kernels call it before they have anything to keep.
static __device__ __noinline__ unsigned label_tiles(LabelWork const& work, unsigned tile) {
  auto const step = [&] { return work.job.header->step; };
  for (; tile < work.tiling.tiles; tile += gridDim.x) {
    label_tile(work.job, work.tiling, work.job.rows, step, tile);
  }
  return tile;
}

/// The same by a step's early rows, and every `stride`-th tile.
static __device__ __noinline__ unsigned label_tiles_of_step(LabelWork const& work, Row const* rows,
                                                            std::uint64_t step, unsigned tile,
                                                            unsigned stride) {
  for (; tile < work.tiling.tiles; tile += stride) {
    label_tile(
        work.job, work.tiling, rows, [&] { return step; }, tile);
  }
  return tile;
}

}  // namespace mixfuse::cuda
