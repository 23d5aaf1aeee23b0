// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "kernels/job.hpp"
#include "mixfuse/mix.hpp"

namespace mixfuse {

enum class Where { out_of_place, in_place };

/// A checked call of mix or step, before it is queued.
struct StepCall {
  Where where;
  MixJob images;
  std::optional<LabelJob> labels;
};

StepCall mix_call(TensorView const& out, Samples const& in, Normalise const& normalise,
                  Plan::State const& state);
StepCall mix_in_place_call(TensorView const& images, Plan::State const& state);
StepCall step_call(Mixed const& out, Originals const& in, Plan::State const& state);
StepCall step_in_place_call(Mixed const& inout, Samples const& labels, LabelRule const& rule,
                            Plan::State const& state);
void run(StepCall const& call, Plan::State const& state, Queue queue);

}  // namespace mixfuse
