// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/box.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace mixfuse::maths {
namespace {

__extension__ using Wide = unsigned __int128;
using Kind = Boxes::Kind;

constexpr std::int32_t longest = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t longest_of_three = 1 << 20;

std::vector<float> shares() {
  std::vector<float> values{0.0f,     0x1p-149f, 0x1p-127f,      0x1p-126f, 0x1.fffffep-65f,
                            0x1p-64f, 0x1p-63f,  0x1.8p-62f,     0x1p-40f,  0x1p-33f,
                            0x1p-32f, 0x1p-31f,  0x1.fffffep-9f, 0x1p-8f,   0.25f,
                            0.5f,     0x1p-24f,  1 - 0x1p-24f,   1.0f};
  std::mt19937_64 random(1);
  for (int k = 0; k < 2000; ++k) {
    float const mantissa = 1.0f + static_cast<float>(random() >> 41) * 0x1p-23f;
    values.push_back(std::ldexp(mantissa, -1 - (k % 2 == 0 ? k / 2 % 4 : k / 2 % 66)));
  }
  return values;
}

/// floor(share * whole), from the float's own mantissa and exponent.
std::uint64_t exact_floor(float share, std::uint64_t whole) {
  int exponent = 0;
  auto const mantissa = static_cast<std::uint64_t>(std::ldexp(std::frexp(share, &exponent), 24));
  int const shift = 24 - exponent;
  return shift > 127 ? 0 : static_cast<std::uint64_t>(Wide{mantissa} * whole >> shift);
}

Wide exact_power(std::int64_t side, int axes) {
  Wide product = 1;
  for (int k = 0; k < axes; ++k) product *= static_cast<std::uint64_t>(side);
  return product;
}

TEST(FloorShare, IsExact) {
  std::vector<std::uint64_t> wholes{0,
                                    1,
                                    2,
                                    3,
                                    0xffffff,
                                    0xffffffff,
                                    0x100000000,
                                    std::uint64_t{1} << 53,
                                    std::uint64_t{1} << 62,
                                    (std::uint64_t{1} << 63) - 1,
                                    std::uint64_t{1} << 63};
  std::mt19937_64 random(2);
  for (int k = 0; k < 200; ++k) wholes.push_back(random() >> (1 + k % 63));
  for (float const share : shares()) {
    for (std::uint64_t const whole : wholes) {
      ASSERT_EQ(floor_share(share, whole), exact_floor(share, whole)) << share << " of " << whole;
    }
  }
}

TEST(BoxSide, IsTheLargestThatFits) {
  for (int axes = 1; axes <= 3; ++axes) {
    std::vector<std::int32_t> lengths{0,    1,    2,     3,     4,     5,       7,      8,
                                      31,   32,   33,    224,   255,   256,     257,    1023,
                                      1024, 4097, 65535, 65536, 65537, 1000003, 1 << 20};
    if (axes < 3) lengths.insert(lengths.end(), {46340, 46341, 94906265, longest - 1, longest});
    for (std::int32_t const length : lengths) {
      for (float const share : shares()) {
        std::int64_t const side = box_side(share, length, axes);
        auto const whole =
            exact_floor(share, static_cast<std::uint64_t>(exact_power(length, axes)));
        ASSERT_TRUE(0 <= side && side <= length) << share << " of " << length;
        ASSERT_TRUE(exact_power(side, axes) <= whole) << share << " of " << length;
        ASSERT_TRUE(exact_power(side + 1, axes) > whole) << share << " of " << length;
      }
    }
  }
}

TEST(BoxSide, OfNothingAndOfAllIsNothingAndAll) {
  for (int axes = 1; axes <= 3; ++axes) {
    for (std::int32_t const length : {1, 7, 224, longest_of_three}) {
      EXPECT_EQ(box_side(0.0f, length, axes), 0);
      EXPECT_EQ(box_side(1.0f, length, axes), length);
      EXPECT_EQ(box_side(1 - 0x1p-24f, length, axes), length - 1);
    }
  }
}

TEST(Place, ReachesBothEndsAndNoFurther) {
  struct {
    Kind kind;
    std::int32_t side, length;
    Span least, most;  // at the words of all zeros and all ones
  } constexpr cases[] = {
      {Kind::paper, 4, 8, {0, 2}, {5, 8}},
      {Kind::paper, 5, 8, {0, 2}, {5, 8}},
      {Kind::paper, 2, 8, {0, 1}, {6, 8}},
      {Kind::paper, 8, 8, {0, 4}, {3, 8}},
      {Kind::paper, 1, 8, {0, 0}, {0, 0}},
      {Kind::paper, 0, 0, {0, 0}, {0, 0}},
      {Kind::paper, longest, longest, {0, longest / 2}, {longest / 2, longest}},
      {Kind::uniform, 4, 8, {0, 1}, {7, 8}},
      {Kind::uniform, 5, 8, {0, 1}, {7, 8}},
      {Kind::uniform, 2, 8, {0, 1}, {7, 8}},
      {Kind::uniform, 1, 8, {0, 0}, {0, 0}},
      {Kind::uniform, 0, 0, {0, 0}, {0, 0}},
      {Kind::uniform, longest, longest, {0, 1}, {longest - 1, longest}},
      {Kind::inside, 4, 8, {0, 4}, {4, 8}},
      {Kind::inside, 8, 8, {0, 8}, {0, 8}},
      {Kind::inside, 0, 8, {0, 0}, {8, 8}},
      {Kind::inside, 0, 0, {0, 0}, {0, 0}},
      {Kind::inside, 1, longest, {0, 1}, {longest - 1, longest}},
      {Kind::inside, longest, longest, {0, longest}, {0, longest}},
      {Kind::min_max, 3, 8, {0, 3}, {5, 8}},
      {Kind::min_max, 1, 1, {0, 1}, {0, 1}},
  };
  for (auto const& [kind, side, length, least, most] : cases) {
    Span const low = place(kind, side, length, 0, 0);
    Span const high = place(kind, side, length, 0xffffffff, 0xffffffff);
    EXPECT_TRUE(low.lo == least.lo && low.hi == least.hi)
        << static_cast<int>(kind) << ": " << side << " of " << length << ", " << low.lo << " "
        << low.hi;
    EXPECT_TRUE(high.lo == most.lo && high.hi == most.hi)
        << static_cast<int>(kind) << ": " << side << " of " << length << ", " << high.lo << " "
        << high.hi;
  }
}

/// own / all in f32, rounded once to nearest even, in integers.
float rounded_share(std::uint64_t own, std::uint64_t all) {
  if (own == 0) return 0.0f;
  int shift = 0;
  while ((Wide{own} << shift) < Wide{all} << 23) ++shift;
  Wide const scaled = Wide{own} << shift;
  auto quotient = static_cast<std::uint64_t>(scaled / all);
  Wide const twice_rest = (scaled - Wide{quotient} * all) * 2;
  if (twice_rest > all || (twice_rest == all && quotient % 2 == 1)) ++quotient;
  return std::ldexp(static_cast<float>(quotient), -shift);  // at most 2^24: exact
}

TEST(ExactShare, IsRoundedOnce) {
  constexpr std::uint64_t most = (std::uint64_t{1} << 53) - 1;
  std::mt19937_64 random(3);
  auto const check = [](std::uint64_t own, std::uint64_t all) {
    ASSERT_EQ(exact_share(own, all), rounded_share(own, all)) << own << " of " << all;
  };
  for (std::uint64_t all = 1; all <= 300; ++all) {
    for (std::uint64_t own = 0; own <= all; ++own) check(own, all);
  }
  for (std::uint64_t const all : {most, most - 1, most - 2, most / 2, most / 3, most - (1 << 24)}) {
    for (std::uint64_t own = 0; own < 1000; ++own) {
      check(own, all);
      check(all - own, all);
      check(all / 2 + own, all);
    }
  }
  for (int k = 0; k < 300000; ++k) {
    std::uint64_t const all = (random() >> (11 + k % 50)) + 1;
    if (all > most) continue;
    check(random() % (all + 1), all);
    // Next to the middle of two floats, where rounding twice would be seen.
    std::uint64_t const middle = (random() >> 39) * 2 + 1;
    auto const near = static_cast<std::uint64_t>(Wide{all} * middle >> 26);
    for (std::uint64_t const own : {near, near + 1}) {
      if (own <= all) check(own, all);
    }
  }
}

TEST(ExactShare, OfNothingAndOfAllIsExact) {
  for (std::uint64_t const all : {std::uint64_t{1}, std::uint64_t{49}, std::uint64_t{1} << 52}) {
    EXPECT_EQ(exact_share(0, all), 0.0f);
    EXPECT_EQ(exact_share(all, all), 1.0f);
  }
}

}  // namespace
}  // namespace mixfuse::maths
