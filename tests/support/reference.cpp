// SPDX-License-Identifier: Apache-2.0
#include "tests/support/reference.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tolerance.hpp"

namespace mixfuse::test {
namespace {

// Positions of letters in Place7.
enum Letter : std::size_t { n, c, t, d, f, h, w };

std::vector<Letter> spatial_letters(std::size_t rank, Layout layout) {
  std::string const letters = letters_of(layout, rank);
  if (letters == "nf") return {f};
  if (letters == "nct") return {t};
  if (letters == "ncdhw") return {d, h, w};
  return {h, w};
}

bool inside(Box const& box, Place7 const& place, std::vector<Letter> const& spatial) {
  for (std::size_t axis = 0; axis < spatial.size(); ++axis) {
    std::int64_t const x = place[spatial[axis]];
    if (x < box.lo[axis] || x >= box.hi[axis]) return false;
  }
  return true;
}

/// The promised formula: f32, f64 for f64.
long double promised(DType in, float weight, long double own, long double partner) {
  if (in == DType::f64) {
    auto const l = static_cast<double>(weight);
    auto const b = static_cast<double>(partner);
    return std::fma(l, static_cast<double>(own), std::fma(-l, b, b));
  }
  auto const b = static_cast<float>(partner);
  return std::fma(weight, static_cast<float>(own), std::fma(-weight, b, b));
}

std::uint64_t stored(DType out, long double value) {
  if (is_float(out)) return encode(value, format_of(out));
  return static_cast<std::uint64_t>(std::min(std::max(std::nearbyint(value), 0.0L), 255.0L));
}

bool is_quiet_nan(DType dtype, std::uint64_t bits) {
  return is_float(dtype) && std::isnan(decode(bits, format_of(dtype)));
}

/// One pixel; empty when it is right.
std::string wrong_pixel(Array const& out, std::int64_t index, Array const& from, std::int64_t own,
                        std::int64_t partner, Array const& second, float weight) {
  long double const a = from.get(own);
  long double const b = second.get(partner);
  std::uint64_t const got = out.bits(index);
  auto const text = [&](std::uint64_t expected) {
    return "is " + std::to_string(static_cast<double>(out.get(index))) + " of own " +
           std::to_string(static_cast<double>(a)) + ", partner " +
           std::to_string(static_cast<double>(b)) + ", weight " + std::to_string(weight) +
           ", bits " + std::to_string(got) + " instead of " + std::to_string(expected);
  };
  if (weight == 1.0f || weight == 0.0f) {
    Array const& source = weight == 1.0f ? from : second;
    std::int64_t const taken = weight == 1.0f ? own : partner;
    if (out.dtype == source.dtype) {
      return got == source.bits(taken) ? "" : text(source.bits(taken));
    }
    long double const value = source.get(taken);
    if (std::isnan(value) && is_quiet_nan(out.dtype, got)) return "";
    return got == stored(out.dtype, value) ? "" : text(stored(out.dtype, value));
  }
  long double const formula = promised(from.dtype, weight, a, b);
  if (std::isnan(formula)) return is_quiet_nan(out.dtype, got) ? "" : text(got);
  if (got != stored(out.dtype, formula)) return text(stored(out.dtype, formula));
  long double const exact =
      static_cast<long double>(weight) * a + (1.0L - static_cast<long double>(weight)) * b;
  if (!std::isfinite(exact) || !std::isfinite(out.get(index))) return "";
  if (std::fabs(out.get(index) - exact) > blend_tolerance(out.dtype, a, b)) return text(got);
  return "";
}

}  // namespace

namespace {

/// Calls check(element, place, row, own element, partner's element, weight) until it says what is
/// wrong.
template <class Check>
void expect_each(Array const& out, Array const& own, Array const* second,
                 std::vector<Row> const& rows, Check const& check) {
  std::vector<Letter> const spatial = spatial_letters(own.shape.size(), own.layout);
  Array const& partners = second == nullptr ? own : *second;
  std::int64_t const width =
      extents_of_array(own).width
          ? [&] { return own.shape[letters_of(own.layout, own.shape.size()).find('w')]; }()
          : 0;
  for (std::int64_t i = 0; i < out.count(); ++i) {
    Place7 const place = out.place_of(i);
    Row const& row = rows[static_cast<std::size_t>(place[n])];
    Place7 from = place;
    if (row.flip != 0) from[w] = width - 1 - place[w];
    Place7 other = place;
    other[n] = row.partner;
    if (second == nullptr && rows[static_cast<std::size_t>(row.partner)].flip != 0) {
      other[w] = width - 1 - place[w];
    }
    float weight = inside(row.box, place, spatial) ? row.inside : row.outside;
    if (second == nullptr && row.partner == place[n]) weight = 1.0f;
    std::string const wrong = check(i, place, own.index_of(from), partners.index_of(other), weight);
    if (!wrong.empty()) {
      ADD_FAILURE() << "element " << i << " of sample " << place[n] << " " << wrong << "; row "
                    << row;
      return;
    }
  }
}

}  // namespace

void expect_mixed(Array const& out, Array const& own, Array const* second,
                  std::vector<Row> const& rows) {
  Array const& partners = second == nullptr ? own : *second;
  expect_each(
      out, own, second, rows,
      [&](std::int64_t i, Place7 const&, std::int64_t from, std::int64_t other, float weight) {
        return wrong_pixel(out, i, own, from, other, partners, weight);
      });
}

void expect_normalised(Array const& out, Array const& own, Array const* second,
                       std::vector<Row> const& rows, Normalise const& normalise) {
  Array const& partners = second == nullptr ? own : *second;
  DType const computed = own.dtype == DType::f64 ? DType::f64 : DType::f32;
  long double const full_scale = own.dtype == DType::u8 ? 255 : 1;
  expect_each(out, own, second, rows,
              [&](std::int64_t i, Place7 const& place, std::int64_t from, std::int64_t other,
                  float weight) -> std::string {
                auto const channel = normalise.channels == 1 ? 0 : place[c];
                auto const mean = static_cast<long double>(normalise.mean[channel]);
                auto const deviation = static_cast<long double>(normalise.std[channel]);
                auto const share = static_cast<long double>(weight);
                long double const a = share == 0 ? 0 : own.get(from);  // not even read
                long double const b = share == 1 ? 0 : partners.get(other);
                long double const scale = 1 / (full_scale * deviation), shift = -mean / deviation;
                long double const exact = (share * a + (1 - share) * b) * scale + shift;
                // Blend, scale, shift and their sum are rounded, then the store.
                long double const larger =
                    std::max(std::fabs(a), std::fabs(b)) * scale + std::fabs(shift);
                long double const tolerance =
                    2 * ulp(computed, larger) +
                    (out.dtype == computed ? 0 : (0.5L + 0x1p-10L) * ulp(out.dtype, exact));
                if (std::fabs(out.get(i) - exact) <= tolerance) return "";
                return "is " + std::to_string(out.get(i)) + " instead of " + std::to_string(exact) +
                       " of own " + std::to_string(a) + ", partner " + std::to_string(b) +
                       ", weight " + std::to_string(weight);
              });
}

std::vector<long double> exact_targets(Array const& labels, Array const* second,
                                       std::vector<Row> const& rows, std::int64_t classes,
                                       LabelRule const& rule) {
  bool const have_ids = labels.shape.size() == 1;
  auto const s = static_cast<long double>(rule.smoothing);
  auto const value = [&](Array const& of, std::int64_t sample, std::int64_t k) -> long double {
    if (!have_ids) return of.get(sample * classes + k);
    auto const id = static_cast<std::int64_t>(of.get(sample));
    if (rule.ignored.has_value() && id == *rule.ignored) return 0;
    if (id < 0 || id >= classes) return 0;
    long double const off = s / static_cast<long double>(classes);
    return k == id ? 1 - s + off : off;
  };
  std::vector<long double> targets;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const own = static_cast<std::int64_t>(i);
    bool const alone = second == nullptr && rows[i].partner == own;
    auto const weight = alone ? 1.0L : static_cast<long double>(rows[i].label);
    for (std::int64_t k = 0; k < classes; ++k) {
      long double target = 0;  // the other side is not even read at 0 and 1
      if (weight != 0) target += weight * value(labels, own, k);
      if (weight != 1) {
        target += (1 - weight) * value(second == nullptr ? labels : *second, rows[i].partner, k);
      }
      targets.push_back(target);
    }
  }
  return targets;
}

