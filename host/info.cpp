// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/info.hpp"

#include "host/check.hpp"
#include "host/cuda.hpp"
#include "mixfuse/error.hpp"

#if MIXFUSE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mixfuse {

error::~error() = default;
invalid_argument::~invalid_argument() = default;
unsupported::~unsupported() = default;
cuda_error::~cuda_error() = default;

char const* version() noexcept { return MIXFUSE_VERSION; }

int stream_version() noexcept { return 1; }

CudaInfo const& cuda_info() {
  static CudaInfo const info = [] {
    CudaInfo found;
#if MIXFUSE_HAS_CUDA
    found.built = true;
    found.architectures = MIXFUSE_CUDA_ARCHITECTURES;
    if (cuda::is_forked()) {
      found.absent = cuda::forked;
      return found;
    }
    cudaDriverGetVersion(&found.driver);
    cudaRuntimeGetVersion(&found.runtime);
    cudaError_t const code = cudaGetDeviceCount(&found.devices);
    if (code != cudaSuccess) {
      cudaGetLastError();  // ours, and kept here
      found.devices = 0;
      found.absent = message(cudaGetErrorName(code), " (", static_cast<int>(code), "), ",
                             cudaGetErrorString(code));
    } else if (found.devices == 0) {
      found.absent = "no device";
    }
#else
    found.absent = "this build has only the CPU backend (MIXFUSE_CUDA=OFF)";
#endif
    return found;
  }();
  return info;
}

}  // namespace mixfuse
