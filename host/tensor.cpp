// SPDX-License-Identifier: Apache-2.0
#include "host/tensor.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>

#include "host/check.hpp"
#include "host/cuda.hpp"

namespace mixfuse {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

std::atomic<bool>& checked() {
  static std::atomic<bool> on{[] {
    char const* const value = std::getenv("MIXFUSE_CHECKED");
    return value != nullptr && value[0] == '1';
  }()};
  return on;
}

/// Offset of the last byte and one.
std::int64_t span_of(char const* name, ConstTensorView const& view) {
  std::int64_t last = 0;
  for (int axis = 0; axis < view.rank; ++axis) {
    std::int64_t const reach = product(name, view.shape[axis] - 1, view.stride[axis]);
    require(last <= most - reach, name, ": its size exceeds 64 bits");
    last += reach;
  }
  return product(name, last + 1, static_cast<std::int64_t>(size_of(view.dtype)));
}

bool is_empty(ConstTensorView const& view) {
  return std::find(view.shape, view.shape + view.rank, 0) != view.shape + view.rank;
}

/// Every element has an address of its own when, from the smallest stride up, each is beyond all
/// that the smaller ones reach.
bool repeats_itself(ConstTensorView const& view) {
  std::multimap<std::int64_t, std::int64_t> lengths;  // by stride
  for (int axis = 0; axis < view.rank; ++axis) {
    if (view.shape[axis] > 1) lengths.emplace(view.stride[axis], view.shape[axis]);
  }
  std::int64_t reach = 0;
  for (auto const& [stride, length] : lengths) {
    if (stride <= reach) return true;
    reach += (length - 1) * stride;
  }
  return false;
}

/// Which axis of a layout is which: frame, channel, d, h, line; -1 where it has none.
struct Axes {
  int rank, frame, channel, d, h, line;
};

constexpr Axes axes_of(Layout layout) {
  switch (layout) {
    case Layout::nf:
      return {2, -1, -1, -1, -1, 1};
    case Layout::nct:
      return {3, -1, 1, -1, -1, 2};
    case Layout::nhwc:
      return {4, -1, 3, -1, 1, 2};
    case Layout::ntchw:
      return {5, 1, 2, -1, 3, 4};
    case Layout::ncdhw:
      return {5, -1, 1, 2, 3, 4};
    default:
      return {4, -1, 1, -1, 2, 3};
  }
}

}  // namespace

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::u8:
    case DType::boolean:
      return 1;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i32:
    case DType::f32:
      return 4;
    default:
      return 8;
  }
}

char const* name_of(DType dtype) noexcept {
  constexpr std::array names{"u8", "bool", "i32", "i64", "f16", "bf16", "f32", "f64"};
  auto const index = static_cast<std::size_t>(dtype);
  return index < names.size() ? names[index] : "unknown";
}

char const* name_of(Layout layout) noexcept {
  constexpr std::array names{"by_rank", "nf", "nct", "nchw", "nhwc", "ntchw", "ncdhw"};
  auto const index = static_cast<std::size_t>(layout);
  return index < names.size() ? names[index] : "unknown";
}

std::string name_of(Device device) {
  return device.kind == Device::Kind::cpu ? "cpu" : "cuda:" + std::to_string(device.id);
}

std::ostream& operator<<(std::ostream& out, TensorShape const& shape) {
  out << '(';
  for (int axis = 0; axis < shape.rank; ++axis)
    out << (axis == 0 ? "" : ", ") << shape.lengths[axis];
  return out << ')';
}

TensorShape shape_of(ConstTensorView const& view) {
  TensorShape shape;
  shape.rank = view.rank;
  std::copy_n(view.shape, max_rank, shape.lengths);
  return shape;
}

