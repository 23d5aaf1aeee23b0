// SPDX-License-Identifier: Apache-2.0
#pragma once

// What design.md says a mixed batch is, written slowly and without the library's maths.

#include <vector>

#include "tests/support/batch.hpp"

namespace mixfuse::test {

/// `out` is the batch that `rows` make of `own`, with partners from it or from `second`: the bits
/// that the promised formula gives, and within tolerance of the exact value.
void expect_mixed(Array const& out, Array const& own, Array const* second,
                  std::vector<Row> const& rows);

/// The same, normalised: within tolerance of the exact value, since its constants are rounded.
void expect_normalised(Array const& out, Array const& own, Array const* second,
                       std::vector<Row> const& rows, Normalise const& normalise);

/// Dense targets of class ids or rows, exact.
std::vector<long double> exact_targets(Array const& labels, Array const* second,
                                       std::vector<Row> const& rows, std::int64_t classes,
                                       LabelRule const& rule);

/// `out` (B, K) holds the exact targets, within tolerance.
void expect_targets(Array const& out, Array const& labels, Array const* second,
                    std::vector<Row> const& rows, LabelRule const& rule);

/// Every row is one that a sample of that batch may have: partner in range, weights in [0, 1], box
/// in the image, label weight as the pixels say.
void expect_legal(std::vector<Row> const& rows, Extents const& extents);

std::int64_t pixels_of(Extents const& extents);
std::int64_t pixels_in(Box const& box, int axes);
/// own / all, rounded once to f32.
float rounded_share(std::int64_t own, std::int64_t all);
bool is_permutation(std::vector<Row> const& rows);

}  // namespace mixfuse::test
