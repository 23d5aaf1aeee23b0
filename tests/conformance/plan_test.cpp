// SPDX-License-Identifier: Apache-2.0
#include <Random123/philox.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

struct Named {
  char const* name;
  Spec spec;
  friend std::ostream& operator<<(std::ostream& out, Named const& named) {
    return out << named.name;
  }
};

Spec with(Pairing pairing, Spec spec) {
  spec.pairing = pairing;
  return spec;
}
Spec with(Granularity granularity, Spec spec) {
  spec.granularity = granularity;
  return spec;
}
Spec in_groups_of(std::int64_t group, Spec spec) {
  spec.group = group;
  return spec;
}
Spec folded(Fold fold, Spec spec) {
  for (Choice& choice : spec.policies) {
    std::visit([&](auto& policy) { policy.fold = fold; }, choice.policy);
  }
  return spec;
}
Spec switching() {
  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.2f}, Fold::none}, 0.4f}, {CutMix{}, 0.5f}};
  spec.probability = 0.8f;
  spec.flip = 0.5f;
  return spec;
}

Boxes const paper{}, inside{Boxes::Kind::inside, 0, 1}, uniform{Boxes::Kind::uniform, 0, 1},
    min_max{Boxes::Kind::min_max, 0.2, 0.8};

std::vector<Named> specs() {
  return {
      {"mixup", mixup_spec()},
      {"mixup_small_alpha", mixup_spec(0.01f)},
      {"mixup_tiny_alpha", mixup_spec(1e-6f)},
      {"mixup_huge_alpha", mixup_spec(1e6f)},
      {"mixup_asymmetric", {{{Mixup{{0.3f, 5.0f}, Fold::none}, 1.0f}}}},
      {"mixup_off", mixup_spec(0.0f)},
      {"cutmix", cutmix_spec(paper)},
      {"cutmix_inside", cutmix_spec(inside)},
      {"cutmix_uniform", cutmix_spec(uniform)},
      {"cutmix_min_max", cutmix_spec(min_max)},
      {"identity", {}},
      {"switching", switching()},
      {"folded_to_own", folded(Fold::own, switching())},
      {"folded_to_partner", folded(Fold::partner, switching())},
      {"cycle", with(Pairing::cycle, switching())},
      {"pairs", with(Pairing::pairs, switching())},
      {"reverse", with(Pairing::reverse, switching())},
      {"roll", with(Pairing::roll, switching())},
      {"replacement", with(Pairing::replacement, switching())},
      {"batch", with(Granularity::batch, switching())},
      {"pair_of_pairs", with(Granularity::pair, with(Pairing::pairs, switching()))},
      {"pair_of_reverse", with(Granularity::pair, with(Pairing::reverse, switching()))},
      {"groups_of_1", in_groups_of(1, switching())},
      {"groups_of_3", in_groups_of(3, with(Granularity::batch, switching()))},
      {"groups_of_32_cycle", in_groups_of(32, with(Pairing::cycle, switching()))},
      {"groups_of_7_pairs", in_groups_of(7, with(Pairing::pairs, switching()))},
      {"groups_of_7_reverse", in_groups_of(7, with(Pairing::reverse, switching()))},
      {"groups_of_7_roll", in_groups_of(7, with(Pairing::roll, switching()))},
      {"groups_of_7_replacement", in_groups_of(7, with(Pairing::replacement, switching()))},
  };
}

/// The runs of rows that belong to one group.
std::vector<std::pair<std::int64_t, std::int64_t>> groups_of(Spec const& spec, Draw draw,
                                                             std::int64_t samples) {
  std::vector<std::pair<std::int64_t, std::int64_t>> groups;
  for (std::int64_t i = 0; i < samples;) {
    std::int64_t end = samples;
    if (spec.group != 0) {
      auto const group = static_cast<std::uint64_t>(spec.group);
      std::uint64_t const at = draw.first + static_cast<std::uint64_t>(i);
      end = std::min(samples, i + static_cast<std::int64_t>(group - at % group));
    }
    groups.emplace_back(i, end);
    i = end;
  }
  return groups;
}

