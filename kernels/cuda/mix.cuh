// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/column.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"
#include "kernels/cuda/step.cuh"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/load.hpp"

namespace mixfuse::cuda {

inline constexpr int most_parts = 16;  // of a run, in a block

/// Where a position's samples lie.
__device__ inline void place(Entry& entry, MixJob const& job, Turn turn) {
  entry.own = turn.sample() * job.own_pitch;
  entry.partner = turn.partner * job.partners_pitch;
  entry.out = turn.sample() * job.out_pitch;
  entry.ends = turn.ends();
  entry.follows = job.permutation && !job.second && !turn.ends();
}

/// A row's only weight, where there are no boxes.
__device__ inline float weight_of(MixJob const& job, Row const& row, Turn turn) {
  return maths::effective(row, turn.sample(), job.second).outside;
}

/// What the row says.
__device__ inline void weigh(Entry& entry, MixJob const& job, Row const* rows, Turn turn) {
  Row const& stored = rows[turn.sample()];
  Row const row = maths::effective(stored, turn.sample(), job.second);
  entry.outside = row.outside;
  entry.inside = row.inside;
  for (int axis = 0; axis < 3; ++axis) {
    int const of = job.walk.box_axis[Walk::d + axis];
    entry.lo[axis] = of < 0 ? 0 : stored.box.lo[of];
    entry.hi[axis] = of < 0 ? 2147483647 : stored.box.hi[of];
  }
  entry.flip = row.flip != 0;
  entry.partner_flip = job.flips && !job.second && rows[turn.partner].flip != 0;
}

/// A column of S consecutive samples of the order. Each is read once: as own, and as the partner of
/// the one before it. All loads that can be known are in flight before the first is used. Where a
/// segment is shorter it ends with the last sample again and again.
template <class Column, int S>
__device__ void mix_segment(MixJob const& job, Column const& column, Entry const* entries) {
  typename Column::Raw raw[S + 1u];
  std::uint32_t mask[S] = {};
  float weight[S];
  auto const weights = [&](int k) {
    return Weights<Column::count>{entries[k].outside, entries[k].inside, mask[k]};
  };
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (job.boxes) mask[k] = column.inside(job, entries[k]);
    weight[k] = weights(k).only();
  }
  // Where a weight is 1 or 0 the other side is not even read, unless it is a partner anyway.
  auto const needs_own = [&](int k) { return weight[k] != 0.0f; };
  auto const needs_partner = [&](int k) { return weight[k] != 1.0f; };
  // First, since the next segment's first load is of the same sample: it comes once from memory.
  if (needs_partner(S - 1)) raw[S] = column.load_partner(job, entries[S - 1]);
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (needs_own(k) || (k > 0 && needs_partner(k - 1) && entries[k - 1].follows)) {
      raw[k] = column.load_own(job, entries[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < S; ++k) {
    Entry const& entry = entries[k];
    auto partner = raw[k + 1];
    // The end of a cycle, or a plan that is no permutation.
    if (k + 1 < S && needs_partner(k) && !entry.follows) {
      partner = column.load_partner(job, entry);
    }
    column.store(job, entry, weights(k), column.turned(raw[k], entry.flip),
                 column.turned(partner, entry.partner_flip));
  }
}

/// The same of a job whose rows have neither boxes nor flips. Which samples are read depends on the
/// order alone; `weigh` brings the weights while they are on their way.
template <class Column, int S, class Weigh>
__device__ void mix_plain_segment(MixJob const& job, Column const& column, bool works,
                                  Entry const* entries, int count, Weigh const& weigh) {
  using In = typename Column::In;
  typename Column::Raw raw[S + 1u];
  if (works && count == S) {
    raw[S] = column.load(partner_of<In>(job, entries[S - 1]));  // first, as above
#pragma unroll
    for (int k = 0; k < S; ++k) raw[k] = column.load(own_of<In>(job, entries[k]));
  }
  weigh();
  if (!works) return;
  if (count == S) {
#pragma unroll
    for (int k = 0; k < S; ++k) {
      Entry const& entry = entries[k];
      auto partner = raw[k + 1];
      if (k + 1 < S && !entry.follows && entry.outside != 1.0f) {
        partner = column.load(partner_of<In>(job, entry));
      }
      column.store(job, entry, entry.outside, raw[k], partner);
    }
    return;
  }
#pragma unroll 1
  for (int k = 0; k < count; ++k) {  // the batch's last samples
    Entry const& entry = entries[k];
    column.store(job, entry, entry.outside, column.load(own_of<In>(job, entry)),
                 column.load(partner_of<In>(job, entry)));
  }
}

/// Registers of what a column puts together before it is stored.
template <class Column>
constexpr unsigned gathered = 0;
template <class Out>
constexpr unsigned gathered<Pixels<Out>> = 12;

/// Blocks that a processor holds at once, by the registers that its loads take. Unless told, ptxas
/// aims for one more, and spills for it.
template <class Column, int loads, bool plain>
constexpr int least_blocks() {
  constexpr unsigned held = Column::Raw::words * unsigned{loads} + gathered<Column>;
#if __CUDA_ARCH__ >= 1000
  return held <= 28 ? 5 : 4;  // the same code takes more of them there
#elif __CUDA_ARCH__ >= 800
  if (plain && held <= 20) return sizeof(typename Column::Out) == 1 ? 10 : 12;
#endif
#if __CUDA_ARCH__ >= 900
  constexpr unsigned in_eight = 28;
#else
  constexpr unsigned in_eight = 26;  // of 27, pixels to floats, two are spilled there
#endif
  return held <= in_eight ? 8 : held <= 30 ? 7 : held <= 40 ? 6 : 4;
}

/// Where a segment's sample is in the order; the last again, where a segment is shorter.
__device__ inline std::int64_t place_in_order(MixJob const& job, Tile const& tile, int samples) {
  return min(tile.segment * samples + threadIdx.x % warp, job.samples - 1);
}

/// What a block mixes by, and its share of the tiles: every `stride`-th from `item` on. Labels come
/// before images, so that a block with images ends the launch.
struct Share {
  Row const* rows;
  Turn const* order;
  unsigned item, stride;
};

/// A block works on (panel, segment of the order, columns of the panel). Each warp reads plain rows
/// by itself: none waits for another before its images are on their way. Others take so many
/// instructions that one warp reads them for all. Then a block says `on_the_way()`, once. A place
/// in the order is asked of `turn_at`.
template <class Column, int S, bool plain, class TurnAt, class OnTheWay>
__device__ void mix_tiles(MixJob const& job, Tiling const& tiling, Share const& share,
                          TurnAt const& turn_at, OnTheWay const& on_the_way) {
  __shared__ Entry of_readers[plain ? block_threads / warp : 1][S];
  unsigned const lane = plain ? threadIdx.x % warp : threadIdx.x;
  Entry* const entries = of_readers[plain ? threadIdx.x / warp : 0];
  unsigned item = share.item;
  if (item >= tiling.images) return on_the_way();
  for (bool first = true;; first = false) {
    Tile const tile = tile_at(tiling, item);
    int const count = static_cast<int>(min(std::int64_t{S}, job.samples - tile.segment * S));
    std::int64_t const index = tile.column + threadIdx.x;
    bool const works = index < tile.end, reads = lane < unsigned{S};
    Turn turn{};
    Row row{};
    if (reads) {
      turn = turn_at(first, place_in_order(job, tile, S));
      place(entries[lane], job, turn);
      if constexpr (plain) {
        row = share.rows[turn.sample()];
      } else {
        weigh(entries[lane], job, share.rows, turn);
      }
    }
    if constexpr (plain) {
      __syncwarp();
      mix_plain_segment<Column, S>(job, Column(job, works ? index : 0), works, entries, count, [&] {
        if (reads) entries[lane].outside = weight_of(job, row, turn);
        __syncwarp();
        if (first) on_the_way();
      });
    } else {
      __syncthreads();
      if (first) on_the_way();
      if (works) mix_segment<Column, S>(job, Column(job, index), entries);
    }
    item += share.stride;
    if (item >= tiling.images) return;
    __syncthreads();  // its entries take the place of these
  }
}

template <class Column, int S, bool plain>
__global__ void __launch_bounds__(block_threads, (least_blocks<Column, S + 1, plain>()))
    mix_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelWork const labels,
               Tiling const tiling) {
  // A small plain mix lets the next start when its images are on their way, since the next's blocks
  // would be in the way of its own. Others were faster like this.
  if constexpr (!plain) let_the_kernel_after_start();
  wait_for_the_kernel_before();
  unsigned const item = label_tiles(labels, blockIdx.x) - labels.tiling.tiles;
  mix_tiles<Column, S, plain>(
      job, tiling, {job.rows, job.order, item, gridDim.x},
      [&](bool, std::int64_t at) { return job.order[at]; },
      [] {
        if constexpr (plain) let_the_kernel_after_start();
      });
}

/// The same of a kernel that also draws, which takes 64 registers, or some 100 with boxes; of
/// doubles, and where the same code takes more, 72 to 80.
template <class Column, bool plain>
constexpr int least_step_blocks() {
  if (!plain) return 4;
#if __CUDA_ARCH__ >= 1000
  return 6;
#else
  return sizeof(typename Column::In) == 8 ? 6 : 8;
#endif
}

/// A Mixer's step: see step.cuh.
template <class Column, int S, bool plain>
__global__ void __launch_bounds__(block_threads, (least_step_blocks<Column, plain>()))
    step_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelWork const labels,
                Tiling const tiling, __grid_constant__ PlanJob const plan,
                Planning const planning) {
  wait_for_the_kernel_before();
  bool const mixes = blockIdx.x >= planning.apart();
  unsigned const block = blockIdx.x - planning.apart(), stride = gridDim.x - planning.apart();
  unsigned const image = block - labels.tiling.tiles;
  // Both halves' order comes beside what tells which of them is the step's.
  std::uint64_t turns[2] = {};
  if (mixes && image < tiling.images && (plain ? threadIdx.x % warp : threadIdx.x) < unsigned{S}) {
    std::int64_t const at = place_in_order(job, tile_at(tiling, image), S);
#pragma unroll
    for (std::uint64_t half = 0; half < 2; ++half) {
      turns[half] =
          read_word(reinterpret_cast<std::uint64_t const*>(early_of(plan, half).order)[at]);
    }
  }
  Due const now = due(plan);
  if (!mixes) {
    let_the_kernel_after_start();
    __syncthreads();  // what was read counts as the block's
    return blockIdx.x == 0 ? keep_books(plan, planning, now.made)
                           : draw_early<!plain>(plan, planning, now.made);
  }
  if (!now.made) wait_for_plan(plan, planning);
  Drawn const drawn = early_of(plan, now.step);
  unsigned const item =
      label_tiles_of_step(labels, drawn.rows, maths::named(now.step), block, stride) -
      labels.tiling.tiles;
  bool const known = now.made && item == image;
  mix_tiles<Column, S, plain>(
      job, tiling, {drawn.rows, drawn.order, item, stride},
      [&](bool first, std::int64_t at) {
        if (!first || !known) return drawn.order[at];
        std::uint64_t const turn = now.step % 2 == 0 ? turns[0] : turns[1];
        return Turn{static_cast<std::int32_t>(turn), static_cast<std::int32_t>(turn >> 32)};
      },
      [&] {
        let_the_kernel_after_start();
        __syncthreads();  // all warps have read the draw
        if (threadIdx.x == 0) count_reader(plan.header->read);
      });
}

