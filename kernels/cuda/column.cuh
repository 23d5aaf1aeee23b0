// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/cuda/packed.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"

/// What a thread owns: the same few positions of every sample. A column says how a sample is read
/// and written there; the kernels walk the samples and know nothing of layouts.
namespace mixfuse::cuda {

/// Weights of the own sample at a column's positions.
template <int count>
struct Weights {
  static constexpr std::uint32_t all = (1u << count) - 1;
  float outside, inside;
  std::uint32_t mask;  // a bit a position: inside the row's box

  __device__ bool are(float weight) const {
    return (mask == all || outside == weight) && (mask == 0 || inside == weight);
  }
  __device__ bool are_one() const { return mask == 0 || mask == all || inside == outside; }
  __device__ float at(int i) const { return (mask >> i & 1) != 0 ? inside : outside; }
};

/// Makes output elements of own and partner ones; view(raw, i) is the element at position i. A u8
/// is never mapped, nor is what is mixed in place.
template <class In, class Out, int count, bool maps = sizeof(Out) != 1>
struct Mixing {
  using Map = maths::Map<maths::Real<In>>;
  Map map;
  bool mapped;

  __device__ Mixing(Affine const& affine, std::int64_t channel)
      : map{1, 0}, mapped{maps && affine.channels > 0} {
    if (mapped) map = maths::map_of<maths::Real<In>>(affine, channel);
  }

  /// One weight for all positions.
  template <class Raw, class View>
  __device__ Packed<Out, count> operator()(float weight, Raw const& own, Raw const& partner,
                                           View const& view) const {
    // Of u8 the identity changes no bit.
    if constexpr (sizeof(In) == 1) return made<maps>(weight, own, partner, view);
    return mapped ? made<true>(weight, own, partner, view)
                  : made<false>(weight, own, partner, view);
  }

  /// Weights that differ: a loop over the registers' first elements, which are then shifted out.
  template <class Raw, class View>
  __device__ Packed<Out, count> operator()(Weights<count> weights, Raw own, Raw partner,
                                           View const& view) const {
    constexpr int narrow = static_cast<int>(sizeof(In) < sizeof(Out) ? sizeof(In) : sizeof(Out));
    constexpr int step = narrow >= 4 ? 1 : 4 / narrow < count ? 4 / narrow : count;
    constexpr unsigned words = Raw::words * unsigned{step} / unsigned{count};
    Packed<Out, count> out;
#pragma unroll 1
    for (int done = 0; done < count; done += step) {
      Packed<Out, step> made;
#pragma unroll
      for (int i = 0; i < step; ++i) {
        float const weight = weights.at(i);
        In const a = view(own, i), b = view(partner, i);
        made.put(i, mapped ? element<true>(weight, a, b) : element<false>(weight, a, b));
      }
      weights.mask >>= step;
      own.shift(words);
      partner.shift(words);
      out.append(made);
    }
    return out;
  }

 private:
  template <bool with_map>
  __device__ Out element(float weight, In own, In partner) const {
    if (weight == 1.0f || weight == 0.0f) {
      In const x = weight == 1.0f ? own : partner;
      if constexpr (with_map) return maths::copied<Out>(x, map);
      return maths::copied<Out>(x);
    }
    if constexpr (with_map) return maths::blended<Out>(weight, own, partner, map);
    return maths::blended<Out>(weight, own, partner);
  }

  template <bool with_map, class Raw, class View>
  __device__ Packed<Out, count> made(float weight, Raw const& own, Raw const& partner,
                                     View const& view) const {
    Packed<Out, count> out;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      out.put(i, element<with_map>(weight, view(own, i), view(partner, i)));
    }
    return out;
  }
};

/// Whether an address and what is added to it are multiples of `bytes`.
inline bool is_aligned(void const* data, std::int64_t pitch, std::size_t size, int bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(bytes) == 0 &&
         pitch * static_cast<std::int64_t>(size) % bytes == 0;
}

/// Whether a sample's elements lie in the walk's order without gaps.
inline bool is_dense(Walk const& walk, std::int64_t const (&stride)[Walk::axes]) {
  std::int64_t next = 1;
  for (int axis = Walk::axes - 1; axis >= 0; --axis) {
    if (walk.extent[axis] != 1 && stride[axis] != next) return false;
    next *= walk.extent[axis];
  }
  return true;
}

