// SPDX-License-Identifier: Apache-2.0
#include "host/cli/engine.hpp"

#include <thread>
#include <utility>

#include "host/cli/fault.hpp"
#include "mixfuse/info.hpp"

#if MIXFUSE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mixfuse::cli {
namespace {

#if MIXFUSE_HAS_CUDA
void check(cudaError_t code, char const* what) {
  if (code != cudaSuccess) {
    throw failed_run(text("CUDA: ", what, ": ", cudaGetErrorString(code)));
  }
}
#endif

Device device_of(DeviceChoice choice) {
  if (choice == DeviceChoice::cpu) return Device::cpu();
  CudaInfo const& info = cuda_info();
  if (info.devices > 0) return Device::cuda();
  if (choice == DeviceChoice::automatic) return Device::cpu();
  if (!info.built) throw bad_call(text("--device: cuda: ", info.absent));
  throw failed_run(text("--device: cuda: ", info.absent));
}

}  // namespace

Engine::Engine(DeviceChoice choice, int threads) : device_{device_of(choice)}, threads_{threads} {
#if MIXFUSE_HAS_CUDA
  if (device_.kind == Device::Kind::cuda) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
  }
#endif
}

Engine::~Engine() {
#if MIXFUSE_HAS_CUDA
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
#endif
}

Queue Engine::queue() const {
  return device_.kind == Device::Kind::cuda ? Queue::cuda(stream_) : Queue::cpu(threads_);
}

std::string Engine::name() const {
#if MIXFUSE_HAS_CUDA
  if (device_.kind == Device::Kind::cuda) {
    cudaDeviceProp properties = {};
    check(cudaGetDeviceProperties(&properties, device_.id), "device");
    return properties.name;
  }
#endif
  auto const threads =
      threads_ > 0 ? static_cast<unsigned>(threads_) : std::thread::hardware_concurrency();
  return text("CPU, ", threads, threads == 1 ? " thread" : " threads");
}

void Engine::wait() const {
#if MIXFUSE_HAS_CUDA
  if (stream_ != nullptr) check(cudaStreamSynchronize(stream_), "wait");
#endif
}

Mirror::Mirror(Engine const& engine, void* host, std::size_t size)
    : engine_{&engine}, host_{host}, data_{host}, size_{size} {
#if MIXFUSE_HAS_CUDA
  if (engine.device().kind == Device::Kind::cuda) {
    data_ = nullptr;
    if (size > 0) check(cudaMalloc(&data_, size), "memory");
  }
#endif
}

// The host's bytes are only written by fetch(), which nobody calls for an input.
Mirror::Mirror(Engine const& engine, void const* host, std::size_t size)
    : Mirror(engine, const_cast<void*>(host), size) {
#if MIXFUSE_HAS_CUDA
  if (data_ != host && size > 0) {
    check(cudaMemcpyAsync(data_, host, size, cudaMemcpyHostToDevice, engine.queue().stream()),
          "copy to the device");
  }
#endif
}

Mirror::~Mirror() {
#if MIXFUSE_HAS_CUDA
  if (data_ != host_) cudaFree(data_);
#endif
}

Mirror::Mirror(Mirror&& other) noexcept
    : engine_{other.engine_},
      host_{other.host_},
      data_{std::exchange(other.data_, other.host_)},
      size_{other.size_} {}

void Mirror::fetch() const {
#if MIXFUSE_HAS_CUDA
  if (data_ != host_ && size_ > 0) {
    check(cudaMemcpyAsync(host_, data_, size_, cudaMemcpyDeviceToHost, engine_->queue().stream()),
          "copy from the device");
  }
#endif
}

}  // namespace mixfuse::cli
