// SPDX-License-Identifier: Apache-2.0

// Drawn bits are part of the interface: a change of any of them is a new stream version, with a
// new file. MIXFUSE_WRITE_GOLDEN=FILE writes what this build draws.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "mixfuse/mixfuse.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

struct Case {
  std::string name;
  Spec spec;
  Extents batch;
  Draw draw;
};

Extents extents(std::vector<std::int64_t> const& spatial) {
  Extents batch;
  batch.samples = 16;
  for (std::int64_t const length : spatial) batch.spatial[batch.axes++] = length;
  batch.width = batch.axes > 1;
  return batch;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  auto const add = [&](std::string name, Choice choice, std::vector<std::int64_t> const& spatial) {
    Case& added = all.emplace_back();
    added.name = std::move(name);
    added.spec.policies = {std::move(choice)};
    added.batch = extents(spatial);
    added.draw = {all.size(), 100 * all.size(), 1000 * all.size()};
    return &added;
  };
  for (float const alpha : {1e-6f, 0.01f, 0.1f, 0.2f, 0.4f, 1.0f, 2.0f, 8.0f, 100.0f, 1e6f}) {
    std::ostringstream name;
    name << "mixup" << alpha;
    add(name.str(), {Mixup{{alpha, alpha}}}, {32});
  }
  add("mixup0.2,0.8", {Mixup{{0.2f, 0.8f}}}, {32});
  add("mixup100,3", {Mixup{{100.0f, 3.0f}}}, {32});
  add("cutmix-paper-2d", {CutMix{{1, 1}}}, {224, 160});
  add("cutmix-inside-1d", {CutMix{{1, 1}, Fold::none, {Boxes::Kind::inside}}}, {1000});
  add("cutmix-uniform-3d", {CutMix{{1, 1}, Fold::own, {Boxes::Kind::uniform}}}, {16, 24, 32});
  add("cutmix-minmax-2d", {CutMix{{1, 1}, Fold::none, {Boxes::Kind::min_max, 0.2, 0.8}}}, {17, 31});
  for (Pairing const pairing :
       {Pairing::cycle, Pairing::pairs, Pairing::reverse, Pairing::roll, Pairing::replacement}) {
    Case* const added =
        add("pairing" + std::to_string(static_cast<int>(pairing)), {Mixup{{1, 1}}, 0.75f}, {8, 8});
    added->spec.pairing = pairing;
    added->spec.group = 6;
    added->spec.probability = 0.5f;
    added->spec.flip = 0.5f;
    added->spec.granularity = pairing == Pairing::pairs ? Granularity::pair : Granularity::batch;
  }
  Case* const far = add("far", {Mixup{{1, 1}}}, {8});
  far->draw = {~std::uint64_t{0}, (std::uint64_t{1} << 48) - 1, (std::uint64_t{1} << 48) - 16};
  return all;
}

std::string drawn(Case const& c) {
  Plan plan(c.batch.samples, test_device(), test_queue());
  plan_into(plan, c.spec, c.batch, c.draw, test_queue());
  std::ostringstream text;
  for (Row const& row : read_rows(plan, test_queue())) text << row << '\n';
  return text.str();
}

class Golden : public OnDevice {};

TEST_F(Golden, DrawnRowsAreThoseOfTheStreamVersion) {
  char const* const carried = std::getenv("MIXFUSE_TESTS_DIR");  // built on another machine
  std::string const path = std::string{carried ? carried : MIXFUSE_TESTS_DIR} + "/golden/stream_" +
                           std::to_string(stream_version()) + ".txt";
  std::ifstream file(path);
  ASSERT_TRUE(file) << "no golden file " << path;
  std::map<std::string, std::string> golden;
  std::string name;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("# ", 0) == 0) {
      name = line.substr(2);
    } else {
      golden[name] += line + '\n';
    }
  }
  std::ostringstream all;
  EXPECT_EQ(golden.size(), cases().size());
  for (Case const& c : cases()) {
    std::string const rows = drawn(c);
    EXPECT_EQ(rows, golden[c.name]) << c.name;
    all << "# " << c.name << '\n' << rows;
  }
  if (char const* const to = std::getenv("MIXFUSE_WRITE_GOLDEN")) std::ofstream(to) << all.str();
}

}  // namespace
}  // namespace mixfuse::test
