// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "mixfuse/export.hpp"

namespace mixfuse {

/// Version of the library, "major.minor.patch".
[[nodiscard]] MIXFUSE_EXPORT char const* version() noexcept;

/// Number of the drawn bits: it changes whenever any drawn bit, pixel or target does.
[[nodiscard]] MIXFUSE_EXPORT int stream_version() noexcept;

/// What CUDA can do here.
struct CudaInfo {
  bool built = false;         ///< the library has the CUDA backend
  int devices = 0;            ///< 0 when `absent` says why
  int driver = 0;             ///< as cudaDriverGetVersion, 0 without a driver
  int runtime = 0;            ///< as cudaRuntimeGetVersion
  std::string architectures;  ///< those that the kernels were built for
  std::string absent;         ///< why there is no device, empty when there is one
};

/// Asks CUDA once per process, at the first call; later calls return the same.
[[nodiscard]] MIXFUSE_EXPORT CudaInfo const& cuda_info();

}  // namespace mixfuse
