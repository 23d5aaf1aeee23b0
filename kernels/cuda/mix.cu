// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include "kernels/cuda/column.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"

namespace mixfuse::cuda {

// mix_u8.cu, mix_half.cu, mix_float.cu
template <class In>
cudaError_t mix_of(MixJob const& images, LabelJob const* labels, PlanJob const* early,
                   cudaStream_t stream);
template <class T>
cudaError_t mix_in_place_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream);

namespace {

int mix(MixJob const& images, LabelJob const* labels, PlanJob const* early, CUstream_st* stream) {
  cudaError_t code = cudaSuccess;
  with_dtype(images.dtype_in, [&](auto tag) {
    code = mix_of<typename decltype(tag)::type>(images, labels, early, stream);
  });
  return code;
}

}  // namespace

int mix(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  return mix(images, labels, nullptr, stream);
}

bool step_is_one(PlanJob const& job, MixJob const& images) {
  Schedule const& schedule = job.schedule;
  bool const by_draw_alone = schedule.probability == nullptr && schedule.probabilities == nullptr &&
                             schedule.weights == nullptr;
  if (!by_draw_alone || job.samples == 0 || job.samples > job.early.capacity) return false;
  DeviceFacts facts;
  if (ask(facts) != cudaSuccess) return false;
  bool is_one = false;
  with_pair(images.dtype_in, images.dtype_out, [&](auto in, auto out) {
    using Dense = Vector<typename decltype(in)::type, typename decltype(out)::type>;
    if (!Dense::fits(images)) return;
    // Drawing boxes takes so many registers that a large mix beside it would be slower.
    std::int64_t const columns = Dense::columns(images);
    is_one = !(images.boxes || images.flips) ||
             are_few(facts, columns, block_for(columns), up(images.samples, 4));
  });
  return is_one;
}

int step(PlanJob const& job, MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  return mix(images, labels, &job, stream);
}

int mix_in_place(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  cudaError_t code = cudaSuccess;
  with_dtype(images.dtype_in, [&](auto tag) {
    code = mix_in_place_of<typename decltype(tag)::type>(images, labels, stream);
  });
  return code;
}

}  // namespace mixfuse::cuda
