// SPDX-License-Identifier: Apache-2.0

// A preprocessing stage without a model. Batches of u8 pixels, as a decoder leaves them in pinned
// memory, are uploaded on one stream; on another each is flipped, normalised and mixed to f16
// planes in one pass; an event hands it on to whoever comes next, here a stream that downloads it.
// Every buffer is there twice, so that a batch is uploaded while the one before it is mixed, and
// nothing waits but the host for a pinned buffer to be read. Ends with 0 if all that comes out has
// the CPU backend's bits; with 77 where there is no GPU.

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mixfuse/mixfuse.hpp>
#include <stdexcept>
#include <vector>

namespace {

using namespace mixfuse;

constexpr std::int64_t samples = 24, side = 16, channels = 3, classes = 10;
constexpr std::int64_t values = samples * side * side * channels;
constexpr int slots = 2, batches = 7;
constexpr Draw first_draw{42, 0, 0};

void must(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { must(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(handle); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
};

/// What was queued on one stream, for others to wait for.
struct Event {
  cudaEvent_t handle = nullptr;
  Event() { must(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(handle); }
  Event(Event const&) = delete;
  Event& operator=(Event const&) = delete;

  void record(Stream const& stream) { must(cudaEventRecord(handle, stream.handle)); }
  void hold(Stream const& stream) const { must(cudaStreamWaitEvent(stream.handle, handle, 0)); }
  void wait() const { must(cudaEventSynchronize(handle)); }
};

enum class Where { pinned, device };

template <class T>
struct Buffer {
  T* data = nullptr;
  std::size_t bytes = 0;
  Where where;

  Buffer(Where place, std::int64_t count)
      : bytes{static_cast<std::size_t>(count) * sizeof(T)}, where{place} {
    void* memory = nullptr;
    must(where == Where::pinned ? cudaMallocHost(&memory, bytes) : cudaMalloc(&memory, bytes));
    data = static_cast<T*>(memory);
  }
  ~Buffer() { where == Where::pinned ? cudaFreeHost(data) : cudaFree(data); }
  Buffer(Buffer const&) = delete;
  Buffer& operator=(Buffer const&) = delete;
};

template <class T>
void copy(Buffer<T>& to, Buffer<T> const& from, Stream const& stream) {
  must(cudaMemcpyAsync(to.data, from.data, from.bytes, cudaMemcpyDefault, stream.handle));
}

/// A batch on its way. A buffer is free again when the event of its reader has passed.
struct Slot {
  Buffer<std::uint8_t> decoded{Where::pinned, values}, pixels{Where::device, values};
  Buffer<std::int32_t> decoded_ids{Where::pinned, samples}, ids{Where::device, samples};
  Buffer<std::uint16_t> mixed{Where::device, values}, received{Where::pinned, values};
  Buffer<float> targets{Where::device, samples* classes};
  Buffer<float> received_targets{Where::pinned, samples* classes};
  Event uploaded, ready, taken;
};

/// A decoder's batch: pixels and class ids that depend on its number.
void decode(int batch, std::uint8_t* pixels, std::int32_t* ids) {
  std::uint32_t noise = static_cast<std::uint32_t>(batch) + 1;
  for (std::int64_t i = 0; i < values; ++i) {
    noise = noise * 1664525u + 1013904223u;
    pixels[i] = static_cast<std::uint8_t>(noise >> 24);
  }
  for (std::int64_t i = 0; i < samples; ++i) ids[i] = static_cast<std::int32_t>((i + batch) % 10);
}

Spec spec() {
  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.2f}}, 0.5f}, {CutMix{{1.0f, 1.0f}}, 0.5f}};
  spec.flip = 0.5f;
  return spec;
}

/// ImageNet's.
Normalise normalise() {
  Normalise map;
  map.channels = channels;
  double const means[channels] = {0.485, 0.456, 0.406},
               deviations[channels] = {0.229, 0.224, 0.225};
  std::copy_n(means, channels, map.mean);
  std::copy_n(deviations, channels, map.std);
  return map;
}

void mix(Mixer& mixer, void* mixed, float* targets, std::uint8_t const* pixels,
         std::int32_t const* ids, Device device, Queue queue) {
  TensorView const planes(mixed, DType::f16, {samples, channels, side, side}, device);
  TensorView const rows(targets, DType::f32, {samples, classes}, device);
  ConstTensorView const images(pixels, DType::u8, {samples, side, side, channels}, device,
                               Layout::nhwc);
  ConstTensorView const labels(ids, DType::i32, {samples}, device);
  mixer({planes, rows}, {images, labels, {}, normalise()}, queue);
}

/// Values that differ from what the CPU backend makes of the batch.
std::int64_t differences(Mixer& reference, int batch, Slot const& slot) {
  std::vector<std::uint8_t> pixels(values);
  std::vector<std::int32_t> ids(samples);
  std::vector<std::uint16_t> mixed(values);
  std::vector<float> targets(samples * classes);
  decode(batch, pixels.data(), ids.data());
  mix(reference, mixed.data(), targets.data(), pixels.data(), ids.data(), Device::cpu(),
      Queue::cpu());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < mixed.size(); ++i) count += mixed[i] != slot.received.data[i];
  for (std::size_t i = 0; i < targets.size(); ++i) {
    count += targets[i] != slot.received_targets.data[i];
  }
  return count;
}

int run() {
  Stream upload, work, next;
  Slot ring[slots];
  Device const device = Device::cuda();
  Queue const queue = Queue::cuda(work.handle);
  Mixer mixer(spec(), first_draw, samples, device, queue);
  Mixer reference(spec(), first_draw, samples, Device::cpu(), Queue::cpu());

  std::int64_t wrong = 0;
  auto const check = [&](int batch) {
    Slot const& slot = ring[batch % slots];
    slot.taken.wait();
    wrong += differences(reference, batch, slot);
  };
  for (int batch = 0; batch < batches; ++batch) {
    Slot& slot = ring[batch % slots];
    if (batch >= slots) check(batch - slots);

    slot.uploaded.wait();  // the pinned buffers have been read
    decode(batch, slot.decoded.data, slot.decoded_ids.data);
    slot.ready.hold(upload);  // the batch that lay there has been mixed
    copy(slot.pixels, slot.decoded, upload);
    copy(slot.ids, slot.decoded_ids, upload);
    slot.uploaded.record(upload);

    slot.uploaded.hold(work);
    slot.taken.hold(work);  // the mixed one that lay there has been read
    mix(mixer, slot.mixed.data, slot.targets.data, slot.pixels.data, slot.ids.data, device, queue);
    slot.ready.record(work);

    slot.ready.hold(next);  // where training would go on
    copy(slot.received, slot.mixed, next);
    copy(slot.received_targets, slot.targets, next);
    slot.taken.record(next);
  }
  for (int batch = batches - slots; batch < batches; ++batch) check(batch);
  std::printf("%d batches of %lld x %lld x %lld x %lld pixels, %lld values differ from the CPU's\n",
              batches, static_cast<long long>(samples), static_cast<long long>(side),
              static_cast<long long>(side), static_cast<long long>(channels),
              static_cast<long long>(wrong));
  return wrong == 0 && mixer.read_draw(queue).step == batches ? 0 : 1;
}

}  // namespace

int main() {
  if (cuda_info().devices == 0) {
    std::fprintf(stderr, "%s\n", cuda_info().absent.c_str());
    return std::getenv("MIXFUSE_REQUIRE_GPU") != nullptr ? 1 : 77;
  }
  return run();
}
