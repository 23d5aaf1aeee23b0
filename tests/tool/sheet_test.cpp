// SPDX-License-Identifier: Apache-2.0
#include "host/cli/sheet.hpp"

#include <gtest/gtest.h>

#include "host/cli/fault.hpp"
#include "host/cli/images.hpp"
#include "tests/tool/picture.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;

std::string images(char const* name, std::vector<std::int64_t> const& shape, float value) {
  std::size_t count = 1;
  for (auto axis : shape) count *= static_cast<std::size_t>(axis);
  return npy(name, shape, std::vector<float>(count, value));
}

cli::ImageHeader header_of(std::string const& file) {
  return cli::read_image_header(std::as_bytes(std::span{file}), "sheet.png", {});
}

TEST(Sheet, EveryPictureLayoutIsDrawn) {
  Workplace const at;
  struct Case {
    char const* layout;
    std::vector<std::int64_t> shape;
  };
  for (Case const& c : {Case{"nchw", {4, 1, 5, 7}},
                        {"nchw", {4, 3, 5, 7}},
                        {"nchw", {4, 4, 5, 7}},
                        {"nhwc", {4, 5, 7, 1}},
                        {"nhwc", {4, 5, 7, 3}},
                        {"nhwc", {4, 5, 7, 4}}}) {
    at.write("x.npy", images("<f4", c.shape, 0.5f));
    Ended const ended =
        at.run("sheet --images x.npy --cutmix 1 --out sheet.png --layout " + std::string{c.layout});
    ASSERT_EQ(ended.status, 0) << ended.err;
    cli::ImageHeader const header = header_of(at.read("sheet.png"));
    EXPECT_GT(header.width, 3 * 7);
    EXPECT_EQ(header.channels, 3);
  }
}

TEST(Sheet, CountIsHowManyAreDrawn) {
  Workplace const at;
  at.write("x.npy", images("<f4", {40, 3, 5, 7}, 0.5f));
  std::int64_t before = 0;
  for (char const* count : {"1", "3", "8", "40", "100"}) {
    ASSERT_EQ(
        at.run("sheet --images x.npy --mixup 1 --out s.png --count " + std::string{count}).status,
        0);
    std::int64_t const height = header_of(at.read("s.png")).height;
    std::string const all = "100";
    if (count == all) {
      EXPECT_EQ(height, before);
    } else {
      EXPECT_GT(height, before);
    }
    before = height;
  }
  // As many as asked for, not more: as high as a sheet of all of a smaller batch.
  for (std::int64_t const count : {1, 7, 9}) {
    at.write("few.npy", images("<f4", {count, 3, 5, 7}, 0.5f));
    ASSERT_EQ(at.run("sheet --images few.npy --mixup 1 --out all.png --count 100").status, 0);
    ASSERT_EQ(at.run("sheet --images x.npy --mixup 1 --out s.png --count " + std::to_string(count))
                  .status,
              0);
    EXPECT_EQ(header_of(at.read("s.png")).height, header_of(at.read("all.png")).height) << count;
  }
}

TEST(Sheet, WhatIsNoPictureIsABadCall) {
  Workplace const at;
  at.write("one.npy", images("<f4", {4, 3, 5, 7}, 1.0f));
  at.write("bright.npy", images("<f4", {4, 3, 5, 7}, 1.001f));
  at.write("nan.npy", images("<f4", {4, 3, 5, 7}, NAN));
  at.write("two.npy", images("<f4", {4, 2, 5, 7}, 0.5f));
  at.write("signal.npy", images("<f4", {4, 5, 7}, 0.5f));
  std::string const flags = " --mixup 1 --out s.png";
  EXPECT_EQ(at.run("sheet --images one.npy" + flags).status, 0);
  struct Case {
    char const *name, *why;
  };
  for (auto const& [name, why] : {Case{"bright.npy", "pixel of 1.001"},
                                  {"nan.npy", "pixel of nan"},
                                  {"two.npy", "2 channels"},
                                  {"signal.npy", "layout nct"}}) {
    at.write("s.png", "before");
    Ended const ended = at.run("sheet --images " + std::string{name} + flags);
    EXPECT_EQ(ended.status, 2) << name;
    EXPECT_TRUE(ended.one_line()) << ended.err;
    EXPECT_NE(ended.err.find("--images"), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(why), std::string::npos) << ended.err;
    EXPECT_EQ(at.read("s.png"), "before");
  }
  EXPECT_EQ(at.run("sheet --images one.npy --mixup 1 --out s.png --count 0").status, 2);
}