/// What each pairing promises, group by group.
void expect_pairing(std::vector<Row> const& rows, Spec const& spec, Draw draw) {
  for (auto const& [start, end] : groups_of(spec, draw, static_cast<std::int64_t>(rows.size()))) {
    auto const partner = [&](std::int64_t i) -> std::int64_t {
      return rows[static_cast<std::size_t>(i)].partner;
    };
    std::vector<bool> seen(static_cast<std::size_t>(end - start));
    std::int64_t alone = 0;
    bool involution = true;
    for (std::int64_t i = start; i < end; ++i) {
      ASSERT_TRUE(partner(i) >= start && partner(i) < end) << "sample " << i;
      seen[static_cast<std::size_t>(partner(i) - start)] = true;
      alone += partner(i) == i;
      involution = involution && partner(partner(i)) == i;
      if (spec.pairing == Pairing::reverse) {
        ASSERT_EQ(partner(i), start + end - 1 - i);
      } else if (spec.pairing == Pairing::roll) {
        ASSERT_EQ(partner(i), i == start ? end - 1 : i - 1);
      }
    }
    std::int64_t const size = end - start;
    if (spec.pairing != Pairing::replacement) {
      ASSERT_EQ(std::count(seen.begin(), seen.end(), true), size) << "no permutation";
    }
    if (spec.pairing == Pairing::pairs) {
      ASSERT_TRUE(involution);
      ASSERT_EQ(alone, size % 2);
    }
    if (spec.pairing == Pairing::cycle) {
      std::int64_t length = 1;
      for (std::int64_t i = partner(start); i != start && length <= size; i = partner(i)) ++length;
      ASSERT_EQ(length, size) << "more than one cycle";
    }
  }
}

class PlanOf : public OnDevice {};
class PlanEach : public OnDeviceWith<Named> {};

