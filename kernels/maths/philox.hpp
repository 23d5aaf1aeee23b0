// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/uniform.hpp"
#include "kernels/maths/words.hpp"

// cuRAND's own Philox4x32-10, which with QUALIFIERS redefined serves host and device; without the
// toolkit Random123's, the same function word for word.
#if MIXFUSE_HAS_CURAND
#include <vector_types.h>
#pragma push_macro("QUALIFIERS")
#undef QUALIFIERS
#define QUALIFIERS static inline MIXFUSE_HD
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"  // nvcc's -isystem does not reach the toolkit's own
#include <curand_philox4x32_x.h>
#pragma GCC diagnostic pop
#pragma pop_macro("QUALIFIERS")
#else
#include <Random123/philox.h>
#endif

namespace mixfuse::maths {

MIXFUSE_HD inline Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) {
#if MIXFUSE_HAS_CURAND
  uint4 const r = curand_Philox4x32_10(
      uint4{counter.w[0], counter.w[1], counter.w[2], counter.w[3]}, uint2{key0, key1});
  return {{r.x, r.y, r.z, r.w}};
#else
  auto const r =
      philox4x32_R(10, {{counter.w[0], counter.w[1], counter.w[2], counter.w[3]}}, {{key0, key1}});
  return {{r.v[0], r.v[1], r.v[2], r.v[3]}};
#endif
}

/// What words are drawn for; no two purposes share a word. Numbers are part of the stream version.
enum class Purpose : std::uint32_t {
  pair_key = 0,     // w0:w1, the 64-bit key that is sorted
  replacement = 1,  // w0:w1
  gate = 2,         // w0
  policy = 3,       // w0
  lambda = 4,       // block t is try t of the Beta sampler
  box_place = 5,    // block 0: w0:w1 first axis, w2:w3 second; block 1: third
  box_side = 6,     // the same, for min-max sides
  flip = 7,         // w0
};

/// Steps and indexes are below it.
constexpr std::uint64_t index_limit = std::uint64_t{1} << 48;

/// Key: the seed's low and high word. Counter, in words:
///   0  index, bits 0..31        index: global sample, or start of the group; below 2^48
///   1  index, bits 32..47 | step, bits 0..15, from bit 16
///   2  step, bits 16..47
///   3  block, 24 bits | purpose from bit 24
MIXFUSE_HD inline Words draw_words(std::uint64_t seed, std::uint64_t index, std::uint64_t step,
                                   Purpose purpose, std::uint32_t block = 0) {
  Words const counter{
      {static_cast<std::uint32_t>(index),
       static_cast<std::uint32_t>(index >> 32) | static_cast<std::uint32_t>(step) << 16,
       static_cast<std::uint32_t>(step >> 16), block | static_cast<std::uint32_t>(purpose) << 24}};
  return philox(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

MIXFUSE_HD inline std::uint64_t join(std::uint32_t high, std::uint32_t low) {
  return std::uint64_t{high} << 32 | low;
}

}  // namespace mixfuse::maths
