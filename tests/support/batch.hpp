// SPDX-License-Identifier: Apache-2.0
#pragma once

// Batches whose pixels hold their sample, channel, y and x, in any dtype, layout and memory layout.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "mixfuse/mixfuse.hpp"
#include "tests/support/device.hpp"
#include "tests/support/number.hpp"

namespace mixfuse::test {

using Shape = std::vector<std::int64_t>;

/// A letter for each axis: "nchw".
std::string letters_of(Layout layout, std::size_t rank);

/// Coordinates by letter, in the order n c t d f h w.
using Place7 = std::array<std::int64_t, 7>;
inline constexpr std::string_view all_letters = "nctdfhw";

/// Values in host memory, in C order.
struct Array {
  DType dtype = DType::f32;
  Layout layout = Layout::by_rank;
  Shape shape;
  Bytes bytes;

  Array() = default;
  Array(DType type, Shape extents, Layout axes = Layout::by_rank);

  [[nodiscard]] std::int64_t count() const;
  [[nodiscard]] std::byte const* at(std::int64_t index) const {
    return bytes.data() + static_cast<std::size_t>(index) * size_of(dtype);
  }
  [[nodiscard]] std::uint64_t bits(std::int64_t index) const { return bits_at(dtype, at(index)); }
  [[nodiscard]] long double get(std::int64_t index) const { return load(dtype, at(index)); }
  void set(std::int64_t index, long double value);
  void set_bits(std::int64_t index, std::uint64_t bits);

  [[nodiscard]] Place7 place_of(std::int64_t index) const;
  [[nodiscard]] std::int64_t index_of(Place7 const& place) const;

  [[nodiscard]] TensorView view();
  [[nodiscard]] ConstTensorView view() const;
};

/// The same picture in every layout and dtype: each pixel's place, as far as the dtype can say.
Array tagged(DType dtype, Shape shape, Layout layout = Layout::by_rank);
/// Class ids.
Array ids(DType dtype, std::vector<std::int64_t> const& values);
/// Of `samples` samples, neighbours of different classes.
std::vector<std::int64_t> ids_below(std::int64_t classes, std::int64_t samples);

Extents extents_of_array(Array const& array);
Extents image(std::int64_t samples, std::int64_t height, std::int64_t width);

/// How a tensor lies in its buffer: elements before it, elements between rows of each axis, stride
/// of the last axis.
struct Form {
  std::int64_t offset = 0;
  std::int64_t pad = 0;
  std::int64_t step = 1;
};

/// A tensor at a place; what lies between its elements is poisoned.
class Tensor {
 public:
  Tensor(Place place, DType dtype, Shape shape, Layout layout = Layout::by_rank, Form form = {});
  Tensor(Place place, Array const& values, Form form = {});

  [[nodiscard]] TensorView view() const { return view_; }
  operator TensorView() const { return view_; }                // NOLINT
  operator Samples() const { return ConstTensorView(view_); }  // NOLINT
  void write(Array const& values);
  /// Reports a test failure where bytes that are no element were written.
  [[nodiscard]] Array read() const;
  [[nodiscard]] Bytes raw() const { return buffer_.read(); }

 private:
  TensorView view_;
  Shape shape_;
  Buffer buffer_;
};

/// Small deterministic generator, the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_{seed} {}
  std::uint64_t bits();
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(bound));
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

enum class Partners { permuted, any };

/// Rows of every kind: copies, whole partners, blends, boxes, both, empty boxes, flips.
std::vector<Row> random_rows(Extents const& extents, Random& random, Partners partners);

/// A drawn plan at a place, and its rows.
Plan make_plan(Place place, Spec const& spec, Extents const& extents, Draw draw);
Plan make_plan(Place place, std::vector<Row> const& rows, Extents const& extents, Draw draw = {});
std::vector<Row> drawn_rows(Place place, Spec const& spec, Extents const& extents, Draw draw);

/// The plan's error word, waited for.
ErrorWord error_of(Plan const& plan, Place place);

Spec mixup_spec(float alpha = 1.0f);
Spec cutmix_spec(Boxes boxes = {}, float alpha = 1.0f);

}  // namespace mixfuse::test
