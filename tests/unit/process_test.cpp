// SPDX-License-Identifier: Apache-2.0
#include "host/process.hpp"

#include <gtest/gtest.h>

#include "tests/support/fork.hpp"

namespace mixfuse::test {
namespace {

TEST(FirstProcess, IsTheOneThatAsksFirst) {
  FirstProcess process;
  EXPECT_TRUE(process.is_this());
  EXPECT_TRUE(process.is_this());
}

TEST(FirstProcess, IsNoChildOfItsNorAChildOfThose) {
  FirstProcess process;
  ASSERT_TRUE(process.is_this());
  EXPECT_EQ(in_child([&] {
              bool const child = process.is_this() || process.is_this();
              return child ? 1 : in_child([&] { return process.is_this() ? 2 : 0; });
            }),
            0);
  EXPECT_TRUE(process.is_this());
}

TEST(FirstProcess, IsAChildWhoseParentHadNotAsked) {
  FirstProcess process;
  EXPECT_EQ(in_child([&] { return process.is_this() && process.is_this() ? 0 : 1; }), 0);
  EXPECT_TRUE(process.is_this()) << "the parent's is another";
}

}  // namespace
}  // namespace mixfuse::test
