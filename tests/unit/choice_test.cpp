// SPDX-License-Identifier: Apache-2.0

// Results of the CPU backend depend neither on the instructions that it finds, nor on cache sizes,
// chunks and threads.

#include "kernels/cpu/choice.hpp"

#include <gtest/gtest.h>

#include "tests/support/reference.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

using detail::CpuOverride;
using detail::Isa;

class Forced {
 public:
  explicit Forced(CpuOverride choice) { detail::cpu_override() = choice; }
  ~Forced() { detail::cpu_override() = {}; }
  Forced(Forced const&) = delete;
  Forced& operator=(Forced const&) = delete;
};

constexpr std::int64_t tiny = 1, huge = std::int64_t{1} << 40;

std::vector<CpuOverride> choices() {
  std::vector<CpuOverride> all;
  for (Isa const isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!detail::has(isa)) continue;
    for (std::int64_t const cache : {tiny, huge}) {
      for (std::int64_t const chunk : {0, 1, 100, 1000}) all.push_back({isa, cache, chunk});
    }
  }
  return all;
}

struct Types {
  DType in, out;
};

Types const pairs[] = {
    {DType::u8, DType::u8},    {DType::f16, DType::f16}, {DType::bf16, DType::bf16},
    {DType::f32, DType::f32},  {DType::f64, DType::f64}, {DType::u8, DType::f16},
    {DType::u8, DType::bf16},  {DType::u8, DType::f32},  {DType::f32, DType::f16},
    {DType::f32, DType::bf16},
};

/// Any bits: NaN, infinities and subnormals among them.
Array random_bits(DType dtype, Shape shape, Layout layout, Random& random) {
  Array array(dtype, std::move(shape), layout);
  for (std::int64_t i = 0; i < array.count(); ++i) array.set_bits(i, random.bits());
  return array;
}

Shape const nchw{6, 3, 7, 45}, nhwc{6, 7, 45, 3};

Shape const& shape_of(Layout layout) { return layout == Layout::nchw ? nchw : nhwc; }

TEST(Choice, MixesToTheSameBytesWhateverIsChosen) {
  Random random(3);
  for (Types const types : pairs) {
    for (Layout const from : {Layout::nchw, Layout::nhwc}) {
      Array const images = random_bits(types.in, shape_of(from), from, random);
      for (Partners const partners : {Partners::permuted, Partners::any}) {
        auto const rows = random_rows(extents_of_array(images), random, partners);
        for (Layout const to : {Layout::nchw, Layout::nhwc}) {
          for (Form const form : {Form{0, 0, 1}, Form{1, 3, 1}}) {
            Output const out{types.out, to, shape_of(to), form};
            Array const expected = mix_at(on_cpu(1), {images}, rows, out);
            if (from == to) expect_mixed(expected, images, nullptr, rows);
            for (CpuOverride const& choice : choices()) {
              Forced const forced(choice);
              expect_same(mix_at(on_cpu(2), {images}, rows, out), expected, "forced");
            }
          }
        }
      }
    }
  }
}

TEST(Choice, NormalisesToTheSameBytesWhateverIsChosen) {
  Random random(5);
  Normalise const maps{3, {0.5, 0.4, 0.3}, {0.2, 0.3, 0.4}};
  for (Types const types : pairs) {
    if (types.out == DType::u8) continue;
    for (Layout const from : {Layout::nchw, Layout::nhwc}) {
      Array const images = random_bits(types.in, shape_of(from), from, random);
      auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
      for (Layout const to : {Layout::nchw, Layout::nhwc}) {
        Output const out{types.out, to, shape_of(to), {}};
        Array const expected = mix_at(on_cpu(1), {images}, rows, maps, out);
        for (CpuOverride const& choice : choices()) {
          Forced const forced(choice);
          expect_same(mix_at(on_cpu(3), {images}, rows, maps, out), expected, "forced");
        }
      }
    }
  }
}

