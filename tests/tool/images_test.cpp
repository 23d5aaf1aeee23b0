// SPDX-License-Identifier: Apache-2.0
#include "host/cli/images.hpp"

#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <filesystem>

#include "host/cli/fault.hpp"
#include "tests/tool/picture.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;
using cli::Folder;
using cli::ImageHeader;
using cli::Labelling;
using cli::Limits;

ImageHeader header_of(std::string const& file, Limits const& limits = {}) {
  return cli::read_image_header(std::as_bytes(std::span{file}), "a.png", limits);
}

std::vector<std::byte> decode(std::string const& file, std::int64_t channels) {
  ImageHeader const header = header_of(file);
  std::vector<std::byte> pixels(static_cast<std::size_t>(header.width * header.height * channels));
  cli::decode_image(std::as_bytes(std::span{file}), "a.png", header, channels, pixels);
  return pixels;
}

std::string refusal(std::function<void()> const& call) {
  try {
    call();
  } catch (cli::failed_run const& error) {
    return error.what();
  }
  return "";
}

Folder read(Workplace const& at, Labelling labelling = Labelling::by_folder, Limits limits = {}) {
  cli::Budget budget{limits};
  return cli::read_folder(at.path("work"), labelling, budget, [](auto, auto) {});
}

TEST(Images, PngPixelsAreBitEqual) {
  for (std::int64_t channels : {1, 3, 4}) {
    auto const pixels = pattern(7, 5, channels);
    std::string const file = cli::encode_png(pixels, 7, 5, channels);
    ImageHeader const header = header_of(file);
    EXPECT_EQ(header.width, 7);
    EXPECT_EQ(header.height, 5);
    EXPECT_EQ(header.channels, channels);
    EXPECT_EQ(decode(file, channels), pixels);
  }
}

// libpng would convert both for a screen.
TEST(Images, PngPixelsAreThoseThatAreStored) {
  std::string linear = cli::encode_png(pattern(7, 5, 3), 7, 5, 3);
  linear.insert(33, std::string("\0\0\0\4gAMA\0\1\x86\xa0\x31\xe8\x96\x5f", 16));  // 1.0
  EXPECT_EQ(decode(linear, 3), pattern(7, 5, 3));

  // Of 16 bits a sample: 0x8080, 0x0102, 0xffff, 0x0100.
  constexpr char deep[] =
      "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\4\0\0\0\1\x10\0\0\0\0\x8c\xc7\x8c\x52"
      "\0\0\0\x11IDAT\x78\xda\x63\x68\x68\x60\x64\xfa\xff\x9f\x91\x01\0\x0e\x94\x03\x03"
      "\x71\xec\x83\x8b\0\0\0\0IEND\xae\x42\x60\x82";
  std::vector<std::byte> const upper{std::byte{128}, std::byte{1}, std::byte{255}, std::byte{1}};
  EXPECT_EQ(decode({deep, sizeof deep - 1}, 1), upper);
}

TEST(Images, JpegPixelsAreThoseOfItsShades) {
  std::string const file = jpeg(16, 8, 100);
  EXPECT_EQ(header_of(file).channels, 3);
  for (std::byte shade : decode(file, 3)) EXPECT_NEAR(std::to_integer<int>(shade), 100, 1);
}

TEST(Images, TruncatedAtEveryLengthTheyAreRefused) {
  std::string const png = cli::encode_png(pattern(7, 5, 3), 7, 5, 3);
  for (std::string const& file : {png, jpeg(16, 8, 100)}) {
    for (std::size_t length = 0; length < file.size(); ++length) {
      ASSERT_NE(refusal([&] { decode(file.substr(0, length), 3); }), "")
          << length << " of " << file.size();
    }
  }
}

TEST(Images, LimitsAreNamedBeforeAnythingIsDecoded) {
  std::string const png = cli::encode_png(pattern(7, 5, 4), 7, 5, 4);
  Limits side, pixels, channels;
  side.side = 6, pixels.pixels = 34, channels.channels = 3;
  EXPECT_NE(refusal([&] { header_of(png, side); }).find("--max-side"), std::string::npos);
  EXPECT_NE(refusal([&] { header_of(png, pixels); }).find("--max-pixels"), std::string::npos);
  EXPECT_NE(refusal([&] { header_of(png, channels); }).find("--max-channels"), std::string::npos);
  EXPECT_NE(refusal([&] { header_of(huge_png()); }).find("--max-side"), std::string::npos);
}

TEST(Images, FoldersAreClassesInByteOrder) {
  Workplace const at;
  int shade = 0;
  for (char const* name : {"b/1.png", "b/10.png", "b/2.PNG", "a-b/x.png", "a/z.png", "B/0.png"}) {
    at.write(name, png(4, 3, 3, shade++));
  }
  at.write("b/notes.txt", "no image");
  at.write("b/.hidden.png", "no image");
  Folder const folder = read(at);
  EXPECT_EQ(folder.classes, (std::vector<std::string>{"B", "a", "a-b", "b"}));
  EXPECT_EQ(folder.files, (std::vector<std::string>{"B/0.png", "a/z.png", "a-b/x.png", "b/1.png",
                                                    "b/10.png", "b/2.PNG"}));
  EXPECT_EQ(folder.labels, (std::vector<std::int64_t>{0, 1, 2, 3, 3, 3}));
  EXPECT_EQ(folder.images.shape, (std::vector<std::int64_t>{6, 3, 4, 3}));
  std::vector<int> shades;
  for (std::size_t i = 0; i < 6; ++i) {
    shades.push_back(std::to_integer<int>(folder.images.bytes.data[i * 36]));
  }
  EXPECT_EQ(shades, (std::vector<int>{5, 4, 3, 0, 1, 2}));
}

