// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "mixfuse/export.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

/// Mixed labels: dense (B, K), or sparse.
struct Targets {
  TensorView dense;    ///< (B, K), or none
  TensorView own;      ///< (B,) i64, class of the own sample
  TensorView partner;  ///< (B,) i64, class of the partner
  TensorView weight;   ///< (B,) f32, share of the own class

  Targets() = default;
  Targets(TensorView rows) : dense{rows} {}  // NOLINT: dense targets are one tensor
  Targets(TensorView own_ids, TensorView partner_ids, TensorView weights)
      : own{own_ids}, partner{partner_ids}, weight{weights} {}
};

/// How class ids become targets.
struct LabelRule {
  /// off = s/K, on = 1 - s + s/K, before the mix, unmixed rows too. Ids with dense targets only.
  float smoothing = 0.0f;
  /// An id whose share is left out without an error, smoothing included; sparse targets keep it.
  std::optional<std::int64_t> ignored = std::nullopt;
  /// K of sparse targets, by which ids are checked; dense targets say theirs by their shape.
  std::int64_t classes = 0;
};

/// target[i] = l label[i] + (1 - l) label[partner of i], l the row's `label`.
///
/// `labels` are class ids (B,) of i32, i64 or u8, or rows (B, K) of f16, bf16, f32, f64 or bool.
/// Dense targets of ids or bool are f32, f16 or bf16; those of float rows keep their dtype. A class
/// on both sides gets both shares. An id outside 0..K-1 leaves its share out (-1 in sparse targets)
/// and sets the plan's error word.
/// Throws invalid_argument (naming `targets`, `labels`, `rule...`, `plan`, `queue`), unsupported,
/// cuda_error; returns once work is queued.
MIXFUSE_EXPORT void label_into(Targets targets, Samples labels, LabelRule rule, Plan& plan,
                               Queue queue);

}  // namespace mixfuse
