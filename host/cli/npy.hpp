// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/cli/file.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse::cli {

/// An array in host memory, C order. bf16 travels as NumPy's uint16.
struct Array {
  DType dtype = DType::u8;
  std::vector<std::int64_t> shape;
  Bytes bytes;

  [[nodiscard]] std::int64_t rows() const { return shape.empty() ? 0 : shape[0]; }
};

/// What a .npy file says about itself.
struct NpyHeader {
  DType dtype = DType::u8;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  ///< where the elements start
  std::uint64_t bytes = 0;   ///< of all elements
};

/// The longest header that is read.
inline constexpr std::size_t npy_header_limit = 65536;

/// `start` is the file's beginning: all of it, or at least npy_header_limit bytes. `name` is for
/// errors.
[[nodiscard]] NpyHeader parse_npy_header(std::span<std::byte const> start, std::uint64_t file_size,
                                         std::string const& name);

[[nodiscard]] Array read_npy(std::string const& path, Budget& budget);

/// NumPy's name of a dtype, with its byte order.
[[nodiscard]] std::string npy_name(DType dtype);

/// The bytes before the elements. `descr` is what NumPy calls so, as Python text: "'<f4'".
[[nodiscard]] std::string npy_header(std::string const& descr,
                                     std::vector<std::int64_t> const& shape);

}  // namespace mixfuse::cli
