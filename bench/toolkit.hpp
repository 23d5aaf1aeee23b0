// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/formula.hpp"
#include "mixfuse/plan.hpp"

/// Mixup from the CUDA toolkit alone, as one would write it there: cuRAND's host API draws, Thrust
/// sorts, gathers, multiplies and adds, after a pass that normalises u8. f32 or bf16 comes out;
/// lambda is uniform, since cuRAND has no Beta.
namespace mixfuse::bench {

class ToolkitMixup {
 public:
  /// Loads cuRAND's library when it is made, and throws std::runtime_error where that fails, so
  /// that all else runs without it.
  ToolkitMixup(std::int64_t samples, std::uint64_t seed, CUstream_st* stream);
  ~ToolkitMixup();
  ToolkitMixup(ToolkitMixup const&) = delete;
  ToolkitMixup& operator=(ToolkitMixup const&) = delete;

  void plan();
  /// The formula's images, by what plan() drew. Throws unsupported for other dtypes.
  void mix(Formula const& formula);
  /// What was drawn last. Waits.
  [[nodiscard]] std::vector<Row> rows() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A roll by one sample with one weight, in place of a permutation with many: all of mixup that
/// CUB's DeviceTransform can do in a pass, since partners are then neighbours. Throws unsupported
/// where the formula normalises, or for other dtypes.
void transform_roll(Formula const& formula, float weight, CUstream_st* stream);

}  // namespace mixfuse::bench