TEST_P(PlanEach, HasLegalRowsTheSameOnEveryProcessor) {
  Spec const& spec = GetParam().spec;
  Extents const shapes[] = {image(0, 7, 5), {0, 1, {19, 0, 0}, false}, {0, 3, {5, 6, 4}, true}};
  for (std::int64_t const samples : {0, 1, 2, 3, 5, 7, 31, 32, 33, 255, 257, 1000}) {
    if (small() && samples > 257) continue;
    for (Extents extents : shapes) {
      if (samples > 33 && extents.axes != 2) continue;
      if (spec.flip != 0 && !extents.width) continue;
      extents.samples = samples;
      for (Draw const draw : {Draw{1, 2, 0}, Draw{~0ULL, (1ULL << 48) - 1, 1000003}}) {
        auto const rows = drawn_rows(here(), spec, extents, draw);
        ASSERT_EQ(rows.size(), static_cast<std::size_t>(samples));
        expect_legal(rows, extents);
        expect_pairing(rows, spec, draw);
        if (on_cuda()) {
          ASSERT_EQ(rows, drawn_rows(on_cpu(), spec, extents, draw)) << samples;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PlanEach, testing::ValuesIn(specs()),
                         [](auto const& info) { return info.param.name; });

TEST_F(PlanOf, EverySizeAroundTheLimitsIsAPermutation) {
  std::vector<std::int64_t> sizes{1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 5000};
  if (!small()) {
    for (std::int64_t samples = 1; samples <= 300; ++samples) sizes.push_back(samples);
    sizes.insert(sizes.end(), {16384, 65535, 65536, 65537, 70000, 1048575, 1048577});
  } else {
    sizes = {1024, 1025, 4095, 4096, 4097, 5000, 8193};
  }
  std::vector<Pairing> pairings{Pairing::permutation, Pairing::cycle, Pairing::pairs};
  for (std::int64_t const samples : sizes) {
    for (std::size_t k = 0; k < pairings.size(); ++k) {
      if (small() && samples != 4097 && k != 0) continue;
      Spec const spec = with(pairings[k], mixup_spec());
      Draw const draw{static_cast<std::uint64_t>(samples), k, 7};
      auto const rows = drawn_rows(here(), spec, image(samples, 2, 2), draw);
      expect_pairing(rows, spec, draw);
      if (on_cuda()) {
        ASSERT_EQ(rows, drawn_rows(on_cpu(), spec, image(samples, 2, 2), draw)) << samples;
      }
    }
  }
}

TEST_F(PlanOf, GroupsLargerThanABlockSortsAreRight) {
  struct {
    Spec spec;
    std::int64_t samples;
    std::uint64_t first;
  } const batches[] = {
      {with(Granularity::batch, switching()), 9300, 4000},
      {with(Granularity::batch, switching()), 4700, (std::uint64_t{4500} << 33) - 300},
      {with(Pairing::cycle, switching()), 4700, 4000},
      {with(Granularity::pair, with(Pairing::pairs, switching())), 4700, 4301},
  };
  for (auto const& [spec, samples, first] : batches) {
    Spec const grouped = in_groups_of(4500, spec);
    Draw const draw{3, 3, first};
    auto const rows = drawn_rows(here(), grouped, image(samples, 3, 3), draw);
    expect_pairing(rows, grouped, draw);
    EXPECT_EQ(rows, drawn_rows(on_cpu(), grouped, image(samples, 3, 3), draw));
  }
}

TEST_F(PlanOf, GroupsOfAnySizeAreCutAtTheirMultiples) {
  for (std::int64_t const group : {std::int64_t{7}, (std::int64_t{1} << 31) + 11,
                                   (std::int64_t{1} << 32) + 5, std::int64_t{1} << 40}) {
    for (Pairing const pairing : {Pairing::permutation, Pairing::roll, Pairing::replacement}) {
      for (std::uint64_t const before : {0u, 1u, 6u, 19u, 20u}) {
        Spec const spec = in_groups_of(group, with(Granularity::batch, with(pairing, switching())));
        std::uint64_t const groups = (std::uint64_t{1} << 47) / static_cast<std::uint64_t>(group);
        Draw const draw{2, 3, groups * static_cast<std::uint64_t>(group) - before};
        auto const rows = drawn_rows(here(), spec, image(20, 9, 7), draw);
        expect_pairing(rows, spec, draw);
        EXPECT_EQ(rows, drawn_rows(on_cpu(), spec, image(20, 9, 7), draw));
        for (auto const& [start, end] : groups_of(spec, draw, 20)) {
          for (std::int64_t i = start; i < end; ++i) {
            EXPECT_EQ(rows[static_cast<std::size_t>(i)].label,
                      rows[static_cast<std::size_t>(start)].label);
          }
        }
      }
    }
  }
}

Spec mixups_of(std::initializer_list<Beta> laws) {
  Spec spec;
  for (Beta const law : laws) spec.policies.push_back({Mixup{law, Fold::none}, 0.12f});
  return spec;
}

/// Every way to place a box, on either side of a folded weight; identity takes the rest.
Spec boxes_of_every_kind() {
  Spec spec;
  spec.policies = {{CutMix{{1.0f, 1.0f}, Fold::none, paper}, 0.15f},
                   {CutMix{{2.0f, 0.5f}, Fold::partner, inside}, 0.15f},
                   {CutMix{{0.5f, 2.0f}, Fold::none, uniform}, 0.15f},
                   {CutMix{{1.0f, 1.0f}, Fold::own, min_max}, 0.15f},
                   {CutMix{{0.1f, 1.0f}, Fold::none, inside}, 0.15f},
                   {CutMix{{1.0f, 0.1f}, Fold::none, inside}, 0.15f},
                   {Mixup{{0.0f, 0.0f}, Fold::none}, 0.05f}};
  spec.probability = 0.9f;
  return spec;
}

// Three kernels draw rows: without a sort, after a block's sort, after a device-wide one.
TEST_F(PlanOf, RowsOfSamplesDoNotDependOnTheirPairing) {
  Draw const draw{0x9876543210fedcba, 0xabcdef012345, 0xfffffff0};  // the index passes 2^32
  Spec const boxes = boxes_of_every_kind();
  constexpr std::int64_t longest = 2147483647, deepest = 1 << 20;
  struct {
    Spec spec;
    Extents extents;
    std::int64_t samples;  // fewer where no more are needed for a device-wide sort
  } const batches[] = {
      {mixups_of({{0.2f, 0.2f},
                  {1e-3f, 1e-3f},
                  {1e6f, 1e6f},
                  {0.3f, 5.0f},
                  {2.0f, 3.0f},
                  {1.5f, 1.0f},
                  {0.05f, 0.06f}}),
       image(0, 1, 1), 4000},
      {mixups_of({{1e-3f, 5.0f},
                  {0.01f, 1e4f},
                  {1e6f, 9e5f},
                  {100.0f, 3.0f},
                  {5e-5f, 2e-5f},
                  {20.0f, 30.0f},
                  {1.0f, 2.0f}}),
       image(0, 1, 1), 4000},
      {boxes, image(0, 11, 300), 1200},
      {boxes, image(0, longest, 2000000), 1200},
      {boxes, {0, 1, {longest, 0, 0}, false}, 1200},
      {boxes, {0, 3, {deepest, 6, deepest}, true}, 1200},
  };
  for (auto const& [given, extents, fewer] : batches) {
    Spec spec = given;
    if (extents.width) spec.flip = 0.5f;
    Extents batch = extents;
    batch.samples = 4100;
    auto const expected = drawn_rows(on_cpu(), spec, batch, draw);
    expect_legal(expected, batch);
    for (auto const& [pairing, samples] : {std::pair{Pairing::roll, fewer},
                                           {Pairing::cycle, fewer},
                                           {Pairing::cycle, batch.samples}}) {
      batch.samples = samples;
      auto rows = drawn_rows(here(), with(pairing, spec), batch, draw);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].partner = expected[i].partner;
        ASSERT_EQ(rows[i], expected[i]) << i << " of " << samples;
      }
    }
  }
}

/// The published words: key, counter and purposes of kernels/maths/philox.hpp.
std::array<std::uint32_t, 4> words(Draw draw, std::uint64_t index, std::uint32_t purpose) {
  philox4x32_ctr_t const counter{{static_cast<std::uint32_t>(index),
                                  static_cast<std::uint32_t>((index >> 32) | draw.step << 16),
                                  static_cast<std::uint32_t>(draw.step >> 16), purpose << 24}};
  philox4x32_key_t const key{
      {static_cast<std::uint32_t>(draw.seed), static_cast<std::uint32_t>(draw.seed >> 32)}};
  auto const r = philox4x32(counter, key);
  return {r.v[0], r.v[1], r.v[2], r.v[3]};
}

TEST_F(PlanOf, PartnersAreThoseOfTheWordOfSorted64BitKeys) {
  for (Draw const draw : {Draw{0, 0, 0}, Draw{0x123456789abcdef0, 0xffff00000001, 0xfffffff0},
                          Draw{5, 1ULL << 47, (1ULL << 48) - 100}}) {
    for (std::int32_t const samples : {1, 2, 3, 8, 61, 100}) {
      std::vector<std::pair<std::uint64_t, std::int32_t>> word;
      for (std::int32_t i = 0; i < samples; ++i) {
        auto const w = words(draw, draw.first + static_cast<std::uint64_t>(i), 0);
        word.emplace_back(std::uint64_t{w[0]} << 32 | w[1], i);
      }
      std::sort(word.begin(), word.end());
      auto const at = [&](std::int32_t k) { return word[static_cast<std::size_t>(k)].second; };

      std::map<Pairing, std::vector<std::int32_t>> expected;
      for (Pairing const pairing : {Pairing::permutation, Pairing::cycle, Pairing::pairs}) {
        expected[pairing].resize(static_cast<std::size_t>(samples));
      }
      auto const set = [&](Pairing pairing, std::int32_t sample, std::int32_t partner) {
        expected[pairing][static_cast<std::size_t>(sample)] = partner;
      };
      std::int32_t first = 0;
      for (std::int32_t k = 0; k < samples; ++k) {
        bool const last = k + 1 == samples;
        if (at(k) < at(first)) first = k;
        bool const cut = last || at(k + 1) < at(first);
        set(Pairing::permutation, at(k), cut ? at(first) : at(k + 1));
        set(Pairing::cycle, at(k), last ? at(0) : at(k + 1));
        set(Pairing::pairs, at(k), last && k % 2 == 0 ? at(k) : at(k % 2 == 0 ? k + 1 : k - 1));
      }
      for (auto const& [pairing, partners] : expected) {
        auto const rows =
            drawn_rows(here(), with(pairing, mixup_spec()), image(samples, 4, 4), draw);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          ASSERT_EQ(rows[i].partner, partners[i]);
        }
      }
    }
  }
}

TEST_F(PlanOf, FlipsAndGatesAreTheWordsBelowTheirProbability) {
  Draw const draw{9, 8, 7};
  Spec spec = mixup_spec(1e6f);
  spec.probability = 0.25f;
  spec.flip = 0.75f;
  auto const rows = drawn_rows(here(), spec, image(500, 4, 4), draw);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].flip, words(draw, 7 + i, 7)[0] < 0xc0000000u ? 1u : 0u);
    ASSERT_EQ(rows[i].label != 1.0f, words(draw, 7 + i, 2)[0] < 0x40000000u);
  }
}

