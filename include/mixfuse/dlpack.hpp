// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mixfuse/dlpack.h"
#include "mixfuse/export.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse {

/// A view of a tensor that some framework hands over by DLPack, any version of it.
///
/// Pinned memory counts as the CPU's, managed memory as CUDA's. Without strides it is in C order;
/// an axis of 0 or 1 elements may have any stride. A tensor without elements may have no data.
/// Throws, naming the argument `name`, invalid_argument (rank 0 or above 5, no shape, a negative
/// extent, no data, an address that does not suit the element) and unsupported (a device that is
/// neither CPU nor CUDA, a dtype that is not one of `DType`, several lanes, a negative stride).
[[nodiscard]] MIXFUSE_EXPORT TensorView from_dlpack(char const* name, DLTensor const& tensor,
                                                    Layout layout = Layout::by_rank);

/// The device alone. Throws unsupported, naming the argument.
[[nodiscard]] MIXFUSE_EXPORT Device from_dlpack(char const* name, DLDevice device);

}  // namespace mixfuse
