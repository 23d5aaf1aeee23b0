// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mixfuse/export.hpp"
#include "mixfuse/label.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

inline constexpr int max_channels = 32;

/// One affine map per channel, applied to each mixed value before it is rounded and stored:
/// fma(v, 1 / (255 std), -mean / std) for u8 images, fma(v, 1 / std, -mean / std) for floats, as
/// torchvision's Normalize after its conversion to [0, 1]. Constants are rounded once from f64.
struct Normalise {
  int channels = 0;  ///< 0: no map; 1: one map for all; else as many as the images have
  double mean[max_channels] = {};
  double std[max_channels] = {};
};

/// out[i] = w in[i] + (1 - w) in[partner of i], w the row's weight inside or outside its box, as
/// fma(w, own, fma(-w, partner, partner)) in f32 (f64 for f64), rounded once at the store; w = 1
/// and w = 0 copy bits. Each sample is read flipped as its row says; a second batch never is.
///
/// `out` and `in` (B, ...) have the shape of the plan's batch and do not overlap. dtypes: same to
/// same for u8, f16, bf16, f32, f64; u8 to f16, bf16, f32; f32 to f16, bf16. Their layouts may
/// differ in the order of axes (nchw, nhwc).
/// Throws invalid_argument (naming `out`, `images`, `partners`, `plan`, `queue`), unsupported,
/// cuda_error; returns once work is queued.
MIXFUSE_EXPORT void mix_into(TensorView out, Samples in, Plan& plan, Queue queue);

/// The same, normalised; `out` is of a float dtype. Throws also naming `normalise...`.
MIXFUSE_EXPORT void mix_into(TensorView out, Samples in, Normalise const& normalise, Plan& plan,
                             Queue queue);

/// The same, over its input. The plan's partners must be a permutation.
MIXFUSE_EXPORT void mix_in_place(TensorView images, Plan& plan, Queue queue);

/// A mixed batch, images and targets.
struct Mixed {
  TensorView images;
  Targets targets = {};
};

/// The batch that it is made of.
struct Originals {
  Samples images;
  Samples labels = {};
  LabelRule rule = {};
  Normalise normalise = {};
};

/// mix_into and label_into in one launch: what a training step calls. Without labels and targets,
/// mix_into.
MIXFUSE_EXPORT void step_into(Mixed out, Originals in, Plan& plan, Queue queue);

/// The same with the images mixed in place.
MIXFUSE_EXPORT void step_in_place(Mixed inout, Samples labels, LabelRule rule, Plan& plan,
                                  Queue queue);

}  // namespace mixfuse
