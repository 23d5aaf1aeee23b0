// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "mixfuse/export.hpp"
#include "mixfuse/mix.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse {

/// A training step in one call: a plan, and a draw beside it that goes on by itself.
///
///     Mixer mixer(spec, {seed}, 256, device, queue);
///     for (...) mixer({out, targets}, {images, labels}, queue);
///
/// On a GPU a mixup step is one launch, which also draws the plan of the step after. A plan by
/// itself and a mix are launched in place, for boxes and flips (but of small batches), above 1024
/// samples, with a schedule, and where images are not dense and aligned. It allocates nothing on
/// the device and does not wait, so it can be captured in a CUDA graph, each replay of which is the
/// next step. A draw is all that a checkpoint needs. Serves one thread at a time.
class MIXFUSE_EXPORT Mixer {
 public:
  /// For batches of up to `capacity` samples; the first step is drawn by `first`. Throws
  /// invalid_argument (naming `spec...`, `draw...`, `capacity`, `queue`), unsupported, cuda_error,
  /// bad_alloc.
  Mixer(Spec spec, Draw first, std::int64_t capacity, Device device, Queue queue);
  /// The same with a plan that was made before, in memory of the caller's perhaps.
  Mixer(Plan plan, Spec spec, Draw first, Queue queue);

  /// Draws a plan for the batch, mixes by it, and advances the draw. Throws as plan_into and
  /// step_into do; then the draw is as it was, unless CUDA refused the second launch.
  void operator()(Mixed out, Originals in, Queue queue);
  /// The same over the images.
  void in_place(Mixed inout, Samples labels, LabelRule rule, Queue queue);

  /// Follows the schedule from the next step on.
  void follow(Schedule schedule);

  /// The next step is drawn by `draw`. One launch; captured, each replay sets it again.
  void set_draw(Draw draw, Queue queue);
  /// Copies the draw of the next step to `draw`, asynchronously on a CUDA queue (`draw` should then
  /// be pinned).
  void draw_into(Draw* draw, Queue queue) const;
  /// The same, waited for.
  [[nodiscard]] Draw read_draw(Queue queue) const;

  /// Of the last step: its rows, and an error word that `error_into` copies out.
  [[nodiscard]] Plan const& plan() const noexcept { return plan_; }
  void clear_error(Queue queue) { mixfuse::clear_error(plan_, queue); }

 private:
  template <class Check>
  void step(Extents const& batch, Check const& check, Queue queue);
  [[nodiscard]] Live live() const;

  Plan plan_;
  Spec spec_;
  Schedule schedule_;
};

}  // namespace mixfuse