/// In place. A run of the order, which no cycle leaves, is walked in parts: a thread takes its
/// column through one, and reads `ahead` samples before it writes over them. What it needs of other
/// parts, it has read before any is written: the sample behind its own, and the first of the cycle
/// in which it begins. Samples are read as they lie: a Vector never flips, a Twin has both sides.
template <class Column, int ahead, bool plain>
__global__ void __launch_bounds__(block_threads, 3)
    mix_in_place_kernel(__grid_constant__ MixJob const job,
                        __grid_constant__ LabelWork const labels, Tiling const tiling,
                        int const parts) {
  let_the_kernel_after_start();
  wait_for_the_kernel_before();
  using In = typename Column::In;
  auto const sample_of = [&](std::int64_t sample) {
    return static_cast<In const*>(job.own) + sample * job.own_pitch;
  };
  __shared__ Entry chunks[2][most_parts][ahead + 1];  // of this chunk and of the next
  __shared__ int cycle_end[most_parts];
  int const width = static_cast<int>(tiling.width), lane = static_cast<int>(threadIdx.x) % width;
  int const part = static_cast<int>(threadIdx.x) / width;
  for (unsigned item = label_tiles(labels, blockIdx.x) - labels.tiling.tiles; item < tiling.images;
       item += gridDim.x) {
    Tile const tile = tile_at(tiling, item);
    std::int64_t const index = tile.column + lane;
    bool const is_column = index < tile.end;
    Column const column(job, is_column ? index : 0);
    bool const works = is_column && column.is_mine();
    std::int64_t const begin = job.runs.begin(tile.segment);
    std::int64_t const end = min(job.runs.begin(tile.segment + 1), job.samples);
    std::int64_t const each = up(end - begin, parts);
    std::int64_t const from = min(begin + part * each, end), to = min(from + each, end);
    typename Column::Raw raw[ahead + 1u], first, behind;
    bool starts = true;
    if (parts > 1) {
      if (lane == 0) cycle_end[part] = static_cast<int>(to);
      __syncthreads();
      std::int64_t at = from + lane;
      while (at < to && !job.order[at].ends()) at += width;
      if (at < to) atomicMin(&cycle_end[part], static_cast<int>(at));
      __syncthreads();
      starts = from == begin || job.order[from - 1].ends();
      int const ends = cycle_end[part];
      if (works && !starts && ends < to) {
        first = column.load(sample_of(job.order[ends].partner));
      }
      if (works && from < to && !job.order[to - 1].ends()) {
        behind = column.load(sample_of(job.order[to].sample()));
      }
    }
    auto const prepare = [&](std::int64_t done) {
      Entry* const entries = chunks[done / ahead % 2][part];
      for (int k = lane; k <= ahead; k += width) {
        // One more than the part's, whose sample is the last one's partner.
        std::int64_t const at = min(from + done + k, min(to, end - 1));
        Turn const turn = job.order[at];
        place(entries[k], job, turn);
        if constexpr (plain) {
          entries[k].outside = weight_of(job, job.rows[turn.sample()], turn);
        } else {
          weigh(entries[k], job, job.rows, turn);
        }
      }
    };
    __syncthreads();
    if (each > 0) prepare(0);
    __syncthreads();
    for (std::int64_t done = 0; done < each; done += ahead) {
      Entry const* const entries = chunks[done / ahead % 2][part];
      std::int64_t const at = from + done;
      int const count = works ? static_cast<int>(min(std::int64_t{ahead}, to - at)) : 0;
      int const known = count <= 0 ? 0 : static_cast<int>(min(std::int64_t{count + 1}, end - at));
      std::uint32_t mask[ahead + 1] = {};
      auto const weights = [&](int k) {
        float const outside = entries[k].outside, inside = plain ? outside : entries[k].inside;
        return Weights<Column::count>{outside, inside, mask[k]};
      };
      auto const stays = [&](int k) {
        return weights(k).only() == 1.0f && (plain || !entries[k].flip);
      };
#pragma unroll
      for (int k = 0; k <= ahead; ++k) {
        if (k >= known) break;
        if (!plain && job.boxes) mask[k] = column.inside(job, entries[k]);
        if (k == 0 && done != 0) continue;  // it was the last chunk's last
        // Needed as own, as the partner of the one before, or as that of its cycle's last.
        bool const as_own = plain || (!stays(k) && weights(k).only() != 0.0f);
        bool const as_partner = k == 0 || entries[k - 1].ends || weights(k - 1).only() != 1.0f;
        if (at + k == to) {
          raw[k] = behind;
        } else if (as_own || as_partner) {
          raw[k] = column.load(own_of<In>(job, entries[k]));
        }
      }
      if (done + ahead < each) prepare(done + ahead);
#pragma unroll
      for (int k = 0; k < ahead; ++k) {
        if (k >= count) break;
        Entry const& entry = entries[k];
        if (starts) first = raw[k];
        starts = entry.ends;
        if (stays(k)) continue;
        auto partner = raw[k + 1];
        if (entry.ends) partner = first;
        if constexpr (plain) {
          column.store(job, entry, entry.outside, raw[k], partner);
        } else {
          column.store(job, entry, weights(k), column.turned(raw[k], entry.flip),
                       column.turned(partner, entry.partner_flip));
        }
      }
      raw[0] = raw[ahead];
      __syncthreads();
    }
  }
}

