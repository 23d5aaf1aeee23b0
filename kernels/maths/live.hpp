// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/job.hpp"
#include "kernels/maths/beta.hpp"
#include "kernels/maths/error.hpp"
#include "kernels/maths/hd.hpp"
#include "kernels/maths/philox.hpp"
#include "kernels/maths/row.hpp"

/// Draws and schedules that live where the plan does. They are data: where one is out of range, the
/// error word says so and what depends on it is left unmixed.
namespace mixfuse::maths {

MIXFUSE_HD inline bool is_probability(double value) { return value >= 0.0 && value <= 1.0; }

/// A share of the 2^32 words.
MIXFUSE_HD inline std::uint64_t words_below(double probability) {
  return static_cast<std::uint64_t>(probability * 0x1p32 + 0.5);
}

/// Shares such as three times 1/3 are rounded as floats.
constexpr double share_tolerance = 1e-6;

/// The bound of the policy with which the shares sum to `total`.
MIXFUSE_HD inline std::uint64_t policy_below(double total) {
  return words_below(total > 1.0 - share_tolerance ? 1.0 : total);
}

/// A weight either switches its policy off or has a law.
MIXFUSE_HD inline bool is_off(Beta weight) { return weight.a == 0.0f && weight.b == 0.0f; }
MIXFUSE_HD inline bool is_shape(float shape) { return shape >= 1e-6f && shape <= 1e6f; }
MIXFUSE_HD inline bool has_law(Beta weight) { return is_shape(weight.a) && is_shape(weight.b); }

MIXFUSE_HD inline bool is_step(Draw draw) { return draw.step < index_limit; }

/// Every sample has an index below the limit.
MIXFUSE_HD inline bool fits(Draw draw, std::int64_t samples) {
  return draw.first <= index_limit &&
         static_cast<std::uint64_t>(samples) <= index_limit - draw.first;
}

/// The sums of scheduled shares up to policy k and of all; no legal ones: all is above 1.
struct Shares {
  double through, all;
};

MIXFUSE_HD inline Shares scheduled_shares(PlanJob const& job, int k) {
  Shares shares{0.0, 0.0};
  for (int i = 0; i < job.policies; ++i) {
    double const share = static_cast<double>(job.schedule.probabilities[i]);
    if (!is_probability(share)) return {2.0, 2.0};
    shares.all += share;
    if (i <= k) shares.through += share;
  }
  return shares;
}

MIXFUSE_HD inline bool is_legal(Shares shares) { return shares.all <= 1.0 + share_tolerance; }

/// Makes policy k by the schedule, where it will be read: as a value it would go through the stack.
MIXFUSE_HD inline void schedule_policy(Policy& policy, PlanJob const& job, int k) {
  policy = job.policy[k];
  if (job.schedule.probabilities != nullptr) {
    Shares const shares = scheduled_shares(job, k);
    policy.below = is_legal(shares) ? policy_below(shares.through) : 0;
  }
  if (job.schedule.weights != nullptr) {
    Beta const weight = job.schedule.weights[k];
    if (has_law(weight)) {
      policy.law = make_beta_law(weight.a, weight.b);
    } else {
      policy.kind = Policy::Kind::identity;
    }
  }
}

MIXFUSE_HD inline bool schedules_policies(PlanJob const& job) {
  return job.schedule.weights != nullptr || job.schedule.probabilities != nullptr;
}

/// The step that rows and errors name.
MIXFUSE_HD inline std::uint64_t named(std::uint64_t step) {
  return step < index_limit ? step : index_limit;
}

/// A job with the draw that was read, and the probability that is scheduled. What has no legal draw
/// is neither mixed nor flipped.
MIXFUSE_HD inline Drawing live_drawing(PlanJob const& job, Draw draw) {
  Drawing from(job);
  from.draw = draw;
  if (job.schedule.probability != nullptr) {
    double const probability = static_cast<double>(*job.schedule.probability);
    from.gate = is_probability(probability) ? words_below(probability) : 0;
  }
  if (!is_step(draw) || !fits(draw, job.samples)) {
    from.draw.step = named(draw.step);
    from.draw.first = 0;
    from.gate = from.flip = 0;
  }
  return from;
}

/// The error in what lives on the device, or 0.
MIXFUSE_HD inline std::uint64_t live_mark(PlanJob const& job, Draw draw) {
  using Code = ErrorWord::Code;
  if (job.live == nullptr || job.samples == 0) return 0;
  Schedule const& schedule = job.schedule;
  if (!is_step(draw) || !fits(draw, job.samples)) return error_mark(Code::draw, 0);
  if ((schedule.probability != nullptr &&
       !is_probability(static_cast<double>(*schedule.probability))) ||
      (schedule.probabilities != nullptr && !is_legal(scheduled_shares(job, 0)))) {
    return error_mark(Code::probability, 0);
  }
  for (int k = 0; schedule.weights != nullptr && k < job.policies; ++k) {
    Beta const weight = schedule.weights[k];
    if (!is_off(weight) && !has_law(weight)) return error_mark(Code::weight, 0);
  }
  return 0;
}

/// What a draw advances to. A step at its end stays there.
MIXFUSE_HD inline Draw next(Draw draw) {
  if (is_step(draw)) ++draw.step;
  return draw;
}

}  // namespace mixfuse::maths
