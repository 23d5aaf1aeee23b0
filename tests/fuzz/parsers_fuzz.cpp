// SPDX-License-Identifier: Apache-2.0
// Mutates good files and hands them to each parser, which may refuse them only by failed_run. The
// seeds are fixed; MIXFUSE_TEST_LONG=1 goes on for five minutes a parser (SE-04).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>
#include <sstream>
#include <string_view>

#include "host/cli/fault.hpp"
#include "host/cli/images.hpp"
#include "host/cli/npy.hpp"
#include "host/cli/plan_json.hpp"
#include "tests/tool/picture.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;

/// One to four changes: bits, bytes, cuts, repeats, numbers at the edge of their type.
class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_{seed} {}

  std::string operator()(std::string file, std::string const& other) {
    for (auto changes = below(4) + 1; changes > 0; --changes) change(file, other);
    return file;
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void change(std::string& file, std::string const& other) {
    static constexpr std::string_view numbers[] = {"-1",
                                                   "0",
                                                   "2147483648",
                                                   "18446744073709551615",
                                                   "9223372036854775807",
                                                   "1e999",
                                                   "NaN",
                                                   "[",
                                                   "{",
                                                   "'",
                                                   "\"",
                                                   ",",
                                                   "\n",
                                                   std::string_view{"\0", 1},
                                                   "\xff\xff\xff\xff"};
    std::size_t const at = below(file.size() + 1), length = below(file.size() - at + 1);
    switch (below(7)) {
      case 0:
        if (at < file.size()) file[at] = static_cast<char>(file[at] ^ 1 << below(8));
        break;
      case 1:
        if (at < file.size()) file[at] = static_cast<char>(below(256));
        break;
      case 2:
        file.resize(at);
        break;
      case 3:
        file.erase(at, length);
        break;
      case 4:
        file.insert(at, file.substr(at, std::min<std::size_t>(length, 64)));
        break;
      case 5: {
        std::string_view const number = numbers[below(std::size(numbers))];
        file.replace(at, std::min(number.size(), file.size() - at), number);
        break;
      }
      default: {
        std::size_t const from = below(other.size() + 1);
        file.replace(at, length, other.substr(from, below(64)));
      }
    }
  }

  std::mt19937_64 random_;
};

void fuzz(std::vector<std::string> const& good,
          std::function<void(std::string const&)> const& parse, int rounds) {
  using Clock = std::chrono::steady_clock;
  char const* const wish = std::getenv("MIXFUSE_TEST_LONG");
  bool const long_run = wish != nullptr && std::string_view{wish} == "1";
  auto const end = Clock::now() + (long_run ? std::chrono::minutes{5} : std::chrono::minutes{0});
  for (std::string const& file : good) ASSERT_NO_THROW(parse(file));
  Mutator mutate{42};
  int refused = 0, round = 0;
  for (; round < rounds || Clock::now() < end; ++round) {
    auto const from = static_cast<std::size_t>(round) % good.size();
    try {
      parse(mutate(good[from], good[(from + 1) % good.size()]));
    } catch (cli::failed_run const&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, round / 4) << "the changes hardly reach the parser";
}

TEST(Fuzz, Npy) {
  fuzz(
      {tagged_images(1), npy<std::int64_t>("<i8", {3}, {1, 2, 3}),
       npy<std::uint8_t>("|b1", {2, 3}, {0, 1, 0, 1, 0, 1})},
      [](std::string const& file) {
        auto const header =
            cli::parse_npy_header(std::as_bytes(std::span{file}), file.size(), "x.npy");
        ASSERT_EQ(header.offset + header.bytes, file.size());
      },
      200000);
}

TEST(Fuzz, PlanJson) {
  Extents const batch{3, 2, {5, 7}, true};
  cli::StoredPlan plan;
  plan.rows = {{1, 0.5f, 0.25f, 0.125f, 1, {{0, 1}, {2, 3}}}, {2, 1, 0, 1, 0, {}}, {}};
  std::string const text = cli::plan_text(plan, batch);
  fuzz(
      {text, text},
      [&](std::string const& file) {
        std::istringstream input{file};
        auto const parsed = cli::parse_plan(input, "p.json", batch);
        ASSERT_EQ(parsed.rows.size(), 3u);
        for (Row const& row : parsed.rows) {
          ASSERT_TRUE(row.partner >= 0 && row.partner < 3);
          for (float weight : {row.outside, row.inside, row.label}) {
            ASSERT_TRUE(weight >= 0.0f && weight <= 1.0f);
          }
          for (int axis = 0; axis < 2; ++axis) {
            ASSERT_TRUE(0 <= row.box.lo[axis] && row.box.lo[axis] <= row.box.hi[axis] &&
                        row.box.hi[axis] <= batch.spatial[axis]);
          }
        }
      },
      20000);
}

TEST(Fuzz, Csv) {
  fuzz(
      {"a.png,1\nb,c.png,2\n", "\"b,c.png\",-1\r\n\"a.png\",0\r\n"},
      [](std::string const& file) {
        ASSERT_EQ(cli::parse_csv(file, "y.csv", {"a.png", "b,c.png"}).size(), 2u);
      },
      200000);
}

void decode(std::string const& file) {
  cli::Limits limits;
  limits.pixels = 1 << 16;  // so that a round is short
  auto const bytes = std::as_bytes(std::span{file});
  auto const header = cli::read_image_header(bytes, "a", limits);
  for (std::int64_t channels : {1, 3, 4}) {
    std::vector<std::byte> pixels(
        static_cast<std::size_t>(header.width * header.height * channels));
    cli::decode_image(bytes, "a", header, channels, pixels);
  }
}

TEST(Fuzz, Png) {
  fuzz({cli::encode_png(pattern(9, 7, 3), 9, 7, 3), cli::encode_png(pattern(9, 7, 4), 9, 7, 4),
        cli::encode_png(pattern(9, 7, 1), 9, 7, 1)},
       decode, 20000);
}

TEST(Fuzz, Jpeg) { fuzz({jpeg(24, 16, 100), jpeg(8, 8, 7)}, decode, 20000); }

}  // namespace
}  // namespace mixfuse