template <class T>
__device__ T const* sample_of(void const* data, std::int64_t pitch, std::int64_t sample) {
  return static_cast<T const*>(data) + sample * pitch;
}

/// The boxed coordinates of a column's first position, and which of the following are in a box.
struct Spot {
  std::int32_t d, h, line, grain;

  __device__ Spot(Walk const& walk, std::int64_t element) {
    maths::Place const place = maths::place_of(walk, element);
    d = static_cast<std::int32_t>(place.at[Walk::d]);
    h = static_cast<std::int32_t>(place.at[Walk::h]);
    line = static_cast<std::int32_t>(place.at[Walk::line]);
    grain = static_cast<std::int32_t>(place.at[Walk::grain]);
  }

  static __device__ bool within(Walk const& walk, Box const& box, int axis, std::int32_t at) {
    int const of = walk.box_axis[axis];
    return of < 0 || (at >= box.lo[of] && at < box.hi[of]);
  }

  /// `count` positions along a line.
  __device__ std::uint32_t along_line(Walk const& walk, Box const& box, int count) const {
    if (!within(walk, box, Walk::d, d) || !within(walk, box, Walk::h, h)) return 0;
    int const of = walk.box_axis[Walk::line];
    std::int32_t const lo = min(max(box.lo[of] - line, 0), count);
    std::int32_t const hi = min(max(box.hi[of] - line, 0), count);
    return lo < hi ? (1u << hi) - (1u << lo) : 0;
  }

  /// `count` elements in the walk's order, over the ends of lines.
  __device__ std::uint32_t along_walk(Walk const& walk, Box const& box, int count) const {
    Spot at = *this;
    std::uint32_t mask = 0;
    for (int i = 0; i < count; ++i) {
      bool const inside = within(walk, box, Walk::d, at.d) && within(walk, box, Walk::h, at.h) &&
                          within(walk, box, Walk::line, at.line);
      mask |= std::uint32_t{inside} << i;
      if (++at.grain < walk.extent[Walk::grain]) continue;
      at.grain = 0;
      if (++at.line < walk.extent[Walk::line]) continue;
      at.line = 0;
      if (++at.h < walk.extent[Walk::h]) continue;
      at.h = 0;
      if (++at.d == walk.extent[Walk::d]) at.d = 0;
    }
    return mask;
  }
};

/// Consecutive elements of samples that all lie alike and without gaps: one access a sample, of 16
/// bytes on the wider side.
template <class In, class Out, bool maps = sizeof(Out) != 1>
struct Vector {
  static constexpr int count =
      16 / static_cast<int>(sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out));
  using Raw = Packed<In, count>;

  std::int64_t element, image;  // where it lies, and where its mirror image does
  Spot spot;
  bool in_line;
  Mixing<In, Out, count, maps> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements / count; }

  static bool fits(MixJob const& job) {
    Walk const& walk = job.walk;
    std::int64_t const line = walk.extent[Walk::line], grains = walk.extent[Walk::grain];
    std::int64_t const plane = walk.extent[Walk::d] * walk.extent[Walk::h] * line;
    return walk.elements % count == 0 && is_dense(walk, walk.own) &&
           is_dense(walk, walk.partners) && is_dense(walk, walk.out) &&
           is_aligned(job.own, job.own_pitch, sizeof(In), Raw::alignment) &&
           is_aligned(job.partners, job.partners_pitch, sizeof(In), Raw::alignment) &&
           is_aligned(job.out, job.out_pitch, sizeof(Out), Packed<Out, count>::alignment) &&
           (!job.flips || (grains == 1 && line % count == 0)) &&
           (job.affine.channels <= 1 || (grains == 1 && plane % count == 0));
  }

  __device__ Vector(MixJob const& job, std::int64_t column)
      : element{column * count},
        image{element},
        spot(job.walk, element),
        mixing(job.affine, maths::channel_of(maths::place_of(job.walk, element))) {
    Walk const& walk = job.walk;
    in_line = walk.extent[Walk::grain] == 1 && walk.extent[Walk::line] % count == 0;
    if (job.flips) image += walk.extent[Walk::line] - count - 2 * spot.line;  // lines are whole
  }

  __device__ static constexpr bool is_mine() { return true; }

  __device__ std::uint32_t inside(MixJob const& job, std::int64_t, Box const& box) const {
    return in_line ? spot.along_line(job.walk, box, count) : spot.along_walk(job.walk, box, count);
  }

  __device__ Raw load(In const* sample, bool flip) const {
    Raw raw;
    raw.load(sample + (flip ? image : element));
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, std::int64_t sample, bool flip) const {
    return load(sample_of<In>(job.own, job.own_pitch, sample), flip);
  }
  __device__ Raw load_partner(MixJob const& job, std::int64_t, std::int64_t partner,
                              bool flip) const {
    return load(sample_of<In>(job.partners, job.partners_pitch, partner), flip);
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<1>() : raw;
  }

  template <class Weight>
  __device__ void store(MixJob const& job, std::int64_t sample, Weight const& weight,
                        Raw const& own, Raw const& partner) const {
    mixing(weight, own, partner, [](Raw const& raw, int i) {
      return raw.at(i);
    }).store(static_cast<Out*>(job.out) + sample * job.out_pitch + element);
  }
};

