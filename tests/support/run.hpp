// SPDX-License-Identifier: Apache-2.0
#pragma once

// One call at a place: uploads, calls, checks that inputs, guards and padding are untouched, and
// hands back what was written.

#include <optional>
#include <vector>

#include "tests/support/batch.hpp"

namespace mixfuse::test {

struct Batch {
  Array images;
  std::optional<Array> second = std::nullopt;
};

struct Output {
  DType dtype;
  Layout layout;
  Shape shape;
  Form form;
};

inline Output same_as(Array const& images, Form form = {}) {
  return {images.dtype, images.layout, images.shape, form};
}

Array mix_at(Place place, Batch const& in, Plan& plan, Output const& out, Form form = {});
Array mix_at(Place place, Batch const& in, std::vector<Row> const& rows, Output const& out,
             Form form = {});
/// Normalised.
Array mix_at(Place place, Batch const& in, std::vector<Row> const& rows, Normalise const& normalise,
             Output const& out, Form form = {});
Array mix_in_place_at(Place place, Array const& images, std::vector<Row> const& rows,
                      Form form = {});

/// What labels became: dense, or sparse in three.
struct Labelled {
  std::vector<Array> arrays;
  ErrorWord error;

  [[nodiscard]] Array const& dense() const { return arrays.at(0); }
};

struct Labels {
  Array own;
  std::optional<Array> second = std::nullopt;
  LabelRule rule = {};
};

enum class Target { dense, sparse };

Labelled label_at(Place place, Labels const& labels, Plan& plan, Target target, DType dtype,
                  std::int64_t classes, Form form = {});
Labelled label_at(Place place, Labels const& labels, std::vector<Row> const& rows, Target target,
                  DType dtype, std::int64_t classes, Form form = {});

/// Images and targets of one step.
struct Stepped {
  Array images;
  Labelled targets;
};

Stepped step_at(Place place, Batch const& in, Labels const& labels, Plan& plan, Output const& out,
                Target target, std::int64_t classes);
Stepped step_in_place_at(Place place, Array const& images, Labels const& labels, Plan& plan,
                         Target target, std::int64_t classes);

/// The same bytes, where the same call on the CPU backend is the measure of the device under test.
void expect_same(Array const& got, Array const& expected, char const* what);
void expect_same(Labelled const& got, Labelled const& expected);

}  // namespace mixfuse::test
