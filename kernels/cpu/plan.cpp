// SPDX-License-Identifier: Apache-2.0

// A function that is not inlined into one compiled for AVX2 calls another for every fma.
#define MIXFUSE_HD __attribute__((always_inline))

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>

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

/// So many samples are drawn in stages: a row's arithmetic is one long chain, and its neighbours'
/// can run beside it, or with it in one vector.
constexpr std::int32_t together = 32;

/// The first block of words of each.
struct FirstWords {
  std::uint32_t word[4][together];

  [[gnu::always_inline]] void draw(Drawing const& from, std::uint64_t const* index,
                                   std::int32_t count, maths::Purpose purpose) {
#pragma omp simd
    for (std::int32_t k = 0; k < count; ++k) {
      maths::Words const words = maths::words_of(from, index[k], purpose);
      word[0][k] = words.w[0];
      word[1][k] = words.w[1];
      word[2][k] = words.w[2];
      word[3][k] = words.w[3];
    }
  }
  [[nodiscard, gnu::always_inline]] maths::Words of(std::int32_t k) const {
    return {{word[0][k], word[1][k], word[2][k], word[3][k]}};
  }
};

/// Their weights, where they have a policy.
class Weights {
 public:
  [[gnu::always_inline]] void draw(Drawing const& from, std::uint64_t const* index,
                                   Policy const* const* policy, std::int32_t count) {
    FirstWords words;
    words.draw(from, index, count, maths::Purpose::lambda);
    float high[together] = {}, low[together] = {};
    for (std::int32_t k = 0; k < count; ++k) {
      if (policy[k] == nullptr) continue;
      maths::BetaLaw const& law = policy[k]->law;
      if (law.symmetric) {
        maths::TwoFloat const depth = maths::depth_of(law, words.of(k));
        high[k] = depth.hi;
        low[k] = depth.lo;
      }
    }
#pragma omp simd
    for (std::int32_t k = 0; k < count; ++k) {
      maths::Weight const weight =
          maths::weight_at({high[k], low[k]}, words.word[2][k], words.word[3][k]);
      own_[k] = weight.own;
      partner_[k] = weight.partner;
    }
    for (std::int32_t k = 0; k < count; ++k) {
      if (policy[k] == nullptr || policy[k]->law.symmetric) continue;
      maths::Weight const weight = maths::draw_beta(policy[k]->law, [&](std::uint32_t block) {
        return block == 0 ? words.of(k)
                          : maths::words_of(from, index[k], maths::Purpose::lambda, block);
      });
      own_[k] = weight.own;
      partner_[k] = weight.partner;
    }
  }
  [[nodiscard, gnu::always_inline]] maths::Weight of(std::int32_t k) const {
    return {own_[k], partner_[k]};
  }

 private:
  float own_[together], partner_[together];
};

/// Rows and order of a group's links. A given partner is in range: the host has looked.
template <class LinkAt>
[[gnu::always_inline]] inline void draw_rows(Drawing const& from, maths::Group group,
                                             std::int32_t begin, std::int32_t end,
                                             LinkAt const& link_at) {
  Row* row[together];
  Policy const* policy[together];
  std::uint64_t index[together];
  Weights weights;
  FirstWords place;
  for (std::int32_t at = begin; at < end; at += together) {
    std::int32_t const count = std::min(together, end - at);
    bool mixed = false, boxes = false;
    for (std::int32_t k = 0; k < count; ++k) {
      maths::Link const link = link_at(at + k);
      from.job.order[group.start + at + k] = maths::turn(link);
      row[k] = from.job.rows + link.sample;
      maths::start_row(*row[k], from, link.sample, link.partner);
      index[k] = maths::drawn_at(from, link.sample, link.partner);
      policy[k] = maths::draw_policy(from, index[k]);
      mixed = mixed || policy[k] != nullptr;
      boxes = boxes || (policy[k] != nullptr && policy[k]->kind == Policy::Kind::cutmix);
    }
    if (!mixed) continue;
    weights.draw(from, index, policy, count);
    if (boxes) place.draw(from, index, count, maths::Purpose::box_place);
    for (std::int32_t k = 0; k < count; ++k) {
      if (policy[k] == nullptr) continue;
      maths::mix_row(*row[k], from.job, *policy[k], weights.of(k),
                     [&](maths::Purpose purpose, std::uint32_t block) {
                       return purpose == maths::Purpose::box_place && block == 0
                                  ? place.of(k)
                                  : maths::words_of(from, index[k], purpose, block);
                     });
    }
  }
}

