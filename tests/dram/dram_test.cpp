// SPDX-License-Identifier: Apache-2.0

// What a mix moves between memory and the L2 cache, counted by the emulator's model of one
// (PTXRUN_L2=60, 30 or 6, in MiB): each byte once, in whatever order partners lie.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ostream>
#include <string>

#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

enum class When { always, long_suite };

struct Work {
  DType in, out;
  Layout layout;
  Shape shape;
  When when;

  /// Pixels become planes.
  [[nodiscard]] Layout out_layout() const { return layout == Layout::nhwc ? Layout::nchw : layout; }
  [[nodiscard]] Shape out_shape() const {
    return layout == Layout::nhwc ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape;
  }
  friend std::ostream& operator<<(std::ostream& to, Work const& work) {
    for (std::int64_t const extent : work.shape) to << extent << '_';
    return to << name_of(work.in) << "_to_" << name_of(work.out);
  }
};

Work const works[] = {
    {DType::f32, DType::f32, Layout::nchw, {128, 3, 32, 32}, When::always},
    {DType::f32, DType::f32, Layout::nct, {512, 9, 1000}, When::always},
    {DType::bf16, DType::bf16, Layout::nchw, {256, 3, 224, 224}, When::long_suite},
    {DType::u8, DType::bf16, Layout::nhwc, {256, 224, 224, 3}, When::long_suite},
    {DType::f32, DType::f32, Layout::nchw, {256, 3, 224, 224}, When::long_suite},
    {DType::bf16, DType::bf16, Layout::nchw, {1024, 3, 224, 224}, When::long_suite},
    {DType::f32, DType::f32, Layout::nchw, {64, 3, 512, 512}, When::long_suite},
};

using Count = long long(int, char const*);

/// The emulator's count of what caches miss; null elsewhere.
Count* dram() { return calls::counter<Count>("ptxrun_dram"); }

/// By the last launch, through the first cache.
double bytes_moved() { return static_cast<double>(dram()(0, "read") + dram()(0, "written")); }

struct Memory {
  explicit Memory(std::int64_t size) {
    EXPECT_EQ(cudaMalloc(&data, static_cast<std::size_t>(size)), cudaSuccess);
  }
  ~Memory() { cudaFree(data); }
  Memory(Memory const&) = delete;
  Memory& operator=(Memory const&) = delete;
  void* data = nullptr;
};

std::int64_t bytes_of(DType dtype, Shape const& shape) {
  auto size = static_cast<std::int64_t>(size_of(dtype));
  for (std::int64_t const extent : shape) size *= extent;
  return size;
}

class Dram : public OnDeviceWith<Work> {};

TEST_P(Dram, IsReadOnceAndWrittenOnceForAnyPermutation) {
  Work const& work = GetParam();
  if (dram() == nullptr) GTEST_SKIP() << "only the emulator counts what the L2 cache misses";
  if (work.when == When::long_suite && std::getenv("MIXFUSE_TEST_LONG") == nullptr)
    GTEST_SKIP() << "part of the long tests";

  std::int64_t const in_size = bytes_of(work.in, work.shape);
  Shape const out_shape = work.out_shape();
  std::int64_t const out_size = bytes_of(work.out, out_shape);
  Memory const in(in_size), out(out_size);
  ConstTensorView const images(in.data, work.in, work.shape.data(),
                               static_cast<int>(work.shape.size()), test_device(), work.layout);
  TensorView const mixed(out.data, work.out, out_shape.data(), static_cast<int>(out_shape.size()),
                         test_device(), work.out_layout());
  long long const cache = dram()(0, "size") >> 20;
  auto const expect_once = [&](char const* name) {
    double const in_batches = 2.0 * bytes_moved() / static_cast<double>(in_size + out_size);
    RecordProperty(name, std::to_string(in_batches));
    EXPECT_LE(in_batches, cache < 30 ? 2.1 : 2.06) << name << ", cache of " << cache << " MiB";
    EXPECT_GE(in_batches, 1.99) << name << ": fewer bytes than there are";
  };
  Plan plan(work.shape[0], test_device(), test_queue());
  plan_into(plan, mixup_spec(), extents_of(images), Draw{3, 1, 0}, test_queue());
  mix_into(mixed, images, plan, test_queue());
  expect_once("mix");
  Mixer mixer(mixup_spec(), {3}, work.shape[0], test_device(), test_queue());
  mixer({mixed, {}}, {{images, {}}, {}, {}, {}}, test_queue());
  expect_once("step");
}

INSTANTIATE_TEST_SUITE_P(Shapes, Dram, testing::ValuesIn(works), testing::PrintToStringParamName());

class InPlaceDram : public OnDevice {};

/// Signals in place, in batches: what was moved, and what the boxes hold.
struct Moved {
  double all, boxes;
};
Moved move_in_place(Spec const& spec) {
  Shape const shape{128, 9, 1000};
  std::int64_t const size = bytes_of(DType::f32, shape);
  Memory const memory(size);
  TensorView const images(memory.data, DType::f32, shape.data(), 3, test_device());
  Plan plan(shape[0], test_device(), test_queue());
  plan_into(plan, spec, extents_of(images), Draw{3, 1, 0}, test_queue());
  std::int64_t inside = 0;
  for (Row const& row : read_rows(plan, test_queue())) inside += row.box.hi[0] - row.box.lo[0];
  mix_in_place(images, plan, test_queue());
  return {bytes_moved() / static_cast<double>(size),
          static_cast<double>(inside) / static_cast<double>(shape[0] * shape[2])};
}

TEST_F(InPlaceDram, AllIsReadOnceAndWrittenOnceOrBoxesAlone) {
  if (dram() == nullptr) GTEST_SKIP() << "only the emulator counts what the L2 cache misses";
  EXPECT_NEAR(move_in_place(mixup_spec()).all, 2.0, 0.06);
  // Ends of boxes fill no sector, and a part of the walk reads what lies behind it.
  Moved const moved = move_in_place(cutmix_spec());
  EXPECT_GE(moved.all, 2 * moved.boxes);
  EXPECT_LE(moved.all, 2 * moved.boxes + 0.15);
}

}  // namespace
}  // namespace mixfuse::test
