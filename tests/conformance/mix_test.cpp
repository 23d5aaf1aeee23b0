// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cfenv>
#include <limits>
#include <ostream>

#include "tests/support/calls.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace mixfuse::test {
namespace {

struct Picture {
  Layout layout;
  Shape shape;
  friend std::ostream& operator<<(std::ostream& out, Picture const& picture) {
    return out << name_of(picture.layout);
  }
};

Picture const pictures[] = {
    {Layout::nf, {6, 17}},
    {Layout::nct, {5, 3, 9}},
    {Layout::nchw, {5, 3, 7, 6}},
    {Layout::nhwc, {5, 7, 6, 3}},
    {Layout::ntchw, {4, 2, 3, 5, 4}},
    {Layout::ncdhw, {4, 2, 3, 5, 4}},
};

struct Types {
  DType in, out;
  friend std::ostream& operator<<(std::ostream& out, Types const& types) {
    return out << name_of(types.in) << "_to_" << name_of(types.out);
  }
};

Types const pairs[] = {
    {DType::u8, DType::u8},    {DType::f16, DType::f16}, {DType::bf16, DType::bf16},
    {DType::f32, DType::f32},  {DType::f64, DType::f64}, {DType::u8, DType::f16},
    {DType::u8, DType::bf16},  {DType::u8, DType::f32},  {DType::f32, DType::f16},
    {DType::f32, DType::bf16},
};

Form const forms[] = {{0, 0, 1}, {1, 3, 1}, {3, 5, 2}};

/// Mixed here as the reference says, and as on the CPU byte for byte.
Array expect_right(Batch const& in, std::vector<Row> const& rows, Output const& out,
                   Form form = {}) {
  Array const got = mix_at(here(), in, rows, out, form);
  expect_mixed(got, in.images, in.second ? &*in.second : nullptr, rows);
  if (on_cuda()) expect_same(got, mix_at(on_cpu(), in, rows, out, form), "CUDA against CPU");
  return got;
}

Array noise(DType dtype, Shape shape, Layout layout, Random& random) {
  Array array(dtype, std::move(shape), layout);
  for (std::int64_t i = 0; i < array.count(); ++i) {
    array.set(i, dtype == DType::u8 ? static_cast<long double>(random.below(256))
                                    : (static_cast<long double>(random.uniform()) - 0.5L) *
                                          std::ldexp(1.0L, static_cast<int>(random.below(12)) - 4));
  }
  return array;
}

class Mix : public OnDevice {};
class MixEach : public OnDeviceWith<std::tuple<Picture, Types>> {};

TEST_P(MixEach, EqualsTheReferenceForEveryKindOfRow) {
  auto const& [picture, types] = GetParam();
  Random random(7);
  Batch own{tagged(types.in, picture.shape, picture.layout)};
  Batch two{own.images, noise(types.in, picture.shape, picture.layout, random)};
  for (Form const form : forms) {
    Output const out{types.out, picture.layout, picture.shape, {form.offset + 2, form.pad, 1}};
    for (Batch const& batch : {own, two}) {
      auto const rows = random_rows(extents_of_array(own.images), random, Partners::any);
      expect_right(batch, rows, out, form);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MixEach,
                         testing::Combine(testing::ValuesIn(pictures), testing::ValuesIn(pairs)),
                         [](auto const& info) {
                           std::ostringstream name;
                           name << std::get<0>(info.param) << "_" << std::get<1>(info.param);
                           return name.str();
                         });

TEST_F(Mix, ChangesLayoutOnTheWayAndKeepsThePicture) {
  Random random(11);
  Shape const nchw{5, 3, 7, 6}, nhwc{5, 7, 6, 3};
  Array const planes = tagged(DType::f32, nchw, Layout::nchw);
  Array const pixels = tagged(DType::f32, nhwc, Layout::nhwc);
  auto const rows = random_rows(extents_of_array(planes), random, Partners::any);
  Array const a = expect_right({planes}, rows, {DType::f32, Layout::nhwc, nhwc, {}});
  Array const b = expect_right({pixels}, rows, same_as(pixels));
  Array const c = expect_right({pixels}, rows, {DType::f32, Layout::nchw, nchw, {}});
  expect_same(a, b, "the same picture from nchw and from nhwc");
  expect_mixed(c, planes, nullptr, rows);
  expect_right({planes, tagged(DType::f32, nchw, Layout::nchw)}, rows,
               {DType::f16, Layout::nhwc, nhwc, {}});
}

TEST_F(Mix, AnyStridesOfImagesAndPartnersAreFollowed) {
  // Rows and columns exchanged in memory, and one image that stands for the whole second batch.
  Random random(13);
  Array const values = tagged(DType::f32, {4, 2, 5, 6});
  auto const rows = random_rows(extents_of_array(values), random, Partners::any);
  Array turned(DType::f32, {4, 2, 6, 5});
  Array repeated = values;
  for (std::int64_t i = 0; i < values.count(); ++i) {
    Place7 place = values.place_of(i);
    Place7 one = place;
    one[0] = 0;
    repeated.set_bits(i, values.bits(values.index_of(one)));
    std::swap(place[5], place[6]);
    turned.set_bits(turned.index_of(place), values.bits(i));
  }
  Place const place = here();
  Tensor const memory(place, turned), single(place, tagged(DType::f32, {1, 2, 5, 6}));
  Tensor const out(place, DType::f32, values.shape);
  TensorView own = memory.view(), partners = single.view();
  std::swap(own.shape[2], own.shape[3]);
  std::swap(own.stride[2], own.stride[3]);
  partners.shape[0] = 4;
  partners.stride[0] = 0;
  Plan plan = make_plan(place, rows, extents_of_array(values));
  mix_into(out, Samples(own, partners), plan, place.queue);
  expect_mixed(out.read(), values, &repeated, rows);
}

TEST_F(Mix, EveryOffsetAndLengthIsRightAndTouchesNothingElse) {
  Random random(17);
  for (DType const dtype : {DType::u8, DType::f16, DType::f32}) {
    for (std::int64_t const length : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 127, 128, 129, 257}) {
      Array const images = tagged(dtype, {3, length});
      auto const rows = random_rows(extents_of_array(images), random, Partners::any);
      Array const aligned = expect_right({images}, rows, same_as(images));
      for (std::int64_t offset = 1; offset < 16; offset += small() ? 5 : 1) {
        Array const moved = mix_at(here(), {images}, rows, same_as(images, {offset, 0, 1}),
                                   {(offset * 7) % 16, 0, 1});
        expect_same(moved, aligned, "offset against aligned");
      }
    }
  }
}

TEST_F(Mix, EveryBatchSizeIsRight) {
  Random random(19);
  for (std::int64_t const samples : {1, 2, 3, 5, 7, 31, 32, 33, 255, 257}) {
    Array const images = tagged(DType::f32, {samples, 2, 3});
    expect_right({images}, random_rows(extents_of_array(images), random, Partners::any),
                 same_as(images));
  }
  if (calls::counted()) return;  // a block for each sample of 1 takes an emulator 40 s
  for (std::int64_t const samples : {65535, 65536, 70000}) {
    Array const images = tagged(DType::u8, {samples, 1});
    expect_right({images}, random_rows(extents_of_array(images), random, Partners::permuted),
                 same_as(images));
  }
}

TEST_F(Mix, NothingOfAnEmptyBatchOrEmptyImagesIsWritten) {
  for (Shape const& shape :
       {Shape{0, 3, 4, 5}, Shape{3, 0, 4, 5}, Shape{3, 2, 0, 5}, Shape{3, 2, 4, 0}}) {
    Array const images(DType::f32, shape);
    std::vector<Row> rows(static_cast<std::size_t>(shape[0]));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].partner = static_cast<std::int32_t>(i);
    EXPECT_EQ(mix_at(here(), {images}, rows, same_as(images)).count(), 0);
    EXPECT_EQ(mix_in_place_at(here(), images, rows).count(), 0);
  }
}

TEST_F(Mix, ImagesWithoutPixelsMayBeNull) {
  Place const place = here();
  Plan plan = make_plan(place, std::vector<Row>{}, image(0, 4, 5), {});
  TensorView const none(nullptr, DType::f32, {0, 3, 4, 5}, place.device);
  mix_into(none, none, plan, place.queue);
  mix_in_place(none, plan, place.queue);
}

/// Values that a copy must keep to the bit: NaN payloads, infinities, -0, subnormals.
Array awkward(DType dtype) {
  Format const f = format_of(dtype);
  std::uint64_t const sign = 1ULL << (f.fraction + f.exponent);
  std::uint64_t const infinite = ((1ULL << f.exponent) - 1) << f.fraction;
  std::uint64_t const values[] = {infinite | 1,
                                  infinite | 1ULL << (f.fraction - 1) | 5,
                                  sign | infinite | 3,
                                  infinite,
                                  sign | infinite,
                                  sign,
                                  0,
                                  1,
                                  sign | 2,
                                  infinite - 1};
  Array array(dtype, {2, 2, 10});
  for (std::int64_t i = 0; i < array.count(); ++i) array.set_bits(i, values[(i + i / 20 * 3) % 10]);
  return array;
}

TEST_F(Mix, WeightsOneAndZeroCopyBitsAndTheOtherSideNeverLeaks) {
  for (DType const dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    Array const images = awkward(dtype);
    for (float const weight : {0.0f, 1.0f}) {
      std::vector<Row> rows(2);
      for (std::int32_t i = 0; i < 2; ++i) rows[static_cast<std::size_t>(i)].partner = 1 - i;
      for (Row& row : rows) row.outside = row.inside = weight;
      Array const got = expect_right({images}, rows, same_as(images));
      Array expected = images;
      auto const half = static_cast<std::ptrdiff_t>(images.bytes.size() / 2);
      if (weight == 0.0f) {
        std::rotate(expected.bytes.begin(), expected.bytes.begin() + half, expected.bytes.end());
      }
      expect_same(got, expected, "a copy");
      Form const apart{1, 3, 2};  // element by element
      expect_same(mix_at(here(), {images}, rows, same_as(images, apart), apart), expected,
                  "a strided copy");
      expect_same(mix_in_place_at(here(), images, rows), expected, "a copy in place");
    }
  }
}

TEST_F(Mix, ARowThatMeetsItselfIsACopyUnlessItsPartnerIsOfASecondBatch) {
  Array const images = awkward(DType::f32);
  std::vector<Row> rows(2);
  rows[0] = {0, 0.3f, 0.6f, 0.3f, 0, {{2}, {5}}};
  rows[1] = {1, 0.0f, 0.0f, 0.0f, 0, {}};
  expect_same(expect_right({images}, rows, same_as(images)), images, "oneself");
  expect_same(mix_in_place_at(here(), images, rows), images, "oneself, in place");
  Array const second = tagged(DType::f32, images.shape);
  Array const got =
      expect_right({tagged(DType::f32, images.shape), awkward(DType::f32)}, rows, same_as(images));
  EXPECT_EQ(got.bits(20), images.bits(20));
  expect_right({images, second}, {rows[0], rows[0]}, same_as(images));
}

TEST_F(Mix, ABatchOfOneIsMixedWithASecondBatch) {
  Array const images = tagged(DType::f32, {1, 3, 4});
  Array second = images;
  for (std::int64_t i = 0; i < second.count(); ++i) second.set(i, 1000);
  Array const got =
      expect_right({images, second}, {{0, 0.25f, 0.25f, 0.25f, 0, {}}}, same_as(images));
  EXPECT_EQ(got.get(0), 0.25L * images.get(0) + 750);
}

TEST_F(Mix, NotFiniteValuesFollowTheTable) {
  float const inf = std::numeric_limits<float>::infinity();
  float const nan = std::numeric_limits<float>::quiet_NaN();
  struct Line {
    float own, partner;
    float expected;
  };
  Line const table[] = {{nan, 1, nan},   {1, nan, nan},  {inf, 1, inf},   {-inf, 1, -inf},
                        {1, inf, nan},   {1, -inf, nan}, {inf, inf, nan}, {inf, -inf, nan},
                        {nan, inf, nan}, {2, 4, 3}};
  constexpr std::int64_t count = std::size(table);
  for (DType const dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    Array images(dtype, {2, count});
    for (std::int64_t i = 0; i < count; ++i) {
      images.set(i, static_cast<long double>(table[i].own));
      images.set(count + i, static_cast<long double>(table[i].partner));
    }
    std::vector<Row> const rows{{1, 0.5f, 0.5f, 0.5f, 0, {}}, {1, 1, 1, 1, 0, {}}};
    Array const got = expect_right({images}, rows, same_as(images));
    for (std::int64_t i = 0; i < count; ++i) {
      auto const value = static_cast<float>(got.get(i));
      EXPECT_TRUE(std::isnan(table[i].expected) ? std::isnan(value) : value == table[i].expected)
          << name_of(dtype) << ", line " << i << ": " << value;
    }
  }
}

TEST_F(Mix, AQuarterOfTheOwnSampleIsAQuarter) {
  Array images(DType::f32, {2, 8});
  for (std::int64_t i = 0; i < 8; ++i) images.set(i, 1);
  std::vector<Row> const rows{{1, 0.25f, 0.25f, 0.25f, 0, {}}, {0, 0.25f, 0.25f, 0.25f, 0, {}}};
  Array const got = expect_right({images}, rows, same_as(images));
  for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(got.get(i), i < 8 ? 0.25L : 0.75L);
}

TEST_F(Mix, BytesRoundHalfToEvenAndSaturate) {
  Array images(DType::u8, {2, 6});
  int const own[] = {1, 3, 255, 0, 254, 255}, partner[] = {0, 0, 255, 0, 255, 254};
  int const expected[] = {0, 2, 255, 0, 254, 254};
  for (std::int64_t i = 0; i < 6; ++i) {
    images.set(i, own[i]);
    images.set(6 + i, partner[i]);
  }
  Array const got =
      expect_right({images}, {{1, 0.5f, 0.5f, 0.5f, 0, {}}, {1, 1, 1, 1, 0, {}}}, same_as(images));
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(got.get(i), expected[i]) << i;
}

TEST_F(Mix, StaysBetweenOwnAndPartnerAndEqualValuesStay) {
  Random random(23);
  std::int64_t const count = small() ? 4000 : 125000;
  Array images(DType::f32, {2, count});
  Array equal(DType::f32, {2, count});
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t side = 0; side < 2; ++side) {
      std::uint64_t const exponent = 1 + random.bits() % 254;
      images.set_bits(side * count + i, (random.bits() & 0x807fffff) | exponent << 23);
    }
    equal.set_bits(i, images.bits(i));
    equal.set_bits(count + i, images.bits(i));
  }
  for (int k = 0; k < 4; ++k) {
    auto const weight = static_cast<float>(random.uniform());
    std::vector<Row> const rows{{1, weight, weight, weight, 0, {}},
                                {0, weight, weight, weight, 0, {}}};
    Array const got = expect_right({images}, rows, same_as(images));
    Array const same = expect_right({equal}, rows, same_as(equal));
    for (std::int64_t i = 0; i < 2 * count; ++i) {
      long double const a = images.get(i), b = images.get((i + count) % (2 * count));
      ASSERT_LE(std::min(a, b), got.get(i));
      ASSERT_GE(std::max(a, b), got.get(i));
      ASSERT_EQ(same.get(i), equal.get(i));
    }
  }
}