inline LabelWork work_of(LabelJob const* labels, int block) {
  return labels != nullptr ? label_work(*labels, block) : LabelWork{};
}

struct MixCall {
  MixJob const& images;
  LabelJob const* labels;
  PlanJob const* plan;  // of a step that draws one
  cudaStream_t stream;
  DeviceFacts facts;
};

/// The blocks of a tiling.
inline Shape tiled(Tiling const& tiling, int block) {
  return shape_for(block, [&](int) { return tiling.items; });
}

/// Segments of S samples, or of fewer: `shorter` in falling order.
template <class Column, bool plain, bool steps, int S, int... shorter>
cudaError_t mix_columns(MixCall const& call) {
  MixJob const& job = call.images;
  std::int64_t const columns = Column::columns(job);
  int const block = forced_block(block_for(columns));
  std::int64_t const segments = up(job.samples, S);
  if constexpr (sizeof...(shorter) > 0) {
    // Only where partners follow each other does a segment save reads.
    int const forced = detail::launch_override().segment;
    bool const too_long =
        !job.permutation || job.second || are_few(call.facts, columns, block, segments);
    if (forced > 0 ? forced < S : too_long) {
      return mix_columns<Column, plain, steps, shorter...>(call);
    }
  }
  // What a wave of blocks reads stays in L2 until the next segment reads its seam sample again.
  std::int64_t const panel =
      call.facts.l2 / (8 * S) / static_cast<int>(sizeof(typename Column::Raw));
  LabelWork const work = work_of(call.labels, block);
  Tiling const tiling = tiling_for(columns, segments, panel, work.tiling.tiles, block);
  Shape shape = tiled(tiling, block);
  if constexpr (steps) {
    Planning const planning = planning_of(*call.plan, block);
    shape.grid += planning.apart();
    return launch(start_of(call.facts), step_kernel<Column, S, plain>, shape,
                  Sort::bytes(planning.capacity), call.stream, job, work, tiling, *call.plan,
                  planning);
  } else {
    return launch(start_of(call.facts), mix_kernel<Column, S, plain>, shape, 0, call.stream, job,
                  work, tiling);
  }
}

