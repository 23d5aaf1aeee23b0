// SPDX-License-Identifier: Apache-2.0

// A C++17 program outside mixfuse's tree: mixes a batch on the CPU, and applies the plan's rows
// itself by mixfuse::headers. Ends with 0 if both give the same.

#include <cstdio>
#include <mixfuse/mixfuse.hpp>
#include <vector>

#include "kernels/maths/blend.hpp"
#include "kernels/maths/box.hpp"
#include "kernels/maths/target.hpp"

int main() {
  using namespace mixfuse;
  constexpr std::int64_t samples = 6, features = 10;
  std::vector<float> in(samples * features), out(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i) / 3.0f;

  Queue const queue = Queue::cpu();
  ConstTensorView const images(in.data(), DType::f32, {samples, features});
  Plan plan(samples, Device::cpu(), queue);
  Spec spec;
  spec.policies = {{CutMix{}, 1.0f}};
  plan_into(plan, spec, extents_of(images), Draw{1, 2, 3}, queue);
  mix_into({out.data(), DType::f32, {samples, features}}, images, plan, queue);

  int wrong = 0;
  for (std::int64_t i = 0; i < samples * features; ++i) {
    std::int64_t const sample = i / features, x = i % features;
    Row const row = plan.rows()[sample];
    bool const inside = x >= row.box.lo[0] && x < row.box.hi[0];
    float const own = in[static_cast<std::size_t>(i)];
    float const partner = in[static_cast<std::size_t>(row.partner * features + x)];
    float const weight = inside ? row.inside : row.outside;
    float const expected = weight == 1.0f   ? maths::copied<float>(own)
                           : weight == 0.0f ? maths::copied<float>(partner)
                                            : maths::blended<float>(weight, own, partner);
    if (out[static_cast<std::size_t>(i)] != expected) ++wrong;
  }

  try {
    mix_into({out.data(), DType::f32, {samples, features + 1}}, images, plan, queue);
    ++wrong;
  } catch (invalid_argument const& caught) {  // by its type, from another library
    std::printf("mixfuse %s, CUDA %s: %s\n", version(), cuda_info().built ? "built in" : "left out",
                caught.what());
  }
  return wrong == 0 ? 0 : 1;
}