TEST_F(PlanOf, AWordIsBelowTheNextProbabilityButNotBelowItsOwn) {
  Draw const draw{9, 8, 7};
  struct {
    std::uint32_t purpose;
    void (*set)(Spec&, float);
    bool (*holds)(Row const&);
  } const uses[] = {
      {2, [](Spec& spec, float p) { spec.probability = p; },
       [](Row const& row) { return row.label != 1.0f; }},
      {3, [](Spec& spec, float p) { spec.policies[0].probability = p; },
       [](Row const& row) { return row.label != 1.0f; }},
      {7, [](Spec& spec, float p) { spec.flip = p; }, [](Row const& row) { return row.flip == 1; }},
  };
  for (auto const& use : uses) {
    std::uint64_t at = 0;  // a sample whose word is a float's share of 2^32
    while (words(draw, 7 + at, use.purpose)[0] % 256 != 0) ++at;
    ASSERT_LT(at, 1000u);
    float const own = static_cast<float>(words(draw, 7 + at, use.purpose)[0]) * 0x1p-32f;
    for (float const probability : {own, std::nextafter(own, 1.0f)}) {
      Spec spec = mixup_spec(1e6f);
      use.set(spec, probability);
      for (auto const& [pairing, samples] :
           {std::pair{Pairing::roll, 1000}, {Pairing::cycle, 1000}, {Pairing::cycle, 4100}}) {
        auto const rows = drawn_rows(here(), with(pairing, spec), image(samples, 4, 4), draw);
        EXPECT_EQ(use.holds(rows[at]), probability > own) << use.purpose << ", of " << samples;
      }
    }
  }
}

