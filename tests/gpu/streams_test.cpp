// SPDX-License-Identifier: Apache-2.0

// Streams, capture, devices and errors, as CUDA sees them.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

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

// Seed and step come from the host here, so each replay gives the captured draw again.
TEST_P(Capture, AReplayedStepEqualsTheEagerOne) {
  Array const images = tagged(DType::f32, {6, 3, 5, 7});
  Array const labels = ids(DType::i64, {0, 1, 2, 3, 0, 1});
  Spec const spec = mixup_spec(0.4f);
  Extents const extents = extents_of_array(images);
  Stream const own;
  Queue const queue = Queue::cuda(own.stream);

  Tensor const in(here(), images), classes(here(), labels);
  Tensor out(here(), DType::f32, images.shape), targets(here(), DType::f32, {6, 4});
  Plan plan(6, test_device(), queue);
  ASSERT_EQ(cudaStreamSynchronize(own.stream), cudaSuccess);

  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(own.stream, GetParam()), cudaSuccess);
  plan_into(plan, spec, extents, {3, 4, 5}, queue);
  step_into({out.view(), targets.view()}, {in.view(), classes.view()}, plan, queue);
  ASSERT_EQ(cudaStreamEndCapture(own.stream, &graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int replay = 0; replay < 3; ++replay) {
    out.write(Array(DType::f32, images.shape));
    ASSERT_EQ(cudaGraphLaunch(executable, own.stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(own.stream), cudaSuccess);
    Plan cpu_plan = make_plan(on_cpu(), spec, extents, {3, 4, 5});
    auto const expected =
        step_at(on_cpu(), {images}, {labels}, cpu_plan, same_as(images), Target::dense, 4);
    expect_same(out.read(), expected.images, "images");
    expect_same(targets.read(), expected.targets.dense(), "targets");
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

// What would allocate or wait is refused, and the capture goes on.
TEST_P(Capture, WhatAllocatesOrWaitsIsRefusedAndTheCaptureStaysValid) {
  Stream const own;
  Queue const queue = Queue::cuda(own.stream);
  Extents const extents = image(4, 3, 3);
  Plan plan(4, test_device(), queue);
  auto const rows = drawn_rows(on_cpu(), mixup_spec(), extents, {});
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(own.stream, GetParam()), cudaSuccess);
  EXPECT_THROW(Plan(4, test_device(), queue), unsupported);
  EXPECT_THROW(plan_into(plan, rows.data(), extents, {}, queue), unsupported);
  EXPECT_THROW(static_cast<void>(read_rows(plan, queue)), unsupported);
  plan_into(plan, mixup_spec(), extents, {}, queue);
  EXPECT_EQ(cudaStreamEndCapture(own.stream, &graph), cudaSuccess);
  cudaGraphDestroy(graph);
}

INSTANTIATE_TEST_SUITE_P(Modes, Capture,
                         testing::Values(cudaStreamCaptureModeGlobal,
                                         cudaStreamCaptureModeThreadLocal,
                                         cudaStreamCaptureModeRelaxed));

TEST_F(Streams, ADestroyedStreamIsACudaErrorWithItsCode) {
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
  set_checked(true);
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