TEST(Sheet, NamesThatAreNotTextAreDrawnAllTheSame) {
  Workplace const at;
  at.write("in/\xff\xfe/1.png", png(4, 3, 3, 50));
  at.write("in/b\n\"c/1.png", png(4, 3, 3, 90));
  EXPECT_EQ(at.run("sheet --images in --mixup 1 --out s.png").status, 0);
}

TEST(Sheet, AnExampleIsWhatTheRowReads) {
  cli::Dataset data;
  data.layout = Layout::nhwc;
  data.images = {DType::u8, {2, 1, 2, 1}, cli::Bytes(4)};
  for (std::size_t i = 0; i < 4; ++i) data.images.bytes.data[i] = static_cast<std::byte>(i);
  data.class_names = {"cat", "dog"};
  cli::Labels& labels = data.labels.emplace();
  labels.values = {DType::i64, {2}, cli::Bytes(16)};
  labels.file = "y.npy";
  std::int64_t const ids[] = {1, 0};
  std::memcpy(data.labels->values.bytes.data.get(), ids, sizeof ids);
  std::vector<Row> rows = {{1, 1.0f, 0.0f, 0.5f, 1, {{0, 1}, {1, 2}}}, {1, 1, 1, 1, 0, {}}};
  auto const example = cli::example_of(data, data.images.bytes.span(), rows, 0);
  EXPECT_EQ(example.own.pixels, (std::vector<std::uint32_t>{0x010101, 0x000000}));  // mirrored
  EXPECT_EQ(example.partner.pixels, (std::vector<std::uint32_t>{0x020202, 0x030303}));
  EXPECT_EQ(example.mixed.pixels, (std::vector<std::uint32_t>{0x000000, 0x010101}));
  EXPECT_EQ(example.own_label, "dog");
  EXPECT_EQ(example.partner_label, "cat");
  EXPECT_EQ(example.share, 0.5f);
  EXPECT_TRUE(example.box.has_value());
  EXPECT_FALSE(cli::example_of(data, data.images.bytes.span(), rows, 1).box.has_value());
  data.labels.reset();
  data.sample_names = {"a.png", "b.png"};
  EXPECT_EQ(cli::example_of(data, data.images.bytes.span(), rows, 0).partner_label, "b.png");
  data.partners = {DType::u8, {2, 1, 2, 1}, cli::Bytes(4)};
  std::fill_n(data.partners->bytes.data.get(), 4, std::byte{});
  auto const of_two = cli::example_of(data, data.images.bytes.span(), rows, 0);
  EXPECT_EQ(of_two.own_label, "a.png");
  EXPECT_EQ(of_two.partner_label, "sample 1");
  rows[0].box = {};  // an empty box is not outlined
  EXPECT_FALSE(cli::example_of(data, data.images.bytes.span(), rows, 0).box.has_value());
}

TEST(Sheet, APictureOfFloatsHasTheShadesOfItsValues) {
  cli::Dataset data;
  data.layout = Layout::nchw;
  auto const shade = [&](DType dtype, std::uint64_t bits) {
    data.images = {dtype, {1, 1, 1, 1}, cli::Bytes(size_of(dtype))};
    std::memcpy(data.images.bytes.data.get(), &bits, size_of(dtype));
    return cli::example_of(data, data.images.bytes.span(), {Row{}}, 0).own.pixels[0] & 255;
  };
  EXPECT_EQ(shade(DType::u8, 77), 77u);
  EXPECT_EQ(shade(DType::f16, 0x3800), 128u);  // 0.5
  EXPECT_EQ(shade(DType::f16, 0x0001), 0u);
  EXPECT_EQ(shade(DType::f16, 0x3c00), 255u);
  EXPECT_EQ(shade(DType::bf16, 0x3f00), 128u);
  EXPECT_EQ(shade(DType::f32, 0x3f000000), 128u);
  EXPECT_EQ(shade(DType::f64, 0x3fe0000000000000), 128u);
  EXPECT_THROW(shade(DType::f16, 0x7c00), cli::bad_call);
}

}  // namespace
}  // namespace mixfuse
