// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "mixfuse/export.hpp"

struct CUstream_st;  // what cudaStream_t points to

namespace mixfuse {

enum class DType : std::uint8_t { u8, boolean, i32, i64, f16, bf16, f32, f64 };

/// Bytes of one element.
[[nodiscard]] MIXFUSE_EXPORT std::size_t size_of(DType dtype) noexcept;
/// "u8", "bool", "i32", "i64", "f16", "bf16", "f32" or "f64".
[[nodiscard]] MIXFUSE_EXPORT char const* name_of(DType dtype) noexcept;

/// Which axes of a batch are which; the first is always the sample. Boxes lie on f, on t, on h and
/// w (every frame of a video alike), or on d, h and w. Flips mirror w.
enum class Layout : std::uint8_t { by_rank, nf, nct, nchw, nhwc, ntchw, ncdhw };

/// "nf", "nct", ...
[[nodiscard]] MIXFUSE_EXPORT char const* name_of(Layout layout) noexcept;

/// Where memory lies.
struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  std::int32_t id = 0;

  [[nodiscard]] static constexpr Device cpu() noexcept { return {}; }
  [[nodiscard]] static constexpr Device cuda(std::int32_t id = 0) noexcept {
    return {Kind::cuda, id};
  }
  friend constexpr bool operator==(Device a, Device b) noexcept {
    return a.kind == b.kind && a.id == b.id;
  }
  friend constexpr bool operator!=(Device a, Device b) noexcept { return !(a == b); }
};

/// Where work is queued: the calling thread with a number of OpenMP threads, or a CUDA stream.
class Queue {
 public:
  /// Work is done when the call returns. 0 threads: as many as OpenMP would take.
  [[nodiscard]] static Queue cpu(int threads = 0) noexcept { return Queue(threads); }
  /// Work is queued on `stream`; a null cudaStream_t is the legacy default stream, and must be
  /// meant: the literals 0 and nullptr do not compile.
  [[nodiscard]] static Queue cuda(CUstream_st* stream) noexcept { return Queue(stream); }
  static Queue cuda(int) = delete;
  static Queue cuda(std::nullptr_t) = delete;

  [[nodiscard]] Device::Kind kind() const noexcept { return kind_; }
  [[nodiscard]] int threads() const noexcept { return threads_; }
  [[nodiscard]] CUstream_st* stream() const noexcept { return stream_; }

 private:
  explicit Queue(int threads) noexcept : kind_{Device::Kind::cpu}, threads_{threads} {}
  explicit Queue(CUstream_st* stream) noexcept : kind_{Device::Kind::cuda}, stream_{stream} {}

  Device::Kind kind_;
  int threads_ = 0;
  CUstream_st* stream_ = nullptr;
};

inline constexpr int max_rank = 5;

/// A tensor in memory that someone else owns. Any alignment that suits its element; strides count
/// elements and are not negative; an input may repeat elements (stride 0), an output may not.
/// Without a shape (rank 0) it stands for "none".
template <class Void>
struct MIXFUSE_EXPORT BasicTensorView {
  Void* data = nullptr;
  DType dtype = DType::f32;
  Layout layout = Layout::by_rank;  ///< by_rank: nf, nct, nchw, ncdhw
  Device device;
  int rank = 0;
  std::int64_t shape[max_rank] = {};
  std::int64_t stride[max_rank] = {};

  BasicTensorView() = default;

  /// C order. Throws invalid_argument when rank > 5 or the size overflows.
  BasicTensorView(Void* memory, DType type, std::initializer_list<std::int64_t> extents,
                  Device where = {}, Layout axes = Layout::by_rank)
      : BasicTensorView(memory, type, extents.begin(), static_cast<int>(extents.size()), where,
                        axes) {}

  BasicTensorView(Void* memory, DType type, std::int64_t const* extents, int count,
                  Device where = {}, Layout axes = Layout::by_rank);

  /// A view to read from.
  template <class Other, class = std::enable_if_t<std::is_void_v<Other> && std::is_const_v<Void> &&
                                                  !std::is_const_v<Other>>>
  BasicTensorView(BasicTensorView<Other> const& view) noexcept  // NOLINT: as T* to T const*
      : data{view.data},
        dtype{view.dtype},
        layout{view.layout},
        device{view.device},
        rank{view.rank} {
    for (int axis = 0; axis < max_rank; ++axis) {
      shape[axis] = view.shape[axis];
      stride[axis] = view.stride[axis];
    }
  }

  [[nodiscard]] bool present() const noexcept { return rank != 0; }
};

using TensorView = BasicTensorView<void>;
using ConstTensorView = BasicTensorView<void const>;

extern template struct BasicTensorView<void>;
extern template struct BasicTensorView<void const>;

/// Own samples, and partners when they come from a second batch of the same shape.
struct Samples {
  ConstTensorView own;
  ConstTensorView partners;

  Samples() = default;
  Samples(TensorView one_batch) : own{one_batch} {}       // NOLINT: a batch is its own partner
  Samples(ConstTensorView one_batch) : own{one_batch} {}  // NOLINT
  Samples(ConstTensorView batch, ConstTensorView second) : own{batch}, partners{second} {}
};

/// In the checked mode each CUDA tensor's address is looked up before a call, so that a host
/// pointer or one of another device is `invalid_argument`. Costs about a microsecond a tensor;
/// off unless MIXFUSE_CHECKED=1 is in the environment when the library is first used.
MIXFUSE_EXPORT void set_checked(bool on) noexcept;

}  // namespace mixfuse
