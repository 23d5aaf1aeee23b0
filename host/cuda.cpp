// SPDX-License-Identifier: Apache-2.0
#include "host/cuda.hpp"

#include "host/check.hpp"
#include "host/process.hpp"
#include "kernels/job.hpp"

#if MIXFUSE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mixfuse::cuda {

#if MIXFUSE_HAS_CUDA

namespace {
void require_no_fork() {
  if (!is_forked()) return;
  constexpr int code = cudaErrorInitializationError;  // what CUDA itself says, where it notices
  throw cuda_error(code, message("device: cudaErrorInitializationError (", code, "), ", forked));
}
}  // namespace

bool is_forked() noexcept {
  static FirstProcess process;
  return !process.is_this();
}

void check(int code, char const* what, int pending) {
  if (code == cudaSuccess) return;
  if (code != pending && cudaPeekAtLastError() == code) cudaGetLastError();
  auto const error = static_cast<cudaError_t>(code);
  throw cuda_error(code, message(what, ": ", cudaGetErrorName(error), " (", code, "), ",
                                 cudaGetErrorString(error)));
}

int pending_error() { return cudaPeekAtLastError(); }

void require_built() {}

DeviceGuard::DeviceGuard(int device) {
  require_no_fork();
  int current = 0;
  check(cudaGetDevice(&current), "current device");
  if (current == device) return;
  check(cudaSetDevice(device), "device");
  previous_ = current;
}

DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

void require_no_capture(Queue queue, char const* what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(queue.stream(), &status), "queue");
  require<unsupported>(status == cudaStreamCaptureStatusNone, "queue: ", what,
                       " while it is being captured");
}

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), message("plan: ", bytes, " bytes").c_str());
  return memory;
}

void release(void* memory) noexcept {
  if (!is_forked()) cudaFree(memory);  // it is the parent's
}

void copy(void* to, void const* from, std::size_t bytes, Queue queue) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, queue.stream()), "copy");
}

void clear(void* memory, std::size_t bytes, Queue queue) {
  check(cudaMemsetAsync(memory, 0, bytes, queue.stream()), "clear");
}

void wait(Queue queue) { check(cudaStreamSynchronize(queue.stream()), "queue"); }

bool is_reachable(void const* memory, int device) {
  require_no_fork();
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, memory), "address");
  return attributes.type != cudaMemoryTypeUnregistered &&
         (attributes.type != cudaMemoryTypeDevice || attributes.device == device);
}

#else

namespace {
[[noreturn]] void refuse() {
  throw unsupported("CUDA: this build has only the CPU backend (MIXFUSE_CUDA=OFF)");
}
}  // namespace

void check(int, char const*, int) { refuse(); }
int pending_error() { refuse(); }
void require_built() { refuse(); }
bool is_forked() noexcept { return false; }
DeviceGuard::DeviceGuard(int) { refuse(); }
DeviceGuard::~DeviceGuard() = default;
void require_no_capture(Queue, char const*) { refuse(); }
void* allocate(std::size_t) { refuse(); }
void release(void*) noexcept {}
void copy(void*, void const*, std::size_t, Queue) { refuse(); }
void clear(void*, std::size_t, Queue) { refuse(); }
void wait(Queue) { refuse(); }
bool is_reachable(void const*, int) { refuse(); }

int workspace_bytes(std::int64_t, std::size_t*) { refuse(); }
int plan(PlanJob const&, CUstream_st*) { refuse(); }
int set_draw(PlanHeader*, Draw, CUstream_st*) { refuse(); }
int mix(MixJob const&, LabelJob const*, CUstream_st*) { refuse(); }
bool step_is_one(PlanJob const&, MixJob const&) { refuse(); }
int step(PlanJob const&, MixJob const&, LabelJob const*, CUstream_st*) { refuse(); }
int mix_in_place(MixJob const&, LabelJob const*, CUstream_st*) { refuse(); }
int label(LabelJob const&, CUstream_st*) { refuse(); }

#endif

}  // namespace mixfuse::cuda