/// Consecutive pixels of three bytes (nhwc), which become a piece of each of three planes (nchw),
/// or pixels again.
template <class Out>
struct Pixels {
  static constexpr int count = 16 / static_cast<int>(sizeof(Out)), channels = 3;
  using In = std::uint8_t;
  using Raw = Packed<In, count * channels>;

  std::int64_t pixel, image;
  Spot spot;
  bool in_line;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements / (count * channels); }

  __host__ __device__ static bool to_planes(Walk const& walk) {
    return walk.extent[Walk::grain] == 1;
  }

  static bool fits(MixJob const& job) {
    Walk const& walk = job.walk;
    bool const planes = to_planes(walk);
    int const channel = planes ? Walk::planar_channel : Walk::grain;
    std::int64_t const line = walk.extent[Walk::line], lines = walk.extent[Walk::h];
    auto const is_pixels = [&](std::int64_t const(&stride)[Walk::axes]) {
      return stride[channel] == 1 && stride[Walk::line] == channels &&
             stride[Walk::h] == channels * line;
    };
    bool const out_fits = planes ? walk.out[Walk::line] == 1 && walk.out[Walk::h] == line &&
                                       is_aligned(nullptr, walk.out[channel], sizeof(Out), 16)
                                 : is_pixels(walk.out) && line % count == 0;
    return walk.extent[channel] == channels && walk.elements == lines * line * channels &&
           line * lines % count == 0 && is_pixels(walk.own) && is_pixels(walk.partners) &&
           out_fits && is_aligned(job.own, job.own_pitch, 1, Raw::alignment) &&
           is_aligned(job.partners, job.partners_pitch, 1, Raw::alignment) &&
           is_aligned(job.out, job.out_pitch, sizeof(Out), 16) && (!job.flips || line % count == 0);
  }

  __device__ Pixels(MixJob const& job, std::int64_t column)
      : pixel{column * count},
        image{pixel},
        spot(job.walk, to_planes(job.walk) ? pixel : pixel * channels) {
    in_line = job.walk.extent[Walk::line] % count == 0;
    if (job.flips) image += job.walk.extent[Walk::line] - count - 2 * spot.line;
  }

  __device__ std::uint32_t inside(MixJob const& job, std::int64_t, Box const& box) const {
    return in_line ? spot.along_line(job.walk, box, count) : spot.along_walk(job.walk, box, count);
  }

  __device__ Raw load(In const* sample, bool flip) const {
    Raw raw;
    raw.load(sample + (flip ? image : pixel) * channels);
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, std::int64_t sample, bool flip) const {
    return load(sample_of<In>(job.own, job.own_pitch, sample), flip);
  }
  __device__ Raw load_partner(MixJob const& job, std::int64_t, std::int64_t partner,
                              bool flip) const {
    return load(sample_of<In>(job.partners, job.partners_pitch, partner), flip);
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<channels>() : raw;
  }

  template <class Weight>
  __device__ void store(MixJob const& job, std::int64_t sample, Weight const& weight,
                        Raw const& own, Raw const& partner) const {
    Out* const out = static_cast<Out*>(job.out) + sample * job.out_pitch;
    Packed<Out, count> const planes[] = {mixed<0>(job, weight, own, partner),
                                         mixed<1>(job, weight, own, partner),
                                         mixed<2>(job, weight, own, partner)};
    if (to_planes(job.walk)) {
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        planes[c].store(out + c * job.walk.out[Walk::planar_channel] + pixel);
      }
      return;
    }
    Packed<Out, count * channels> pixels;
