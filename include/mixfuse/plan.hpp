// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <variant>
#include <vector>

#include "mixfuse/export.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

/// The rule that chooses a sample's partner, inside its group or, without groups, its batch.
enum class Pairing : std::uint8_t {
  permutation,  ///< uniform over all B! permutations; about one sample meets itself
  cycle,        ///< uniform over the (B-1)! cycles; nobody meets itself (B >= 2)
  pairs,        ///< uniform random matching; an odd one meets itself
  reverse,      ///< i with B-1-i, as timm
  roll,         ///< i with i-1, as torchvision
  replacement,  ///< each partner independent and uniform
  given,        ///< the caller's
};

/// What lambda, policy, gate and box are drawn once for. `pair` needs reverse or pairs.
enum class Granularity : std::uint8_t { batch, pair, sample };

/// Which side gets the larger share; acts on the drawn lambda, before any box.
enum class Fold : std::uint8_t { none, own, partner };

/// lambda ~ Beta(a, b), 1e-6 <= a, b <= 1e6; a = b = 0 switches the policy off.
struct Beta {
  float a = 1.0f;
  float b = 1.0f;
};

/// Where a CutMix box lies. On d axes of lengths L its side is the largest integer s with
/// s^d <= (1 - lambda) L^d.
struct Boxes {
  enum class Kind : std::uint8_t {
    paper,    ///< 2 floor(s/2) about a centre uniform in 0..L-1, clipped (Yun et al. 2019)
    inside,   ///< s, origin uniform in 0..L-s, as Keras
    uniform,  ///< as paper, centres uniform where the box meets the image: each pixel as often
    min_max,  ///< sides uniform in floor(L lo)..floor(L hi), each axis apart; lambda is not used
  };
  Kind kind = Kind::paper;
  double lo = 0.0;  ///< of min_max, 0 <= lo <= hi <= 1
  double hi = 1.0;
};

/// One weight for the whole sample (Zhang et al. 2018).
struct Mixup {
  Beta weight = {};
  Fold fold = Fold::none;
};

/// A box of the partner, pasted in (Yun et al. 2019).
struct CutMix {
  Beta weight = {};
  Fold fold = Fold::none;
  Boxes boxes = {};
};

struct Choice {
  std::variant<Mixup, CutMix> policy;
  float probability = 1.0f;
};

inline constexpr int max_policies = 8;

/// What to do; never how, where or when.
struct Spec {
  std::vector<Choice> policies;  ///< at most 8, together at most 1; the rest is identity
  float probability = 1.0f;      ///< share that is mixed at all
  Pairing pairing = Pairing::permutation;
  Granularity granularity = Granularity::sample;
  std::int64_t group = 0;  ///< pairing group, cut at multiples of it of the global index; 0: none
  float flip = 0.0f;       ///< probability of a horizontal flip, per sample
};

/// The only source of randomness.
struct Draw {
  std::uint64_t seed = 0;   ///< used as given
  std::uint64_t step = 0;   ///< below 2^48
  std::uint64_t first = 0;  ///< global index of the batch's first sample; first + B <= 2^48
};

/// What may change from step to step without a new call: each in the memory where the plan lives,
/// read when it is drawn, instead of the spec's; null: the spec's.
struct Schedule {
  Beta const* weights = nullptr;         ///< one a policy
  float const* probabilities = nullptr;  ///< one a policy
  float const* probability = nullptr;    ///< share that is mixed at all
};

/// A draw that lives where the plan does and goes on by itself, so that a captured step draws anew
/// at each replay.
struct Live {
  explicit Live(Draw* where, Schedule follows = {}) : draw{where}, schedule{follows} {}
  Draw* draw;  ///< read, then its step advanced by one
  Schedule schedule;
};

/// Half-open region on the spatial axes; entries beyond them are 0; empty if any lo == hi.
struct Box {
  std::int32_t lo[3] = {};
  std::int32_t hi[3] = {};
};

/// All that a kernel knows about one sample.
struct Row {
  std::int32_t partner = 0;  ///< the sample mixed into this one
  float outside = 1.0f;      ///< weight of this sample outside the box
  float inside = 1.0f;       ///< and inside
  float label = 1.0f;        ///< weight of this sample's label
  std::uint32_t flip = 0;    ///< 1: this sample is read mirrored, as own and as partner
  Box box = {};
};
static_assert(sizeof(Row) == 44);

MIXFUSE_EXPORT bool operator==(Row const& a, Row const& b) noexcept;
inline bool operator!=(Row const& a, Row const& b) noexcept { return !(a == b); }

/// What a plan must know of a batch.
struct Extents {
  std::int64_t samples = 0;
  int axes = 0;                  ///< spatial axes, 1 to 3
  std::int64_t spatial[3] = {};  ///< their lengths: f, t, h w, or d h w
  bool width = false;            ///< the last of them is w, which flips mirror
};

