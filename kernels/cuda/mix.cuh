// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/column.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/load.hpp"

namespace mixfuse::cuda {

inline constexpr int most_parts = 16;  // of a run, in a block

__device__ inline std::int32_t sample_at(MixJob const& job, std::int64_t position) {
  std::int32_t const order = job.order[position];
  return order < 0 ? ~order : order;
}

template <class T>
__device__ T const* sample_of(void const* data, std::int64_t pitch, std::int64_t sample) {
  return static_cast<T const*>(data) + sample * pitch;
}

template <class Column>
__device__ void const* own_of(MixJob const& job, std::int64_t sample) {
  return sample_of<typename Column::In>(job.own, job.own_pitch, sample);
}

template <class Column>
__device__ void const* partner_of(MixJob const& job, std::int64_t sample) {
  return sample_of<typename Column::In>(job.partners, job.partners_pitch, sample);
}

template <class Column>
__device__ void set_entry(Entry& entry, MixJob const& job, std::int64_t position) {
  std::int32_t const sample = sample_at(job, position);
  Row const& stored = job.rows[sample];
  Row const row = maths::effective(stored, sample, job.second);
  entry.own = own_of<Column>(job, sample);
  entry.partner = partner_of<Column>(job, row.partner);
  entry.out = const_cast<void*>(
      static_cast<void const*>(sample_of<typename Column::Out>(job.out, job.out_pitch, sample)));
  entry.outside = row.outside;
  entry.inside = row.inside;
  for (int axis = 0; axis < 3; ++axis) {
    int const of = job.walk.box_axis[Walk::d + axis];
    entry.lo[axis] = of < 0 ? 0 : stored.box.lo[of];
    entry.hi[axis] = of < 0 ? 2147483647 : stored.box.hi[of];
  }
  entry.flip = row.flip != 0;
  entry.partner_flip = job.flips && !job.second && job.rows[row.partner].flip != 0;
  entry.ends = job.order[position] < 0;
  entry.follows = job.permutation && !job.second && !entry.ends;
}

/// A column of S consecutive samples of the order. Each is read once: as own, and as the partner of
/// the one before it. All loads that can be known are in flight before the first is used. A job is
/// plain if no row has a box or is mirrored.
template <class Column, int S, bool plain>
__device__ void mix_segment(MixJob const& job, Column const& column, Entry const* entries,
                            int count) {
  typename Column::Raw raw[S + 1u];
  std::uint32_t mask[S] = {};
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k >= count) break;
    if (!plain && job.boxes) mask[k] = column.inside(job, entries[k]);
  }
  // Where a weight is 1 or 0 the other side is not even read, unless it is a partner anyway.
  auto const needs = [&](int k, float without) {
    if constexpr (plain) return entries[k].outside != without;
    return !Weights<Column::count>{entries[k].outside, entries[k].inside, mask[k]}.are(without);
  };
  auto const needs_own = [&](int k) { return needs(k, 0.0f); };
  auto const needs_partner = [&](int k) { return needs(k, 1.0f); };
  // First, since the next segment's first load is of the same sample: it comes once from memory.
  if (count == S && needs_partner(S - 1)) raw[S] = column.load_partner(job, entries[S - 1]);
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k >= count) break;
    if ((plain && S > 1) || needs_own(k) ||
        (k > 0 && entries[k - 1].follows && needs_partner(k - 1))) {
      raw[k] = column.load_own(job, entries[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k >= count) break;
    Entry const& entry = entries[k];
    auto partner = raw[k + 1];
    // The end of a cycle, a plan that is no permutation, or the end of the batch.
    if (k + 1 < S && (!entry.follows || k + 1 == count) && needs_partner(k)) {
      partner = column.load_partner(job, entry);
    }
    if constexpr (plain) {
      column.store(job, entry, entry.outside, raw[k], partner);
    } else {
      column.store(job, entry, Weights<Column::count>{entry.outside, entry.inside, mask[k]},
                   column.turned(raw[k], entry.flip), column.turned(partner, entry.partner_flip));
    }
  }
}