struct DrawKeys {
  [[gnu::always_inline]] static inline void run(Drawing const* from, maths::Keyed* keys,
                                                std::int32_t begin, std::int32_t end) {
    FirstWords words;
    std::uint64_t index[together];
    for (std::int32_t at = begin; at < end; at += together) {
      std::int32_t const count = std::min(together, end - at);
      for (std::int32_t k = 0; k < count; ++k) {
        index[k] = from->draw.first + static_cast<std::uint64_t>(at + k);
      }
      words.draw(*from, index, count, maths::Purpose::pair_key);
      for (std::int32_t k = 0; k < count; ++k) keys[at + k] = maths::keyed(words.of(k), at + k);
    }
  }
};

/// The samples of sorted keys.
struct Word {
  maths::Keyed const* keys;
  std::int32_t operator[](std::int32_t k) const { return keys[k].sample; }
};

struct WriteSorted {
  [[gnu::always_inline]] static inline void run(Drawing const* from, maths::Group group, Word word,
                                                std::int32_t const* least, std::int32_t begin,
                                                std::int32_t end) {
    draw_rows(*from, group, begin, end, [&](std::int32_t k) {
      return maths::link_in_word(from->job.pairing, word, k, group.size, least[k]);
    });
  }
};

struct WriteUnsorted {
  [[gnu::always_inline]] static inline void run(Drawing const* from, maths::Group group,
                                                std::int32_t begin, std::int32_t end) {
    draw_rows(*from, group, begin, end,
              [&](std::int32_t k) { return maths::unsorted_link(*from, group, k); });
  }
};

/// Keys are uniform, so that each is put almost where it belongs, and few move after that. `places`
/// has room for as many numbers.
void sort_uniform(maths::Keyed* to, maths::Keyed const* keys, std::int32_t count,
                  std::int32_t* places) {
  auto const bucket = [&](maths::Keyed const& keyed) {
    return (keyed.key >> 32) * static_cast<std::uint32_t>(count) >> 32;
  };
  std::fill_n(places, count, 0);
  for (std::int32_t k = 0; k < count; ++k) places[bucket(keys[k])]++;
  std::exclusive_scan(places, places + count, places, 0);
  for (std::int32_t k = 0; k < count; ++k) to[places[bucket(keys[k])]++] = keys[k];
  for (std::int32_t k = 1; k < count; ++k) {
    maths::Keyed const moving = to[k];
    std::int32_t at = k;
    for (; at > 0 && maths::comes_before(moving, to[at - 1]); --at) to[at] = to[at - 1];
    to[at] = moving;
  }
}

void plan_sorted(Drawing const& from, maths::Group group, detail::Isa isa, int threads) {
  PlanJob const& job = from.job;
  auto* const all = static_cast<maths::Keyed*>(job.workspace);
  maths::Keyed* const sorted = all + job.samples + group.start;
  auto* const least =
      reinterpret_cast<std::int32_t*>(all + 2 * std::ptrdiff_t{job.samples}) + group.start;
  parallel_runs(group.size, threads, [&](std::int64_t begin, std::int64_t end) {
    run_for<DrawKeys>(isa, &from, all, group.start + static_cast<std::int32_t>(begin),
                      group.start + static_cast<std::int32_t>(end));
  });
  sort_uniform(sorted, all + group.start, group.size, least);

  Word const word{sorted};
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
  return static_cast<std::size_t>(capacity) * (2 * sizeof(maths::Keyed) + sizeof(std::int32_t));
}

void plan(PlanJob const& job, int wanted) {
  FloatMode const mode;
  Draw const draw = job.live != nullptr ? *job.live : job.draw;
  Drawing from = maths::live_drawing(job, draw);
  Policy policies[max_policies];
  if (maths::schedules_policies(job)) {
    for (int k = 0; k < job.policies; ++k) maths::schedule_policy(policies[k], job, k);
    from.policy = policies;
  }
  std::uint64_t const mark = maths::live_mark(job, draw);
  if (job.live != nullptr) *job.live = maths::next(draw);
  if (job.samples == 0) return;

  job.header->step = from.draw.step;
  if (mark != 0) raise(*job.header, mark);
  detail::Isa const isa = chosen_isa();
  constexpr std::int64_t least_rows = 64;
  int const threads = threads_for(job.samples, least_rows, wanted);
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
