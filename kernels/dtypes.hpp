// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/maths/pixel.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

template <class T>
struct Tag {
  using type = T;
};

template <class T>
inline constexpr DType dtype_of = DType::u8;
template <>
inline constexpr DType dtype_of<maths::F16> = DType::f16;
template <>
inline constexpr DType dtype_of<maths::Bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;

template <class... T>
struct Types {};

/// Image dtypes, and the pairs (in, out) that mixing is built for.
using ImageTypes = Types<std::uint8_t, maths::F16, maths::Bf16, float, double>;
template <class In, class Out>
struct Pair {};
using ImagePairs =
    Types<Pair<std::uint8_t, std::uint8_t>, Pair<maths::F16, maths::F16>,
          Pair<maths::Bf16, maths::Bf16>, Pair<float, float>, Pair<double, double>,
          Pair<std::uint8_t, maths::F16>, Pair<std::uint8_t, maths::Bf16>,
          Pair<std::uint8_t, float>, Pair<float, maths::F16>, Pair<float, maths::Bf16>>;

template <class F, class... T>
bool fold_types(Types<T...>, DType dtype, F&& f) {
  return ((dtype == dtype_of<T> ? (f(Tag<T>{}), true) : false) || ...);
}

template <class F, class... In, class... Out>
bool fold_pairs(Types<Pair<In, Out>...>, DType in, DType out, F&& f) {
  return ((in == dtype_of<In> && out == dtype_of<Out> ? (f(Tag<In>{}, Tag<Out>{}), true) : false) ||
          ...);
}

/// f(Tag) for an image dtype, f(Tag, Tag) for a pair; false when it is none of ours.
template <class F>
bool with_dtype(DType dtype, F&& f) {
  return fold_types(ImageTypes{}, dtype, std::forward<F>(f));
}

template <class F>
bool with_pair(DType in, DType out, F&& f) {
  return fold_pairs(ImagePairs{}, in, out, std::forward<F>(f));
}

}  // namespace mixfuse
