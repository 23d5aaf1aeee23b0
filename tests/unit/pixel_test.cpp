// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/pixel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string_view>

#include "kernels/maths/blend.hpp"
#include "tests/support/number.hpp"

namespace mixfuse::maths {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
test::Format const f16 = test::format_of(DType::f16), bf16 = test::format_of(DType::bf16),
                   f32 = test::format_of(DType::f32), f64 = test::format_of(DType::f64);

bool long_run() {
  char const* const value = std::getenv("MIXFUSE_TEST_LONG");
  return value != nullptr && std::string_view(value) == "1";
}

template <class T>
constexpr bool is_bf16 = std::is_same_v<T, Bf16>;

/// The rule for NaN: quiet, sign and top bits of the payload kept.
template <class T>
std::uint16_t expected_bits(std::uint32_t bits) {
  bool const nan = (bits & 0x7fffffff) > 0x7f800000;
  if (nan && is_bf16<T>) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  if (nan) return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | 0x7e00 | (bits >> 13 & 0x1ff));
  return static_cast<std::uint16_t>(test::encode(test::decode(bits, f32), is_bf16<T> ? bf16 : f16));
}

template <class T>
class Half : public testing::Test {};
using Halves = testing::Types<F16, Bf16>;
TYPED_TEST_SUITE(Half, Halves);

TYPED_TEST(Half, WidensExactlyAndComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    TypeParam const half{static_cast<std::uint16_t>(bits)};
    float const wide = widen(half);
    long double const exact = test::decode(bits, is_bf16<TypeParam> ? bf16 : f16);
    if (std::isnan(exact)) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_EQ(narrow<TypeParam>(wide).bits, bits | (is_bf16<TypeParam> ? 0x40 : 0x200));
    } else {
      ASSERT_EQ(static_cast<long double>(wide), exact) << bits;
      ASSERT_EQ(narrow<TypeParam>(wide).bits, bits) << "and keeps the sign of zero";
    }
  }
}

TYPED_TEST(Half, IsRoundedOnceToNearestEven) {
  auto const check = [](std::uint32_t bits) {
    ASSERT_EQ(narrow<TypeParam>(float_of(bits)).bits, expected_bits<TypeParam>(bits)) << bits;
  };
  // Each value and each tie between neighbours, and the floats around them.
  for (std::uint32_t half = 0; half < 0x7fff; ++half) {
    TypeParam const low{static_cast<std::uint16_t>(half)},
        high{static_cast<std::uint16_t>(half + 1)};
    auto const tie = static_cast<float>(
        (static_cast<double>(widen(low)) + static_cast<double>(widen(high))) / 2);
    for (std::uint32_t const centre : {bits_of(widen(low)), bits_of(tie)}) {
      for (std::uint32_t const sign : {0u, 0x80000000u}) {
        check((centre - 1) ^ sign);
        check(centre ^ sign);
        check((centre + 1) ^ sign);
      }
    }
  }
  for (std::uint64_t bits = 0; bits <= 0xffffffff; bits += long_run() ? 97u : 4099u) {
    check(static_cast<std::uint32_t>(bits));
  }
  for (std::uint32_t const bits :
       {0x477fefffu, 0x477ff000u, 0x477fffffu, 0x7f7fffffu, 0x7f7f8000u, 0x7f800000u, 0x7f800001u,
        0x7fffffffu, 0xff800001u, 0x7fc12345u, 0x33000000u, 0x33000001u, 0x32ffffffu, 0x00000001u,
        0x80000000u}) {
    check(bits);
  }
}