template <class Column, bool plain>
cudaError_t mix_columns_in_place(MixJob const& job, LabelJob const* labels, cudaStream_t stream,
                                 DeviceFacts const& facts) {
  constexpr int ahead = 8;
  std::int64_t const columns = Column::columns(job), runs = job.runs.count(job.samples);
  int const most = forced_block(block_threads);
  int width = std::min(block_for(columns), most), parts = 1;
  if (int const forced = detail::launch_override().parts) {
    parts = std::min(forced, most);
    width = most / parts;
  } else {
    // As many blocks as processors hold at once: of a few more, most would wait for the last. But
    // parts that are worth the two more samples which each reads, and lines of 128 bytes.
    std::int64_t const held = std::int64_t{facts.processors} * 3;
    std::int64_t const longest = std::min(std::max(job.runs.first, job.runs.size), job.samples);
    while (parts < most_parts && 2 * parts * ahead <= longest) {
      int const narrower = std::min(width, most / (2 * parts));
      if (narrower < 8 || up(columns, narrower) * runs > held) break;
      width = narrower;
      parts *= 2;
    }
  }
  int const block = width * parts;
  LabelWork const work = work_of(labels, block);
  Tiling const tiling = tiling_for(columns, runs, columns, work.tiling.tiles, width);
  return launch(start_of(facts), mix_in_place_kernel<Column, ahead, plain>, tiled(tiling, block), 0,
                stream, job, work, tiling, parts);
}

