// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/tensor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "mixfuse/error.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse {
namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();

static_assert(std::is_convertible_v<TensorView, ConstTensorView>);
static_assert(!std::is_convertible_v<ConstTensorView, TensorView>, "an input is not written");
template <class T>
concept MakesCudaQueue = requires(T value) {
  Queue::cuda(value);
};
static_assert(MakesCudaQueue<CUstream_st*>);
static_assert(!MakesCudaQueue<int> && !MakesCudaQueue<std::nullptr_t>,
              "the legacy default stream must be meant");

TEST(DTypes, HaveTheirSizesAndNames) {
  struct {
    DType dtype;
    std::size_t size;
    char const* name;
  } constexpr dtypes[] = {{DType::u8, 1, "u8"},   {DType::boolean, 1, "bool"},
                          {DType::i32, 4, "i32"}, {DType::i64, 8, "i64"},
                          {DType::f16, 2, "f16"}, {DType::bf16, 2, "bf16"},
                          {DType::f32, 4, "f32"}, {DType::f64, 8, "f64"}};
  for (auto const& [dtype, size, name] : dtypes) {
    EXPECT_EQ(size_of(dtype), size) << name;
    EXPECT_STREQ(name_of(dtype), name);
  }
}

TEST(Layouts, HaveTheirNames) {
  struct {
    Layout layout;
    char const* name;
  } constexpr layouts[] = {{Layout::by_rank, "by_rank"}, {Layout::nf, "nf"},
                           {Layout::nct, "nct"},         {Layout::nchw, "nchw"},
                           {Layout::nhwc, "nhwc"},       {Layout::ntchw, "ntchw"},
                           {Layout::ncdhw, "ncdhw"}};
  for (auto const& [layout, name] : layouts) EXPECT_STREQ(name_of(layout), name);
}

TEST(Devices, AreEqualWhenKindAndIdAre) {
  EXPECT_EQ(Device{}, Device::cpu());
  EXPECT_EQ(Device::cuda(), Device::cuda(0));
  EXPECT_NE(Device::cuda(0), Device::cuda(1));
  EXPECT_NE(Device::cpu(), Device::cuda(0));
}

TEST(TensorView, IsInCOrder) {
  float data[1];
  TensorView const view(data, DType::f32, {2, 3, 4, 5, 6}, Device::cpu(), Layout::ncdhw);
  EXPECT_EQ(view.data, data);
  EXPECT_EQ(view.rank, 5);
  std::int64_t const shape[] = {2, 3, 4, 5, 6}, stride[] = {360, 120, 30, 6, 1};
  ConstTensorView const input = view;
  EXPECT_EQ(input.data, data);
  EXPECT_EQ(input.dtype, DType::f32);
  EXPECT_EQ(input.layout, Layout::ncdhw);
  EXPECT_EQ(input.rank, 5);
  for (int axis = 0; axis < 5; ++axis) {
    EXPECT_EQ(view.shape[axis], shape[axis]);
    EXPECT_EQ(view.stride[axis], stride[axis]);
    EXPECT_EQ(input.shape[axis], shape[axis]);
    EXPECT_EQ(input.stride[axis], stride[axis]);
  }
}

TEST(TensorView, StandsForNoneWithoutAShape) {
  EXPECT_FALSE(TensorView{}.present());
  EXPECT_TRUE(TensorView(nullptr, DType::f32, {0}).present());
  EXPECT_FALSE(Samples{}.own.present());
  Samples const samples = TensorView(nullptr, DType::f32, {0});
  EXPECT_TRUE(samples.own.present());
  EXPECT_FALSE(samples.partners.present());
}

TEST(TensorView, RefusesShapesThatNoMemoryHas) {
  using Shape = std::vector<std::int64_t>;
  auto const make = [](Shape const& shape) {
    return TensorView(nullptr, DType::u8, shape.data(), static_cast<int>(shape.size()));
  };
  for (Shape const& shape :
       {Shape{1, 1, 1, 1, 1, 1}, Shape{-1}, Shape{2, -3}, Shape{0, -1}, Shape{huge, 2},
        Shape{2, huge}, Shape{1 << 21, 1 << 21, 1 << 21, 1 << 21}, Shape{0, huge, 2},
        Shape{huge, 2, 0}, Shape{std::numeric_limits<std::int64_t>::min()}}) {
    EXPECT_THROW(make(shape), invalid_argument) << testing::PrintToString(shape);
  }
  for (Shape const& shape : {Shape{}, Shape{0}, Shape{huge}, Shape{1, huge, 1}, Shape{0, 5, 0},
                             Shape{1 << 30, 1 << 30, 7}}) {
    EXPECT_NO_THROW(make(shape)) << testing::PrintToString(shape);
  }
}

struct Batch {
  Layout layout;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> spatial;
  bool width;
};

TEST(Extents, AreThoseOfTheLayout) {
  Batch const batches[] = {
      {Layout::nf, {9, 2}, {2}, false},
      {Layout::nct, {9, 2, 3}, {3}, false},
      {Layout::nchw, {9, 2, 3, 4}, {3, 4}, true},
      {Layout::nhwc, {9, 2, 3, 4}, {2, 3}, true},
      {Layout::ntchw, {9, 2, 3, 4, 5}, {4, 5}, true},
      {Layout::ncdhw, {9, 2, 3, 4, 5}, {3, 4, 5}, true},
      {Layout::by_rank, {9, 2}, {2}, false},
      {Layout::by_rank, {9, 2, 3}, {3}, false},
      {Layout::by_rank, {9, 2, 3, 4}, {3, 4}, true},
      {Layout::by_rank, {9, 2, 3, 4, 5}, {3, 4, 5}, true},
      {Layout::nchw, {0, 0, 0, 0}, {0, 0}, true},
  };
  for (Batch const& batch : batches) {
    Extents const extents = extents_of(ConstTensorView(nullptr, DType::u8, batch.shape.data(),
                                                       static_cast<int>(batch.shape.size()),
                                                       Device::cpu(), batch.layout));
    EXPECT_EQ(extents.samples, batch.shape[0]);
    ASSERT_EQ(extents.axes, static_cast<int>(batch.spatial.size())) << name_of(batch.layout);
    EXPECT_EQ(std::vector<std::int64_t>(extents.spatial, extents.spatial + extents.axes),
              batch.spatial)
        << name_of(batch.layout);
    EXPECT_EQ(extents.width, batch.width) << name_of(batch.layout);
  }
}

TEST(Extents, AreRefusedWhereRankAndLayoutDisagree) {
  ConstTensorView const one(nullptr, DType::u8, {3});
  EXPECT_THROW(static_cast<void>(extents_of(one)), invalid_argument);
  EXPECT_THROW(static_cast<void>(extents_of(ConstTensorView{})), invalid_argument);
  for (Layout const layout : {Layout::nf, Layout::nct, Layout::ntchw, Layout::ncdhw}) {
    ConstTensorView const four(nullptr, DType::u8, {2, 3, 4, 5}, Device::cpu(), layout);
    EXPECT_THROW(static_cast<void>(extents_of(four)), invalid_argument) << name_of(layout);
  }
  ConstTensorView negative(nullptr, DType::u8, {2, 3, 4, 5});
  negative.shape[2] = -4;
  EXPECT_THROW(static_cast<void>(extents_of(negative)), invalid_argument);
}

}  // namespace
}  // namespace mixfuse
