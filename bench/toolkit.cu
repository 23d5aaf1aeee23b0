// SPDX-License-Identifier: Apache-2.0
#include <curand.h>
#include <dlfcn.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/gather.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/permutation_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>

#include <cub/device/device_transform.cuh>
#include <cuda/std/tuple>
#include <stdexcept>
#include <string>

#include "bench/toolkit.hpp"
#include "mixfuse/error.hpp"

namespace mixfuse::bench {
namespace {

/// Loaded by name and not linked: a program that is carried to another machine must start there
/// without it.
template <class Function>
Function* curand(char const* name) {
  static void* const library = [] {
    void* const found = dlopen("libcurand.so.10", RTLD_NOW);
    return found ? found : dlopen(MIXFUSE_CURAND, RTLD_NOW);
  }();
  if (!library) throw std::runtime_error("libcurand.so.10 is not there");
  return reinterpret_cast<Function*>(dlsym(library, name));
}

void check(curandStatus_t status) {
  if (status != CURAND_STATUS_SUCCESS) {
    throw std::runtime_error("cuRAND refused: status " + std::to_string(status));
  }
}

#define MIXFUSE_CURAND_CALL(name, ...) check(curand<decltype(name)>(#name)(__VA_ARGS__))

/// Where element e of the partner's sample lies.
struct PartnerOf {
  std::int64_t elements;
  std::int32_t const* partner;
  __host__ __device__ std::int64_t operator()(std::int64_t e) const {
    return partner[e / elements] * elements + e % elements;
  }
};

/// Where element e of an nchw batch lies in an nhwc one.
struct InNhwc {
  std::int64_t elements, channels;
  __host__ __device__ std::int64_t operator()(std::int64_t e) const {
    std::int64_t const pixels = elements / channels, at = e % elements;
    return e - at + at % pixels * channels + at / pixels;
  }
};

template <class T>
struct Normalised {
  float scale, shift;
  __device__ T operator()(std::uint8_t x) const { return maths::narrow<T>(x * scale + shift); }
};

struct Weight {
  std::int64_t elements;
  float const* weight;
  __host__ __device__ float operator()(std::int64_t e) const { return weight[e / elements]; }
};
struct Rest {
  Weight weight;
  __host__ __device__ float operator()(std::int64_t e) const { return 1 - weight(e); }
};

template <class T>
struct Scaled {
  __device__ T operator()(T x, float by) const { return scaled(x, by); }
};
template <class T>
struct Plus {
  __device__ T operator()(T a, T b) const { return plus(a, b); }
};

template <class T>
struct Blend {
  float weight;
  __device__ T operator()(T own, T partner) const {
    return maths::narrow<T>(weight * maths::widen(own) + (1 - weight) * maths::widen(partner));
  }
};

/// run(T{}) for what comes out.
template <class Run>
void with_output(DType out, Run const& run) {
  if (out == DType::f32) return run(float{});
  if (out == DType::bf16) return run(maths::Bf16{});
  throw unsupported("only f32 and bf16 come out here");
}

}  // namespace

struct ToolkitMixup::State {
  std::int64_t samples;
  cudaStream_t stream;
  curandGenerator_t generator = nullptr;
  thrust::device_vector<unsigned> keys;
  thrust::device_vector<std::int32_t> partner;
  thrust::device_vector<float> weight;
};

ToolkitMixup::ToolkitMixup(std::int64_t samples, std::uint64_t seed, CUstream_st* stream)
    : state_{std::make_unique<State>()} {
  State& s = *state_;
  s.samples = samples;
  s.stream = stream;
  MIXFUSE_CURAND_CALL(curandCreateGenerator, &s.generator, CURAND_RNG_PSEUDO_PHILOX4_32_10);
  MIXFUSE_CURAND_CALL(curandSetStream, s.generator, stream);
  MIXFUSE_CURAND_CALL(curandSetPseudoRandomGeneratorSeed, s.generator, seed);
  auto const count = static_cast<std::size_t>(samples);
  s.keys.resize(count);
  s.partner.resize(count);
  s.weight.resize(count);
}

ToolkitMixup::~ToolkitMixup() {
  if (state_ && state_->generator)
    curand<decltype(curandDestroyGenerator)>("curandDestroyGenerator")(state_->generator);
}

void ToolkitMixup::plan() {
  State& s = *state_;
  auto const on_stream = thrust::cuda::par_nosync.on(s.stream);
  MIXFUSE_CURAND_CALL(curandGenerateUniform, s.generator, s.weight.data().get(), s.weight.size());
  MIXFUSE_CURAND_CALL(curandGenerate, s.generator, s.keys.data().get(), s.keys.size());
  thrust::sequence(on_stream, s.partner.begin(), s.partner.end());
  thrust::sort_by_key(on_stream, s.keys.begin(), s.keys.end(), s.partner.begin());
}

void ToolkitMixup::mix(Formula const& f) {
  State& s = *state_;
  auto const on_stream = thrust::cuda::par_nosync.on(s.stream);
  std::int64_t const count = f.samples * f.elements;
  thrust::counting_iterator<std::int64_t> const element{0};
  Weight const weight{f.elements, s.weight.data().get()};
  auto const from =
      thrust::make_transform_iterator(element, PartnerOf{f.elements, s.partner.data().get()});
  with_output(f.out, [&](auto zero) {
    using T = decltype(zero);
    auto* const out = static_cast<T*>(f.mixed);
    auto* const gathered = static_cast<T*>(f.scratch);
    auto const* in = static_cast<T const*>(f.images);
    if (f.normalises()) {
      auto const nhwc = thrust::make_permutation_iterator(
          static_cast<std::uint8_t const*>(f.images),
          thrust::make_transform_iterator(element, InNhwc{f.elements, f.channels}));
      Normalised<T> const normalised{1 / (255.0f * f.std), -f.mean / f.std};
      thrust::transform(on_stream, nhwc, nhwc + count, gathered + count, normalised);
      in = gathered + count;
    }
    thrust::gather(on_stream, from, from + count, in, gathered);
    thrust::transform(on_stream, gathered, gathered + count,
                      thrust::make_transform_iterator(element, Rest{weight}), gathered,
                      Scaled<T>{});
    thrust::transform(on_stream, in, in + count, thrust::make_transform_iterator(element, weight),
                      out, Scaled<T>{});
    thrust::transform(on_stream, out, out + count, gathered, out, Plus<T>{});
  });
}

std::vector<Row> ToolkitMixup::rows() const {
  State const& s = *state_;
  cudaStreamSynchronize(s.stream);
  std::vector<Row> rows(static_cast<std::size_t>(s.samples));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].partner = s.partner[i];
    rows[i].outside = rows[i].inside = rows[i].label = s.weight[i];
  }
  return rows;
}

void transform_roll(Formula const& f, float weight, CUstream_st* stream) {
  if (f.normalises()) throw unsupported("one pass is in one order, and the layouts differ");
  std::int64_t const rest = (f.samples - 1) * f.elements;
  with_output(f.out, [&](auto zero) {
    using T = decltype(zero);
    auto* const out = static_cast<T*>(f.mixed);
    auto const* const in = static_cast<T const*>(f.images);
    auto const transform = [&](T* to, T const* own, T const* partner, std::int64_t count) {
      cudaError_t const code = cub::DeviceTransform::Transform(cuda::std::make_tuple(own, partner),
                                                               to, count, Blend<T>{weight}, stream);
      if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
    };
    transform(out, in, in + rest, f.elements);
    transform(out + f.elements, in + f.elements, in, rest);
  });
}

}  // namespace mixfuse::bench
