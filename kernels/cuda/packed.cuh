// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "kernels/maths/pixel.hpp"

namespace mixfuse::cuda {

/// `count` consecutive elements in whole registers: an array of a narrow type would be moved
/// element by element.
template <class T, int count>
struct Packed {
  static constexpr int size = static_cast<int>(sizeof(T)) * count;
  static constexpr unsigned words = (size + 3u) / 4;
  std::uint32_t word[words] = {};

  /// The widest access that fits: 16, 8 or 4 bytes, to which addresses are then aligned.
  using Wide = std::conditional_t<size % 16 == 0, uint4,
                                  std::conditional_t<size % 8 == 0, uint2, std::uint32_t>>;
  static constexpr int alignment = static_cast<int>(sizeof(Wide));

  __device__ void load(void const* from) {
    static_assert(size % 4 == 0);
#pragma unroll
    for (int i = 0; i < size / alignment; ++i) {
      Wide const wide = static_cast<Wide const*>(from)[i];
      if constexpr (alignment == 16) {
        word[4 * i] = wide.x, word[4 * i + 1] = wide.y;
        word[4 * i + 2] = wide.z, word[4 * i + 3] = wide.w;
      } else if constexpr (alignment == 8) {
        word[2 * i] = wide.x, word[2 * i + 1] = wide.y;
      } else {
        word[i] = wide;
      }
    }
  }

  __device__ void store(void* to) const {
    static_assert(size % 4 == 0);
#pragma unroll
    for (int i = 0; i < size / alignment; ++i) {
      Wide& wide = static_cast<Wide*>(to)[i];
      if constexpr (alignment == 16) {
        wide = {word[4 * i], word[4 * i + 1], word[4 * i + 2], word[4 * i + 3]};
      } else if constexpr (alignment == 8) {
        wide = {word[2 * i], word[2 * i + 1]};
      } else {
        wide = word[i];
      }
    }
  }

  __device__ T at(int i) const {
    if constexpr (sizeof(T) == 1) {
      return static_cast<T>(word[i / 4] >> i % 4 * 8 & 0xff);
    } else if constexpr (sizeof(T) == 2) {
      return T{static_cast<std::uint16_t>(word[i / 2] >> i % 2 * 16)};
    } else if constexpr (sizeof(T) == 4) {
      return maths::float_of(word[i]);
    } else {
      return __hiloint2double(static_cast<int>(word[2 * i + 1]), static_cast<int>(word[2 * i]));
    }
  }

  /// Sets an element that is still zero.
  __device__ void put(int i, T value) {
    if constexpr (sizeof(T) == 1) {
      word[i / 4] |= std::uint32_t{value} << i % 4 * 8;
    } else if constexpr (sizeof(T) == 2) {
      word[i / 2] |= std::uint32_t{value.bits} << i % 2 * 16;
    } else if constexpr (sizeof(T) == 4) {
      word[i] = maths::bits_of(value);
    } else {
      word[2 * i] = static_cast<std::uint32_t>(__double2loint(value));
      word[2 * i + 1] = static_cast<std::uint32_t>(__double2hiint(value));
    }
  }

  /// Drops the first words.
  __device__ void shift(unsigned dropped) {
#pragma unroll
    for (unsigned i = 0; i < words; ++i) word[i] = i + dropped < words ? word[i + dropped] : 0;
  }

  /// Drops as many words as `last` has and puts these behind the rest.
  template <int fewer>
  __device__ void append(Packed<T, fewer> const& last) {
    shift(last.words);
#pragma unroll
    for (unsigned i = 0; i < last.words; ++i) word[words - last.words + i] = last.word[i];
  }

  /// Pixels of `grain` elements in reversed order.
  template <int grain>
  __device__ Packed reversed() const {
    Packed result;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      result.put((count / grain - 1 - i / grain) * grain + i % grain, at(i));
    }
    return result;
  }
};

}  // namespace mixfuse::cuda
