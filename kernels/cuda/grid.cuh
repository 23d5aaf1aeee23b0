// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/launch.hpp"

namespace mixfuse::cuda {

struct Shape {
  unsigned block, grid;
};

/// `block` threads, and as many blocks as items(block) pieces of work; loops over the grid do what
/// a grid cannot hold.
template <class Items>
Shape shape_for(int block, Items const& items) {
  auto const& forced = detail::launch_override();
  if (forced.block > 0) block = std::min(forced.block, block);
  std::int64_t const most = forced.grid > 0 ? forced.grid : 2147483647;
  std::int64_t const grid = std::clamp<std::int64_t>(items(block), 1, most);
  return {static_cast<unsigned>(block), static_cast<unsigned>(grid)};
}

/// Reports the launch itself, so that an error which was pending before stays the caller's.
template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), Shape shape, std::size_t shared,
                   cudaStream_t stream, std::type_identity_t<Parameters> const&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.grid);
  config.blockDim = dim3(shape.block);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  void const* pointers[] = {&arguments...};
  return cudaLaunchKernelExC(&config, reinterpret_cast<void const*>(kernel),
                             const_cast<void**>(pointers));
}

}  // namespace mixfuse::cuda
