// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/formula.hpp"
#include "bench/harness.hpp"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse::bench {

/// A batch as its own data set would store it, and what a step makes of it.
struct Shape {
  std::vector<std::int64_t> extents;  ///< (B, C, H, W) or (B, C, T), whatever lies in memory
  DType in = DType::f32;
  DType out = DType::f32;
  bool normalise = false;  ///< u8 nhwc -> flipped, normalised float nchw

  [[nodiscard]] std::string name() const;
  [[nodiscard]] std::int64_t samples() const { return extents[0]; }
  [[nodiscard]] std::int64_t channels() const { return extents[1]; }
  [[nodiscard]] std::int64_t elements() const;  ///< of a sample
  [[nodiscard]] std::size_t bytes_in() const;
  [[nodiscard]] std::size_t bytes_out() const;
};

/// The shapes that figures are given for; `small` ones stand in for them where time is short.
enum class Size : std::uint8_t { full, small };
[[nodiscard]] std::vector<Shape> shapes(Size size);

/// "256x3x224x224", of 3 or 4 extents. Throws std::invalid_argument.
[[nodiscard]] std::vector<std::int64_t> extents_of_name(std::string const& name);

/// Mixup 0.2, permutation and lambda for each sample; flips where the shape normalises.
[[nodiscard]] Spec mixup_of(Shape const& shape);

/// The larger of differences; one that is no number is infinite.
[[nodiscard]] double larger(double worst, double difference);

/// Sets of inputs and outputs with random contents, the same in each.
class Batch {
 public:
  Batch(Lane const& lane, Shape const& shape, int sets);

  [[nodiscard]] Shape const& shape() const { return shape_; }
  [[nodiscard]] int sets() const { return static_cast<int>(in_.size()); }
  [[nodiscard]] ConstTensorView in(int set) const;
  [[nodiscard]] TensorView out(int set) const;
  [[nodiscard]] Normalise const& normalise() const { return normalise_; }
  [[nodiscard]] std::vector<std::byte> const& host() const { return host_; }

  /// Copies as many bytes as a step reads and writes.
  void copy(int set) const;
  bool copy_non_temporal(int set) const;

  /// Largest difference of a set's output from `rows` applied in float64, over many of its
  /// elements.
  [[nodiscard]] double error(int set, std::vector<Row> const& rows) const;
  [[nodiscard]] double tolerance() const;
  /// Largest difference of a set's output from its input, element by element as they lie.
  [[nodiscard]] double converted_error(int set) const;

 private:
  [[nodiscard]] std::size_t half() const { return (shape_.bytes_in() + shape_.bytes_out()) / 2; }
  [[nodiscard]] void const* copied_from(int set) const;

  Lane const& lane_;
  Shape shape_;
  Normalise normalise_;
  std::vector<std::byte> host_;
  std::vector<Memory> in_, out_;
};

constexpr Draw first_draw{1, 0, 0};

/// Ids of classes for a batch, in no order.
[[nodiscard]] std::vector<std::int64_t> class_ids(std::int64_t samples, std::int64_t classes);

/// Largest difference of dense f32 targets from those that `ids` and `rows` make in float64.
[[nodiscard]] double targets_error(Memory const& targets, std::vector<std::int64_t> const& ids,
                                   std::int64_t classes, std::vector<Row> const& rows);
constexpr double targets_tolerance = 2.4e-7;

/// Mixup for the batch, drawn once.
[[nodiscard]] Plan plan_of(Batch const& batch, Lane const& lane);

/// Training steps of mixfuse, each drawn anew; with dense targets where there are classes.
class Mixing {
 public:
  Mixing(Batch const& batch, Spec spec, Lane const& lane, std::int64_t classes = 0);

  void step(int set);
  /// Over a set's outputs, which then are the images.
  void step_in_place(int set);
  /// Of the last step, on a batch's set 0; infinite where the targets are wrong.
  [[nodiscard]] double error() const;

 private:
  Batch const& batch_;
  Lane const& lane_;
  std::int64_t classes_;
  Mixer mixer_;
  std::vector<std::int64_t> classes_of_;
  Memory ids_, targets_;
};

/// The formula's contestants share the partners and weights of a plan.
class Formulas {
 public:
  Formulas(Batch const& batch, Lane const& lane);
  void passes(int set) const;
  void fused(int set) const;
  void convert(int set) const;  ///< on the CPU
  [[nodiscard]] Formula formula(int set) const;
  [[nodiscard]] double error() const { return batch_.error(0, rows_); }

 private:
  Batch const& batch_;
  Lane const& lane_;
  std::vector<Row> rows_;
  Memory partner_, weight_, scratch_;
};

/// The contest that `mixfuse bench` and the bench of the library have in common: copy, formula,
/// mixfuse. `more` enter as well.
[[nodiscard]] Contest mix_contest(Lane const& lane, Effort const& effort, Batch const& batch,
                                  Way way, std::vector<Contestant> const& more = {});

}  // namespace mixfuse::bench
