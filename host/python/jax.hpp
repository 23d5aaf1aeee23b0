// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mixfuse::python {

/// The handlers that XLA calls, and what mixfuse.jax asks while it traces.
void bind_jax(nanobind::module_& module);

}  // namespace mixfuse::python
