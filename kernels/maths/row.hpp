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

/// A job, and what it draws from: its own, or what lives on the device (live.hpp).
struct Drawing {
  PlanJob const& job;
  Draw draw;
  std::uint64_t gate, flip;
  Policy const* policy;

  MIXFUSE_HD Drawing(PlanJob const& of)  // NOLINT: a job draws from its own
      : job{of}, draw{of.draw}, gate{of.gate}, flip{of.flip}, policy{of.policy} {}
};

MIXFUSE_HD inline Words words_of(Drawing const& from, std::uint64_t index, Purpose purpose,
                                 std::uint32_t block = 0) {
  return draw_words(from.draw.seed, index, from.draw.step, purpose, block);
}

/// The words of one index.
struct WordsAt {
  Drawing const& from;
  std::uint64_t index;

  MIXFUSE_HD Words operator()(Purpose purpose, std::uint32_t block) const {
    return words_of(from, index, purpose, block);
  }
};

/// Samples [start, start + size) of the call that belong to one group.
struct Group {
  std::int32_t start, size;
};

/// How many groups the batch touches; the first and the last may be there only in part.
MIXFUSE_HD inline std::int64_t group_count(Drawing const& from) {
  PlanJob const& job = from.job;
  if (job.group == 0) return 1;
  std::uint64_t const size = static_cast<std::uint64_t>(job.group);
  std::uint64_t const last = from.draw.first + static_cast<std::uint64_t>(job.samples) - 1;
  return static_cast<std::int64_t>(last / size - from.draw.first / size + 1);
}

MIXFUSE_HD inline Group group_at(Drawing const& from, std::int64_t index) {
  PlanJob const& job = from.job;
  if (job.group == 0) return {0, job.samples};
  std::int64_t const into =
      static_cast<std::int64_t>(from.draw.first % static_cast<std::uint64_t>(job.group));
  std::int64_t const lo = index * job.group - into;
  std::int64_t const hi = lo + job.group;
  std::int32_t const start = lo < 0 ? 0 : static_cast<std::int32_t>(lo);
  std::int32_t const end = hi > job.samples ? job.samples : static_cast<std::int32_t>(hi);
  return {start, end - start};
}

MIXFUSE_HD inline std::int64_t group_of(Drawing const& from, std::int32_t sample) {
  if (from.job.group == 0) return 0;
  std::uint64_t const size = static_cast<std::uint64_t>(from.job.group);
  return static_cast<std::int64_t>((from.draw.first + static_cast<std::uint64_t>(sample)) / size -
                                   from.draw.first / size);
}

MIXFUSE_HD inline Keyed keyed(Words const& words, std::int32_t sample) {
  return {join(words.w[0], words.w[1]), sample};
}