template <class Void>
BasicTensorView<Void>::BasicTensorView(Void* memory, DType type, std::int64_t const* extents,
                                       int count, Device where, Layout axes)
    : data{memory}, dtype{type}, layout{axes}, device{where}, rank{count} {
  require(count >= 0 && count <= max_rank, "shape: rank ", count, ", expected at most ", max_rank);
  std::int64_t size = 1;
  for (int axis = count - 1; axis >= 0; --axis) {
    require(extents[axis] >= 0, "shape: axis ", axis, " is ", extents[axis],
            ", expected 0 or more");
    shape[axis] = extents[axis];
    stride[axis] = size;
    size = product("shape", size, std::max<std::int64_t>(extents[axis], 1));
  }
}

template struct BasicTensorView<void>;
template struct BasicTensorView<void const>;

void set_checked(bool on) noexcept { checked() = on; }

std::int64_t product(char const* name, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  require(!__builtin_mul_overflow(a, b, &result), name, ": its size exceeds 64 bits");
  return result;
}

std::int64_t elements_of(ConstTensorView const& view) {
  std::int64_t count = 1;
  for (int axis = 0; axis < view.rank; ++axis) count *= view.shape[axis];
  return count;
}

void check_tensor(char const* name, ConstTensorView const& view, Access access) {
  require(view.rank >= 1 && view.rank <= max_rank, name, ": rank ", view.rank, ", expected 1 to ",
          max_rank);
  require<unsupported>(static_cast<int>(view.dtype) <= static_cast<int>(DType::f64), name,
                       ": unknown dtype ", static_cast<int>(view.dtype));
  std::int64_t size = 1;
  for (int axis = 0; axis < view.rank; ++axis) {
    require(view.shape[axis] >= 0, name, ": axis ", axis, " is ", view.shape[axis],
            ", expected 0 or more");
    require<unsupported>(view.stride[axis] >= 0, name, ": stride ", view.stride[axis], " of axis ",
                         axis, ", negative strides are not built");
    size = product(name, size, std::max<std::int64_t>(view.shape[axis], 1));
  }
  if (is_empty(view)) return;
  span_of(name, view);
  require(view.data != nullptr, name, ": null pointer with shape ", shape_of(view));
  require(reinterpret_cast<std::uintptr_t>(view.data) % size_of(view.dtype) == 0, name,
          ": address is not a multiple of its element's ", size_of(view.dtype), " bytes");
  require(access == Access::read || !repeats_itself(view), name,
          ": its strides give several elements one address");
  if (view.device.kind == Device::Kind::cuda && checked()) {
    require(cuda::is_reachable(view.data, view.device.id), name, ": address is not memory of ",
            name_of(view.device));
  }
}

void check_apart(char const* name, ConstTensorView const& view, char const* other_name,
                 ConstTensorView const& other) {
  if (is_empty(view) || is_empty(other) || view.device != other.device) return;
  auto const begin = [](ConstTensorView const& v) {
    return reinterpret_cast<std::uintptr_t>(v.data);
  };
  auto const end = [&](char const* of, ConstTensorView const& v) {
    return begin(v) + static_cast<std::uintptr_t>(span_of(of, v));
  };
  require(end(name, view) <= begin(other) || end(other_name, other) <= begin(view), name,
          ": overlaps ", other_name);
}

void check_device(char const* name, Device device, Device expected) {
  require(device == expected, name, ": on ", name_of(device), ", expected ", name_of(expected));
}

void check_queue(Device device, Queue const& queue) {
  require(queue.kind() == device.kind, "queue: a ",
          queue.kind() == Device::Kind::cpu ? "cpu" : "cuda", " queue for a tensor on ",
          name_of(device));
  require(queue.threads() >= 0, "queue: ", queue.threads(), " threads, expected 0 or more");
}

