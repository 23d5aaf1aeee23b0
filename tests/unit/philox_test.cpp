// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/philox.hpp"

// cuRAND's header has a function of this name too.
#define mulhilo32 random123_mulhilo32
#include <Random123/philox.h>
#undef mulhilo32

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse::maths {
namespace {

__extension__ using Wide = unsigned __int128;
using Block = std::array<std::uint32_t, 4>;

constexpr std::uint64_t limit = std::uint64_t{1} << 48;

Block block_of(Words const& words) { return {words.w[0], words.w[1], words.w[2], words.w[3]}; }

TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  struct {
    Block counter;
    std::uint32_t key[2];
    Block answer;
  } constexpr vectors[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (auto const& [counter, key, answer] : vectors) {
    EXPECT_EQ(block_of(philox({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1])),
              answer);
  }
}

TEST(Philox, HasTheTenThousandthValueThatTheStandardNames) {
  EXPECT_EQ(philox({{9999 / 4, 0, 0, 0}}, 20111115, 0).w[9999 % 4], 1955073260u);
}

TEST(DrawWords, HaveTheDocumentedCounterAndKey) {
  constexpr std::uint64_t values[] = {0,
                                      1,
                                      0xfedcba987654,
                                      (std::uint64_t{1} << 32) - 1,
                                      std::uint64_t{1} << 32,
                                      (std::uint64_t{1} << 32) + 1,
                                      limit - 1};
  constexpr std::uint64_t seed = 0x0123456789abcdef;
  for (std::uint64_t const index : values) {
    for (std::uint64_t const step : values) {
      for (std::uint32_t purpose = 0; purpose < 8; ++purpose) {
        for (std::uint32_t const block : {0u, 1u, 0xffffffu}) {
          Wide const counter =
              Wide{index} | Wide{step} << 48 | Wide{block} << 96 | Wide{purpose} << 120;
          auto const word = [&](int k) { return static_cast<std::uint32_t>(counter >> 32 * k); };
          auto const expected =
              philox4x32_R(10, {{word(0), word(1), word(2), word(3)}}, {{0x89abcdef, 0x01234567}});
          ASSERT_EQ(block_of(draw_words(seed, index, step, static_cast<Purpose>(purpose), block)),
                    (Block{expected.v[0], expected.v[1], expected.v[2], expected.v[3]}))
              << index << " " << step << " " << purpose << " " << block;
        }
      }
    }
  }
}

TEST(DrawWords, NeverRepeatInACubeOfSeedsStepsAndIndices) {
  constexpr std::uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      0xffff,
                                      0x10000,
                                      0x10001,
                                      0xffffffff,
                                      0x100000000,
                                      0x100000001,
                                      0x100010000,
                                      0x7fffffffffff,
                                      0x800000000000,
                                      0xffff00000000,
                                      0xfffffffffffe,
                                      0xffffffffffff};
  std::set<Block> seen;
  for (std::uint64_t const seed : values) {
    for (std::uint64_t const step : values) {
      for (std::uint64_t const index : values) {
        seen.insert(block_of(draw_words(seed << 16 | seed >> 32, index, step, Purpose::lambda)));
      }
    }
  }
  EXPECT_EQ(seen.size(), 4096u);
  for (std::uint32_t purpose = 0; purpose < 8; ++purpose) {
    for (std::uint32_t block = 1; block < 16; ++block) {
      seen.insert(block_of(draw_words(0, 0, 0, static_cast<Purpose>(purpose), block)));
    }
  }
  EXPECT_EQ(seen.size(), 4096u + 8 * 15);
}

TEST(Draw, IsRefusedBeyondFortyEightBits) {
  Queue const queue = Queue::cpu(1);
  Plan plan(4, Device::cpu(), queue);
  Spec const spec{{{Mixup{}, 1.0f}}};
  auto const draw = [&](Draw from, std::int64_t samples) {
    plan_into(plan, spec, {samples, 1, {1}, false}, from, queue);
  };
  constexpr std::uint64_t far = std::uint64_t{1} << 63;
  for (std::uint64_t const step : {limit, limit + 1, far, ~std::uint64_t{0}}) {
    EXPECT_THROW(draw({0, step, 0}, 1), invalid_argument) << step;
  }
  for (std::uint64_t const first : {limit, limit - 3, far, ~std::uint64_t{0}}) {
    EXPECT_THROW(draw({0, 0, first}, 4), invalid_argument) << first;
  }
  EXPECT_NO_THROW(draw({~std::uint64_t{0}, limit - 1, limit - 4}, 4));
}

TEST(Draw, DoesNotWrapAtThirtyTwoBits) {
  Queue const queue = Queue::cpu(1);
  Plan plan(1, Device::cpu(), queue);
  Spec const spec{{{Mixup{}, 1.0f}}};
  std::set<float> lambdas;
  constexpr std::uint64_t turn = std::uint64_t{1} << 32;
  std::vector<std::uint64_t> const values{0,        1,        turn - 1,  turn,
                                          turn + 1, 2 * turn, limit - 1, std::uint64_t{1} << 47};
  for (std::uint64_t const step : values) {
    for (std::uint64_t const first : values) {
      plan_into(plan, spec, {1, 1, {1}, false}, {5, step, first}, queue);
      lambdas.insert(plan.rows()[0].outside);
    }
  }
  EXPECT_EQ(lambdas.size(), values.size() * values.size());
}

TEST(Below, IsTheWholePartOfTheWordsShare) {
  std::vector<std::uint64_t> words{
      0, 1, 0xffffffff, 0x100000000, ~std::uint64_t{0} - 1, ~std::uint64_t{0}};
  for (std::uint32_t k = 0; k < 20000; ++k) {
    Words const drawn = philox({{k, 0, 0, 0}}, 1, 2);
    words.push_back(join(drawn.w[0], drawn.w[1]));
  }
  for (std::uint32_t const n : {1u, 2u, 3u, 5u, 7u, 16u, 255u, 65537u, 1000003u, 0x7fffffffu,
                                0x80000000u, 0xfffffffeu, 0xffffffffu}) {
    // The first and the last word of some values, where an error of one word would show.
    for (std::uint64_t const value :
         {std::uint64_t{1}, std::uint64_t{n / 2}, std::uint64_t{n - 1}}) {
      auto const edge = static_cast<std::uint64_t>(((Wide{value} << 64) + n - 1) / n);
      words.push_back(edge);
      words.push_back(edge - 1);
    }
    for (std::uint64_t const word : words) {
      ASSERT_EQ(below(n, static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)),
                static_cast<std::uint32_t>(Wide{word} * n >> 64))
          << n << " " << word;
    }
  }
}

}  // namespace
}  // namespace mixfuse::maths
