// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kernels/job.hpp"
#include "mixfuse/label.hpp"

namespace mixfuse {

/// Checks everything that the host can know and lays out the job.
LabelJob label_job(Targets const& targets, Samples const& labels, LabelRule const& rule,
                   Plan::State const& state);

/// The tensors of a call, by name, to be kept apart from others.
struct NamedTensor {
  char const* name;
  ConstTensorView view;
};

std::vector<NamedTensor> outputs_of(Targets const& targets);

}  // namespace mixfuse
