// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "bench/formula.hpp"
#include "kernels/dtypes.hpp"
#include "mixfuse/error.hpp"

namespace mixfuse::bench {

/// run(Tag<In>, Tag<Out>) for the pairs that the formula is for.
template <class Run>
void with_formula(Formula const& f, Run const& run) {
  bool const known = with_pair(f.in, f.out, [&](auto in, auto out) {
    using In = typename decltype(in)::type;
    using Out = typename decltype(out)::type;
    if constexpr (!std::is_same_v<Out, double>) {
      if constexpr (std::is_same_v<In, Out>) {
        if (!f.normalises()) return run(in, out);
      } else if constexpr (std::is_same_v<In, std::uint8_t>) {
        if (f.normalises()) return run(in, out);
      }
    }
    throw unsupported("the formula is for one dtype, or for u8 normalised to floats");
  });
  if (!known) throw unsupported("the formula is for image dtypes");
}

}  // namespace mixfuse::bench
