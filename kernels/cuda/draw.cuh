// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/error.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/sort.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/error.hpp"
#include "kernels/maths/order.hpp"
#include "kernels/maths/row.hpp"

/// How blocks draw a plan: some pair a group each, by sorting it, beside others that draw a row a
/// thread.
namespace mixfuse::cuda {

using maths::Drawing;

/// Where rows and their order are drawn to.
struct Drawn {
  Row* rows;
  Turn* order;
};

/// Rows of a block that draws: a warp for each of its schedulers is done soonest.
inline constexpr int rows_drawn = 128;

/// The pieces of a plan of so many groups: each group, and rows by the block, but where the blocks
/// that pair go on to draw what they have paired.
__host__ __device__ inline std::int64_t pieces(PlanJob const& job, std::int64_t groups, int block) {
  bool const sorted = maths::needs_sort(job.pairing);
  std::int64_t const to_draw = sorted && job.granularity == Granularity::pair
                                   ? 0
                                   : up(job.samples, block < rows_drawn ? block : rows_drawn);
  return (sorted ? groups : 0) + to_draw;
}

/// Where a batch begins in its first group is not known of a live draw: one more at the most.
inline std::int64_t groups_to_sort(PlanJob const& job) {
  if (job.live == nullptr) return maths::group_count(job);
  return job.group == 0 ? 1 : (job.samples - 1) / job.group + 2;
}

/// The draw is read as it is in memory, where a block that comes last writes its step.
__device__ inline Draw read_draw(PlanJob const& job) {
  if (job.live == nullptr) return job.draw;
  Draw const volatile& live = *job.live;
  return {live.seed, live.step, live.first};
}

/// Entries of the largest group that is sorted, 0 where none is.
inline std::int32_t largest_sort(PlanJob const& job) {
  if (!maths::needs_sort(job.pairing)) return 0;
  return job.group == 0 ? job.samples
                        : static_cast<std::int32_t>(std::min<std::int64_t>(job.group, job.samples));
}

/// All but the partner, which another block may be writing.
__device__ inline void write_draws(Row& to, Row const& row) {
  to.outside = row.outside;
  to.inside = row.inside;
  to.label = row.label;
  to.flip = row.flip;
  to.box = row.box;
}

__device__ inline void write_link(Drawn const& to, maths::Link link, std::int32_t at) {
  Turn const turn = maths::turn(link);
  to.rows[link.sample].partner = turn.partner;
  // A step's blocks may be reading it, before they know that it is not there yet.
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(__cvta_generic_to_global(to.order + at)),
               "l"(maths::join(static_cast<std::uint32_t>(turn.partner),
                               static_cast<std::uint32_t>(turn.entry)))
               : "memory");
}

/// Entries of a sorted word.
struct Word {
  std::uint16_t const* samples;
  std::int32_t start;
  __device__ std::int32_t operator[](std::int32_t k) const { return start + samples[k]; }
};

/// Keys, sort, cut: the partners and the order of a group, in shared memory for `capacity` entries.
__device__ inline void pair_group(Drawing const& from, Drawn const& to, maths::Group group,
                                  std::uint64_t* memory, std::int32_t capacity) {
  PlanJob const& job = from.job;
  Sort const sort(memory, capacity);
  sort([&](std::int32_t k) { return maths::keyed(from, group.start + k).key; }, group.size);

  Word const word{sort.samples, group.start};
  auto* const inside = reinterpret_cast<std::int32_t*>(memory);  // the keys have done their work
  Running<Least> const least{inside, inside + capacity};
  bool const cut = job.pairing == Pairing::permutation;
  if (cut) least.scan([&](std::int32_t k) { return word[k]; }, group.size);
  wait_for_the_kernel_before();
  for (std::int32_t k = static_cast<std::int32_t>(threadIdx.x); k < group.size;
       k += static_cast<std::int32_t>(blockDim.x)) {
    write_link(to, maths::link_in_word(job.pairing, word, k, group.size, cut ? least[k] : 0),
               group.start + k);
  }
  __syncthreads();
}

/// Block `block` of `blocks` draws its pieces of a plan. Where a row's draw depends on its partner,
/// the block that found the partner goes on to draw it. Waits for the kernel before ere it writes.
template <bool boxes = true>
__device__ void draw_pieces(Drawing const& from, Drawn const& to, std::uint64_t* memory,
                            std::int32_t capacity, unsigned block, unsigned blocks) {
  PlanJob const& job = from.job;
  bool const sorted = maths::needs_sort(job.pairing);
  bool const by_pair = job.granularity == Granularity::pair;
  auto const samples = static_cast<std::uint32_t>(job.samples);
  std::uint32_t const drawn = min(blockDim.x, unsigned{rows_drawn});
  auto const groups =
      static_cast<std::uint32_t>(sorted && samples > 0 ? maths::group_count(from) : 0);
  auto const items = static_cast<std::uint32_t>(pieces(job, groups, static_cast<int>(blockDim.x)));
  // There may be as many as 2^31: no sum of two is taken.
  for (std::uint32_t item = block;
       item<items; item = items - item> blocks ? item + blocks : items) {
    std::uint32_t begin, end;
    if (item < groups) {
      maths::Group const group = maths::group_at(from, item);
      pair_group(from, to, group, memory, capacity);
      if (!by_pair) continue;
      begin = static_cast<std::uint32_t>(group.start);
      end = begin + static_cast<std::uint32_t>(group.size);
    } else {
      begin = (item - groups) * drawn;
      end = min(begin + drawn, samples);
    }
    for (std::uint32_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
      auto const at = static_cast<std::int32_t>(i);
      maths::Link link{at, sorted && by_pair ? to.rows[at].partner : at, 0};
      if (!sorted) {
        maths::Group const group = maths::group_at(from, maths::group_of(from, at));
        link = maths::unsorted_link(from, group, at - group.start);
      }
      Row const row = maths::draw_row<boxes>(from, link.sample, link.partner);
      wait_for_the_kernel_before();
      if (!sorted) {
        if (link.partner < 0) {  // given
          raise(job.header, from.draw.step, maths::error_mark(ErrorWord::Code::partner, at));
        }
        write_link(to, link, at);
      }
      write_draws(to.rows[link.sample], row);
    }
  }
}

}  // namespace mixfuse::cuda
