// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/mix.cuh"

namespace mixfuse::cuda {

template cudaError_t mix_of<std::uint8_t>(MixJob const&, LabelJob const*, PlanJob const*,
                                          cudaStream_t);
template cudaError_t mix_in_place_of<std::uint8_t>(MixJob const&, LabelJob const*, cudaStream_t);

}  // namespace mixfuse::cuda
