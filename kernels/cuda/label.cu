// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"

namespace mixfuse::cuda {
namespace {

__global__ void __launch_bounds__(256) label_kernel(__grid_constant__ LabelWork const work) {
  label_tiles(work, blockIdx.x);
}

}  // namespace

int label(LabelJob const& job, CUstream_st* stream) {
  LabelWork const work = label_work(job, forced_block(256));
  Shape const shape = shape_for(256, [&](int) { return work.tiling.tiles; });
  return launch(label_kernel, shape, 0, stream, work);
}

}  // namespace mixfuse::cuda
