// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"

namespace mixfuse::cuda {
namespace {

__global__ void __launch_bounds__(256)
    label_kernel(__grid_constant__ LabelJob const job, std::int64_t const tiles) {
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) label_tile(job, tile);
}

}  // namespace

int label(LabelJob const& job, CUstream_st* stream) {
  Shape const shape = shape_for(256, [&](int block) { return label_tiles(job, block); });
  return launch(label_kernel, shape, 0, stream, job, label_tiles(job, shape.block));
}

}  // namespace mixfuse::cuda