void expect_targets(Array const& out, Array const& labels, Array const* second,
                    std::vector<Row> const& rows, LabelRule const& rule) {
  std::int64_t const classes = out.shape[1];
  std::vector<long double> const exact = exact_targets(labels, second, rows, classes, rule);
  bool const have_ids = labels.shape.size() == 1;
  for (std::int64_t i = 0; i < out.count(); ++i) {
    std::int64_t const sample = i / classes;
    Row const& row = rows[static_cast<std::size_t>(sample)];
    long double const expected = exact[static_cast<std::size_t>(i)];
    long double tolerance = target_tolerance(out.dtype, expected);
    if (!have_ids) {
      std::int64_t const k = i % classes;
      Array const& others = second == nullptr ? labels : *second;
      tolerance = blend_tolerance(out.dtype, labels.get(sample * classes + k),
                                  others.get(row.partner * classes + k));
    }
    ASSERT_LE(std::fabs(out.get(i) - expected), tolerance)
        << "target " << i % classes << " of sample " << sample << " is " << out.get(i)
        << " instead of " << expected << "; row " << row;
  }
}

std::int64_t pixels_of(Extents const& extents) {
  std::int64_t pixels = 1;
  for (int axis = 0; axis < extents.axes; ++axis) pixels *= extents.spatial[axis];
  return pixels;
}