TEST(Images, TheRichestImageSaysHowManyChannels) {
  Workplace const at;
  at.write("a.png", png(2, 2, 1, 9));
  at.write("b.jpg", jpeg(2, 2, 100));
  EXPECT_EQ(read(at).images.shape.back(), 3);
  at.write("c.png", png(2, 2, 4, 9));
  EXPECT_EQ(read(at).images.shape.back(), 4);
  at.write("d.png", png(2, 2, 1, 9));  // the last one is not
  EXPECT_EQ(read(at).images.shape.back(), 4);
}

TEST(Images, OneFolderHasOneSize) {  // SE-03
  Workplace const at;
  at.write("a.png", png(4, 3, 3, 0));
  at.write("b.png", png(3, 4, 3, 0));
  EXPECT_NE(refusal([&] { read(at); }).find("b.png: 3x4"), std::string::npos);
}

TEST(Images, FoldersThatMeanNothingAreRefused) {
  Workplace const at;
  EXPECT_NE(refusal([&] { read(at); }), "");
  at.write("a/1.png", png(2, 2, 3, 0));
  at.write("loose.png", png(2, 2, 3, 0));
  EXPECT_NE(refusal([&] { read(at); }).find("loose.png"), std::string::npos);
  EXPECT_EQ(refusal([&] { read(at, Labelling::elsewhere); }), "");
  at.write("a/deep/1.png", png(2, 2, 3, 0));
  EXPECT_NE(refusal([&] { read(at, Labelling::elsewhere); }).find("a/deep"), std::string::npos);
}

TEST(Images, AFileLongerThanTheLimitIsNotRead) {
  Workplace const at;
  std::string const file = png(4, 3, 3, 0);
  at.write("a.png", file);
  Limits limits;
  limits.file = static_cast<std::int64_t>(file.size()) - 1;
  EXPECT_NE(refusal([&] { read(at, Labelling::by_folder, limits); }).find("--max-file"),
            std::string::npos);
  limits.file = static_cast<std::int64_t>(file.size());
  EXPECT_EQ(refusal([&] { read(at, Labelling::by_folder, limits); }), "");
}

TEST(Images, AllTogetherStayWithinTheBudget) {
  Workplace const at;
  for (char const* name : {"a.png", "b.png", "c.png"}) at.write(name, png(4, 3, 3, 0));
  Limits limits;
  limits.bytes = 3 * 36 - 1;
  EXPECT_NE(refusal([&] { read(at, Labelling::by_folder, limits); }).find("--max-bytes"),
            std::string::npos);
  limits.bytes = 3 * 36;
  EXPECT_EQ(refusal([&] { read(at, Labelling::by_folder, limits); }), "");
}

std::vector<std::int64_t> csv(std::string const& contents) {
  return cli::parse_csv(contents, "y.csv", {"a.png", "b,c.png", "d\"e.png"});
}

TEST(Csv, RowsComeInAnyOrder) {
  std::vector<std::int64_t> const expected = {3, -1, 12};
  EXPECT_EQ(csv("b,c.png,-1\na.png,3\nd\"e.png,12\n"), expected);
  EXPECT_EQ(csv("\"b,c.png\",-1\r\n\"d\"\"e.png\",12\r\na.png,3"), expected);
}

TEST(Csv, TruncatedAtEveryLengthItIsRefusedUnlessOnlyTheLastNewlineIsMissing) {  // SE-01
  std::string const whole = "a.png,3\nb,c.png,-1\nd\"e.png,7\n";
  for (std::size_t length = 0; length + 1 < whole.size(); ++length) {
    ASSERT_NE(refusal([&] { csv(whole.substr(0, length)); }), "") << length;
  }
  EXPECT_EQ(refusal([&] { csv(whole.substr(0, whole.size() - 1)); }), "");
}

TEST(Csv, WhatIsWrongIsNamedWithItsLine) {
  struct Case {
    char const *contents, *named;
  };
  for (Case const& c : {Case{"a.png,1\n", "b,c.png"},
                        {"", "a.png"},
                        {"a.png,1\na.png,1\n", "line 2"},
                        {"a.png,x\n", "line 1"},
                        {"a.png,1.5\n", "line 1"},
                        {"a.png,\n", "line 1"},
                        {"a.png\n", "line 1"},
                        {"file,class\n", "line 1"},
                        {"a.png,1\n\n", "line 2"},
                        {"z.png,1\n", "z.png"},
                        {"a.png,9223372036854775808\n", "line 1"}}) {
    EXPECT_NE(refusal([&] { csv(c.contents); }).find(c.named), std::string::npos) << c.contents;
  }
}

}  // namespace
}  // namespace mixfuse