TEST_F(PlanOf, LargeStepsAndIndexesDoNotWrap) {
  std::set<std::pair<float, float>> weights;
  std::size_t drawn = 0;
  std::uint64_t const edges[] = {0,           1,          0xffffffff,      0x100000000,
                                 0x100000001, 1ULL << 47, (1ULL << 48) - 2};
  for (std::uint64_t const step : edges) {
    for (std::uint64_t const first : edges) {
      for (std::uint64_t const seed :
           {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        auto const rows = drawn_rows(here(), mixup_spec(), image(1, 4, 4), {seed, step, first});
        auto const next = drawn_rows(here(), mixup_spec(), image(1, 4, 4), {seed, step, first + 1});
        weights.insert({rows[0].label, next[0].label});
        ++drawn;
      }
    }
  }
  EXPECT_EQ(weights.size(), drawn);
}

TEST_F(PlanOf, ARowIsThatOfItsGlobalIndexWhereverTheBatchBegins) {
  auto const whole = drawn_rows(here(), mixup_spec(), image(64, 4, 4), {1, 2, 100});
  auto const part = drawn_rows(here(), mixup_spec(), image(10, 4, 4), {1, 2, 130});
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(part[i].label, whole[30 + i].label);
}

TEST_F(PlanOf, WhatTheBatchDrawsIsDrawnOnceAGroup) {
  for (std::int64_t const group : {0, 8}) {
    Spec spec = in_groups_of(group, with(Granularity::batch, cutmix_spec()));
    spec.policies.push_back(mixup_spec().policies[0]);
    spec.policies[0].probability = spec.policies[1].probability = 0.5f;
    std::set<float> labels;
    for (std::uint64_t step = 0; step < 20; ++step) {
      Draw const draw{2, step, 5};  // the first group is there only in part
      auto const rows = drawn_rows(here(), spec, image(20, 16, 16), draw);
      for (auto const& [start, end] : groups_of(spec, draw, 20)) {
        Row expected = rows[static_cast<std::size_t>(start)];
        labels.insert(expected.label);
        for (auto i = static_cast<std::size_t>(start); i < static_cast<std::size_t>(end); ++i) {
          expected.partner = rows[i].partner;
          ASSERT_EQ(rows[i], expected);
        }
      }
      if (group == 0) continue;
      auto const whole = drawn_rows(here(), spec, image(8, 16, 16), {2, step, 0});
      ASSERT_EQ(whole[6].label, rows[1].label) << "a group is drawn at its start";
    }
    EXPECT_GT(labels.size(), group == 0 ? 15u : 60u);
  }
}

TEST_F(PlanOf, WhatAPairDrawsIsDrawnAtItsSmallerIndex) {
  for (Pairing const pairing : {Pairing::reverse, Pairing::pairs}) {
    Spec spec = with(pairing, cutmix_spec());
    auto const each = drawn_rows(here(), spec, image(31, 16, 16), {2, 3, 5});
    auto const paired =
        drawn_rows(here(), with(Granularity::pair, spec), image(31, 16, 16), {2, 3, 5});
    for (std::size_t i = 0; i < 31; ++i) {
      auto const smaller =
          static_cast<std::size_t>(std::min(each[i].partner, static_cast<std::int32_t>(i)));
      Row expected = each[smaller];
      expected.partner = each[i].partner;
      EXPECT_EQ(paired[i], expected);
    }
  }
}

TEST_F(PlanOf, FoldingChoosesTheSideOfTheDrawnWeight) {
  Extents const extents = image(200, 16, 16);
  Draw const draw{4, 5, 6};
  for (Spec const& spec : {mixup_spec(0.7f), cutmix_spec(inside)}) {
    auto const none = drawn_rows(here(), spec, extents, draw);
    auto const own = drawn_rows(here(), folded(Fold::own, spec), extents, draw);
    auto const partner = drawn_rows(here(), folded(Fold::partner, spec), extents, draw);
    int changed = 0;
    for (std::size_t i = 0; i < none.size(); ++i) {
      ASSERT_TRUE(none[i] == own[i] || none[i] == partner[i]);
      ASSERT_GE(own[i].label, 0.5f);
      // A box may be smaller than its nominal half by what its sides round down.
      ASSERT_LE(partner[i].label, own[i].inside == 0 ? 0.6f : 0.5f);
      changed += none[i] == own[i];
    }
    EXPECT_GT(changed, 60);
    EXPECT_LT(changed, 140);
  }
}

TEST_F(PlanOf, AnUnmixedRowKeepsItsPartnerAndHasWeightsOfOne) {
  Draw const draw{4, 5, 6};
  auto const mixed = drawn_rows(here(), mixup_spec(), image(50, 8, 8), draw);
  Spec gated = mixup_spec();
  gated.probability = 0;
  Spec unlikely = mixup_spec();
  unlikely.policies[0].probability = 0;
  for (Spec const& spec : {gated, unlikely, mixup_spec(0), cutmix_spec(paper, 0), Spec{}}) {
    auto const rows = drawn_rows(here(), spec, image(50, 8, 8), draw);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      ASSERT_EQ(rows[i], (Row{mixed[i].partner, 1, 1, 1, 0, {}}));
    }
  }
}

