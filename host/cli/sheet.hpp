// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cairo.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/cli/dataset.hpp"
#include "host/cli/mixer.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::cli {

/// An image as cairo takes it: 0xRRGGBB a pixel.
struct Picture {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint32_t> pixels;
};

/// One mixture, beside what it is made of.
struct Example {
  Picture own, partner, mixed;
  std::string own_label, partner_label;
  float share = 1.0f;      ///< of the own label
  std::optional<Box> box;  ///< what was pasted
};

/// A page of examples, in two columns when there are more than three.
class Sheet {
 public:
  Sheet(std::int64_t width, std::int64_t height, std::size_t count, std::string const& title);
  void add(Example const& example, std::string const& policy);
  [[nodiscard]] std::string png() const;

 private:
  void picture(Picture const& picture, double x, double y);
  void outline(Box const& box, double x, double y, double dash);
  void write(std::string const& line, double x, double y, double size, std::uint32_t colour,
             double width, double align);
  void colour(std::uint32_t rgb);

  double scale_, picture_width_, picture_height_, cell_width_, cell_height_;
  std::size_t columns_, next_ = 0;
  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> cairo_;
};

/// bad_call unless the data are pictures: nchw or nhwc, 1, 3 or 4 channels.
void require_pictures(Dataset const& data);

/// Sample `i` of a mixed data set, as its row reads and mixes it.
[[nodiscard]] Example example_of(Dataset const& data, std::span<std::byte const> mixed,
                                 std::vector<Row> const& rows, std::size_t i);

}  // namespace mixfuse::cli
