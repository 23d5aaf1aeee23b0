// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/packed.cuh"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"

/// What a thread owns: the same few positions of every sample. A column says how a sample is read
/// and written there; the kernels walk the samples and know nothing of layouts.
namespace mixfuse::cuda {

/// A position of the order, as all threads of a warp or of a block read it.
struct Entry {
  std::int64_t own, partner, out;  // where samples begin, in elements
  float outside, inside;
  std::int32_t lo[3], hi[3];  // the box on the walk's axes from d to the line
  bool flip, partner_flip;
  bool ends;     // its partner is the first sample of its cycle
  bool follows;  // its partner is the sample of the next entry
};

// Through the job's pointers, so that accesses are known to be of global memory.
template <class T>
__device__ T const* own_of(MixJob const& job, Entry const& entry) {
  return static_cast<T const*>(job.own) + entry.own;
}
template <class T>
__device__ T const* partner_of(MixJob const& job, Entry const& entry) {
  return static_cast<T const*>(job.partners) + entry.partner;
}
template <class T>
__device__ T* out_of(MixJob const& job, Entry const& entry) {
  return static_cast<T*>(job.out) + entry.out;
}

/// Weights of the own sample at a column's positions.
template <int count>
struct Weights {
  static constexpr std::uint32_t all = (1u << count) - 1;
  float outside, inside;
  std::uint32_t mask;  // a bit a position: inside the row's box

  /// By a box's edge.
  __device__ bool are_divided() const { return mask != 0 && mask != all; }
  /// The only one; where they are divided, one that takes both sides.
  __device__ float only() const { return mask == 0 ? outside : mask == all ? inside : 0.5f; }
};

/// Does `with` the only weight, most often, or with divided ones.
template <int count, class With>
__device__ void decide(Weights<count> const& weights, With const& with) {
  weights.are_divided() ? with(weights) : with(weights.only());
}
template <class With>
__device__ void decide(float weight, With const& with) {
  with(weight);
}

/// Makes output elements of own and partner ones. Position i is element i * stride + first of what
/// was read. A u8 is never mapped, nor is what is mixed in place.
template <class In, class Out, int count, bool maps = sizeof(Out) != 1>
struct Mixing {
  using Real = maths::Real<In>;
  maths::Map<Real> map = {1, 0};
  bool mapped;

  __device__ explicit Mixing(Affine const& affine) : mapped{maps && affine.channels > 0} {
    if (mapped) map = maths::map_of<Real>(affine, 0);
  }
  /// Where each channel may have a map of its own.
  __device__ void set_channel(Affine const& affine, std::int64_t channel) {
    if (maps && affine.channels > 1) map = maths::map_of<Real>(affine, channel);
  }

  /// One weight for all positions.
  template <int stride = 1, int first = 0, class Raw>
  __device__ Packed<Out, count> operator()(float weight, Raw const& own, Raw const& partner) const {
    // Bytes are blended by 1 and 0 to what they are, and to be converted they are widened anyway.
    constexpr bool blends_exactly = sizeof(In) == 1 && sizeof(Out) > 1;
    if (!blends_exactly && (weight == 1.0f || weight == 0.0f)) {
      Raw raw;
#pragma unroll
      for (unsigned i = 0; i < Raw::words; ++i) {
        raw.word[i] = weight == 1.0f ? own.word[i] : partner.word[i];
      }
      return copied<stride, first>(raw);
    }
    Real x[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      int const at = i * stride + first;
      x[i] = maths::blend_raw(static_cast<Real>(weight), own.wide(at), partner.wide(at));
    }
    return with_map(x);
  }

  /// Weights that may differ.
  template <int stride = 1, int first = 0, class Raw>
  __device__ Packed<Out, count> operator()(Weights<count> const& weights, Raw const& own,
                                           Raw const& partner) const {
    Packed<Out, count> out;
#pragma unroll 1
    for (int side = 0; side < 2; ++side) {
      std::uint32_t const part = side == 0 ? weights.all & ~weights.mask : weights.mask;
      if (part == 0) continue;
      float const weight = side == 0 ? weights.outside : weights.inside;
      auto const made = this->template operator()<stride, first>(weight, own, partner);
      if (part == weights.all) return made;
      out.take(part, made);
    }
    return out;
  }

 private:
  __device__ Packed<Out, count> with_map(Real* x) const {
    // Of u8 the identity changes no bit.
    if (maps && (mapped || sizeof(In) == 1)) {
#pragma unroll
      for (int i = 0; i < count; ++i) x[i] = maths::mapped(x[i], map);
    }
    return rounded<In, Out, count>(x, [](Real y) { return maths::narrow_to_one_nan<Out>(y); });
  }