TEST_F(PlanOf, ASwitchedOffPolicyKeepsItsProbability) {
  Spec spec = cutmix_spec(paper, 0);
  spec.policies[0].probability = 0.5f;
  spec.policies.push_back({Mixup{}, 0.5f});
  auto const rows = drawn_rows(here(), spec, image(400, 8, 8), {1, 1, 1});
  auto const copies =
      std::count_if(rows.begin(), rows.end(), [](Row const& row) { return row.label == 1; });
  EXPECT_NEAR(static_cast<double>(copies), 200, 50);
}

TEST_F(PlanOf, ARowThatMeetsItselfKeepsItsDrawnWeights) {
  Spec const spec = in_groups_of(1, mixup_spec());
  for (Row const& row : drawn_rows(here(), spec, image(20, 4, 4), {})) EXPECT_LT(row.label, 1.0f);
}

TEST_F(PlanOf, ProbabilityIsTheShareOfMixedSamples) {
  std::int64_t const samples = small() ? 20000 : 1000000;
  for (float const probability : {0.0f, 0.5f, 1.0f}) {
    Spec spec = with(Pairing::roll, mixup_spec(1e6f));  // never 1
    spec.probability = probability;
    auto const rows = drawn_rows(here(), spec, image(samples, 1, 1), {17, 1, 0});
    auto const mixed =
        std::count_if(rows.begin(), rows.end(), [](Row const& row) { return row.label != 1.0f; });
    double const expected = static_cast<double>(probability) * static_cast<double>(samples);
    double const sigma = std::sqrt(expected * (1.0 - static_cast<double>(probability)));
    EXPECT_NEAR(static_cast<double>(mixed), expected, 5 * sigma);
  }
}

TEST_F(PlanOf, BoxesReachFromNothingToTheWholeImage) {
  // Beta(1e6, 1e-6) is 1 and Beta(1e-6, 1e6) is 0.
  for (Extents extents : {image(20, 8, 8), image(20, 7, 7), Extents{20, 1, {9, 0, 0}, false},
                          Extents{20, 3, {5, 5, 5}, true}}) {
    for (Boxes const& boxes : {paper, inside, uniform}) {
      Spec spec;
      spec.policies = {{CutMix{{1e6f, 1e-6f}, Fold::none, boxes}, 1.0f}};
      for (Row const& row : drawn_rows(here(), spec, extents, {1, 1, 1})) {
        EXPECT_EQ(row, (Row{row.partner, 1, 0, 1, 0, {}}));
      }
      spec.policies = {{CutMix{{1e-6f, 1e6f}, Fold::none, boxes}, 1.0f}};
      for (Row const& row : drawn_rows(here(), spec, extents, {1, 1, 1})) {
        if (boxes.kind != Boxes::Kind::inside) continue;
        EXPECT_EQ(pixels_in(row.box, extents.axes), pixels_of(extents));
        EXPECT_EQ(row.label, 0.0f);
      }
    }
    Boxes const whole{Boxes::Kind::min_max, 1, 1}, none{Boxes::Kind::min_max, 0, 0};
    for (Row const& row : drawn_rows(here(), cutmix_spec(whole), extents, {})) {
      EXPECT_EQ(row.label, 0.0f);
    }
    for (Row const& row : drawn_rows(here(), cutmix_spec(none), extents, {})) {
      EXPECT_EQ(row, (Row{row.partner, 1, 0, 1, 0, {}}));
    }
  }
}

TEST_F(PlanOf, AnImageWithoutPixelsIsAllItsOwn) {
  for (Extents extents : {image(0, 0, 8), {0, 1, {0, 0, 0}, false}, {0, 3, {4, 0, 5}, true}}) {
    for (auto const& [pairing, samples] :
         {std::pair{Pairing::roll, 20}, {Pairing::cycle, 20}, {Pairing::cycle, 4100}}) {
      extents.samples = samples;
      for (Boxes const& boxes : {inside, paper, uniform, min_max}) {
        if (samples > 20 && boxes.kind != Boxes::Kind::inside) continue;
        for (Row const& row :
             drawn_rows(here(), with(pairing, cutmix_spec(boxes)), extents, {1, 1, 1})) {
          ASSERT_EQ(row, (Row{row.partner, 1, 0, 1, 0, {}}));
        }
      }
    }
  }
}

