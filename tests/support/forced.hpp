// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cuda/launch.hpp"

namespace mixfuse::test {

/// Launch shapes of this thread's calls while it lives; 0 is the library's own choice.
class Forced {
 public:
  Forced(int block, int grid, int segment = 0, int panel = 0, int parts = 0) {
    detail::launch_override() = {block, grid, segment, panel, parts};
  }
  ~Forced() { detail::launch_override() = {}; }
  Forced(Forced const&) = delete;
  Forced& operator=(Forced const&) = delete;
};

}  // namespace mixfuse::test