/// Images of one dtype, to all that are made of it; in a step that is one launch, with the plan
/// that is drawn `early`. A file instantiates one or two: nvcc takes seconds for each kernel.
template <class In>
cudaError_t mix_of(MixJob const& images, LabelJob const* labels, PlanJob const* early,
                   cudaStream_t stream) {
  DeviceFacts facts;
  if (cudaError_t const code = ask(facts)) return code;
  MixCall const call{images, labels, early, stream, facts};
  cudaError_t code = cudaSuccess;
  with_pair(images.dtype_in, images.dtype_out, [&](auto in, auto out) {
    using Out = typename decltype(out)::type;
    if constexpr (std::is_same_v<typename decltype(in)::type, In>) {
      using Dense = Vector<In, Out>;
      bool const steps = early != nullptr;
      if (Dense::fits(images)) {
        if (images.boxes || images.flips) {
          code = steps ? mix_columns<Dense, false, true, 2>(call)
                       : mix_columns<Dense, false, false, 4, 2, 1>(call);
        } else {
          code = steps ? mix_columns<Dense, true, true, 8, 2>(call)
                       : mix_columns<Dense, true, false, 4, 2, 1>(call);
        }
        return;
      }
      if constexpr (std::is_same_v<In, std::uint8_t>) {
        if (Pixels<Out>::fits(images)) {
          // Of the narrower ones more are put together, in more registers.
          constexpr int S = sizeof(Out) < 4 ? 2 : 4;
          code = mix_columns<Pixels<Out>, false, false, S, S / 2>(call);
          return;
        }
      }
      if constexpr (std::is_same_v<In, Out> && sizeof(In) <= 2) {
        if (Shifted<In>::fits(images)) {
          code = mix_columns<Shifted<In>, false, false, 1>(call);
          return;
        }
      }
      code = mix_columns<Element<In, Out>, false, false, 4>(call);
    }
  });
  return code;
}

template <class T>
cudaError_t mix_in_place_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream) {
  DeviceFacts facts;
  if (cudaError_t const code = ask(facts)) return code;
  using Dense = Vector<T, T, false>;
  if (!Dense::fits(images) || images.flips) {
    return mix_columns_in_place<Twin<T>, false>(images, labels, stream, facts);
  }
  return images.boxes ? mix_columns_in_place<Dense, false>(images, labels, stream, facts)
                      : mix_columns_in_place<Dense, true>(images, labels, stream, facts);
}

}  // namespace mixfuse::cuda
