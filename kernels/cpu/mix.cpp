// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/blocks.hpp"
#include "kernels/cpu/choice.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/// A batch is walked in chunks: some lines of one sample, small enough that they are still in the
/// second-level cache when the next sample of the cycle, which has them as its partner's, comes. A
/// chunk is mixed in tiles that stay in the first level: sources that lie otherwise than the output
/// (mirrored, or channels elsewhere) are brought into its order, then blended by a plain loop.
/// Where there is nothing to bring or to cut out, a chunk is one tile.
namespace mixfuse::cpu {
namespace {

using detail::Isa;

constexpr std::int64_t line_size = 64;                                             // of a cache
constexpr std::int64_t tile_size = 8192, chunk_size = 131072, least_work = 65536;  // bytes
constexpr std::int64_t arranged_size = chunk_size / 2;  // a chunk that is brought into an order
constexpr std::int64_t most_inside = 16;                // channels

/// The maps from element i on.
template <class R>
[[gnu::always_inline]] inline OneMap<R> shifted(OneMap<R> at, std::int64_t) {
  return at;
}
template <class R>
[[gnu::always_inline]] inline MapTable<R> shifted(MapTable<R> at, std::int64_t i) {
  return {at.scale + i, at.shift + i};
}

/// One cache line, past the caches.
[[gnu::always_inline]] inline void stream_line(std::byte* to, std::byte const* from) {
#if defined(__SSE2__)
  for (std::int64_t at = 0; at < line_size; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<__m128i const*>(from + at)));
  }
#else
  std::memcpy(to, from, line_size);
#endif
}

/// A copy that is fetched ahead, and may go past the caches, all but what shares its line with
/// others.
template <bool past>
void copy(std::byte* to, std::byte const* from, std::int64_t size) {
  auto const into = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % line_size);
  std::int64_t done = past ? std::min(size, (line_size - into) % line_size) : 0;
  std::memcpy(to, from, static_cast<std::size_t>(done));
  for (; done + line_size <= size; done += line_size) {
    __builtin_prefetch(from + done + fetch_ahead);
    if constexpr (past) {
      stream_line(to + done, from + done);
    } else {
      std::memcpy(to + done, from + done, line_size);
    }
  }
  std::memcpy(to + done, from + done, static_cast<std::size_t>(size - done));
}

/// Elements that share a weight; `out` may be `own`. At: none or one of the maps.
struct Combine {
  template <class Out, class In, class... At>
  [[gnu::always_inline]] static inline void run(Out* out, In const* own, In const* partner,
                                                std::int64_t count, float weight, At... at) {
    if (weight == 1.0f || weight == 0.0f) {
      In const* const from = weight == 1.0f ? own : partner;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) out[i] = maths::copied<Out>(from[i], at[i]...);
      return;
    }
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = maths::blended<Out>(weight, own[i], partner[i], at[i]...);
    }
  }
};

/// Elements before the first cache line that begins in them.
template <class T>
std::int64_t until_line(T const* at, std::int64_t count) {
  auto const into = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(at) % line_size);
  return std::min<std::int64_t>(count, (line_size - into) % line_size / std::int64_t{sizeof(T)});
}

/// Past the caches, a little at a time, so that reading goes on beside writing.
struct CombinePast {
  template <class Out, class In, class... At>
  [[gnu::always_inline]] static inline void run(Out* out, In const* own, In const* partner,
                                                std::int64_t count, float weight, At... at) {
    constexpr std::int64_t size = sizeof(Out), lines = 16;  // of a cache
    std::int64_t done = until_line(out, count);
    Combine::run(out, own, partner, done, weight, at...);
    alignas(line_size) Out some[static_cast<std::size_t>(lines * line_size / size)];
    while ((count - done) * size >= line_size) {
      std::int64_t const whole = std::min((count - done) * size / line_size, lines);
      std::int64_t const more = whole * line_size / size;
      Combine::run(some, own + done, partner + done, more, weight, shifted(at, done)...);
      for (std::int64_t line = 0; line < whole * line_size; line += line_size) {
        stream_line(reinterpret_cast<std::byte*>(out + done) + line,
                    reinterpret_cast<std::byte*>(some) + line);
      }
      done += more;
    }
    Combine::run(out + done, own + done, partner + done, count - done, weight,
                 shifted(at, done)...);
  }
};

