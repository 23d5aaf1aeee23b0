// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/label.cuh"
#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"

namespace mixfuse::cuda {
namespace {

constexpr int threads = 256;

__host__ __device__ std::int64_t chunks(MixJob const& job, std::int64_t block) {
  return (job.walk.elements + block * per_thread - 1) / (block * per_thread);
}

template <class In, class Out>
__device__ void mix_element(MixJob const& job, Row const& row, bool partner_flip,
                            std::int64_t sample, std::int64_t element) {
  Walk const& walk = job.walk;
  maths::Place const place = maths::place_of(walk, element);
  maths::Place const image = maths::mirrored(walk, place);
  auto const own = [&] {
    return static_cast<In const*>(
        job.own)[sample * job.own_pitch + maths::offset(walk.own, row.flip ? image : place)];
  };
  auto const partner = [&] {
    return static_cast<In const*>(
        job.partners)[row.partner * job.partners_pitch +
                      maths::offset(walk.partners, partner_flip ? image : place)];
  };
  float const weight = maths::weight_at(walk, row, place);
  static_cast<Out*>(job.out)[sample * job.out_pitch + maths::offset(walk.out, place)] =
      weight == 1.0f   ? maths::copied<Out>(own())
      : weight == 0.0f ? maths::copied<Out>(partner())
                       : maths::blended<Out>(weight, own(), partner());
}

/// Blocks work on (sample, chunk of its elements), then on labels.
template <class In, class Out>
__global__ void __launch_bounds__(threads)
    mix_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelJob const labels,
               bool const with_labels) {
  std::int64_t const per_sample = chunks(job, blockDim.x);
  std::int64_t const images = job.samples * per_sample;
  std::int64_t const items = images + (with_labels ? label_items(labels, blockDim.x) : 0);
  for (std::int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    if (item >= images) {
      label_item(labels, item - images);
      continue;
    }
    std::int64_t const sample = item / per_sample;
    std::int64_t const chunk = item - sample * per_sample;
    Row const row = maths::effective(job.rows[sample], sample, job.second);
    bool const partner_flip = !job.second && job.rows[row.partner].flip != 0;
    for (int k = 0; k < per_thread; ++k) {
      std::int64_t const element = (chunk * per_thread + k) * blockDim.x + threadIdx.x;
      if (element < job.walk.elements) {
        mix_element<In, Out>(job, row, partner_flip, sample, element);
      }
    }
  }
}

__host__ __device__ std::int64_t columns(MixJob const& job, std::int64_t block) {
  return (job.walk.elements + block - 1) / block;
}

/// A value at a position and at its mirror image.
template <class T>
struct Twin {
  T at[2];
};

/// One position and its mirror image, of all samples in the order of their cycles. The first
/// sample of a cycle is kept until its last is written.
template <class T>
__device__ void mix_column(MixJob const& job, std::int64_t element) {
  Walk const& walk = job.walk;
  maths::Place const place[2] = {maths::place_of(walk, element),
                                 maths::mirrored(walk, maths::place_of(walk, element))};
  if (2 * place[0].at[Walk::line] > walk.extent[Walk::line] - 1) return;  // its image does it
  std::int64_t const offset[2] = {maths::offset(walk.own, place[0]),
                                  maths::offset(walk.own, place[1])};
  T* const data = static_cast<T*>(job.out);
  auto const load = [&](std::int64_t sample) {
    T const* const at = data + sample * job.own_pitch;
    return Twin<T>{{at[offset[0]], at[offset[1]]}};
  };

  Twin<T> first{}, current{};
  bool starts = true;
  for (std::int64_t k = 0; k < job.samples; ++k) {
    std::int32_t const entry = job.order[k];
    bool const ends = entry < 0;
    std::int32_t const sample = ends ? ~entry : entry;
    if (starts) first = current = load(sample);
    Row const row = maths::effective(job.rows[sample], sample, false);
    bool const partner_flip = job.rows[row.partner].flip != 0;
    Twin<T> const next = ends ? first : load(row.partner);
    for (int m = 0; m < 2; ++m) {
      if (m == 1 && offset[0] == offset[1]) break;  // the middle of an odd line
      float const weight = maths::weight_at(walk, row, place[m]);
      T const own = row.flip ? current.at[1 - m] : current.at[m];
      T const partner = partner_flip ? next.at[1 - m] : next.at[m];
      data[sample * job.own_pitch + offset[m]] = weight == 1.0f ? own
                                                 : weight == 0.0f
                                                     ? partner
                                                     : maths::blended<T>(weight, own, partner);
    }
    current = next;
    starts = ends;
  }
}

template <class T>
__global__ void __launch_bounds__(threads)
    mix_in_place_kernel(__grid_constant__ MixJob const job, __grid_constant__ LabelJob const labels,
                        bool const with_labels) {
  std::int64_t const images = columns(job, blockDim.x);
  std::int64_t const items = images + (with_labels ? label_items(labels, blockDim.x) : 0);
  for (std::int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    if (item >= images) {
      label_item(labels, item - images);
      continue;
    }
    std::int64_t const element = item * blockDim.x + threadIdx.x;
    if (element < job.walk.elements) mix_column<T>(job, element);
  }
}

std::int64_t items_of(LabelJob const* labels, int block) {
  return labels != nullptr ? label_items(*labels, block) : 0;
}

}  // namespace

int mix(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  Shape const shape = shape_for(threads, [&](int block) {
    return images.samples * chunks(images, block) + items_of(labels, block);
  });
  int code = cudaSuccess;
  with_pair(images.dtype_in, images.dtype_out, [&](auto in, auto out) {
    code = launch(mix_kernel<typename decltype(in)::type, typename decltype(out)::type>, shape, 0,
                  stream, images, labels != nullptr ? *labels : LabelJob{}, labels != nullptr);
  });
  return code;
}

int mix_in_place(MixJob const& images, LabelJob const* labels, CUstream_st* stream) {
  Shape const shape = shape_for(
      threads, [&](int block) { return columns(images, block) + items_of(labels, block); });
  int code = cudaSuccess;
  with_dtype(images.dtype_in, [&](auto tag) {
    code = launch(mix_in_place_kernel<typename decltype(tag)::type>, shape, 0, stream, images,
                  labels != nullptr ? *labels : LabelJob{}, labels != nullptr);
  });
  return code;
}

}  // namespace mixfuse::cuda
