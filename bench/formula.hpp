// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/pixel.hpp"
#include "mixfuse/tensor.hpp"

/// Mixup as it is written without mixfuse: x lambda + x[partner] (1 - lambda).
namespace mixfuse::bench {

struct Formula {
  DType in, out;
  void const* images;
  void* mixed;
  void* scratch;  ///< two batches of `out`
  std::int64_t samples;
  std::int64_t elements;  ///< of a sample
  std::int64_t channels;  ///< > 0: in is nhwc, out is nchw and normalised by `mean` and `std`
  float mean, std;
  std::int32_t const* partner;  ///< where the work runs, as are the weights
  float const* weight;

  [[nodiscard]] bool normalises() const { return channels > 0; }
};

/// Each operation a pass over memory, in the output's dtype, as an eager framework runs it: gather,
/// two products, sum, which move 9 batches. With normalising, cast, difference and quotient first.
void passes_cpu(Formula const& formula, int threads);
void passes_cuda(Formula const& formula, CUstream_st* stream);

/// All in one loop, sample after sample in the batch's order, as a compiler fuses it.
void fused_cpu(Formula const& formula, int threads);
void fused_cuda(Formula const& formula, CUstream_st* stream);

/// Every input element to the output's dtype, where it lies: the ceiling where dtypes differ.
void convert_cpu(Formula const& formula, int threads);

inline void passes(Formula const& formula, Queue queue) {
#if MIXFUSE_HAS_CUDA
  if (queue.kind() == Device::Kind::cuda) return passes_cuda(formula, queue.stream());
#endif
  passes_cpu(formula, queue.threads());
}

inline void fused(Formula const& formula, Queue queue) {
#if MIXFUSE_HAS_CUDA
  if (queue.kind() == Device::Kind::cuda) return fused_cuda(formula, queue.stream());
#endif
  fused_cpu(formula, queue.threads());
}

/// The operations, rounded to T as a framework's are.
template <class T>
MIXFUSE_HD T scaled(T x, float by) {
  return maths::narrow<T>(maths::widen(x) * by);
}
template <class T>
MIXFUSE_HD T plus(T a, T b) {
  return maths::narrow<T>(maths::widen(a) + maths::widen(b));
}

}  // namespace mixfuse::bench
