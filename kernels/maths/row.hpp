// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/job.hpp"
#include "kernels/maths/beta.hpp"
#include "kernels/maths/box.hpp"
#include "kernels/maths/hd.hpp"
#include "kernels/maths/order.hpp"
#include "kernels/maths/philox.hpp"

namespace mixfuse::maths {

MIXFUSE_HD inline Words words_of(PlanJob const& job, std::uint64_t index, Purpose purpose,
                                 std::uint32_t block = 0) {
  return draw_words(job.draw.seed, index, job.draw.step, purpose, block);
}

/// Samples [start, start + size) of the call that belong to one group.
struct Group {
  std::int32_t start, size;
};

/// How many groups the batch touches; the first and the last may be there only in part.
MIXFUSE_HD inline std::int64_t group_count(PlanJob const& job) {
  if (job.group == 0) return 1;
  std::uint64_t const size = static_cast<std::uint64_t>(job.group);
  std::uint64_t const last = job.draw.first + static_cast<std::uint64_t>(job.samples) - 1;
  return static_cast<std::int64_t>(last / size - job.draw.first / size + 1);
}

MIXFUSE_HD inline Group group_at(PlanJob const& job, std::int64_t index) {
  if (job.group == 0) return {0, job.samples};
  std::int64_t const into =
      static_cast<std::int64_t>(job.draw.first % static_cast<std::uint64_t>(job.group));
  std::int64_t const lo = index * job.group - into;
  std::int64_t const hi = lo + job.group;
  std::int32_t const start = lo < 0 ? 0 : static_cast<std::int32_t>(lo);
  std::int32_t const end = hi > job.samples ? job.samples : static_cast<std::int32_t>(hi);
  return {start, end - start};
}

MIXFUSE_HD inline std::int64_t group_of(PlanJob const& job, std::int32_t sample) {
  if (job.group == 0) return 0;
  std::uint64_t const size = static_cast<std::uint64_t>(job.group);
  return static_cast<std::int64_t>((job.draw.first + static_cast<std::uint64_t>(sample)) / size -
                                   job.draw.first / size);
}

MIXFUSE_HD inline Keyed keyed(PlanJob const& job, std::int32_t sample) {
  Words const words =
      words_of(job, job.draw.first + static_cast<std::uint64_t>(sample), Purpose::pair_key);
  return {join(words.w[0], words.w[1]), sample};
}

MIXFUSE_HD inline bool needs_sort(Pairing pairing) {
  return pairing == Pairing::permutation || pairing == Pairing::cycle || pairing == Pairing::pairs;
}

/// A given partner; -1 where it is outside the batch.
MIXFUSE_HD inline std::int32_t given_partner(PlanJob const& job, std::int32_t sample) {
  std::int64_t const at = sample * job.given_stride;
  std::int64_t const partner = job.given_wide ? static_cast<std::int64_t const*>(job.given)[at]
                                              : static_cast<std::int32_t const*>(job.given)[at];
  return partner < 0 || partner >= job.samples ? -1 : static_cast<std::int32_t>(partner);
}

/// Position k of a group whose pairing needs no sort.
MIXFUSE_HD inline Link unsorted_link(PlanJob const& job, Group group, std::int32_t k) {
  std::int32_t const sample = group.start + k;
  switch (job.pairing) {
    case Pairing::replacement: {
      Words const words =
          words_of(job, job.draw.first + static_cast<std::uint64_t>(sample), Purpose::replacement);
      std::uint32_t const offset =
          below(static_cast<std::uint32_t>(group.size), words.w[0], words.w[1]);
      return link(sample, group.start + static_cast<std::int32_t>(offset), true);
    }
    case Pairing::given:
      return link(sample, given_partner(job, sample), true);
    default:
      return link_by_rule(job.pairing, group.start, k, group.size);
  }
}

/// The counter index under which a sample's row is drawn.
MIXFUSE_HD inline std::uint64_t drawn_at(PlanJob const& job, std::int32_t sample,
                                         std::int32_t partner) {
  if (job.granularity == Granularity::batch) {
    std::uint64_t const size = static_cast<std::uint64_t>(job.group);
    if (size == 0) return job.draw.first;
    return (job.draw.first + static_cast<std::uint64_t>(sample)) / size * size;
  }
  std::int32_t const own =
      job.granularity == Granularity::pair && partner < sample ? partner : sample;
  return job.draw.first + static_cast<std::uint64_t>(own);
}

/// Sides from the drawn share of the partner, or drawn themselves, then places.
MIXFUSE_HD inline Box draw_box(PlanJob const& job, Policy const& policy, std::uint64_t index,
                               float partner_share) {
  Box box{};
  bool empty = false;
  Words places{}, sides{};
  for (int axis = 0; axis < job.axes; ++axis) {
    bool const drawn_sides = policy.boxes == Boxes::Kind::min_max;
    std::uint32_t const block = static_cast<std::uint32_t>(axis / 2);
    if (axis % 2 == 0) {
      places = words_of(job, index, Purpose::box_place, block);
      if (drawn_sides) sides = words_of(job, index, Purpose::box_side, block);
    }
    int const w = axis % 2 * 2;
    std::int32_t const length = job.spatial[axis];
    std::int32_t side;
    if (drawn_sides) {
      std::int32_t const lo = policy.side_lo[axis];
      std::uint32_t const count = static_cast<std::uint32_t>(policy.side_hi[axis] - lo) + 1;
      side = lo + static_cast<std::int32_t>(below(count, sides.w[w], sides.w[w + 1]));
    } else {
      side = box_side(partner_share, length, job.axes);
    }
    Span const span = place(policy.boxes, side, length, places.w[w], places.w[w + 1]);
    box.lo[axis] = span.lo;
    box.hi[axis] = span.hi;
    empty = empty || span.lo == span.hi;
  }
  return empty ? Box{} : box;
}

MIXFUSE_HD inline bool is_empty(Box const& box, int axes) {
  bool empty = false;
  for (int axis = 0; axis < axes; ++axis) empty = empty || box.lo[axis] == box.hi[axis];
  return empty;
}

/// Share of the pixels that stay the sample's own.
MIXFUSE_HD inline float own_share(Box const& box, std::int32_t const* spatial, int axes) {
  std::uint64_t all = 1, pasted = 1;
  for (int axis = 0; axis < axes; ++axis) {
    all *= static_cast<std::uint64_t>(spatial[axis]);
    pasted *= static_cast<std::uint64_t>(box.hi[axis] - box.lo[axis]);
  }
  return exact_share(all - pasted, all);
}

/// The policy drawn at `index`, or none: identity, switched off, or the gate is closed.
MIXFUSE_HD inline Policy const* draw_policy(PlanJob const& job, std::uint64_t index) {
  if (words_of(job, index, Purpose::gate).w[0] >= job.gate) return nullptr;
  std::uint32_t const word = words_of(job, index, Purpose::policy).w[0];
  for (int k = 0; k < job.policies; ++k) {
    if (word < job.policy[k].below) {
      return job.policy[k].kind == Policy::Kind::identity ? nullptr : &job.policy[k];
    }
  }
  return nullptr;
}

/// A sample's row: the only place where methods differ. Partner -1 is a given one that was out of
/// range: the sample stays unmixed.
MIXFUSE_HD inline Row draw_row(PlanJob const& job, std::int32_t sample, std::int32_t partner) {
  Row row;
  row.partner = partner < 0 ? sample : partner;
  row.flip =
      words_of(job, job.draw.first + static_cast<std::uint64_t>(sample), Purpose::flip).w[0] <
              job.flip
          ? 1
          : 0;
  if (partner < 0) return row;

  std::uint64_t const index = drawn_at(job, sample, partner);
  Policy const* const policy = draw_policy(job, index);
  if (policy == nullptr) return row;

  Weight weight = draw_beta(policy->law, [&](std::uint32_t block) {
    return words_of(job, index, Purpose::lambda, block);
  });
  bool const own_larger = weight.own > weight.partner;
  if ((policy->fold == Fold::own && !own_larger) || (policy->fold == Fold::partner && own_larger)) {
    weight = {weight.partner, weight.own};
  }
  if (policy->kind == Policy::Kind::mixup) {
    row.outside = row.inside = row.label = weight.own;
    return row;
  }
  row.box = draw_box(job, *policy, index, weight.partner);
  row.inside = 0.0f;
  if (!is_empty(row.box, job.axes)) row.label = own_share(row.box, job.spatial, job.axes);
  return row;
}

}  // namespace mixfuse::maths
