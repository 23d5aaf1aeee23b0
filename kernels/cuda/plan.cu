// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cub/device/device_merge_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels/cuda/error.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/error.hpp"
#include "kernels/maths/order.hpp"
#include "kernels/maths/row.hpp"

namespace mixfuse::detail {

LaunchOverride& launch_override() noexcept {
  thread_local LaunchOverride forced;
  return forced;
}

}  // namespace mixfuse::detail

namespace mixfuse::cuda {
namespace {

/// Largest group that one block sorts: 48 KiB of shared memory.
constexpr std::int32_t block_sort_limit = 4096;
constexpr int threads = 512;

__device__ void write(PlanJob const& job, maths::Link link, std::int32_t at) {
  job.rows[link.sample] = maths::draw_row(job, link.sample, link.partner);
  job.order[at] = link.entry;
}

__device__ void write_step(PlanJob const& job) {
  if (blockIdx.x == 0 && threadIdx.x == 0) job.header->step = job.draw.step;
}

/// Pairings that need no sort: a thread a position.
__global__ void __launch_bounds__(threads) unsorted_kernel(__grid_constant__ PlanJob const job) {
  write_step(job);
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < job.samples;
       i += stride) {
    auto const at = static_cast<std::int32_t>(i);
    maths::Group const group = maths::group_at(job, maths::group_of(job, at));
    maths::Link const link = maths::unsorted_link(job, group, at - group.start);
    write(job, link, at);
    if (link.partner < 0) {  // given
      raise(job.header, job.draw.step, maths::error_mark(ErrorWord::Code::partner, link.sample));
    }
  }
}

/// A sorted group: bitonic, padded to a power of two with keys that come last.
struct BlockSort {
  std::uint64_t* keys;
  std::int32_t* samples;
  std::int32_t padded;

  __device__ void operator()() const {
    for (std::int32_t width = 2; width <= padded; width *= 2) {
      for (std::int32_t apart = width / 2; apart > 0; apart /= 2) {
        for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < padded / 2;
             i += static_cast<std::int32_t>(blockDim.x)) {
          std::int32_t const a = 2 * i - (i & (apart - 1));
          std::int32_t const b = a + apart;
          maths::Keyed const at_a{keys[a], samples[a]}, at_b{keys[b], samples[b]};
          bool const rising = (a & width) == 0;
          if (maths::comes_before(at_b, at_a) == rising) {
            keys[a] = at_b.key, samples[a] = at_b.sample;
            keys[b] = at_a.key, samples[b] = at_a.sample;
          }
        }
        __syncthreads();
      }
    }
  }
};

/// A block a group: keys, sort, cut, rows.
__global__ void __launch_bounds__(threads)
    block_sort_kernel(__grid_constant__ PlanJob const job, std::int32_t const padded) {
  extern __shared__ std::uint64_t memory[];
  auto* const samples = reinterpret_cast<std::int32_t*>(memory + padded);
  auto const thread = static_cast<std::int32_t>(threadIdx.x);
  auto const count = static_cast<std::int32_t>(blockDim.x);
  write_step(job);
  std::int64_t const groups = maths::group_count(job);
  for (std::int64_t index = blockIdx.x; index < groups; index += gridDim.x) {
    maths::Group const group = maths::group_at(job, index);
    for (std::int32_t k = thread; k < padded; k += count) {
      maths::Keyed const keyed = k < group.size ? maths::keyed(job, group.start + k)
                                                : maths::Keyed{~std::uint64_t{0}, 2147483647};
      memory[k] = keyed.key;
      samples[k] = keyed.sample;
    }
    __syncthreads();
    BlockSort{memory, samples, padded}();

    // Running minimum, by doubling, between two halves of the memory that held the keys.
    auto* least = reinterpret_cast<std::int32_t*>(memory);
    auto* other = least + padded;
    for (std::int32_t k = thread; k < padded; k += count) least[k] = samples[k];
    __syncthreads();
    for (std::int32_t reach = 1; reach < group.size; reach *= 2) {
      for (std::int32_t k = thread; k < padded; k += count) {
        std::int32_t const before = k >= reach ? least[k - reach] : least[k];
        other[k] = before < least[k] ? before : least[k];
      }
      __syncthreads();
      auto* const done = other;
      other = least;
      least = done;
    }

    for (std::int32_t k = thread; k < group.size; k += count) {
      write(job, maths::link_in_word(job.pairing, samples, k, group.size, least[k]),
            group.start + k);
    }
    __syncthreads();
  }
}

/// An entry of the word that is sorted device-wide, all groups at once.
struct Item {
  std::uint64_t key;
  std::int32_t sample;
  std::int32_t group;
};

struct ItemsInOrder {
  __host__ __device__ bool operator()(Item const& a, Item const& b) const {
    return a.group != b.group ? a.group < b.group
                              : maths::comes_before({a.key, a.sample}, {b.key, b.sample});
  }
};

/// A running minimum that starts anew in each group, since later groups are always smaller.
struct Least {
  __host__ __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    return a < b ? a : b;
  }
};

struct Word {
  Item const* items;
  __device__ std::int32_t operator[](std::int32_t k) const { return items[k].sample; }
};

