// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <stdexcept>

#include "bench/formula.hpp"
#include "bench/formula_types.hpp"

namespace mixfuse::bench {
namespace {

constexpr int threads = 256;

/// 16 bytes, which is how eager frameworks load and store as well.
template <class T, std::size_t count>
struct alignas(sizeof(T) * count) Pack {
  T at[count];
};

/// body(sample, pack of it), a thread a pack.
template <class Body>
__global__ void __launch_bounds__(threads) each_pack(std::int64_t packs, Body body) {
  std::int64_t const pack = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  if (pack < packs) body(std::int64_t{blockIdx.y}, pack);
}

template <int width, class Body>
void over_packs(Formula const& f, CUstream_st* stream, Body const& body) {
  std::int64_t const packs = f.elements / width;
  dim3 const grid(static_cast<unsigned>((packs + threads - 1) / threads),
                  static_cast<unsigned>(f.samples));
  each_pack<<<grid, threads, 0, stream>>>(packs, body);
}

/// to = operation(sample, from), a pass.
template <class T, int width, class Operation>
void unary(Formula const& f, CUstream_st* stream, T* to, T const* from, Operation operation) {
  using P = Pack<T, width>;
  std::int64_t const packs = f.elements / width;
  over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
    P x = reinterpret_cast<P const*>(from)[i * packs + p];
    for (int k = 0; k < width; ++k) x.at[k] = operation(i, x.at[k]);
    reinterpret_cast<P*>(to)[i * packs + p] = x;
  });
}

template <class In, class T, int width>
void pass_by_pass(Formula const& f, CUstream_st* stream) {
  using P = Pack<T, width>;
  std::int64_t const packs = f.elements / width;
  auto* const gathered = static_cast<T*>(f.scratch);
  auto* const mixed = static_cast<T*>(f.mixed);
  auto const* x = static_cast<T const*>(f.images);
  if (f.normalises()) {
    T* const cast = gathered + f.samples * f.elements;
    auto const* const in = static_cast<In const*>(f.images);
    std::int64_t const channels = f.channels, pixels = f.elements / channels;
    over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
      P y;
      for (int k = 0; k < width; ++k) {
        std::int64_t const e = p * width + k;
        y.at[k] = maths::narrow<T>(
            maths::widen(in[i * channels * pixels + e % pixels * channels + e / pixels]));
      }
      reinterpret_cast<P*>(cast)[i * packs + p] = y;
    });
    float const minus = -255.0f * f.mean, by = 1 / (255.0f * f.std);
    unary<T, width>(f, stream, cast, cast, [=] __device__(std::int64_t, T v) {
      return maths::narrow<T>(maths::widen(v) + minus);
    });
    unary<T, width>(f, stream, cast, cast,
                    [=] __device__(std::int64_t, T v) { return scaled(v, by); });
    x = cast;
  }
  auto const* const partner = f.partner;
  auto const* const weight = f.weight;
  over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
    reinterpret_cast<P*>(gathered)[i * packs + p] =
        reinterpret_cast<P const*>(x)[partner[i] * packs + p];
  });
  unary<T, width>(f, stream, gathered, gathered,
                  [=] __device__(std::int64_t i, T v) { return scaled(v, 1 - weight[i]); });
  unary<T, width>(f, stream, mixed, x,
                  [=] __device__(std::int64_t i, T v) { return scaled(v, weight[i]); });
  over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
    P a = reinterpret_cast<P const*>(mixed)[i * packs + p];
    P const b = reinterpret_cast<P const*>(gathered)[i * packs + p];
    for (int k = 0; k < width; ++k) a.at[k] = plus(a.at[k], b.at[k]);
    reinterpret_cast<P*>(mixed)[i * packs + p] = a;
  });
}

template <class In, class T, int width>
void in_one_loop(Formula const& f, CUstream_st* stream) {
  using P = Pack<T, width>;
  using Q = Pack<In, width>;
  std::int64_t const packs = f.elements / width;
  auto const* const partner = f.partner;
  auto const* const weight = f.weight;
  auto const* const in = static_cast<In const*>(f.images);
  auto* const mixed = static_cast<T*>(f.mixed);
  if (!f.normalises()) {
    return over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
      Q const a = reinterpret_cast<Q const*>(in)[i * packs + p];
      Q const b = reinterpret_cast<Q const*>(in)[partner[i] * packs + p];
      P y;
      for (int k = 0; k < width; ++k) {
        y.at[k] = maths::narrow<T>(maths::widen(a.at[k]) * weight[i] +
                                   maths::widen(b.at[k]) * (1 - weight[i]));
      }
      reinterpret_cast<P*>(mixed)[i * packs + p] = y;
    });
  }
  float const scale = 1 / (255.0f * f.std), shift = -f.mean / f.std;
  std::int64_t const channels = f.channels, pixels = f.elements / channels;
  over_packs<width>(f, stream, [=] __device__(std::int64_t i, std::int64_t p) {
    In const* const own = in + i * channels * pixels;
    In const* const other = in + partner[i] * channels * pixels;
    P y;
    for (int k = 0; k < width; ++k) {
      std::int64_t const e = p * width + k, at = e % pixels * channels + e / pixels;
      float const blend =
          maths::widen(own[at]) * weight[i] + maths::widen(other[at]) * (1 - weight[i]);
      y.at[k] = maths::narrow<T>(blend * scale + shift);
    }
    reinterpret_cast<P*>(mixed)[i * packs + p] = y;
  });
}

void check_launch() {
  cudaError_t const code = cudaGetLastError();
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

}  // namespace

void passes_cuda(Formula const& f, CUstream_st* stream) {
  with_formula(f, [&](auto in, auto out) {
    using In = typename decltype(in)::type;
    using Out = typename decltype(out)::type;
    constexpr int width = 16 / sizeof(Out);
    if (f.elements % width == 0) return pass_by_pass<In, Out, width>(f, stream);
    pass_by_pass<In, Out, 1>(f, stream);
  });
  check_launch();
}

void fused_cuda(Formula const& f, CUstream_st* stream) {
  with_formula(f, [&](auto in, auto out) {
    using In = typename decltype(in)::type;
    using Out = typename decltype(out)::type;
    constexpr int width = 16 / sizeof(Out);
    if (f.elements % width == 0) return in_one_loop<In, Out, width>(f, stream);
    in_one_loop<In, Out, 1>(f, stream);
  });
  check_launch();
}

}  // namespace mixfuse::bench