TEST_F(Mix, HalvesAreRoundedOnceFromTheSinglePrecisionFormula) {
  Array images(DType::f16, {2, 65536});
  for (std::int64_t i = 0; i < 65536; ++i) {
    images.set_bits(i, static_cast<std::uint64_t>(i));
    images.set_bits(65536 + i, static_cast<std::uint64_t>(65535 - i));
  }
  Random random(29);
  for (int k = 0; k < (small() ? 2 : 64); ++k) {
    for (std::int64_t i = 0; k == 1 && i < 65536; ++i) {
      // Reversed, each subnormal met a NaN.
      images.set_bits(65536 + i, static_cast<std::uint64_t>(40503 * i % 65536));
    }
    auto const weight = static_cast<float>(random.uniform());
    std::vector<Row> const rows{{1, weight, weight, weight, 0, {}}, {1, 1, 1, 1, 0, {}}};
    Array const got = mix_at(here(), {images}, rows, same_as(images));
    for (std::int64_t i = 0; i < 65536; ++i) {
      auto const a = static_cast<float>(images.get(i));
      auto const b = static_cast<float>(images.get(65536 + i));
      float const formula = std::fma(weight, a, std::fma(-weight, b, b));
      if (std::isnan(formula)) {
        ASSERT_TRUE(std::isnan(got.get(i)));
      } else {
        ASSERT_EQ(got.bits(i), encode(static_cast<long double>(formula), format_of(DType::f16)));
      }
    }
  }
}

