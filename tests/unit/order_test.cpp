// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <vector>

namespace mixfuse::maths {
namespace {

using Word = std::vector<std::int32_t>;

std::vector<Link> links_of(Pairing pairing, Word const& word) {
  std::vector<Link> links;
  auto const n = static_cast<std::int32_t>(word.size());
  std::int32_t least = n;
  for (std::int32_t k = 0; k < n; ++k) {
    least = std::min(least, word[static_cast<std::size_t>(k)]);
    links.push_back(link_in_word(pairing, word.data(), k, n, least));
  }
  return links;
}

std::vector<Link> links_by_rule(Pairing pairing, std::int32_t start, std::int32_t n) {
  std::vector<Link> links;
  for (std::int32_t k = 0; k < n; ++k) links.push_back(link_by_rule(pairing, start, k, n));
  return links;
}

/// The partners of samples start, start + 1, ..., less start. Fails unless they are a permutation
/// whose cycles the entries walk one after the other, each to its marked end.
Word partners_of(std::vector<Link> const& links, std::int32_t start = 0) {
  auto const n = static_cast<std::int32_t>(links.size());
  Word partners(links.size(), -1), met(links.size());
  std::int32_t first = -1;
  for (std::size_t k = 0; k < links.size(); ++k) {
    Link const& link = links[k];
    bool const ends = link.entry < 0;
    EXPECT_EQ(ends ? ~link.entry : link.entry, link.sample);
    if (first < 0) first = link.sample;
    EXPECT_FALSE(!ends && k + 1 == links.size()) << "the last cycle has no end";
    if (ends || k + 1 == links.size()) {
      EXPECT_EQ(link.partner, first) << "a cycle ends where it began";
      first = -1;
    } else {
      EXPECT_EQ(link.partner, links[k + 1].sample);
    }
    std::int32_t const sample = link.sample - start, partner = link.partner - start;
    if (sample < 0 || sample >= n || partner < 0 || partner >= n) {
      ADD_FAILURE() << "outside the group: " << link.sample << " with " << link.partner;
      continue;
    }
    partners[static_cast<std::size_t>(sample)] = partner;
    ++met[static_cast<std::size_t>(partner)];
  }
  EXPECT_EQ(met, Word(links.size(), 1)) << "not a permutation";
  return partners;
}

/// How often each map comes from the n! words.
std::map<Word, int> maps_of(Pairing pairing, std::int32_t n) {
  Word word(static_cast<std::size_t>(n));
  std::iota(word.begin(), word.end(), 0);
  std::map<Word, int> maps;
  do {
    ++maps[partners_of(links_of(pairing, word))];
  } while (std::next_permutation(word.begin(), word.end()));
  return maps;
}

TEST(LinkInWord, MakesEachMapOfItsPairingFromEquallyManyWords) {
  struct {
    Pairing pairing;
    std::size_t maps[6];  // of 1 to 6 samples
  } constexpr cases[] = {{Pairing::permutation, {1, 2, 6, 24, 120, 720}},
                         {Pairing::cycle, {1, 1, 2, 6, 24, 120}},
                         {Pairing::pairs, {1, 1, 3, 3, 15, 15}}};
  for (auto const& [pairing, counts] : cases) {
    std::size_t words = 1;
    for (std::int32_t n = 1; n <= 6; ++n) {
      words *= static_cast<std::size_t>(n);
      auto const maps = maps_of(pairing, n);
      std::size_t const expected = counts[n - 1];
      EXPECT_EQ(maps.size(), expected) << static_cast<int>(pairing) << " of " << n;
      for (auto const& [map, count] : maps) {
        ASSERT_EQ(static_cast<std::size_t>(count), words / expected);
      }
    }
  }
}

TEST(LinkInWord, CutsAtLeftToRightMinima) {
  // 3 5 | 1 4 | 0 2
  EXPECT_EQ(partners_of(links_of(Pairing::permutation, {3, 5, 1, 4, 0, 2})),
            (Word{2, 4, 0, 5, 1, 3}));
  EXPECT_EQ(partners_of(links_of(Pairing::permutation, {0, 1, 2})), (Word{1, 2, 0}));
  EXPECT_EQ(partners_of(links_of(Pairing::permutation, {2, 1, 0})), (Word{0, 1, 2}));
}

TEST(LinkInWord, NeverCutsACycleAndPairsNeighbours) {
  EXPECT_EQ(partners_of(links_of(Pairing::cycle, {2, 1, 0})), (Word{2, 0, 1}));
  EXPECT_EQ(partners_of(links_of(Pairing::cycle, {0})), (Word{0}));
  EXPECT_EQ(partners_of(links_of(Pairing::pairs, {4, 0, 3, 1, 2})), (Word{4, 3, 2, 1, 0}));
}

TEST(LinkByRule, IsThatOfTimmAndTorchvision) {
  for (std::int32_t const start : {0, 5}) {
    for (std::int32_t n = 1; n <= 9; ++n) {
      Word const reverse = partners_of(links_by_rule(Pairing::reverse, start, n), start);
      Word const roll = partners_of(links_by_rule(Pairing::roll, start, n), start);
      for (std::int32_t i = 0; i < n; ++i) {
        EXPECT_EQ(reverse[static_cast<std::size_t>(i)], n - 1 - i);
        EXPECT_EQ(roll[static_cast<std::size_t>(i)], (i + n - 1) % n);
      }
    }
  }
}

TEST(ComesBefore, SortsTiedKeysByIndexWhicheverWayTheyLie) {
  std::uint64_t (*const keys[])(std::int32_t) = {
      [](std::int32_t) { return std::uint64_t{7}; },                              // all equal
      [](std::int32_t i) { return i == 5 ? 3 : static_cast<std::uint64_t>(i); },  // two equal
      [](std::int32_t i) {
        return static_cast<std::uint64_t>(i % 2 == 0 ? 40 : i);
      },  // every other
      [](std::int32_t i) { return ~std::uint64_t{0} - static_cast<std::uint64_t>(i / 3); },
      [](std::int32_t i) { return static_cast<std::uint64_t>(i % 2) << 63; },
  };
  std::mt19937 random(1);
  for (auto const key : keys) {
    std::vector<Keyed> samples;
    for (std::int32_t i = 0; i < 100; ++i) samples.push_back({key(i), i});
    std::vector<Keyed> expected = samples;
    std::stable_sort(expected.begin(), expected.end(),
                     [](Keyed const& a, Keyed const& b) { return a.key < b.key; });
    for (int round = 0; round < 20; ++round) {
      std::shuffle(samples.begin(), samples.end(), random);
      std::sort(samples.begin(), samples.end(), comes_before);
      Word word;
      for (std::size_t k = 0; k < samples.size(); ++k) {
        ASSERT_EQ(samples[k].sample, expected[k].sample);
        ASSERT_FALSE(comes_before(samples[k], samples[k]));
        word.push_back(samples[k].sample);
      }
      for (Pairing const pairing : {Pairing::permutation, Pairing::cycle, Pairing::pairs}) {
        partners_of(links_of(pairing, word));
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse::maths
