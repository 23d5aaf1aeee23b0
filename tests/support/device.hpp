// SPDX-License-Identifier: Apache-2.0
#pragma once

// The device under test. Declared once, written twice (cpu_device.cpp, cuda_device.cpp), so that
// one behaviour suite is linked into two programs.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "mixfuse/tensor.hpp"

namespace mixfuse::test {

Device test_device();
Queue test_queue();
/// Why there is no such device; empty when there is one.
std::string const& device_absence();

/// Memory of the device under test, aligned to 256 bytes.
void* allocate_on_device(std::size_t size);
void release_on_device(void* memory) noexcept;
void write_to_device(void* to, void const* from, std::size_t size);
/// Waits for the test queue first.
void read_from_device(void* to, void const* from, std::size_t size);

inline bool on_cuda() { return test_device().kind == Device::Kind::cuda; }
/// The program runs where speed is that of an emulator.
inline bool small() { return on_cuda(); }

/// Where a call under test runs.
struct Place {
  Device device;
  Queue queue;
};

inline Place here() { return {test_device(), test_queue()}; }
inline Place on_cpu(int threads = 0) { return {Device::cpu(), Queue::cpu(threads)}; }

using Bytes = std::vector<std::byte>;

/// Bytes at a place, poisoned with 0xA5, with guards on both sides.
class Buffer {
 public:
  static constexpr std::byte poison{0xA5};
  static constexpr std::size_t guard = 256;

  Buffer(Place place, std::size_t size, std::size_t offset = 0);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&&) = delete;

  [[nodiscard]] void* data() const { return static_cast<std::byte*>(memory_) + before_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void write(std::span<std::byte const> bytes);
  /// Reports a test failure where a guard was touched.
  [[nodiscard]] Bytes read() const;

 private:
  [[nodiscard]] std::size_t whole() const { return before_ + size_ + guard; }

  Place place_;
  std::size_t size_;
  std::size_t before_;
  void* memory_;
};

}  // namespace mixfuse::test
