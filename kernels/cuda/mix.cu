// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"

namespace mixfuse::cuda {

// mix_u8.cu, mix_half.cu, mix_float.cu
template <class In>
cudaError_t mix_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream);
template <class T>
cudaError_t mix_in_place_of(MixJob const& images, LabelJob const* labels, cudaStream_t stream);

int mix(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  cudaError_t code = cudaSuccess;
  with_dtype(images.dtype_in, [&](auto tag) {
    code = mix_of<typename decltype(tag)::type>(images, labels, stream);
  });
  return code;
}

int mix_in_place(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  cudaError_t code = cudaSuccess;
  with_dtype(images.dtype_in, [&](auto tag) {
    code = mix_in_place_of<typename decltype(tag)::type>(images, labels, stream);
  });
  return code;
}

}  // namespace mixfuse::cuda
