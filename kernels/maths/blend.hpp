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
/// operand). What a NaN looks like depends on the processor.
template <class T>
MIXFUSE_HD inline T blend_raw(T weight, T own, T partner) {
  return std::fma(weight, own, std::fma(-weight, partner, partner));
}

template <class T>
MIXFUSE_HD inline T blend(T weight, T own, T partner) {
  return one_nan(blend_raw(weight, own, partner));
}

/// One affine map, of a channel.
template <class R>
struct Map {
  R scale, shift;
};

template <class R>
MIXFUSE_HD inline R mapped(R x, Map<R> map) {
  return std::fma(x, map.scale, map.shift);
}
template <class R>
MIXFUSE_HD inline R mapped(R x) {
  return x;
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
  using R = Real<In>;
  R const mixed = blend_raw(static_cast<R>(weight), widen(own), widen(partner));
  if constexpr (std::is_same_v<Out, std::uint8_t>) {
    return nearest_byte(mixed);  // which stays between its operands
  } else if constexpr (std::is_integral_v<In>) {
    return narrow<Out>(mixed);  // never a NaN
  } else {
    return narrow_to_one_nan<Out>(mixed);
  }
}

/// The same, normalised: a copy too is rounded once.
template <class Out, class In>
MIXFUSE_HD inline Out copied(In x, Map<Real<In>> map) {
  return narrow_to_one_nan<Out>(mapped(widen(x), map));
}

template <class Out, class In>
MIXFUSE_HD inline Out blended(float weight, In own, In partner, Map<Real<In>> map) {
  using R = Real<In>;
  return narrow_to_one_nan<Out>(
      mapped(blend_raw(static_cast<R>(weight), widen(own), widen(partner)), map));
}

}  // namespace mixfuse::maths
