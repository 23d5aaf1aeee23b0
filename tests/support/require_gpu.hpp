// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "tests/support/device.hpp"

namespace mixfuse::test {

inline bool gpu_missing() { return !device_absence().empty(); }

inline bool gpu_required() {
  char const* const value = std::getenv("MIXFUSE_REQUIRE_GPU");
  return value != nullptr && std::string_view(value) == "1";
}

/// Every test that touches the device under test: skipped visibly where there is none, failed where
/// one was promised.
class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu_missing()) return;
    if (gpu_required()) FAIL() << "MIXFUSE_REQUIRE_GPU=1, but " << device_absence();
    GTEST_SKIP() << device_absence();
  }
};

template <class Parameter>
class OnDeviceWith : public OnDevice, public testing::WithParamInterface<Parameter> {};

}  // namespace mixfuse::test
