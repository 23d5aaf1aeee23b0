// SPDX-License-Identifier: Apache-2.0
#include "host/cli/plan_json.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <sstream>

#include "host/cli/fault.hpp"

namespace mixfuse {
namespace {

using cli::StoredPlan;

constexpr Extents batch{2, 2, {5, 7}, true};

StoredPlan parse(std::string const& contents, Extents const& extents = batch) {
  std::istringstream input{contents};
  return cli::parse_plan(input, "p.json", extents);
}

std::string refusal(std::string const& contents, Extents const& extents = batch) {
  try {
    static_cast<void>(parse(contents, extents));
  } catch (cli::failed_run const& error) {
    return error.what();
  }
  return "";
}

std::string const row =
    R"({"partner": 1, "outside": 1.0, "inside": 0.0, "label": 0.5, "flip": true, "box": [[0, 5], [2, 7]]})";
std::string const other =
    R"({"partner": 0, "outside": 0.25, "inside": 0.25, "label": 0.25, "box": [[0, 0], [0, 0]]})";

std::string plan_of(std::string const& rows, std::string const& head = "\"version\": 1") {
  return "{" + head + ", \"batch\": 2, \"spatial\": [5, 7], \"rows\": [" + rows + "]}";
}

std::string changed(std::string contents, std::string const& from, std::string const& to) {
  auto const at = contents.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return contents.replace(at, from.size(), to);
}

std::string const good = plan_of(row + ", " + other);

TEST(PlanJson, EveryKeyIsRead) {
  StoredPlan const plan = parse(changed(
      good, "\"version\": 1",
      R"("version": 1, "stream_version": 7, "seed": 18446744073709551615, "step": 3, "first": 4)"));
  EXPECT_EQ(plan.stream_version, 7);
  EXPECT_EQ(plan.draw.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(plan.draw.step, 3u);
  EXPECT_EQ(plan.draw.first, 4u);
  ASSERT_EQ(plan.rows.size(), 2u);
  EXPECT_EQ(plan.rows[0], (Row{1, 1.0f, 0.0f, 0.5f, 1, {{0, 2}, {5, 7}}}));
  EXPECT_EQ(plan.rows[1], (Row{0, 0.25f, 0.25f, 0.25f, 0, {}}));
}

TEST(PlanJson, FloatsReadBackToTheSameBits) {
  std::mt19937 random{7};
  StoredPlan plan;
  std::vector<float> weights = {0.0f,
                                -0.0f,
                                1.0f,
                                std::nextafter(1.0f, 0.0f),
                                0.1f,
                                std::numeric_limits<float>::min(),
                                std::numeric_limits<float>::denorm_min(),
                                1.0f / 3};
  while (weights.size() < 60000) {
    weights.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random()) %
                                           std::bit_cast<std::uint32_t>(1.0f)));
  }
  for (std::size_t i = 0; i < weights.size(); i += 3) {
    plan.rows.push_back({static_cast<std::int32_t>(i / 3),
                         weights[i],
                         weights[i + 1],
                         weights[i + 2],
                         i % 2 ? 1u : 0u,
                         {{0, 1}, {2, 6}}});
  }
  Extents const extents{static_cast<std::int64_t>(plan.rows.size()), 2, {5, 7}, true};
  StoredPlan const back = parse(cli::plan_text(plan, extents), extents);
  ASSERT_EQ(back.rows.size(), plan.rows.size());
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    Row const &a = plan.rows[i], &b = back.rows[i];
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a.outside), std::bit_cast<std::uint32_t>(b.outside));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a.inside), std::bit_cast<std::uint32_t>(b.inside));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a.label), std::bit_cast<std::uint32_t>(b.label));
    ASSERT_EQ(a, b);
  }
}

TEST(PlanJson, OnOneAndThreeAxesAndWithoutSamples) {
  for (Extents const& extents :
       {Extents{1, 1, {9}, false}, Extents{1, 3, {2, 3, 4}, true}, Extents{0, 2, {5, 7}, true}}) {
    StoredPlan plan;
    plan.rows.resize(static_cast<std::size_t>(extents.samples));
    EXPECT_EQ(parse(cli::plan_text(plan, extents), extents).rows, plan.rows);
  }
}

