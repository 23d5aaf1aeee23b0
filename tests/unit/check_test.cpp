// SPDX-License-Identifier: Apache-2.0
#include "host/check.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <locale>
#include <string>

namespace mixfuse {
namespace {

TEST(Message, IsItsPartsOneAfterTheOther) {
  EXPECT_EQ(message("axis ", 3, " is ", std::int64_t{-7}, ", ", std::string("so")),
            "axis 3 is -7, so");
  EXPECT_EQ(message(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
}

TEST(Message, WritesFloatsSoThatTheyReadBack) {
  for (float const value : {0.1f, 1.0f / 3, 0x1.fffffep-1f, 0x1p-149f, 16777217.0f}) {
    EXPECT_EQ(static_cast<float>(std::stod(message(value))), value);
  }
  EXPECT_NE(message(1.0000001f), message(1.0f));
}

TEST(Message, HasThePointOfNoCountry) {
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
  };
  std::locale const before = std::locale::global({std::locale::classic(), new Comma});
  std::string const got = message(0.25);
  std::locale::global(before);
  EXPECT_EQ(got, "0.25");
}

TEST(Message, IsCutBelow512BytesWhateverTheValue) {
  EXPECT_EQ(message(std::string(511, 'x')).size(), 511u);
  EXPECT_EQ(message("name: ", std::string(100000, 'x')).size(), 511u);
}

TEST(Require, ThrowsTheErrorAskedForOnlyIfTheConditionFails) {
  EXPECT_NO_THROW(require(true, "x"));
  EXPECT_THROW(require(false, "x"), invalid_argument);
  EXPECT_THROW(require<unsupported>(false, "x"), unsupported);
  try {
    require(false, "samples: ", 3, ", expected ", 4);
    FAIL();
  } catch (invalid_argument const& caught) {
    EXPECT_STREQ(caught.what(), "samples: 3, expected 4");
  }
}

}  // namespace
}  // namespace mixfuse
