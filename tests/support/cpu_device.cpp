// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <new>

#include "tests/support/device.hpp"

namespace mixfuse::test {

Device test_device() { return Device::cpu(); }

Queue test_queue() { return Queue::cpu(); }

std::string const& device_absence() {
  static std::string const none;
  return none;
}

void* allocate_on_device(std::size_t size) { return ::operator new (size, std::align_val_t{256}); }

void release_on_device(void* memory) noexcept { ::operator delete (memory, std::align_val_t{256}); }

void write_to_device(void* to, void const* from, std::size_t size) { std::memcpy(to, from, size); }

void read_from_device(void* to, void const* from, std::size_t size) { std::memcpy(to, from, size); }

}  // namespace mixfuse::test