TEST_F(PlanOf, AStepIsTheSameWhetherReachedOrResumed) {
  Place const place = here();
  Plan plan(40, place.device, place.queue);
  for (std::uint64_t step = 995; step <= 1000; ++step) {
    plan_into(plan, switching(), image(40, 8, 8), Draw{6, step, 0}, place.queue);
  }
  EXPECT_EQ(read_rows(plan, place.queue),
            drawn_rows(place, switching(), image(40, 8, 8), {6, 1000, 0}));
}

TEST_F(PlanOf, RowsMadeByHandAreReadBackAndPrinted) {
  Random random(71);
  auto const rows = random_rows(image(17, 9, 8), random, Partners::any);
  Plan const plan = make_plan(here(), rows, image(17, 9, 8), {});
  EXPECT_EQ(read_rows(plan, here().queue), rows);
  std::ostringstream text;
  text << Row{3, 0.1f, 1.0f / 3.0f, 0.7f, 1, {{1, 2}, {3, 4}}};
  for (char const* const part : {"3", "0.100000001", "0.333333343", "0.699999988"}) {
    EXPECT_NE(text.str().find(part), std::string::npos) << text.str();
  }
  EXPECT_EQ(text.str().find('\n'), std::string::npos);
}

TEST_F(PlanOf, RowsThatDifferInAnyFieldDiffer) {
  Row const row{3, 0.1f, 0.2f, 0.7f, 1, {{1, 2, 3}, {3, 4, 5}}};
  std::vector<Row> others(11, row);
  others[0].partner = 4;
  others[1].outside = 0.2f;
  others[2].inside = 0.3f;
  others[3].label = 0.4f;
  others[4].flip = 0;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    others[5 + axis].box.lo[axis] = 0;
    others[8 + axis].box.hi[axis] = 9;
  }
  for (Row const& other : others) EXPECT_TRUE(other != row && !(other == row));
  EXPECT_TRUE(row == Row(row));
}

TEST_F(PlanOf, APlanServesAnyBatchUpToItsCapacity) {
  Place const place = here();
  Plan plan(33, place.device, place.queue);
  EXPECT_EQ(plan.capacity(), 33);
  EXPECT_EQ(plan.device(), place.device);
  EXPECT_EQ(plan.extents().samples, 0);
  EXPECT_TRUE(read_rows(plan, place.queue).empty());
  for (std::int64_t const samples : {33, 5, 0, 32, 1}) {
    plan_into(plan, switching(), image(samples, 4, 5), Draw{1, 1, 1}, place.queue);
    EXPECT_EQ(plan.extents().samples, samples);
    EXPECT_EQ(plan.extents().spatial[1], 5);
    EXPECT_EQ(read_rows(plan, place.queue),
              drawn_rows(place, switching(), image(samples, 4, 5), {1, 1, 1}));
  }
  EXPECT_THROW(plan_into(plan, switching(), image(34, 4, 5), Draw{1, 1, 1}, place.queue),
               invalid_argument);
  EXPECT_EQ(plan.extents().samples, 1);
}

TEST_F(PlanOf, APlanCanLiveInTheCallersMemory) {
  Place const place = here();
  for (std::int64_t const samples : {0, 1, 100, 5000}) {
    std::size_t const size = Plan::bytes(samples, place.device);
    Buffer const memory(place, size);
    {
      Plan plan(samples, place.device, memory.data(), size, place.queue);
      EXPECT_FALSE(error_of(plan, place));
      plan_into(plan, switching(), image(samples, 4, 5), Draw{1, 1, 1}, place.queue);
      EXPECT_EQ(read_rows(plan, place.queue),
                drawn_rows(place, switching(), image(samples, 4, 5), {1, 1, 1}));
      auto const* const base = static_cast<std::byte const*>(memory.data());
      auto const* const rows = reinterpret_cast<std::byte const*>(plan.rows());
      EXPECT_TRUE(rows >= base &&
                  rows + static_cast<std::size_t>(samples) * sizeof(Row) <= base + size);
    }
    (void)memory.read();  // the guards
    if (samples == 0) continue;
    EXPECT_THROW(Plan(samples, place.device, memory.data(), size - 1, place.queue),
                 invalid_argument);
    EXPECT_THROW(
        Plan(samples, place.device, static_cast<std::byte*>(memory.data()) + 8, size, place.queue),
        invalid_argument);
    EXPECT_THROW(Plan(samples, place.device, nullptr, size, place.queue), invalid_argument);
  }
}

