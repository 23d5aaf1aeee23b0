// SPDX-License-Identifier: Apache-2.0
#include "tests/support/calls.hpp"

#include <gtest/gtest.h>

#include "tests/support/allocations.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::test {
namespace {

/// A training step's tensors, made once.
struct Training {
  explicit Training(std::int64_t samples, Place where = here(), std::int64_t width = 5)
      : place{where},
        extents{image(samples, 6, width)},
        images{place, tagged(DType::f32, {samples, 2, 6, width})},
        labels{place,
               ids(DType::i64, std::vector<std::int64_t>(static_cast<std::size_t>(samples), 1))},
        out{place, DType::f32, {samples, 2, 6, width}},
        targets{place, DType::f32, {samples, 3}},
        plan{samples, place.device, place.queue} {
    spec.flip = 0.5f;
  }

  void step(std::uint64_t number) {
    plan_into(plan, spec, extents, Draw{1, number, 0}, place.queue);
    step_into({out, targets.view()}, {images, labels, {}}, plan, place.queue);
  }

  Place place;
  Spec spec = cutmix_spec();
  Extents extents;
  Tensor images, labels, out, targets;
  Plan plan;
};

class Calls : public OnDevice {
 protected:
  /// Counts kept by the stand-in for the runtime, over `work`.
  template <class Work>
  void count(Work work, long launches) {
    calls::reset();
    work();
    if (!on_cuda() || !calls::counted()) return;
    EXPECT_EQ(calls::count("launch"), launches);
    EXPECT_EQ(calls::count("ops"), launches);
    EXPECT_EQ(calls::count_on(test_queue().stream()), launches);
    for (char const* const none : {"memcpy", "memset", "malloc", "free", "sync"}) {
      EXPECT_EQ(calls::count(none), 0) << none;
    }
  }
};

TEST_F(Calls, AStepIsTwoLaunchesOnTheCallersStreamAndNothingElse) {
  for (std::int64_t const samples : {1, 2, 33, 4096}) {
    Training training(samples);
    count([&] { training.step(1); }, 2);
  }
}

TEST_F(Calls, EachArrowIsOneLaunch) {
  Training t(9);
  count([&] { plan_into(t.plan, t.spec, t.extents, Draw{}, t.place.queue); }, 1);
  count([&] { mix_into(t.out, t.images, t.plan, t.place.queue); }, 1);
  count([&] { label_into(t.targets.view(), t.labels, {}, t.plan, t.place.queue); }, 1);
  count([&] { mix_in_place(t.out, t.plan, t.place.queue); }, 1);
  count([&] { step_in_place({t.out, t.targets.view()}, t.labels, {}, t.plan, t.place.queue); }, 1);
}

TEST_F(Calls, AMixersStepIsOneLaunchOrTwo) {
  struct Case {
    std::int64_t samples, width;
    long launches;
  };
  for (auto const [samples, width, launches] :
       {Case{33, 5, 2}, {1, 8, 1}, {33, 8, 1}, {1024, 8, 1}, {1025, 8, 2}}) {
    Training t(samples, here(), width);
    Mixer mixer(t.spec, {1}, samples, t.place.device, t.place.queue);
    Targets const targets = t.targets.view();
    for (int n = 0; n < 2; ++n) {
      count(
          [&] {
            mixer({t.out, targets}, {t.images, t.labels, {}, {}}, t.place.queue);
          },
          launches);
    }
    count([&] { mixer.in_place({t.out, targets}, t.labels, {}, t.place.queue); }, 2);
  }
  Training none(0);
  Mixer mixer(none.spec, {1}, 9, none.place.device, none.place.queue);
  Targets const targets = none.targets.view();
  count(
      [&] {
        mixer({none.out, targets}, {none.images, none.labels, {}, {}}, none.place.queue);
      },
      1);  // which advances the step
  count([&] { mixer.set_draw({1, 2, 3}, none.place.queue); }, 1);
}

TEST_F(Calls, ALiveDrawAndItsScheduleCostNothingMore) {
  Training t(33);
  Values<Draw> const draw(t.place, {{1, 2, 3}});
  Values<Beta> const weights(t.place, {{1, 2}});
  Values<float> const shares(t.place, {0.5f});
  Schedule const schedule{weights.data(), shares.data(), shares.data()};
  count([&] { plan_into(t.plan, t.spec, t.extents, Live(draw.data(), schedule), t.place.queue); },
        1);
}

TEST_F(Calls, ABadIdCostsNoCopyAndNoWait) {
  Training t(9);
  t.labels.write(ids(DType::i64, std::vector<std::int64_t>(9, 77)));
  count([&] { t.step(3); }, 2);
  EXPECT_EQ(error_of(t.plan, t.place).sample(), 0);
}

TEST_F(Calls, WhatCopiesOrClearsDoesSoOnTheCallersStreamAlone) {
  Place const place = here();
  Extents const extents = image(4, 3, 3);
  auto const rows = drawn_rows(on_cpu(), mixup_spec(), extents, {});
  calls::reset();
  auto const expect_own_stream = [&](char const* what) {
    if (on_cuda() && calls::counted()) {
      EXPECT_GT(calls::count("ops"), 0) << what;
      EXPECT_EQ(calls::count_on(test_queue().stream()), calls::count("ops")) << what;
    }
    calls::reset();
  };
  Plan plan(4, place.device, place.queue);
  expect_own_stream("a new plan");
  plan_into(plan, rows.data(), extents, Draw{}, place.queue);
  expect_own_stream("rows made by hand");
  EXPECT_EQ(read_rows(plan, place.queue), rows);
  expect_own_stream("rows read");
  ErrorWord word;
  error_into(&word, plan, place.queue);
  expect_own_stream("the error word");
  clear_error(plan, place.queue);
  expect_own_stream("the error word cleared");
}

TEST_F(Calls, TheLargeSortAddsLaunchesButNoCopyWaitOrAllocation) {
  Training t(5000);
  calls::reset();
  t.step(1);
  if (!on_cuda() || !calls::counted()) return;
  EXPECT_EQ(calls::count_on(test_queue().stream()), calls::count("ops"));
  for (char const* const none : {"memcpy", "malloc", "free", "sync"}) {
    EXPECT_EQ(calls::count(none), 0) << none;
  }
}

TEST_F(Calls, ARefusedCallQueuesNothing) {
  Training t(9);
  t.step(1);
  count(
      [&] {
        EXPECT_THROW(mix_into(t.images, t.images, t.plan, t.place.queue), invalid_argument);
        EXPECT_THROW(step_into({t.out, t.targets.view()}, {t.images, t.labels, {2.0f, {}, 0}},
                               t.plan, t.place.queue),
                     invalid_argument);
      },
      0);
}

TEST_F(Calls, AThousandStepsAllocateNothing) {
  Training t(5);
  t.step(0);
  std::uint64_t const steps = small() ? 100 : 1000;
  std::size_t const before = allocations::count(), alive = allocations::alive();
  calls::reset();
  for (std::uint64_t step = 1; step <= steps; ++step) t.step(step);
  if (calls::counted() && on_cuda()) {
    EXPECT_EQ(calls::count("ops"), 2 * static_cast<long>(steps));
    EXPECT_EQ(calls::count("malloc"), 0);
  }
  // Checking a call may, on the host, but nothing grows from step to step.
  std::size_t const each = (allocations::count() - before) / steps;
  std::size_t const again = allocations::count();
  t.step(steps + 1);
  if (!on_cuda()) {
    EXPECT_EQ(allocations::count() - again, each);
    EXPECT_EQ(allocations::alive(), alive) << "something is kept from step to step";
  }
}

TEST_F(Calls, APlanThatCannotBeAllocatedLeavesNothingBehind) {
  // Each allocation on the host fails in turn; on the CPU backend, where all of them are ours.
  Place const place = on_cpu();
  Spec const spec = mixup_spec();
  Extents const extents = image(5, 4, 4);
  for (std::size_t k = 0;; ++k) {
    std::size_t const alive = allocations::alive();
    allocations::fail_after(k);
    bool made = false;
    try {
      Plan plan(5, place.device, place.queue);
      plan_into(plan, spec, extents, Draw{}, place.queue);
      made = true;
    } catch (std::bad_alloc const&) {
    } catch (error const&) {
    }
    allocations::fail_never();
    ASSERT_EQ(allocations::alive(), alive) << "after allocation " << k;
    if (made) break;
    ASSERT_LT(k, 100u);
  }
}

TEST_F(Calls, AnAllocationThatFailsInAStepLeavesOutputsAndPlanAsTheyWere) {
  Training t(5, on_cpu());
  t.step(1);
  // Not what the step below would write again.
  t.out.write(tagged(DType::f32, {5, 2, 6, 5}));
  t.targets.write(tagged(DType::f32, {5, 3}));
  auto const rows = read_rows(t.plan, t.place.queue);
  Bytes const out = t.out.raw(), targets = t.targets.raw();
  for (std::size_t k = 0; k < 100; ++k) {
    allocations::fail_after(k);
    bool done = false;
    try {
      step_into({t.out, t.targets.view()}, {t.images, t.labels, {0.5f, {}, 0}}, t.plan,
                t.place.queue);
      done = true;
    } catch (std::bad_alloc const&) {
    } catch (error const&) {
    }
    allocations::fail_never();
    if (done) return;
    ASSERT_EQ(t.out.raw(), out);
    ASSERT_EQ(t.targets.raw(), targets);
    ASSERT_EQ(read_rows(t.plan, t.place.queue), rows);
  }
  FAIL() << "a step never succeeded";
}

}  // namespace
}  // namespace mixfuse::test