/// Registers of what a column puts together before it is stored.
template <class Column>
constexpr unsigned gathered = 0;
template <class Out>
constexpr unsigned gathered<Pixels<Out>> = 12;

/// Blocks that a processor holds at once, by the registers that its loads take. Unless told, ptxas
/// aims for one more, and spills for it.
template <class Column, int loads>
constexpr int least_blocks() {
  constexpr unsigned held = Column::Raw::words * unsigned{loads} + gathered<Column>;
#if __CUDA_ARCH__ >= 1000
  return held <= 28 ? 5 : 4;  // the same code takes more of them there
#else
  return held <= 28 ? 8 : held <= 30 ? 7 : held <= 40 ? 6 : 4;
#endif
}

/// Blocks work on (panel, segment of the order, columns of the panel), then on labels.
template <class Column, int S, bool plain>
__global__ void __launch_bounds__(block_threads, (least_blocks<Column, S + 1>()))
    mix_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelWork const labels,
               Tiling const tiling) {
  let_the_kernel_after_start();
  __shared__ Entry entries[S];
  std::int64_t item = blockIdx.x;
  Tile tile = tile_at(tiling, item);
  wait_for_the_kernel_before();
  for (; item < tiling.images; item += gridDim.x, tile = tile_at(tiling, item)) {
    std::int64_t const first = tile.segment * S;
    int const count = static_cast<int>(min(std::int64_t{S}, job.samples - first));
    __syncthreads();
    if (threadIdx.x < unsigned{S}) {  // the last sample again, where a segment is shorter
      set_entry<Column>(entries[threadIdx.x], job, min(first + threadIdx.x, job.samples - 1));
    }
    __syncthreads();
    std::int64_t const index = tile.column + threadIdx.x;
    if (index < tile.end) mix_segment<Column, S, plain>(job, Column(job, index), entries, count);
  }
  label_tiles(labels, static_cast<unsigned>(item - tiling.images));
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
  __shared__ Entry chunks[2][most_parts][ahead + 1];  // of this chunk and of the next
  __shared__ int cycle_end[most_parts];
  int const width = static_cast<int>(tiling.width), lane = static_cast<int>(threadIdx.x) % width;
  int const part = static_cast<int>(threadIdx.x) / width;
  std::int64_t item = blockIdx.x;
  for (; item < tiling.images; item += gridDim.x) {
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
      while (at < to && job.order[at] >= 0) at += width;
      if (at < to) atomicMin(&cycle_end[part], static_cast<int>(at));
      __syncthreads();
      starts = from == begin || job.order[from - 1] < 0;
      int const ends = cycle_end[part];
      if (works && !starts && ends < to) {
        first = column.load(own_of<Column>(job, job.rows[sample_at(job, ends)].partner));
      }
      if (works && from < to && job.order[to - 1] >= 0) {
        behind = column.load(own_of<Column>(job, sample_at(job, to)));
      }
    }
    auto const prepare = [&](std::int64_t done) {
      Entry* const entries = chunks[done / ahead % 2][part];
      for (int k = lane; k <= ahead; k += width) {
        // One more than the part's, whose sample is the last one's partner.
        std::int64_t const at = min(from + done + k, min(to, end - 1));
        set_entry<Column>(entries[k], job, at);
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
      auto const stays = [&](int k) { return weights(k).are(1.0f) && (plain || !entries[k].flip); };
#pragma unroll
      for (int k = 0; k <= ahead; ++k) {
        if (k >= known) break;
        if (!plain && job.boxes) mask[k] = column.inside(job, entries[k]);
        if (k == 0 && done != 0) continue;  // it was the last chunk's last
        // Needed as own, as the partner of the one before, or as that of its cycle's last.
        bool const as_own = plain || (!stays(k) && !weights(k).are(0.0f));
        bool const as_partner = k == 0 || entries[k - 1].ends || !weights(k - 1).are(1.0f);
        if (at + k == to) {
          raw[k] = behind;
        } else if (as_own || as_partner) {
          raw[k] = column.load(entries[k].own);
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
  label_tiles(labels, static_cast<unsigned>(item - tiling.images));
}

inline LabelWork work_of(LabelJob const* labels, int block) {
  return labels != nullptr ? label_work(*labels, block) : LabelWork{};
}

/// The launch of a kernel that was given a tiling.
template <class Kernel, class... More>
cudaError_t launch_tiled(Kernel kernel, DeviceFacts const& facts, Tiling const& tiling, int block,
                         cudaStream_t stream, MixJob const& job, LabelWork const& labels,
                         More... more) {
  return launch(start_of(facts), kernel, shape_for(block, [&](int) { return tiling.items; }), 0,
                stream, job, labels, tiling, more...);
}

/// Segments of S samples, or of fewer: `shorter` in falling order down to 1.
template <class Column, bool plain, int S, int... shorter>
cudaError_t mix_columns(MixJob const& job, LabelJob const* labels, cudaStream_t stream,
                        DeviceFacts const& facts) {
  std::int64_t const columns = Column::columns(job);
  int const block = forced_block(block_for(columns));
  std::int64_t const segments = up(job.samples, S);
  if constexpr (sizeof...(shorter) > 0) {
    // Only where partners follow each other does a segment save reads. Long blocks that are few
    // leave processors idle at the end.
    int const forced = detail::launch_override().segment;
    bool const too_long = !job.permutation || job.second ||
                          up(columns, block) * segments < 2 * S * std::int64_t{facts.processors};
    if (forced > 0 ? forced < S : too_long) {
      return mix_columns<Column, plain, shorter...>(job, labels, stream, facts);
    }
  }
  // What a wave of blocks reads stays in L2 until the next segment reads its seam sample again.
  std::int64_t const panel = facts.l2 / (8 * S) / static_cast<int>(sizeof(typename Column::Raw));
  LabelWork const work = work_of(labels, block);
  Tiling const tiling = tiling_for(columns, segments, panel, work.tiling.tiles, block);
  return launch_tiled(mix_kernel<Column, S, plain>, facts, tiling, block, stream, job, work);
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
  return launch_tiled(mix_in_place_kernel<Column, ahead, plain>, facts, tiling, block, stream, job,
                      work, parts);
}

/// Images of one dtype, to all that are made of it. A file instantiates one or two: nvcc takes
/// seconds for each kernel.
template <class In>
cudaError_t mix_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream) {
  DeviceFacts facts;
  if (cudaError_t const code = ask(facts)) return code;
  cudaError_t code = cudaSuccess;
  with_pair(images.dtype_in, images.dtype_out, [&](auto in, auto out) {
    using Out = typename decltype(out)::type;
    if constexpr (std::is_same_v<typename decltype(in)::type, In>) {
      if (Vector<In, Out>::fits(images)) {
        code = images.boxes || images.flips
                   ? mix_columns<Vector<In, Out>, false, 8, 4, 2, 1>(images, labels, stream, facts)
                   : mix_columns<Vector<In, Out>, true, 8, 4, 2, 1>(images, labels, stream, facts);
        return;
      }
      if constexpr (std::is_same_v<In, std::uint8_t>) {
        if (Pixels<Out>::fits(images)) {
          // Of the narrower ones more are put together, in more registers.
          constexpr int S = sizeof(Out) < 4 ? 2 : 4;
          code = mix_columns<Pixels<Out>, false, S>(images, labels, stream, facts);
          return;
        }
      }
      if constexpr (std::is_same_v<In, Out> && sizeof(In) <= 2) {
        if (Shifted<In>::fits(images)) {
          code = mix_columns<Shifted<In>, false, 1>(images, labels, stream, facts);
          return;
        }
      }
      code = mix_columns<Element<In, Out>, false, 4>(images, labels, stream, facts);
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
