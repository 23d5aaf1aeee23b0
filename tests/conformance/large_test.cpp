// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>

#include "tests/support/reference.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

/// Zeros that take memory only where they are written.
class Sparse {
 public:
  explicit Sparse(std::size_t size) : size_{size} {
    memory_ = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  ~Sparse() {
    if (made()) munmap(memory_, size_);
  }
  Sparse(Sparse const&) = delete;
  Sparse& operator=(Sparse const&) = delete;

  [[nodiscard]] bool made() const { return memory_ != MAP_FAILED; }
  [[nodiscard]] std::uint8_t* bytes() const { return static_cast<std::uint8_t*>(memory_); }

 private:
  std::size_t size_;
  void* memory_;
};

class Large : public OnDevice {};

TEST_F(Large, OffsetsPast2To31ElementsAreReached) {
  // A few rows, so far apart that every stride but the last takes offsets beyond 32 bits.
  constexpr std::int64_t far = (std::int64_t{1} << 32) + 7, samples = 3;
  Sparse const in(static_cast<std::size_t>(samples * far)),
      out(static_cast<std::size_t>(samples * far));
  ASSERT_TRUE(in.made() && out.made());
  Array const images = tagged(DType::u8, {samples, 2, 5});
  auto const view = [&](Sparse const& memory) {
    TensorView tensor(memory.bytes(), DType::u8, {samples, 2, 5});
    tensor.stride[0] = far;
    tensor.stride[1] = far / 2;
    return tensor;
  };
  auto const at = [&](std::int64_t i) {
    Place7 const place = images.place_of(i);
    return place[0] * far + place[1] * (far / 2) + place[2];
  };
  for (std::int64_t i = 0; i < images.count(); ++i) {
    in.bytes()[at(i)] = static_cast<std::uint8_t>(images.bits(i));
  }
  Random random(1);
  auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
  Plan plan = make_plan(on_cpu(), rows, extents_of_array(images));
  auto const read = [&](Sparse const& memory) {
    Array got(DType::u8, images.shape);
    for (std::int64_t i = 0; i < got.count(); ++i) got.set_bits(i, memory.bytes()[at(i)]);
    return got;
  };
  mix_into(view(out), view(in), plan, on_cpu().queue);
  expect_mixed(read(out), images, nullptr, rows);
  mix_in_place(view(in), plan, on_cpu().queue);
  expect_mixed(read(in), images, nullptr, rows);
}

TEST_F(Large, MoreThan2To31ElementsAreMixedAtBothEnds) {
  if (std::getenv("MIXFUSE_TEST_LONG") == nullptr) {
    GTEST_SKIP() << "writes 2 GiB; part of the long tests";
  }
  constexpr std::int64_t samples = 2, length = (std::int64_t{1} << 30) + 9;
  Sparse const in(static_cast<std::size_t>(samples * length)),
      out(static_cast<std::size_t>(samples * length));
  ASSERT_TRUE(in.made() && out.made());
  for (std::int64_t const at : {std::int64_t{0}, length - 1, length, 2 * length - 1}) {
    in.bytes()[at] = static_cast<std::uint8_t>(10 + 40 * (at % 5));
  }
  TensorView const from(in.bytes(), DType::u8, {samples, length}),
      to(out.bytes(), DType::u8, {samples, length});
  std::vector<Row> const rows{{1, 0.5f, 0.5f, 0.5f, 0, {}}, {0, 0.25f, 0.25f, 0.25f, 0, {}}};
  Plan plan = make_plan(on_cpu(), rows, extents_of(from));
  mix_into(to, from, plan, on_cpu().queue);
  auto const blended = [&](std::int64_t own, std::int64_t partner, long double weight) {
    return std::nearbyint(weight * in.bytes()[own] + (1 - weight) * in.bytes()[partner]);
  };
  EXPECT_EQ(out.bytes()[0], blended(0, length, 0.5L));
  EXPECT_EQ(out.bytes()[length - 1], blended(length - 1, 2 * length - 1, 0.5L));
  EXPECT_EQ(out.bytes()[length], blended(length, 0, 0.25L));
  EXPECT_EQ(out.bytes()[2 * length - 1], blended(2 * length - 1, length - 1, 0.25L));
  EXPECT_EQ(out.bytes()[length / 2], 0);
}

}  // namespace
}  // namespace mixfuse::test
