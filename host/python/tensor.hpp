// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>

#include "mixfuse/dlpack.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse::python {

namespace nb = nanobind;

enum class Use { read, write };

/// A tensor of any DLPack producer, borrowed for one call.
///
/// In this order: the exchange API; `__dlpack__(stream=, max_version=(1, 3))`; without max_version;
/// without arguments; TensorFlow's function. A capsule itself will do as well.
class Borrowed {
 public:
  /// Finds out where the tensor lies. Throws type_error for what is no tensor, and for an output
  /// that is a JAX array; invalid_argument for a capsule that was used before.
  Borrowed(char const* name, nb::handle object, Use use);
  ~Borrowed();
  Borrowed(Borrowed&& other) noexcept;
  Borrowed& operator=(Borrowed&&) = delete;

  [[nodiscard]] DLDevice device() const noexcept { return device_; }

  /// Its memory, safe to be used by what is queued on `stream` (0: the legacy default one). Throws
  /// invalid_argument (an output that is read-only or a copy), and as from_dlpack.
  [[nodiscard]] TensorView open(std::uintptr_t stream, Layout layout = Layout::by_rank);

 private:
  void take(nb::handle capsule);
  void ask(std::uintptr_t stream);

  char const* name_;
  nb::handle object_;
  Use use_;
  DLDevice device_{};
  DLTensor lent_{};  // by the exchange API, without ownership
  DLTensor const* tensor_ = nullptr;
  DLManagedTensor* legacy_ = nullptr;
  DLManagedTensorVersioned* versioned_ = nullptr;
};

/// The stream that a call on tensors like this one belongs to: the one given (an int, or an object
/// with `__cuda_stream__`, `cuda_stream` or `ptr`), the current one of the tensor's framework, else
/// the legacy default one, which is 0. Imports no module. Throws type_error, invalid_argument.
std::uintptr_t stream_of(nb::handle given, nb::handle tensor, DLDevice device);

/// "torch" of torch.Tensor.
std::string framework_of(nb::handle object);

}  // namespace mixfuse::python
