// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <locale>
#include <sstream>
#include <string>

#include "mixfuse/error.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

inline constexpr std::size_t max_message = 511;

template <class... Parts>
std::string message(Parts const&... parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text.precision(9);
  (text << ... << parts);
  return text.str().substr(0, max_message);
}

/// Throws Error unless the condition holds.
template <class Error = invalid_argument, class... Parts>
void require(bool condition, Parts const&... parts) {
  if (!condition) throw Error(message(parts...));
}

}  // namespace mixfuse
