// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/mix.cuh"

namespace mixfuse::cuda {

template cudaError_t mix_of<maths::F16>(MixJob const&, LabelJob const*, PlanJob const*,
                                        cudaStream_t);
template cudaError_t mix_of<maths::Bf16>(MixJob const&, LabelJob const*, PlanJob const*,
                                         cudaStream_t);
template cudaError_t mix_in_place_of<maths::F16>(MixJob const&, LabelJob const*, cudaStream_t);
template cudaError_t mix_in_place_of<maths::Bf16>(MixJob const&, LabelJob const*, cudaStream_t);

}  // namespace mixfuse::cuda
