// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "tests/support/device.hpp"

namespace mixfuse::test {
namespace {

bool is_cpu(Place const& place) { return place.device == Device::cpu(); }

}  // namespace

Buffer::Buffer(Place place, std::size_t size, std::size_t offset)
    : place_{place},
      size_{size},
      before_{guard + offset},
      memory_{is_cpu(place) ? ::operator new (whole(), std::align_val_t{256})
                            : allocate_on_device(whole())} {
  Bytes const poisoned(whole(), poison);
  if (is_cpu(place_)) {
    std::memcpy(memory_, poisoned.data(), whole());
  } else {
    write_to_device(memory_, poisoned.data(), whole());
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : place_{other.place_},
      size_{other.size_},
      before_{other.before_},
      memory_{std::exchange(other.memory_, nullptr)} {}

Buffer::~Buffer() {
  if (memory_ == nullptr) return;
  if (is_cpu(place_)) {
    ::operator delete (memory_, std::align_val_t{256});
  } else {
    release_on_device(memory_);
  }
}

void Buffer::write(std::span<std::byte const> bytes) {
  ASSERT_LE(bytes.size(), size_);
  if (bytes.empty()) return;
  if (is_cpu(place_)) {
    std::memcpy(data(), bytes.data(), bytes.size());
  } else {
    write_to_device(data(), bytes.data(), bytes.size());
  }
}

Bytes Buffer::read() const {
  Bytes all(whole());
  if (is_cpu(place_)) {
    std::memcpy(all.data(), memory_, whole());
  } else {
    read_from_device(all.data(), memory_, whole());
  }
  auto const first = all.begin() + static_cast<std::ptrdiff_t>(before_);
  auto const last = first + static_cast<std::ptrdiff_t>(size_);
  auto const intact = [](std::byte byte) { return byte == poison; };
  EXPECT_TRUE(std::all_of(all.begin(), first, intact)) << "bytes before a buffer were written";
  EXPECT_TRUE(std::all_of(last, all.end(), intact)) << "bytes behind a buffer were written";
  return Bytes(first, last);
}

}  // namespace mixfuse::test
