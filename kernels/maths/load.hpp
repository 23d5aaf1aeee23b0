// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/hd.hpp"

namespace mixfuse::maths {

/// An element's coordinates on the walk's axes.
struct Place {
  std::int64_t at[Walk::axes];
};

MIXFUSE_HD inline Place place_of(Walk const& walk, std::int64_t element) {
  Place place;
  if (walk.by[Walk::line].by != 0) {
    auto rest = static_cast<std::uint32_t>(element);
    for (int axis = Walk::axes - 1; axis >= 0; --axis) {
      std::uint32_t const quotient = walk.by[axis].quotient(rest);
      place.at[axis] = rest - quotient * walk.by[axis].by;
      rest = quotient;
    }
    return place;
  }
  for (int axis = Walk::axes - 1; axis >= 0; --axis) {
    std::int64_t const extent = walk.extent[axis];
    std::int64_t const rest = extent == 1 ? element : element / extent;
    place.at[axis] = extent == 1 ? 0 : element - rest * extent;
    element = rest;
  }
  return place;
}

MIXFUSE_HD inline Place mirrored(Walk const& walk, Place place) {
  place.at[Walk::line] = walk.extent[Walk::line] - 1 - place.at[Walk::line];
  return place;
}

MIXFUSE_HD inline std::int64_t offset(std::int64_t const (&stride)[Walk::axes],
                                      Place const& place) {
  std::int64_t sum = 0;
  for (int axis = 0; axis < Walk::axes; ++axis) sum += stride[axis] * place.at[axis];
  return sum;
}

MIXFUSE_HD inline bool is_inside(Walk const& walk, Box const& box, Place const& place) {
  bool inside = true;
  for (int axis = Walk::d; axis <= Walk::line; ++axis) {  // no other has a box
    int const of = walk.box_axis[axis];
    if (of >= 0) inside = inside && place.at[axis] >= box.lo[of] && place.at[axis] < box.hi[of];
  }
  return inside;
}

/// Weight of the own sample at an element of the output.
MIXFUSE_HD inline float weight_at(Walk const& walk, Row const& row, Place const& place) {
  return is_inside(walk, row.box, place) ? row.inside : row.outside;
}

/// An output element's channel.
MIXFUSE_HD inline std::int64_t channel_of(Place const& place) {
  return place.at[Walk::planar_channel] + place.at[Walk::grain];  // one of them is absent
}

template <class R>
MIXFUSE_HD inline Map<R> map_of(Affine const& affine, std::int64_t channel) {
  std::int64_t const at = affine.channels == 1 ? 0 : channel;
  if constexpr (std::is_same_v<R, double>) {
    return {affine.scale[at], affine.shift[at]};
  } else {
    return {affine.scale_f32[at], affine.shift_f32[at]};
  }
}

/// A row as it is read: a sample that is its own partner is copied.
MIXFUSE_HD inline Row effective(Row row, std::int64_t sample, bool second) {
  if (!second && row.partner == sample) row.outside = row.inside = 1.0f;
  return row;
}

}  // namespace mixfuse::maths