TEST_F(Mix, FlippedSamplesAreReadMirroredWhereverTheyAreRead) {
  Array const images = tagged(DType::f32, {2, 1, 1, 4});
  std::vector<Row> const rows{{1, 1, 0, 0.5f, 1, {{0, 0}, {1, 2}}},
                              {0, 1, 0, 0.5f, 0, {{0, 0}, {1, 2}}}};
  Array const got = expect_right({images}, rows, same_as(images));
  // 0 is mirrored and 1 is not; the box is the left half of the output.
  std::int64_t const from[] = {4, 5, 1, 0, 3, 2, 6, 7};
  for (std::int64_t i = 0; i < 8; ++i) EXPECT_EQ(got.get(i), images.get(from[i])) << i;
  // A second batch is never mirrored.
  Array const second = tagged(DType::f32, {2, 1, 1, 4});
  Array const apart = expect_right({images, second}, {rows[0], rows[0]}, same_as(images));
  EXPECT_EQ(apart.get(0), second.get(4));
}

TEST_F(Mix, BoxesTakeTheirHeightFromHAndTheirWidthFromW) {
  for (auto const& [h, w] : {std::pair{7, 31}, std::pair{31, 7}}) {
    for (Layout const layout : {Layout::nchw, Layout::nhwc}) {
      bool const last = layout == Layout::nhwc;
      Shape const shape = last ? Shape{2, h, w, 3} : Shape{2, 3, h, w};
      Array const images = tagged(DType::f32, shape, layout);
      std::vector<Row> rows(2, Row{1, 1, 0, 0.5f, 0, {{1, 2}, {h, 5}}});
      rows[1].partner = 0;
      Array const got = expect_right({images}, rows, same_as(images));
      std::int64_t pasted = 0;
      for (std::int64_t i = 0; i < got.count() / 2; ++i) {
        pasted += got.get(i) == images.get(i + got.count() / 2);
      }
      EXPECT_EQ(pasted, 3 * (h - 1) * 3);
    }
  }
}

