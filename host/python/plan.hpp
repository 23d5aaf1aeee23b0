// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "host/python/tensor.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse::python {

/// Where a call runs.
struct Place {
  Device device;
  std::uintptr_t stream = 0;  ///< of CUDA; 0: the legacy default one
  int threads = 0;            ///< of the CPU

  [[nodiscard]] Queue queue() const noexcept {
    return device.kind == Device::Kind::cpu ? Queue::cpu(threads)
                                            : Queue::cuda(reinterpret_cast<CUstream_st*>(stream));
  }
};

/// Of the tensor that decides it.
Place place_of(Borrowed const& tensor, nb::handle object, nb::handle stream, nb::handle threads);

/// One more tensor of the call; invalid_argument on another device than `place`'s.
Borrowed at_place(char const* name, nb::handle object, Use use, Place const& place);

/// A new tensor of the framework that `like` is of: mixfuse._frameworks.empty.
nb::object empty(nb::handle like, nb::tuple const& shape, DType dtype);

/// A plan, and where it was drawn.
struct PlanObject {
  Plan plan;
  nb::object memory;  // the framework's, in which the plan lies; or none: its own
  Place place;
};

/// Throws type_error for what is no plan.
PlanObject& plan_of(char const* name, nb::handle object);

/// On CUDA in memory of the framework that `like` is of, if that is known; else in its own.
PlanObject make_plan(std::int64_t capacity, Place const& place, nb::handle like);

/// Where the draw comes from: {seed, step, first}, or one that lives in a tensor.
struct Source {
  nb::handle seed, step, first;
  nb::handle live;      // int64 tensor (3,), or None
  nb::handle schedule;  // (weights, probabilities, probability), each a f32 tensor or None; or None
};

/// Of the host's; without a schedule, which only a live draw follows.
Draw draw_of(Source const& source);
/// What a live draw reads, and where it lives.
Live live_of(Spec const& spec, Source const& source, Place const& place);

/// Draws, with the GIL released.
void draw_into(PlanObject& object, Spec const& spec, Extents const& batch, Source const& source,
               nb::handle partners, Place const& place);

void bind_plan(nb::module_& module);
void bind_mix(nb::module_& module);

}  // namespace mixfuse::python
