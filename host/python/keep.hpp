// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host/python/plan.hpp"

namespace mixfuse::python {

/// Keeps objects alive until what is queued on the place's stream has run: their memory may go back
/// to a pool that knows nothing of that stream. Nothing to do on the CPU, where work is done.
void keep(nb::object objects, Place const& place);

}  // namespace mixfuse::python
