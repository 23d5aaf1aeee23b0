// SPDX-License-Identifier: Apache-2.0

// The child of a process that has used CUDA: each call is refused before CUDA hears of it.

#include "tests/support/fork.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

class Fork : public OnDevice {};

bool is_refused(std::function<void()> const& call) {
  try {
    call();
  } catch (cuda_error const& caught) {
    std::string const what = caught.what();
    return caught.code() == cudaErrorInitializationError && what.find("fork") != what.npos;
  }
  return false;
}

TEST_F(Fork, InTheChildEachCallIsRefusedBeforeCudaIsAsked) {
  Array const images = tagged(DType::f32, {4, 3, 5, 7}), labels = ids(DType::i64, {0, 1, 2, 3});
  Extents const extents = extents_of_array(images);
  Queue const queue = test_queue();
  auto const rows = drawn_rows(on_cpu(), mixup_spec(), extents, {});
  Tensor const in(here(), images), classes(here(), labels);
  Tensor out(here(), DType::f32, images.shape), targets(here(), DType::f32, {4, 4});
  std::optional<Plan> plan(std::in_place, 4, test_device(), queue);
  plan_into(*plan, rows.data(), extents, {}, queue);

  std::optional<Mixer> mixer(std::in_place, mixup_spec(), Draw{}, 4, test_device(), queue);

  Mixed const mixed{out.view(), targets.view()};
  Originals const originals{in.view(), classes.view()};
  ErrorWord word;
  std::vector<std::function<void()>> const each{
      [&] { Plan(4, test_device(), queue); },
      [&] { static_cast<void>(Plan::bytes(4, test_device())); },
      [&] { plan_into(*plan, mixup_spec(), extents, {}, queue); },
      [&] { plan_into(*plan, rows.data(), extents, {}, queue); },
      [&] { static_cast<void>(read_rows(*plan, queue)); },
      [&] { error_into(&word, *plan, queue); },
      [&] { clear_error(*plan, queue); },
      [&] { mix_into(out.view(), in.view(), *plan, queue); },
      [&] { mix_in_place(out.view(), *plan, queue); },
      [&] { label_into(targets.view(), classes.view(), {}, *plan, queue); },
      [&] { step_into(mixed, originals, *plan, queue); },
      [&] { step_in_place(mixed, classes.view(), {}, *plan, queue); },
      [&] { (*mixer)(mixed, originals, queue); },
      [&] { mixer->set_draw({}, queue); },
      [&] {  // looks at the address first
        set_checked(true);
        mix_into(out.view(), in.view(), *plan, queue);
      },
  };
  int const ended = in_child([&] {
    calls::reset();
    for (std::size_t i = 0; i < each.size(); ++i) {
      if (!is_refused(each[i])) return 1 + static_cast<int>(i);
    }
    plan.reset();  // its memory is the parent's
    mixer.reset();
    for (char const* const what : {"ops", "malloc", "free", "sync"}) {
      if (calls::count(what).value_or(0) != 0) return 50;
    }
    return drawn_rows(on_cpu(), mixup_spec(), extents, {}) == rows ? 0 : 51;
  });
  EXPECT_EQ(ended, 0) << "1 and more: that call; 50: CUDA was asked; 51: the CPU draws otherwise";

  plan_into(*plan, mixup_spec(), extents, {}, queue);
  EXPECT_EQ(read_rows(*plan, queue), rows) << "the parent goes on";
}

}  // namespace
}  // namespace mixfuse::test