#if defined(__x86_64__)
/// Either, by blocks and thus straight to where they belong. No wider than AVX2: memory is what it
/// waits for.
template <bool past>
struct CombineBlocks {
  template <class Out, class In, class... At>
  [[gnu::always_inline]] static inline void run(Out* out, In const* own, In const* partner,
                                                std::int64_t count, float weight, At... at) {
    // A plain copy keeps what a NaN says.
    bool const plain_copy = (weight == 1.0f || weight == 0.0f) && sizeof...(at) == 0 &&
                            (std::is_same_v<In, Out> || !std::is_integral_v<In>);
    if (plain_copy) {
      if constexpr (std::is_same_v<In, Out>) {
        return copy<past>(reinterpret_cast<std::byte*>(out),
                          reinterpret_cast<std::byte const*>(weight == 1.0f ? own : partner),
                          count * std::int64_t{sizeof(Out)});
      } else {
        using Plain = std::conditional_t<past, CombinePast, Combine>;
        return Plain::run(out, own, partner, count, weight, at...);
      }
    }
    std::int64_t const first = past ? until_line(out, count) : 0;
    Combine::run(out, own, partner, first, weight, at...);
    std::int64_t const done =
        first + combine_blocks<past>(out + first, own + first, partner + first, count - first,
                                     weight, shifted(at, first)...);
    Combine::run(out + done, own + done, partner + done, count - done, weight,
                 shifted(at, done)...);
  }
};
#endif

/// How far pixels, channels and rows lie apart.
struct Steps {
  std::int64_t pixel, channel, row = 0;
};

/// Brings pixels of several channels from one order into another.
struct Arrange {
  template <class T>
  [[gnu::always_inline]] static inline void three(T* to, Steps t, T const* from, Steps f,
                                                  std::int64_t pixels) {
#pragma omp simd
    for (std::int64_t i = 0; i < pixels; ++i) {
      to[i * t.pixel] = from[i * f.pixel];
      to[i * t.pixel + t.channel] = from[i * f.pixel + f.channel];
      to[i * t.pixel + 2 * t.channel] = from[i * f.pixel + 2 * f.channel];
    }
  }

  template <class T>
  [[gnu::always_inline]] static inline void one(T* to, std::int64_t t, T const* from,
                                                std::int64_t f, std::int64_t pixels) {
#pragma omp simd
    for (std::int64_t i = 0; i < pixels; ++i) to[i * t] = from[i * f];
  }

  // Steps that are written as numbers make loops that vectorise. What is mirrored is read forward
  // and written backward, as processors fetch ahead.
  template <class T>
  [[gnu::always_inline]] static inline void row(T* to, Steps t, T const* from, Steps f,
                                                std::int64_t pixels, std::int64_t channels) {
    std::int64_t const last = pixels - 1;
    if (channels == 3 && t.pixel == 1 && f.channel == 1) {
      if (f.pixel == 3) return three(to, {1, t.channel}, from, {3, 1}, pixels);
      if (f.pixel == -3) {
        return three(to + last, {-1, t.channel}, from - 3 * last, {3, 1}, pixels);
      }
    }
    if (channels == 3 && t.pixel == 3 && t.channel == 1) {
      if (f.pixel == 1) return three(to, {3, 1}, from, {1, f.channel}, pixels);
      if (f.pixel == -1) {
        return three(to + 3 * last, {-3, 1}, from - last, {1, f.channel}, pixels);
      }
      if (f.pixel == -3 && f.channel == 1) {
        return three(to + 3 * last, {-3, 1}, from - 3 * last, {3, 1}, pixels);
      }
    }
    if (channels > 1 && t.channel == 1 && f.channel == 1) {
      for (std::int64_t i = 0; i < pixels; ++i) {
        one(to + i * t.pixel, 1, from + i * f.pixel, 1, channels);
      }
      return;
    }
    for (std::int64_t c = 0; c < channels; ++c, to += t.channel, from += f.channel) {
      if (t.pixel == 1 && f.pixel == 1) {
        one(to, 1, from, 1, pixels);
      } else if (t.pixel == 1 && f.pixel == -1) {
        one(to + last, -1, from - last, 1, pixels);
      } else {
        one(to, t.pixel, from, f.pixel, pixels);
      }
    }
  }

