// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "mixfuse/plan.hpp"

/// Mixup from the CUDA toolkit alone, as one would write it there: cuRAND's host API draws, Thrust
/// sorts, gathers, multiplies and adds. f32; lambda is uniform, since cuRAND has no Beta.
namespace mixfuse::bench {

class ToolkitMixup {
 public:
  /// Loads cuRAND's library when it is made, and throws std::runtime_error where that fails, so
  /// that all else runs without it.
  ToolkitMixup(std::int64_t samples, std::int64_t elements, std::uint64_t seed,
               CUstream_st* stream);
  ~ToolkitMixup();
  ToolkitMixup(ToolkitMixup const&) = delete;
  ToolkitMixup& operator=(ToolkitMixup const&) = delete;

  void plan();
  void mix(float* out, float const* in);
  /// What was drawn last. Waits.
  [[nodiscard]] std::vector<Row> rows() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A roll by one sample with one weight, in place of a permutation with many: all of mixup that
/// CUB's DeviceTransform can do in a pass, since partners are then neighbours.
void transform_roll(float* out, float const* in, std::int64_t samples, std::int64_t elements,
                    float weight, CUstream_st* stream);

}  // namespace mixfuse::bench
