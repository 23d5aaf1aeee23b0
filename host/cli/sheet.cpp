// SPDX-License-Identifier: Apache-2.0
#include "host/cli/sheet.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "host/cli/commands.hpp"
#include "host/cli/fault.hpp"
#include "host/cli/images.hpp"
#include "host/cli/plan_json.hpp"

namespace mixfuse::cli {
namespace {

constexpr std::uint32_t ink = 0x222222, grey = 0x777777, paper = 0xffffff;
constexpr std::uint32_t own_colour = 0x2166ac, partner_colour = 0xd6604d, box_colour = 0xffd92f;
constexpr double margin = 20, gap = 10, header = 40, above = 22, bar = 10, below = 62;
constexpr double largest = 240, smallest = 160;

double half_value(std::uint16_t bits) {
  int const exponent = bits >> 10 & 31;
  double const mantissa = bits & 1023;
  double const magnitude = exponent == 31  ? (mantissa > 0 ? NAN : INFINITY)
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <class Value>
Value load(std::byte const* at) {
  Value value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

double value_of(DType dtype, std::byte const* at) {
  switch (dtype) {
    case DType::u8:
      return std::to_integer<int>(*at) / 255.0;
    case DType::f16:
      return half_value(load<std::uint16_t>(at));
    case DType::bf16: {
      std::uint32_t const bits = static_cast<std::uint32_t>(load<std::uint16_t>(at)) << 16;
      return static_cast<double>(std::bit_cast<float>(bits));
    }
    case DType::f32:
      return static_cast<double>(load<float>(at));
    case DType::f64:
      return load<double>(at);
    case DType::boolean:
      return std::to_integer<int>(*at);
    default:
      throw bad_call(text("--images: ", name_of(dtype), " are not pictures"));
  }
}

enum class Mirrored : bool { no, yes };

Picture picture_of(Dataset const& data, std::span<std::byte const> bytes, std::size_t sample,
                   Mirrored mirrored) {
  bool const last = data.layout == Layout::nhwc;
  auto const& shape = data.images.shape;
  std::int64_t const channels = shape[last ? 3 : 1];
  Picture picture;
  picture.height = shape[last ? 1 : 2], picture.width = shape[last ? 2 : 3];
  std::int64_t const plane = picture.height * picture.width;
  std::int64_t const pixel_stride = last ? channels : 1, channel_stride = last ? 1 : plane;
  DType const dtype = data.images.dtype;
  auto const size = static_cast<std::int64_t>(size_of(dtype));
  std::byte const* const first =
      bytes.data() + static_cast<std::int64_t>(sample) * plane * channels * size;

  picture.pixels.reserve(static_cast<std::size_t>(plane));
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t x = 0; x < picture.width; ++x) {
      std::int64_t const column = mirrored == Mirrored::yes ? picture.width - 1 - x : x;
      auto const channel = [&](std::int64_t c) {
        std::int64_t const at = (y * picture.width + column) * pixel_stride + c * channel_stride;
        double const value = value_of(dtype, first + at * size);
        if (!(value >= 0.0 && value <= 1.0)) {
          throw bad_call(text("--images: sample ", sample, " has a pixel of ", value,
                              ", a sheet takes u8 or floats from 0 to 1"));
        }
        return value;
      };
      double const opacity = channels == 4 ? channel(3) : 1.0;
      std::uint32_t pixel = 0;
      for (std::int64_t c = 0; c < 3; ++c) {
        double const shade = channel(channels == 1 ? 0 : c) * opacity + (1.0 - opacity);
        pixel = pixel << 8 | static_cast<std::uint32_t>(std::lround(shade * 255.0));
      }
      picture.pixels.push_back(pixel);
    }
  }
  return picture;
}

/// What a label is called: its folder, its id, the largest of its row.
std::string label_name(Dataset const& data, Labels const& labels, std::size_t i) {
  Array const& values = labels.values;
  if (labels.ids()) {
    auto const id = load<std::int64_t>(values.bytes.data.get() + i * 8);
    bool const named = id >= 0 && static_cast<std::size_t>(id) < data.class_names.size();
    return named ? data.class_names[static_cast<std::size_t>(id)] : text("class ", id);
  }
  auto const classes = static_cast<std::size_t>(values.shape[1]);
  std::size_t best = 0;
  auto const at = [&](std::size_t k) {
    return value_of(values.dtype,
                    values.bytes.data.get() + (i * classes + k) * size_of(values.dtype));
  };
  for (std::size_t k = 1; k < classes; ++k) {
    if (at(k) > at(best)) best = k;
  }
  return text("class ", best);
}

std::string three_digits(float value) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%.3f", static_cast<double>(value));
  return digits;
}

/// cairo refuses text that is not UTF-8, as a folder's name may be.
std::string utf8(std::string const& line) {
  using nlohmann::json;
  std::string const quoted = json(line).dump(-1, ' ', false, json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
}

}  // namespace

Sheet::Sheet(std::int64_t width, std::int64_t height, std::size_t count, std::string const& title)
    : scale_{1.0},
      columns_{count > 3 ? 2u : 1u},
      surface_{nullptr, cairo_surface_destroy},
      cairo_{nullptr, cairo_destroy} {
  auto const side = static_cast<double>(std::max({width, height, std::int64_t{1}}));
  scale_ = side > largest ? largest / side : std::max(1.0, std::floor(smallest / side));
  picture_width_ = std::max(1.0, std::round(static_cast<double>(width) * scale_));
  picture_height_ = std::max(1.0, std::round(static_cast<double>(height) * scale_));
  // The bar and its labels need some room under narrow pictures too.
  cell_width_ = 3 * std::max(picture_width_, 90.0) + 2 * gap;
  cell_height_ = above + picture_height_ + below;
  auto const rows = static_cast<double>((count + columns_ - 1) / columns_);
  auto const columns = static_cast<double>(columns_);
  int const across = static_cast<int>(columns * (cell_width_ + 2 * margin));
  int const down = static_cast<int>(header + rows * (cell_height_ + margin));
  surface_.reset(cairo_image_surface_create(CAIRO_FORMAT_RGB24, across, down));
  cairo_.reset(cairo_create(surface_.get()));
  if (cairo_status(cairo_.get()) != CAIRO_STATUS_SUCCESS) throw std::bad_alloc();
  colour(paper);
  cairo_paint(cairo_.get());
  write(title, margin, 26, 15, ink, across - 2 * margin, 0.0);
}

void Sheet::colour(std::uint32_t rgb) {
  cairo_set_source_rgb(cairo_.get(), (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0,
                       (rgb & 255) / 255.0);
}

void Sheet::write(std::string const& line, double x, double y, double size,
                  std::uint32_t ink_colour, double width, double align) {
  cairo_t* const cairo = cairo_.get();
  std::string const shown = utf8(line);
  cairo_save(cairo);
  cairo_rectangle(cairo, x, y - 2 * size, width, 3 * size);
  cairo_clip(cairo);
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, shown.c_str(), &extents);
  colour(ink_colour);
  cairo_move_to(cairo, x + std::max(0.0, width - extents.x_advance) * align, y);
  cairo_show_text(cairo, shown.c_str());
  cairo_restore(cairo);
}

void Sheet::picture(Picture const& picture, double x, double y) {
  cairo_t* const cairo = cairo_.get();
  if (picture.pixels.empty()) return;
  auto const width = static_cast<int>(picture.width), height = static_cast<int>(picture.height);
  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> const surface{
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height), cairo_surface_destroy};
  int const stride = cairo_image_surface_get_stride(surface.get());
  unsigned char* const data = cairo_image_surface_get_data(surface.get());
  if (data == nullptr) throw std::bad_alloc();
  for (int row = 0; row < height; ++row) {
    std::memcpy(data + static_cast<std::ptrdiff_t>(row) * stride,
                picture.pixels.data() + static_cast<std::ptrdiff_t>(row) * width,
                static_cast<std::size_t>(width) * 4);
  }
  cairo_surface_mark_dirty(surface.get());
  cairo_save(cairo);
  cairo_translate(cairo, x, y);
  cairo_scale(cairo, picture_width_ / width, picture_height_ / height);
  cairo_set_source_surface(cairo, surface.get(), 0, 0);
  cairo_pattern_t* const pattern = cairo_get_source(cairo);
  cairo_pattern_set_filter(pattern, scale_ >= 1.0 ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
  cairo_pattern_set_extend(pattern, CAIRO_EXTEND_PAD);
  cairo_rectangle(cairo, 0, 0, width, height);
  cairo_fill(cairo);
  cairo_restore(cairo);
  colour(0xcccccc);
  cairo_set_line_width(cairo, 1);
  cairo_rectangle(cairo, x - 0.5, y - 0.5, picture_width_ + 1, picture_height_ + 1);
  cairo_stroke(cairo);
}

void Sheet::outline(Box const& box, double x, double y, double dash) {
  cairo_t* const cairo = cairo_.get();
  double const top = y + box.lo[0] * scale_, left = x + box.lo[1] * scale_;
  double const height = (box.hi[0] - box.lo[0]) * scale_;
  double const width = (box.hi[1] - box.lo[1]) * scale_;
  // Dark under light, so that it is seen on any picture.
  for (auto const& [line_colour, line_width] : {std::pair{0x000000u, 4.0}, {box_colour, 2.0}}) {
    colour(line_colour);
    cairo_set_line_width(cairo, line_width);
    cairo_set_dash(cairo, &dash, dash > 0 ? 1 : 0, 0);
    cairo_rectangle(cairo, left, top, width, height);
    cairo_stroke(cairo);
  }
  cairo_set_dash(cairo, nullptr, 0, 0);
}

void Sheet::add(Example const& example, std::string const& policy) {
  double const x = margin + static_cast<double>(next_ % columns_) * (cell_width_ + 2 * margin);
  double const y = header + static_cast<double>(next_ / columns_) * (cell_height_ + margin);
  ++next_;
  double const pitch = (cell_width_ + gap) / 3, top = y + above;
  struct Part {
    Picture const& picture;
    char const* name;
  };
  Part const parts[] = {
      {example.own, "own"}, {example.partner, "partner"}, {example.mixed, policy.c_str()}};
  double left = x;
  for (Part const& part : parts) {
    write(part.name, left, y + 14, 12, grey, pitch - gap, 0.0);
    picture(part.picture, left, top);
    left += pitch;
  }
  if (example.box) {
    outline(*example.box, x + pitch, top, 5);
    outline(*example.box, x + 2 * pitch, top, 0);
  }
  double const bar_y = top + picture_height_ + 8, share = static_cast<double>(example.share);
  colour(own_colour);
  cairo_rectangle(cairo_.get(), x, bar_y, cell_width_ * share, bar);
  cairo_fill(cairo_.get());
  colour(partner_colour);
  cairo_rectangle(cairo_.get(), x + cell_width_ * share, bar_y, cell_width_ * (1 - share), bar);
  cairo_fill(cairo_.get());
  double const line = bar_y + bar + 18, third = cell_width_ / 3;
  write(text(example.own_label, "  ", three_digits(example.share)), x, line, 14, own_colour, third,
        0.0);
  write(text("\u03bb = ", three_digits(example.share)), x + third, line, 14, ink, third, 0.5);
  write(text(example.partner_label, "  ", three_digits(1.0f - example.share)), x + 2 * third, line,
        14, partner_colour, third, 1.0);
}

std::string Sheet::png() const {
  cairo_surface_t* const surface = surface_.get();
  cairo_surface_flush(surface);
  int const width = cairo_image_surface_get_width(surface);
  int const height = cairo_image_surface_get_height(surface);
  unsigned char const* const data = cairo_image_surface_get_data(surface);
  int const stride = cairo_image_surface_get_stride(surface);
  std::vector<std::byte> rgb;
  rgb.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint32_t pixel;
      std::memcpy(&pixel, data + static_cast<std::ptrdiff_t>(y) * stride + x * 4, 4);
      for (int shift : {16, 8, 0}) rgb.push_back(static_cast<std::byte>(pixel >> shift & 255));
    }
  }
  return encode_png(rgb, width, height, 3);
}