  template <class T>
  [[gnu::always_inline]] static inline void run(T* to, Steps t, T const* from, Steps f,
                                                std::int64_t pixels, std::int64_t channels,
                                                std::int64_t rows) {
    for (std::int64_t k = 0; k < rows; ++k, to += t.row, from += f.row) {
      row(to, t, from, f, pixels, channels);
    }
  }
};

/// Elements as numbers, which compilers know how to move.
template <class T>
auto* plain(T* elements) {
  if constexpr (std::is_class_v<T>) {
    using Bits = std::conditional_t<std::is_const_v<T>, std::uint16_t const, std::uint16_t>;
    return reinterpret_cast<Bits*>(elements);
  } else {
    return elements;
  }
}

template <class T>
void arrange(Isa isa, T* to, Steps t, T const* from, Steps f, std::int64_t pixels,
             std::int64_t channels, std::int64_t rows) {
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    bool const mirrored = f.pixel == -3;
    if (isa != Isa::plain && channels == 3 && t.pixel == 1 && f.channel == 1 && pixels >= 16 &&
        (f.pixel == 3 || mirrored)) {
      for (; rows > 0; --rows, to += t.row, from += f.row) {
        std::int64_t const done =
            mirrored ? split_pixels<true>(to, t.channel, from - 3 * (pixels - 1), pixels)
                     : split_pixels<false>(to, t.channel, from, pixels);
        std::int64_t const rest = mirrored ? 0 : done;  // begins where
        run_for<Arrange>(isa, to + rest, t, from + 3 * rest, f, pixels - done, channels,
                         std::int64_t{1});
      }
      return;
    }
  }
#endif
  run_for<Arrange>(isa, plain(to), t, plain(from), f, pixels, channels, rows);
}

/// What others must see before the call returns.
void end_of_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// The job with its axes where the walk is quickest: the output's channel in the slot that fits its
/// strides, and outer axes that are one in memory made one.
MixJob simplified(MixJob job) {
  Walk& walk = job.walk;
  auto const exchange = [&](int a, int b) {
    std::swap(walk.extent[a], walk.extent[b]);
    for (auto* const stride : {walk.out, walk.own, walk.partners}) std::swap(stride[a], stride[b]);
  };
  constexpr int channel = Walk::planar_channel, row = Walk::line - 1;
  std::int64_t const most_grains = tile_size / static_cast<std::int64_t>(sizeof(double));
  if (walk.extent[channel] > 1 && walk.extent[channel] <= most_grains &&
      walk.out[channel] < walk.out[Walk::line]) {
    exchange(channel, Walk::grain);
  } else if (walk.extent[Walk::grain] > most_grains ||
             (walk.extent[Walk::grain] > 1 && walk.out[Walk::grain] > walk.out[Walk::line])) {
    exchange(channel, Walk::grain);
  }
  for (int axis = row - 1; axis >= 0; --axis) {
    if (walk.extent[axis] == 1) continue;
    bool const boxed = job.boxes && (walk.box_axis[axis] >= 0 || walk.box_axis[row] >= 0);
    if (boxed || (axis == channel && job.affine.channels > 1)) break;
    bool follow = true;
    for (auto const* const stride : {walk.out, walk.own, walk.partners}) {
      follow = follow && (walk.extent[row] == 1 || stride[axis] == stride[row] * walk.extent[row]);
    }
    if (!follow) break;
    if (walk.extent[row] == 1) {
      for (auto* const stride : {walk.out, walk.own, walk.partners}) stride[row] = stride[axis];
    }
    walk.extent[row] *= walk.extent[axis];
    walk.extent[axis] = 1;
    walk.box_axis[row] = -1;
  }
  return job;
}

/// Whether elements follow each other through rows in every tensor, as they are read.
bool lies_plain(MixJob const& job) {
  Walk const& walk = job.walk;
  std::int64_t follows = 1;
  if (job.flips) return false;
  for (int axis = Walk::grain; axis >= Walk::line - 1; --axis) {
    for (auto const* const stride : {walk.out, walk.own, walk.partners}) {
      if (walk.extent[axis] > 1 && stride[axis] != follows) return false;
    }
    follows *= walk.extent[axis];
  }
  return true;
}

