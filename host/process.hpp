// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>

namespace mixfuse {

/// The process that first uses what does not survive a fork: CUDA's context.
class FirstProcess {
 public:
  /// Whether it is this one; the first that asks becomes it.
  bool is_this() noexcept {
    pid_t const self = getpid();
    pid_t first = 0;
    return first_.compare_exchange_strong(first, self) || first == self;
  }

 private:
  std::atomic<pid_t> first_{0};
};

}  // namespace mixfuse
