// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/c_api.hpp"
#include "tests/support/fork.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

constexpr int workers = 8;

Spec spec_of(std::uint64_t step) {
  Spec spec = step % 2 == 0 ? cutmix_spec() : mixup_spec(0.4f);
  spec.pairing = static_cast<Pairing>(step % 6);
  spec.flip = 0.5f;
  return spec;
}

/// One training step's bytes.
Bytes trained(std::uint64_t seed, std::uint64_t step, int threads) {
  Array const images = tagged(DType::f32, {9, 2, 5, 6});
  Labels const labels{ids(DType::i64, {0, 1, 2, 3, 4, 0, 1, 2, 3})};
  Place const place = on_cpu(threads);
  Plan plan = make_plan(place, spec_of(step), extents_of_array(images), {seed, step, 0});
  Stepped const out = step_at(place, {images}, labels, plan, same_as(images), Target::dense, 5);
  Bytes bytes = out.images.bytes;
  Bytes const& targets = out.targets.dense().bytes;
  bytes.insert(bytes.end(), targets.begin(), targets.end());
  return bytes;
}

TEST(Thread, EightWithPlansOfTheirOwnDoAsOneDoes) {
  constexpr std::uint64_t steps = 40;
  std::vector<std::vector<Bytes>> serial(workers), parallel(workers);
  for (std::uint64_t worker = 0; worker < workers; ++worker) {
    for (std::uint64_t step = 0; step < steps; ++step) {
      serial[worker].push_back(trained(worker, step, 1));
    }
  }
  std::vector<std::thread> threads;
  for (std::uint64_t worker = 0; worker < workers; ++worker) {
    threads.emplace_back([worker, &mine = parallel[worker]] {
      for (std::uint64_t step = 0; step < steps; ++step) {
        mine.push_back(trained(worker, step, worker % 2 == 0 ? 1 : 2));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t worker = 0; worker < workers; ++worker) {
    EXPECT_EQ(parallel[worker], serial[worker]) << worker;
  }
}

TEST(Thread, EveryCountGivesTheSameBytes) {
  for (std::uint64_t step = 0; step < 12; ++step) {
    Bytes const one = trained(3, step, 1);
    for (int const threads : {2, 7, 0}) EXPECT_EQ(trained(3, step, threads), one) << threads;
  }
}

// Large enough, and often enough, that threads meet even where they share few cores.
TEST(Thread, InPlaceIsTheSameWithEveryCount) {
  Array const images = tagged(DType::u8, {7, 3, 64, 129});
  Random random(5);
  auto const rows = random_rows(extents_of_array(images), random, Partners::permuted);
  Array const expected = mix_at(on_cpu(1), {images}, rows, same_as(images));
  for (int const threads : {1, 2, 7}) {
    for (int k = 0; k < 5; ++k) {
      expect_same(mix_in_place_at(on_cpu(threads), images, rows), expected, "in place");
    }
  }
}

TEST(Thread, GroupsOfALargeBatchAreTheSameWithEveryCount) {
  Extents const extents = image(40000, 8, 8);
  for (Pairing const pairing : {Pairing::permutation, Pairing::pairs, Pairing::replacement}) {
    Spec spec = cutmix_spec();
    spec.pairing = pairing;
    spec.group = 1000;
    auto const one = drawn_rows(on_cpu(1), spec, extents, {1, 2, 300});
    for (int const threads : {2, 7}) {
      for (int k = 0; k < 5; ++k) {
        ASSERT_EQ(drawn_rows(on_cpu(threads), spec, extents, {1, 2, 300}), one) << threads;
      }
    }
  }
}

TEST(Thread, SharingOneInputIsLegal) {
  Array const images = tagged(DType::f32, {6, 4, 8});
  Bytes const before = images.bytes;
  Random random(7);
  auto const rows = random_rows(extents_of_array(images), random, Partners::any);
  std::vector<std::thread> threads;
  for (int worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&] {
      Queue const queue = Queue::cpu(1);
      Array out(images.dtype, images.shape);
      Plan plan = make_plan(on_cpu(1), rows, extents_of_array(images));
      for (int k = 0; k < 20; ++k) mix_into(out.view(), images.view(), plan, queue);
      expect_mixed(out, images, nullptr, rows);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(images.bytes, before);
}

TEST(Thread, TheChildOfAForkDoesAloneWhatItsParentDoesWithSeveral) {
  Bytes const expected = trained(3, 4, 4);  // the parent's OpenMP threads are there now
  EXPECT_EQ(in_child([&] { return trained(3, 4, 4) == expected ? 0 : 1; }), 0)
      << "1: other bytes; -1: it hung, as an OpenMP region would, or crashed";
  EXPECT_EQ(trained(3, 4, 4), expected) << "the parent goes on";
}

#ifdef _OPENMP
// In a process of its own, where nothing was mixed before.
TEST(ThreadDeathTest, TheChildOfAForkWorksThoughItsParentHasThreadsOfOthers) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto const forked = [] {
    std::atomic<int> met{0};
#pragma omp parallel num_threads(4)
    met++;
    return in_child([] {
      Array const images = tagged(DType::u8, {7, 3, 64, 129});
      Random random(5);
      auto const rows = random_rows(extents_of_array(images), random, Partners::any);
      return mix_at(on_cpu(4), {images}, rows, same_as(images)).bytes.empty() ? 1 : 0;
    });
  };
  EXPECT_EXIT(_exit(forked()), testing::ExitedWithCode(0), "");
}
#endif

TEST(Thread, OnePlanUsedByTwoAtOnceIsReportedAndNotCorrupted) {
  Queue const queue = Queue::cpu(1);
  Extents const extents = image(20000, 8, 8);
  Plan plan(extents.samples, Device::cpu(), queue);
  Spec const spec = mixup_spec();
  auto const expected = drawn_rows(on_cpu(1), spec, extents, {1, 2, 3});
  std::atomic<int> reported{0};
  std::atomic<bool> others{false};
  auto const work = [&] {
    for (int k = 0; k < 400 && reported == 0; ++k) {
      try {
        plan_into(plan, spec, extents, Draw{1, 2, 3}, queue);
      } catch (invalid_argument const& caught) {
        ++reported;
        if (std::string(caught.what()).find("plan") == std::string::npos) others = true;
      }
    }
  };
  std::thread first(work), second(work);
  first.join();
  second.join();
  EXPECT_GT(reported, 0);
  EXPECT_FALSE(others);
  EXPECT_EQ(read_rows(plan, queue), expected) << "the one that came first was disturbed";
}

TEST(Thread, OneCHandleUsedByTwoAtOnceIsReportedAndNotCorrupted) {
  mixfuse_queue const queue = mixfuse_cpu_queue(1);
  Extents const extents = image(20000, 8, 8);
  mixfuse_extents const batch = c_extents(extents);
  mixfuse_draw const draw{1, 2, 3};
  Spec const spec = mixup_spec();
  CSpec const does(spec);
  mixfuse_plan* plan = nullptr;
  ASSERT_EQ(mixfuse_plan_create(extents.samples, {kDLCPU, 0}, nullptr, 0, &queue, &plan),
            MIXFUSE_OK);
  std::atomic<int> reported{0};
  std::atomic<bool> others{false};
  auto const work = [&] {
    for (int k = 0; k < 400 && reported == 0; ++k) {
      if (mixfuse_plan_into(plan, &does.spec, &batch, &draw, &queue) == MIXFUSE_OK) continue;
      ++reported;
      std::string const text = mixfuse_last_error();
      if (text.find("two threads") == std::string::npos) others = true;
    }
  };
  std::thread first(work), second(work);
  first.join();
  second.join();
  EXPECT_GT(reported, 0);
  EXPECT_FALSE(others);
  std::vector<mixfuse_row> rows(20000);
  EXPECT_EQ(mixfuse_read_rows(plan, rows.data(), extents.samples, &queue), MIXFUSE_OK);
  EXPECT_EQ(cpp_rows(rows), drawn_rows(on_cpu(1), spec, extents, {1, 2, 3}));
  EXPECT_EQ(mixfuse_plan_destroy(plan), MIXFUSE_OK);
}

}  // namespace
}  // namespace mixfuse::test
