// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host/python/tensor.hpp"

namespace mixfuse::python {

/// Host memory for a framework whose own arrays cannot be written: filled, then handed over by
/// DLPack without a copy. Aligned to 256 bytes.
void bind_memory(nb::module_& module);

[[nodiscard]] bool is_memory(nb::handle object);

}  // namespace mixfuse::python
