// SPDX-License-Identifier: Apache-2.0
#pragma once

/// (spec, draw) -> plan -> mixed batch -> mixed labels; each arrow is one function:
/// `plan_into`, `mix_into`, `label_into`. `step_into` does the last two in one launch; `Mixer` does
/// them all, step by step.

#include "mixfuse/dlpack.hpp"
#include "mixfuse/error.hpp"
#include "mixfuse/info.hpp"
#include "mixfuse/label.hpp"
#include "mixfuse/mix.hpp"
#include "mixfuse/mixer.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"
