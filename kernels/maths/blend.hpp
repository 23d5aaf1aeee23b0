// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/pixel.hpp"

namespace mixfuse::maths {

/// weight * own + (1 - weight) * partner, 0 < weight < 1: of all two-operation forms the one that
/// stays between its operands, gives mix(a, a) = a and never overflows (within 1 ulp of the larger
/// operand).
template <class T>
MIXFUSE_HD inline T blend_finite(T weight, T own, T partner) {
  return std::fma(weight, own, std::fma(-weight, partner, partner));
}

template <class T>
MIXFUSE_HD inline T blend(T weight, T own, T partner) {
  return one_nan(blend_finite(weight, own, partner));
}

/// Elements as they lie in memory, blended in R; integers cannot make a NaN.
template <class In>
MIXFUSE_HD inline Real<In> blend_of(float weight, In own, In partner) {
  auto const w = static_cast<Real<In>>(weight);
  if constexpr (std::is_integral_v<In>) return blend_finite(w, widen(own), widen(partner));
  return blend(w, widen(own), widen(partner));
}

/// One affine map, of a channel.
template <class R>
struct Map {
  R scale, shift;
};

template <class R>
MIXFUSE_HD inline R mapped(Map<R> map, R x) {
  return one_nan(std::fma(x, map.scale, map.shift));
}

/// An output element of own and partner as they lie in memory. Weights 1 and 0 copy.
template <class Out, class In>
MIXFUSE_HD inline Out copied(In x) {
  if constexpr (std::is_same_v<In, Out>) {
    return x;
  } else {
    return narrow<Out>(widen(x));
  }
}

template <class Out, class In>
MIXFUSE_HD inline Out blended(float weight, In own, In partner) {
  return narrow<Out>(blend_of(weight, own, partner));
}

/// The same, normalised: a copy too is rounded once.
template <class Out, class In>
MIXFUSE_HD inline Out copied(In x, Map<Real<In>> map) {
  return narrow<Out>(mapped(map, widen(x)));
}

template <class Out, class In>
MIXFUSE_HD inline Out blended(float weight, In own, In partner, Map<Real<In>> map) {
  return narrow<Out>(mapped(map, blend_of(weight, own, partner)));
}

}  // namespace mixfuse::maths
