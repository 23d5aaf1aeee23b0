// SPDX-License-Identifier: Apache-2.0

// A training loop in CUDA: softmax regression on 8 x 8 images of four classes, each step on a batch
// that Mixer mixes by Mixup or CutMix. The step, mixing included, is captured once in a CUDA graph;
// each replay draws anew. Ends with 0 if the classes are learnt; with 77 where there is no GPU.

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <mixfuse/mixfuse.hpp>
#include <stdexcept>
#include <vector>

namespace {

constexpr int samples = 32, side = 8, pixels = side * side, classes = 4, steps = 60;
constexpr float rate = 0.5f;

void must(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// One block a sample: error = softmax(weights image) - target, of every class.
__global__ void errors_of(float* errors, float const* images, float const* targets,
                          float const* weights) {
  __shared__ float logits[classes];
  int const sample = static_cast<int>(blockIdx.x), k = static_cast<int>(threadIdx.x);
  float logit = 0.0f;
  for (int p = 0; p < pixels; ++p) logit += weights[k * pixels + p] * images[sample * pixels + p];
  logits[k] = logit;
  __syncthreads();
  float sum = 0.0f;
  for (int other = 0; other < classes; ++other) sum += expf(logits[other] - logit);
  errors[sample * classes + k] = 1.0f / sum - targets[sample * classes + k];
}

/// One thread a weight.
__global__ void descend(float* weights, float const* errors, float const* images) {
  int const k = static_cast<int>(blockIdx.x), p = static_cast<int>(threadIdx.x);
  float gradient = 0.0f;
  for (int i = 0; i < samples; ++i) {
    gradient += errors[i * classes + k] * images[i * pixels + p];
  }
  weights[k * pixels + p] -= rate * gradient / samples;
}

template <class T>
T* on_device(std::vector<T> const& values) {
  void* memory = nullptr;
  must(cudaMalloc(&memory, values.size() * sizeof(T)));
  must(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return static_cast<T*>(memory);
}

/// Noise, and a bright quarter that says the class.
std::vector<float> make_images(std::vector<std::int64_t> const& labels) {
  std::vector<float> images;
  std::uint32_t noise = 1;
  for (std::int64_t const label : labels) {
    for (int p = 0; p < pixels; ++p) {
      noise = noise * 1664525u + 1013904223u;
      bool const bright = 2 * (p / side / 4) + p % side / 4 == label;
      images.push_back((bright ? 0.5f : 0.0f) + static_cast<float>(noise >> 16) / 65536.0f);
    }
  }
  return images;
}

int right_ones(std::vector<float> const& images, std::vector<std::int64_t> const& labels,
               float const* device_weights) {
  std::vector<float> weights(classes * pixels);
  must(cudaMemcpy(weights.data(), device_weights, weights.size() * sizeof(float),
                  cudaMemcpyDeviceToHost));
  int right = 0;
  for (int i = 0; i < samples; ++i) {
    float logits[classes] = {};
    for (int k = 0; k < classes; ++k) {
      for (int p = 0; p < pixels; ++p)
        logits[k] += weights[k * pixels + p] * images[i * pixels + p];
    }
    if (std::max_element(logits, logits + classes) - logits == labels[i]) ++right;
  }
  return right;
}

int train() {
  using namespace mixfuse;
  std::vector<std::int64_t> labels;
  for (int i = 0; i < samples; ++i) labels.push_back(i % classes);
  std::vector<float> const images = make_images(labels);

  float* const in = on_device(images);
  std::int64_t* const ids = on_device(labels);
  float* const mixed = on_device(std::vector<float>(images.size()));
  float* const targets = on_device(std::vector<float>(samples * classes));
  float* const errors = on_device(std::vector<float>(samples * classes));
  float* const weights = on_device(std::vector<float>(classes * pixels));
  cudaStream_t stream = nullptr;
  must(cudaStreamCreate(&stream));

  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.2f}}, 0.5f}, {CutMix{{1.0f, 1.0f}}, 0.5f}};
  Device const device = Device::cuda();
  Queue const queue = Queue::cuda(stream);
  Mixer mixer(spec, Draw{42}, samples, device, queue);
  Mixed const out{{mixed, DType::f32, {samples, 1, side, side}, device},
                  TensorView(targets, DType::f32, {samples, classes}, device)};
  ConstTensorView const read(in, DType::f32, {samples, 1, side, side}, device);
  ConstTensorView const read_ids(ids, DType::i64, {samples}, device);

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t step = nullptr;
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  mixer(out, {read, read_ids, {}, {}}, queue);
  errors_of<<<samples, classes, 0, stream>>>(errors, mixed, targets, weights);
  descend<<<classes, pixels, 0, stream>>>(weights, errors, mixed);
  must(cudaStreamEndCapture(stream, &graph));
  must(cudaGraphInstantiate(&step, graph, 0));
  for (int i = 0; i < steps; ++i) must(cudaGraphLaunch(step, stream));
  must(cudaStreamSynchronize(stream));

  ErrorWord word;
  error_into(&word, mixer.plan(), queue);
  Draw const next = mixer.read_draw(queue);
  int const right = right_ones(images, labels, weights);
  std::printf("%d of %d right after %llu mixed steps\n", right, samples,
              static_cast<unsigned long long>(next.step));
  must(cudaGraphExecDestroy(step));
  must(cudaGraphDestroy(graph));
  must(cudaStreamDestroy(stream));
  for (void* const memory :
       std::initializer_list<void*>{in, ids, mixed, targets, errors, weights}) {
    must(cudaFree(memory));
  }
  return next.step == steps && right >= samples * 9 / 10 && !word ? 0 : 1;
}

}  // namespace

int main() {
  if (mixfuse::cuda_info().devices == 0) {
    std::fprintf(stderr, "%s\n", mixfuse::cuda_info().absent.c_str());
    return std::getenv("MIXFUSE_REQUIRE_GPU") != nullptr ? 1 : 77;
  }
  return train();
}
