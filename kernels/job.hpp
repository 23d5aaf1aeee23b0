// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/maths/beta.hpp"
#include "kernels/maths/divisor.hpp"
#include "kernels/maths/hd.hpp"
#include "mixfuse/label.hpp"
#include "mixfuse/mix.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"

struct CUstream_st;

/// What the host hands to a backend: checked, decided, trivially copyable. Backends loop; they
/// never decide and never fail, but for what CUDA itself refuses.
namespace mixfuse {

/// What a Mixer's early rows were drawn for: the draw and the batch's extents, which with its spec
/// are all that they depend on. Of no samples before there are any.
struct Made {
  static constexpr unsigned words = 6;
  std::uint64_t word[words];
};

/// The start of a plan's memory, zeroed with it; early order, rows, order, early rows and workspace
/// follow.
struct PlanHeader {
  ErrorWord error;
  std::uint64_t step;   // of the rows
  Draw draw;            // a Mixer's
  std::uint32_t read;   // blocks of the running kernel that have read their live draw
  std::uint32_t drawn;  // blocks of the running step that have drawn their part of its late plan
  Made made[2];         // the early rows, of even steps and of odd ones
};

/// A position of the order in which batches are walked, cycle by cycle: a sample, or ~sample where
/// a cycle ends, and its partner.
struct alignas(8) Turn {
  std::int32_t entry, partner;

  [[nodiscard]] MIXFUSE_HD std::int32_t sample() const { return ends() ? ~entry : entry; }
  [[nodiscard]] MIXFUSE_HD bool ends() const { return entry < 0; }
};

/// Rows that a Mixer's step draws on a GPU for the step after, beside its mix: those of even steps,
/// then those of odd ones.
struct Early {
  Row* rows;
  Turn* order;
  std::int32_t capacity;  // of either

  /// A larger batch is drawn sooner by a launch of its own.
  static constexpr std::int32_t most = 1024;
};

/// A policy as the kernel sees it.
struct Policy {
  enum class Kind : std::uint8_t { identity, mixup, cutmix };
  Kind kind;
  Fold fold;
  Boxes::Kind boxes;
  std::uint64_t below;      // chosen when the policy word is below this, and not below an earlier
  std::int32_t side_lo[3];  // min-max sides, per axis
  std::int32_t side_hi[3];
  maths::BetaLaw law;
};

struct PlanJob {
  PlanHeader* header;
  Row* rows;
  Turn* order;  // every sample once
  Early early;
  void* workspace;  // for the sort
  std::size_t workspace_size;
  std::int32_t samples;
  std::int64_t group;  // 0: the whole batch
  Draw draw;
  Draw* live;         // where the draw lives, to be read and advanced; null: it is `draw`
  Schedule schedule;  // all null without `live`
  Pairing pairing;
  Granularity granularity;
  std::uint64_t gate;  // mixed when the gate's word is below this
  std::uint64_t flip;
  int policies;
  Policy policy[max_policies];
  int axes;
  std::int32_t spatial[3];
  void const* given;  // Pairing::given: i32 or i64
  bool given_wide;
  std::int64_t given_stride;
};

/// How the elements of a sample are walked, slowest axis first: frame, channel, d, h, the line (w,
/// t or f), and the grain, which is the channel where it lies inside a line's element (nhwc).
/// Absent axes have extent 1.
struct Walk {
  static constexpr int axes = 6, planar_channel = 1, d = 2, h = 3, line = 4, grain = 5;
  std::int64_t extent[axes];
  std::int64_t out[axes];  // strides, in elements
  std::int64_t own[axes];
  std::int64_t partners[axes];
  std::int8_t box_axis[axes];  // index into Box, or -1
  std::int64_t elements;       // of a sample
  maths::Divisor by[axes];     // the extents, where there are fewer than 2^31 elements; else zeros
};

/// out = fma(mixed, scale, shift); channels 0: as mixed, 1: one map for all. For f64, and rounded
/// for the others, since GPUs round slowly.
struct Affine {
  int channels;
  double scale[max_channels], shift[max_channels];
  float scale_f32[max_channels], shift_f32[max_channels];
};

/// Stretches of the order that no cycle leaves: `first` positions, then `size` each.
struct Runs {
  std::int64_t first, size;

  [[nodiscard]] MIXFUSE_HD std::int64_t begin(std::int64_t run) const {
    return run == 0 ? 0 : first + (run - 1) * size;
  }
  [[nodiscard]] MIXFUSE_HD std::int64_t count(std::int64_t samples) const {
    return samples <= first ? 1 : 1 + (samples - first + size - 1) / size;
  }
};

struct MixJob {
  DType dtype_in;
  DType dtype_out;
  void* out;
  void const* own;
  void const* partners;
  bool second;  // partners come from a second batch: never flipped, never oneself
  std::int64_t samples;
  std::int64_t out_pitch;  // from sample to sample, in elements
  std::int64_t own_pitch;
  std::int64_t partners_pitch;
  Walk walk;
  Affine affine;
  Row const* rows;
  Turn const* order;
  bool permutation;  // the order runs along cycles: a sample's partner is the next in it
  bool boxes;        // a row may have a box
  bool flips;        // a row may be mirrored
  Runs runs;
};

/// A matrix (samples, columns) of labels or targets, strides in elements.
template <class Void>
struct Matrix {
  Void* data;
  DType dtype;
  std::int64_t stride[2];
};

struct LabelJob {
  std::int64_t samples;
  std::int64_t classes;  // columns of dense targets; K of sparse ones
  bool sparse;
  bool ids;              // labels are class ids, else rows
  bool second;           // as in MixJob
  Matrix<void> out;      // dense, or sparse own ids
  Matrix<void> partner;  // sparse only
  Matrix<void> weight;
  Matrix<void const> own;
  Matrix<void const> partners;
  float on, off;  // smoothed one-hot values
  bool has_ignored;
  std::int64_t ignored;
  Row const* rows;
  PlanHeader* header;
};

namespace cpu {
std::size_t workspace_bytes(std::int64_t capacity);
void plan(PlanJob const& job, int threads);
void mix(MixJob const& job, int threads);
void mix_in_place(MixJob const& job, int threads);
void label(LabelJob const& job, int threads);
}  // namespace cpu

/// Each returns what CUDA returned (a cudaError_t).
namespace cuda {
int workspace_bytes(std::int64_t capacity, std::size_t* bytes);
int plan(PlanJob const& job, CUstream_st* stream);
int set_draw(PlanHeader* header, Draw draw, CUstream_st* stream);
/// Images, and labels in the same launch where they are given.
int mix(MixJob const& images, LabelJob const* labels, CUstream_st* stream);
/// Whether a Mixer's plan and the mix by it can be one launch, which draws the next step's plan
/// too.
bool step_is_one(PlanJob const& plan, MixJob const& images);
int step(PlanJob const& plan, MixJob const& images, LabelJob const* labels, CUstream_st* stream);
int mix_in_place(MixJob const& images, LabelJob const* labels, CUstream_st* stream);
int label(LabelJob const& job, CUstream_st* stream);
}  // namespace cuda

}  // namespace mixfuse