TEST(Byte, IsRoundedHalfToEvenAndSaturates) {
  auto const check = [](float value) {
    long double const rounded = std::nearbyint(static_cast<long double>(value));
    auto const expected = static_cast<int>(std::clamp(rounded, 0.0L, 255.0L));
    ASSERT_EQ(narrow<std::uint8_t>(value), expected) << value;
  };
  for (int quarter = -8; quarter <= 4 * 260; ++quarter) {
    float const value = static_cast<float>(quarter) / 4;
    check(value);
    check(std::nextafter(value, infinity));
    check(std::nextafter(value, -infinity));
  }
  for (float const value : {infinity, -infinity, 0x1p23f, 0x1p30f, -0x1p30f, 0x1.fffffep127f, -0.0f,
                            0x1p-149f, -0x1p-149f}) {
    check(value);
  }
  EXPECT_EQ((blended<std::uint8_t, std::uint8_t>(0.5f, 1, 0)), 0);
  EXPECT_EQ((blended<std::uint8_t, std::uint8_t>(0.5f, 3, 0)), 2);
}

TEST(Byte, OfABlendNeedsNoSaturation) {
  for (float const weight : {0x1p-149f, 0x1p-126f, 1e-8f, 1e-3f, 0.1f, 0.25f, 0.3f, 0.5f, 0.7f,
                             0.999f, 0x1.fffffcp-1f, 0x1.fffffep-1f}) {
    for (int own = 0; own < 256; ++own) {
      for (int partner = 0; partner < 256; ++partner) {
        auto const a = static_cast<std::uint8_t>(own), b = static_cast<std::uint8_t>(partner);
        float const mixed = blend(weight, widen(a), widen(b));
        ASSERT_EQ(blended<std::uint8_t>(weight, a, b), narrow<std::uint8_t>(mixed)) << weight;
        ASSERT_GE(mixed, -0.5f);
        ASSERT_LE(mixed, 255.5f);
      }
    }
  }
}

TEST(Copied, KeepsEveryBitOfEveryDtype) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    auto const half = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(copied<F16>(F16{half}).bits, half);
    ASSERT_EQ(copied<Bf16>(Bf16{half}).bits, half);
    // Any conversion on the way would quieten these NaN or flush these subnormals.
    for (std::uint32_t const wide : {bits << 16 | 1, 0x7f800000 | bits, bits}) {
      ASSERT_EQ(bits_of(copied<float>(float_of(wide))), wide);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    auto const u8 = static_cast<std::uint8_t>(byte);
    ASSERT_EQ(copied<std::uint8_t>(u8), byte);
    ASSERT_EQ(copied<float>(u8), static_cast<float>(byte));
    ASSERT_EQ(widen(copied<F16>(u8)), static_cast<float>(byte));
    ASSERT_EQ(widen(copied<Bf16>(u8)), static_cast<float>(byte)) << "8 bits suffice";
  }
}

template <class T>
T random_number(std::mt19937_64& random, int spread) {
  T const mantissa = T{1} + static_cast<T>(random() >> 11) * T{0x1p-53};
  T const value =
      std::ldexp(std::min(mantissa, std::nextafter(T{2}, T{1})),
                 static_cast<int>(random() % static_cast<std::uint64_t>(2 * spread + 1)) - spread);
  return random() % 2 == 0 ? value : -value;
}

float random_weight(std::mt19937_64& random) {
  float const weight = static_cast<float>(random() >> 40) * 0x1p-24f;
  float const small = std::ldexp(weight, -static_cast<int>(random() % 60));
  float const chosen = random() % 2 == 0 ? weight : random() % 2 == 0 ? small : 1.0f - small;
  return chosen <= 0.0f ? 0x1p-24f : chosen >= 1.0f ? 1.0f - 0x1p-24f : chosen;
}

