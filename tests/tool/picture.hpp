// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <turbojpeg.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "host/cli/images.hpp"

namespace mixfuse::tool_tests {

/// Pixels that are all different.
inline std::vector<std::byte> pattern(std::int64_t width, std::int64_t height,
                                      std::int64_t channels) {
  std::vector<std::byte> pixels(static_cast<std::size_t>(width * height * channels));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::byte>(i * 5 & 255);
  return pixels;
}

/// A PNG of one shade.
inline std::string png(std::int64_t width, std::int64_t height, std::int64_t channels, int shade) {
  std::vector<std::byte> const pixels(static_cast<std::size_t>(width * height * channels),
                                      static_cast<std::byte>(shade));
  return cli::encode_png(pixels, width, height, channels);
}

/// A PNG that claims 2^16 pixels a side; its header's checksum is right.
inline std::string huge_png() {
  std::string file = png(1, 1, 3, 0);
  file.replace(16, 8, std::string{"\0\1\0\0\0\1\0\0", 8});
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(file[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  crc = ~crc;
  for (std::size_t i = 0; i < 4; ++i) file[29 + i] = static_cast<char>(crc >> (24 - 8 * i) & 255);
  return file;
}

/// A colour JPEG of one shade.
inline std::string jpeg(int width, int height, int shade) {
  std::vector<unsigned char> const pixels(static_cast<std::size_t>(width * height * 3),
                                          static_cast<unsigned char>(shade));
  unsigned char* encoded = nullptr;
  unsigned long size = 0;
  tjhandle const handle = tjInitCompress();
  tjCompress2(handle, pixels.data(), width, 0, height, TJPF_RGB, &encoded, &size, TJSAMP_444, 95,
              0);
  std::string file(reinterpret_cast<char const*>(encoded), size);
  tjFree(encoded);
  tjDestroy(handle);
  return file;
}

}  // namespace mixfuse::tool_tests
