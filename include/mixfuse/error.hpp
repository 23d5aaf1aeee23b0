// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include "mixfuse/export.hpp"

namespace mixfuse {

/// Base of all that mixfuse throws. Texts name the argument, its value and what was expected, in
/// under 512 bytes; types are part of the interface, texts are not.
class MIXFUSE_EXPORT error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~error() override;
};

/// The call is wrong. Nothing was queued; outputs and state are as they were.
class MIXFUSE_EXPORT invalid_argument : public error {
 public:
  using error::error;
  ~invalid_argument() override;
};

/// The call is legal, but this build or this version does not do it.
class MIXFUSE_EXPORT unsupported : public error {
 public:
  using error::error;
  ~unsupported() override;
};

/// CUDA refused, or this is the child of a process that has used CUDA, in which CUDA does not work.
/// A sticky device error is reported and never cleared.
class MIXFUSE_EXPORT cuda_error : public error {
 public:
  cuda_error(int code, std::string const& what) : error(what), code_{code} {}
  ~cuda_error() override;

  /// The `cudaError_t` that CUDA returned.
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

}  // namespace mixfuse
