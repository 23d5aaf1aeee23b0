// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/maths/blend.hpp"

namespace mixfuse::cpu {

/// How far ahead of its use a source is fetched, in bytes: what processors fetch of themselves ends
/// with a page, and begins anew in each chunk.
constexpr std::int64_t fetch_ahead = 1024;

/// A map for every element, one for all, or by channel where that changes fastest.
template <class R>
struct OneMap {
  maths::Map<R> map;
  maths::Map<R> operator[](std::int64_t) const { return map; }
};
template <class R>
struct MapTable {
  R const* scale;
  R const* shift;
  maths::Map<R> operator[](std::int64_t i) const { return {scale[i], shift[i]}; }
};

}  // namespace mixfuse::cpu

#if defined(__x86_64__)
#include <immintrin.h>

/// Output elements, 32 at a time, in AVX2's own instructions as pixel.hpp has a GPU's: compilers
/// make several times as many of the plain functions where an element is narrower than f32.
namespace mixfuse::cpu {

#define MIXFUSE_AVX2 [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] inline

MIXFUSE_AVX2 __m256 widen_8(float const* from) { return _mm256_loadu_ps(from); }
MIXFUSE_AVX2 __m256 widen_8(std::uint8_t const* from) {
  __m128i const bytes = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
MIXFUSE_AVX2 __m256 widen_8(maths::F16 const* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from)));
}
MIXFUSE_AVX2 __m256 widen_8(maths::Bf16 const* from) {
  __m128i const halves = _mm_loadu_si128(reinterpret_cast<__m128i const*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/// Stores of 32 bytes: past the caches, where `to` is a multiple of 32, or anywhere.
template <bool past>
MIXFUSE_AVX2 void put(void* to, __m256i value) {
  if constexpr (past) {
    _mm256_stream_si256(static_cast<__m256i*>(to), value);
  } else {
    _mm256_storeu_si256(static_cast<__m256i*>(to), value);
  }
}

template <bool past>
MIXFUSE_AVX2 void narrow_32(float* to, __m256 const (&x)[4]) {
  for (int k = 0; k < 4; ++k) put<past>(to + 8 * k, _mm256_castps_si256(x[k]));
}

/// Of values between 0 and 255.
template <bool past>
MIXFUSE_AVX2 void narrow_32(std::uint8_t* to, __m256 const (&x)[4]) {
  __m256i const lanes = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs work in halves
  __m256i const a = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
  __m256i const b = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2]), _mm256_cvtps_epi32(x[3]));
  put<past>(to, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), lanes));
}

template <bool past>
MIXFUSE_AVX2 void narrow_32(maths::F16* to, __m256 const (&x)[4]) {
  for (int k = 0; k < 4; k += 2) {
    __m128i const a = _mm256_cvtps_ph(x[k], _MM_FROUND_TO_NEAREST_INT);
    __m128i const b = _mm256_cvtps_ph(x[k + 1], _MM_FROUND_TO_NEAREST_INT);
    put<past>(to + 8 * k, _mm256_set_m128i(b, a));
  }
}

/// Bits whose upper half is the rounded one.
MIXFUSE_AVX2 __m256i rounded_8(__m256 x) {
  __m256i const bits = _mm256_castps_si256(x);
  __m256i const odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(bits, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
}

template <bool past>
MIXFUSE_AVX2 void narrow_32(maths::Bf16* to, __m256 const (&x)[4]) {
  for (int k = 0; k < 4; k += 2) {
    __m256i const both = _mm256_packus_epi32(_mm256_srli_epi32(rounded_8(x[k]), 16),
                                             _mm256_srli_epi32(rounded_8(x[k + 1]), 16));
    put<past>(to + 8 * k, _mm256_permute4x64_epi64(both, 0xd8));
  }
}

/// A block's elements as they lie.
struct InOrder {
  template <class In>
  MIXFUSE_AVX2 static void widen(__m256 (&x)[4], In const* from) {
    for (int k = 0; k < 4; ++k) x[k] = widen_8(from + 8 * k);
  }
  template <bool past, class Out>
  MIXFUSE_AVX2 static void narrow(Out* to, __m256 const (&x)[4]) {
    narrow_32<past>(to, x);
  }
};

/// Of 16 bf16 those at even places, then those at odd ones: half the instructions.
struct EvenAndOdd {
  MIXFUSE_AVX2 static void widen(__m256 (&x)[4], maths::Bf16 const* from) {
    for (int k = 0; k < 4; k += 2) {
      __m256i const both = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(from + 8 * k));
      __m256i const odd = _mm256_and_si256(both, _mm256_set1_epi32(~0xffff));
      x[k] = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
      x[k + 1] = _mm256_castsi256_ps(odd);
    }
  }
  template <bool past>
  MIXFUSE_AVX2 static void narrow(maths::Bf16* to, __m256 const (&x)[4]) {
    for (int k = 0; k < 4; k += 2) {
      __m256i const even = _mm256_srli_epi32(rounded_8(x[k]), 16);
      put<past>(to + 8 * k, _mm256_blend_epi16(even, rounded_8(x[k + 1]), 0xaa));
    }
  }
};