/// How a job is walked.
struct Course {
  MixJob job;
  Isa isa;
  bool by_cycles;            // in the job's order, for it does not fit the caches
  bool past_caches;          // stores
  std::int64_t inside;       // channels in planes that a tile goes through, 1 where lines have them
  std::int64_t units;        // of outer axes: lines, with all of those channels
  std::int64_t unit_rows;    // a chunk's
  std::int64_t unit_pixels;  // and of the line, where that does not fit
  std::int64_t across, down;  // chunks of a line, and of a sample's lines
  std::int64_t tile;          // elements

  [[nodiscard]] std::int64_t chunks() const { return across * down; }
};

Course course_of(MixJob const& given, std::int64_t in_size, std::int64_t out_size, int threads,
                 bool in_place) {
  Course course{};
  course.job = simplified(given);
  course.isa = chosen_isa();
  MixJob const& job = course.job;
  Walk const& walk = job.walk;
  std::int64_t const channels = walk.extent[Walk::planar_channel];
  // Pixels that lie together are read once for all of their channels.
  bool const together = channels > 1 && channels <= most_inside &&
                        std::min(walk.own[Walk::planar_channel],
                                 walk.partners[Walk::planar_channel]) < walk.own[Walk::line];
  course.inside = together ? channels : 1;
  std::int64_t const pixel = course.inside * walk.extent[Walk::grain];
  std::int64_t const line = walk.extent[Walk::line];
  course.units = walk.elements / (line * pixel);

  Caches const sizes = caches();
  std::int64_t const batch = job.samples * walk.elements;
  course.by_cycles = batch * in_size > sizes.second + sizes.last / 2;
  course.past_caches = !in_place && batch * out_size > sizes.last;

  bool const plain = lies_plain(job);
  std::int64_t const forced = detail::cpu_override().chunk;
  std::int64_t size =
      std::min(forced > 0 ? forced : chunk_size, plain ? chunk_size : arranged_size);
  if (in_place && forced == 0) {
    // Cycles are walked whole, so that a sample's parts are all that threads can share.
    size = std::clamp(walk.elements * in_size / std::max(1, threads), std::int64_t{512}, size);
  }
  course.tile = plain && !job.boxes ? std::max<std::int64_t>(1, size / in_size)
                                    : tile_size / std::max(in_size, out_size);
  std::int64_t const pixels = std::max<std::int64_t>(1, size / (pixel * in_size));
  course.unit_pixels = std::min(pixels, line);
  course.unit_rows = std::clamp<std::int64_t>(pixels / line, 1, course.units);
  course.across = (line + course.unit_pixels - 1) / course.unit_pixels;
  course.down = (course.units + course.unit_rows - 1) / course.unit_rows;
  return course;
}

/// Elements of a sample from a tile's first on.
template <class T>
struct Source {
  T* at;
  std::int64_t plane, row, line, grain;
};

/// The same region of every sample.
struct Chunk {
  std::int64_t index;
  std::int64_t unit, units;    // its lines
  std::int64_t pixel, pixels;  // of each
};

template <class In, class Out>
class Mixer {
  using R = maths::Real<In>;

 public:
  explicit Mixer(Course const& course) : course_{course}, job_{course.job}, walk_{job_.walk} {
    if (!tabled()) return;
    std::int64_t const grains = walk_.extent[Walk::grain];
    // If there is room, so that whole blocks fill it.
    std::int64_t const unit = 32 * grains <= table_size ? 32 * grains : grains;
    period_ = table_size / unit * unit;
    for (std::int64_t i = 0; i < period_; ++i) {
      auto const map = maths::map_of<R>(job_.affine, i % grains);
      scale_[i] = map.scale;
      shift_[i] = map.shift;
    }
  }

  [[nodiscard]] Chunk chunk(std::int64_t index) const {
    std::int64_t const unit = index / course_.across * course_.unit_rows;
    std::int64_t const pixel = index % course_.across * course_.unit_pixels;
    return {index, unit, std::min(course_.unit_rows, course_.units - unit), pixel,
            std::min(course_.unit_pixels, walk_.extent[Walk::line] - pixel)};
  }

