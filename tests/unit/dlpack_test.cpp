// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/dlpack.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse {
namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
alignas(64) unsigned char memory[256];

/// A legal tensor, from which each case changes one thing.
struct Handed {
  std::vector<std::int64_t> shape{2, 3, 4, 5};
  std::vector<std::int64_t> strides{};  // none: null
  DLDataType dtype{2, 32, 1};
  int device = 1;
  int device_id = 0;
  void* data = memory;
  std::uint64_t byte_offset = 0;

  [[nodiscard]] TensorView view(Layout layout = Layout::by_rank) {
    DLTensor tensor{};
    tensor.data = data;
    tensor.device = {static_cast<DLDeviceType>(device), device_id};
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype = dtype;
    tensor.shape = shape.data();
    tensor.strides = strides.empty() ? nullptr : strides.data();
    tensor.byte_offset = byte_offset;
    return from_dlpack("images", tensor, layout);
  }
};

std::vector<std::int64_t> strides_of(TensorView const& view) {
  return {view.stride, view.stride + view.rank};
}

TEST(Dlpack, TensorBecomesAViewOfItsMemory) {
  Handed handed;
  TensorView const view = handed.view(Layout::nhwc);
  EXPECT_EQ(view.data, memory);
  EXPECT_EQ(view.dtype, DType::f32);
  EXPECT_EQ(view.layout, Layout::nhwc);
  EXPECT_EQ(view.device, Device::cpu());
  EXPECT_EQ(std::vector<std::int64_t>(view.shape, view.shape + view.rank), handed.shape);
}

TEST(Dlpack, ByteOffsetCountsAndNullStridesAreCOrder) {
  Handed handed;
  handed.byte_offset = 4;
  TensorView const view = handed.view();
  EXPECT_EQ(view.data, memory + 4);
  EXPECT_EQ(strides_of(view), (std::vector<std::int64_t>{60, 20, 5, 1}));
}

TEST(Dlpack, StridesAreTakenButWhereThereIsNothingToStrideOver) {
  Handed handed;
  handed.shape = {2, 1, 4, 5};
  handed.strides = {100, -7, 10, 2};
  EXPECT_EQ(strides_of(handed.view()), (std::vector<std::int64_t>{100, 20, 10, 2}));
  handed.shape = {2, 0, 4, 5};
  EXPECT_EQ(handed.view().stride[1], 20);
  handed.shape = {2, 3, 4, 5};
  handed.strides = {0, 20, 5, 1};
  EXPECT_EQ(handed.view().stride[0], 0) << "an input may repeat its elements";
}

TEST(Dlpack, MayHaveNoDataWhereItHasNoElements) {
  Handed handed;
  handed.data = nullptr;
  handed.byte_offset = 64;
  handed.shape = {0, 3, 4, 5};
  TensorView const view = handed.view();
  EXPECT_EQ(view.data, nullptr);
  EXPECT_EQ(view.shape[0], 0);
  EXPECT_TRUE(view.present());
}

TEST(Dlpack, DevicesAreTheCpuAndCuda) {
  struct {
    int code;
    Device device;
  } constexpr devices[] = {
      {1, Device::cpu()}, {2, Device::cuda(3)}, {3, Device::cpu()}, {13, Device::cuda(3)}};
  Handed handed;
  handed.device_id = 3;
  for (auto const& [code, device] : devices) {
    handed.device = code;
    EXPECT_EQ(handed.view().device, device) << code;
  }
}

TEST(Dlpack, DtypesAreOurs) {
  struct {
    int code, bits;
    DType dtype;
  } constexpr dtypes[] = {{1, 8, DType::u8},   {6, 8, DType::boolean}, {0, 32, DType::i32},
                          {0, 64, DType::i64}, {2, 16, DType::f16},    {4, 16, DType::bf16},
                          {2, 32, DType::f32}, {2, 64, DType::f64}};
  Handed handed;
  for (auto const& [code, bits, dtype] : dtypes) {
    handed.dtype = {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(bits), 1};
    EXPECT_EQ(handed.view().dtype, dtype) << code << ", " << bits << " bits";
  }
}

