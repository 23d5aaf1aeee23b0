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

inline constexpr int mix_threads = 256;
inline constexpr int in_place_threads = 128;  // some need more than 128 registers
inline constexpr int most_parts = 16;         // of a run, in a block

/// A position of the order, as all threads of a block read it.
struct Entry {
  std::int32_t sample;
  Row row;
  bool ends;  // its partner is the first sample of its cycle
  bool partner_flip;
  bool follows;  // its partner is the sample of the next entry
};

__device__ inline std::int32_t sample_at(MixJob const& job, std::int64_t position) {
  std::int32_t const order = job.order[position];
  return order < 0 ? ~order : order;
}

__device__ inline Entry entry_at(MixJob const& job, std::int64_t position) {
  Entry entry;
  entry.ends = job.order[position] < 0;
  entry.sample = sample_at(job, position);
  entry.row = maths::effective(job.rows[entry.sample], entry.sample, job.second);
  entry.partner_flip = job.flips && !job.second && job.rows[entry.row.partner].flip != 0;
  entry.follows = job.permutation && !job.second && !entry.ends;
  return entry;
}

template <class Column>
__device__ Weights<Column::count> weights_of(MixJob const& job, Column const& column,
                                             Entry const& entry) {
  return {entry.row.outside, entry.row.inside,
          job.boxes ? column.inside(job, entry.sample, entry.row.box) : 0};
}

/// On which side of its box's edge each sample has the column. The masks themselves would take a
/// register each.
struct Sides {
  std::uint32_t inside = 0, at_edge = 0;  // a bit an entry

  template <int count>
  __device__ void put(int k, Weights<count> const& weights) {
    inside |= std::uint32_t{weights.mask != 0} << k;
    at_edge |= std::uint32_t{!weights.are_one()} << k;
  }
  /// The weights differ within the column.
  __device__ bool differ(int k) const { return (at_edge >> k & 1) != 0; }
  /// The weight, where they do not differ.
  __device__ float weight(Entry const* entries, int k) const {
    return (inside >> k & 1) != 0 ? entries[k].row.inside : entries[k].row.outside;
  }
  __device__ bool are(Entry const* entries, int k, float one) const {
    return !differ(k) && weight(entries, k) == one;
  }
};

/// A column of S consecutive samples of the order. Each is read once: as own, and as the partner of
/// the one before it. All loads that can be known are in flight before the first is used.
template <class Column, int S>
__device__ void mix_segment(MixJob const& job, Column const& column, Entry const* entries,
                            int count) {
  typename Column::Raw raw[S + 1u];
  Sides sides;
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k >= count) break;
    sides.put(k, weights_of(job, column, entries[k]));
  }
  // Where a weight is 1 or 0 the other side is not even read.
  auto const needs = [&](int k, float without) {
    return !sides.differ(k) && sides.weight(entries, k) != without;
  };
  auto const needs_own = [&](int k) { return needs(k, 0.0f); };
  auto const needs_partner = [&](int k) { return needs(k, 1.0f); };
  // First, since the next segment's first load is of the same sample: it comes once from memory.
  if (count == S && needs_partner(S - 1)) {
    raw[S] = column.load_partner(job, entries[S - 1].sample, entries[S - 1].row.partner,
                                 entries[S - 1].partner_flip);
  }
#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k < count && (needs_own(k) || (k > 0 && entries[k - 1].follows && needs_partner(k - 1)))) {
      raw[k] = column.load_own(job, entries[k].sample, entries[k].row.flip != 0);
    }
  }

#pragma unroll
  for (int k = 0; k < S; ++k) {
    if (k >= count) break;
    if (sides.differ(k)) continue;
    Entry const& entry = entries[k];
    auto partner = raw[k + 1];
    // The end of a cycle, a plan that is no permutation, or the end of the batch.
    if (k + 1 < S && (!entry.follows || k + 1 == count) && needs_partner(k)) {
      partner = column.load_partner(job, entry.sample, entry.row.partner, entry.partner_flip);
    }
    column.store(job, entry.sample, sides.weight(entries, k),
                 column.turned(raw[k], entry.row.flip != 0),
                 column.turned(partner, entry.partner_flip));
  }

  // The edges of boxes are few: their samples are read again, rather than S times in the code
  // above.
  for (std::uint32_t at_edges = sides.at_edge; at_edges != 0; at_edges &= at_edges - 1) {
    Entry const& entry = entries[__ffs(static_cast<int>(at_edges)) - 1];
    bool const flip = entry.row.flip != 0;
    auto const own = column.load_own(job, entry.sample, flip);
    auto const partner =
        column.load_partner(job, entry.sample, entry.row.partner, entry.partner_flip);
    column.store(job, entry.sample, weights_of(job, column, entry), column.turned(own, flip),
                 column.turned(partner, entry.partner_flip));
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
  return held <= 28 ? 4 : held <= 40 ? 3 : 2;
}

