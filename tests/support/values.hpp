// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <vector>

#include "tests/support/device.hpp"

namespace mixfuse::test {

/// Values that live at a place, where a schedule or a draw is read from.
template <class T>
class Values {
 public:
  Values(Place place, std::vector<T> const& values)
      : count_{values.size()}, buffer_{place, values.size() * sizeof(T)} {
    set(values);
  }

  [[nodiscard]] T* data() const { return static_cast<T*>(buffer_.data()); }
  void set(std::vector<T> const& values) { buffer_.write(std::as_bytes(std::span(values))); }
  [[nodiscard]] std::vector<T> get() const {
    std::vector<T> values(count_);
    Bytes const bytes = buffer_.read();
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  std::size_t count_;
  Buffer buffer_;
};

}  // namespace mixfuse::test
