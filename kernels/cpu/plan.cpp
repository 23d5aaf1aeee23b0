// SPDX-License-Identifier: Apache-2.0

// A function that is not inlined into one compiled for AVX2 calls another for every fma.
#define MIXFUSE_HD __attribute__((always_inline))

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/choice.hpp"
#include "kernels/cpu/error.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/live.hpp"
#include "kernels/maths/order.hpp"
#include "kernels/maths/row.hpp"

namespace mixfuse::cpu {
namespace {

using maths::Drawing;

[[gnu::always_inline]] inline void write(Drawing const& from, maths::Link link, std::int32_t at) {
  from.job.rows[link.sample] = maths::draw_row(from, link.sample, link.partner);
  from.job.order[at] = link.entry;
}

/// The samples of sorted keys.
struct Word {
  maths::Keyed const* keys;
  std::int32_t operator[](std::int32_t k) const { return keys[k].sample; }
};

struct WriteSorted {
  [[gnu::always_inline]] static inline void run(Drawing const* from, maths::Group group, Word word,
                                                std::int32_t const* least, std::int32_t begin,
                                                std::int32_t end) {
    for (std::int32_t k = begin; k < end; ++k) {
      write(*from, maths::link_in_word(from->job.pairing, word, k, group.size, least[k]),
            group.start + k);
    }
  }
};

struct WriteUnsorted {
  [[gnu::always_inline]] static inline void run(Drawing const* from, maths::Group group,
                                                std::int32_t begin, std::int32_t end) {
    for (std::int32_t k = begin; k < end; ++k) {
      write(*from, maths::unsorted_link(*from, group, k), group.start + k);
    }
  }
};

void plan_sorted(Drawing const& from, maths::Group group, detail::Isa isa, int threads) {
  PlanJob const& job = from.job;
  auto* const keys = static_cast<maths::Keyed*>(job.workspace) + group.start;
  auto* const least =
      reinterpret_cast<std::int32_t*>(static_cast<maths::Keyed*>(job.workspace) + job.samples) +
      group.start;
  parallel_for(group.size, threads, [&](std::int64_t k) {
    keys[k] = maths::keyed(from, group.start + static_cast<std::int32_t>(k));
  });
  std::sort(keys, keys + group.size,
            [](maths::Keyed a, maths::Keyed b) { return maths::comes_before(a, b); });

  Word const word{keys};
  for (std::int32_t k = 0; k < group.size; ++k) {
    least[k] = k == 0 ? word[k] : std::min(least[k - 1], word[k]);
  }
  parallel_runs(group.size, threads, [&](std::int64_t begin, std::int64_t end) {
    run_for<WriteSorted>(isa, &from, group, word, least, static_cast<std::int32_t>(begin),
                         static_cast<std::int32_t>(end));
  });
}

void plan_unsorted(Drawing const& from, maths::Group group, detail::Isa isa, int threads) {
  parallel_runs(group.size, threads, [&](std::int64_t begin, std::int64_t end) {
    run_for<WriteUnsorted>(isa, &from, group, static_cast<std::int32_t>(begin),
                           static_cast<std::int32_t>(end));
  });
}

}  // namespace

std::size_t workspace_bytes(std::int64_t capacity) {
  return static_cast<std::size_t>(capacity) * (sizeof(maths::Keyed) + sizeof(std::int32_t));
}

void plan(PlanJob const& job, int threads) {
  Draw const draw = job.live != nullptr ? *job.live : job.draw;
  Drawing from = maths::live_drawing(job, draw);
  Policy policies[max_policies];
  if (maths::schedules_policies(job)) {
    FloatMode const mode;
    for (int k = 0; k < job.policies; ++k) maths::schedule_policy(policies[k], job, k);
    from.policy = policies;
  }
  std::uint64_t const mark = maths::live_mark(job, draw);
  if (job.live != nullptr) *job.live = maths::next(draw);
  if (job.samples == 0) return;

  job.header->step = from.draw.step;
  if (mark != 0) raise(*job.header, mark);
  detail::Isa const isa = chosen_isa();
  std::int64_t const groups = maths::group_count(from);
  // Many groups are shared out whole, a single one by its samples.
  int const inner = groups > 1 ? 1 : threads;
  parallel_for(groups, threads, [&](std::int64_t index) {
    maths::Group const group = maths::group_at(from, index);
    maths::needs_sort(job.pairing) ? plan_sorted(from, group, isa, inner)
                                   : plan_unsorted(from, group, isa, inner);
  });
}

}  // namespace mixfuse::cpu