  /// A chunk of a sample. `kept`: its partner's, as keep() took it, where that is overwritten.
  void mix(Chunk const& chunk, std::int64_t sample, In const* kept) {
    row_ = maths::effective(job_.rows[sample], sample, job_.second);
    out_ = static_cast<Out*>(job_.out) + sample * job_.out_pitch;
    own_ = static_cast<In const*>(job_.own) + sample * job_.own_pitch;
    partner_ = static_cast<In const*>(job_.partners) + row_.partner * job_.partners_pitch;
    own_flip_ = job_.flips && row_.flip != 0;
    partner_flip_ = job_.flips && !job_.second && job_.rows[row_.partner].flip != 0;
    own_name_ = chunk.index * job_.samples + sample;
    partner_name_ = job_.second ? no_name : chunk.index * job_.samples + row_.partner;
    std::swap(before_, now_);
    slot_ = {};

    std::int64_t const line = walk_.extent[Walk::line], grains = walk_.extent[Walk::grain];
    std::int64_t const pixels =
        std::min(chunk.pixels, std::max<std::int64_t>(1, course_.tile / course_.inside / grains));
    std::int64_t const rows =
        pixels < line ? 1
                      : std::max<std::int64_t>(1, course_.tile / course_.inside / grains / line);
    std::int64_t const height = walk_.extent[row_axis];
    for (std::int64_t unit = chunk.unit, count; unit < chunk.unit + chunk.units; unit += count) {
      maths::Place place = place_of(unit);
      count = std::min({rows, height - place.at[row_axis], chunk.unit + chunk.units - unit});
      for (std::int64_t x = chunk.pixel; x < chunk.pixel + chunk.pixels; x += pixels) {
        place.at[Walk::line] = x;
        std::int64_t const wide = std::min(pixels, chunk.pixel + chunk.pixels - x);
        Source<In const> partner = source(partner_, walk_.partners, place, partner_flip_);
        if (kept != nullptr) {
          // Never in several planes, which is how the output lies then.
          std::int64_t const from = partner_flip_ ? line - 1 - x : x - chunk.pixel;
          partner = {kept + ((unit - chunk.unit) * chunk.pixels + from) * grains, 0,
                     chunk.pixels * grains, partner_flip_ ? -grains : grains, 1};
        }
        mix_tile(place, count, wide, source(own_, walk_.own, place, own_flip_), partner);
        slot_.tile++;
        slot_.begin += count * wide * course_.inside * grains;
      }
    }
  }

  /// A chunk of a sample, copied as lines and pixels follow.
  void keep(Chunk const& chunk, std::int64_t sample, In* kept) const {
    In const* const data = static_cast<In const*>(job_.own) + sample * job_.own_pitch;
    std::int64_t const grains = walk_.extent[Walk::grain];
    for (std::int64_t unit = chunk.unit; unit < chunk.unit + chunk.units; ++unit) {
      maths::Place place = place_of(unit);
      place.at[Walk::line] = chunk.pixel;
      auto const from = source(data, walk_.own, place, false);
      arrange(course_.isa, kept, Steps{grains, 1}, from.at, Steps{from.line, from.grain},
              chunk.pixels, grains, 1);
      kept += chunk.pixels * grains;
    }
  }

 private:
  static constexpr int row_axis = Walk::line - 1;
  static constexpr std::int64_t table_size = 1024;
  static constexpr std::int64_t scratch_size = tile_size + most_inside * line_size;

  /// What partners look like in the output's order: the next sample of the cycle is the partner of
  /// this one. Named by chunk and sample, tile by tile.
  static constexpr std::int64_t most_tiles = 64, no_name = -1;
  struct Arranged {
    std::int64_t names[most_tiles];
    alignas(line_size) std::byte elements[arranged_size];
    Arranged() { std::fill_n(names, most_tiles, no_name); }
  };
  struct Slot {
    std::int64_t tile, begin;  // of the chunk, and its first element there
  };

  [[nodiscard]] bool tabled() const {
    return job_.affine.channels > 1 && walk_.extent[Walk::grain] > 1;
  }

  /// Of a line's first element.
  [[nodiscard]] maths::Place place_of(std::int64_t unit) const {
    maths::Place place{};
    for (int axis = row_axis; axis >= 0; --axis) {
      if (axis == Walk::planar_channel && course_.inside > 1) continue;
      std::int64_t const extent = walk_.extent[axis];
      if (extent == 1) continue;
      place.at[axis] = unit % extent;
      unit /= extent;
    }
    return place;
  }

