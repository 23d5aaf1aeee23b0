// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "kernels/job.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

/// "cpu" or "cuda:0".
std::string name_of(Device device);
/// Printed as "(2, 3, 4)", which checks that pass have no need of.
struct TensorShape {
  int rank = 0;
  std::int64_t lengths[max_rank] = {};

  friend bool operator==(TensorShape const&, TensorShape const&) = default;
};
std::ostream& operator<<(std::ostream& out, TensorShape const& shape);
TensorShape shape_of(ConstTensorView const& view);

inline bool is_float(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 || dtype == DType::f64;
}

/// a * b, or an error that names the argument.
std::int64_t product(char const* name, std::int64_t a, std::int64_t b);
std::int64_t elements_of(ConstTensorView const& view);
Layout layout_of(char const* name, ConstTensorView const& images);
/// 1 where the layout has no channel axis.
std::int64_t channels_of(ConstTensorView const& images);

enum class Access { read, write };

/// TensorShape, strides, address and, in the checked mode, the device.
void check_tensor(char const* name, ConstTensorView const& view, Access access);
/// Neither touches a byte of the other.
void check_apart(char const* name, ConstTensorView const& view, char const* other_name,
                 ConstTensorView const& other);
/// The same device for all, and a queue of its kind.
void check_device(char const* name, Device device, Device expected);
void check_queue(Device device, Queue const& queue);
/// The samples and spatial axes that the plan was made for.
void check_extents(char const* name, ConstTensorView const& images, Extents const& batch);

/// How to walk `out`, with the strides of the others on the same axes. Shapes must agree.
Walk walk_of(ConstTensorView const& out, ConstTensorView const& own,
             ConstTensorView const& partners);

}  // namespace mixfuse
