// SPDX-License-Identifier: Apache-2.0
#include "host/cli/images.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "host/cli/fault.hpp"

namespace mixfuse::cli {
namespace {

namespace fs = std::filesystem;

bool is_png(std::span<std::byte const> file) {
  return file.size() >= 8 && std::memcmp(file.data(), "\x89PNG\r\n\x1a\n", 8) == 0;
}

bool is_jpeg(std::span<std::byte const> file) {
  return file.size() >= 3 && std::memcmp(file.data(), "\xff\xd8\xff", 3) == 0;
}

/// The file without what it says of its colours, by which libpng would convert them: the pixels are
/// wanted as they are stored. libpng stops after the last row, so it does not see a missing end.
std::vector<std::byte> plain_png(std::span<std::byte const> file, std::string const& name) {
  std::vector<std::byte> plain(file.begin(), file.begin() + 8);
  for (std::size_t at = 8; file.size() - at >= 12;) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      length = length << 8 | std::to_integer<std::size_t>(file[at + i]);
    }
    if (length > file.size() - at - 12) break;
    auto const chunk = file.subspan(at, length + 12);
    std::string_view const type{reinterpret_cast<char const*>(&chunk[4]), 4};
    if (type != "gAMA" && type != "cHRM" && type != "sRGB" && type != "iCCP") {
      plain.insert(plain.end(), chunk.begin(), chunk.end());
    }
    if (type == "IEND") return plain;
    at += chunk.size();
  }
  throw failed_run(text(name, ": the PNG ends early"));
}

/// libpng's simplified reader, which reports errors as values.
class Png {
 public:
  Png(std::span<std::byte const> file, std::string const& name)
      : file_{plain_png(file, name)}, name_{name} {
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&image, file_.data(), file_.size())) fail();
    image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // of which the upper half is read
  }
  ~Png() { png_image_free(&image); }
  Png(Png const&) = delete;
  Png& operator=(Png const&) = delete;

  void decode(std::int64_t channels, std::span<std::byte> pixels) {
    image.format = channels == 1   ? PNG_FORMAT_GRAY
                   : channels == 3 ? PNG_FORMAT_RGB
                                   : PNG_FORMAT_RGBA;
    png_color const white = {255, 255, 255};
    if (!png_image_finish_read(&image, &white, pixels.data(), 0, nullptr)) fail();
    if (PNG_IMAGE_FAILED(image)) fail();
  }

  png_image image = {};

 private:
  [[noreturn]] void fail() const { throw failed_run(text(name_, ": bad PNG: ", image.message)); }
  std::vector<std::byte> file_;
  std::string const& name_;
};

class Jpeg {
 public:
  Jpeg(std::span<std::byte const> file, std::string const& name)
      : file_{file}, name_{name}, handle_{tjInitDecompress(), tjDestroy} {
    int sampling = 0;
    if (tjDecompressHeader3(handle_.get(), bytes(), size(), &width, &height, &sampling, &space)) {
      fail();
    }
  }

  void decode(std::int64_t channels, std::span<std::byte> pixels) {
    int const format = channels == 1 ? TJPF_GRAY : channels == 3 ? TJPF_RGB : TJPF_RGBA;
    // A warning counts as an error: so turbojpeg reports files that end early. The exact DCT gives
    // equal pixels on every machine; the limit on scans is against small files that take minutes.
    if (tjDecompress2(handle_.get(), bytes(), size(),
                      reinterpret_cast<unsigned char*>(pixels.data()), width, 0, height, format,
                      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS)) {
      fail();
    }
  }

  int width = 0, height = 0, space = 0;

 private:
  [[nodiscard]] unsigned char const* bytes() const {
    return reinterpret_cast<unsigned char const*>(file_.data());
  }
  [[nodiscard]] unsigned long size() const { return file_.size(); }
  [[noreturn]] void fail() const {
    throw failed_run(text(name_, ": bad JPEG: ", tjGetErrorStr2(handle_.get())));
  }
  std::span<std::byte const> file_;
  std::string const& name_;
  std::unique_ptr<void, int (*)(void*)> handle_;
};

