// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/dlpack.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "host/check.hpp"
#include "host/tensor.hpp"

namespace mixfuse {
namespace {

// By number: older DLPack headers do not name them all.
enum DeviceCode { on_cpu = 1, on_cuda = 2, pinned = 3, managed = 13 };
enum DTypeCode { signed_int = 0, unsigned_int = 1, ieee_float = 2, bfloat = 4, boolean = 6 };

std::string name_of(DLDataType dtype) {
  constexpr std::array kinds{"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  return dtype.code < kinds.size()
             ? message(kinds[dtype.code], int{dtype.bits})
             : message("dtype code ", int{dtype.code}, " of ", int{dtype.bits}, " bits");
}

DType dtype_of(char const* name, DLDataType dtype) {
  struct {
    int code, bits;
    DType dtype;
  } constexpr known[] = {{unsigned_int, 8, DType::u8}, {boolean, 8, DType::boolean},
                         {signed_int, 32, DType::i32}, {signed_int, 64, DType::i64},
                         {ieee_float, 16, DType::f16}, {bfloat, 16, DType::bf16},
                         {ieee_float, 32, DType::f32}, {ieee_float, 64, DType::f64}};
  require<unsupported>(dtype.lanes == 1, name, ": ", dtype.lanes, " lanes, expected 1");
  auto const* const found = std::find_if(std::begin(known), std::end(known), [&](auto const& one) {
    return one.code == dtype.code && one.bits == dtype.bits;
  });
  if (found == std::end(known)) {  // the name is a text to make, so not for every tensor
    throw unsupported(message(
        name, ": ", name_of(dtype),
        ", expected uint8, bool8, int32, int64, float16, bfloat16, float32 or ", "float64"));
  }
  return found->dtype;
}

}  // namespace

Device from_dlpack(char const* name, DLDevice device) {
  std::int32_t type;  // copied, since of an older header's enum only its own values can be loaded
  static_assert(sizeof type == sizeof device.device_type);
  std::memcpy(&type, &device.device_type, sizeof type);
  switch (type) {
    case on_cpu:
    case pinned:
      return Device::cpu();
    case on_cuda:
    case managed:
      return Device::cuda(device.device_id);
    default:
      throw unsupported(message(name, ": on DLPack device ", type,
                                ", expected CPU (1), CUDA (2), pinned (3) or managed (13) memory"));
  }
}

TensorView from_dlpack(char const* name, DLTensor const& tensor, Layout layout) {
  require(tensor.ndim >= 1 && tensor.ndim <= max_rank, name, ": rank ", tensor.ndim,
          ", expected 1 to ", max_rank);
  require(tensor.shape != nullptr, name, ".shape: null pointer with rank ", tensor.ndim);
  TensorView view;
  view.dtype = dtype_of(name, tensor.dtype);
  view.layout = layout;
  view.device = from_dlpack(name, tensor.device);
  view.rank = tensor.ndim;
  std::int64_t size = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    std::int64_t const extent = tensor.shape[axis];
    view.shape[axis] = extent;
    view.stride[axis] = tensor.strides != nullptr && extent > 1 ? tensor.strides[axis] : size;
    size = product(name, size, std::max<std::int64_t>(extent, 1));
  }
  if (tensor.data != nullptr) view.data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  check_tensor(name, view, Access::read);
  return view;
}

}  // namespace mixfuse
