// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mixfuse::cli {

/// What one run may read. Sizes are checked before anything is allocated.
struct Limits {
  std::int64_t side = 16384;                   ///< width or height of an image file
  std::int64_t pixels = 1 << 26;               ///< of an image file
  std::int64_t channels = 4;                   ///< of an image file
  std::int64_t file = std::int64_t{64} << 20;  ///< bytes of an image file or a CSV
  std::int64_t bytes = std::int64_t{1} << 30;  ///< decoded, all inputs together
  std::int64_t rows = 1000000;                 ///< of labels
};

/// Takes what was decoded from what the run may decode.
class Budget {
 public:
  explicit Budget(Limits limits) : limits_{limits}, left_{limits.bytes} {}
  [[nodiscard]] Limits const& limits() const { return limits_; }
  void take(std::int64_t bytes, std::string const& file);

 private:
  Limits limits_;
  std::int64_t left_;
};

/// Bytes without an initial value.
struct Bytes {
  Bytes() = default;
  explicit Bytes(std::size_t count)
      : data{std::make_unique_for_overwrite<std::byte[]>(count)}, size{count} {}

  std::unique_ptr<std::byte[]> data;
  std::size_t size = 0;

  [[nodiscard]] std::span<std::byte> span() { return {data.get(), size}; }
  [[nodiscard]] std::span<std::byte const> span() const { return {data.get(), size}; }
};

/// A regular file, read from its beginning.
class InputFile {
 public:
  explicit InputFile(std::string path);
  ~InputFile();
  InputFile(InputFile const&) = delete;
  InputFile& operator=(InputFile const&) = delete;

  [[nodiscard]] std::string const& path() const { return path_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// The next bytes, all of them; a file that shrinks meanwhile is an error.
  void read(std::span<std::byte> bytes);

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// All of a file of at most `limit` bytes.
[[nodiscard]] std::string read_text(std::string const& path, std::int64_t limit);

/// A file that exists under its name only once it is complete.
class OutputFile {
 public:
  /// Opens a temporary file beside `path`. A link, a folder or a device is a bad call by `flag`.
  OutputFile(std::string path, std::string const& flag);
  ~OutputFile();
  OutputFile(OutputFile const&) = delete;
  OutputFile& operator=(OutputFile const&) = delete;

  void write(std::span<std::byte const> bytes);
  void write(std::string const& characters);

 private:
  friend void commit(std::vector<std::unique_ptr<OutputFile>>& files);
  void close();
  /// Whether it has its name now; the file that had it before is kept as the temporary one.
  bool place();
  void take_back();

  enum class Place : std::uint8_t { temporary, fresh, exchanged };
  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
  Place place_ = Place::temporary;
};

/// Gives every file its name, or none.
void commit(std::vector<std::unique_ptr<OutputFile>>& files);

/// From here on a signal that ends the process removes the temporary files first.
void remove_temporaries_on_signals();

}  // namespace mixfuse::cli