Bytes read_image_file(std::string const& path, Limits const& limits) {
  InputFile file{path};
  if (file.size() > static_cast<std::uint64_t>(limits.file)) {
    throw failed_run(
        text(path, ": ", file.size(), " bytes are more than ", limits.file, " (--max-file)"));
  }
  Bytes bytes(static_cast<std::size_t>(file.size()));
  file.read(bytes.span());
  return bytes;
}

bool has_image_name(fs::path const& path) {
  std::string extension = path.extension();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

/// Names in a folder in byte order: its folders, or its images.
std::vector<std::string> names_in(fs::path const& folder, bool folders) {
  std::vector<std::string> names;
  for (auto const& entry : fs::directory_iterator{folder}) {
    std::string const name = entry.path().filename();
    if (name.starts_with('.')) continue;
    if (entry.is_directory() ? folders : !folders && has_image_name(entry.path())) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Names, classes and labels; the images are still to come.
Folder list_folder(std::string const& path, Labelling labelling) {
  Folder folder;
  folder.classes = names_in(path, true);
  folder.files = names_in(path, false);
  if (labelling == Labelling::by_folder && !folder.classes.empty() && !folder.files.empty()) {
    throw failed_run(text(path, ": ", folder.files[0], " lies in no class folder"));
  }
  for (std::size_t label = 0; label < folder.classes.size(); ++label) {
    std::string const& name = folder.classes[label];
    auto const deeper = names_in(fs::path{path} / name, true);
    if (!deeper.empty()) {
      throw failed_run(text(path, "/", name, "/", deeper[0], ": a folder in a class folder"));
    }
    for (std::string const& file : names_in(fs::path{path} / name, false)) {
      folder.files.push_back(text(name, "/", file));
      folder.labels.push_back(static_cast<std::int64_t>(label));
    }
  }
  if (folder.files.empty()) throw failed_run(text(path, ": holds no PNG or JPEG file"));
  return folder;
}

}  // namespace

ImageHeader read_image_header(std::span<std::byte const> file, std::string const& name,
                              Limits const& limits) {
  ImageHeader header;
  if (is_png(file)) {
    Png const png{file, name};
    bool const colour = png.image.format & PNG_FORMAT_FLAG_COLOR;
    bool const alpha = png.image.format & PNG_FORMAT_FLAG_ALPHA;
    header = {png.image.width, png.image.height, alpha ? 4 : colour ? 3 : 1};
  } else if (is_jpeg(file)) {
    Jpeg const jpeg{file, name};
    header = {jpeg.width, jpeg.height, jpeg.space == TJCS_GRAY ? 1 : 3};
  } else {
    throw failed_run(text(name, ": is neither PNG nor JPEG"));
  }
  std::string const size = text(name, ": ", header.width, "x", header.height);
  if (std::max(header.width, header.height) > limits.side) {
    throw failed_run(text(size, ", a side is longer than ", limits.side, " (--max-side)"));
  }
  if (header.width * header.height > limits.pixels) {
    throw failed_run(text(size, " pixels are more than ", limits.pixels, " (--max-pixels)"));
  }
  if (header.channels > limits.channels) {
    throw failed_run(text(name, ": ", header.channels, " channels are more than ", limits.channels,
                          " (--max-channels)"));
  }
  return header;
}

void decode_image(std::span<std::byte const> file, std::string const& name,
                  ImageHeader const& header, std::int64_t channels, std::span<std::byte> pixels) {
  auto const require_same = [&](std::int64_t width, std::int64_t height) {
    if (width != header.width || height != header.height ||
        pixels.size() != static_cast<std::size_t>(width * height * channels)) {
      throw failed_run(text(name, ": changed while it was read"));
    }
  };
  if (is_png(file)) {
    Png png{file, name};
    require_same(png.image.width, png.image.height);
    png.decode(channels, pixels);
  } else {
    Jpeg jpeg{file, name};
    require_same(jpeg.width, jpeg.height);
    jpeg.decode(channels, pixels);
  }
}

Folder read_folder(std::string const& path, Labelling labelling, Budget& budget,
                   std::function<void(std::size_t, std::size_t)> const& read) {
  Folder folder = list_folder(path, labelling);
  auto const full = [&](std::string const& file) { return text(path, "/", file); };

  // All headers first: sizes are known, and known to agree, before there is memory for any pixel.
  ImageHeader first;
  std::int64_t channels = 1;
  for (std::string const& file : folder.files) {
    Bytes const bytes = read_image_file(full(file), budget.limits());
    ImageHeader const header = read_image_header(bytes.span(), full(file), budget.limits());
    if (first.width == 0) first = header;
    if (header.width != first.width || header.height != first.height) {
      throw failed_run(text(full(file), ": ", header.width, "x", header.height,
                            " pixels, the images before it have ", first.width, "x", first.height));
    }
    channels = std::max(channels, header.channels);
  }

  auto const count = static_cast<std::int64_t>(folder.files.size());
  std::int64_t const each = first.width * first.height * channels;
  std::int64_t total = 0;
  if (__builtin_mul_overflow(count, each, &total)) total = INT64_MAX;
  budget.take(total, path);
  folder.images = {DType::u8,
                   {count, first.height, first.width, channels},
                   Bytes(static_cast<std::size_t>(total))};
  for (std::size_t i = 0; i < folder.files.size(); ++i) {
    std::string const name = full(folder.files[i]);
    Bytes const bytes = read_image_file(name, budget.limits());
    auto const size = static_cast<std::size_t>(each);
    decode_image(bytes.span(), name, first, channels,
                 folder.images.bytes.span().subspan(i * size, size));
    read(i + 1, folder.files.size());
  }
  return folder;
}

std::vector<std::int64_t> parse_csv(std::string const& contents, std::string const& name,
                                    std::vector<std::string> const& files) {
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < files.size(); ++i) index.emplace(files[i], i);
  std::vector<std::int64_t> labels(files.size());
  std::vector<bool> seen(files.size());

  std::string_view rest = contents;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    auto const fail = [&](std::string const& why) {
      throw failed_run(text(name, ": line ", line, ": ", why));
    };
    std::string_view row = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(row.size() + 1, rest.size()));
    if (row.ends_with('\r')) row.remove_suffix(1);

    auto const comma = row.rfind(',');  // a file's name may have commas
    if (comma == std::string_view::npos) fail("file,class expected");
    std::string file{row.substr(0, comma)};
    if (file.size() >= 2 && file.front() == '"' && file.back() == '"') {
      file = file.substr(1, file.size() - 2);
      for (auto quote = file.find("\"\""); quote != file.npos;
           quote = file.find("\"\"", quote + 1)) {
        file.erase(quote, 1);
      }
    }
    std::string_view const number = row.substr(comma + 1);
    std::int64_t label = 0;
    auto const [end, error] = std::from_chars(number.data(), number.data() + number.size(), label);
    if (error != std::errc{} || end != number.data() + number.size()) {
      fail(text("class '", number, "' is not an integer"));
    }
    auto const found = index.find(file);
    if (found == index.end()) fail(text("there is no image '", file, "'"));
    if (seen[found->second]) fail(text("image '", file, "' was named before"));
    seen[found->second] = true;
    labels[found->second] = label;
  }
  auto const missing = std::find(seen.begin(), seen.end(), false);
  if (missing != seen.end()) {
    throw failed_run(text(name, ": has no line for '",
                          files[static_cast<std::size_t>(missing - seen.begin())], "'"));
  }
  return labels;
}

std::string encode_png(std::span<std::byte const> pixels, std::int64_t width, std::int64_t height,
                       std::int64_t channels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
  std::string encoded(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = encoded.size();
  if (!png_image_write_to_memory(&image, encoded.data(), &size, 0, pixels.data(), 0, nullptr)) {
    throw failed_run(text("PNG: ", image.message));
  }
  encoded.resize(size);
  return encoded;
}

}  // namespace mixfuse::cli
