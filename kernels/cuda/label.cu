// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"

namespace mixfuse::cuda {
namespace {

__global__ void __launch_bounds__(256) label_kernel(__grid_constant__ LabelJob const job) {
  std::int64_t const items = label_items(job, blockDim.x);
  for (std::int64_t item = blockIdx.x; item < items; item += gridDim.x) label_item(job, item);
}

}  // namespace

int label(LabelJob const& job, CUstream_st* stream) {
  return launch(label_kernel, shape_for(256, [&](int block) { return label_items(job, block); }), 0,
                stream, job);
}

}  // namespace mixfuse::cuda
