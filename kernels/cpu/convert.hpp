// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/pixel.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

/// maths::widen and maths::narrow of a block (its count a multiple of 32), in AVX2's own
/// instructions as pixel.hpp has a GPU's: compilers make several times as many of the plain
/// functions. Each NaN is the one of one_nan.
namespace mixfuse::cpu {

#define MIXFUSE_AVX2 [[gnu::target("avx2,fma,f16c")]] inline

template <int count>
MIXFUSE_AVX2 void widen_block(float* to, std::uint8_t const* from) {
  for (int i = 0; i < count; i += 8) {
    __m128i const bytes = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(from + i));
    _mm256_store_ps(to + i, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
  }
}

template <int count>
MIXFUSE_AVX2 void widen_block(float* to, maths::F16 const* from) {
  for (int i = 0; i < count; i += 8) {
    _mm256_store_ps(to + i,
                    _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from + i))));
  }
}

template <int count>
MIXFUSE_AVX2 void widen_block(float* to, maths::Bf16 const* from) {
  for (int i = 0; i < count; i += 8) {
    __m128i const halves = _mm_loadu_si128(reinterpret_cast<__m128i const*>(from + i));
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + i),
                       _mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
}

/// Of values between 0 and 255.
template <int count>
MIXFUSE_AVX2 void narrow_block(std::uint8_t* to, float const* from) {
  __m256i const lanes = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs work in halves
  for (int i = 0; i < count; i += 32) {
    __m256i const a = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_load_ps(from + i)),
                                         _mm256_cvtps_epi32(_mm256_load_ps(from + i + 8)));
    __m256i const b = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_load_ps(from + i + 16)),
                                         _mm256_cvtps_epi32(_mm256_load_ps(from + i + 24)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), lanes));
  }
}

template <int count>
MIXFUSE_AVX2 void narrow_block(maths::F16* to, float const* from) {
  for (int i = 0; i < count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_load_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  }
}

/// Rounded to the upper half of the bits.
MIXFUSE_AVX2 __m256i upper_halves(__m256i bits) {
  __m256i const odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i const sum = _mm256_add_epi32(bits, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
  return _mm256_srli_epi32(sum, 16);
}

template <int count>
MIXFUSE_AVX2 void narrow_block(maths::Bf16* to, float const* from) {
  for (int i = 0; i < count; i += 16) {
    __m256i const a = upper_halves(_mm256_load_si256(reinterpret_cast<__m256i const*>(from + i)));
    __m256i const b =
        upper_halves(_mm256_load_si256(reinterpret_cast<__m256i const*>(from + i + 8)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8));
  }
}

#undef MIXFUSE_AVX2

}  // namespace mixfuse::cpu
#endif
