// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "host/cli/file.hpp"
#include "host/cli/npy.hpp"

namespace mixfuse::cli {

/// What an image file says about itself.
struct ImageHeader {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t channels = 0;  ///< 1 grey, 3 colour, 4 either with alpha
};

/// PNG or JPEG, told apart by their first bytes. Throws failed_run beyond `limits`.
[[nodiscard]] ImageHeader read_image_header(std::span<std::byte const> file,
                                            std::string const& name, Limits const& limits);

/// Rows of `channels` bytes a pixel into `pixels`, which has room for exactly that.
void decode_image(std::span<std::byte const> file, std::string const& name,
                  ImageHeader const& header, std::int64_t channels, std::span<std::byte> pixels);

/// Images of one folder, u8 nhwc, with as many channels as the richest of them.
struct Folder {
  Array images;
  std::vector<std::string> files;    ///< "class/file" or "file", in byte order of class, then file
  std::vector<std::string> classes;  ///< its folders' names in byte order; none if it has none
  std::vector<std::int64_t> labels;  ///< the folder that each file lies in; empty without folders
};

/// Whether files that lie beside class folders, hence in no class, are an error.
enum class Labelling : std::uint8_t { by_folder, elsewhere };

/// Reads PNG and JPEG files; names that start with a dot and other files are passed over. `read` is
/// told how many of how many images have been decoded.
[[nodiscard]] Folder read_folder(std::string const& path, Labelling labelling, Budget& budget,
                                 std::function<void(std::size_t, std::size_t)> const& read);

/// Classes from lines of file,class. Every file once, in any order.
[[nodiscard]] std::vector<std::int64_t> parse_csv(std::string const& contents,
                                                  std::string const& name,
                                                  std::vector<std::string> const& files);

/// Writes rows of grey, RGB or RGBA bytes as a PNG's contents.
[[nodiscard]] std::string encode_png(std::span<std::byte const> pixels, std::int64_t width,
                                     std::int64_t height, std::int64_t channels);

}  // namespace mixfuse::cli
