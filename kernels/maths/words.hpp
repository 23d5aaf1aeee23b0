// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace mixfuse::maths {

/// The 128 random bits of one generator call.
struct Words {
  std::uint32_t w[4];
};

}  // namespace mixfuse::maths
