// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/threads.hpp"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"

namespace mixfuse::cpu {
namespace {

/// Elements `step` apart.
template <class T>
struct Run {
  T* data;
  std::int64_t step;
};

template <class Out, class In>
void copy_run(Run<Out> out, Run<In const> in, std::int64_t count) {
  if (out.step == 1 && in.step == 1) {
    if constexpr (std::is_same_v<In, Out>) {
      std::memcpy(out.data, in.data, static_cast<std::size_t>(count) * sizeof(In));
    } else {
      for (std::int64_t i = 0; i < count; ++i) out.data[i] = maths::copied<Out>(in.data[i]);
    }
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    out.data[i * out.step] = maths::copied<Out>(in.data[i * in.step]);
  }
}

template <class Out, class In>
[[gnu::always_inline]] inline void blend_dense(Out* out, In const* own, In const* partner,
                                               std::int64_t count, float weight) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = maths::blended<Out>(weight, own[i], partner[i]);
  }
}

#if defined(__x86_64__)
/// The same bits: plain x86-64 has no fma, and calls a function for each.
template <class Out, class In>
[[gnu::target("avx2,fma")]] void blend_dense_fma(Out* out, In const* own, In const* partner,
                                                 std::int64_t count, float weight) {
  blend_dense(out, own, partner, count, weight);
}

bool has_fma() {
  static bool const has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}
#endif

/// A run of elements that share a weight.
template <class Out, class In>
void blend_run(Run<Out> out, Run<In const> own, Run<In const> partner, std::int64_t count,
               float weight) {
  if (weight == 1.0f) return copy_run(out, own, count);
  if (weight == 0.0f) return copy_run(out, partner, count);
  if (out.step == 1 && own.step == 1 && partner.step == 1) {
#if defined(__x86_64__)
    if (has_fma()) return blend_dense_fma(out.data, own.data, partner.data, count, weight);
#endif
    return blend_dense(out.data, own.data, partner.data, count, weight);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    out.data[i * out.step] =
        maths::blended<Out>(weight, own.data[i * own.step], partner.data[i * partner.step]);
  }
}

/// The same, normalised.
template <class Out, class In>
void map_run(Run<Out> out, Run<In const> own, Run<In const> partner, std::int64_t count,
             float weight, maths::Map<maths::Real<In>> map) {
  for (std::int64_t i = 0; i < count; ++i) {
    In const a = weight == 0.0f ? In{} : own.data[i * own.step];
    In const b = weight == 1.0f ? In{} : partner.data[i * partner.step];
    out.data[i * out.step] = weight == 1.0f   ? maths::copied<Out>(a, map)
                             : weight == 0.0f ? maths::copied<Out>(b, map)
                                              : maths::blended<Out>(weight, a, b, map);
  }
}

/// One sample's side of a line: where its element 0 lies and how far the next is, mirrored or not.
template <class T>
struct Side {
  T* data;
  std::int64_t line, grain;
};

template <class T>
Side<T> side(T* sample, std::int64_t const (&stride)[Walk::axes], Walk const& walk,
             maths::Place place, bool flip) {
  place.at[Walk::line] = flip ? walk.extent[Walk::line] - 1 : 0;
  return {sample + maths::offset(stride, place), flip ? -stride[Walk::line] : stride[Walk::line],
          stride[Walk::grain]};
}

/// Positions [begin, end) of a line, all with one weight.
template <class Out, class In>
void mix_span(Side<Out> out, Side<In const> own, Side<In const> partner, std::int64_t grains,
              std::int64_t begin, std::int64_t end, float weight, Affine const& affine,
              std::int64_t channel) {
  if (begin >= end) return;
  auto const run = [&](auto side, std::int64_t x, std::int64_t c, std::int64_t step) {
    return Run<std::remove_pointer_t<decltype(side.data)>>{
        side.data + x * side.line + c * side.grain, step};
  };
  if (affine.channels != 0) {
    for (std::int64_t c = 0; c < grains; ++c) {
      map_run(run(out, begin, c, out.line), run(own, begin, c, own.line),
              run(partner, begin, c, partner.line), end - begin, weight,
              maths::map_of<maths::Real<In>>(affine, channel + c));
    }
    return;
  }
  auto const dense = [&](auto side) { return side.grain == 1 && side.line == grains; };
  if (dense(out) && dense(own) && dense(partner)) {
    blend_run(run(out, begin, 0, 1), run(own, begin, 0, 1), run(partner, begin, 0, 1),
              (end - begin) * grains, weight);
  } else if (grains <= end - begin) {
    for (std::int64_t c = 0; c < grains; ++c) {
      blend_run(run(out, begin, c, out.line), run(own, begin, c, own.line),
                run(partner, begin, c, partner.line), end - begin, weight);
    }
  } else {
    for (std::int64_t x = begin; x < end; ++x) {
      blend_run(run(out, x, 0, out.grain), run(own, x, 0, own.grain),
                run(partner, x, 0, partner.grain), grains, weight);
    }
  }
}