std::int64_t pixels_in(Box const& box, int axes) {
  std::int64_t pixels = 1;
  for (int axis = 0; axis < axes; ++axis) pixels *= box.hi[axis] - box.lo[axis];
  return pixels;
}

float rounded_share(std::int64_t own, std::int64_t all) {
  // 64 bits of quotient are enough for every case in which 24 are asked for and all < 2^32.
  return static_cast<float>(static_cast<long double>(own) / static_cast<long double>(all));
}

bool is_permutation(std::vector<Row> const& rows) {
  std::vector<bool> seen(rows.size());
  for (Row const& row : rows) {
    auto const partner = static_cast<std::size_t>(row.partner);
    if (row.partner < 0 || partner >= rows.size() || seen[partner]) return false;
    seen[partner] = true;
  }
  return true;
}

void expect_legal(std::vector<Row> const& rows, Extents const& extents) {
  auto const share = [](float weight) { return weight >= 0.0f && weight <= 1.0f; };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row const& row = rows[i];
    bool legal = row.partner >= 0 && row.partner < extents.samples && share(row.outside) &&
                 share(row.inside) && share(row.label) && row.flip <= 1;
    bool empty = false;
    for (int axis = 0; axis < 3; ++axis) {
      bool const spatial = axis < extents.axes;
      legal = legal && row.box.lo[axis] >= 0 && row.box.lo[axis] <= row.box.hi[axis] &&
              row.box.hi[axis] <= (spatial ? extents.spatial[axis] : 0);
      empty = empty || (spatial && row.box.lo[axis] == row.box.hi[axis]);
    }
    if (empty) {
      legal = legal && row.box.lo[0] + row.box.hi[0] + row.box.lo[1] + row.box.hi[1] +
                               row.box.lo[2] + row.box.hi[2] ==
                           0;
    }
    // Where a drawn box pastes the partner, the label counts its pixels.
    if (row.outside == 1.0f && row.inside == 0.0f) {
      std::int64_t const all = pixels_of(extents);
      legal = legal && row.label == rounded_share(all - pixels_in(row.box, extents.axes), all);
    } else {
      legal = legal && row.label == row.outside;
    }
    ASSERT_TRUE(legal) << "row " << i << ": " << row;
  }
}

}  // namespace mixfuse::test
