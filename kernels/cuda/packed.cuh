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

  /// To global memory. By instructions: of assignments nvcc makes a store of each word where it
  /// sees several.
  __device__ void store(void* to) const {
    static_assert(size % 4 == 0);
    std::size_t const address = __cvta_generic_to_global(to);
#pragma unroll
    for (unsigned i = 0; i < words; i += alignment / 4) {
      if constexpr (alignment == 16) {
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address + 4 * i),
                     "r"(word[i]), "r"(word[i + 1]), "r"(word[i + 2]), "r"(word[i + 3])
                     : "memory");
      } else if constexpr (alignment == 8) {
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(address + 4 * i), "r"(word[i]),
                     "r"(word[i + 1])
                     : "memory");
      } else {
        asm volatile("st.global.u32 [%0], %1;" ::"l"(address + 4 * i), "r"(word[i]) : "memory");
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

  /// To compute with. What a NaN looks like is lost.
  __device__ maths::Real<T> wide(int i) const {
    if constexpr (std::is_same_v<T, std::uint8_t>) {
      // 2^23 + x in one instruction: GPUs convert integers at a quarter of the rate.
      auto const selector = 0x7440u | static_cast<unsigned>(i % 4);
      return maths::float_of(__byte_perm(word[i / 4], 0x4b000000, selector)) - 0x1p23f;
    } else if constexpr (std::is_same_v<T, maths::F16>) {
      float wide;
      asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(at(i).bits));
      return wide;
    } else if constexpr (std::is_same_v<T, maths::Bf16>) {
      return maths::float_of(i % 2 == 0 ? word[i / 2] << 16 : word[i / 2] & 0xffff0000);
    } else {
      return maths::widen(at(i));
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

  /// Sets byte i to byte j of a word.
  __device__ void put_byte(int i, std::uint32_t from, int j) {
    unsigned const digit = static_cast<unsigned>(i) % 4 * 4, taken = 4 + static_cast<unsigned>(j);
    word[i / 4] = __byte_perm(word[i / 4], from, (0x3210u & ~(0xfu << digit)) | taken << digit);
  }

  /// Drops the first words.
  __device__ void shift(unsigned dropped) {
#pragma unroll
    for (unsigned i = 0; i < words; ++i) word[i] = i + dropped < words ? word[i + dropped] : 0;
  }

  /// Becomes `other` where `mask`, a bit an element, is set.
  __device__ void take(std::uint32_t mask, Packed const& other) {
#pragma unroll
    for (unsigned i = 0; i < words; ++i) {
      std::uint32_t bits;
      if constexpr (sizeof(T) == 1) {
        bits = ((mask >> 4 * i & 0xf) * 0x204081 & 0x01010101) * 0xff;
      } else if constexpr (sizeof(T) == 2) {
        bits = ((mask >> 2 * i & 3) * 0x8001 & 0x00010001) * 0xffff;
      } else {
        bits = 0 - (mask >> i / (sizeof(T) / 4) & 1);
      }
      word[i] = (other.word[i] & bits) | (word[i] & ~bits);
    }
  }

  /// Pixels of `grain` elements in reversed order.
  template <int grain>
  __device__ Packed reversed() const {
    constexpr int bytes = static_cast<int>(sizeof(T));
    auto const source = [](int byte) {
      int const i = byte / bytes;
      if (i >= count) return byte;
      return ((count / grain - 1 - i / grain) * grain + i % grain) * bytes + byte % bytes;
    };
    Packed result;
#pragma unroll
    for (int w = 0; w < static_cast<int>(words); ++w) {
      int const home = source(4 * w) / 4;
      auto const takes = [&](int other) {
        bool any = false;
        for (int j = 0; j < 4; ++j) any = any || source(4 * w + j) / 4 == other;
        return any;
      };
      // The bytes of another word beside those that are made; the first such step moves home's.
      auto const selector = [&](int other, bool moved) {
        int digits = 0;
        for (int j = 0; j < 4; ++j) {
          int const from = source(4 * w + j), of = from / 4;
          bool const is_new = of == other && of != home, is_old = of == home && !moved;
          digits |= (is_new ? 4 + from % 4 : is_old ? from % 4 : j) << 4 * j;
        }
        return static_cast<unsigned>(digits);
      };
      std::uint32_t made = word[home];
      bool moved = false;
#pragma unroll
      for (int other = 0; other < static_cast<int>(words); ++other) {
        if (other == home || !takes(other)) continue;
        made = __byte_perm(made, word[other], selector(other, moved));
        moved = true;
      }
      result.word[w] = moved || bytes >= 4 ? made : __byte_perm(made, 0, selector(home, false));
    }
    return result;
  }
};

/// Two rounded numbers, the first in the low half: none is a NaN.
template <class T>
__device__ std::uint32_t rounded_pair(float low, float high) {
#if __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, maths::Bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
#else
  return std::uint32_t{maths::narrow<T>(low).bits} | std::uint32_t{maths::narrow<T>(high).bits}
                                                         << 16;
#endif
}

/// Each rounded once: by of_nan(x) if there is a NaN, which there may be of `In`, else, to the same
/// bits, by instructions that take two. Bytes are made of what lies between 0 and 255.
template <class In, class Out, int count, class OfNan>
__device__ Packed<Out, count> rounded(maths::Real<In> const* x, OfNan const& of_nan) {
  using Real = maths::Real<In>;
  Packed<Out, count> out;
  bool has_nan = false;
  if constexpr (sizeof(In) > 1) {  // of bytes none: maps are finite
#pragma unroll
    for (int i = 0; i < count; i += 2) {
      Real const& next = x[i + 1 < count ? i + 1 : i];
      has_nan |= (x[i] != x[i]) | (next != next);  // one instruction for two
    }
  }
  if (has_nan) {
#pragma unroll
    for (int i = 0; i < count; ++i) out.put(i, of_nan(x[i]));
    return out;
  }
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if constexpr (sizeof(Out) == 1) {
      out.put_byte(i, maths::bits_of(x[i] + 0x1.8p23f), 0);  // as nearest_byte
    } else if constexpr (sizeof(Out) == 2 && count % 2 == 0) {
      if (i % 2 == 0) out.word[i / 2] = rounded_pair<Out>(x[i], x[i + 1]);
    } else {
      out.put(i, maths::narrow<Out>(x[i]));
    }
  }
  return out;
}

}  // namespace mixfuse::cuda