  template <class T>
  [[nodiscard]] Source<T> source(T* sample, std::int64_t const (&stride)[Walk::axes],
                                 maths::Place place, bool flip) const {
    if (flip) place = maths::mirrored(walk_, place);
    return {sample + maths::offset(stride, place), stride[Walk::planar_channel], stride[row_axis],
            flip ? -stride[Walk::line] : stride[Walk::line], stride[Walk::grain]};
  }

  /// Whether rows of pixels, of one plane, follow each other without a gap.
  template <class T>
  [[nodiscard]] bool is_dense(Source<T> const& s, std::int64_t rows, std::int64_t pixels) const {
    std::int64_t const grains = walk_.extent[Walk::grain];
    return (grains == 1 || s.grain == 1) && (pixels == 1 || s.line == grains) &&
           (rows == 1 || s.row == pixels * grains);
  }

  /// A source in the output's order: as it lies, or brought to scratch.
  struct Planes {
    In const* at;
    std::int64_t apart;
  };
  Planes arranged(Source<In const> const& s, std::int64_t rows, std::int64_t pixels,
                  std::byte* scratch) const {
    auto* const to = reinterpret_cast<In*>(scratch);
    std::int64_t const grains = walk_.extent[Walk::grain], plane = rows * pixels;
    bool const inside = course_.inside > 1;
    Steps const from{s.line, inside ? s.plane : s.grain, s.row};
    Steps const into{grains, inside ? plane : 1, pixels * grains};
    bool const whole = rows > 1 && s.row == pixels * s.line;  // the rows are one
    arrange(course_.isa, to, into, s.at, from, whole ? plane : pixels,
            inside ? course_.inside : grains, whole ? 1 : rows);
    return {to, plane};
  }

  /// Rows of a plane's output, or of all planes that a tile goes through.
  void mix_tile(maths::Place const& place, std::int64_t rows, std::int64_t pixels,
                Source<In const> const& own, Source<In const> const& partner) {
    std::int64_t const grains = walk_.extent[Walk::grain], x = place.at[Walk::line];
    // The box is some pixels of some of the rows.
    std::int64_t top = 0, bottom = 0, left = 0, right = 0;
    if (job_.boxes) {
      int const line = walk_.box_axis[Walk::line], row = walk_.box_axis[row_axis];
      maths::Place within = place;
      within.at[Walk::line] = row_.box.lo[line];
      if (row >= 0) within.at[row_axis] = row_.box.lo[row];
      left = std::clamp<std::int64_t>(row_.box.lo[line] - x, 0, pixels);
      right = std::clamp<std::int64_t>(row_.box.hi[line] - x, left, pixels);
      if (left < right && maths::is_inside(walk_, row_.box, within)) {
        std::int64_t const y = place.at[row_axis];
        top = row < 0 ? 0 : std::clamp<std::int64_t>(row_.box.lo[row] - y, 0, rows);
        bottom = row < 0 ? rows : std::clamp<std::int64_t>(row_.box.hi[row] - y, top, rows);
      }
    }
    bool const has_inside = top < bottom;
    bool const all_inside = has_inside && top == 0 && bottom == rows && right - left == pixels;
    auto const any = [&](float weight) {
      return (has_inside && row_.inside != weight) || (!all_inside && row_.outside != weight);
    };
    Planes own_planes{own.at, own.plane}, partner_planes{partner.at, partner.plane};
    std::int64_t const size = std::int64_t{sizeof(In)}, elements = rows * pixels * grains;
    bool const fits = slot_.tile < most_tiles;
    if (fits && before_->names[slot_.tile] == own_name_) {
      own_planes = {reinterpret_cast<In const*>(before_->elements) + slot_.begin, elements};
    } else if (any(0.0f) && !is_dense(own, rows, pixels)) {
      own_planes = arranged(own, rows, pixels, own_scratch_);
    }
    if (any(1.0f) && !is_dense(partner, rows, pixels)) {
      std::byte* const to = fits ? now_->elements + slot_.begin * size : partner_scratch_;
      partner_planes = arranged(partner, rows, pixels, to);
      if (fits) now_->names[slot_.tile] = partner_name_;
    }

    auto const out = source(out_, walk_.out, place, false);
    bool const dense = is_dense(out, rows, pixels);
    // Spans of a box are too short to go past the caches each by itself.
    bool const past = course_.past_caches && dense && !has_inside;
    bool const direct = dense && (past || !course_.past_caches);
    std::int64_t const apart = direct ? out.plane
                                      : scratch_size / course_.inside / line_size * line_size /
                                            static_cast<std::int64_t>(sizeof(Out));
    // Scratch begins as far into a cache line as the output does.
    auto const into = reinterpret_cast<std::uintptr_t>(out.at) % line_size / sizeof(Out);
    Out* const to =
        direct ? out.at : reinterpret_cast<Out*>(out_scratch_) + (course_.inside > 1 ? 0 : into);
    for (std::int64_t plane = 0; plane < course_.inside; ++plane) {
      auto const span = [&](std::int64_t begin, std::int64_t end, float weight) {
        if (begin < end) {
          combine(to + plane * apart + begin, own_planes.at + plane * own_planes.apart + begin,
                  partner_planes.at + plane * partner_planes.apart + begin, end - begin, weight,
                  maths::channel_of(place) + plane, past);
        }
      };
      std::int64_t const each = pixels * grains;
      span(0, top * each, row_.outside);
      if (left == 0 && right == pixels) {
        span(top * each, bottom * each, row_.inside);
      } else {
        for (std::int64_t row = top; row < bottom; ++row) {
          span(row * each, row * each + left * grains, row_.outside);
          span(row * each + left * grains, row * each + right * grains, row_.inside);
          span(row * each + right * grains, (row + 1) * each, row_.outside);
        }
      }
      span(bottom * each, rows * each, row_.outside);
      if (!direct) {
        write(out, plane, to + plane * apart, rows, pixels, dense);
      }
    }
  }