/// The workspace of the device-wide sort.
struct Workspace {
  Item* items;
  std::int64_t* least;
  void* temporary;
  std::size_t temporary_size;
};

__global__ void __launch_bounds__(threads)
    keys_kernel(__grid_constant__ PlanJob const job, Item* const items) {
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < job.samples;
       i += stride) {
    auto const at = static_cast<std::int32_t>(i);
    maths::Keyed const keyed = maths::keyed(job, at);
    items[i] = {keyed.key, keyed.sample, static_cast<std::int32_t>(maths::group_of(job, at))};
  }
}

__global__ void __launch_bounds__(threads)
    values_kernel(Item const* const items, std::int64_t* const least, std::int64_t const samples) {
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < samples;
       i += stride) {
    least[i] = -(std::int64_t{items[i].group} << 32) + items[i].sample;
  }
}

__global__ void __launch_bounds__(threads)
    sorted_kernel(__grid_constant__ PlanJob const job, Item const* const items,
                  std::int64_t const* const least) {
  write_step(job);
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < job.samples;
       i += stride) {
    auto const at = static_cast<std::int32_t>(i);
    maths::Group const group = maths::group_at(job, items[i].group);
    auto const smallest =
        static_cast<std::int32_t>(least[i] + (std::int64_t{items[i].group} << 32));
    write(job,
          maths::link_in_word(job.pairing, Word{items + group.start}, at - group.start, group.size,
                              smallest),
          at);
  }
}

std::size_t aligned(std::size_t size) { return (size + 255) / 256 * 256; }

Workspace split(void* memory, std::size_t size, std::int64_t samples) {
  auto* const base = static_cast<char*>(memory);
  auto const count = static_cast<std::size_t>(samples);
  std::size_t const least = aligned(count * sizeof(Item));
  std::size_t const temporary = least + aligned(count * sizeof(std::int64_t));
  return {reinterpret_cast<Item*>(base), reinterpret_cast<std::int64_t*>(base + least),
          base + temporary, size - temporary};
}

cudaError_t sort(Workspace const& space, std::size_t& bytes, std::int64_t samples,
                 cudaStream_t stream) {
  return cub::DeviceMergeSort::SortKeys(space.temporary, bytes, space.items, samples,
                                        ItemsInOrder{}, stream);
}

cudaError_t scan(Workspace const& space, std::size_t& bytes, std::int64_t samples,
                 cudaStream_t stream) {
  return cub::DeviceScan::InclusiveScan(space.temporary, bytes, space.least, space.least, Least{},
                                        samples, stream);
}

int plan_device_wide(PlanJob const& job, cudaStream_t stream) {
  Workspace const space = split(job.workspace, job.workspace_size, job.samples);
  Shape const shape = shape_for(
      threads, [&](int block) { return (std::int64_t{job.samples} + block - 1) / block; });
  std::size_t bytes = space.temporary_size;
  if (int const code = launch(keys_kernel, shape, 0, stream, job, space.items)) return code;
  if (int const code = sort(space, bytes, job.samples, stream)) return code;
  std::int64_t const samples = job.samples;
  if (int const code = launch(values_kernel, shape, 0, stream,
                              static_cast<Item const*>(space.items), space.least, samples)) {
    return code;
  }
  if (int const code = scan(space, bytes, samples, stream)) return code;
  return launch(sorted_kernel, shape, 0, stream, job, static_cast<Item const*>(space.items),
                static_cast<std::int64_t const*>(space.least));
}

}  // namespace

int workspace_bytes(std::int64_t capacity, std::size_t* bytes) {
  *bytes = 0;
  if (capacity <= block_sort_limit) return cudaSuccess;
  Workspace const space{};
  std::size_t for_sort = 0, for_scan = 0;
  if (int const code = sort(space, for_sort, capacity, nullptr)) return code;
  if (int const code = scan(space, for_scan, capacity, nullptr)) return code;
  auto const count = static_cast<std::size_t>(capacity);
  *bytes = aligned(count * sizeof(Item)) + aligned(count * sizeof(std::int64_t)) +
           (for_sort > for_scan ? for_sort : for_scan);
  return cudaSuccess;
}

int plan(PlanJob const& job, CUstream_st* stream) {
  if (!maths::needs_sort(job.pairing)) {
    Shape const shape = shape_for(
        threads, [&](int block) { return (std::int64_t{job.samples} + block - 1) / block; });
    return launch(unsorted_kernel, shape, 0, stream, job);
  }
  std::int64_t const largest =
      job.group == 0 ? job.samples : std::min<std::int64_t>(job.group, job.samples);
  if (largest > block_sort_limit) return plan_device_wide(job, stream);
  std::int32_t padded = 2;
  while (padded < largest) padded *= 2;
  Shape const shape =
      shape_for(std::clamp(padded / 2, 32, threads), [&](int) { return maths::group_count(job); });
  std::size_t const shared =
      static_cast<std::size_t>(padded) * (sizeof(std::uint64_t) + sizeof(std::int32_t));
  return launch(block_sort_kernel, shape, shared, stream, job, padded);
}

}  // namespace mixfuse::cuda
