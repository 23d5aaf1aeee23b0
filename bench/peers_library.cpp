// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/batch.hpp"
#include "bench/harness.hpp"
#include "mixfuse/mixfuse.hpp"

/// mixfuse as peers.py calls it, through ctypes: beside other frameworks in one process, on their
/// memory and streams. 0 or null is an error, which mixfuse_peers_error() tells.
namespace mixfuse::bench {
namespace {

std::string last_error;

template <class Body>
auto guarded(Body const& body) -> decltype(body()) {
  try {
    return body();
  } catch (std::exception const& error) {
    last_error = error.what();
    return {};
  }
}

Queue queue_of(bool cuda, int threads, void* stream) {
  return cuda ? Queue::cuda(static_cast<CUstream_st*>(stream)) : Queue::cpu(threads);
}

DType dtype_of_name(std::string const& name) {
  for (DType const dtype : {DType::u8, DType::f16, DType::bf16, DType::f32, DType::f64}) {
    if (name == name_of(dtype)) return dtype;
  }
  throw std::invalid_argument(name);
}

struct Peer {
  bool cuda;
  int threads;
  Shape shape;
  Spec spec;
  Normalise normalise;
  Mixer mixer;
  Plan kept;
  std::uint64_t step = 0;
  Plan const* last = nullptr;  ///< that a step mixed by

  [[nodiscard]] Device device() const { return cuda ? Device::cuda() : Device::cpu(); }
  [[nodiscard]] ConstTensorView view(void const* data) const {
    auto const& e = shape.extents;
    if (!shape.normalise) {
      return {data, shape.in, e.data(), static_cast<int>(e.size()), device()};
    }
    return {data, shape.in, {e[0], e[2], e[3], e[1]}, device(), Layout::nhwc};
  }
};

}  // namespace
}  // namespace mixfuse::bench

using namespace mixfuse;
using namespace mixfuse::bench;

#define MIXFUSE_PEERS extern "C" [[gnu::visibility("default")]]

MIXFUSE_PEERS char const* mixfuse_peers_error() { return last_error.c_str(); }

/// A report without contests: the machine, versions and date.
MIXFUSE_PEERS char const* mixfuse_peers_report(int cuda, int threads, char const* commit) {
  return guarded([&]() -> char const* {
    static std::string json;
    Lane const lane(cuda ? Device::cuda() : Device::cpu(), threads);
    json = Report(lane, "peers.py", commit).json();
    return json.c_str();
  });
}

MIXFUSE_PEERS int mixfuse_peers_copy(int threads, void* to, void const* from, std::size_t size,
                                     int non_temporal) {
  return guarded([&] {
    Lane const lane(Device::cpu(), threads);
    if (non_temporal) return copy_non_temporal(lane, to, from, size) ? 1 : 0;
    copy(lane, to, from, size);
    return 1;
  });
}

MIXFUSE_PEERS void* mixfuse_peers_make(int cuda, int threads, char const* shape, char const* in,
                                       char const* out, int normalise, int roll, double mean,
                                       double deviation, void* stream) {
  return guarded([&]() -> void* {
    Shape const made{extents_of_name(shape), dtype_of_name(in), dtype_of_name(out), normalise != 0};
    Spec spec = mixup_of(made);
    spec.flip = 0.0f;  // as its peers
    if (roll) {
      spec.pairing = Pairing::roll;
      spec.granularity = Granularity::batch;
    }
    Normalise affine;
    if (normalise) affine = {1, {mean}, {deviation}};
    Device const device = cuda ? Device::cuda() : Device::cpu();
    Queue const queue = queue_of(cuda != 0, threads, stream);
    auto peer =
        std::unique_ptr<Peer>(new Peer{cuda != 0, threads, made, spec, affine,
                                       Mixer(spec, first_draw, made.samples(), device, queue),
                                       Plan(made.samples(), device, queue)});
    Extents const extents = extents_of(peer->view(peer.get()));  // any address will do
    plan_into(peer->kept, spec, extents, first_draw, queue);
    return peer.release();
  });
}

MIXFUSE_PEERS int mixfuse_peers_step(void* handle, void* out, void const* in, int drawn,
                                     void* stream) {
  return guarded([&] {
    Peer& peer = *static_cast<Peer*>(handle);
    Queue const queue = queue_of(peer.cuda, peer.threads, stream);
    auto const& e = peer.shape.extents;
    TensorView const mixed{out, peer.shape.out, e.data(), static_cast<int>(e.size()),
                           peer.device()};
    if (drawn) {
      peer.mixer({mixed}, {peer.view(in), {}, {}, peer.normalise}, queue);
    } else {
      mix_into(mixed, peer.view(in), peer.normalise, peer.kept, queue);
    }
    peer.last = drawn ? &peer.mixer.plan() : &peer.kept;
    return 1;
  });
}

/// `count` steps of images and, where there are `ids`, labels: what calls cost without Python.
MIXFUSE_PEERS int mixfuse_peers_steps(void* handle, void* out, void const* in, void* targets,
                                      void const* ids, std::int64_t classes, int count,
                                      void* stream) {
  return guarded([&] {
    Peer& peer = *static_cast<Peer*>(handle);
    Queue const queue = queue_of(peer.cuda, peer.threads, stream);
    std::int64_t const samples = peer.shape.samples();
    auto const& e = peer.shape.extents;
    for (int i = 0; i < count; ++i) {
      ConstTensorView const images = peer.view(in);
      TensorView const mixed{out, peer.shape.out, e.data(), static_cast<int>(e.size()),
                             peer.device()};
      plan_into(peer.kept, peer.spec, extents_of(images), Draw{1, peer.step++, 0}, queue);
      if (ids == nullptr) {
        mix_into(mixed, images, peer.kept, queue);
      } else {
        ConstTensorView const labels(ids, DType::i64, {samples}, peer.device());
        TensorView const rows(targets, DType::f32, {samples, classes}, peer.device());
        step_into({mixed, rows}, {images, labels}, peer.kept, queue);
      }
    }
    return 1;
  });
}

/// Dense f32 targets of i64 ids, by the plan that was kept.
MIXFUSE_PEERS int mixfuse_peers_label(void* handle, void* targets, void const* ids,
                                      std::int64_t classes, void* stream) {
  return guarded([&] {
    Peer& peer = *static_cast<Peer*>(handle);
    std::int64_t const samples = peer.shape.samples();
    TensorView const rows(targets, DType::f32, {samples, classes}, peer.device());
    ConstTensorView const labels(ids, DType::i64, {samples}, peer.device());
    label_into(rows, labels, {}, peer.kept, queue_of(peer.cuda, peer.threads, stream));
    peer.last = &peer.kept;
    return 1;
  });
}

MIXFUSE_PEERS int mixfuse_peers_rows(void* handle, std::int32_t* partner, float* weight,
                                     void* stream) {
  return guarded([&] {
    Peer& peer = *static_cast<Peer*>(handle);
    for (Row const& row : read_rows(*peer.last, queue_of(peer.cuda, peer.threads, stream))) {
      *partner++ = row.partner;
      *weight++ = row.outside;
    }
    return 1;
  });
}

MIXFUSE_PEERS void mixfuse_peers_free(void* handle) { delete static_cast<Peer*>(handle); }
