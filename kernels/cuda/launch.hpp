// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mixfuse::detail {

/// Launch shapes forced by tests; 0 is the library's own choice. Results do not depend on them.
struct LaunchOverride {
  int block = 0;
  int grid = 0;
};

LaunchOverride& launch_override() noexcept;  // of the calling thread

}  // namespace mixfuse::detail