/// Of a batch of any layout. Throws invalid_argument, naming `images`.
[[nodiscard]] MIXFUSE_EXPORT Extents extents_of(ConstTensorView const& images);

/// What only the device can find out, kept in the plan's memory until it is cleared: the first bad
/// step, and the smallest bad sample in it.
struct ErrorWord {
  enum class Code : std::uint8_t {
    none = 0,
    partner = 1,        ///< given partner outside 0..B-1: the sample was left unmixed
    label = 2,          ///< class id outside 0..K-1: its share was left out
    partner_label = 3,  ///< the same in a second batch; `sample` counts there
    draw = 4,           ///< live step or index beyond 2^48: nothing was mixed; `sample` is 0
    probability = 5,    ///< scheduled one outside 0..1, or above 1 together: as `draw`
    weight = 6,         ///< scheduled one that Beta does not take: its policy was off; as `draw`
  };
  std::uint64_t claim = 0;  ///< step + 1, 0 without an error
  std::uint64_t first = 0;  ///< ~(sample << 8 | code), so that a maximum finds the smallest

  [[nodiscard]] explicit operator bool() const noexcept { return claim != 0; }
  [[nodiscard]] Code code() const noexcept {
    return claim == 0 ? Code::none : static_cast<Code>(~first & 0xff);
  }
  [[nodiscard]] std::uint64_t step() const noexcept { return claim == 0 ? 0 : claim - 1; }
  [[nodiscard]] std::int64_t sample() const noexcept {
    return claim == 0 ? -1 : static_cast<std::int64_t>(~first >> 8);
  }
};

/// The rows of a batch in the memory where the work runs. The only object that allocates, and only
/// when it is made. Serves one thread at a time; different plans run side by side.
class MIXFUSE_EXPORT Plan {
 public:
  /// For up to `capacity` samples (at most 2^31 - 1), in memory of its own on `device`, cleared on
  /// `queue`. Throws invalid_argument, unsupported (no CUDA in this build), cuda_error, bad_alloc.
  Plan(std::int64_t capacity, Device device, Queue queue);
  /// The same in the caller's memory: at least `bytes(capacity, device)`, aligned to 256 bytes.
  Plan(std::int64_t capacity, Device device, void* memory, std::size_t size, Queue queue);
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  [[nodiscard]] static std::size_t bytes(std::int64_t capacity, Device device);

  [[nodiscard]] std::int64_t capacity() const noexcept;
  [[nodiscard]] Device device() const noexcept;
  /// Of the batch that the plan is for; 0 samples before the first `plan_into`.
  [[nodiscard]] Extents const& extents() const noexcept;
  /// Where the rows lie, in sample order, on the plan's device.
  [[nodiscard]] Row const* rows() const noexcept;

  struct State;
  [[nodiscard]] State& state() const noexcept { return *state_; }  ///< for the library

 private:
  std::unique_ptr<State> state_;
};

/// Draws the rows of a batch. Throws invalid_argument (naming `spec...`, `draw...`, `batch`,
/// `plan`, `queue`), unsupported, cuda_error.
MIXFUSE_EXPORT void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Draw draw,
                              Queue queue);

/// The same from a live draw: plan n is the one that a host's draw with the step + n gives. What
/// lives there is data: where it is out of range the error word says so, and what depends on it is
/// left unmixed; partners are then those of first index 0. A step beyond 2^48 counts as 2^48 and
/// stays. A batch of 0 samples advances the step as well. Throws also naming `live...`.
MIXFUSE_EXPORT void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Live live,
                              Queue queue);

/// The same with Pairing::given: `partners` (B,), i32 or i64, on the plan's device. On the CPU a
/// partner outside 0..B-1 is invalid_argument; on CUDA that sample is left unmixed and the error
/// word says so.
MIXFUSE_EXPORT void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Draw draw,
                              ConstTensorView partners, Queue queue);

/// Takes rows made by hand: `rows` (B of them) in host memory, free to be reused on return. Weights
/// in [0, 1], partners in 0..B-1, boxes in the image. Rebuilds the order that in-place mixing
/// needs. `draw` is kept for the error word and for printing.
MIXFUSE_EXPORT void plan_into(Plan& plan, Row const* rows, Extents const& batch, Draw draw,
                              Queue queue);

/// The rows, in sample order. Waits for the queue.
[[nodiscard]] MIXFUSE_EXPORT std::vector<Row> read_rows(Plan const& plan, Queue queue);

/// Copies the error word to `word`, asynchronously on a CUDA queue (`word` should then be pinned).
MIXFUSE_EXPORT void error_into(ErrorWord* word, Plan const& plan, Queue queue);

/// Makes the plan forget its error.
MIXFUSE_EXPORT void clear_error(Plan& plan, Queue queue);

/// One line: partner, weights, label, flip and box, floats so that they read back to the same bits.
MIXFUSE_EXPORT std::ostream& operator<<(std::ostream& out, Row const& row);

}  // namespace mixfuse
