// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mixfuse/tensor.hpp"

/// All that the host layer asks of the CUDA runtime. In a build without CUDA each throws
/// `unsupported`.
namespace mixfuse::cuda {

/// Throws cuda_error, with the code and CUDA's text, unless it is cudaSuccess. CUDA then forgets
/// it, unless it is the one that was `pending` before the call: that stays the caller's.
void check(int code, char const* what, int pending = 0);

/// The error that CUDA would report next, left where it is.
int pending_error();

/// Throws unless CUDA was built in.
void require_built();

/// Whether this process is the child of one that has used CUDA, which does not work in it: nothing
/// more is asked of CUDA then. Else this process counts as having used it.
bool is_forked() noexcept;
inline constexpr char forked[] =
    "this process was forked from one that had used CUDA; start it by spawn or exec";

/// Makes the device current while it lives. Comes before any other call below, and refuses a fork.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(DeviceGuard const&) = delete;
  DeviceGuard& operator=(DeviceGuard const&) = delete;

 private:
  int previous_ = -1;
};

/// Throws unsupported while the queue is being captured: what allocates or waits would break that.
void require_no_capture(Queue queue, char const* what);

void* allocate(std::size_t bytes);
void release(void* memory) noexcept;
void copy(void* to, void const* from, std::size_t bytes, Queue queue);
void clear(void* memory, std::size_t bytes, Queue queue);
void wait(Queue queue);

/// A device pointer of that device, or pinned or managed memory.
bool is_reachable(void const* memory, int device);

}  // namespace mixfuse::cuda
