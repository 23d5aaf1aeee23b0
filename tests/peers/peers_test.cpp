// SPDX-License-Identifier: Apache-2.0

// What timm's, torchvision's and Keras's own classes made of their own draws (make_data.py), and
// what the formulas of the papers' code make, against mixfuse with the same plan.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mixfuse/mixfuse.hpp"
#include "tests/support/batch.hpp"
#include "tests/support/number.hpp"

namespace mixfuse::test {
namespace {

using Json = nlohmann::json;

Json read_case(std::filesystem::path const& path) { return Json::parse(std::ifstream(path)); }

DType dtype_named(std::string const& name) {
  for (DType const dtype : {DType::u8, DType::f16, DType::bf16, DType::f32}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw std::invalid_argument("no dtype " + name);
}

Layout layout_named(std::string const& name) {
  for (Layout const layout : {Layout::nchw, Layout::nhwc, Layout::ntchw}) {
    if (name == name_of(layout)) return layout;
  }
  throw std::invalid_argument("no layout " + name);
}

/// Bit patterns, as the files hold numbers.
Array array_of(Json const& bits, DType dtype, Shape const& shape, Layout layout) {
  Array array(dtype, shape, layout);
  EXPECT_EQ(static_cast<std::int64_t>(bits.size()), array.count());
  for (std::int64_t i = 0; i < array.count(); ++i) {
    array.set_bits(i, bits[static_cast<std::size_t>(i)].get<std::uint64_t>());
  }
  return array;
}

std::vector<Row> rows_of(Json const& plan) {
  std::vector<Row> rows;
  for (Json const& json : plan.at("rows")) {
    Row row;
    row.partner = json.at("partner");
    row.outside = json.at("outside");
    row.inside = json.at("inside");
    row.label = json.at("label");
    row.flip = json.at("flip").get<bool>() ? 1 : 0;
    for (std::size_t axis = 0; axis < json.at("box").size(); ++axis) {
      row.box.lo[axis] = json.at("box")[axis][0];
      row.box.hi[axis] = json.at("box")[axis][1];
    }
    rows.push_back(row);
  }
  return rows;
}

class PeerTest : public testing::TestWithParam<std::filesystem::path> {
 protected:
  Json const json = read_case(GetParam());
  Layout const layout = layout_named(json.at("layout"));
  Shape const shape = json.at("shape").get<Shape>();
  Array const images = array_of(json.at("input"), dtype_named(json.at("dtype")), shape, layout);
  Array const expected = array_of(
      json.at("output"), dtype_named(json.value("out_dtype", json.at("dtype").get<std::string>())),
      shape, layout);
  std::vector<Row> const rows = rows_of(json.at("plan"));
  Plan plan{shape[0], Device::cpu(), Queue::cpu()};

  void SetUp() override {
    plan_into(plan, rows.data(), extents_of(images.view()), Draw{}, Queue::cpu());
  }
};

class PeerLevelsTest : public PeerTest {};
class PeerSparseTest : public PeerTest {};

TEST_P(PeerTest, PixelsAreThePeers) {
  Array out(expected.dtype, shape, layout);
  mix_into(out.view(), images.view(), plan, Queue::cpu());
  Json const& tolerance = json.at("tolerance");
  std::int64_t const pixels = images.count() / shape[0];
  for (std::int64_t i = 0; i < out.count(); ++i) {
    long double const got = out.get(i), peer = expected.get(i);
    long double const own = images.get(i);
    auto const partner_sample = rows[static_cast<std::size_t>(i / pixels)].partner;
    long double const partner = images.get(partner_sample * pixels + i % pixels);
    if (out.dtype == DType::u8) {
      ASSERT_LE(std::fabs(got - peer), tolerance.at("levels").get<long double>()) << i;
    } else {
      long double const larger = std::max(std::fabs(own), std::fabs(partner));
      ASSERT_LE(std::fabs(got - peer),
                tolerance.at("ulp").get<long double>() * ulp(out.dtype, larger))
          << i;
    }
  }
}

// Rounding alone may differ, and only beside a half.
TEST_P(PeerLevelsTest, LevelsAreThePeersWhereTheExactValueIsNotBesideAHalf) {
  Array out(expected.dtype, shape, layout);
  mix_into(out.view(), images.view(), plan, Queue::cpu());
  long double const beside = json.at("tolerance").at("exact_beyond");
  std::int64_t const pixels = images.count() / shape[0];
  for (std::int64_t i = 0; i < out.count(); ++i) {
    Row const& row = rows[static_cast<std::size_t>(i / pixels)];
    if (row.outside != row.inside) {  // pasted, not blended
      ASSERT_EQ(out.get(i), expected.get(i)) << i;
      continue;
    }
    auto const weight = static_cast<long double>(row.outside);
    long double const exact =
        weight * images.get(i) + (1 - weight) * images.get(row.partner * pixels + i % pixels);
    if (std::fabs(exact - std::floor(exact) - 0.5L) > beside) {
      ASSERT_EQ(out.get(i), expected.get(i)) << i;
    }
  }
}

TEST_P(PeerTest, TargetsAreThePeers) {
  Json const& labels = json.at("labels");
  std::int64_t const classes = labels.at("classes");
  Array targets(DType::f32, {shape[0], classes});
  LabelRule rule;
  rule.smoothing = labels.value("smoothing", 0.0f);
  Array const given =
      labels.contains("ids")
          ? ids(DType::i64, labels.at("ids").get<std::vector<std::int64_t>>())
          : array_of(labels.at("rows"), DType::f32, {shape[0], classes}, Layout::by_rank);
  label_into(targets.view(), given.view(), rule, plan, Queue::cpu());
  Array const peer = array_of(json.at("targets"), DType::f32, {shape[0], classes}, Layout::by_rank);
  for (std::int64_t sample = 0; sample < shape[0]; ++sample) {
    double sum = 0.0, given_sum = 0.0;
    for (std::int64_t k = 0; k < classes; ++k) {
      std::int64_t const i = sample * classes + k;
      ASSERT_NEAR(static_cast<double>(targets.get(i)), static_cast<double>(peer.get(i)),
                  json.at("tolerance").at("targets").get<double>())
          << "sample " << sample << ", class " << k;
      sum += static_cast<double>(targets.get(i));
      if (given.shape.size() == 2) given_sum += static_cast<double>(given.get(i));
    }
    ASSERT_NEAR(sum, given.shape.size() == 2 ? given_sum : 1.0, 2.4e-7);
  }
}

TEST_P(PeerSparseTest, SparseTargetsAreThePeers) {
  Json const& sparse = json.at("sparse");
  Array own(DType::i64, {shape[0]}), partner(DType::i64, {shape[0]}),
      weight(DType::f32, {shape[0]});
  LabelRule rule;
  rule.classes = json.at("labels").at("classes");
  Array const given = ids(DType::i64, json.at("labels").at("ids").get<std::vector<std::int64_t>>());
  label_into({own.view(), partner.view(), weight.view()}, given.view(), rule, plan, Queue::cpu());
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    auto const at = static_cast<std::size_t>(i);
    EXPECT_EQ(own.get(i), sparse.at("own")[at].get<long double>());
    EXPECT_EQ(partner.get(i), sparse.at("partner")[at].get<long double>());
    EXPECT_EQ(weight.bits(i), sparse.at("lambda")[at].get<std::uint64_t>());
  }
}

std::vector<std::filesystem::path> cases(bool (*wanted)(Json const&)) {
  std::vector<std::filesystem::path> paths;
  for (auto const& entry : std::filesystem::directory_iterator(MIXFUSE_TESTS_DIR "/peers/data")) {
    if (wanted(read_case(entry.path()))) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool any(Json const&) { return true; }
bool gives_levels(Json const& json) {
  return json.at("dtype") == "u8" && !json.contains("out_dtype");
}
bool gives_sparse_targets(Json const& json) { return json.contains("sparse"); }

std::string name_of_case(testing::TestParamInfo<std::filesystem::path> const& info) {
  return info.param.stem().string();
}

INSTANTIATE_TEST_SUITE_P(Peers, PeerTest, testing::ValuesIn(cases(any)), name_of_case);
INSTANTIATE_TEST_SUITE_P(Peers, PeerLevelsTest, testing::ValuesIn(cases(gives_levels)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Peers, PeerSparseTest, testing::ValuesIn(cases(gives_sparse_targets)),
                         name_of_case);

TEST(Peers, EveryPeerHasCases) {
  std::map<std::string, int> count;
  for (auto const& path : cases(any)) {
    std::string const name = path.stem();
    ++count[name.substr(0, name.find('_'))];
  }
  for (char const* const peer : {"timm", "torchvision", "keras", "paper"}) {
    EXPECT_GT(count[peer], 0) << peer;
  }
}

}  // namespace
}  // namespace mixfuse::test
