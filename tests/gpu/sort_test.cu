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

__global__ void sort(std::uint64_t const* keys, std::uint16_t* samples, std::int32_t capacity,
                     std::int32_t count) {
  extern __shared__ std::uint64_t memory[];
  Sort const in_block(memory, capacity);
  in_block([&](std::int32_t sample) { return keys[sample]; }, count);
  for (auto k = static_cast<std::int32_t>(threadIdx.x); k < count;
       k += static_cast<std::int32_t>(blockDim.x)) {
    samples[k] = in_block.samples[k];
  }
}

class SortInBlock : public test::OnDevice {};

TEST_F(SortInBlock, PutsTiedKeysInTheOrderOfTheirSamples) {
  test::Place const place = test::here();
  for (Key const key : keys_tested) {
    for (std::int32_t const count : {1, 40, 64, 65, 300}) {
      std::vector<std::uint64_t> keys;
      for (std::int32_t i = 0; i < count; ++i) keys.push_back(key(i));
      Values<std::uint64_t> device_keys(place, keys);
      Values<std::uint16_t> device_samples(place, std::vector<std::uint16_t>(keys.size()));
      for (std::int32_t const capacity : {count, 301}) {
        for (unsigned const block : {32u, 96u, 512u}) {
          sort<<<1, block, Sort::bytes(capacity), place.queue.stream()>>>(
              device_keys.data(), device_samples.data(), capacity, count);
          ASSERT_EQ(cudaGetLastError(), cudaSuccess);
          auto const sorted = device_samples.get();
          auto const expected = in_order(key, count);
          EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sorted.begin()))
              << count << " samples, block of " << block << ", keys as of " << key(0);
        }
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
