// SPDX-License-Identifier: Apache-2.0

// What a step asks of CUDA: two launches on the caller's stream and nothing else.

#include "tests/support/calls.hpp"

#include <gtest/gtest.h>

#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

class Calls : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    if (!IsSkipped() && on_cuda() && !calls::counted()) {
      GTEST_SKIP() << "calls are counted where a stand-in takes the CUDA runtime's place";
    }
  }

  /// On the CPU there is no runtime to call, and nothing to count.
  static void expect(long launches) {
    if (!on_cuda()) return;
    EXPECT_EQ(calls::count("launch"), launches);
    for (char const* const what : {"memcpy", "memset", "malloc", "free", "sync"}) {
      EXPECT_EQ(calls::count(what), 0) << what;
    }
    EXPECT_EQ(calls::count("ops"), calls::count_on(test_queue().stream()));
  }
};

TEST_F(Calls, AStepIsTwoLaunches) {
  for (std::int64_t const samples : {1, 5, 4096}) {
    Tensor const in(here(), tagged(DType::u8, {samples, 1, 2, 3}));
    Tensor const out(here(), DType::u8, {samples, 1, 2, 3});
    Tensor const labels(
        here(), ids(DType::i32, std::vector<std::int64_t>(static_cast<std::size_t>(samples), 1)));
    Tensor const targets(here(), DType::f32, {samples, 3});
    Plan plan(samples, test_device(), test_queue());
    calls::reset();
    plan_into(plan, mixup_spec(), image(samples, 2, 3), {}, test_queue());
    step_into({out.view(), targets.view()},
              {ConstTensorView(in.view()), ConstTensorView(labels.view())}, plan, test_queue());
    expect(2);
    calls::reset();
    plan_into(plan, mixup_spec(), image(samples, 2, 3), {}, test_queue());
    step_in_place({out.view(), targets.view()}, ConstTensorView(labels.view()), {}, plan,
                  test_queue());
    expect(2);
  }
}

TEST_F(Calls, EachPartAloneIsOneLaunch) {
  Tensor const in(here(), tagged(DType::f32, {4, 3, 2, 3}));
  Tensor const out(here(), DType::f32, {4, 3, 2, 3}), targets(here(), DType::f32, {4, 3});
  Tensor const labels(here(), ids(DType::i64, {0, 1, 2, 0}));
  Plan plan(4, test_device(), test_queue());
  plan_into(plan, mixup_spec(), image(4, 2, 3), {}, test_queue());
  calls::reset();
  mix_into(out.view(), ConstTensorView(in.view()), plan, test_queue());
  expect(1);
  calls::reset();
  label_into(targets.view(), ConstTensorView(labels.view()), {}, plan, test_queue());
  expect(1);
  calls::reset();
  mix_in_place(out.view(), plan, test_queue());
  expect(1);
}

TEST_F(Calls, ABatchOfNoneIsNoLaunch) {
  Tensor const in(here(), DType::f32, {0, 3, 2, 3}), out(here(), DType::f32, {0, 3, 2, 3});
  Plan plan(4, test_device(), test_queue());
  calls::reset();
  plan_into(plan, mixup_spec(), image(0, 2, 3), {}, test_queue());
  mix_into(out.view(), ConstTensorView(in.view()), plan, test_queue());
  mix_in_place(out.view(), plan, test_queue());
  expect(0);
}

TEST_F(Calls, TheDeviceWideSortAllocatesNothingEither) {
  Plan plan(5000, test_device(), test_queue());
  calls::reset();
  plan_into(plan, mixup_spec(), image(5000, 2, 3), {}, test_queue());
  if (!on_cuda()) return;
  for (char const* const what : {"memcpy", "memset", "malloc", "free", "sync"}) {
    EXPECT_EQ(calls::count(what), 0) << what;
  }
  EXPECT_EQ(calls::count("ops"), calls::count_on(test_queue().stream()));
}

TEST_F(Calls, ARefusedCallQueuesNothing) {
  Tensor const in(here(), DType::f32, {4, 3, 2, 3}), out(here(), DType::f32, {4, 3, 2, 4});
  Plan plan(4, test_device(), test_queue());
  plan_into(plan, mixup_spec(), image(4, 2, 3), {}, test_queue());
  calls::reset();
  EXPECT_THROW(mix_into(out.view(), ConstTensorView(in.view()), plan, test_queue()),
               invalid_argument);
  EXPECT_THROW(plan_into(plan, mixup_spec(-1.0f), image(4, 2, 3), {}, test_queue()),
               invalid_argument);
  expect(0);
}

}  // namespace
}  // namespace mixfuse::test
