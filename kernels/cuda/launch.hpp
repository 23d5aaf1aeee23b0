// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mixfuse::detail {

/// Launch shapes forced by tests; 0 is the library's own choice. Results do not depend on them.
struct LaunchOverride {
  int block = 0;
  int grid = 0;
  int segment = 0;  // samples of the order that a thread mixes at once: 1, 2 or 4, of a step 2 or 8
  int panel = 0;    // columns that a panel has at most
  int parts = 0;    // of a run, in place: 1, 2, 4, 8 or 16
};

LaunchOverride& launch_override() noexcept;  // of the calling thread

}  // namespace mixfuse::detail