template <class T>
void expect_between(std::uint64_t seed, test::Format format, int spread, int near) {
  std::mt19937_64 random(seed);
  for (int k = 0; k < 1000000; ++k) {
    T const own = random_number<T>(random, spread);
    T const partner = k % 2 == 0 ? random_number<T>(random, spread)
                                 : own * std::ldexp(random_number<T>(random, 0), near);
    if (!std::isnormal(partner)) continue;
    auto const weight = static_cast<T>(random_weight(random));
    T const out = blend(weight, own, partner);
    ASSERT_TRUE(std::isfinite(out));
    ASSERT_LE(out, std::max(own, partner)) << weight << " " << own << " " << partner;
    ASSERT_GE(out, std::min(own, partner)) << weight << " " << own << " " << partner;
    ASSERT_EQ(blend(weight, own, own), own) << weight;
    if (format.fraction > 30) continue;  // long double is too short to say more
    long double const w = static_cast<long double>(weight);
    long double const exact =
        w * static_cast<long double>(own) + (1 - w) * static_cast<long double>(partner);
    T const larger = std::max(std::fabs(own), std::fabs(partner));
    long double const unit =
        std::ldexp(1.0L, std::max(std::ilogb(larger), 1 - format.bias()) - format.fraction);
    ASSERT_LE(std::fabs(static_cast<long double>(out) - exact), unit)
        << weight << " " << own << " " << partner;
  }
}

TEST(Blend, StaysBetweenItsOperandsWithinOneUlpOfTheLarger) {
  expect_between<float>(1, f32, 126, 0);
  expect_between<float>(2, f32, 3, -3);
}

TEST(Blend, OfDoublesStaysBetweenItsOperands) {
  expect_between<double>(3, f64, 1020, 0);
  expect_between<double>(4, f64, 3, -3);
}

TEST(Blend, OfWhatIsNotFiniteIsAsTheTableSays) {
  float const nan = float_of(0xffc01234);
  for (float const weight : {0x1p-30f, 0.25f, 0.5f, 1 - 0x1p-24f}) {
    EXPECT_EQ(blend(weight, infinity, 3.0f), infinity);
    EXPECT_EQ(blend(weight, -infinity, 3.0f), -infinity);
    for (float const partner : {infinity, -infinity}) {
      EXPECT_EQ(bits_of(blend(weight, 3.0f, partner)), 0x7fc00000u);
    }
    EXPECT_EQ(bits_of(blend(weight, nan, 3.0f)), 0x7fc00000u);
    EXPECT_EQ(bits_of(blend(weight, 3.0f, nan)), 0x7fc00000u);
    EXPECT_TRUE(std::isnan(blend(static_cast<double>(weight), 3.0, std::nan(""))));
  }
}

TEST(Blended, HalvesAreTheFloatFormulaRoundedOnce) {
  for (std::uint32_t k = 1; k < 64; ++k) {
    float const weight = static_cast<float>(k) / 64 + (k % 2 == 0 ? 0x1p-13f : 0);
    for (std::uint32_t bits = 0; bits < 65536; bits += long_run() ? 1u : 5u) {
      F16 const own{static_cast<std::uint16_t>(bits)},
          partner{static_cast<std::uint16_t>(65535 - bits)};
      float const mixed =
          std::fma(weight, widen(own), std::fma(-weight, widen(partner), widen(partner)));
      std::uint16_t const expected =
          std::isnan(mixed) ? std::uint16_t{0x7e00} : expected_bits<F16>(bits_of(mixed));
      ASSERT_EQ((blended<F16>(weight, own, partner).bits), expected) << weight << " " << bits;
    }
  }
}

TEST(Blended, BytesAreWithinHalfAndInside) {
  int const weights = long_run() ? 1040 : 64;
  for (int k = 0; k <= weights; ++k) {
    float const weight = static_cast<float>(k) / static_cast<float>(weights);
    for (int own = 0; own < 256; ++own) {
      for (int partner = 0; partner < 256; ++partner) {
        int const out = blended<std::uint8_t>(weight, static_cast<std::uint8_t>(own),
                                              static_cast<std::uint8_t>(partner));
        double const w = static_cast<double>(weight);
        double const exact = w * own + (1 - w) * partner;
        ASSERT_LE(std::fabs(out - exact), 0.5 + 0x1p-15) << weight << " " << own << " " << partner;
        ASSERT_TRUE(std::min(own, partner) <= out && out <= std::max(own, partner));
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse::maths
