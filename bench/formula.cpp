// SPDX-License-Identifier: Apache-2.0
#include "bench/formula.hpp"

#include <cstring>

#include "bench/formula_types.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/maths/blend.hpp"

namespace mixfuse::bench {
namespace {

#define MIXFUSE_INLINE [[gnu::always_inline]] inline

template <class Body>
MIXFUSE_INLINE void each(std::int64_t count, Body const& body) {
  for (std::int64_t e = 0; e < count; ++e) body(e);
}

#if defined(__x86_64__)
template <class Body>
[[gnu::target("avx2,fma"), gnu::flatten]] void each_wide(std::int64_t count, Body const& body) {
  each(count, body);
}
#endif

/// body(e) for every element, with the vectors that the processor has.
template <class Body>
void run(std::int64_t count, Body const& body) {
#if defined(__x86_64__)
  static bool const wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (wide) return each_wide(count, body);
#endif
  each(count, body);
}

/// pass(sample, offset of its first element) for each sample.
template <class Pass>
void over_samples(Formula const& f, int threads, Pass const& pass) {
  cpu::parallel_for(f.samples, threads, [&](std::int64_t i) { pass(i, i * f.elements); });
}

/// Where element e of an nchw sample lies in an nhwc one.
MIXFUSE_INLINE std::int64_t in_nhwc(Formula const& f, std::int64_t e) {
  std::int64_t const pixels = f.elements / f.channels;
  return e % pixels * f.channels + e / pixels;
}

template <class In, class T>
T const* normalise(Formula const& f, int threads, T* to) {
  auto const* in = static_cast<In const*>(f.images);
  over_samples(f, threads, [&](std::int64_t, std::int64_t at) {
    run(f.elements, [=](std::int64_t e) {
      to[at + e] = maths::narrow<T>(maths::widen(in[at + in_nhwc(f, e)]));
    });
  });
  over_samples(f, threads, [&](std::int64_t, std::int64_t at) {
    run(f.elements, [=](std::int64_t e) {
      to[at + e] = maths::narrow<T>(maths::widen(to[at + e]) - 255.0f * f.mean);
    });
  });
  over_samples(f, threads, [&](std::int64_t, std::int64_t at) {
    run(f.elements, [=](std::int64_t e) { to[at + e] = scaled(to[at + e], 1 / (255.0f * f.std)); });
  });
  return to;
}

template <class In, class T>
void pass_by_pass(Formula const& f, int threads) {
  auto* const gathered = static_cast<T*>(f.scratch);
  auto* const mixed = static_cast<T*>(f.mixed);
  auto const* x = static_cast<T const*>(f.images);
  if (f.normalises()) x = normalise<In>(f, threads, gathered + f.samples * f.elements);
  over_samples(f, threads, [&](std::int64_t i, std::int64_t at) {
    std::memcpy(gathered + at, x + f.partner[i] * f.elements,
                static_cast<std::size_t>(f.elements) * sizeof(T));
  });
  over_samples(f, threads, [&](std::int64_t i, std::int64_t at) {
    run(f.elements,
        [=, w = 1 - f.weight[i]](auto e) { gathered[at + e] = scaled(gathered[at + e], w); });
  });
  over_samples(f, threads, [&](std::int64_t i, std::int64_t at) {
    run(f.elements, [=, w = f.weight[i]](auto e) { mixed[at + e] = scaled(x[at + e], w); });
  });
  over_samples(f, threads, [&](std::int64_t, std::int64_t at) {
    run(f.elements, [=](auto e) { mixed[at + e] = plus(mixed[at + e], gathered[at + e]); });
  });
}

template <class In, class T>
void in_one_loop(Formula const& f, int threads) {
  auto const* const x = static_cast<In const*>(f.images);
  auto* const mixed = static_cast<T*>(f.mixed);
  over_samples(f, threads, [&](std::int64_t i, std::int64_t at) {
    float const w = f.weight[i];
    std::int64_t const partner = f.partner[i] * f.elements;
    auto const blend = [=](std::int64_t e) {
      return maths::widen(x[at + e]) * w + maths::widen(x[partner + e]) * (1 - w);
    };
    if (!f.normalises()) {
      return run(f.elements, [=](auto e) { mixed[at + e] = maths::narrow<T>(blend(e)); });
    }
    float const scale = 1 / (255.0f * f.std), shift = -f.mean / f.std;
    run(f.elements,
        [=](auto e) { mixed[at + e] = maths::narrow<T>(blend(in_nhwc(f, e)) * scale + shift); });
  });
}

}  // namespace

void passes_cpu(Formula const& f, int threads) {
  with_formula(f, [&](auto in, auto out) {
    pass_by_pass<typename decltype(in)::type, typename decltype(out)::type>(f, threads);
  });
}

void fused_cpu(Formula const& f, int threads) {
  with_formula(f, [&](auto in, auto out) {
    in_one_loop<typename decltype(in)::type, typename decltype(out)::type>(f, threads);
  });
}

void convert_cpu(Formula const& f, int threads) {
  with_formula(f, [&](auto in, auto out) {
    using In = typename decltype(in)::type;
    using Out = typename decltype(out)::type;
    auto const* const x = static_cast<In const*>(f.images);
    auto* const converted = static_cast<Out*>(f.mixed);
    over_samples(f, threads, [&](std::int64_t, std::int64_t at) {
      run(f.elements, [=](auto e) { converted[at + e] = maths::copied<Out>(x[at + e]); });
    });
  });
}

}  // namespace mixfuse::bench