/// Blocks work on (panel, segment of the order, columns of the panel), then on labels.
template <class Column, int S>
__global__ void __launch_bounds__(mix_threads, (least_blocks<Column, S + 1>()))
    mix_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelWork const labels,
               Tiling const tiling) {
  wait_for_the_kernel_before();
  __shared__ Entry entries[S];
  std::int64_t item = blockIdx.x;
  for (; item < tiling.images; item += gridDim.x) {
    Tile const tile = tile_at(tiling, item);
    std::int64_t const first = tile.segment * S;
    int const count = static_cast<int>(min(std::int64_t{S}, job.samples - first));
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < count) {
      entries[threadIdx.x] = entry_at(job, first + threadIdx.x);
    }
    __syncthreads();
    std::int64_t const index = tile.column + threadIdx.x;
    if (index < tile.end) mix_segment<Column, S>(job, Column(job, index), entries, count);
  }
  label_tiles(labels, static_cast<unsigned>(item - tiling.images));
}

/// In place. A run of the order, which no cycle leaves, is walked in parts: a thread takes its
/// column through one, and reads `ahead` samples before it writes over them. What it needs of other
/// parts, it has read before any is written: the sample behind its own, and the first of the cycle
/// in which it begins. Samples are read as they lie: a Vector never flips, a Twin has both sides.
template <class Column, int ahead>
__global__ void __launch_bounds__(in_place_threads, 3)
    mix_in_place_kernel(__grid_constant__ MixJob const job,
                        __grid_constant__ LabelWork const labels, Tiling const tiling,
                        int const parts) {
  wait_for_the_kernel_before();
  // Entries have initial values, which so many in shared memory cannot have.
  __shared__ alignas(Entry) unsigned char read[most_parts][ahead + 1][sizeof(Entry)];
  __shared__ int cycle_end[most_parts];
  int const width = static_cast<int>(tiling.width), lane = static_cast<int>(threadIdx.x) % width;
  int const part = static_cast<int>(threadIdx.x) / width;
  Entry* const entries = reinterpret_cast<Entry*>(read[part]);
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
        first = column.load_own(job, job.rows[sample_at(job, ends)].partner, false);
      }
      if (works && from < to && job.order[to - 1] >= 0) {
        behind = column.load_own(job, sample_at(job, to), false);
      }
    }
    for (std::int64_t done = 0; done < each; done += ahead) {
      std::int64_t const at = from + done;
      int const count = static_cast<int>(min(std::int64_t{ahead}, to - at));
      // One more, whose sample is the last one's partner.
      int const known = count <= 0 ? 0 : static_cast<int>(min(std::int64_t{count + 1}, end - at));
      __syncthreads();
      for (int k = lane; k < known; k += width) entries[k] = entry_at(job, at + k);
      __syncthreads();
      if (!works) continue;
      Sides sides;
#pragma unroll
      for (int k = 0; k <= ahead; ++k) {
        if (k >= known) break;
        sides.put(k, weights_of(job, column, entries[k]));
        if (k == 0 && done != 0) continue;  // it was the last chunk's last
        // Needed as own, as the partner of the one before, or as that of its cycle's last.
        bool const stays = sides.are(entries, k, 1.0f) && entries[k].row.flip == 0;
        bool const as_own = !stays && !sides.are(entries, k, 0.0f);
        bool const as_partner = k == 0 || entries[k - 1].ends || !sides.are(entries, k - 1, 1.0f);
        if (at + k == to) {
          raw[k] = behind;
        } else if (as_own || as_partner) {
          raw[k] = column.load_own(job, entries[k].sample, entries[k].row.flip != 0);
        }
      }
#pragma unroll
      for (int k = 0; k < ahead; ++k) {
        if (k >= count) break;
        Entry const& entry = entries[k];
        if (starts) first = raw[k];
        starts = entry.ends;
        if (sides.are(entries, k, 1.0f) && entry.row.flip == 0) continue;  // it stays as it is
        auto partner = raw[k + 1];
        if (entry.ends) partner = first;
        auto const own = column.turned(raw[k], entry.row.flip != 0);
        partner = column.turned(partner, entry.partner_flip);
        if (sides.differ(k)) {
          column.store(job, entry.sample, weights_of(job, column, entry), own, partner);
        } else {
          column.store(job, entry.sample, sides.weight(entries, k), own, partner);
        }
      }
      raw[0] = raw[ahead];
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
  Start const start =
      facts.major >= 9 ? Start::beside_the_kernel_before : Start::after_the_kernel_before;
  return launch(start, kernel, shape_for(block, [&](int) { return tiling.items; }), 0, stream, job,
                labels, tiling, more...);
}