template <class In, class Out>
void mix_line(MixJob const& job, std::int64_t sample, std::int64_t line) {
  Walk const& walk = job.walk;
  std::int64_t const length = walk.extent[Walk::line], grains = walk.extent[Walk::grain];
  Row const row = maths::effective(job.rows[sample], sample, job.second);
  bool const partner_flip = !job.second && job.rows[row.partner].flip != 0;
  maths::Place const place = maths::place_of(walk, line * length * grains);

  auto const out =
      side(static_cast<Out*>(job.out) + sample * job.out_pitch, walk.out, walk, place, false);
  auto const own = side(static_cast<In const*>(job.own) + sample * job.own_pitch, walk.own, walk,
                        place, row.flip != 0);
  auto const partner = side(static_cast<In const*>(job.partners) + row.partner * job.partners_pitch,
                            walk.partners, walk, place, partner_flip);

  // The box is one interval of the line, or none of it.
  int const axis = walk.box_axis[Walk::line];
  std::int64_t lo = row.box.lo[axis], hi = row.box.hi[axis];
  maths::Place in_box = place;
  in_box.at[Walk::line] = lo;
  if (lo >= hi || !maths::is_inside(walk, row.box, in_box)) lo = hi = 0;
  mix_span(out, own, partner, grains, 0, lo, row.outside, job.affine, maths::channel_of(place));
  mix_span(out, own, partner, grains, lo, hi, row.inside, job.affine, maths::channel_of(place));
  mix_span(out, own, partner, grains, hi, length, row.outside, job.affine,
           maths::channel_of(place));
}

/// In place, by columns: a block of positions and their mirror images, of all samples in the order
/// of their cycles. The first sample of a cycle is kept until its last is written.
template <class T>
struct Column {
  static constexpr std::int64_t width = 128;
  std::int64_t count = 0;
  std::array<maths::Place, width> place[2];  // at a position, and at its mirror image
  std::array<std::int64_t, width> offset[2];

  Column(Walk const& walk, std::int64_t begin, std::int64_t end) {
    for (std::int64_t element = begin; element < end; ++element) {
      maths::Place const here = maths::place_of(walk, element);
      if (2 * here.at[Walk::line] > walk.extent[Walk::line] - 1) continue;  // its image does it
      auto const i = static_cast<std::size_t>(count++);
      place[0][i] = here;
      place[1][i] = maths::mirrored(walk, here);
      for (int m = 0; m < 2; ++m) offset[m][i] = maths::offset(walk.own, place[m][i]);
    }
  }

  using Values = std::array<std::array<T, width>, 2>;

  void load(Values& values, T const* sample) const {
    for (std::size_t m = 0; m < 2; ++m) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        values[m][i] = sample[offset[m][i]];
      }
    }
  }

  void store(T* sample, Walk const& walk, Row const& row, Values const& own, bool own_flip,
             Values const& partner, bool partner_flip) const {
    for (std::size_t m = 0; m < 2; ++m) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        float const weight = maths::weight_at(walk, row, place[m][i]);
        T const a = own[own_flip ? 1 - m : m][i], b = partner[partner_flip ? 1 - m : m][i];
        sample[offset[m][i]] = weight == 1.0f   ? a
                               : weight == 0.0f ? b
                                                : maths::blended<T>(weight, a, b);
      }
    }
  }
};

template <class T>
void mix_column(MixJob const& job, std::int64_t begin, std::int64_t end) {
  Column<T> const column(job.walk, begin, end);
  T* const data = static_cast<T*>(job.out);
  typename Column<T>::Values first, current, next;
  bool starts = true;
  for (std::int64_t k = 0; k < job.samples; ++k) {
    std::int32_t const entry = job.order[k];
    bool const ends = entry < 0;
    std::int32_t const sample = ends ? ~entry : entry;
    if (starts) {
      column.load(first, data + sample * job.own_pitch);
      current = first;
    }
    Row const row = maths::effective(job.rows[sample], sample, false);
    if (!ends) column.load(next, data + row.partner * job.own_pitch);
    column.store(data + sample * job.own_pitch, job.walk, row, current, row.flip != 0,
                 ends ? first : next, job.rows[row.partner].flip != 0);
    std::swap(current, next);
    starts = ends;
  }
}

}  // namespace

void mix(MixJob const& job, int threads) {
  std::int64_t const line = job.walk.extent[Walk::line] * job.walk.extent[Walk::grain];
  std::int64_t const lines = line == 0 ? 0 : job.walk.elements / line;
  with_pair(job.dtype_in, job.dtype_out, [&](auto in, auto out) {
    parallel_for(job.samples * lines, threads, [&](std::int64_t i) {
      mix_line<typename decltype(in)::type, typename decltype(out)::type>(job, i / lines,
                                                                          i % lines);
    });
  });
}

void mix_in_place(MixJob const& job, int threads) {
  constexpr std::int64_t width = Column<float>::width;
  std::int64_t const blocks = (job.walk.elements + width - 1) / width;
  with_dtype(job.dtype_in, [&](auto tag) {
    parallel_for(blocks, threads, [&](std::int64_t block) {
      mix_column<typename decltype(tag)::type>(job, block * width,
                                               std::min((block + 1) * width, job.walk.elements));
    });
  });
}

}  // namespace mixfuse::cpu
