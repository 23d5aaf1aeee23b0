// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "mixfuse/plan.hpp"

namespace mixfuse::cli {

/// A plan as a file keeps it. What only informs may be absent there.
struct StoredPlan {
  int stream_version = 0;
  Draw draw;
  std::vector<Row> rows;
};

/// Floats are written so that they read back to the same bits.
[[nodiscard]] std::string plan_text(StoredPlan const& plan, Extents const& batch);

/// Throws failed_run with `name`, the key and the row when anything in `input` does not fit
/// `batch`.
[[nodiscard]] StoredPlan parse_plan(std::istream& input, std::string const& name,
                                    Extents const& batch);

/// The same from a file, which a plan of `batch` samples would not make too long.
[[nodiscard]] StoredPlan read_plan(std::string const& path, Extents const& batch);

}  // namespace mixfuse::cli
