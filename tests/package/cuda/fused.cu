// SPDX-License-Identifier: Apache-2.0

// Mixing fused into a kernel of one's own by mixfuse::headers: what another kernel would have
// mixed, written and read again is mixed where it is used. Ends with 0 if images and targets are,
// bit for bit, those of mix_into and label_into; with 77 where there is no GPU.

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mixfuse/mixfuse.hpp>
#include <stdexcept>
#include <vector>

#include "kernels/maths/blend.hpp"
#include "kernels/maths/load.hpp"
#include "kernels/maths/target.hpp"

#ifdef CURAND_PHILOX4X32_X__H_
#error "mixfuse::headers brought cuRAND's header"
#endif

namespace {

using namespace mixfuse;

constexpr int samples = 7, channels = 3, height = 9, width = 10, classes = 5;
constexpr int elements = channels * height * width;

void must(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// How an nchw image lies: frame, channel, d, h, w, and no channel after w.
Walk walk_of_nchw() {
  Walk walk{};
  std::int64_t const extent[Walk::axes] = {1, channels, 1, height, width, 1};
  std::int64_t const stride[Walk::axes] = {0, height * width, 0, width, 1, 0};
  std::int8_t const box_axis[Walk::axes] = {-1, -1, -1, 0, 1, -1};
  for (int axis = 0; axis < Walk::axes; ++axis) {
    walk.extent[axis] = extent[axis];
    walk.out[axis] = walk.own[axis] = walk.partners[axis] = stride[axis];
    walk.box_axis[axis] = box_axis[axis];
  }
  walk.elements = elements;
  return walk;
}

/// The batch's pixel, mixed; a sample is read as its own row says.
__device__ float mixed_pixel(Walk const& walk, Row const* rows, float const* in, int sample,
                             int element) {
  Row const row = maths::effective(rows[sample], sample, false);
  maths::Place const place = maths::place_of(walk, element);
  auto const read = [&](int from) {
    maths::Place const at = rows[from].flip != 0 ? maths::mirrored(walk, place) : place;
    return in[from * walk.elements + maths::offset(walk.own, at)];
  };
  float const weight = maths::weight_at(walk, row, place);
  if (weight == 1.0f) return maths::copied<float>(read(sample));
  if (weight == 0.0f) return maths::copied<float>(read(row.partner));
  return maths::blended<float>(weight, read(sample), read(row.partner));
}

/// The kernel that uses the mixed batch: here it scales each sample.
__global__ void scale(float* out, float* targets, float const* in, float const* gain, Walk walk,
                      LabelJob labels) {
  int const sample = static_cast<int>(blockIdx.x);
  for (int element = static_cast<int>(threadIdx.x); element < elements;
       element += static_cast<int>(blockDim.x)) {
    out[sample * elements + element] =
        gain[sample] * mixed_pixel(walk, labels.rows, in, sample, element);
  }
  int const column = static_cast<int>(threadIdx.x);
  if (column < classes) {
    targets[sample * classes + column] =
        maths::one_hots(labels, labels.rows[sample], sample).at(column);
  }
}

template <class T>
T* on_device(std::vector<T> const& values) {
  void* memory = nullptr;
  must(cudaMalloc(&memory, values.size() * sizeof(T)));
  must(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return static_cast<T*>(memory);
}

template <class T>
std::vector<T> on_host(T const* memory, std::size_t count) {
  std::vector<T> values(count);
  must(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
  return values;
}

bool is_right(Spec const& spec, cudaStream_t stream) {
  std::vector<float> pixels(samples * elements), gains;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<float>(i * i % 1013) / 7.0f;
  }
  for (int i = 0; i < samples; ++i) gains.push_back(0.5f + static_cast<float>(i));
  float* const in = on_device(pixels);
  float* const gain = on_device(gains);
  std::int64_t* const ids = on_device(std::vector<std::int64_t>{0, 1, 2, 3, 4, 0, 1});
  float* const mixed = on_device(std::vector<float>(pixels.size()));
  float* const scaled = on_device(std::vector<float>(pixels.size()));
  float* const rows = on_device(std::vector<float>(samples * classes));
  float* const own_rows = on_device(std::vector<float>(samples * classes));

  Device const device = Device::cuda();
  Queue const queue = Queue::cuda(stream);
  ConstTensorView const images(in, DType::f32, {samples, channels, height, width}, device);
  ConstTensorView const labels(ids, DType::i64, {samples}, device);
  Plan plan(samples, device, queue);
  plan_into(plan, spec, extents_of(images), Draw{5, 6, 7}, queue);
  step_into({{mixed, DType::f32, {samples, channels, height, width}, device},
             TensorView(rows, DType::f32, {samples, classes}, device)},
            {images, labels, {}, {}}, plan, queue);

  LabelJob job{};
  job.classes = classes;
  job.own = job.partners = {ids, DType::i64, {1, 0}};
  job.on = 1.0f;
  job.rows = plan.rows();
  scale<<<samples, 64, 0, stream>>>(scaled, own_rows, in, gain, walk_of_nchw(), job);
  must(cudaGetLastError());
  must(cudaStreamSynchronize(stream));

  std::vector<float> expected = on_host(mixed, pixels.size());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] *= gains[i / elements];
  auto const same = [](std::vector<float> const& a, std::vector<float> const& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  bool const right = same(on_host(scaled, pixels.size()), expected) &&
                     same(on_host(own_rows, samples * classes), on_host(rows, samples * classes)) &&
                     !same(expected, std::vector<float>(pixels.size()));
  for (void* const memory :
       std::initializer_list<void*>{in, gain, ids, mixed, scaled, rows, own_rows}) {
    must(cudaFree(memory));
  }
  return right;
}

}  // namespace

int main() {
  if (cuda_info().devices == 0) {
    std::fprintf(stderr, "%s\n", cuda_info().absent.c_str());
    return std::getenv("MIXFUSE_REQUIRE_GPU") != nullptr ? 1 : 77;
  }
  cudaStream_t stream = nullptr;
  must(cudaStreamCreate(&stream));
  Spec spec;
  spec.flip = 0.5f;
  spec.policies = {{Mixup{}, 0.4f}, {CutMix{}, 0.4f}};
  bool right = is_right(spec, stream);
  spec.pairing = Pairing::replacement;
  right = is_right(spec, stream) && right;
  must(cudaStreamDestroy(stream));
  std::puts(right ? "the fused kernel's images and targets are those of step_into"
                  : "the fused kernel differs from step_into");
  return right ? 0 : 1;
}