TEST(PlanJson, UnknownKeysArePassedOver) {
  std::string const extra = R"("more": {"rows": [1, {"partner": "x"}]}, "version": 1)";
  EXPECT_EQ(parse(changed(good, "\"version\": 1", extra)).rows, parse(good).rows);
  EXPECT_EQ(parse(changed(good, "\"flip\"", "\"note\": [[1], {}], \"flip\"")).rows,
            parse(good).rows);
}

TEST(PlanJson, TruncatedAtEveryLengthItIsRefused) {
  for (std::size_t length = 0; length < good.size(); ++length) {
    ASSERT_NE(refusal(good.substr(0, length)), "") << length;
  }
  EXPECT_NE(refusal(good + "x"), "");
}

TEST(PlanJson, ErrorsNameTheKeyAndTheRow) {
  struct Case {
    char const *from, *to, *named;
  };
  for (Case const& c : {
           Case{"\"version\": 1", "\"version\": 2", "version"},
           {"\"version\": 1", "\"version\": \"1\"", "version"},
           {"\"version\": 1", "\"versio\": 1", "version"},
           {"\"version\": 1", "\"version\": 1, \"step\": 281474976710656", "step"},
           {"\"version\": 1", "\"version\": 1, \"first\": 281474976710655", "first"},
           {"\"version\": 1", "\"version\": 1, \"seed\": -1", "seed"},
           {"\"version\": 1", "\"version\": 1, \"seed\": 1.5", "seed"},
           {"\"version\": 1", "\"version\": 1, \"seed\": \"1\"", "seed"},
           {"\"version\": 1", "\"version\": 1, \"stream_version\": 2147483648", "stream_version"},
           {"\"batch\": 2", "\"batch\": 3", "batch"},
           {"\"batch\": 2, ", "", "batch"},
           {"[5, 7]", "[7, 5]", "spatial"},
           {"[5, 7]", "[5]", "spatial"},
           {"\"rows\"", "\"row\"", "rows"},
           {"\"partner\": 1", "\"partner\": 2", "rows[0].partner"},
           {"\"partner\": 1", "\"partner\": -1", "rows[0].partner"},
           {"\"partner\": 1", "\"partner\": 1.5", "rows[0].partner"},
           {"\"partner\": 1", "\"partner\": 18446744073709551615", "rows[0].partner"},
           {"\"partner\": 1", "\"partner\": \"1\"", "rows[0].partner"},
           {"\"partner\": 0", "\"partner\": 9", "rows[1].partner"},
           {"\"outside\": 1.0", "\"outside\": NaN", "rows[0].outside"},
           {"\"outside\": 1.0", "\"outside\": 1.0000001", "rows[0].outside"},
           {"\"outside\": 1.0", "\"outside\": null", "rows[0].outside"},
           {"\"outside\": 1.0", "\"outside\": 1e400", "rows"},
           {"\"inside\": 0.0", "\"inside\": -1e-9", "rows[0].inside"},
           {"\"inside\": 0.25", "\"inside\": true", "rows[1].inside"},
           {"\"label\": 0.25", "\"label\": []", "rows[1].label"},
           {"\"label\": 0.25, ", "", "rows[1].label"},
           {"\"flip\": true", "\"flip\": 1", "rows[0].flip"},
           {"[0, 5]", "[0, 6]", "rows[0].box"},
           {"[0, 5]", "[3, 2]", "rows[0].box"},
           {"[0, 5]", "[0, 5, 6]", "rows[0].box"},
           {"[0, 5], ", "", "rows[0].box"},
           {"[0, 5]", "[0.0, 5]", "rows[0].box"},
       }) {
    std::string const why = refusal(changed(good, c.from, c.to));
    EXPECT_NE(why.find(c.named), std::string::npos) << c.to << ": " << why;
  }
  EXPECT_NE(refusal(plan_of(row)).find("rows"), std::string::npos);
  EXPECT_NE(refusal(plan_of(row + ", " + row + ", " + row)).find("rows"), std::string::npos);
  EXPECT_NE(refusal(plan_of(row + ", 1")).find("rows[1]"), std::string::npos);
  EXPECT_NE(refusal("[]"), "");
  EXPECT_NE(refusal(good, {2, 2, {5, 7}, false}).find("rows[0].flip"), std::string::npos);
}

TEST(PlanJson, DeepNestingIsRefused) {
  EXPECT_NE(refusal(std::string(100000, '[')).find("nested"), std::string::npos);
}

}  // namespace
}  // namespace mixfuse
