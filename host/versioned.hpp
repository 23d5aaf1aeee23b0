// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "host/check.hpp"

/// C's parameter structures start with the size that they had where the caller was compiled.
namespace mixfuse {

template <std::uint32_t... Size>
struct Sizes {
  static constexpr std::uint32_t sizes[] = {Size...};
};

/// The Sizes that the structure has had in releases, the newest last.
template <class T>
struct Released;

/// `name` in parts, which become a text only in an error.
template <class T, class... Name>
void check_size(std::uint32_t size, Name const&... name) {
  auto const& known = Released<T>::sizes;
  static_assert(*std::rbegin(Released<T>::sizes) == sizeof(T), "a new size is a new release");
  require<unsupported>(size <= sizeof(T), name..., ".struct_size: ", size,
                       ", this library is older than its caller and knows ", sizeof(T));
  require(std::find(std::begin(known), std::end(known), size) != std::end(known), name...,
          ".struct_size: ", size, ", expected ", sizeof(T));
}

/// What an older caller did not know of is 0.
template <class T, class... Name>
T received(T const* from, Name const&... name) {
  static_assert(std::is_trivially_copyable_v<T>);
  require(from != nullptr, name..., ": null pointer");
  std::uint32_t const size = from->struct_size;
  check_size<T>(size, name...);
  T whole{};
  std::memcpy(&whole, from, size);
  return whole;
}

/// As much of the value as the caller knows.
template <class T, class... Name>
void hand_back(T value, T* to, Name const&... name) {
  require(to != nullptr, name..., ": null pointer");
  value.struct_size = to->struct_size;
  check_size<T>(value.struct_size, name...);
  std::memcpy(to, &value, value.struct_size);
}

}  // namespace mixfuse