MIXFUSE_HD inline Keyed keyed(Drawing const& from, std::int32_t sample) {
  std::uint64_t const index = from.draw.first + static_cast<std::uint64_t>(sample);
  return keyed(words_of(from, index, Purpose::pair_key), sample);
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

/// What the order keeps of a link. A given partner that is out of range is the sample itself.
MIXFUSE_HD inline Turn turn(Link link) {
  return {link.entry, link.partner < 0 ? link.sample : link.partner};
}

/// Position k of a group whose pairing needs no sort.
MIXFUSE_HD inline Link unsorted_link(Drawing const& from, Group group, std::int32_t k) {
  std::int32_t const sample = group.start + k;
  switch (from.job.pairing) {
    case Pairing::replacement: {
      Words const words = words_of(from, from.draw.first + static_cast<std::uint64_t>(sample),
                                   Purpose::replacement);
      std::uint32_t const offset =
          below(static_cast<std::uint32_t>(group.size), words.w[0], words.w[1]);
      return link(sample, group.start + static_cast<std::int32_t>(offset), true);
    }
    case Pairing::given:
      return link(sample, given_partner(from.job, sample), true);
    default:
      return link_by_rule(from.job.pairing, group.start, k, group.size);
  }
}

/// The counter index under which a sample's row is drawn.
MIXFUSE_HD inline std::uint64_t drawn_at(Drawing const& from, std::int32_t sample,
                                         std::int32_t partner) {
  PlanJob const& job = from.job;
  if (job.granularity == Granularity::batch) {
    std::uint64_t const size = static_cast<std::uint64_t>(job.group);
    if (size == 0) return from.draw.first;
    return (from.draw.first + static_cast<std::uint64_t>(sample)) / size * size;
  }
  std::int32_t const own =
      job.granularity == Granularity::pair && partner < sample ? partner : sample;
  return from.draw.first + static_cast<std::uint64_t>(own);
}

// Loops over a box's own arrays run to 3, so that they are unrolled and the arrays stay in
// registers.

/// The span becomes that of the box on the axis.
MIXFUSE_HD inline void set_span(Box& box, int axis, Span span) {
  for (int k = 0; k < 3; ++k) {
    box.lo[k] = k == axis ? span.lo : box.lo[k];
    box.hi[k] = k == axis ? span.hi : box.hi[k];
  }
}

MIXFUSE_HD inline bool is_empty(Box const& box, int axes) {
  bool empty = false;
  for (int k = 0; k < 3; ++k) empty = empty || (k < axes && box.lo[k] == box.hi[k]);
  return empty;
}

/// Share of the pixels that stay the sample's own.
MIXFUSE_HD inline float own_share(Box const& box, std::int32_t const* spatial, int axes) {
  std::uint64_t all = 1, pasted = 1;
  for (int k = 0; k < 3; ++k) {
    if (k >= axes) break;
    all *= static_cast<std::uint64_t>(spatial[k]);
    pasted *= static_cast<std::uint64_t>(box.hi[k] - box.lo[k]);
  }
  return exact_share(all - pasted, all);
}

/// Sides from the drawn share of the partner, or drawn themselves, then places, by words as WordsAt
/// has them.
template <class Source>
MIXFUSE_HD inline Box draw_box(PlanJob const& job, Policy const& policy, float partner_share,
                               Source const& words) {
  Box box{};
  Words places{}, sides{};
  for (int axis = 0; axis < job.axes; ++axis) {
    bool const drawn_sides = policy.boxes == Boxes::Kind::min_max;
    bool const second = axis % 2 != 0;  // of the two axes that share a block of words
    if (!second) {
      std::uint32_t const block = static_cast<std::uint32_t>(axis / 2);
      places = words(Purpose::box_place, block);
      if (drawn_sides) sides = words(Purpose::box_side, block);
    }
    std::int32_t const length = job.spatial[axis];
    std::int32_t side;
    if (drawn_sides) {
      std::int32_t const lo = policy.side_lo[axis];
      std::uint32_t const count = static_cast<std::uint32_t>(policy.side_hi[axis] - lo) + 1;
      side = lo + static_cast<std::int32_t>(below(count, second ? sides.w[2] : sides.w[0],
                                                  second ? sides.w[3] : sides.w[1]));
    } else {
      side = box_side(partner_share, length, job.axes);
    }
    set_span(box, axis,
             place(policy.boxes, side, length, second ? places.w[2] : places.w[0],
                   second ? places.w[3] : places.w[1]));
  }
  return is_empty(box, job.axes) ? Box{} : box;
}

/// The policy drawn at `index`, or none: identity, switched off, or the gate is closed.
MIXFUSE_HD inline Policy const* draw_policy(Drawing const& from, std::uint64_t index) {
  // A word that decides nothing need not be drawn.
  if (from.gate <= 0xffffffff && words_of(from, index, Purpose::gate).w[0] >= from.gate) {
    return nullptr;
  }
  bool const choice = from.job.policies > 0 && from.policy[0].below <= 0xffffffff;
  std::uint32_t const word = choice ? words_of(from, index, Purpose::policy).w[0] : 0;
  for (int k = 0; k < from.job.policies; ++k) {
    Policy const& policy = from.policy[k];
    if (word < policy.below) return policy.kind == Policy::Kind::identity ? nullptr : &policy;
  }
  return nullptr;
}

/// Makes it a sample's row before it is mixed. Partner -1 is a given one that was out of range: the
/// sample stays as it is.
MIXFUSE_HD inline void start_row(Row& row, Drawing const& from, std::int32_t sample,
                                 std::int32_t partner) {
  row = {};
  row.partner = partner < 0 ? sample : partner;
  std::uint64_t const own = from.draw.first + static_cast<std::uint64_t>(sample);
  row.flip = from.flip != 0 && words_of(from, own, Purpose::flip).w[0] < from.flip ? 1 : 0;
}

/// Mixes a row by the weight drawn for it: the only place where methods differ. Without `boxes` no
/// policy cuts any, and their code is left out.
template <bool boxes = true, class Source>
MIXFUSE_HD inline void mix_row(Row& row, PlanJob const& job, Policy const& policy, Weight weight,
                               Source const& words) {
  bool const own_larger = weight.own > weight.partner;
  if ((policy.fold == Fold::own && !own_larger) || (policy.fold == Fold::partner && own_larger)) {
    weight = {weight.partner, weight.own};
  }
  if (!boxes || policy.kind == Policy::Kind::mixup) {
    row.outside = row.inside = row.label = weight.own;
    return;
  }
  row.box = draw_box(job, policy, weight.partner, words);
  row.inside = 0.0f;
  if (!is_empty(row.box, job.axes)) row.label = own_share(row.box, job.spatial, job.axes);
}

/// A sample's row, drawn whole.
template <bool boxes = true>
MIXFUSE_HD inline Row draw_row(Drawing const& from, std::int32_t sample, std::int32_t partner) {
  Row row;
  start_row(row, from, sample, partner);
  if (partner < 0) return row;
  std::uint64_t const index = drawn_at(from, sample, partner);
  Policy const* const policy = draw_policy(from, index);
  if (policy == nullptr) return row;
  WordsAt const words{from, index};
  Weight const weight =
      draw_beta(policy->law, [&](std::uint32_t block) { return words(Purpose::lambda, block); });
  mix_row<boxes>(row, from.job, *policy, weight, words);
  return row;
}

}  // namespace mixfuse::maths
