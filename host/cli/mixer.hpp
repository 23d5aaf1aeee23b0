// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/cli/dataset.hpp"
#include "host/cli/engine.hpp"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse::cli {

/// What is made of a data set.
struct Products {
  bool images = true;
  DType dtype = DType::u8;       ///< of the images
  std::optional<Layout> layout;  ///< of the images; absent: as they are
  Normalise normalise;
  std::optional<TargetKind> targets;
  float smoothing = 0.0f;
  std::optional<std::int64_t> ignored;
};

/// The images' shape with its axes in another order. Throws bad_call for other axes.
[[nodiscard]] std::vector<std::int64_t> shape_in(Layout layout, Dataset const& data);

/// A data set where the work runs, mixed by one draw after the other.
class Mixer {
 public:
  Mixer(Engine const& engine, Dataset const& data, Products const& products);

  void draw(Spec const& spec, Draw draw);
  void take(std::vector<Row> const& rows, Draw draw);
  /// Queues the mixing of images and targets by the rows that were drawn or taken.
  void mix();
  /// Waits and brings the results to the host. A bad class id is failed_run, with its row.
  void fetch();

  [[nodiscard]] std::span<std::byte const> images() const { return mixed_.span(); }
  /// Dense rows, or packed records of own i8, partner i8 and lambda f4.
  [[nodiscard]] std::span<std::byte const> targets() const { return targets_.span(); }
  [[nodiscard]] DType target_dtype() const { return target_dtype_; }
  [[nodiscard]] std::vector<Row> rows() const;

 private:
  [[nodiscard]] ConstTensorView view(Array const& array, Mirror const& memory) const;
  [[nodiscard]] Targets targets_view() const;
  [[noreturn]] void report(ErrorWord const& word) const;

  Engine const& engine_;
  Dataset const& data_;
  Products products_;
  DType target_dtype_;
  Bytes mixed_, targets_, parts_;  // parts_: sparse targets, one array after the other
  Mirror images_, partners_, labels_, partner_labels_, mixed_mirror_, targets_mirror_;
  Plan plan_;
};

}  // namespace mixfuse::cli
