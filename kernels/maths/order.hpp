// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/maths/hd.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::maths {

/// A sample and its random key.
struct Keyed {
  std::uint64_t key;
  std::int32_t sample;
};

/// Which comes first in the sorted word: ties go by sample.
MIXFUSE_HD inline bool comes_before(Keyed a, Keyed b) {
  return a.key != b.key ? a.key < b.key : a.sample < b.sample;
}

/// A sample's place in its batch's cycles: who it is mixed with, and its entry in the order that
/// walks whole cycles, which is the complement of the sample where a cycle ends.
struct Link {
  std::int32_t sample;
  std::int32_t partner;
  std::int32_t entry;
};

MIXFUSE_HD inline Link link(std::int32_t sample, std::int32_t partner, bool ends) {
  return {sample, partner, ends ? ~sample : sample};
}

/// Position k of a sorted word w of n samples; least is the smallest of w[0..k].
/// permutation: the word is cut at its left-to-right minima and each piece read as a cycle (Foata),
/// so a piece begins with `least`.
template <class Word>
MIXFUSE_HD inline Link link_in_word(Pairing pairing, Word const& w, std::int32_t k, std::int32_t n,
                                    std::int32_t least) {
  bool const last = k + 1 == n;
  switch (pairing) {
    case Pairing::cycle:
      return link(w[k], last ? w[0] : w[k + 1], last);
    case Pairing::pairs:
      if (k % 2 == 1) return link(w[k], w[k - 1], true);
      return last ? link(w[k], w[k], true) : link(w[k], w[k + 1], false);
    default:
      bool const ends = last || w[k + 1] < least;
      return link(w[k], ends ? least : w[k + 1], ends);
  }
}

/// The same for the pairings that need no sort: position k of the n samples from `start` on.
MIXFUSE_HD inline Link link_by_rule(Pairing pairing, std::int32_t start, std::int32_t k,
                                    std::int32_t n) {
  if (pairing == Pairing::roll) {
    std::int32_t const i = n - 1 - k;
    return link(start + i, start + (i == 0 ? n - 1 : i - 1), i == 0);
  }
  std::int32_t const i = k % 2 == 0 ? k / 2 : n - 1 - k / 2;  // reverse: 0, n-1, 1, n-2, ...
  return link(start + i, start + n - 1 - i, k % 2 == 1 || k + 1 == n);
}

}  // namespace mixfuse::maths