  void combine(Out* out, In const* own, In const* partner, std::int64_t count, float weight,
               std::int64_t channel, bool past) const {
    if constexpr (std::is_same_v<In, Out>) {
      if (out == own && weight == 1.0f) return;  // in place, unmixed
    }
    auto const run = [&](std::int64_t at, std::int64_t length, auto... map) {
      auto const by = [&](auto call) {
        call(out + at, own + at, partner + at, length, weight, map...);
      };
#if defined(__x86_64__)
      if constexpr (std::is_same_v<R, float>) {
        if (course_.isa != Isa::plain) {
          past ? by([](auto... all) { run_avx2<CombineBlocks<true>>(all...); })
               : by([](auto... all) { run_avx2<CombineBlocks<false>>(all...); });
          return;
        }
      }
#endif
      past ? by([&](auto... all) { run_for<CombinePast>(course_.isa, all...); })
           : by([&](auto... all) { run_for<Combine>(course_.isa, all...); });
    };
    if constexpr (!std::is_same_v<Out, std::uint8_t>) {
      if (tabled()) {
        for (std::int64_t i = 0; i < count; i += period_) {
          run(i, std::min(period_, count - i), MapTable<R>{scale_, shift_});
        }
        return;
      }
      if (job_.affine.channels > 0) {
        return run(0, count, OneMap<R>{maths::map_of<R>(job_.affine, channel)});
      }
    }
    run(0, count);
  }

  /// A plane of the tile from scratch to where it belongs.
  void write(Source<Out> const& out, std::int64_t plane, Out const* from, std::int64_t rows,
             std::int64_t pixels, bool dense) const {
    std::int64_t const grains = walk_.extent[Walk::grain];
    bool const lines = is_dense(out, 1, pixels);
    std::int64_t const calls = dense ? 1 : rows, each = dense ? rows * pixels : pixels;
    for (std::int64_t row = 0; row < calls; ++row, from += each * grains) {
      Out* const to = out.at + plane * out.plane + row * out.row;
      if (lines && course_.past_caches) {
        copy<true>(reinterpret_cast<std::byte*>(to), reinterpret_cast<std::byte const*>(from),
                   each * grains * static_cast<std::int64_t>(sizeof(Out)));
      } else {
        arrange(course_.isa, to, Steps{out.line, out.grain}, from, Steps{grains, 1}, each, grains,
                1);
      }
    }
  }