Layout layout_of(char const* name, ConstTensorView const& images) {
  require(images.rank >= 2 && images.rank <= max_rank, name, ": rank ", images.rank,
          ", expected 2 to ", max_rank);
  if (images.layout == Layout::by_rank) {
    constexpr std::array layouts{Layout::nf, Layout::nct, Layout::nchw, Layout::ncdhw};
    return layouts[static_cast<std::size_t>(images.rank - 2)];
  }
  require<unsupported>(static_cast<int>(images.layout) <= static_cast<int>(Layout::ncdhw), name,
                       ": unknown layout ", static_cast<int>(images.layout));
  require(images.rank == axes_of(images.layout).rank, name, ": rank ", images.rank, " for layout ",
          name_of(images.layout));
  return images.layout;
}

std::int64_t channels_of(ConstTensorView const& images) {
  int const axis = axes_of(layout_of("images", images)).channel;
  return axis < 0 ? 1 : images.shape[axis];
}

Extents extents_of(ConstTensorView const& images) {
  Layout const layout = layout_of("images", images);
  Axes const axes = axes_of(layout);
  Extents extents;
  extents.samples = images.shape[0];
  for (int const axis : {axes.d, axes.h, axes.line}) {
    if (axis >= 0) extents.spatial[extents.axes++] = images.shape[axis];
  }
  for (int axis = 0; axis < images.rank; ++axis) {
    require(images.shape[axis] >= 0, "images: axis ", axis, " is ", images.shape[axis],
            ", expected 0 or more");
  }
  extents.width = layout != Layout::nf && layout != Layout::nct;
  return extents;
}

void check_extents(char const* name, ConstTensorView const& images, Extents const& batch) {
  layout_of(name, images);
  Extents const own = extents_of(images);
  require(own.samples == batch.samples, name, ": ", own.samples, " samples, the plan has ",
          batch.samples);
  require(own.axes == batch.axes && std::equal(own.spatial, own.spatial + own.axes, batch.spatial),
          name, ": shape ", shape_of(images), " does not have the plan's spatial axes");
}

Walk walk_of(ConstTensorView const& out, ConstTensorView const& own,
             ConstTensorView const& partners) {
  Axes const axes = axes_of(layout_of("out", out));
  Axes const own_axes = axes_of(layout_of("images", own));
  Axes const partner_axes = axes_of(layout_of("partners", partners));
  bool const last = axes.channel > axes.line;

  Walk walk{};
  walk.elements = 1;
  int boxes = 0;
  for (int slot = 0; slot < Walk::axes; ++slot) {
    auto const pick = [&](Axes const& a) {
      std::array<int, Walk::axes> const of{a.frame, last ? -1 : a.channel, a.d, a.h,
                                           a.line,  last ? a.channel : -1};
      return of[static_cast<std::size_t>(slot)];
    };
    auto const stride = [](ConstTensorView const& view, int axis) {
      return axis < 0 ? 0 : view.stride[axis];
    };
    int const axis = pick(axes), own_axis = pick(own_axes), partner_axis = pick(partner_axes);
    std::int64_t const extent = axis < 0 ? 1 : out.shape[axis];
    require((own_axis < 0) == (axis < 0) && (axis < 0 || own.shape[own_axis] == extent),
            "out: shape ", shape_of(out), ", images have ", shape_of(own));
    require(
        (partner_axis < 0) == (axis < 0) && (axis < 0 || partners.shape[partner_axis] == extent),
        "partners: shape ", shape_of(partners), ", images have ", shape_of(own));
    walk.extent[slot] = extent;
    walk.out[slot] = stride(out, axis);
    walk.own[slot] = stride(own, own_axis);
    walk.partners[slot] = stride(partners, partner_axis);
    bool const spatial = axis >= 0 && (axis == axes.d || axis == axes.h || axis == axes.line);
    walk.box_axis[slot] = static_cast<std::int8_t>(spatial ? boxes++ : -1);
    walk.elements *= extent;
  }
  if (walk.elements > 0 && walk.elements < maths::Divisor::end) {
    for (int slot = 0; slot < Walk::axes; ++slot) {
      walk.by[slot] = maths::divisor(walk.extent[slot]);
    }
  }
  return walk;
}

}  // namespace mixfuse
