// SPDX-License-Identifier: Apache-2.0
#include "host/versioned.hpp"

#include <gtest/gtest.h>

#include <string>

namespace mixfuse {
namespace {

/// A structure as it was released first, and as it is now.
struct Old {
  std::uint32_t struct_size;
  float a;
};
struct New {
  std::uint32_t struct_size;
  float a;
  double added;
};

}  // namespace

template <>
struct Released<New> : Sizes<sizeof(Old), sizeof(New)> {};

namespace {

/// What the caller has in memory, with something else behind it.
struct Callers {
  New now;
  double behind = 7.0;

  explicit Callers(std::uint32_t size) : now{size, 2.5f, 3.5} {}
};

TEST(Versioned, WhatAnOlderCallerDidNotKnowOfIsZero) {
  Callers const older(sizeof(Old)), newest(sizeof(New));
  New const from_older = received(&older.now, "x");
  EXPECT_EQ(from_older.a, 2.5f);
  EXPECT_EQ(from_older.added, 0.0) << "what lies behind the older structure is not read";
  EXPECT_EQ(received(&newest.now, "x").added, 3.5);
}

TEST(Versioned, AnOlderCallerGetsAsMuchAsItKnows) {
  Callers older(sizeof(Old)), newest(sizeof(New));
  hand_back(New{0, 4.0f, 5.0}, &older.now, "x");
  EXPECT_EQ(older.now.struct_size, sizeof(Old));
  EXPECT_EQ(older.now.a, 4.0f);
  EXPECT_EQ(older.now.added, 3.5) << "what lies behind the older structure is not written";
  hand_back(New{0, 4.0f, 5.0}, &newest.now, "x");
  EXPECT_EQ(newest.now.struct_size, sizeof(New));
  EXPECT_EQ(newest.now.added, 5.0);
  EXPECT_EQ(newest.behind, 7.0);
}

TEST(Versioned, NewerAndUnknownSizesAreRefusedByName) {
  auto const text_of = [](std::uint32_t size) -> std::string {
    Callers const callers(size);
    try {
      static_cast<void>(received(&callers.now, "x", 1));
    } catch (unsupported const& caught) {
      return std::string("unsupported ") + caught.what();
    } catch (invalid_argument const& caught) {
      return std::string("invalid ") + caught.what();
    }
    return "taken";
  };
  EXPECT_EQ(text_of(8), "taken");
  EXPECT_EQ(text_of(16), "taken");
  EXPECT_EQ(text_of(24),
            "unsupported x1.struct_size: 24, this library is older than its caller and knows 16");
  for (std::uint32_t const size : {0u, 1u, 7u, 9u, 12u, 15u}) {
    EXPECT_EQ(text_of(size), message("invalid x1.struct_size: ", size, ", expected 16"));
  }
  std::uint32_t volatile const beyond = 24;  // else the compiler warns of the copy that is refused
  Callers callers(beyond);
  EXPECT_THROW(hand_back(New{}, &callers.now, "x"), unsupported);
}

}  // namespace
}  // namespace mixfuse