void require_pictures(Dataset const& data) {
  bool const last = data.layout == Layout::nhwc;
  if (!last && data.layout != Layout::nchw) {
    throw bad_call(text("--images: layout ", name_of(data.layout),
                        " are not pictures, nchw and "
                        "nhwc are (--layout)"));
  }
  std::int64_t const channels = data.images.shape[last ? 3 : 1];
  if (channels != 1 && channels != 3 && channels != 4) {
    throw bad_call(text("--images: ", channels,
                        " channels are not a picture, 1, 3 and 4 are "
                        "(--layout)"));
  }
}

Example example_of(Dataset const& data, std::span<std::byte const> mixed,
                   std::vector<Row> const& rows, std::size_t i) {
  Row const& row = rows[i];
  auto const partner = static_cast<std::size_t>(row.partner);
  auto const flip = [](Row const& of) { return of.flip ? Mirrored::yes : Mirrored::no; };
  Example example;
  example.own = picture_of(data, data.images.bytes.span(), i, flip(row));
  example.partner = data.partners
                        ? picture_of(data, data.partners->bytes.span(), partner, Mirrored::no)
                        : picture_of(data, data.images.bytes.span(), partner, flip(rows[partner]));
  example.mixed = picture_of(data, mixed, i, Mirrored::no);
  // Without labels, the sample's file or number.
  auto const own_name = [&](std::size_t k) {
    if (data.labels) return label_name(data, *data.labels, k);
    return data.sample_names.empty() ? text("sample ", k) : data.sample_names[k];
  };
  example.own_label = own_name(i);
  example.partner_label = !data.partners        ? own_name(partner)
                          : data.partner_labels ? label_name(data, *data.partner_labels, partner)
                                                : text("sample ", partner);
  example.share = row.label;
  bool const empty = row.box.lo[0] == row.box.hi[0] || row.box.lo[1] == row.box.hi[1];
  if (!empty && row.inside != row.outside) example.box = row.box;
  return example;
}

void run_sheet(Options const& options) {
  check_flags(options);
  std::vector<std::unique_ptr<OutputFile>> files;
  files.push_back(std::make_unique<OutputFile>(options.out, "--out"));
  Engine const engine{options.device, options.threads};
  Dataset const data = read_dataset(options);
  require_pictures(data);
  Products products;
  products.dtype = data.images.dtype;
  Mixer mixer{engine, data, products};
  if (options.plan_in.empty()) {
    mixer.draw(spec_of(options), draw_of(options));
  } else {
    StoredPlan const plan = read_plan(options.plan_in, data.extents);
    mixer.take(plan.rows, plan.draw);
  }
  mixer.mix();
  mixer.fetch();

  auto const rows = mixer.rows();
  auto const count = static_cast<std::size_t>(std::min(options.count, data.extents.samples));
  Sheet sheet{data.extents.spatial[1], data.extents.spatial[0], count,
              text(count, " of ", rows.size(), " samples")};
  for (std::size_t i = 0; i < count; ++i) {
    sheet.add(example_of(data, mixer.images(), rows, i), "mixed");
  }
  files[0]->write(sheet.png());
  commit(files);
}

}  // namespace mixfuse::cli
