// SPDX-License-Identifier: Apache-2.0

// CUDA where there is none: refused by name, and the CPU backend works on.

#include <gtest/gtest.h>

#include <string>

#include "mixfuse/mixfuse.h"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse {
namespace {

Queue some_stream() { return Queue::cuda(static_cast<CUstream_st*>(nullptr)); }

TEST(Cuda, OfThisMachineIsToldOnce) {
  CudaInfo const& info = cuda_info();
  EXPECT_EQ(&info, &cuda_info());
  EXPECT_EQ(info.absent.empty(), info.devices > 0) << info.absent;
  EXPECT_EQ(info.architectures.empty(), !info.built);
  EXPECT_TRUE(info.built || info.devices == 0);
}

TEST(Cuda, WhereItIsMissingIsRefusedByNameAndTheCpuWorksOn) {
  if (cuda_info().devices > 0) GTEST_SKIP() << "there is a device";
  std::string message;
  try {
    Plan const plan(4, Device::cuda(), some_stream());
  } catch (unsupported const& caught) {
    EXPECT_FALSE(cuda_info().built) << "a build with CUDA says what the driver said";
    message = caught.what();
  } catch (cuda_error const& caught) {
    EXPECT_TRUE(cuda_info().built);
    EXPECT_NE(caught.code(), 0);
    message = caught.what();
  }
  EXPECT_NE(message.find(cuda_info().built ? "cuda" : "CUDA"), std::string::npos) << message;
  EXPECT_THROW(static_cast<void>(Plan::bytes(4, Device::cuda())), error);

  Queue const queue = Queue::cpu();
  Plan plan(4, Device::cpu(), queue);
  Spec spec;
  spec.policies = {{Mixup{}, 1.0f}};
  EXPECT_NO_THROW(plan_into(plan, spec, {4, 1, {1}, false}, Draw{}, queue));
}

TEST(Cuda, WhereItIsMissingIsRefusedByNameThroughCToo) {
  if (cuda_info().devices > 0) GTEST_SKIP() << "there is a device";
  mixfuse_queue const stream = mixfuse_cuda_queue(nullptr);
  mixfuse_plan* plan = nullptr;
  mixfuse_status const status =
      mixfuse_plan_create(4, DLDevice{kDLCUDA, 0}, nullptr, 0, &stream, &plan);
  EXPECT_EQ(status, cuda_info().built ? MIXFUSE_CUDA_ERROR : MIXFUSE_UNSUPPORTED);
  EXPECT_EQ(mixfuse_last_cuda_error() != 0, cuda_info().built);
  std::string const text = mixfuse_last_error();
  EXPECT_NE(text.find(cuda_info().built ? "cuda" : "MIXFUSE_CUDA=OFF"), std::string::npos) << text;
  EXPECT_EQ(plan, nullptr);
  std::size_t bytes = 7;
  EXPECT_EQ(mixfuse_plan_bytes(4, DLDevice{kDLCUDA, 0}, &bytes), status);
  EXPECT_EQ(bytes, 7u);

  mixfuse_queue const queue = mixfuse_cpu_queue(0);
  EXPECT_EQ(mixfuse_plan_create(4, DLDevice{kDLCPU, 0}, nullptr, 0, &queue, &plan), MIXFUSE_OK);
  EXPECT_EQ(mixfuse_plan_destroy(plan), MIXFUSE_OK);
}

}  // namespace
}  // namespace mixfuse