#pragma unroll
    for (int i = 0; i < count * channels; ++i) {
      pixels.put(i, planes[i % channels].at(i / channels));
    }
    pixels.store(out + pixel * channels);
  }

 private:
  /// Of one channel.
  template <int channel, class Weight>
  __device__ static Packed<Out, count> mixed(MixJob const& job, Weight const& weight,
                                             Raw const& own, Raw const& partner) {
    Mixing<In, Out, count> const mixing(job.affine, channel);
    return mixing(weight, own, partner,
                  [](Raw const& raw, int i) { return raw.at(i * channels + channel); });
  }
};

/// Consecutive elements of samples that lie without gaps, but each from another address modulo 16:
/// accesses lie on multiples of 16 of the output sample, and what is read is shifted. The first and
/// the last columns reach over the sample's ends and go element by element.
template <class T>
struct Shifted {
  static constexpr int count = 16 / static_cast<int>(sizeof(T));
  using Raw = Packed<T, count>;

  std::int64_t column;
  Mixing<T, T, count, false> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements / count + 2; }

  static bool fits(MixJob const& job) {
    return is_dense(job.walk, job.walk.own) && is_dense(job.walk, job.walk.partners) &&
           is_dense(job.walk, job.walk.out) && !job.flips && job.affine.channels == 0;
  }

  __device__ Shifted(MixJob const& job, std::int64_t index)
      : column{index}, mixing(job.affine, 0) {}

  __device__ static T* out(MixJob const& job, std::int64_t sample) {
    return static_cast<T*>(job.out) + sample * job.out_pitch;
  }

  /// The column's first element in an output sample, which may be before it.
  __device__ std::int64_t first(MixJob const& job, std::int64_t sample) const {
    auto const beyond = reinterpret_cast<std::uintptr_t>(out(job, sample)) % 16 / sizeof(T);
    return column * count - static_cast<std::int64_t>(beyond);
  }

  __device__ std::uint32_t inside(MixJob const& job, std::int64_t sample, Box const& box) const {
    std::int64_t const begin = first(job, sample), from = begin < 0 ? 0 : begin;
    if (from >= job.walk.elements) return 0;
    return Spot(job.walk, from).along_walk(job.walk, box, count) << (from - begin) &
           Weights<count>::all;
  }

  __device__ static Raw load(MixJob const& job, T const* sample, std::int64_t begin) {
    Raw raw;
    std::int64_t const end = begin + count;
    if (begin < count || end + count > job.walk.elements) {  // else within the sample, both words
#pragma unroll
      for (int i = 0; i < count; ++i) {
        if (begin + i >= 0 && begin + i < job.walk.elements) raw.put(i, sample[begin + i]);
      }
      return raw;
    }
    auto const address = reinterpret_cast<std::uintptr_t>(sample + begin);
    auto const beyond = static_cast<unsigned>(address % 16);
    Packed<T, 2 * count> both;
    both.load(reinterpret_cast<void const*>(address - beyond));
    if ((beyond & 8) != 0) both.shift(2);
    if ((beyond & 4) != 0) both.shift(1);
#pragma unroll
    for (unsigned i = 0; i < Raw::words; ++i) {
      raw.word[i] = __funnelshift_r(both.word[i], both.word[i + 1], beyond % 4 * 8);
    }
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, std::int64_t sample, bool) const {
    return load(job, sample_of<T>(job.own, job.own_pitch, sample), first(job, sample));
  }
  __device__ Raw load_partner(MixJob const& job, std::int64_t sample, std::int64_t partner,
                              bool) const {
    return load(job, sample_of<T>(job.partners, job.partners_pitch, partner), first(job, sample));
  }
  __device__ Raw turned(Raw const& raw, bool) const { return raw; }

  template <class Weight>
  __device__ void store(MixJob const& job, std::int64_t sample, Weight const& weight,
                        Raw const& own, Raw const& partner) const {
    auto const mixed =
        mixing(weight, own, partner, [](Raw const& raw, int i) { return raw.at(i); });
    std::int64_t const begin = first(job, sample);
    T* const to = out(job, sample);
    if (begin >= 0 && begin + count <= job.walk.elements) return mixed.store(to + begin);
#pragma unroll
    for (int i = 0; i < count; ++i) {
      if (begin + i >= 0 && begin + i < job.walk.elements) to[begin + i] = mixed.at(i);
    }
  }
};