  Course const& course_;
  MixJob const& job_;
  Walk const& walk_;
  Row row_{};
  Out* out_ = nullptr;
  In const* own_ = nullptr;
  In const* partner_ = nullptr;
  bool own_flip_ = false, partner_flip_ = false;
  std::int64_t own_name_ = no_name, partner_name_ = no_name;
  Slot slot_{};
  Arranged arranged_[2];
  Arranged *before_ = &arranged_[0], *now_ = &arranged_[1];
  std::int64_t period_ = 0;
  R scale_[table_size], shift_[table_size];
  alignas(line_size) std::byte own_scratch_[scratch_size];
  alignas(line_size) std::byte partner_scratch_[scratch_size];
  alignas(line_size) std::byte out_scratch_[scratch_size];
};

int threads_for(std::int64_t bytes, int wanted) {
  std::int64_t const forced = detail::cpu_override().chunk;
  return cpu::threads_for(bytes, forced > 0 ? forced : least_work, wanted);
}

template <class In, class Out>
void mix_batch(MixJob const& job, int wanted) {
  std::int64_t const in_size = sizeof(In), out_size = sizeof(Out);
  int const threads = threads_for(job.samples * job.walk.elements * (in_size + out_size), wanted);
  Course const course = course_of(job, in_size, out_size, threads, false);
  parallel_runs(job.samples * course.chunks(), threads, [&](std::int64_t begin, std::int64_t end) {
    Mixer<In, Out> mixer(course);
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t const k = i % job.samples;
      mixer.mix(mixer.chunk(i / job.samples), course.by_cycles ? job.order[k].sample() : k,
                nullptr);
    }
    if (course.past_caches) end_of_streams();
  });
}

/// Mirrors the samples whose rows say so.
template <class T>
void mirror(MixJob const& job, int threads) {
  parallel_for(job.samples, threads, [&](std::int64_t sample) {
    if (job.rows[sample].flip == 0) return;
    T* const data = static_cast<T*>(job.out) + sample * job.out_pitch;
    for (std::int64_t element = 0; element < job.walk.elements; ++element) {
      maths::Place const place = maths::place_of(job.walk, element);
      maths::Place const image = maths::mirrored(job.walk, place);
      if (place.at[Walk::line] >= image.at[Walk::line]) continue;
      std::swap(data[maths::offset(job.walk.out, place)], data[maths::offset(job.walk.out, image)]);
    }
  });
}

/// Cycle by cycle, the first sample of each kept until the last is written.
template <class T>
void mix_cycles(MixJob const& job, int wanted) {
  std::int64_t const size = sizeof(T);
  int const threads = threads_for(job.samples * job.walk.elements * 2 * size, wanted);
  Course course = course_of(job, size, size, threads, true);
  if (job.flips && (course.across > 1 || course.tile / course.job.walk.extent[Walk::grain] <
                                             job.walk.extent[Walk::line])) {
    // A line that is overwritten in pieces cannot be read mirrored. So long ones are rare.
    mirror<T>(job, threads);
    course.job.flips = false;
  }
  parallel_runs(course.chunks(), threads, [&](std::int64_t begin, std::int64_t end) {
    Mixer<T, T> mixer(course);
    alignas(line_size) T kept[chunk_size / sizeof(T)];
    for (std::int64_t i = begin; i < end; ++i) {
      Chunk const chunk = mixer.chunk(i);
      bool starts = true;
      for (std::int64_t k = 0; k < job.samples; ++k) {
        std::int32_t const sample = job.order[k].sample();
        bool const ends = job.order[k].ends();
        if (starts && !ends) mixer.keep(chunk, sample, kept);
        mixer.mix(chunk, sample, ends && !starts ? kept : nullptr);
        starts = ends;
      }
    }
  });
}

}  // namespace

void mix(MixJob const& job, int threads) {
  if (job.walk.elements == 0) return;
  with_pair(job.dtype_in, job.dtype_out, [&](auto in, auto out) {
    mix_batch<typename decltype(in)::type, typename decltype(out)::type>(job, threads);
  });
}

void mix_in_place(MixJob const& job, int threads) {
  if (job.walk.elements == 0) return;
  with_dtype(job.dtype_in,
             [&](auto tag) { mix_cycles<typename decltype(tag)::type>(job, threads); });
}

}  // namespace mixfuse::cpu
