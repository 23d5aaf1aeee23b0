// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "bench/batch.hpp"
#include "bench/harness.hpp"

namespace mixfuse::bench {

/// What the flags say.
struct Setup {
  Lane const& lane;
  Effort effort;
  Size size;
  std::string match;  ///< only shapes like "256x3x224x224 u8 bf16" that contain this text

  [[nodiscard]] bool wants(std::string const& shape) const {
    return shape.find(match) != shape.npos;
  }
  [[nodiscard]] bool wants(Shape const& shape) const {
    return wants(shape.name() + ' ' + name_of(shape.in) + ' ' + name_of(shape.out));
  }
  [[nodiscard]] std::vector<Way> ways() const {
    return lane.cuda() ? std::vector{Way::graph, Way::call} : std::vector{Way::call};
  }
};

/// The library's stems, each with its contests.
void copy_bench(Setup const& setup, Report& report);
void plan_bench(Setup const& setup, Report& report);
void mix_bench(Setup const& setup, Report& report);
void label_bench(Setup const& setup, Report& report);

/// One step after the other for a profiler that counts bytes: mixfuse twice, the formula in one
/// loop once. Nothing is timed. False where no shape is wanted.
[[nodiscard]] bool profile_mix(Setup const& setup);

}  // namespace mixfuse::bench
