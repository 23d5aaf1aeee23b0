// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;

TEST(ToolBench, WritesRatiosToACopyForTheShapeAsked) {
  Workplace const at;
  Ended const end =
      at.run("bench --device cpu --threads 1 --seconds 0 --shape 16x3x32x32 --json r.json");
  ASSERT_EQ(end.status, 0) << end.err;
  auto const report = nlohmann::json::parse(at.read("r.json"));
  EXPECT_EQ(report.at("schema"), 1);
  EXPECT_EQ(report.at("machine").at("device"), "cpu");
  auto const& contest = report.at("contests").at(0);
  EXPECT_EQ(contest.at("shape"), "16x3x32x32");
  EXPECT_EQ(contest.at("bytes"), 2 * 16 * 3 * 32 * 32 * 4);
  EXPECT_GE(contest.at("rounds"), 3);
  std::vector<std::string> names;
  for (auto const& result : contest.at("results")) {
    names.push_back(result.at("name"));
    EXPECT_GT(result.at("us").at("median"), 0.0);
    EXPECT_GT(result.at("ratio").at("median"), 0.0);
  }
  EXPECT_EQ(names.front(), "copy");
  EXPECT_NE(std::find(names.begin(), names.end(), "mixfuse"), names.end());
  EXPECT_NE(std::find(names.begin(), names.end(), "formula, four passes"), names.end());
}

TEST(ToolBench, RefusesWhatItDoesNotMeasure) {
  Workplace const at;
  for (char const* flags : {"--shape 16", "--shape 16x3x32x32x", "--shape 0x3x4",
                            "--shape 4x3x8 --dtype u8 --out-dtype bf16",
                            "--shape 4x3x8x8 --out-dtype bf16", "--out-dtype f32"}) {
    Ended const end = at.run(std::string{"bench --device cpu "} + flags);
    EXPECT_EQ(end.status, 2) << flags;
    EXPECT_TRUE(end.one_line()) << end.err;
  }
}

}  // namespace
}  // namespace mixfuse