TEST_F(Mix, APlanServesFurtherTensors) {
  // The image, its mask and another view of it, by one plan.
  Random random(31);
  Array const images = tagged(DType::f32, {5, 3, 6, 7});
  Array const mask = tagged(DType::u8, {5, 1, 6, 7});
  Array const video = tagged(DType::f16, {5, 2, 3, 6, 7}, Layout::ntchw);
  auto const rows = random_rows(extents_of_array(images), random, Partners::any);
  Plan plan = make_plan(here(), rows, extents_of_array(images));
  for (Array const& each : {images, mask, video}) {
    expect_mixed(mix_at(here(), {each}, plan, same_as(each)), each, nullptr, rows);
  }
}

TEST_F(Mix, TheSameCallTwiceGivesTheSameBytes) {
  Random random(37);
  Array const images = noise(DType::bf16, {9, 3, 11, 5}, Layout::nchw, random);
  auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
  expect_same(mix_at(here(), {images}, rows, same_as(images)),
              mix_at(here(), {images}, rows, same_as(images)), "again");
}

#if defined(__SSE2__)
TEST_F(Mix, TheCallersRoundingAndFlushModesAreNeitherUsedNorChanged) {
  Random random(41);
  Array images = noise(DType::f32, {3, 500}, Layout::nf, random);
  for (std::int64_t i = 0; i < 200; ++i) images.set_bits(i, random.bits() & 0x807fffff);
  for (std::int64_t i = 500; i < 700; ++i) images.set_bits(i, random.bits() & 0x807fffff);
  auto const rows = random_rows(extents_of_array(images), random, Partners::any);
  Spec const spec = mixup_spec(0.3f);
  Extents const extents = extents_of_array(images);
  Array const expected = mix_at(on_cpu(), {images}, rows, same_as(images));
  Normalise const normalise{1, {1e-39}, {0.229}};
  Array const normalised = mix_at(on_cpu(), {images}, rows, normalise, same_as(images));
  auto const drawn = drawn_rows(on_cpu(), spec, extents, {1, 2, 3});
  Labels labels{ids(DType::i64, {0, 2, 1})};
  labels.rule.smoothing = 0.1f;
  Plan plan = make_plan(on_cpu(), rows, extents);
  auto const targets = label_at(on_cpu(), labels, plan, Target::dense, DType::f32, 3);
  unsigned const before = _mm_getcsr();
  for (unsigned const mode : {0x8040u, 0x2000u, 0x4000u | 0x8040u, 0x6000u}) {
    unsigned const set = (before & ~0xe040u) | mode;
    // What the compiler moves across these lines does no arithmetic.
    _mm_setcsr(set);
    Array const got = mix_at(on_cpu(), {images}, rows, same_as(images));
    Array const got_normalised = mix_at(on_cpu(), {images}, rows, normalise, same_as(images));
    auto const got_targets = label_at(on_cpu(), labels, plan, Target::dense, DType::f32, 3);
    auto const again = drawn_rows(on_cpu(), spec, extents, {1, 2, 3});
    unsigned const after = _mm_getcsr();
    _mm_setcsr(before);
    EXPECT_EQ(after & 0xe040u, set & 0xe040u);
    expect_same(got, expected, "under the caller's modes");
    expect_same(got_normalised, normalised, "normalised under the caller's modes");
    expect_same(got_targets, targets);
    EXPECT_EQ(again, drawn);
  }
}
#endif

}  // namespace
}  // namespace mixfuse::test
