// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <stdexcept>

#include "tests/support/device.hpp"

namespace mixfuse::test {
namespace {

void must(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

cudaStream_t stream() {
  // Not ordered with the legacy stream, so that work queued there by mistake can be noticed.
  static cudaStream_t const made = [] {
    cudaStream_t fresh = nullptr;
    must(cudaStreamCreateWithFlags(&fresh, cudaStreamNonBlocking));
    return fresh;
  }();
  return made;
}

}  // namespace

Device test_device() { return Device::cuda(0); }

Queue test_queue() { return Queue::cuda(stream()); }

std::string const& device_absence() {
  static std::string const reason = []() -> std::string {
    int count = 0;
    cudaError_t const status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return {};
    (void)cudaGetLastError();
    return std::string("no CUDA device: ") +
           (status == cudaSuccess ? "the driver knows none" : cudaGetErrorString(status));
  }();
  return reason;
}

void* allocate_on_device(std::size_t size) {
  void* memory = nullptr;
  must(cudaMalloc(&memory, size));
  return memory;
}

void release_on_device(void* memory) noexcept { (void)cudaFree(memory); }

void write_to_device(void* to, void const* from, std::size_t size) {
  must(cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, stream()));
  must(cudaStreamSynchronize(stream()));
}

void read_from_device(void* to, void const* from, std::size_t size) {
  must(cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToHost, stream()));
  must(cudaStreamSynchronize(stream()));
}

}  // namespace mixfuse::test