TEST(Choice, MixesInPlaceToTheSameBytesWhateverIsChosen) {
  Random random(7);
  for (DType const dtype : {DType::u8, DType::f16, DType::bf16, DType::f32, DType::f64}) {
    for (Layout const layout : {Layout::nchw, Layout::nhwc}) {
      Array const images = random_bits(dtype, shape_of(layout), layout, random);
      auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
      Array const expected = mix_at(on_cpu(1), {images}, rows, same_as(images));
      for (CpuOverride const& choice : choices()) {
        Forced const forced(choice);
        for (Form const form : {Form{0, 0, 1}, Form{1, 3, 1}}) {
          expect_same(mix_in_place_at(on_cpu(2), images, rows, form), expected, "in place");
        }
      }
    }
  }
}

TEST(Choice, SamplesOfManyTilesAreMixed) {
  Random random(13);
  Shape const nchw{5, 3, 160, 203}, nhwc{5, 160, 203, 3};
  for (Layout const from : {Layout::nchw, Layout::nhwc}) {
    Array const images = random_bits(DType::u8, from == Layout::nchw ? nchw : nhwc, from, random);
    for (bool const flips : {false, true}) {
      for (bool const boxes : {false, true}) {
        auto rows = random_rows(extents_of_array(images), random, Partners::permuted);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          rows[i].flip = flips && i % 3 != 0;
          if (!boxes) rows[i].box = {};
        }
        Array const expected = mix_at(on_cpu(1), {images}, rows, same_as(images));
        expect_mixed(expected, images, nullptr, rows);
        Output const out{DType::f32, Layout::nchw, nchw, {}};
        Array const planes = mix_at(on_cpu(1), {images}, rows, out);
        Forced const forced({Isa::best, tiny, 0});
        expect_same(mix_at(on_cpu(2), {images}, rows, same_as(images)), expected, "past caches");
        expect_same(mix_in_place_at(on_cpu(2), images, rows), expected, "in place");
        expect_same(mix_at(on_cpu(2), {images}, rows, out), planes, "planes past caches");
      }
    }
  }
}

TEST(Choice, LinesLongerThanATileAreMirroredToo) {
  Random random(9);
  Array const images = tagged(DType::u8, {4, 1, 2, 20011});
  auto rows = random_rows(extents_of_array(images), random, Partners::permuted);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].flip = i % 3 != 0;
  Array const expected = mix_at(on_cpu(2), {images}, rows, same_as(images));
  expect_mixed(expected, images, nullptr, rows);
  expect_same(mix_in_place_at(on_cpu(2), images, rows), expected, "in place");
}

TEST(Choice, PixelsOfMoreChannelsThanATileHoldsAreMixed) {
  Random random(11);
  Array const images = tagged(DType::f32, {3, 2, 2, 5000}, Layout::nhwc);
  auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
  Array const got = mix_at(on_cpu(2), {images}, rows, same_as(images));
  expect_mixed(got, images, nullptr, rows);
  expect_same(mix_in_place_at(on_cpu(2), images, rows), got, "in place");
  expect_same(mix_at(on_cpu(2), {images}, rows, same_as(images, {0, 1, 1})), got, "padded");
}

TEST(Choice, PlanesWhosePixelsLieTogetherAreMixedAsPixels) {
  // nchw by shape, nhwc in memory, as channels_last tensors are.
  Random random(13);
  Array const pixels = tagged(DType::u8, nhwc, Layout::nhwc);
  auto const rows = random_rows(extents_of_array(pixels), random, Partners::permuted);
  Array const expected = mix_at(on_cpu(2), {pixels}, rows, same_as(pixels));
  Tensor const in(on_cpu(), pixels), out(on_cpu(), DType::u8, nhwc, Layout::nhwc);
  auto const as_planes = [](TensorView view) {
    view.layout = Layout::nchw;
    std::int64_t const order[] = {0, 3, 1, 2};
    TensorView turned = view;
    for (int axis = 0; axis < 4; ++axis) {
      turned.shape[axis] = view.shape[order[axis]];
      turned.stride[axis] = view.stride[order[axis]];
    }
    return turned;
  };
  Plan plan = make_plan(on_cpu(), rows, extents_of_array(pixels));
  mix_into(as_planes(out), ConstTensorView(as_planes(in)), plan, Queue::cpu(2));
  expect_same(out.read(), expected, "channels last");
  mix_in_place(as_planes(in), plan, Queue::cpu(2));
  expect_same(in.read(), expected, "in place");
}

}  // namespace
}  // namespace mixfuse::test
