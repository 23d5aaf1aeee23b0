// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "host/cli/file.hpp"
#include "host/cli/npy.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::tool_tests {

struct Ended {
  int status;
  std::string out, err;

  [[nodiscard]] bool one_line() const {
    return !err.empty() && err.find('\n') == err.size() - 1 && err.starts_with("mixfuse: ");
  }
};

/// A folder of its own, where the tool runs; gone with the test.
class Workplace {
 public:
  Workplace();
  ~Workplace();
  Workplace(Workplace const&) = delete;
  Workplace& operator=(Workplace const&) = delete;

  [[nodiscard]] std::string path(std::string const& name) const { return folder_ + "/" + name; }
  void write(std::string const& name, std::string const& contents) const;
  [[nodiscard]] std::string read(std::string const& name) const;
  [[nodiscard]] bool exists(std::string const& name) const;
  [[nodiscard]] std::size_t files() const;  ///< hidden ones too

  /// `mixfuse arguments`, as a shell reads them, in this folder.
  [[nodiscard]] Ended run(std::string const& arguments) const;
  /// Any program; `limits` are shell commands before it.
  [[nodiscard]] Ended run_program(std::string const& program, std::string const& arguments,
                                  std::string const& limits = "") const;

  [[nodiscard]] std::vector<Row> rows(std::string const& plan, Extents const& batch) const;

 private:
  std::string folder_;
};

template <class Value>
std::string npy(std::string const& name, std::vector<std::int64_t> const& shape,
                std::vector<Value> const& values) {
  std::string file = cli::npy_header("'" + name + "'", shape);
  file.append(reinterpret_cast<char const*>(values.data()), values.size() * sizeof(Value));
  return file;
}

/// The elements of a .npy file's contents.
template <class Value>
std::vector<Value> elements(std::string const& file) {
  auto const header = cli::parse_npy_header(std::as_bytes(std::span{file}), file.size(), "test");
  std::vector<Value> values(static_cast<std::size_t>(header.bytes) / sizeof(Value));
  std::memcpy(values.data(), file.data() + header.offset, values.size() * sizeof(Value));
  return values;
}

/// f32 (count, 3, 5, 7), where each element tells which it is.
[[nodiscard]] std::string tagged_images(std::int64_t count);

/// 6 tagged images in x.npy, ids of 4 classes in y.npy.
void write_batch(Workplace const& at);

inline constexpr std::int64_t batch_samples = 6;
[[nodiscard]] inline Extents batch_extents() { return {batch_samples, 2, {5, 7}, true}; }

}  // namespace mixfuse::tool_tests
