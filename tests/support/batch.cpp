// SPDX-License-Identifier: Apache-2.0
#include "tests/support/batch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace mixfuse::test {
namespace {

std::int64_t product(Shape const& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::size_t letter_index(char letter) { return all_letters.find(letter); }

/// Offset of each element of a view, in elements, in C order.
std::vector<std::int64_t> offsets_of(TensorView const& view) {
  std::vector<std::int64_t> offsets{0};
  for (int axis = 0; axis < view.rank; ++axis) {
    std::vector<std::int64_t> next;
    next.reserve(offsets.size() * static_cast<std::size_t>(view.shape[axis]));
    for (std::int64_t const offset : offsets) {
      for (std::int64_t i = 0; i < view.shape[axis]; ++i) {
        next.push_back(offset + i * view.stride[axis]);
      }
    }
    offsets = std::move(next);
  }
  return offsets;
}

std::size_t span_of(Shape const& shape, DType dtype, Form form) {
  std::int64_t stride = form.step;
  std::int64_t last = 0;
  for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) {
    if (*extent == 0) return 0;
    last += (*extent - 1) * stride;
    stride = stride * *extent + form.pad;
  }
  return static_cast<std::size_t>(last + 1) * size_of(dtype);
}

}  // namespace

std::string letters_of(Layout layout, std::size_t rank) {
  if (layout != Layout::by_rank) return name_of(layout);
  static std::array<char const*, 6> const names{"", "n", "nf", "nct", "nchw", "ncdhw"};
  return names.at(rank);
}

Array::Array(DType type, Shape extents, Layout axes)
    : dtype{type},
      layout{axes},
      shape{std::move(extents)},
      bytes(static_cast<std::size_t>(product(shape)) * size_of(type)) {}

std::int64_t Array::count() const { return product(shape); }

void Array::set(std::int64_t index, long double value) {
  store(dtype, bytes.data() + static_cast<std::size_t>(index) * size_of(dtype), value);
}

void Array::set_bits(std::int64_t index, std::uint64_t bits) {
  std::memcpy(bytes.data() + static_cast<std::size_t>(index) * size_of(dtype), &bits,
              size_of(dtype));
}

Place7 Array::place_of(std::int64_t index) const {
  std::string const letters = letters_of(layout, shape.size());
  Place7 place{};
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    place[letter_index(letters[axis])] = index % shape[axis];
    index /= shape[axis];
  }
  return place;
}

std::int64_t Array::index_of(Place7 const& place) const {
  std::string const letters = letters_of(layout, shape.size());
  std::int64_t index = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    index = index * shape[axis] + place[letter_index(letters[axis])];
  }
  return index;
}

TensorView Array::view() {
  return TensorView(bytes.data(), dtype, shape.data(), static_cast<int>(shape.size()),
                    Device::cpu(), layout);
}

ConstTensorView Array::view() const {
  return ConstTensorView(bytes.data(), dtype, shape.data(), static_cast<int>(shape.size()),
                         Device::cpu(), layout);
}

Array tagged(DType dtype, Shape shape, Layout layout) {
  Array array(dtype, std::move(shape), layout);
  std::string const letters = letters_of(layout, array.shape.size());
  for (std::int64_t i = 0; i < array.count(); ++i) {
    Place7 const place = array.place_of(i);
    std::int64_t tag = 0;
    for (std::size_t letter = 0; letter < all_letters.size(); ++letter) {
      auto const axis = letters.find(all_letters[letter]);
      if (axis != std::string::npos) tag = tag * array.shape[axis] + place[letter];
    }
    switch (dtype) {
      case DType::u8:
        array.set(i, static_cast<long double>((tag * 37 + 11) % 256));
        break;
      case DType::boolean:
        array.set(i, static_cast<long double>((tag * 7 + 3) % 5 % 2));
        break;
      case DType::f16:
        array.set(i, static_cast<long double>((tag + 1) % 4001 - 2000));
        break;
      case DType::bf16:
        array.set(i, static_cast<long double>((tag + 1) % 509 - 254));
        break;
      case DType::f64:
        array.set(i, static_cast<long double>(tag) - 99.75L + 0x1p-40L);
        break;
      default:
        array.set(i, static_cast<long double>(tag) - 99.75L);
        break;
    }
  }
  return array;
}

Array ids(DType dtype, std::vector<std::int64_t> const& values) {
  Array array(dtype, {static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) {
    array.set_bits(static_cast<std::int64_t>(i), static_cast<std::uint64_t>(values[i]));
  }
  return array;
}

std::vector<std::int64_t> ids_below(std::int64_t classes, std::int64_t samples) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < samples; ++i) all.push_back(i * 7 % classes);
  return all;
}

Extents extents_of_array(Array const& array) {
  std::string const letters = letters_of(array.layout, array.shape.size());
  bool const signal = letters == "nct";
  std::string const spatial = letters == "nf"      ? "f"
                              : signal             ? "t"
                              : letters == "ncdhw" ? "dhw"
                                                   : "hw";
  Extents extents;
  extents.samples = array.shape[0];
  for (char const letter : spatial) {
    extents.spatial[extents.axes++] = array.shape[letters.find(letter)];
  }
  extents.width = spatial.back() == 'w';
  return extents;
}

