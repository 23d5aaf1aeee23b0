// SPDX-License-Identifier: Apache-2.0

// Streams, capture, devices and errors, as CUDA sees them.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string>

#include "host/plan.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"
#include "tests/support/values.hpp"

namespace mixfuse::test {
namespace {

class Streams : public OnDevice {};

struct Stream {
  cudaStream_t stream = nullptr;
  Stream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess); }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
};

class Capture : public OnDeviceWith<cudaStreamCaptureMode> {};

/// A step, captured once and replayed. Images of width 8 are aligned.
struct Captured {
  explicit Captured(std::int64_t samples = 6, std::int64_t width = 7)
      : images{tagged(DType::f32, {samples, 3, 5, width})},
        labels{ids(DType::i64, ids_below(4, samples))},
        targets{here(), DType::f32, {samples, 4}} {
    EXPECT_EQ(cudaStreamSynchronize(test_queue().stream()), cudaSuccess);  // uploads
  }
  ~Captured() {
    if (graph == nullptr) return;  // nothing was captured
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
  }
  Captured(Captured const&) = delete;
  Captured& operator=(Captured const&) = delete;

  template <class Work>
  void capture(cudaStreamCaptureMode mode, Work const& work) {
    ASSERT_EQ(cudaStreamSynchronize(own.stream), cudaSuccess);
    ASSERT_EQ(cudaStreamBeginCapture(own.stream, mode), cudaSuccess);
    work();
    ASSERT_EQ(cudaStreamEndCapture(own.stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  }
  void replay() {
    out.write(Array(DType::f32, images.shape));
    ASSERT_EQ(cudaGraphLaunch(executable, own.stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(own.stream), cudaSuccess);
  }
  void expect(Spec const& spec, Draw draw) const {
    Plan plan = make_plan(on_cpu(), spec, extents, draw);
    auto const expected =
        step_at(on_cpu(), {images}, {labels}, plan, same_as(images), Target::dense, 4);
    expect_same(out.read(), expected.images, "images");
    expect_same(targets.read(), expected.targets.dense(), "targets");
  }

  Array images, labels;
  Extents extents = extents_of_array(images);
  Stream own;
  Queue queue = Queue::cuda(own.stream);
  Tensor in{here(), images}, classes{here(), labels};
  Tensor out{here(), DType::f32, images.shape}, targets;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
};

TEST_P(Capture, ADrawFromTheHostIsTheSameInEachReplay) {
  Captured step;
  Spec const spec = mixup_spec(0.4f);
  Plan plan(6, test_device(), step.queue);
  step.capture(GetParam(), [&] {
    plan_into(plan, spec, step.extents, {3, 4, 5}, step.queue);
    step_into({step.out, step.targets.view()}, {step.in, step.classes}, plan, step.queue);
  });
  for (int n = 0; n < 3; ++n) {
    step.replay();
    step.expect(spec, {3, 4, 5});
  }
}

Spec switching() {
  Spec spec = cutmix_spec();
  spec.policies[0].probability = 0.5f;
  spec.policies.push_back({Mixup{{0.4f, 0.4f}}, 0.5f});
  spec.flip = 0.5f;
  return spec;
}

TEST_P(Capture, ReplayNOfAMixersStepIsTheEagerStepN) {
  for (std::int64_t const width : {7, 8}) {
    Captured step(6, width);
    Mixer mixer(switching(), {3, 0, 5}, 8, test_device(), step.queue);
    step.capture(GetParam(), [&] {
      mixer({step.out, step.targets.view()}, {step.in, step.classes}, step.queue);
    });
    for (std::uint64_t n = 0; n < 10; ++n) {
      step.replay();
      step.expect(switching(), {3, n, 5});
    }
    EXPECT_EQ(mixer.read_draw(step.queue).step, 10u);
    mixer.set_draw({7, 100, 5}, step.queue);
    step.replay();
    step.expect(switching(), {7, 100, 5});
  }
}

// Each finds the plan that another drew early, if it is its own.
TEST_P(Capture, GraphsOfOneMixerAndItsStepsMayComeInAnyOrder) {
  for (Spec const& spec : {switching(), mixup_spec(0.4f)}) {
    Captured large(20, 8), small(12, 8), eager(20, 8);
    Mixer mixer(spec, {3, 0, 5}, 20, test_device(), large.queue);
    auto const queue = [&](Captured& step) {
      mixer({step.out, step.targets.view()}, {step.in, step.classes}, step.queue);
    };
    for (Captured* const step : {&large, &small}) {
      step->capture(GetParam(), [&] { queue(*step); });
    }
    Draw next{3, 0, 5};
    for (char const which : std::string("LLSSLEELSEL<L<S<ES")) {
      if (which == '<') {
        next.step -= 2;
        mixer.set_draw(next, large.queue);
        ASSERT_EQ(cudaStreamSynchronize(large.own.stream), cudaSuccess);
        continue;
      }
      Captured& step = which == 'L' ? large : which == 'S' ? small : eager;
      if (which == 'E') {
        queue(step);
        ASSERT_EQ(cudaStreamSynchronize(step.own.stream), cudaSuccess);
      } else {
        step.replay();
      }
      step.expect(spec, next);
      ++next.step;
    }
    EXPECT_EQ(mixer.read_draw(large.queue).step, next.step);
  }
}

TEST_P(Capture, AReplayedStepFollowsItsSchedule) {
  Captured step;
  Spec spec = mixup_spec(0.4f);
  Values<Draw> const draw(here(), {{3, 0, 5}});
  Values<Beta> weights(here(), {{1, 1}});
  Values<float> probability(here(), {1});
  Plan plan(6, test_device(), step.queue);
  step.capture(GetParam(), [&] {
    plan_into(plan, spec, step.extents,
              Live(draw.data(), {weights.data(), nullptr, probability.data()}), step.queue);
    step_into({step.out, step.targets.view()}, {step.in, step.classes}, plan, step.queue);
  });
  std::uint64_t n = 0;
  for (Beta const weight : {Beta{1, 1}, Beta{0.2f, 3}, Beta{0, 0}, Beta{8, 8}}) {
    for (float const share : {1.0f, 0.5f}) {
      weights.set({weight});
      probability.set({share});
      step.replay();
      spec.policies[0].policy = Mixup{weight};
      spec.probability = share;
      step.expect(spec, {3, n++, 5});
    }
  }
}

TEST_P(Capture, ADeviceWideSortIsReplayedToo) {
  Captured step;
  Spec const spec = mixup_spec(0.4f);
  Extents const extents = image(4200, 3, 3);
  Values<Draw> const draw(here(), {{3, 4, 5}});
  Plan plan(4200, test_device(), step.queue);
  step.capture(GetParam(), [&] { plan_into(plan, spec, extents, Live(draw.data()), step.queue); });
  for (std::uint64_t n = 0; n < 3; ++n) {
    step.replay();
    ASSERT_EQ(read_rows(plan, step.queue), drawn_rows(on_cpu(), spec, extents, {3, 4 + n, 5}));
  }
}

TEST_P(Capture, ADrawThatIsSetInACaptureIsSetByEachReplay) {
  Captured step(6, 8);
  Mixer mixer(mixup_spec(), {3, 0, 5}, 6, test_device(), step.queue);
  step.capture(GetParam(), [&] { mixer.set_draw({1, 2, 3}, step.queue); });
  mixer({step.out, step.targets.view()}, {step.in, step.classes}, step.queue);
  EXPECT_EQ(mixer.read_draw(step.queue).step, 1u);
  step.replay();
  EXPECT_EQ(mixer.read_draw(step.queue).step, 2u);
  EXPECT_EQ(mixer.read_draw(step.queue).seed, 1u);
}

// What would allocate or wait is refused, and the capture goes on.
TEST_P(Capture, WhatAllocatesOrWaitsIsRefusedAndTheCaptureStaysValid) {
  Stream const own;
  Queue const queue = Queue::cuda(own.stream);
  Extents const extents = image(4, 3, 3);
  Plan plan(4, test_device(), queue);
  Mixer const mixer(mixup_spec(), {}, 4, test_device(), queue);
  auto const rows = drawn_rows(on_cpu(), mixup_spec(), extents, {});
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(own.stream, GetParam()), cudaSuccess);
  EXPECT_THROW(Plan(4, test_device(), queue), unsupported);
  EXPECT_THROW(plan_into(plan, rows.data(), extents, {}, queue), unsupported);
  EXPECT_THROW(static_cast<void>(read_rows(plan, queue)), unsupported);
  EXPECT_THROW(static_cast<void>(mixer.read_draw(queue)), unsupported);
  EXPECT_THROW(Mixer(mixup_spec(), {}, 4, test_device(), queue), unsupported);
  plan_into(plan, mixup_spec(), extents, {}, queue);
  EXPECT_EQ(cudaStreamEndCapture(own.stream, &graph), cudaSuccess);
  cudaGraphDestroy(graph);
}

// Nothing else shows that early rows are used: they are what would be drawn late.
TEST_P(Capture, AStepMixesByTheRowsThatTheStepBeforeDrew) {
  Captured step(6, 8);
  Mixer mixer(mixup_spec(), {3, 0, 5}, 6, test_device(), step.queue);
  step.capture(GetParam(), [&] {
    mixer({step.out, step.targets.view()}, {step.in, step.classes}, step.queue);
  });
  step.replay();
  Early const early = mixer.plan().state().early;
  Row const unmixed;
  for (int i = 0; i < 6; ++i) {
    Row* const row = early.rows + early.capacity + i;  // of step 1
    ASSERT_EQ(cudaMemcpy(row, &unmixed, sizeof unmixed, cudaMemcpyDefault), cudaSuccess);
  }
  step.replay();
  expect_same(step.out.read(), step.images, "images");
  step.replay();
  step.expect(mixup_spec(), {3, 2, 5});
}

INSTANTIATE_TEST_SUITE_P(Modes, Capture,
                         testing::Values(cudaStreamCaptureModeGlobal,
                                         cudaStreamCaptureModeThreadLocal,
                                         cudaStreamCaptureModeRelaxed));

TEST_F(Streams, ADestroyedStreamIsACudaErrorWithItsCode) {
  if (!calls::counted()) GTEST_SKIP() << "a real driver crashes when it is handed such a stream";
  cudaStream_t gone = nullptr;
  ASSERT_EQ(cudaStreamCreate(&gone), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(gone), cudaSuccess);
  Plan plan(4, test_device(), test_queue());
  try {
    plan_into(plan, mixup_spec(), image(4, 3, 3), {}, Queue::cuda(gone));
    FAIL() << "no error";
  } catch (cuda_error const& error) {
    EXPECT_NE(error.code(), 0);
  }
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess) << "ours, and reported";
}

TEST_F(Streams, AnErrorThatWasPendingStaysTheCallersAndDoesNotDisturb) {
  Extents const extents = image(8, 3, 3);
  Plan plan(8, test_device(), test_queue());
  void* memory = nullptr;
  ASSERT_NE(cudaMalloc(&memory, std::size_t{1} << 60), cudaSuccess);
  ASSERT_EQ(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
  plan_into(plan, mixup_spec(), extents, {}, test_queue());
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(read_rows(plan, test_queue()), drawn_rows(on_cpu(), mixup_spec(), extents, {}));
}

TEST_F(Streams, TheCurrentDeviceIsAsItWas) {
  int before = -1, after = -1;
  ASSERT_EQ(cudaGetDevice(&before), cudaSuccess);
  Plan plan(4, test_device(), test_queue());
  plan_into(plan, mixup_spec(), image(4, 3, 3), {}, test_queue());
  ASSERT_EQ(cudaGetDevice(&after), cudaSuccess);
  EXPECT_EQ(before, after);
}

TEST_F(Streams, ADeviceThatIsNotThereIsACudaError) {
  EXPECT_THROW(Plan(4, Device::cuda(99), test_queue()), cuda_error);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess) << "ours, and reported";
}

TEST_F(Streams, AFailedAllocationIsACudaErrorAndLeaksNothing) {
  std::size_t before = 0, after = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  EXPECT_THROW(Plan(2147483647, test_device(), test_queue()), cuda_error)
      << "2^31 rows fit no device";
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  ASSERT_EQ(cudaMemGetInfo(&after, &total), cudaSuccess);
  EXPECT_EQ(before, after);
}

TEST_F(Streams, CheckedModeRefusesHostPointersByName) {
  Array const images = tagged(DType::f32, {4, 3, 5, 7});
  Extents const extents = extents_of_array(images);
  Plan plan(4, test_device(), test_queue());
  plan_into(plan, mixup_spec(), extents, {}, test_queue());
  Tensor const in(here(), images), out(here(), DType::f32, images.shape);
  TensorView host = out.view();
  Array pageable(DType::f32, images.shape);
  host.data = pageable.bytes.data();
  Draw in_host_memory{};
  set_checked(true);
  EXPECT_THROW(plan_into(plan, mixup_spec(), extents, Live(&in_host_memory), test_queue()),
               invalid_argument);
  try {
    mix_into(host, in.view(), plan, test_queue());
    FAIL() << "no error";
  } catch (invalid_argument const& error) {
    EXPECT_NE(std::string(error.what()).find("out"), std::string::npos) << error.what();
  }
  mix_into(out.view(), in.view(), plan, test_queue());  // the context stays usable

  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, pageable.bytes.size()), cudaSuccess);
  host.data = pinned;
  mix_into(host, in.view(), plan, test_queue());
  set_checked(false);
  ASSERT_EQ(cudaStreamSynchronize(test_queue().stream()), cudaSuccess);
  cudaFreeHost(pinned);
}

}  // namespace
}  // namespace mixfuse::test
