// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/maths/hd.hpp"
#include "kernels/maths/real.hpp"
#include "kernels/maths/words.hpp"

/// Beta(a, b) with bounded work and every bit equal on every processor.
///
/// a = b: Bailey's polar method (Math. Comp. 62:779, 1994), no rejection. T^2 / 2a = (U^(-1/a) - 1)
/// cos^2 for Student's t with 2a degrees of freedom, and 4 X (1 - X) = 1 / (1 + T^2 / 2a). a != b:
/// rejection in z = logit(X) - ln(a / b), under a hat that is flat at the mode and has an
/// exponential tail on each side. Its log-density is concave for every a and b. Marsaglia and Tsang
/// in log space loses the digits where two huge logarithms cancel (1.25e-3 at (1e-6, 2e-6)).
namespace mixfuse::maths {

/// lambda and 1 - lambda. The smaller is computed directly, to a relative 1e-6; below 2^-126 it is
/// exactly 0.
struct Weight {
  float own, partner;
};

/// The hat on one side of the mode: flat up to the corner, then falling by e every `scale`.
struct HatSide {
  float corner, scale;
  std::uint32_t share;  // of the tail in the hat's area, times 2^32
};

/// All that a draw needs. Made once, not in every thread: it costs more than the draw.
struct BetaLaw {
  bool symmetric;
  bool swapped;              // drawn as Beta(b, a), so that the mode lies at or below 1/2
  TwoFloat inverse;          // 1 / a                   symmetric only; the rest is for a < b
  float total;               // a + b
  TwoFloat mode, rest;       // a / (a + b), b / (a + b)
  float odds, inverse_odds;  // a / b, b / a
  HatSide left, right;
};

constexpr std::uint32_t most_tries =
    16;  // the last is taken as it is, which happens with probability <= 1.1e-15

enum class Side { left, right };

/// The log-density at the mode minus that at the given distance e to its side. A plain difference
/// of logarithms would lose all digits near the mode when a and b are large.
MIXFUSE_HD inline float log_drop(BetaLaw const& law, Side side, float distance, Decay const& e) {
  float const p = law.mode.hi;
  if (side == Side::left) return law.total * (p * e.excess - log_defect(-p * e.lost));
  float const growth = p * e.lost / e.value;  // infinite where e.value underflowed
  float const drop = growth <= 1.0f
                         ? p * (distance * e.lost - e.excess) / e.value - log_defect(growth)
                         : law.rest.hi * distance + log_of(std::fma(law.rest.hi, e.value, p));
  return law.total * drop;
}

/// The tail that touches the log-density where its slope is the shape / sqrt(1 + shape / 2 (1 -
/// other)) there.
MIXFUSE_HD inline HatSide make_hat_side(BetaLaw const& law, Side side, float shape, float other) {
  float const x = shape / (2.0f * other);
  float const root = std::sqrt(1.0f + x);
  float const root_less_1 = x / (1.0f + root);
  float const touch = log1p_of(1.0f / (other * root_less_1));
  float const scale = root / shape;
  return {touch - scale * log_drop(law, side, touch, decay({touch, 0.0f})), scale, 0u};
}

/// 1e-6 <= a, b <= 1e6, checked by the caller.
MIXFUSE_HD inline BetaLaw make_beta_law(float a, float b) {
  BetaLaw law = {};
  law.symmetric = a == b;
  law.swapped = a > b;
  if (law.symmetric) {
    law.inverse = quotient({1.0f, 0.0f}, {a, 0.0f});
    return law;
  }
  float const lesser = law.swapped ? b : a;
  float const greater = law.swapped ? a : b;
  TwoFloat const total = two_sum(greater, lesser);
  law.total = total.hi;
  law.mode = quotient({lesser, 0.0f}, total);
  law.rest = quotient({greater, 0.0f}, total);
  law.odds = lesser / greater;
  law.inverse_odds = greater / lesser;
  law.left = make_hat_side(law, Side::left, lesser, law.rest.hi);
  law.right = make_hat_side(law, Side::right, greater, law.mode.hi);
  float const area = law.left.scale + (law.left.corner + law.right.corner) + law.right.scale;
  law.left.share = static_cast<std::uint32_t>(law.left.scale / area * 0x1p32f);
  law.right.share = static_cast<std::uint32_t>(law.right.scale / area * 0x1p32f);
  return law;
}

MIXFUSE_HD inline Weight weight_from(float smaller, float larger, bool own_is_smaller) {
  bool const none = smaller < 0x1p-126f;
  float const lesser = choose(none, 0.0f, smaller), greater = choose(none, 1.0f, larger);
  return {choose(own_is_smaller, lesser, greater), choose(own_is_smaller, greater, lesser)};
}

/// -ln U / a, of a symmetric law's block of words.
MIXFUSE_HD inline TwoFloat depth_of(BetaLaw const& law, Words const& words) {
  return product(negative_log(words.w[0], words.w[1]), law.inverse);
}

/// And the weight, of that and of the block's last words.
MIXFUSE_HD inline Weight weight_at(TwoFloat depth, std::uint32_t angle, std::uint32_t side) {
  Decay const e = decay(depth);  // U^(1/a)
  bool const own_is_smaller = side >> 31 == 0;
  // With W = T^2 / 2a = spread / value: 1 / (1 + W) = value / (value + spread) and |1 - 2 X| =
  // sqrt(W / (1 + W)).
  float const spread = e.lost * sine_squared(angle);
  float const inverse = 1.0f / (e.value + spread);
  float const gap = std::sqrt(spread * inverse);
  // Near 1/2 each side is rounded from the gap itself: 1 - smaller would round twice, which shows
  // at a = 1e6.
  bool const near = gap < 0.5f;
  float const smaller = choose(near, std::fma(-0.5f, gap, 0.5f),
                               halved(e.mantissa * inverse / (2.0f + 2.0f * gap), e.halvings));
  float const larger = choose(near, std::fma(0.5f, gap, 0.5f), 1.0f - smaller);
  return weight_from(smaller, larger, own_is_smaller);
}

/// The weight whose logit lies at this distance e to the side of the mode's.
MIXFUSE_HD inline Weight weight_at(BetaLaw const& law, Side side, float distance, Decay const& e) {
  if (distance <
      0.5f) {  // as a step from the mode: full precision on both sides when the law is narrow
    float const growth = side == Side::left ? -e.lost : e.lost / e.value;
    float const step = law.mode.hi * law.rest.hi * growth / (1.0f + law.mode.hi * growth);
    return {law.mode.hi + (law.mode.lo + step), law.rest.hi + (law.rest.lo - step)};
  }
  float const ratio = side == Side::left ? law.odds : law.inverse_odds;
  float const odds =
      halved(ratio * e.mantissa, e.halvings);  // of X to the left, of 1 - X to the right
  float const smaller = (odds > 1.0f ? 1.0f : odds) / (1.0f + odds);
  return weight_from(smaller, 1.0f - smaller, side == Side::left || odds > 1.0f);
}

template <class Source>
MIXFUSE_HD inline Weight draw_by_rejection(BetaLaw const& law, Source& words) {
  for (std::uint32_t t = 0;; ++t) {
    Words const block = words(t);
    bool const left_tail = block.w[2] < law.left.share;
    bool const right_tail = ~block.w[2] < law.right.share;
    Side side = left_tail ? Side::left : Side::right;
    TwoFloat distance;
    float hat_drop = 0.0f;
    if (left_tail || right_tail) {
      HatSide const& hat = left_tail ? law.left : law.right;
      TwoFloat const depth = negative_log(block.w[0], block.w[1]);
      TwoFloat const beyond = product(depth, {hat.scale, 0.0f});
      distance = two_sum(hat.corner, beyond.hi);
      distance = two_sum(distance.hi, distance.lo + beyond.lo);
      hat_drop = depth.hi;
    } else {
      std::uint32_t const low = (block.w[0] << 16 | block.w[1] >> 16) & 0xffffffu;
      TwoFloat const uniform = {static_cast<float>(block.w[0] >> 8) * 0x1p-24f,
                                static_cast<float>(low) * 0x1p-48f};
      TwoFloat const along = product(uniform, {law.left.corner + law.right.corner, 0.0f});
      TwoFloat z = two_sum(along.hi, -law.left.corner);
      z = two_sum(z.hi, z.lo + along.lo);
      side = z.hi < 0.0f ? Side::left : Side::right;
      distance = side == Side::left ? TwoFloat{-z.hi, -z.lo} : z;
    }
    Decay const e = decay(distance);
    float const allowed = hat_drop + negative_log(block.w[3], 0x80000000u).hi;
    if (t + 1 == most_tries || log_drop(law, side, distance.hi, e) <= allowed) {
      return weight_at(law, side, distance.hi, e);
    }
  }
}

/// words(block) gives the four words of a block. A symmetric law asks for block 0 only, another for
/// block t in its try t, at most `most_tries`.
template <class Source>
MIXFUSE_HD inline Weight draw_beta(BetaLaw const& law, Source&& words) {
  if (law.symmetric) {
    Words const block = words(std::uint32_t{0});
    return weight_at(depth_of(law, block), block.w[2], block.w[3]);
  }
  Weight const weight = draw_by_rejection(law, words);
  return law.swapped ? Weight{weight.partner, weight.own} : weight;
}

}  // namespace mixfuse::maths
