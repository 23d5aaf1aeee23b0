// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/launch.hpp"
#include "kernels/maths/divisor.hpp"

namespace mixfuse::cuda {

inline constexpr int warp = 32;

struct Shape {
  unsigned block, grid;
};

/// The block that tests ask for, if it is a smaller one.
inline int forced_block(int block) {
  int const forced = detail::launch_override().block;
  return forced > 0 ? std::min(forced, block) : block;
}

inline constexpr int block_threads = 128;  // at most, of kernels that mix

/// `block` threads, and as many blocks as items(block) pieces of work; loops over the grid do what
/// a grid cannot hold.
template <class Items>
Shape shape_for(int block, Items const& items) {
  block = forced_block(block);
  int const forced = detail::launch_override().grid;
  std::int64_t const most = forced > 0 ? forced : 2147483647;
  std::int64_t const grid = std::clamp<std::int64_t>(items(block), 1, most);
  return {static_cast<unsigned>(block), static_cast<unsigned>(grid)};
}

/// What the current device is like.
struct DeviceFacts {
  int processors = 1, l2 = 0, major = 0, minor = 0;

  /// Whether the code that runs there has wait_for_the_kernel_before: the newest that is not newer
  /// than the device, which may be PTX of an older one.
  [[nodiscard]] bool kernels_wait() const {
    for (int const compiled : {__CUDA_ARCH_LIST__}) {
      if (compiled >= 900 && compiled <= 100 * major + 10 * minor) return true;
    }
    return false;
  }
};

inline cudaError_t ask(DeviceFacts& facts) {
  int device = 0;
  cudaError_t code = cudaGetDevice(&device);
  auto const get = [&](int& value, cudaDeviceAttr attribute) {
    if (code == cudaSuccess) code = cudaDeviceGetAttribute(&value, attribute, device);
  };
  get(facts.processors, cudaDevAttrMultiProcessorCount);
  get(facts.l2, cudaDevAttrL2CacheSize);
  get(facts.major, cudaDevAttrComputeCapabilityMajor);
  get(facts.minor, cudaDevAttrComputeCapabilityMinor);
  return code;
}

/// The pieces of a mix: panels of columns, in each all segments of the order, in each the panel's
/// columns, `width` to a block; tiles of labels come before them. There are fewer than 2^31: more
/// would be a terabyte.
struct Tiling {
  std::int64_t columns, width, panel, images, items;
  maths::Divisor blocks, segments;
};

/// A segment's columns [column, end) are the block's.
struct Tile {
  std::int64_t segment, column, end;
};

__device__ inline Tile tile_at(Tiling const& tiling, std::uint32_t item) {
  std::uint32_t const row = tiling.blocks.quotient(item);
  std::uint32_t const panel = tiling.segments.quotient(row);
  std::int64_t const begin = panel * tiling.panel;
  std::int64_t const end = begin + tiling.panel;
  return {row - panel * tiling.segments.by, begin + (item - row * tiling.blocks.by) * tiling.width,
          end < tiling.columns ? end : tiling.columns};
}

__host__ __device__ constexpr std::int64_t up(std::int64_t count, std::int64_t unit) {
  return (count + unit - 1) / unit;
}

/// The largest block that wastes at most an eighth of its threads on a sample's last columns.
inline int block_for(std::int64_t columns) {
  int block = block_threads;
  while (block > 32 && up(columns, block) * block - columns > columns / 8) block /= 2;
  return block;
}

/// Whether segments of so many samples are so few blocks that processors would idle.
inline bool are_few(DeviceFacts const& facts, std::int64_t columns, int block,
                    std::int64_t segments) {
  return up(columns, block) * segments < 2 * std::int64_t{facts.processors};
}

/// Panels of at most `widest` columns, in whole blocks and about equal.
inline Tiling tiling_for(std::int64_t columns, std::int64_t segments, std::int64_t widest,
                         std::int64_t labels, int width) {
  if (detail::launch_override().panel > 0) widest = detail::launch_override().panel;
  std::int64_t const all = up(columns, width);
  std::int64_t const panels =
      std::max<std::int64_t>(1, up(all, std::max<std::int64_t>(1, widest / width)));
  Tiling tiling{};
  tiling.columns = columns;
  tiling.width = width;
  std::int64_t const blocks = std::max<std::int64_t>(1, up(all, panels));
  tiling.panel = blocks * width;
  tiling.images = columns == 0 ? 0 : up(columns, tiling.panel) * segments * blocks;
  tiling.blocks = maths::divisor(blocks);
  tiling.segments = maths::divisor(std::max<std::int64_t>(1, segments));
  tiling.items = tiling.images + labels;
  return tiling;
}

/// Blocks of a kernel that the launch allows to start early wait here for the whole of the kernel
/// before, and what it wrote, before they read or write memory.
__device__ inline void wait_for_the_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Said by a thread of each block, or by its end: the next kernel's blocks may take their places
/// and wait, if its launch allows it. That one waits for this kernel alone, so every block that
/// says this must wait too, before it ends: else the next could overtake what this one was to wait
/// for.
__device__ inline void let_the_kernel_after_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

enum class Start { after_the_kernel_before, beside_the_kernel_before };

/// Of a kernel that waits by itself.
inline Start start_of(DeviceFacts const& facts) {
  return facts.kernels_wait() ? Start::beside_the_kernel_before : Start::after_the_kernel_before;
}

/// Reports the launch itself, so that an error which was pending before stays the caller's.
template <class... Parameters>
cudaError_t launch(Start start, void (*kernel)(Parameters...), Shape shape, std::size_t shared,
                   cudaStream_t stream, std::type_identity_t<Parameters> const&... arguments) {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  if (start == Start::beside_the_kernel_before) {
    config.attrs = &early;
    config.numAttrs = 1;
  }
  config.gridDim = dim3(shape.grid);
  config.blockDim = dim3(shape.block);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  void const* pointers[] = {&arguments...};
  return cudaLaunchKernelExC(&config, reinterpret_cast<void const*>(kernel),
                             const_cast<void**>(pointers));
}

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), Shape shape, std::size_t shared,
                   cudaStream_t stream, std::type_identity_t<Parameters> const&... arguments) {
  return launch(Start::after_the_kernel_before, kernel, shape, shared, stream, arguments...);
}

}  // namespace mixfuse::cuda
