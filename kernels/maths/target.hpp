// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/error.hpp"
#include "kernels/maths/hd.hpp"
#include "kernels/maths/pixel.hpp"

namespace mixfuse::maths {

/// A class id of any integer type.
MIXFUSE_HD inline std::int64_t load_id(Matrix<void const> const& ids, std::int64_t sample) {
  std::int64_t const at = sample * ids.stride[0];
  switch (ids.dtype) {
    case DType::u8:
      return static_cast<std::uint8_t const*>(ids.data)[at];
    case DType::i32:
      return static_cast<std::int32_t const*>(ids.data)[at];
    default:
      return static_cast<std::int64_t const*>(ids.data)[at];
  }
}

MIXFUSE_HD inline bool is_ignored(LabelJob const& job, std::int64_t id) {
  return job.has_ignored && id == job.ignored;
}

MIXFUSE_HD inline bool is_bad(LabelJob const& job, std::int64_t id) {
  return !is_ignored(job, id) && (id < 0 || id >= job.classes);
}

/// Smoothed one-hot value of column k. Columns are compared with the id, never indexed by it, so
/// that a bad one cannot reach outside.
MIXFUSE_HD inline float one_hot(LabelJob const& job, std::int64_t id, std::int64_t column) {
  if (is_ignored(job, id) || is_bad(job, id)) return 0.0f;
  return id == column ? job.on : job.off;
}

/// An element of label rows, f32 or narrower, bool included.
MIXFUSE_HD inline float load_value(Matrix<void const> const& rows, std::int64_t at) {
  switch (rows.dtype) {
    case DType::f16:
      return widen(static_cast<F16 const*>(rows.data)[at]);
    case DType::bf16:
      return widen(static_cast<Bf16 const*>(rows.data)[at]);
    case DType::f32:
      return static_cast<float const*>(rows.data)[at];
    default:
      return static_cast<std::uint8_t const*>(rows.data)[at] != 0 ? 1.0f : 0.0f;
  }
}

/// Labels mixed with weight l; 1 and 0 take one side alone.
template <class T>
MIXFUSE_HD inline T mixed(float l, T own, T partner) {
  return l == 1.0f ? own : l == 0.0f ? partner : blend<T>(static_cast<T>(l), own, partner);
}

MIXFUSE_HD inline void store_value(Matrix<void> const& out, std::int64_t at, float value) {
  switch (out.dtype) {
    case DType::f16:
      static_cast<F16*>(out.data)[at] = narrow<F16>(value);
      break;
    case DType::bf16:
      static_cast<Bf16*>(out.data)[at] = narrow<Bf16>(value);
      break;
    default:
      static_cast<float*>(out.data)[at] = value;
      break;
  }
}

/// Weight of the own label.
MIXFUSE_HD inline float label_weight(LabelJob const& job, Row const& row, std::int64_t sample) {
  return !job.second && row.partner == sample ? 1.0f : row.label;
}

/// The dense targets of a row of class ids: one of four values.
struct OneHots {
  std::int64_t own, partner;
  float neither, at_own, at_partner, at_both;

  MIXFUSE_HD float at(std::int64_t column) const {
    bool const is_own = column == own, is_partner = column == partner;
    return is_own ? (is_partner ? at_both : at_own) : is_partner ? at_partner : neither;
  }
};

MIXFUSE_HD inline OneHots one_hots(LabelJob const& job, Row const& row, std::int64_t sample) {
  OneHots hots;
  hots.own = load_id(job.own, sample);
  hots.partner = load_id(job.partners, row.partner);
  float const own_on = one_hot(job, hots.own, hots.own),
              own_off = one_hot(job, hots.own, ~hots.own);
  float const partner_on = one_hot(job, hots.partner, hots.partner);
  float const partner_off = one_hot(job, hots.partner, ~hots.partner);
  float const l = label_weight(job, row, sample);
  hots.neither = mixed(l, own_off, partner_off);
  hots.at_own = mixed(l, own_on, partner_off);
  hots.at_partner = mixed(l, own_off, partner_on);
  hots.at_both = mixed(l, own_on, partner_on);
  return hots;
}

/// One element of dense targets.
MIXFUSE_HD inline void dense_target(LabelJob const& job, Row const& row, std::int64_t sample,
                                    std::int64_t column) {
  std::int64_t const at = sample * job.out.stride[0] + column * job.out.stride[1];
  if (job.ids) return store_value(job.out, at, one_hots(job, row, sample).at(column));
  float const l = label_weight(job, row, sample);
  std::int64_t const own_at = sample * job.own.stride[0] + column * job.own.stride[1];
  std::int64_t const partner_at =
      row.partner * job.partners.stride[0] + column * job.partners.stride[1];
  if (job.own.dtype == DType::f64) {
    static_cast<double*>(job.out.data)[at] =
        mixed(l, static_cast<double const*>(job.own.data)[own_at],
              static_cast<double const*>(job.partners.data)[partner_at]);
    return;
  }
  store_value(job.out, at,
              mixed(l, load_value(job.own, own_at), load_value(job.partners, partner_at)));
}

/// The sparse target of a sample: both ids as they are, a bad one as -1.
MIXFUSE_HD inline void sparse_target(LabelJob const& job, Row const& row, std::int64_t sample) {
  std::int64_t const own = load_id(job.own, sample);
  std::int64_t const partner = load_id(job.partners, row.partner);
  static_cast<std::int64_t*>(job.out.data)[sample * job.out.stride[0]] =
      is_bad(job, own) ? -1 : own;
  static_cast<std::int64_t*>(job.partner.data)[sample * job.partner.stride[0]] =
      is_bad(job, partner) ? -1 : partner;
  static_cast<float*>(job.weight.data)[sample * job.weight.stride[0]] = row.label;
}

/// The mark of a sample's labels, 0 if they are in order. Each own id is checked once, whatever
/// shares it has; a partner's where it comes from a second batch.
MIXFUSE_HD inline std::uint64_t label_mark(LabelJob const& job, Row const& row,
                                           std::int64_t sample) {
  if (!job.ids) return 0;
  std::uint64_t mark = 0;
  if (job.second && is_bad(job, load_id(job.partners, row.partner))) {
    mark = error_mark(ErrorWord::Code::partner_label, row.partner);
  }
  if (is_bad(job, load_id(job.own, sample))) {
    std::uint64_t const own = error_mark(ErrorWord::Code::label, sample);
    if (own > mark) mark = own;
  }
  return mark;
}

}  // namespace mixfuse::maths