  template <int stride, int first, class Raw>
  __device__ Packed<Out, count> copied(Raw const& raw) const {
    if constexpr (std::is_same_v<In, Out>) {
      if (!mapped) {
        if constexpr (std::is_same_v<Raw, Packed<Out, count>>) return raw;
        Packed<Out, count> out;
#pragma unroll
        for (int i = 0; i < count; ++i) out.put(i, raw.at(i * stride + first));
        return out;
      }
    }
    Real x[count];
#pragma unroll
    for (int i = 0; i < count; ++i) x[i] = raw.wide(i * stride + first);
    if (mapped || std::is_same_v<In, Out> || sizeof(In) == 1) return with_map(x);
    return rounded<In, Out, count>(x, [](Real y) { return maths::narrow<Out>(y); });
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

/// The boxed coordinates of a column's first position, and which of the following are in a box.
struct Spot {
  std::int32_t at[3] = {}, grain = 0;

  Spot() = default;
  __device__ explicit Spot(maths::Place const& place)
      : grain{static_cast<std::int32_t>(place.at[Walk::grain])} {
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      at[axis] = static_cast<std::int32_t>(place.at[Walk::d + axis]);
    }
  }

  /// Of a pixel of an image.
  __device__ Spot(Walk const& walk, std::int64_t pixel) {
    maths::Divisor const& line = walk.by[Walk::line];
    std::uint32_t const y = line.quotient(static_cast<std::uint32_t>(pixel));
    at[1] = static_cast<std::int32_t>(y);
    at[2] = static_cast<std::int32_t>(static_cast<std::uint32_t>(pixel) - y * line.by);
  }

  __device__ bool is_in(Entry const& entry) const {
    bool inside = true;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      inside = inside && at[axis] >= entry.lo[axis] && at[axis] < entry.hi[axis];
    }
    return inside;
  }

  /// `count` positions along a line.
  __device__ std::uint32_t along_line(Entry const& entry, int count) const {
    std::int32_t const lo = min(max(entry.lo[2] - at[2], 0), count);
    std::int32_t const hi = min(max(entry.hi[2] - at[2], 0), count);
    bool const crosses = at[0] >= entry.lo[0] && at[0] < entry.hi[0] && at[1] >= entry.lo[1] &&
                         at[1] < entry.hi[1] && lo < hi;
    return crosses ? (1u << hi) - (1u << lo) : 0;
  }

  /// `count` elements in the walk's order, over the ends of lines.
  __device__ std::uint32_t along_walk(Walk const& walk, Entry const& entry, int count) const {
    Spot spot = *this;
    std::uint32_t mask = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      mask |= std::uint32_t{spot.is_in(entry)} << i;
      if (++spot.grain < walk.extent[Walk::grain]) continue;
      spot.grain = 0;
      if (++spot.at[2] < walk.extent[Walk::line]) continue;
      spot.at[2] = 0;
      if (++spot.at[1] < walk.extent[Walk::h]) continue;
      spot.at[1] = 0;
      if (++spot.at[0] == walk.extent[Walk::d]) spot.at[0] = 0;
    }
    return mask;
  }
};

/// Consecutive elements of samples that all lie alike and without gaps: one access a sample, of 16
/// bytes on the wider side.
template <class A, class B, bool maps = sizeof(B) != 1>
struct Vector {
  static constexpr int count = 16 / static_cast<int>(sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B));
  using In = A;
  using Out = B;
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
      : element{column * count}, image{element}, mixing(job.affine) {
    if (!job.boxes && !job.flips && !(maps && job.affine.channels > 1)) return;
    Walk const& walk = job.walk;
    maths::Place const place = maths::place_of(walk, element);
    spot = Spot(place);
    mixing.set_channel(job.affine, maths::channel_of(place));
    in_line = walk.extent[Walk::grain] == 1 && walk.extent[Walk::line] % count == 0;
    if (job.flips)
      image += walk.extent[Walk::line] - count - 2 * std::int64_t{spot.at[2]};  // lines are whole
  }

  __device__ static constexpr bool is_mine() { return true; }

  __device__ std::uint32_t inside(MixJob const& job, Entry const& entry) const {
    return in_line ? spot.along_line(entry, count) : spot.along_walk(job.walk, entry, count);
  }

  __device__ Raw load(In const* sample, bool flip = false) const {
    Raw raw;
    raw.load(sample + (flip ? image : element));
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, Entry const& entry) const {
    return load(own_of<In>(job, entry), entry.flip);
  }
  __device__ Raw load_partner(MixJob const& job, Entry const& entry) const {
    return load(partner_of<In>(job, entry), entry.partner_flip);
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<1>() : raw;
  }

  template <class Weight>
  __device__ void store(MixJob const& job, Entry const& entry, Weight const& weight, Raw const& own,
                        Raw const& partner) const {
    decide(weight, [&](auto const& decided) {
      mixing(decided, own, partner).store(out_of<Out>(job, entry) + element);
    });
  }
};