/// One element, of any layout.
template <class In, class Out>
struct Element {
  static constexpr int count = 1;
  using Raw = Packed<In, 1>;

  maths::Place place;
  std::int64_t out, own[2], partner[2];  // as it lies, and mirrored
  Mixing<In, Out, 1> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements; }

  __device__ Element(MixJob const& job, std::int64_t column)
      : place{maths::place_of(job.walk, column)}, mixing(job.affine, maths::channel_of(place)) {
    Walk const& walk = job.walk;
    maths::Place const image = maths::mirrored(walk, place);
    out = maths::offset(walk.out, place);
    own[0] = maths::offset(walk.own, place);
    own[1] = maths::offset(walk.own, image);
    partner[0] = maths::offset(walk.partners, place);
    partner[1] = maths::offset(walk.partners, image);
  }

  __device__ std::uint32_t inside(MixJob const& job, std::int64_t, Box const& box) const {
    return maths::is_inside(job.walk, box, place);
  }

  __device__ Raw load_own(MixJob const& job, std::int64_t sample, bool flip) const {
    Raw raw;
    raw.put(0, sample_of<In>(job.own, job.own_pitch, sample)[flip ? own[1] : own[0]]);
    return raw;
  }
  __device__ Raw load_partner(MixJob const& job, std::int64_t, std::int64_t at, bool flip) const {
    Raw raw;
    raw.put(0, sample_of<In>(job.partners, job.partners_pitch, at)[flip ? partner[1] : partner[0]]);
    return raw;
  }
  __device__ Raw turned(Raw const& raw, bool) const { return raw; }

  template <class Weight>
  __device__ void store(MixJob const& job, std::int64_t sample, Weight const& weight, Raw const& a,
                        Raw const& b) const {
    static_cast<Out*>(job.out)[sample * job.out_pitch + out] =
        mixing(weight, a, b, [](Raw const& raw, int i) { return raw.at(i); }).at(0);
  }
};

/// In place, of any layout and with flips: an element and its mirror image, since each is written
/// over the other's source.
template <class T>
struct Twin {
  static constexpr int count = 2;
  using Raw = Packed<T, 2>;

  maths::Place place[2];
  std::int64_t offset[2];
  Mixing<T, T, 2, false> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements; }

  __device__ Twin(MixJob const& job, std::int64_t column) : mixing(job.affine, 0) {
    Walk const& walk = job.walk;
    place[0] = maths::place_of(walk, column);
    place[1] = maths::mirrored(walk, place[0]);
    offset[0] = maths::offset(walk.own, place[0]);
    offset[1] = maths::offset(walk.own, place[1]);
  }

  /// Else its image's column does it.
  __device__ bool is_mine() const { return place[0].at[Walk::line] <= place[1].at[Walk::line]; }

  __device__ std::uint32_t inside(MixJob const& job, std::int64_t, Box const& box) const {
    return std::uint32_t{maths::is_inside(job.walk, box, place[0])} |
           std::uint32_t{maths::is_inside(job.walk, box, place[1])} << 1;
  }

  __device__ Raw load_own(MixJob const& job, std::int64_t sample, bool) const {
    T const* const from = sample_of<T>(job.own, job.own_pitch, sample);
    Raw raw;
    raw.put(0, from[offset[0]]);
    raw.put(1, from[offset[1]]);
    return raw;
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<1>() : raw;
  }

  template <class Weight>
  __device__ void store(MixJob const& job, std::int64_t sample, Weight const& weight,
                        Raw const& own, Raw const& partner) const {
    T* const to = static_cast<T*>(job.out) + sample * job.out_pitch;
    auto const mixed =
        mixing(weight, own, partner, [](Raw const& raw, int i) { return raw.at(i); });
    to[offset[0]] = mixed.at(0);
    to[offset[1]] = mixed.at(1);
  }
};

}  // namespace mixfuse::cuda
