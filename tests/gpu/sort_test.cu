// SPDX-License-Identifier: Apache-2.0

// Keys that no seed gives: drawn ones are never equal.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cuda/sort.cuh"
#include "tests/support/require_gpu.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::cuda {
namespace {

using maths::Keyed;
using test::Values;

using Key = std::uint64_t (*)(std::int32_t sample);

Key const keys_tested[] = {
    [](std::int32_t) { return std::uint64_t{7}; },
    [](std::int32_t i) { return static_cast<std::uint64_t>(i == 5 ? 3 : i); },
    [](std::int32_t i) { return static_cast<std::uint64_t>(i % 2 == 0 ? 40 : i); },
    [](std::int32_t) { return ~std::uint64_t{0}; },  // as what pads a word
    [](std::int32_t i) { return static_cast<std::uint64_t>(i % 2) << 63; },
};

std::vector<std::int32_t> in_order(Key key, std::int32_t count) {
  std::vector<std::int32_t> samples(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) samples[static_cast<std::size_t>(i)] = i;
  std::stable_sort(samples.begin(), samples.end(),
                   [&](std::int32_t a, std::int32_t b) { return key(a) < key(b); });
  return samples;
}

__global__ void sort(std::uint64_t* keys, std::uint16_t* samples, std::int32_t padded) {
  extern __shared__ std::uint64_t shared_keys[];
  auto* const shared_samples = reinterpret_cast<std::uint16_t*>(shared_keys + padded);
  auto const thread = static_cast<std::int32_t>(threadIdx.x);
  for (std::int32_t k = thread; k < padded; k += static_cast<std::int32_t>(blockDim.x)) {
    shared_keys[k] = keys[k];
    shared_samples[k] = samples[k];
  }
  __syncthreads();
  Sort{shared_keys, shared_samples, padded}();
  for (std::int32_t k = thread; k < padded; k += static_cast<std::int32_t>(blockDim.x)) {
    samples[k] = shared_samples[k];
  }
}

class SortInBlock : public test::OnDevice {};

TEST_F(SortInBlock, PutsTiedKeysInTheOrderOfTheirSamples) {
  test::Place const place = test::here();
  for (Key const key : keys_tested) {
    for (std::int32_t const count : {1, 40, 64, 65, 300}) {
      std::int32_t padded = 64;
      while (padded < count) padded *= 2;
      auto const size = static_cast<std::size_t>(padded);
      std::vector<std::uint64_t> keys(size, ~std::uint64_t{0});
      std::vector<std::uint16_t> samples(size, 0xffff);
      for (std::int32_t i = 0; i < count; ++i) {
        // They lie the other way round.
        auto const at = static_cast<std::size_t>(count - 1 - i);
        keys[at] = key(i);
        samples[at] = static_cast<std::uint16_t>(i);
      }
      Values<std::uint64_t> device_keys(place, keys);
      Values<std::uint16_t> device_samples(place, samples);
      for (unsigned const block : {32u, static_cast<unsigned>(padded) / 2}) {
        device_samples.set(samples);
        sort<<<1, block, size * 10, place.queue.stream()>>>(device_keys.data(),
                                                            device_samples.data(), padded);
        ASSERT_EQ(cudaGetLastError(), cudaSuccess);
        auto const sorted = device_samples.get();
        auto const expected = in_order(key, count);
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sorted.begin()))
            << count << " samples, block of " << block << ", keys as of " << key(0);
      }
    }
  }
}

TEST(SortDeviceWide, PutsTiedKeysInTheOrderOfTheirSamplesGroupByGroup) {
  std::mt19937 random(1);
  for (Key const key : keys_tested) {
    std::vector<Item> items;
    for (std::int32_t const group : {0, 1}) {
      for (std::int32_t i = 0; i < 100; ++i) items.push_back({key(i), i, group});
    }
    std::shuffle(items.begin(), items.end(), random);
    std::sort(items.begin(), items.end(), ItemsInOrder{});
    auto const expected = in_order(key, 100);
    for (std::size_t k = 0; k < items.size(); ++k) {
      ASSERT_EQ(items[k].group, static_cast<std::int32_t>(k / 100));
      ASSERT_EQ(items[k].sample, expected[k % 100]);
    }
  }
}

}  // namespace
}  // namespace mixfuse::cuda