/// Consecutive pixels of three bytes (nhwc), which become a piece of each of three planes (nchw),
/// or pixels again.
template <class B>
struct Pixels {
  using In = std::uint8_t;
  using Out = B;
  static constexpr int count = 16 / static_cast<int>(sizeof(Out)), channels = 3;
  using Raw = Packed<In, count * channels>;

  std::int64_t pixel, image;
  Spot spot;
  bool in_line;
  Mixing<In, Out, count> mixing;

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
           walk.by[Walk::line].by != 0 && line * lines % count == 0 && is_pixels(walk.own) &&
           is_pixels(walk.partners) && out_fits &&
           is_aligned(job.own, job.own_pitch, 1, Raw::alignment) &&
           is_aligned(job.partners, job.partners_pitch, 1, Raw::alignment) &&
           is_aligned(job.out, job.out_pitch, sizeof(Out), 16) && (!job.flips || line % count == 0);
  }

  __device__ Pixels(MixJob const& job, std::int64_t column)
      : pixel{column * count}, image{pixel}, mixing(job.affine) {
    if (!job.boxes && !job.flips) return;
    Walk const& walk = job.walk;
    spot = Spot(walk, pixel);
    in_line = walk.extent[Walk::line] % count == 0;
    if (job.flips) image += walk.extent[Walk::line] - count - 2 * std::int64_t{spot.at[2]};
  }

  __device__ std::uint32_t inside(MixJob const& job, Entry const& entry) const {
    return in_line ? spot.along_line(entry, count) : spot.along_walk(job.walk, entry, count);
  }

  __device__ Raw load(In const* sample, bool flip) const {
    Raw raw;
    raw.load(sample + (flip ? image : pixel) * channels);
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, Entry const& entry) const {
    return load(own_of<In>(job, entry), entry.flip);
  }
  __device__ Raw load_partner(MixJob const& job, Entry const& entry) const {
    return load(partner_of<In>(job, entry), entry.partner_flip);
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<channels>() : raw;
  }

  __device__ void store(MixJob const& job, Entry const& entry, Weights<count> const& weights,
                        Raw const& own, Raw const& partner) const {
    decide(weights, [&](auto const& weight) { write(job, entry, weight, own, partner); });
  }

 private:
  template <class Weight>
  __device__ void write(MixJob const& job, Entry const& entry, Weight const& weight, Raw const& own,
                        Raw const& partner) const {
    Out* const out = out_of<Out>(job, entry);
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

  /// Of one channel.
  template <int channel, class Weight>
  __device__ Packed<Out, count> mixed(MixJob const& job, Weight const& weight, Raw const& own,
                                      Raw const& partner) const {
    auto of_channel = mixing;
    of_channel.set_channel(job.affine, channel);
    return of_channel.template operator()<channels, channel>(weight, own, partner);
  }
};

/// Consecutive elements of samples that lie without gaps, but each from another address modulo 16:
/// accesses lie on multiples of 16 of the output sample, and what is read is shifted. The first and
/// the last columns reach over the sample's ends and go element by element.
template <class T>
struct Shifted {
  using In = T;
  using Out = T;
  static constexpr int count = 16 / static_cast<int>(sizeof(T));
  using Raw = Packed<T, count>;

  std::int64_t column;
  Mixing<T, T, count, false> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements / count + 2; }

  static bool fits(MixJob const& job) {
    return is_dense(job.walk, job.walk.own) && is_dense(job.walk, job.walk.partners) &&
           is_dense(job.walk, job.walk.out) && !job.flips && job.affine.channels == 0;
  }

  __device__ Shifted(MixJob const& job, std::int64_t index) : column{index}, mixing(job.affine) {}

  /// The column's first element in an output sample, which may be before it.
  __device__ std::int64_t first(MixJob const& job, Entry const& entry) const {
    auto const beyond = reinterpret_cast<std::uintptr_t>(out_of<T>(job, entry)) % 16 / sizeof(T);
    return column * count - static_cast<std::int64_t>(beyond);
  }

  __device__ std::uint32_t inside(MixJob const& job, Entry const& entry) const {
    std::int64_t const begin = first(job, entry), from = begin < 0 ? 0 : begin;
    if (from >= job.walk.elements) return 0;
    Spot const spot(maths::place_of(job.walk, from));
    return spot.along_walk(job.walk, entry, count) << (from - begin) & Weights<count>::all;
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
  __device__ Raw load_own(MixJob const& job, Entry const& entry) const {
    return load(job, own_of<T>(job, entry), first(job, entry));
  }
  __device__ Raw load_partner(MixJob const& job, Entry const& entry) const {
    return load(job, partner_of<T>(job, entry), first(job, entry));
  }
  __device__ Raw turned(Raw const& raw, bool) const { return raw; }

  template <class Weight>
  __device__ void store(MixJob const& job, Entry const& entry, Weight const& weight, Raw const& own,
                        Raw const& partner) const {
    auto const mixed = mixing(weight, own, partner);
    std::int64_t const begin = first(job, entry);
    T* const to = out_of<T>(job, entry);
    if (begin >= 0 && begin + count <= job.walk.elements) return mixed.store(to + begin);
#pragma unroll
    for (int i = 0; i < count; ++i) {
      if (begin + i >= 0 && begin + i < job.walk.elements) to[begin + i] = mixed.at(i);
    }
  }
};

