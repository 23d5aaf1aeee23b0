// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "host/cli/options.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse::cli {

/// Where the work runs: the CPU, or a CUDA device with a stream of the tool's own.
class Engine {
 public:
  /// bad_call when CUDA is asked of a build without it, failed_run when there is no device.
  Engine(DeviceChoice choice, int threads);
  ~Engine();
  Engine(Engine const&) = delete;
  Engine& operator=(Engine const&) = delete;

  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] Queue queue() const;
  /// The device's name, or how many threads of the CPU.
  [[nodiscard]] std::string name() const;
  void wait() const;

 private:
  Device device_;
  int threads_;
  CUstream_st* stream_ = nullptr;
};

/// Host memory and its twin where the work runs; on the CPU they are one.
class Mirror {
 public:
  Mirror(Engine const& engine, void* host, std::size_t size);
  /// With the bytes that are there already.
  Mirror(Engine const& engine, void const* host, std::size_t size);
  ~Mirror();
  Mirror(Mirror&& other) noexcept;
  Mirror& operator=(Mirror&&) = delete;

  [[nodiscard]] void* data() const { return data_; }
  /// Queues the copy back to the host.
  void fetch() const;

 private:
  Engine const* engine_;
  void* host_;
  void* data_;
  std::size_t size_;
};

}  // namespace mixfuse::cli
