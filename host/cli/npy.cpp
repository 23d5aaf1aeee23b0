// SPDX-License-Identifier: Apache-2.0
#include "host/cli/npy.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "host/cli/fault.hpp"

namespace mixfuse::cli {
namespace {

constexpr std::string_view magic{"\x93NUMPY", 6};
constexpr std::size_t rank_limit = 32;

struct Name {
  char const* npy;
  DType dtype;
};
constexpr Name names[] = {{"|u1", DType::u8},  {"|b1", DType::boolean}, {"<i4", DType::i32},
                          {"<i8", DType::i64}, {"<f2", DType::f16},     {"<u2", DType::bf16},
                          {"<f4", DType::f32}, {"<f8", DType::f64}};

/// The header is a Python literal of a small fixed grammar.
class Literal {
 public:
  Literal(std::string_view characters, std::string const& name) : rest_{characters}, name_{name} {}

  void spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t"), rest_.size())); }
  [[nodiscard]] bool accept(std::string_view token) {
    spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail(text("'", token, "' expected"));
  }
  [[nodiscard]] std::string string() {
    spaces();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) fail("a string expected");
    auto const end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) fail("a string without end");
    std::string value{rest_.substr(1, end - 1)};
    rest_.remove_prefix(end + 1);
    return value;
  }
  [[nodiscard]] bool boolean() {
    if (accept("True")) return true;
    expect("False");
    return false;
  }
  [[nodiscard]] std::int64_t length() {
    spaces();
    std::int64_t value = 0;
    auto const [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{} || value < 0) fail("a length expected");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  [[nodiscard]] std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> lengths;
    expect("(");
    while (!accept(")")) {
      if (lengths.size() == rank_limit) fail("too many axes");
      lengths.push_back(length());
      if (accept(",")) continue;
      if (lengths.size() == 1) fail("',' expected");  // (3) is a number, (3,) a shape
      expect(")");
      break;
    }
    return lengths;
  }
  void finish() {
    spaces();
    if (!rest_.empty()) fail("something follows it");
  }
  [[noreturn]] void fail(std::string const& why) const {
    throw failed_run(text(name_, ": bad .npy header: ", why));
  }

 private:
  std::string_view rest_;
  std::string const& name_;
};

DType dtype_of(std::string const& descr, std::string const& name) {
  for (Name const& known : names) {
    if (descr == known.npy || (descr.size() == 3 && known.npy[0] == '|' && descr[0] != '|' &&
                               descr.substr(1) == known.npy + 1)) {
      return known.dtype;
    }
  }
  if (descr.starts_with('>')) {
    throw failed_run(text(name, ": dtype ", descr, " is big-endian, save it as little-endian"));
  }
  throw failed_run(text(name, ": dtype ", descr,
                        " is none of uint8, bool, int32, int64, float16, float32, float64 and "
                        "uint16 (bf16)"));
}

}  // namespace

NpyHeader parse_npy_header(std::span<std::byte const> start, std::uint64_t file_size,
                           std::string const& name) {
  std::string_view const characters{reinterpret_cast<char const*>(start.data()), start.size()};
  if (characters.size() < 10 || !characters.starts_with(magic)) {
    throw failed_run(text(name, ": is not a .npy file"));
  }
  auto const byte = [&](std::size_t i) { return std::to_integer<std::size_t>(start[i]); };
  std::size_t const version = byte(6);
  if (version < 1 || version > 3 || byte(7) != 0) {
    throw failed_run(text(name, ": .npy version ", version, ".", byte(7), " is unknown"));
  }
  std::size_t const prefix = version == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) {
    if (characters.size() < prefix) throw failed_run(text(name, ": ends in its header"));
    length |= byte(10) << 16 | byte(11) << 24;
  }
  if (length > npy_header_limit - prefix) {
    throw failed_run(text(name, ": a .npy header of ", length, " bytes is too long"));
  }
  if (characters.size() < prefix + length) throw failed_run(text(name, ": ends in its header"));

  Literal literal{characters.substr(prefix, length), name};
  std::optional<std::string> descr;
  std::optional<bool> fortran;
  NpyHeader header;
  bool shaped = false;
  literal.expect("{");
  while (!literal.accept("}")) {
    std::string const key = literal.string();
    literal.expect(":");
    if (key == "descr" && !descr) {
      if (literal.accept("[")) {
        throw failed_run(text(name, ": dtype is structured, which is not read"));
      }
      descr = literal.string();
    } else if (key == "fortran_order" && !fortran) {
      fortran = literal.boolean();
    } else if (key == "shape" && !shaped) {
      header.shape = literal.shape();
      shaped = true;
    } else {
      literal.fail(text("key '", key, "'"));
    }
    if (!literal.accept(",")) {
      literal.expect("}");
      break;
    }
  }
  literal.finish();
  if (!descr || !fortran || !shaped) literal.fail("descr, fortran_order or shape is missing");
  header.dtype = dtype_of(*descr, name);
  if (*fortran) {
    throw failed_run(text(name, ": is in Fortran order, save it in C order"));
  }

  header.offset = prefix + length;
  header.bytes = size_of(header.dtype);
  bool overflow = false;
  for (std::int64_t axis : header.shape) {
    overflow |=
        __builtin_mul_overflow(header.bytes, static_cast<std::uint64_t>(axis), &header.bytes);
  }
  std::uint64_t const present = file_size - header.offset;
  if (overflow || header.bytes != present) {
    throw failed_run(text(name, ": its header asks for ",
                          overflow ? "more than 2^64" : std::to_string(header.bytes),
                          " bytes of elements, it has ", present));
  }
  return header;
}

Array read_npy(std::string const& path, Budget& budget) {
  InputFile file{path};
  Bytes start(std::min<std::size_t>(file.size(), npy_header_limit));
  file.read(start.span());
  NpyHeader const header = parse_npy_header(start.span(), file.size(), path);
  budget.take(static_cast<std::int64_t>(header.bytes), path);

  Array array{header.dtype, header.shape, Bytes(static_cast<std::size_t>(header.bytes))};
  auto const early = start.span().subspan(static_cast<std::size_t>(header.offset));
  std::copy(early.begin(), early.end(), array.bytes.data.get());
  file.read(array.bytes.span().subspan(early.size()));
  if (array.dtype == DType::boolean) {
    auto const all = array.bytes.span();
    auto const odd =
        std::find_if(all.begin(), all.end(), [](std::byte b) { return b > std::byte{1}; });
    if (odd != all.end()) {
      throw failed_run(text(path, ": element ", odd - all.begin(), " is neither true nor false"));
    }
  }
  return array;
}

std::string npy_name(DType dtype) {
  for (Name const& known : names) {
    if (known.dtype == dtype) return known.npy;
  }
  throw failed_run("dtype without a .npy name");
}

std::string npy_header(std::string const& descr, std::vector<std::int64_t> const& shape) {
  std::string lengths;
  for (std::int64_t axis : shape) lengths += text(axis, shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) lengths.resize(lengths.size() - 2);
  std::string literal =
      text("{'descr': ", descr, ", 'fortran_order': False, 'shape': (", lengths, "), }");
  // NumPy aligns the elements to 64 bytes.
  literal.append(63 - (10 + literal.size()) % 64, ' ').push_back('\n');
  std::string header{magic};
  header += {'\x01', '\x00', static_cast<char>(literal.size() & 0xff),
             static_cast<char>(literal.size() >> 8)};
  return header + literal;
}

}  // namespace mixfuse::cli
