// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cub/device/device_merge_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels/cuda/draw.cuh"
#include "kernels/cuda/error.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/sort.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/error.hpp"
#include "kernels/maths/live.hpp"
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

/// Largest group that one block sorts: with the policies, little less than 48 KiB of shared memory.
constexpr std::int32_t block_sort_limit = 4096;
constexpr int threads = 512;

/// What a block's first thread keeps until advance().
struct Reading {
  Draw draw;
  unsigned before = 0;  // blocks that had read it
};

/// Reads the draw; makes the schedule's laws, in `made`, once a block, since one costs more than a
/// thread's draws.
__device__ Drawing settle(PlanJob const& job, Policy* made, Reading& reading) {
  bool const first_thread = threadIdx.x == 0;
  Draw const draw = reading.draw = read_draw(job);
  Drawing from = maths::live_drawing(job, draw);
  if (job.live == nullptr) return from;

  if (maths::schedules_policies(job)) {
    for (int k = static_cast<int>(threadIdx.x); k < job.policies;
         k += static_cast<int>(blockDim.x)) {
      maths::schedule_policy(made[k], job, k);
    }
    from.policy = made;
  }
  // The last block, since the first ones sort.
  if (blockIdx.x == gridDim.x - 1 && first_thread) {
    if (std::uint64_t const mark = maths::live_mark(job, draw)) {
      raise(job.header, from.draw.step, mark);
    }
  }
  __syncthreads();
  if (first_thread) {
    __threadfence();
    reading.before = atomicAdd(&job.header->read, 1u);  // waited for by advance()
  }
  return from;
}

/// Advances a live draw, in the block that was the last to read it.
__device__ void advance(PlanJob const& job, Reading const& reading) {
  if (job.live == nullptr || threadIdx.x != 0 || reading.before != gridDim.x - 1) return;
  job.header->read = 0;
  auto* const step = reinterpret_cast<unsigned long long*>(&job.live->step);
  atomicExch(step, maths::next(reading.draw).step);
}

__device__ void write_step(Drawing const& from) {
  if (blockIdx.x == 0 && threadIdx.x == 0) from.job.header->step = from.draw.step;
}

/// It may start while the kernel before still runs, and waits for it before it reads or writes
/// memory.
__global__ void __launch_bounds__(threads)
    plan_kernel(__grid_constant__ PlanJob const job, std::int32_t const capacity) {
  let_the_kernel_after_start();
  if (job.live != nullptr || job.given != nullptr) wait_for_the_kernel_before();
  extern __shared__ std::uint64_t memory[];
  __shared__ Policy made[max_policies];
  Reading reading;
  Drawing const from = settle(job, made, reading);
  draw_pieces(from, {job.rows, job.order}, memory, capacity, blockIdx.x, gridDim.x);
  advance(job, reading);
  wait_for_the_kernel_before();
  if (job.samples > 0) write_step(from);
}

/// A running minimum that starts anew in each group, since later groups are always smaller.
struct Smaller {
  __host__ __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    return a < b ? a : b;
  }
};

struct ItemWord {
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
  Drawing const from = maths::live_drawing(job, read_draw(job));
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < job.samples;
       i += stride) {
    auto const at = static_cast<std::int32_t>(i);
    maths::Keyed const keyed = maths::keyed(from, at);
    items[i] = {keyed.key, keyed.sample, static_cast<std::int32_t>(maths::group_of(from, at))};
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

__global__ void __launch_bounds__(threads, 1)
    sorted_kernel(__grid_constant__ PlanJob const job, Item const* const items,
                  std::int64_t const* const least) {
  __shared__ Policy made[max_policies];
  Reading reading;
  Drawing const from = settle(job, made, reading);
  std::int64_t const stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < job.samples;
       i += stride) {
    auto const at = static_cast<std::int32_t>(i);
    maths::Group const group = maths::group_at(from, items[i].group);
    auto const smallest =
        static_cast<std::int32_t>(least[i] + (std::int64_t{items[i].group} << 32));
    maths::Link const link = maths::link_in_word(job.pairing, ItemWord{items + group.start},
                                                 at - group.start, group.size, smallest);
    write_link({job.rows, job.order}, link, at);
    write_draws(job.rows[link.sample], maths::draw_row(from, link.sample, link.partner));
  }
  advance(job, reading);
  write_step(from);
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
  return cub::DeviceScan::InclusiveScan(space.temporary, bytes, space.least, space.least, Smaller{},
                                        samples, stream);
}

int plan_device_wide(PlanJob const& job, cudaStream_t stream) {
  Workspace const space = split(job.workspace, job.workspace_size, job.samples);
  Shape const shape = shape_for(threads, [&](int block) { return up(job.samples, block); });
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

__global__ void set_draw_kernel(PlanHeader* const header, Draw const draw) { header->draw = draw; }

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
  bool const sorted = maths::needs_sort(job.pairing);
  std::int32_t const capacity = largest_sort(job);
  if (capacity > block_sort_limit) return plan_device_wide(job, stream);
  int const widest = sorted
                         ? std::clamp<int>(static_cast<int>(up(capacity, warp)) * warp, 64, threads)
                         : rows_drawn;
  Shape const shape =
      shape_for(widest, [&](int block) { return pieces(job, groups_to_sort(job), block); });
  DeviceFacts facts;
  if (int const code = ask(facts)) return code;
  return launch(start_of(facts), plan_kernel, shape, sorted ? Sort::bytes(capacity) : 0, stream,
                job, capacity);
}

int set_draw(PlanHeader* header, Draw draw, CUstream_st* stream) {
  return launch(set_draw_kernel, {1, 1}, 0, stream, header, draw);
}

}  // namespace mixfuse::cuda
