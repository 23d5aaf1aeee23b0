// SPDX-License-Identifier: Apache-2.0
#include "kernels/maths/divisor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace mixfuse::maths {
namespace {

std::vector<std::int64_t> numbers() {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < 300; ++i) all.push_back(i);
  for (int bit = 8; bit <= 31; ++bit) {
    for (std::int64_t off = -3; off <= 3; ++off) {
      for (std::int64_t times : {1, 3, 5, 7, 1000003}) {
        std::int64_t const x = (std::int64_t{1} << bit) / times + off;
        if (x >= 0 && x < Divisor::end) all.push_back(x);
      }
    }
  }
  return all;
}

TEST(Divisor, IsTheDivision) {
  std::vector<std::int64_t> const all = numbers();
  for (std::int64_t by : all) {
    if (by == 0) continue;
    Divisor const of = divisor(by);
    ASSERT_EQ(of.by, by);
    for (std::int64_t x : all) {
      // And where a quotient ends.
      for (std::int64_t near : {x, x / by * by, x / by * by + by - 1}) {
        if (near < Divisor::end) {
          ASSERT_EQ(of.quotient(static_cast<std::uint32_t>(near)), near / by) << near << '/' << by;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse::maths
