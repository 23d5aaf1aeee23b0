// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/grid.cuh"
#include "kernels/maths/order.hpp"

namespace mixfuse::cuda {

constexpr unsigned all_lanes = 0xffffffff;

struct Least {
  static constexpr std::int32_t neutral = 2147483647;
  __device__ std::int32_t operator()(std::int32_t a, std::int32_t b) const { return min(a, b); }
};

struct Sum {
  static constexpr std::int32_t neutral = 0;
  __device__ std::int32_t operator()(std::int32_t a, std::int32_t b) const { return a + b; }
};

/// The running combination of n entries, by runs of a warp's width: inside each, and up to its end.
template <class Combine>
struct Running {
  std::int32_t* inside;
  std::int32_t* through;

  template <class Entry>
  __device__ void scan(Entry const& entry, std::int32_t n) const {
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    auto const count = static_cast<std::int32_t>(blockDim.x);
    bool const last_lane = thread % warp == warp - 1;
    for (std::int32_t base = 0; base < n; base += count) {
      std::int32_t const k = base + thread;
      std::int32_t const value = in_warp(k < n ? entry(k) : Combine::neutral);
      if (k < n) inside[k] = value;
      if (last_lane && k - warp + 1 < n) through[k / warp] = value;
    }
    __syncthreads();
    std::int32_t const runs = (n + warp - 1) / warp;
    std::int32_t before = Combine::neutral;
    for (std::int32_t base = 0; thread < warp && base < runs; base += warp) {
      std::int32_t const k = base + thread;
      std::int32_t const value =
          Combine{}(before, in_warp(k < runs ? through[k] : Combine::neutral));
      if (k < runs) through[k] = value;
      before = __shfl_sync(all_lanes, value, warp - 1);
    }
    __syncthreads();
  }

  /// Of the runs before that of entry k.
  __device__ std::int32_t before(std::int32_t k) const {
    return k < warp ? Combine::neutral : through[k / warp - 1];
  }
  __device__ std::int32_t operator[](std::int32_t k) const {
    return Combine{}(before(k), inside[k]);
  }

 private:
  /// Of this lane's value and those of the lanes before.
  __device__ static std::int32_t in_warp(std::int32_t value) {
    int const lane = static_cast<int>(threadIdx.x) % warp;
    for (int reach = 1; reach < warp; reach *= 2) {
      std::int32_t const earlier = __shfl_up_sync(all_lanes, value, reach);
      if (lane >= reach) value = Combine{}(earlier, value);
    }
    return value;
  }
};

/// Sorts up to `capacity` entries in a block, in shared memory: by the leading bits of their keys
/// into up to 1024 buckets, then each bucket by one thread. Keys are uniform, so that buckets are
/// small; if all were the same, they would be sorted too, slowly.
struct Sort {
  std::uint64_t* keys;
  std::uint16_t* samples;
  Running<Sum> buckets;  // their sizes, then where each begins
  std::int32_t bits;     // 2^bits buckets

  __host__ __device__ static std::int32_t bits_for(std::int32_t capacity) {
    std::int32_t bits = 5;
    while (bits < 10 && 1 << bits < capacity) ++bits;
    return bits;
  }

  static std::size_t bytes(std::int32_t capacity) {
    std::size_t const counters = (std::size_t{1} << bits_for(capacity)) / warp * (warp + 1);
    return counters * sizeof(std::int32_t) + static_cast<std::size_t>(capacity) * 10;
  }

  __device__ Sort(std::uint64_t* memory, std::int32_t capacity)
      : keys{memory}, bits{bits_for(capacity)} {
    buckets.inside = reinterpret_cast<std::int32_t*>(memory + capacity);
    buckets.through = buckets.inside + (1 << bits);
    samples = reinterpret_cast<std::uint16_t*>(buckets.through + (1 << bits) / warp);
  }

  /// key_of(sample) of n samples: keys and samples are then in order.
  template <class KeyOf>
  __device__ void operator()(KeyOf const& key_of, std::int32_t n) const {
    auto const thread = static_cast<std::int32_t>(threadIdx.x);
    auto const count = static_cast<std::int32_t>(blockDim.x);
    std::int32_t const all = 1 << bits;
    auto const bucket_of = [&](std::uint64_t key) {
      return static_cast<std::int32_t>(key >> (64 - bits));
    };
    for (std::int32_t b = thread; b < all; b += count) buckets.inside[b] = 0;
    __syncthreads();
    for (std::int32_t k = thread; k < n; k += count) {
      atomicAdd(&buckets.inside[bucket_of(key_of(k))], 1);
    }
    __syncthreads();
    buckets.scan([&](std::int32_t b) { return buckets.inside[b]; }, all);
    for (std::int32_t k = thread; k < n; k += count) {  // each bucket from its end
      std::uint64_t const key = key_of(k);
      std::int32_t const b = bucket_of(key);
      std::int32_t const at = buckets.before(b) + atomicSub(&buckets.inside[b], 1) - 1;
      keys[at] = key;
      samples[at] = static_cast<std::uint16_t>(k);
    }
    __syncthreads();
    for (std::int32_t b = thread; b < all; b += count) {
      insert(buckets[b], b + 1 < all ? buckets[b + 1] : n);
    }
    __syncthreads();
  }

 private:
  __device__ maths::Keyed load(std::int32_t at) const { return {keys[at], samples[at]}; }
  __device__ void store(std::int32_t at, maths::Keyed const& entry) const {
    keys[at] = entry.key;
    samples[at] = static_cast<std::uint16_t>(entry.sample);
  }

  /// Insertion sort.
  __device__ void insert(std::int32_t begin, std::int32_t end) const {
    for (std::int32_t next = begin + 1; next < end; ++next) {
      maths::Keyed const entry = load(next);
      std::int32_t at = next;
      for (; at > begin && maths::comes_before(entry, load(at - 1)); --at) store(at, load(at - 1));
      store(at, entry);
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