Extents image(std::int64_t samples, std::int64_t height, std::int64_t width) {
  return {samples, 2, {height, width, 0}, true};
}

Tensor::Tensor(Place place, DType dtype, Shape shape, Layout layout, Form form)
    : shape_{std::move(shape)},
      buffer_{place, span_of(shape_, dtype, form),
              static_cast<std::size_t>(form.offset) * size_of(dtype)} {
  view_ = TensorView(buffer_.data(), dtype, shape_.data(), static_cast<int>(shape_.size()),
                     place.device, layout);
  std::int64_t stride = form.step;
  for (int axis = view_.rank - 1; axis >= 0; --axis) {
    view_.stride[axis] = stride;
    stride = stride * view_.shape[axis] + form.pad;
  }
}

Tensor::Tensor(Place place, Array const& values, Form form)
    : Tensor(place, values.dtype, values.shape, values.layout, form) {
  write(values);
}

void Tensor::write(Array const& values) {
  Bytes image = buffer_.read();
  std::size_t const size = size_of(view_.dtype);
  std::byte const* from = values.bytes.data();
  for (std::int64_t const offset : offsets_of(view_)) {
    std::memcpy(image.data() + static_cast<std::size_t>(offset) * size, from, size);
    from += size;
  }
  buffer_.write(image);
}

Array Tensor::read() const {
  Bytes image = buffer_.read();
  Array values(view_.dtype, shape_, view_.layout);
  std::size_t const size = size_of(view_.dtype);
  std::byte* to = values.bytes.data();
  for (std::int64_t const offset : offsets_of(view_)) {
    std::byte* const from = image.data() + static_cast<std::size_t>(offset) * size;
    std::memcpy(to, from, size);
    std::fill(from, from + size, Buffer::poison);
    to += size;
  }
  EXPECT_TRUE(std::all_of(image.begin(), image.end(), [](std::byte byte) {
    return byte == Buffer::poison;
  })) << "bytes between the elements of a tensor were written";
  return values;
}

std::uint64_t Random::bits() {  // splitmix64
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::vector<Row> random_rows(Extents const& extents, Random& random, Partners partners) {
  std::vector<Row> rows(static_cast<std::size_t>(extents.samples));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    auto const here = static_cast<std::int64_t>(i);
    row.partner =
        static_cast<std::int32_t>(partners == Partners::any ? random.below(extents.samples) : here);
    if (partners == Partners::permuted) {
      std::swap(row.partner, rows[static_cast<std::size_t>(random.below(here + 1))].partner);
    }
    auto const weight = static_cast<float>(random.uniform());
    row.label = static_cast<float>(random.uniform());
    row.flip = extents.width ? static_cast<std::uint32_t>(random.below(2)) : 0;
    std::int64_t const kind = random.below(8);
    row.outside = kind == 0 ? 1.0f : kind == 1 ? 0.0f : kind < 4 ? weight : 1.0f;
    row.inside = kind < 4 ? row.outside : kind < 6 ? 0.0f : weight;
    if (kind == 7) row.outside = static_cast<float>(random.uniform());
    if (kind >= 4) {
      for (int axis = 0; axis < extents.axes; ++axis) {
        std::int64_t const length = extents.spatial[axis];
        std::int64_t const lo = random.below(length);
        row.box.lo[axis] = static_cast<std::int32_t>(lo);
        row.box.hi[axis] = static_cast<std::int32_t>(lo + random.below(length - lo + 1));
      }
    }
  }
  return rows;
}

Plan make_plan(Place place, Spec const& spec, Extents const& extents, Draw draw) {
  Plan plan(extents.samples, place.device, place.queue);
  plan_into(plan, spec, extents, draw, place.queue);
  return plan;
}

Plan make_plan(Place place, std::vector<Row> const& rows, Extents const& extents, Draw draw) {
  Plan plan(extents.samples, place.device, place.queue);
  plan_into(plan, rows.data(), extents, draw, place.queue);
  return plan;
}

std::vector<Row> drawn_rows(Place place, Spec const& spec, Extents const& extents, Draw draw) {
  return read_rows(make_plan(place, spec, extents, draw), place.queue);
}

ErrorWord error_of(Plan const& plan, Place place) {
  ErrorWord word;
  error_into(&word, plan, place.queue);
  (void)read_rows(plan, place.queue);  // waits
  return word;
}

Spec mixup_spec(float alpha) {
  Spec spec;
  spec.policies = {{Mixup{{alpha, alpha}, Fold::none}, 1.0f}};
  return spec;
}

Spec cutmix_spec(Boxes boxes, float alpha) {
  Spec spec;
  spec.policies = {{CutMix{{alpha, alpha}, Fold::none, boxes}, 1.0f}};
  return spec;
}

}  // namespace mixfuse::test