MIXFUSE_AVX2 __m256 mapped_8(__m256 x, std::int64_t) { return x; }
MIXFUSE_AVX2 __m256 mapped_8(__m256 x, std::int64_t, OneMap<float> at) {
  return _mm256_fmadd_ps(x, _mm256_set1_ps(at.map.scale), _mm256_set1_ps(at.map.shift));
}
MIXFUSE_AVX2 __m256 mapped_8(__m256 x, std::int64_t i, MapTable<float> at) {
  return _mm256_fmadd_ps(x, _mm256_loadu_ps(at.scale + i), _mm256_loadu_ps(at.shift + i));
}

/// maths::blended, or for weights 1 and 0 maths::copied but that each NaN becomes the one of
/// one_nan, of whole blocks; how many elements these are.
template <bool past, class Out, class In, class... At>
[[gnu::target("avx2,fma,f16c")]] std::int64_t combine_blocks(Out* out, In const* own,
                                                             In const* partner, std::int64_t count,
                                                             float weight, At... at) {
  // A table has its maps by place.
  constexpr bool any_order = std::is_same_v<In, maths::Bf16> && std::is_same_v<Out, In> &&
                             !(std::is_same_v<At, MapTable<float>> || ...);
  using Order = std::conditional_t<any_order, EvenAndOdd, InOrder>;
  bool const alone = weight == 1.0f || weight == 0.0f;
  if (weight == 0.0f) own = partner;
  __m256 const w = _mm256_set1_ps(weight), nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  std::int64_t done = 0;
  for (; done + 32 <= count; done += 32) {
    // In the walk's order the own sample was the last one's partner, so it is in a cache.
    for (std::int64_t at = 0; at < 32 * std::int64_t{sizeof(In)}; at += 64) {
      _mm_prefetch(reinterpret_cast<char const*>(partner + done) + fetch_ahead + at, _MM_HINT_T0);
    }
    __m256 x[4], y[4];
    Order::widen(x, own + done);
    if (!alone) {
      Order::widen(y, partner + done);
      for (int k = 0; k < 4; ++k) {
        x[k] = _mm256_fmadd_ps(w, x[k], _mm256_fnmadd_ps(w, y[k], y[k]));
      }
    }
    for (int k = 0; k < 4; ++k) x[k] = mapped_8(x[k], done + 8 * k, at...);
    if (!std::is_integral_v<In>) {  // of integers never a NaN
      __m256 const any = _mm256_or_ps(_mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q),
                                      _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q));
      if (_mm256_movemask_ps(any) != 0) {
        for (__m256& v : x) v = _mm256_blendv_ps(v, nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
      }
    }
    Order::template narrow<past>(out + done, x);
  }
  return done;
}

/// For each channel of pixels of three bytes, where in three vectors of 16 its bytes are.
struct Lanes {
  alignas(16) std::int8_t of[3][3][16];
};
template <bool mirrored>
constexpr Lanes make_lanes() {
  Lanes lanes{};
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 16; ++i) {
      int const at = 3 * (mirrored ? 15 - i : i) + c;
      for (int k = 0; k < 3; ++k) {
        lanes.of[c][k][i] = static_cast<std::int8_t>(at / 16 == k ? at % 16 : -1);
      }
    }
  }
  return lanes;
}

/// Whole blocks of such pixels, forward in memory, into three planes, there backward if mirrored;
/// how many pixels these are.
template <bool mirrored>
[[gnu::target("avx2")]] std::int64_t split_pixels(std::uint8_t* to, std::int64_t plane,
                                                  std::uint8_t const* from, std::int64_t pixels) {
  static constexpr Lanes lanes = make_lanes<mirrored>();
  std::int64_t done = 0;
  for (; done + 16 <= pixels; done += 16) {
    auto const* const raw = reinterpret_cast<__m128i const*>(from + 3 * done);
    _mm_prefetch(reinterpret_cast<char const*>(raw) + fetch_ahead, _MM_HINT_T0);
    __m128i const a = _mm_loadu_si128(raw), b = _mm_loadu_si128(raw + 1);
    __m128i const c = _mm_loadu_si128(raw + 2);
    std::uint8_t* const out = to + (mirrored ? pixels - 16 - done : done);
    for (int k = 0; k < 3; ++k) {
      auto const* const at = reinterpret_cast<__m128i const*>(lanes.of[k]);
      __m128i const picked =
          _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, at[0]), _mm_shuffle_epi8(b, at[1])),
                       _mm_shuffle_epi8(c, at[2]));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + k * plane), picked);
    }
  }
  return done;
}

#undef MIXFUSE_AVX2

}  // namespace mixfuse::cpu
#endif
