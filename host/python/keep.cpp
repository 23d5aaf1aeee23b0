// SPDX-License-Identifier: Apache-2.0
#include "host/python/keep.hpp"

#include "host/cuda.hpp"

#if MIXFUSE_HAS_CUDA

#include <cuda_runtime_api.h>

#include <vector>

namespace mixfuse::python {
namespace {

struct Kept {
  cudaEvent_t passed;
  PyObject* objects;
};

/// Guarded by the GIL; what is left at exit is left to the process.
std::vector<Kept>& all_kept() {
  static auto* const kept = new std::vector<Kept>;
  return *kept;
}

void drop_what_has_passed() {
  // Another thread may be capturing a graph that forbids asking.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  std::vector<PyObject*> passed;
  std::erase_if(all_kept(), [&](Kept const& kept) {
    if (cudaEventQuery(kept.passed) != cudaSuccess) {
      cudaGetLastError();  // it is not ready, which is no error
      return false;
    }
    cudaEventDestroy(kept.passed);
    passed.push_back(kept.objects);
    return true;
  });
  cudaThreadExchangeStreamCaptureMode(&mode);
  for (PyObject* const objects : passed) Py_DECREF(objects);  // which may call anything
}

}  // namespace

void keep(nb::object objects, Place const& place) {
  if (place.device.kind != Device::Kind::cuda) return;
  cuda::DeviceGuard const guard(place.device.id);
  auto* const stream = reinterpret_cast<cudaStream_t>(place.stream);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cuda::check(cudaStreamIsCapturing(stream, &status), "stream");
  if (status != cudaStreamCaptureStatusNone) return;  // a graph's memory is its owner's to keep
  drop_what_has_passed();
  Kept kept{};
  cuda::check(cudaEventCreateWithFlags(&kept.passed, cudaEventDisableTiming), "event");
  cuda::check(cudaEventRecord(kept.passed, stream), "event");
  kept.objects = objects.release().ptr();
  all_kept().push_back(kept);
}

}  // namespace mixfuse::python

#else

namespace mixfuse::python {
void keep(nb::object, Place const&) {}
}  // namespace mixfuse::python

#endif