/// One element, of any layout.
template <class A, class B>
struct Element {
  using In = A;
  using Out = B;
  static constexpr int count = 1;
  using Raw = Packed<In, 1>;

  Spot spot;
  std::int64_t out, own[2], partner[2];  // as it lies, and mirrored
  Mixing<In, Out, 1> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements; }

  __device__ Element(MixJob const& job, std::int64_t column) : mixing(job.affine) {
    Walk const& walk = job.walk;
    maths::Place const place = maths::place_of(walk, column);
    maths::Place const image = maths::mirrored(walk, place);
    spot = Spot(place);
    mixing.set_channel(job.affine, maths::channel_of(place));
    out = maths::offset(walk.out, place);
    own[0] = maths::offset(walk.own, place);
    own[1] = maths::offset(walk.own, image);
    partner[0] = maths::offset(walk.partners, place);
    partner[1] = maths::offset(walk.partners, image);
  }

  __device__ std::uint32_t inside(MixJob const&, Entry const& entry) const {
    return spot.is_in(entry);
  }

  __device__ static Raw load(In const* sample, std::int64_t at) {
    Raw raw;
    raw.put(0, sample[at]);
    return raw;
  }
  __device__ Raw load_own(MixJob const& job, Entry const& entry) const {
    return load(own_of<In>(job, entry), entry.flip ? own[1] : own[0]);
  }
  __device__ Raw load_partner(MixJob const& job, Entry const& entry) const {
    return load(partner_of<In>(job, entry), entry.partner_flip ? partner[1] : partner[0]);
  }
  __device__ Raw turned(Raw const& raw, bool) const { return raw; }

  template <class Weight>
  __device__ void store(MixJob const& job, Entry const& entry, Weight const& weight, Raw const& a,
                        Raw const& b) const {
    out_of<Out>(job, entry)[out] = mixing(weight, a, b).at(0);
  }
};

/// In place, of any layout and with flips: an element and its mirror image, since each is written
/// over the other's source.
template <class T>
struct Twin {
  using In = T;
  using Out = T;
  static constexpr int count = 2;
  using Raw = Packed<T, 2>;

  Spot spot[2];
  std::int64_t offset[2];
  Mixing<T, T, 2, false> mixing;

  static std::int64_t columns(MixJob const& job) { return job.walk.elements; }

  __device__ Twin(MixJob const& job, std::int64_t column) : mixing(job.affine) {
    Walk const& walk = job.walk;
    maths::Place const place = maths::place_of(walk, column);
    maths::Place const image = maths::mirrored(walk, place);
    spot[0] = Spot(place);
    spot[1] = Spot(image);
    offset[0] = maths::offset(walk.own, place);
    offset[1] = maths::offset(walk.own, image);
  }

  /// Else its image's column does it.
  __device__ bool is_mine() const { return spot[0].at[2] <= spot[1].at[2]; }

  __device__ std::uint32_t inside(MixJob const&, Entry const& entry) const {
    return std::uint32_t{spot[0].is_in(entry)} | std::uint32_t{spot[1].is_in(entry)} << 1;
  }

  __device__ Raw load(T const* sample) const {
    Raw raw;
    raw.put(0, sample[offset[0]]);
    raw.put(1, sample[offset[1]]);
    return raw;
  }
  __device__ Raw turned(Raw const& raw, bool flip) const {
    return flip ? raw.template reversed<1>() : raw;
  }

  template <class Weight>
  __device__ void store(MixJob const& job, Entry const& entry, Weight const& weight, Raw const& own,
                        Raw const& partner) const {
    T* const to = out_of<T>(job, entry);
    auto const mixed = mixing(weight, own, partner);
    to[offset[0]] = mixed.at(0);
    to[offset[1]] = mixed.at(1);
  }
};

}  // namespace mixfuse::cuda
