// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/order.hpp"

namespace mixfuse::cuda {

constexpr int warp = 32;
constexpr unsigned all_lanes = 0xffffffff;

/// The entry that a bitonic step leaves in this lane, of its own and the one `apart` lanes away.
__device__ inline maths::Keyed exchanged(maths::Keyed own, int apart, bool rising) {
  maths::Keyed const other{__shfl_xor_sync(all_lanes, own.key, apart),
                           __shfl_xor_sync(all_lanes, own.sample, apart)};
  bool const lower = (static_cast<int>(threadIdx.x) & apart) == 0;
  return maths::comes_before(other, own) == (lower == rising) ? other : own;
}

/// Bitonic, of a power of two, at least 64, of keys and samples. What is exchanged up to 32 apart
/// stays in 64 entries that a warp holds, two a lane.
struct Sort {
  std::uint64_t* keys;
  std::uint16_t* samples;
  std::int32_t padded;

  __device__ maths::Keyed load(std::int32_t k) const { return {keys[k], samples[k]}; }
  __device__ void store(std::int32_t k, maths::Keyed const& entry) const {
    keys[k] = entry.key;
    samples[k] = static_cast<std::uint16_t>(entry.sample);
  }

  /// The steps up to 32 apart of these widths.
  __device__ void in_warps(std::int32_t width, std::int32_t last) const {
    std::int32_t const lane = static_cast<std::int32_t>(threadIdx.x) % warp;
    std::int32_t const first = 2 * (static_cast<std::int32_t>(threadIdx.x) - lane) + lane;
    for (std::int32_t k = first; k < padded; k += 2 * static_cast<std::int32_t>(blockDim.x)) {
      maths::Keyed a = load(k), b = load(k + warp);
      for (std::int32_t w = width; w <= last; w *= 2) {
        bool const a_rises = (k & w) == 0, b_rises = ((k + warp) & w) == 0;
        if (w > warp && maths::comes_before(b, a) == a_rises) {
          maths::Keyed const lesser = b;
          b = a;
          a = lesser;
        }
        for (int apart = min(w, warp) / 2; apart > 0; apart /= 2) {
          a = exchanged(a, apart, a_rises);
          b = exchanged(b, apart, b_rises);
        }
      }
      store(k, a);
      store(k + warp, b);
    }
    __syncthreads();
  }

  __device__ void across_warps(std::int32_t width, std::int32_t apart) const {
    for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < padded / 2;
         i += static_cast<std::int32_t>(blockDim.x)) {
      std::int32_t const k = 2 * i - (i & (apart - 1));
      maths::Keyed const a = load(k), b = load(k + apart);
      if (maths::comes_before(b, a) == ((k & width) == 0)) {
        store(k, b);
        store(k + apart, a);
      }
    }
    __syncthreads();
  }

  __device__ void operator()() const {
    in_warps(2, 2 * warp);
    for (std::int32_t width = 4 * warp; width <= padded; width *= 2) {
      for (std::int32_t apart = width / 2; apart > warp; apart /= 2) across_warps(width, apart);
      in_warps(width, width);
    }
  }
};

/// An entry of the word that is sorted device-wide, all groups at once.
struct Item {
  std::uint64_t key;
  std::int32_t sample;
  std::int32_t group;
};

struct ItemsInOrder {
  __host__ __device__ bool operator()(Item const& a, Item const& b) const {
    return a.group != b.group ? a.group < b.group
                              : maths::comes_before({a.key, a.sample}, {b.key, b.sample});
  }
};

}  // namespace mixfuse::cuda
