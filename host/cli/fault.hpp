// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace mixfuse::cli {

/// The call is wrong: status 2. The text names the flag.
class bad_call : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The run failed: status 1. The text names the file.
class failed_run : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The parts in a row, as a stream would print them.
template <class... Parts>
[[nodiscard]] std::string text(Parts const&... parts) {
  std::ostringstream line;
  (line << ... << parts);
  return line.str();
}

}  // namespace mixfuse::cli
