// SPDX-License-Identifier: Apache-2.0
#include <curand.h>
#include <dlfcn.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/functional.h>
#include <thrust/gather.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>

#include <cub/device/device_transform.cuh>
#include <cuda/std/tuple>
#include <stdexcept>
#include <string>

#include "bench/toolkit.hpp"

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

struct Weight {
  std::int64_t elements;
  float const* weight;
  __host__ __device__ float operator()(std::int64_t e) const { return weight[e / elements]; }
};
struct Rest {
  Weight weight;
  __host__ __device__ float operator()(std::int64_t e) const { return 1 - weight(e); }
};

struct Blend {
  float weight;
  __device__ float operator()(float own, float partner) const {
    return weight * own + (1 - weight) * partner;
  }
};

}  // namespace

struct ToolkitMixup::State {
  std::int64_t samples, elements;
  cudaStream_t stream;
  curandGenerator_t generator = nullptr;
  thrust::device_vector<unsigned> keys;
  thrust::device_vector<std::int32_t> partner;
  thrust::device_vector<float> weight, gathered;
};

ToolkitMixup::ToolkitMixup(std::int64_t samples, std::int64_t elements, std::uint64_t seed,
                           CUstream_st* stream)
    : state_{std::make_unique<State>()} {
  State& s = *state_;
  s.samples = samples;
  s.elements = elements;
  s.stream = stream;
  MIXFUSE_CURAND_CALL(curandCreateGenerator, &s.generator, CURAND_RNG_PSEUDO_PHILOX4_32_10);
  MIXFUSE_CURAND_CALL(curandSetStream, s.generator, stream);
  MIXFUSE_CURAND_CALL(curandSetPseudoRandomGeneratorSeed, s.generator, seed);
  auto const count = static_cast<std::size_t>(samples);
  s.keys.resize(count);
  s.partner.resize(count);
  s.weight.resize(count);
  s.gathered.resize(count * static_cast<std::size_t>(elements));
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

void ToolkitMixup::mix(float* out, float const* in) {
  State& s = *state_;
  auto const on_stream = thrust::cuda::par_nosync.on(s.stream);
  std::int64_t const count = s.samples * s.elements;
  thrust::counting_iterator<std::int64_t> const element{0};
  Weight const weight{s.elements, s.weight.data().get()};
  float* const gathered = s.gathered.data().get();
  auto const from =
      thrust::make_transform_iterator(element, PartnerOf{s.elements, s.partner.data().get()});
  thrust::gather(on_stream, from, from + count, in, gathered);
  thrust::transform(on_stream, gathered, gathered + count,
                    thrust::make_transform_iterator(element, Rest{weight}), gathered,
                    thrust::multiplies<float>{});
  thrust::transform(on_stream, in, in + count, thrust::make_transform_iterator(element, weight),
                    out, thrust::multiplies<float>{});
  thrust::transform(on_stream, out, out + count, gathered, out, thrust::plus<float>{});
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

void transform_roll(float* out, float const* in, std::int64_t samples, std::int64_t elements,
                    float weight, CUstream_st* stream) {
  std::int64_t const rest = (samples - 1) * elements;
  auto const transform = [&](float* to, float const* own, float const* partner,
                             std::int64_t count) {
    cudaError_t const code = cub::DeviceTransform::Transform(cuda::std::make_tuple(own, partner),
                                                             to, count, Blend{weight}, stream);
    if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
  };
  transform(out, in, in + rest, elements);
  transform(out + elements, in + elements, in, rest);
}

}  // namespace mixfuse::bench
