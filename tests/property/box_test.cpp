// SPDX-License-Identifier: Apache-2.0

// Boxes against laws that are enumerated from their definition. Each seed is the first 64 bits of
// SHA-256 of its test's name, parameters apart.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <compare>
#include <cstdint>
#include <map>
#include <numeric>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "kernels/maths/row.hpp"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse {
namespace {

constexpr double significance = 1e-6;
using Kind = Boxes::Kind;

struct Image {
  int axes;
  std::int32_t length[3];
};

struct Sides {
  std::int32_t lo, hi;  // equally likely, both included
};

struct Span {
  std::int32_t lo, hi;
  friend auto operator<=>(Span const&, Span const&) = default;
};

/// Mass of each span of one axis, [0, 0) for an empty one.
using AxisLaw = std::map<Span, double>;

AxisLaw axis_law(Kind kind, Sides sides, std::int32_t length) {
  AxisLaw law;
  for (std::int32_t side = sides.lo; side <= sides.hi; ++side) {
    std::vector<Span> spans;
    std::int32_t const half = side / 2;
    if (kind == Kind::inside || kind == Kind::min_max) {
      for (std::int32_t lo = 0; lo + side <= length; ++lo) spans.push_back({lo, lo + side});
    } else {
      std::int32_t const beyond = kind == Kind::paper || half == 0 ? 0 : length;
      for (std::int32_t centre = -beyond; centre < length + beyond; ++centre) {
        Span const span{std::max(0, centre - half), std::min(length, centre + half)};
        if (half == 0 || span.lo < span.hi) spans.push_back(span);
      }
    }
    double const mass = 1.0 / (sides.hi - sides.lo + 1) / static_cast<double>(spans.size());
    for (Span const span : spans) law[span.lo == span.hi ? Span{0, 0} : span] += mass;
  }
  return law;
}

/// Largest s with s^axes <= share * length^axes; exact for short axes.
std::int32_t side_of(long double share, std::int32_t length, int axes) {
  long double const whole = share * std::pow(static_cast<long double>(length), axes);
  std::int32_t side = 0;
  while (std::pow(static_cast<long double>(side + 1), axes) <= whole) ++side;
  return side;
}

Spec spec_of(Boxes boxes) {
  Spec spec;
  spec.policies = {{CutMix{{}, Fold::none, boxes}, 1.0f}};
  spec.pairing = Pairing::roll;
  return spec;
}

Extents extents_of(Image const& image, std::int64_t samples) {
  Extents extents{samples, image.axes, {}, true};
  std::copy_n(image.length, image.axes, extents.spatial);
  return extents;
}

/// f(row) for `count` rows.
template <class F>
void for_rows(Boxes boxes, Image const& image, std::int64_t count, std::uint64_t seed, F f) {
  Queue const queue = Queue::cpu(1);
  Plan plan(count, Device::cpu(), queue);
  plan_into(plan, spec_of(boxes), extents_of(image, count), {seed, 0, 0}, queue);
  std::for_each(plan.rows(), plan.rows() + count, f);
}

struct Case {
  Kind kind;
  Image image;
  float share;          // of the partner
  Sides sides[3] = {};  // of min_max
  friend std::ostream& operator<<(std::ostream& out, Case const& c) {
    char const* const names[] = {"paper", "inside", "uniform", "min_max"};
    out << names[static_cast<int>(c.kind)];
    for (int axis = 0; axis < c.image.axes; ++axis)
      out << (axis ? 'x' : '_') << c.image.length[axis];
    return out << '_' << static_cast<int>(c.share * 100);
  }
};

constexpr Image image75{2, {7, 5, 0}}, image88{2, {8, 8, 0}}, signal{1, {9, 0, 0}},
    volume{3, {3, 4, 5}};

constexpr Case cases[] = {
    {Kind::paper, image88, 0.25f},
    {Kind::paper, image88, 0.6f},
    {Kind::paper, image75, 0.3f},
    {Kind::paper, image75, 1.0f},
    {Kind::paper, signal, 0.7f},
    {Kind::paper, volume, 0.3f},
    {Kind::inside, image88, 0.25f},
    {Kind::inside, image75, 0.3f},
    {Kind::inside, image75, 0.02f},
    {Kind::inside, signal, 0.4f},
    {Kind::inside, volume, 0.3f},
    {Kind::uniform, image88, 0.25f},
    {Kind::uniform, image75, 0.3f},
    {Kind::uniform, image75, 1.0f},
    {Kind::uniform, signal, 0.7f},
    {Kind::uniform, volume, 0.3f},
    {Kind::min_max, image88, 0.5f, {{1, 8}, {1, 8}}},
    {Kind::min_max, image75, 0.0f, {{2, 4}, {0, 3}}},
    {Kind::min_max, signal, 1.0f, {{3, 3}}},
    {Kind::min_max, volume, 0.5f, {{1, 3}, {2, 4}, {0, 2}}},
};

class BoxLaw : public testing::TestWithParam<Case> {};

TEST_P(BoxLaw, IsTheEnumeratedOneAtAFixedShare) {
  constexpr std::uint64_t draws = 1000000;
  Case const& c = GetParam();
  PlanJob job{};
  job.draw = {0x2b6a0e0deb9cba70, 5, 0};
  job.axes = c.image.axes;
  Policy policy{};
  policy.kind = Policy::Kind::cutmix;
  policy.boxes = c.kind;

  // A box's code has a decimal digit for each of its ends; an empty box has code 0.
  std::vector<double> mass(1000000);
  mass[0] = 1;
  std::set<std::size_t> codes{0};
  for (int axis = 0; axis < c.image.axes; ++axis) {
    std::int32_t const length = job.spatial[axis] = c.image.length[axis];
    std::int32_t const side = side_of(static_cast<long double>(c.share), length, c.image.axes);
    Sides const sides = c.kind == Kind::min_max ? c.sides[axis] : Sides{side, side};
    policy.side_lo[axis] = sides.lo;
    policy.side_hi[axis] = sides.hi;
    std::vector<double> next(mass.size());
    std::set<std::size_t> reached;
    for (auto const& [span, share] : axis_law(c.kind, sides, length)) {
      for (std::size_t const code : codes) {
        bool const empty = span.lo == span.hi || (axis > 0 && code == 0);
        std::size_t const to =
            empty ? 0 : code * 100 + static_cast<std::size_t>(span.lo * 10 + span.hi);
        next[to] += mass[code] * share;
        reached.insert(to);
      }
    }
    mass = next;
    codes = reached;
  }

  std::vector<std::int64_t> counts(mass.size());
  for (std::uint64_t i = 0; i < draws; ++i) {
    Box const box = maths::draw_box(job, policy, c.share, maths::WordsAt{job, i});
    std::size_t code = 0;
    for (int axis = 0; axis < 3; ++axis) {
      ASSERT_TRUE(0 <= box.lo[axis] && box.lo[axis] <= box.hi[axis]);
      ASSERT_LE(box.hi[axis], job.spatial[axis]) << "and 0 beyond the axes there are";
      if (axis < job.axes)
        code = code * 100 + static_cast<std::size_t>(box.lo[axis] * 10 + box.hi[axis]);
    }
    ++counts[code];
  }
  double statistic = 0;
  std::int64_t legal = 0;
  for (std::size_t const code : codes) {
    double const expected = mass[code] * static_cast<double>(draws);
    double const gap = static_cast<double>(counts[code]) - expected;
    statistic += gap * gap / expected;
    legal += counts[code];
  }
  EXPECT_EQ(legal, static_cast<std::int64_t>(draws)) << "boxes outside the law";
  if (codes.size() == 1) return;
  auto const degrees = static_cast<double>(codes.size() - 1);
  double const p =
      boost::math::cdf(boost::math::complement(boost::math::chi_squared(degrees), statistic));
  EXPECT_GE(p, significance) << "chi-square " << statistic << " with " << degrees;
  if (codes.size() >= 5) {
    EXPECT_LE(p, 1 - significance) << "too good: " << statistic;
  }
}

INSTANTIATE_TEST_SUITE_P(All, BoxLaw, testing::ValuesIn(cases), testing::PrintToStringParamName());

/// How likely each place of each axis and each pixel is pasted, with lambda uniform.
struct Coverage {
  std::vector<double> place[3];
  std::vector<double> pixel;  // C order
};

std::size_t pixels_of(Image const& image) {
  return static_cast<std::size_t>(std::accumulate(image.length, image.length + image.axes,
                                                  std::int64_t{1}, std::multiplies<>()));
}

/// f(pixel, place on each axis) for each pixel of the box.
template <class F>
void for_pixels(Image const& image, Box box, F f) {
  for (int axis = image.axes; axis < 3; ++axis) box.hi[axis] = 1;
  std::int32_t at[3];
  for (at[0] = box.lo[0]; at[0] < box.hi[0]; ++at[0]) {
    for (at[1] = box.lo[1]; at[1] < box.hi[1]; ++at[1]) {
      for (at[2] = box.lo[2]; at[2] < box.hi[2]; ++at[2]) {
        std::size_t pixel = 0;
        for (int axis = 0; axis < image.axes; ++axis) {
          pixel = pixel * static_cast<std::size_t>(image.length[axis]) +
                  static_cast<std::size_t>(at[axis]);
        }
        f(pixel, at);
      }
    }
  }
}

void add_coverage(Coverage& coverage, Kind kind, Image const& image, Sides const (&sides)[3],
                  double mass) {
  std::vector<double> covered[3];
  double present[3] = {1, 1, 1};
  for (int axis = 0; axis < image.axes; ++axis) {
    covered[axis].resize(static_cast<std::size_t>(image.length[axis]));
    for (auto const& [span, share] : axis_law(kind, sides[axis], image.length[axis])) {
      if (span.lo == span.hi) present[axis] -= share;
      for (std::int32_t y = span.lo; y < span.hi; ++y) {
        covered[axis][static_cast<std::size_t>(y)] += share;
      }
    }
  }
  double const all = mass * present[0] * present[1] * present[2];
  for (int axis = 0; axis < image.axes; ++axis) {
    for (std::size_t y = 0; y < covered[axis].size() && all > 0; ++y) {
      coverage.place[axis][y] += all / present[axis] * covered[axis][y];
    }
  }
  Box whole;
  std::copy_n(image.length, image.axes, whole.hi);
  for_pixels(image, whole, [&](std::size_t pixel, std::int32_t const* at) {
    double product = mass;
    for (int axis = 0; axis < image.axes; ++axis) {
      product *= covered[axis][static_cast<std::size_t>(at[axis])];
    }
    coverage.pixel[pixel] += product;
  });
}

Coverage enumerated(Boxes boxes, Image const& image) {
  Coverage coverage;
  coverage.pixel.resize(pixels_of(image));
  std::set<double> edges{1};  // shares at which a side changes
  Sides sides[3] = {};
  for (int axis = 0; axis < image.axes; ++axis) {
    std::int32_t const length = image.length[axis];
    coverage.place[axis].resize(static_cast<std::size_t>(length));
    for (int side = 0; side < length; ++side) {
      edges.insert(std::pow(static_cast<double>(side) / length, image.axes));
    }
    sides[axis] = {static_cast<std::int32_t>(length * boxes.lo),
                   static_cast<std::int32_t>(length * boxes.hi)};
  }
  if (boxes.kind == Kind::min_max) {
    add_coverage(coverage, boxes.kind, image, sides, 1);
    return coverage;
  }
  for (auto edge = edges.begin(); std::next(edge) != edges.end(); ++edge) {
    double const lo = *edge, hi = *std::next(edge);
    for (int axis = 0; axis < image.axes; ++axis) {
      std::int32_t const side =
          side_of(static_cast<long double>((lo + hi) / 2), image.length[axis], image.axes);
      sides[axis] = {side, side};
    }
    add_coverage(coverage, boxes.kind, image, sides, hi - lo);
  }
  return coverage;
}

struct Drawn {
  Boxes boxes;
  Image image;
};

constexpr Drawn drawn[] = {
    {{Kind::paper}, image75},
    {{Kind::paper}, image88},
    {{Kind::paper}, signal},
    {{Kind::paper}, volume},
    {{Kind::inside}, image75},
    {{Kind::inside}, signal},
    {{Kind::inside}, volume},
    {{Kind::uniform}, image75},
    {{Kind::uniform}, image88},
    {{Kind::uniform}, signal},
    {{Kind::uniform}, volume},
    {{Kind::min_max, 0.0, 1.0}, image75},
    {{Kind::min_max, 0.3, 0.8}, image88},
};

void expect_share(std::int64_t count, double draws, double p, std::string const& what) {
  if (p < 1e-12 || p > 1 - 1e-12) {
    EXPECT_EQ(static_cast<double>(count), std::round(draws * p)) << what;
    return;
  }
  double const z = (static_cast<double>(count) - draws * p) / std::sqrt(draws * p * (1 - p));
  EXPECT_GE(std::erfc(std::fabs(z) / std::sqrt(2.0)), significance) << what << ": z = " << z;
}

TEST(Boxes, CoverEachPlaceAndEachPixelAsOftenAsEnumerated) {
  constexpr std::int64_t draws = 200000;
  for (Drawn const& c : drawn) {
    Coverage const expected = enumerated(c.boxes, c.image);
    std::vector<std::int64_t> pixels(expected.pixel.size()), places[3];
    for (int axis = 0; axis < 3; ++axis) places[axis].resize(expected.place[axis].size());
    for_rows(c.boxes, c.image, draws, 0x71fa202e5cc45806, [&](Row const& row) {
      for_pixels(c.image, row.box,
                 [&](std::size_t pixel, std::int32_t const*) { ++pixels[pixel]; });
      for (int axis = 0; axis < c.image.axes; ++axis) {
        for (std::int32_t y = row.box.lo[axis]; y < row.box.hi[axis]; ++y) {
          ++places[axis][static_cast<std::size_t>(y)];
        }
      }
    });
    std::string const name = testing::PrintToString(Case{c.boxes.kind, c.image, 0});
    for (std::size_t k = 0; k < pixels.size(); ++k) {
      expect_share(pixels[k], draws, expected.pixel[k], name + " pixel " + std::to_string(k));
    }
    for (int axis = 0; axis < c.image.axes; ++axis) {
      for (std::size_t y = 0; y < places[axis].size(); ++y) {
        expect_share(places[axis][y], draws, expected.place[axis][y],
                     name + " axis " + std::to_string(axis) + " place " + std::to_string(y));
      }
    }
    if (c.boxes.kind != Kind::uniform) continue;
    auto const [least, most] = std::minmax_element(expected.pixel.begin(), expected.pixel.end());
    EXPECT_NEAR(*least, *most, 1e-12) << name << ": each pixel equally often";
  }
}

TEST(Boxes, LieInTheImageAndLabelWhatTheyPaste) {
  std::vector<Drawn> all(std::begin(drawn), std::end(drawn));
  all.push_back({{Kind::paper}, {2, {7, 31, 0}}});
  all.push_back({{Kind::uniform}, {2, {224, 160, 0}}});
  all.push_back({{Kind::inside}, {2, {31, 7, 0}}});
  all.push_back({{Kind::inside}, {1, {1, 0, 0}}});
  for (Drawn const& c : all) {
    std::int64_t bad = 0, mixed = 0;
    for_rows(c.boxes, c.image, 100000, 0xf776538b8257485d, [&](Row const& row) {
      std::int64_t all_pixels = 1, pasted = 1;
      bool in_image = true, zeros = true;
      for (int axis = 0; axis < 3; ++axis) {
        std::int32_t const lo = row.box.lo[axis], hi = row.box.hi[axis];
        bool const there = axis < c.image.axes;
        in_image &= 0 <= lo && lo <= hi && hi <= (there ? c.image.length[axis] : 0);
        zeros &= lo == 0 && hi == 0;
        if (there) {
          all_pixels *= c.image.length[axis];
          pasted *= hi - lo;
        }
      }
      auto const own = static_cast<long double>(all_pixels - pasted);
      bad += !in_image || row.outside != 1.0f || row.inside != 0.0f || (pasted == 0 && !zeros) ||
             row.label != static_cast<float>(own / static_cast<long double>(all_pixels));
      mixed += pasted > 0;
    });
    EXPECT_EQ(bad, 0) << testing::PrintToString(Case{c.boxes.kind, c.image, 0});
    EXPECT_GE(mixed, c.image.length[0] > 1 ? 10000 : 0);
  }
}

TEST(Boxes, HaveTheSidesOfThePeersFormula) {
  constexpr std::uint64_t seed = 0xaac2cbeb68fc7219;
  for (std::int32_t const length : {28, 32, 64, 96, 112, 128, 160, 224, 256, 299, 384, 512}) {
    for (std::uint32_t k = 0; k < 100000; ++k) {
      maths::Words const words = maths::philox({{k, static_cast<std::uint32_t>(length), 0, 0}},
                                               static_cast<std::uint32_t>(seed), seed >> 32);
      float const share = static_cast<float>(words.w[0] >> 8) * 0x1p-24f;
      int const peers = static_cast<int>(length * std::sqrt(static_cast<double>(share)));
      ASSERT_EQ(maths::box_side(share, length, 2) / 2, peers / 2) << share << " of " << length;
    }
  }
}

TEST(Boxes, OfMinMaxHaveSidesBetweenTheFlooredBounds) {
  struct {
    std::int32_t length;
    double lo, hi;
    std::int32_t least, most;
  } constexpr bounds[] = {{10, 0.2, 0.8, 2, 8}, {7, 0.5, 0.5, 3, 3},     {7, 0.0, 1.0, 0, 7},
                          {5, 0.1, 0.39, 0, 1}, {224, 0.2, 0.3, 44, 67}, {9, 1.0, 1.0, 9, 9}};
  for (auto const& c : bounds) {
    std::set<std::int32_t> seen;
    for_rows({Kind::min_max, c.lo, c.hi}, {1, {c.length, 0, 0}}, 5000, 0xc2dea9eb21cb2bc1,
             [&](Row const& row) { seen.insert(row.box.hi[0] - row.box.lo[0]); });
    EXPECT_EQ(*seen.begin(), c.least) << c.length << " " << c.lo;
    EXPECT_EQ(*seen.rbegin(), c.most) << c.length << " " << c.hi;
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(c.most - c.least + 1));
  }
}

}  // namespace
}  // namespace mixfuse
