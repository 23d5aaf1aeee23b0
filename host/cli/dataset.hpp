// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/cli/npy.hpp"
#include "host/cli/options.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::cli {

/// Class ids as int64 (B,), or rows (B, K).
struct Labels {
  Array values;
  std::string file;

  [[nodiscard]] bool ids() const { return values.shape.size() == 1; }
};

/// All that a call reads, in host memory. What was not asked for is absent.
struct Dataset {
  Array images;
  Layout layout = Layout::nchw;
  Extents extents;
  std::optional<Array> partners;
  std::optional<Labels> labels, partner_labels;
  std::vector<std::string> class_names;   ///< of a folder's classes
  std::vector<std::string> sample_names;  ///< of a folder's files
  std::int64_t classes = 0;               ///< K, 0 when nothing says it
};

/// Reads what the flags name and checks that it fits together.
[[nodiscard]] Dataset read_dataset(Options const& options);

}  // namespace mixfuse::cli