/// Segments of S samples, or of fewer: `shorter` in falling order down to 1.
template <class Column, int S, int... shorter>
cudaError_t mix_columns(MixJob const& job, LabelJob const* labels, cudaStream_t stream,
                        DeviceFacts const& facts) {
  std::int64_t const columns = Column::columns(job);
  int const block = forced_block(block_for(columns));
  std::int64_t const segments = up(job.samples, S);
  if constexpr (sizeof...(shorter) > 0) {
    // Only where partners follow each other does a segment save reads, and small problems rather
    // keep every processor busy.
    int const forced = detail::launch_override().segment;
    bool const too_long = !job.permutation || job.second ||
                          up(columns, block) * segments < 2 * std::int64_t{facts.processors};
    if (forced > 0 ? forced < S : too_long) {
      return mix_columns<Column, shorter...>(job, labels, stream, facts);
    }
  }
  // What a wave of blocks reads stays in L2 until the next segment reads its seam sample again.
  std::int64_t const panel = facts.l2 / (8 * S) / static_cast<int>(sizeof(typename Column::Raw));
  LabelWork const work = work_of(labels, block);
  Tiling const tiling = tiling_for(columns, segments, panel, work.tiling.tiles, block);
  return launch_tiled(mix_kernel<Column, S>, facts, tiling, block, stream, job, work);
}

template <class Column>
cudaError_t mix_columns_in_place(MixJob const& job, LabelJob const* labels, cudaStream_t stream,
                                 DeviceFacts const& facts) {
  constexpr int ahead = 8;
  std::int64_t const columns = Column::columns(job), runs = job.runs.count(job.samples);
  int const most = forced_block(in_place_threads);
  int width = std::min(block_for(columns), most), parts = 1;
  if (int const forced = detail::launch_override().parts) {
    parts = std::min(forced, most);
    width = most / parts;
  } else {
    // As many threads as a processor holds, but parts that are worth the two more samples which
    // each reads, and lines of 128 bytes.
    std::int64_t const wanted = std::int64_t{facts.processors} * 3 * in_place_threads;
    std::int64_t const longest = std::min(std::max(job.runs.first, job.runs.size), job.samples);
    while (parts < most_parts && columns * runs * parts < wanted && 2 * parts * ahead <= longest) {
      if (2 * width * parts > most && width <= 8) break;
      if (2 * width * parts > most) width /= 2;
      parts *= 2;
    }
  }
  int const block = width * parts;
  LabelWork const work = work_of(labels, block);
  Tiling const tiling = tiling_for(columns, runs, columns, work.tiling.tiles, width);
  return launch_tiled(mix_in_place_kernel<Column, ahead>, facts, tiling, block, stream, job, work,
                      parts);
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
        code = mix_columns<Vector<In, Out>, 8, 4, 2, 1>(images, labels, stream, facts);
        return;
      }
      if constexpr (std::is_same_v<In, std::uint8_t>) {
        if (Pixels<Out>::fits(images)) {
          code = mix_columns<Pixels<Out>, 4>(images, labels, stream, facts);
          return;
        }
      }
      if constexpr (std::is_same_v<In, Out> && sizeof(In) <= 2) {
        if (Shifted<In>::fits(images)) {
          code = mix_columns<Shifted<In>, 1>(images, labels, stream, facts);
          return;
        }
      }
      code = mix_columns<Element<In, Out>, 4>(images, labels, stream, facts);
    }
  });
  return code;
}

template <class T>
cudaError_t mix_in_place_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream) {
  DeviceFacts facts;
  if (cudaError_t const code = ask(facts)) return code;
  using Dense = Vector<T, T, false>;
  return Dense::fits(images) && !images.flips
             ? mix_columns_in_place<Dense>(images, labels, stream, facts)
             : mix_columns_in_place<Twin<T>>(images, labels, stream, facts);
}

}  // namespace mixfuse::cuda
