// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

class InPlace : public OnDevice {};

/// The same bytes as out of place, and as on the CPU.
void expect_as_out_of_place(Array const& images, std::vector<Row> const& rows, Form form = {}) {
  Array const got = mix_in_place_at(here(), images, rows, form);
  expect_mixed(got, images, nullptr, rows);
  expect_same(got, mix_at(on_cpu(), {images}, rows, same_as(images)), "in place");
}

std::vector<Row> with_partners(std::vector<Row> rows, std::vector<std::int32_t> const& partners) {
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].partner = partners[i];
  return rows;
}

TEST_F(InPlace, EqualsOutOfPlaceForCyclesOfEveryLength) {
  Random random(3);
  for (std::int64_t const samples : {1, 2, 5, 6, 9}) {
    Array const images = tagged(DType::f32, {samples, 2, 3, 5});
    std::vector<std::int32_t> identity(static_cast<std::size_t>(samples));
    std::iota(identity.begin(), identity.end(), 0);
    std::vector<std::vector<std::int32_t>> shapes{identity, identity, identity, identity};
    std::rotate(shapes[1].begin(), shapes[1].begin() + 1, shapes[1].end());  // one cycle
    std::rotate(shapes[2].begin(), shapes[2].end() - 1, shapes[2].end());    // backwards
    for (std::size_t i = 0; i + 1 < identity.size(); i += 2)
      std::swap(shapes[3][i], shapes[3][i + 1]);
    for (auto const& partners : shapes) {
      auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
      expect_as_out_of_place(images, with_partners(rows, partners));
      expect_as_out_of_place(images, rows);
    }
  }
}

TEST_F(InPlace, EqualsOutOfPlaceInEveryDtypeLayoutAndForm) {
  Random random(5);
  struct {
    Layout layout;
    Shape shape;
  } const pictures[] = {
      {Layout::nf, {6, 300}},           {Layout::nct, {5, 3, 9}},
      {Layout::nchw, {5, 3, 7, 13}},    {Layout::nhwc, {5, 7, 13, 3}},
      {Layout::ntchw, {4, 2, 3, 5, 4}}, {Layout::ncdhw, {4, 2, 3, 5, 4}},
  };
  for (auto const& picture : pictures) {
    for (DType const dtype : {DType::u8, DType::f16, DType::bf16, DType::f32, DType::f64}) {
      Array const images = tagged(dtype, picture.shape, picture.layout);
      for (Form const form : {Form{0, 0, 1}, Form{1, 3, 1}, Form{3, 5, 2}}) {
        expect_as_out_of_place(
            images, random_rows(extents_of_array(images), random, Partners::permuted), form);
      }
    }
  }
}

TEST_F(InPlace, EveryWidthIsRightWhereSamplesAreMirrored) {
  Random random(7);
  for (std::int64_t const width : {1, 2, 3, 4, 127, 128, 129, 255, 256, 257}) {
    Array const images = tagged(DType::u8, {5, 1, 2, width});
    auto rows = random_rows(extents_of_array(images), random, Partners::permuted);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].flip = i % 3 != 0;
    expect_as_out_of_place(images, rows);
  }
}

TEST_F(InPlace, SamplesPast65535AreMixed) {
  Array const images = tagged(DType::u8, {70000, 1});
  Random random(11);
  expect_as_out_of_place(images, random_rows(extents_of_array(images), random, Partners::permuted));
}

TEST_F(InPlace, DrawnPlansOfEveryPairingEqualOutOfPlace) {
  for (Pairing const pairing :
       {Pairing::permutation, Pairing::cycle, Pairing::pairs, Pairing::reverse, Pairing::roll}) {
    for (std::int64_t const samples : {1, 2, 7, 64}) {
      // Groups of odd sizes, and cut at the first sample to odd ones, end where no pair does.
      for (std::int64_t const group : {0, 4, 5, 6}) {
        for (std::uint64_t const first : {3u, 4u}) {
          Array const images = tagged(DType::f32, {samples, 1, 4, 8});
          Spec spec = cutmix_spec();
          spec.policies.push_back({Mixup{}, 0.5f});
          spec.policies[0].probability = 0.5f;
          spec.pairing = pairing;
          spec.group = group;
          spec.flip = first == 3 ? 0.5f : 0.0f;
          Place const place = here();
          Plan plan = make_plan(place, spec, extents_of_array(images), {9, 8, first});
          Tensor const inout(place, images);
          mix_in_place(inout, plan, place.queue);
          expect_mixed(inout.read(), images, nullptr, read_rows(plan, place.queue));
        }
      }
    }
  }
}

TEST_F(InPlace, DrawnPlansOfLargeBatchesEqualOutOfPlace) {
  struct {
    Pairing pairing;
    std::int64_t samples, group;
  } const plans[] = {
      {Pairing::permutation, 1500, 0},    {Pairing::permutation, 4101, 0},
      {Pairing::permutation, 4500, 4200}, {Pairing::cycle, 4101, 0},
      {Pairing::pairs, 4101, 0},          {Pairing::reverse, 1501, 0},
      {Pairing::roll, 1500, 1100},
  };
  for (auto const& [pairing, samples, group] : plans) {
    Array const images = tagged(DType::u8, {samples, 1});
    Spec spec = mixup_spec();
    spec.pairing = pairing;
    spec.group = group;
    Place const place = here();
    Plan plan = make_plan(place, spec, extents_of_array(images), {9, 8, 3});
    Tensor const inout(place, images);
    mix_in_place(inout, plan, place.queue);
    expect_mixed(inout.read(), images, nullptr, read_rows(plan, place.queue));
  }
}

TEST_F(InPlace, PartnersThatOccurTwiceAreRefusedAndNothingIsWritten) {
  Array const images = tagged(DType::f32, {3, 2, 4});
  std::vector<Row> rows(3, Row{1, 0.5f, 0.5f, 0.5f, 0, {}});
  Place const place = here();
  Plan drawn(3, place.device, place.queue);
  Spec spec = mixup_spec();
  spec.pairing = Pairing::replacement;
  plan_into(drawn, spec, extents_of_array(images), Draw{}, place.queue);
  Plan by_hand = make_plan(place, rows, extents_of_array(images));
  Tensor const inout(place, images);
  for (Plan* const plan : {&drawn, &by_hand}) {
    EXPECT_THROW(mix_in_place(inout, *plan, place.queue), invalid_argument);
    expect_same(inout.read(), images, "after a refusal");
  }
  // The same plans serve out of place.
  expect_mixed(mix_at(place, {images}, by_hand, same_as(images)), images, nullptr, rows);
}

}  // namespace
}  // namespace mixfuse::test