/// `change` makes the tensor bad: Error, whose text names the argument and what is wrong.
template <class Error, class Change>
void expect_refused(std::string const& said, Change const& change) {
  Handed handed;
  change(handed);
  try {
    static_cast<void>(handed.view());
    ADD_FAILURE() << "was not refused: " << said;
  } catch (Error const& caught) {
    std::string const text = caught.what();
    EXPECT_EQ(text.find("images: "), 0u) << text;
    EXPECT_NE(text.find(said), std::string::npos) << text << "\nexpected: " << said;
  }
}

TEST(Dlpack, WhatNoViewCanBeIsRefusedByName) {
  using H = Handed&;
  expect_refused<invalid_argument>("rank 0", [](H h) { h.shape.clear(); });
  expect_refused<invalid_argument>("rank 6", [](H h) { h.shape = {1, 1, 1, 1, 1, 1}; });
  expect_refused<invalid_argument>("axis 2 is -4", [](H h) { h.shape[2] = -4; });
  expect_refused<invalid_argument>("64 bits", [](H h) { h.shape = {huge, 2}; });
  expect_refused<invalid_argument>("64 bits", [](H h) { h.strides = {huge, 20, 5, 1}; });
  expect_refused<invalid_argument>("null pointer", [](H h) { h.data = nullptr; });
  expect_refused<invalid_argument>("multiple", [](H h) { h.byte_offset = 2; });
  expect_refused<invalid_argument>("multiple", [](H h) { h.data = memory + 1; });
  expect_refused<unsupported>("stride -5 of axis 2", [](H h) { h.strides = {60, 20, -5, 1}; });

  expect_refused<unsupported>("4 lanes", [](H h) { h.dtype.lanes = 4; });
  expect_refused<unsupported>("0 lanes", [](H h) { h.dtype.lanes = 0; });
  expect_refused<unsupported>("complex64", [](H h) { h.dtype = {5, 64, 1}; });
  expect_refused<unsupported>("int16", [](H h) { h.dtype = {0, 16, 1}; });
  expect_refused<unsupported>("bool1", [](H h) { h.dtype = {6, 1, 1}; });
  expect_refused<unsupported>("code 10 of 8 bits", [](H h) { h.dtype = {10, 8, 1}; });
  expect_refused<unsupported>("code 255", [](H h) { h.dtype.code = 255; });

  expect_refused<unsupported>("device 10", [](H h) { h.device = 10; });  // ROCm
  expect_refused<unsupported>("device 0", [](H h) { h.device = 0; });
  expect_refused<unsupported>("device 77", [](H h) { h.device = 77; });
}

TEST(Dlpack, WithoutAShapeIsRefusedByName) {
  DLTensor tensor{};
  tensor.data = memory;
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 2;
  tensor.dtype = {2, 32, 1};
  EXPECT_THROW(static_cast<void>(from_dlpack("x", tensor)), invalid_argument);
  tensor.ndim = -1;
  EXPECT_THROW(static_cast<void>(from_dlpack("x", tensor)), invalid_argument);
}

TEST(Dlpack, MixesToTheSameBitsAtAnyAddressOfAnElement) {
  constexpr std::int64_t samples = 3, pixels = 17;
  alignas(64) float in[64], out[64];
  std::vector<std::vector<float>> mixed;
  for (std::uint64_t const offset : {0u, 1u, 2u, 3u}) {
    for (std::int64_t i = 0; i < samples * pixels; ++i) {
      in[offset + static_cast<std::uint64_t>(i)] = static_cast<float>(i * i) / 7.0f;
    }
    Handed from, to;
    from.shape = to.shape = {samples, pixels};
    from.data = in;
    to.data = out;
    from.byte_offset = to.byte_offset = offset * sizeof(float);
    Queue const queue = Queue::cpu();
    Plan plan(samples, Device::cpu(), queue);
    Spec spec;
    spec.policies = {{Mixup{}, 1.0f}};
    plan_into(plan, spec, extents_of(from.view()), Draw{1, 2, 3}, queue);
    mix_into(to.view(), from.view(), plan, queue);
    mixed.emplace_back(out + offset, out + offset + samples * pixels);
    EXPECT_EQ(mixed.back(), mixed.front()) << offset;
  }
}

}  // namespace
}  // namespace mixfuse
