// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

#include "kernels/cuda/draw.cuh"
#include "kernels/cuda/error.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/live.hpp"

/// A Mixer's step in one launch. Its first blocks draw the plan of the step after, while the others
/// mix by the one that the step before has drawn. Whether it has is seen on the device, where all
/// that draws depend on is written beside early rows: so a draw that was set, a batch of another
/// shape, or graphs that replay in any order find the right plan. Where it is not there, the first
/// blocks draw it first, and the others wait. Waiting ends because a block only waits for ones that
/// draw, which have lower indices and so start before it, and wait for none; but the first of all
/// waits for each to start.
namespace mixfuse::cuda {

/// What the first blocks are told: how many of them draw, and the largest group's size.
struct Planning {
  unsigned blocks;
  std::int32_t capacity;

  /// Those that draw, and one that keeps the books.
  __host__ __device__ unsigned apart() const { return blocks + 1; }
};

/// Enough to draw as fast as a mix of so few samples, and far fewer than a device holds at once.
inline constexpr std::int64_t most_that_draw = 16;

inline Planning planning_of(PlanJob const& job, int block) {
  std::int64_t const count = pieces(job, groups_to_sort(job), block);
  return {static_cast<unsigned>(std::clamp<std::int64_t>(count, 1, most_that_draw)),
          largest_sort(job)};
}

__device__ inline Made made_for(PlanJob const& job, Draw draw) {
  auto const pair = [](std::int32_t low, std::int32_t high) {
    return maths::join(static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(low));
  };
  return {{draw.seed, draw.step, draw.first, pair(job.samples, job.axes),
           pair(job.spatial[0], job.spatial[1]), pair(job.spatial[2], 0)}};
}

/// Of a word that a running step only changes when all its blocks have read it. Unlike a volatile
/// one it may come from the L1 cache, which blocks before have filled.
__device__ inline std::uint64_t read_word(std::uint64_t const& word) {
  std::uint64_t value;
  asm volatile("ld.relaxed.cta.global.u64 %0, [%1];"
               : "=l"(value)
               : "l"(__cvta_generic_to_global(&word)));
  return value;
}

/// The step that a launch mixes, and whether its plan is there.
struct Due {
  std::uint64_t step;
  bool made;
};

/// By whole warps. A lane reads a word: the draw's come beside those that they are compared with,
/// in one access.
__device__ inline Due due(PlanJob const& job) {
  constexpr unsigned draw_words = 3, all = ~0u;
  unsigned const lane = threadIdx.x % 32, at = (lane - draw_words) % Made::words;
  bool const is_made_word = lane >= draw_words && lane < draw_words + 2 * Made::words;
  unsigned const half = lane < draw_words + Made::words ? 0 : 1;
  std::uint64_t const& from = is_made_word ? job.header->made[half].word[at]
                                           : (&job.live->seed)[lane < draw_words ? lane : 0];
  std::uint64_t const word = read_word(from);
  std::uint64_t const of_draw = __shfl_sync(all, word, at < draw_words ? at : 0);
  std::uint64_t const step = __shfl_sync(all, word, 1);
  Made const extents = made_for(job, {});
  std::uint64_t expected = of_draw;
#pragma unroll
  for (unsigned i = draw_words; i < Made::words; ++i) {
    if (at == i) expected = extents.word[i];
  }
  bool const matters = is_made_word && half == step % 2;
  return {step, __all_sync(all, !matters || word == expected) != 0};
}

__device__ inline void write_made(PlanJob const& job, Draw draw) {
  Made const made = made_for(job, draw);
#pragma unroll
  for (unsigned i = 0; i < Made::words; ++i) {
    std::uint64_t volatile& word = job.header->made[draw.step % 2].word[i];
    word = made.word[i];
  }
}

__device__ inline Drawn early_of(PlanJob const& job, std::uint64_t step) {
  std::int64_t const half = step % 2 == 0 ? 0 : job.early.capacity;
  return {job.early.rows + half, job.early.order + half};
}

/// By one thread. What was counted is there for its block behind a barrier.
__device__ inline void wait_for_count(std::uint32_t const volatile& counter, std::uint32_t count) {
  while (counter != count) __nanosleep(64);
  __threadfence();
}

/// The block waits for the step's plan, where it was not there when the step began.
__device__ inline void wait_for_plan(PlanJob const& job, Planning const& planning) {
  if (threadIdx.x == 0) wait_for_count(job.header->drawn, planning.blocks);
  __syncthreads();
}

/// Of a block that has read the draw: what it read decided what it did before its last barrier, so
/// it needs no fence, which would wait for the images.
__device__ inline void count_reader(std::uint32_t& counter) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(__cvta_generic_to_global(&counter))
               : "memory");
}

/// Of what the block did before its last barrier. Unlike a fence it leaves the L1 cache as it is.
__device__ inline void count_up(std::uint32_t& counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(__cvta_generic_to_global(&counter))
               : "memory");
}

/// What the first block does: it advances the draw when all others have read it, and copies the
/// rows for those who ask how the last step was mixed.
__device__ inline void keep_books(PlanJob const& job, Planning const& planning, bool made) {
  PlanHeader& header = *job.header;
  Draw const live = read_draw(job), next = maths::next(live);
  if (!made) wait_for_plan(job, planning);
  Row const* const now = early_of(job, live.step).rows;
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < job.samples;
       i += static_cast<std::int32_t>(blockDim.x)) {
    job.rows[i] = now[i];
  }
  __syncthreads();  // the block has read the draw
  if (threadIdx.x != 0) return;
  std::uint64_t const step = maths::named(live.step);
  if (std::uint64_t const mark = maths::live_mark(job, live)) raise(&header, step, mark);
  wait_for_count(header.read, gridDim.x - 1);
  if (!made) write_made(job, live);
  if (next.step != live.step) write_made(job, next);
  header.step = step;
  atomicExch(&header.drawn, 0u);
  atomicExch(&header.read, 0u);
  atomicExch(reinterpret_cast<unsigned long long*>(&job.live->step), next.step);
}

/// What the blocks after it do: they draw the next step's plan, and this one's before it where it
/// is not there.
template <bool boxes>
__device__ void draw_early(PlanJob const& job, Planning const& planning, bool made) {
  extern __shared__ std::uint64_t memory[];
  PlanHeader& header = *job.header;
  unsigned const block = blockIdx.x - 1;
  bool const first_thread = threadIdx.x == 0;
  // In shared memory, to take no registers.
  __shared__ alignas(Drawing) unsigned char drawing[sizeof(Drawing)];
  __shared__ Drawn to;
  __shared__ Draw live;
  Drawing& from = reinterpret_cast<Drawing&>(drawing);
  if (first_thread) live = read_draw(job);
  __syncthreads();  // the block has read the draw
  if (first_thread) count_reader(header.read);
  for (bool late = !made;; late = false) {
    if (first_thread) {
      Draw const draw = late ? live : maths::next(live);
      new (&from) Drawing(maths::live_drawing(job, draw));
      to = early_of(job, draw.step);
    }
    __syncthreads();
    if (late || maths::is_step(live)) {
      draw_pieces<boxes>(from, to, memory, planning.capacity, block, planning.blocks);
    }
    if (!late) return;
    __syncthreads();
    if (first_thread) count_up(header.drawn);
  }
}

}  // namespace mixfuse::cuda
