// SPDX-License-Identifier: Apache-2.0
#pragma once

// C++ values as C callers would make them.

#include <algorithm>
#include <cstring>
#include <variant>
#include <vector>

#include "mixfuse/mixfuse.h"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse::test {

inline DLDevice dl_device(Device device) {
  return {device.kind == Device::Kind::cpu ? kDLCPU : kDLCUDA, device.id};
}

inline DLDataType dl_dtype(DType dtype) {
  auto const bits = static_cast<std::uint8_t>(8 * size_of(dtype));
  switch (dtype) {
    case DType::u8:
      return {kDLUInt, bits, 1};
    case DType::boolean:
      return {6, bits, 1};
    case DType::i32:
    case DType::i64:
      return {kDLInt, bits, 1};
    case DType::bf16:
      return {kDLBfloat, bits, 1};
    default:
      return {kDLFloat, bits, 1};
  }
}

/// A view as a framework hands it over; owns shape and strides.
class Handed {
 public:
  Handed(TensorView const& view) {  // NOLINT: a view is handed over
    std::copy(view.shape, view.shape + view.rank, shape_);
    std::copy(view.stride, view.stride + view.rank, strides_);
    tensor_.data = view.data;
    tensor_.device = dl_device(view.device);
    tensor_.ndim = view.rank;
    tensor_.dtype = dl_dtype(view.dtype);
    tensor_.shape = shape_;
    tensor_.strides = strides_;
  }
  Handed(Handed const&) = delete;
  Handed& operator=(Handed const&) = delete;

  operator DLTensor*() { return &tensor_; }  // NOLINT
  DLTensor* operator->() { return &tensor_; }

 private:
  DLTensor tensor_{};
  std::int64_t shape_[max_rank] = {};
  std::int64_t strides_[max_rank] = {};
};

inline mixfuse_queue c_queue(Queue queue) {
  return queue.kind() == Device::Kind::cpu ? mixfuse_cpu_queue(queue.threads())
                                           : mixfuse_cuda_queue(queue.stream());
}

inline mixfuse_draw c_draw(Draw draw) { return {draw.seed, draw.step, draw.first}; }

inline mixfuse_extents c_extents(Extents const& from) {
  mixfuse_extents extents = mixfuse_make_extents();
  extents.axes = from.axes;
  extents.width = from.width ? 1 : 0;
  extents.samples = from.samples;
  std::copy(from.spatial, from.spatial + 3, extents.spatial);
  return extents;
}

/// A spec and the policies that it points to.
struct CSpec {
  explicit CSpec(Spec const& from) {
    for (Choice const& choice : from.policies) {
      auto const* const mixup = std::get_if<Mixup>(&choice.policy);
      auto const* const cutmix = std::get_if<CutMix>(&choice.policy);
      mixfuse_policy policy =
          mixfuse_make_policy(mixup != nullptr ? MIXFUSE_POLICY_MIXUP : MIXFUSE_POLICY_CUTMIX);
      policy.probability = choice.probability;
      Beta const weight = mixup != nullptr ? mixup->weight : cutmix->weight;
      policy.a = weight.a;
      policy.b = weight.b;
      policy.fold = static_cast<int>(mixup != nullptr ? mixup->fold : cutmix->fold);
      if (cutmix != nullptr) {
        policy.boxes = static_cast<int>(cutmix->boxes.kind);
        policy.lo = cutmix->boxes.lo;
        policy.hi = cutmix->boxes.hi;
      }
      policies.push_back(policy);
    }
    spec = mixfuse_make_spec(policies.data(), static_cast<std::uint32_t>(policies.size()));
    spec.probability = from.probability;
    spec.flip = from.flip;
    spec.pairing = static_cast<int>(from.pairing);
    spec.granularity = static_cast<int>(from.granularity);
    spec.group = from.group;
  }
  CSpec(CSpec const&) = delete;
  CSpec& operator=(CSpec const&) = delete;

  std::vector<mixfuse_policy> policies;
  mixfuse_spec spec;
};

inline std::vector<mixfuse_row> c_rows(std::vector<Row> const& rows) {
  std::vector<mixfuse_row> made(rows.size());
  if (!rows.empty()) std::memcpy(made.data(), rows.data(), rows.size() * sizeof(Row));
  return made;
}

inline std::vector<Row> cpp_rows(std::vector<mixfuse_row> const& rows) {
  std::vector<Row> made(rows.size());
  if (!rows.empty())
    std::memcpy(static_cast<void*>(made.data()), rows.data(), rows.size() * sizeof(Row));
  return made;
}

}  // namespace mixfuse::test
