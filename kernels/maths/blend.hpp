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
/// operand). A NaN gets one bit pattern, since processors differ in which they make.
template <class T>
MIXFUSE_HD inline T blend(T weight, T own, T partner) {
  T const mixed = std::fma(weight, own, std::fma(-weight, partner, partner));
  return mixed == mixed ? mixed : static_cast<T>(float_of(0x7fc00000));
}

/// One affine map, of a channel.
template <class R>
struct Map {
  R scale, shift;
};

template <class R>
MIXFUSE_HD inline R mapped(Map<R> map, R x) {
  R const y = std::fma(x, map.scale, map.shift);
  return y == y ? y : static_cast<R>(float_of(0x7fc00000));
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
  return narrow<Out>(blend<R>(static_cast<R>(weight), widen(own), widen(partner)));
}

/// The same, normalised: a copy too is rounded once.
template <class Out, class In>
MIXFUSE_HD inline Out copied(In x, Map<Real<In>> map) {
  return narrow<Out>(mapped(map, widen(x)));
}

template <class Out, class In>
MIXFUSE_HD inline Out blended(float weight, In own, In partner, Map<Real<In>> map) {
  using R = Real<In>;
  return narrow<Out>(mapped(map, blend<R>(static_cast<R>(weight), widen(own), widen(partner))));
}

}  // namespace mixfuse::maths