TEST_F(PlanOf, AMovedPlanTakesItsRowsAlong) {
  Place const place = here();
  Plan first = make_plan(place, switching(), image(9, 4, 5), {1, 1, 1});
  auto const rows = read_rows(first, place.queue);
  Plan second = std::move(first);
  EXPECT_EQ(read_rows(second, place.queue), rows);
  Plan third(2, place.device, place.queue);
  third = std::move(second);
  EXPECT_EQ(read_rows(third, place.queue), rows);
  EXPECT_EQ(third.capacity(), 9);
}

TEST_F(PlanOf, GivenPartnersAreTaken) {
  Place const place = here();
  std::vector<std::int64_t> const partners{2, 2, 0, 1, 4};
  Spec spec = with(Pairing::given, mixup_spec());
  auto const drawn = drawn_rows(place, mixup_spec(), image(5, 4, 4), {1, 2, 3});
  for (DType const dtype : {DType::i32, DType::i64}) {
    for (Form const form : {Form{}, Form{1, 0, 3}}) {
      Tensor const given(place, ids(dtype, partners), form);
      Plan plan(5, place.device, place.queue);
      plan_into(plan, spec, image(5, 4, 4), Draw{1, 2, 3}, given.view(), place.queue);
      auto const rows = read_rows(plan, place.queue);
      for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(rows[i].partner, partners[i]);
        EXPECT_EQ(rows[i].label, drawn[i].label);
      }
      EXPECT_FALSE(error_of(plan, place));
    }
  }
}

TEST_F(PlanOf, AGivenPartnerOutOfRangeNeverReachesAPixel) {
  Place const place = here();
  Spec const spec = with(Pairing::given, mixup_spec());
  for (std::int64_t const bad : {std::int64_t{-1}, std::int64_t{5}, std::int64_t{1} << 32,
                                 std::numeric_limits<std::int64_t>::min()}) {
    Tensor const given(place, ids(DType::i64, {2, 2, bad, bad, 4}));
    Plan plan = make_plan(place, mixup_spec(), image(5, 4, 4), {9, 9, 9});
    auto const before = read_rows(plan, place.queue);
    if (!on_cuda()) {
      EXPECT_THROW(plan_into(plan, spec, image(5, 4, 4), Draw{1, 2, 3}, given.view(), place.queue),
                   invalid_argument);
      EXPECT_EQ(read_rows(plan, place.queue), before);
      continue;
    }
    plan_into(plan, spec, image(5, 4, 4), Draw{1, 2, 3}, given.view(), place.queue);
    auto const rows = read_rows(plan, place.queue);
    for (std::size_t i : {2u, 3u}) {
      EXPECT_EQ(rows[i], (Row{static_cast<std::int32_t>(i), 1, 1, 1, 0, {}}));
    }
    EXPECT_EQ(rows[0].partner, 2);
    ErrorWord const error = error_of(plan, place);
    EXPECT_EQ(error.code(), ErrorWord::Code::partner);
    EXPECT_EQ(error.sample(), 2);
    EXPECT_EQ(error.step(), 2u);
  }
}

TEST_F(PlanOf, ExtentsAreThoseOfTheLayout) {
  struct {
    Layout layout;
    Shape shape;
  } const pictures[] = {
      {Layout::nf, {6, 17}},
      {Layout::nct, {5, 3, 9}},
      {Layout::nchw, {5, 3, 7, 6}},
      {Layout::nhwc, {5, 7, 6, 3}},
      {Layout::ntchw, {4, 2, 3, 5, 6}},
      {Layout::ncdhw, {4, 2, 3, 5, 6}},
      {Layout::by_rank, {6, 17}},
      {Layout::by_rank, {5, 3, 9}},
      {Layout::by_rank, {5, 3, 7, 6}},
      {Layout::by_rank, {4, 2, 3, 5, 6}},
  };
  for (auto const& picture : pictures) {
    Array const array(DType::u8, picture.shape, picture.layout);
    Extents const expected = extents_of_array(array), got = extents_of(array.view());
    EXPECT_EQ(got.samples, expected.samples);
    EXPECT_EQ(got.axes, expected.axes);
    EXPECT_EQ(got.width, expected.width);
    EXPECT_TRUE(std::equal(got.spatial, got.spatial + 3, expected.spatial));
  }
}

TEST_F(PlanOf, EveryNumberOfThreadsDrawsTheSame) {
  for (Named const& named : specs()) {
    auto const one = drawn_rows(on_cpu(1), named.spec, image(300, 7, 5), {1, 2, 3});
    for (int const threads : {2, 7}) {
      ASSERT_EQ(drawn_rows(on_cpu(threads), named.spec, image(300, 7, 5), {1, 2, 3}), one) << named;
    }
  }
}

}  // namespace
}  // namespace mixfuse::test
