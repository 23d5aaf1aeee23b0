// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>
#include <vector>

#include "mixfuse/mixfuse.hpp"

namespace mixfuse::python {

namespace nb = nanobind;

/// Python's values as C++'s. Each names the argument in a TypeError (no number, no text) or a
/// ValueError (out of the type's range, no such name).
std::int64_t integer(char const* name, nb::handle value);
std::uint64_t word(char const* name, nb::handle value);
double number(char const* name, nb::handle value);
/// One number, or one for each: None is no number.
std::vector<double> numbers(char const* name, nb::handle value);

Layout layout(char const* name, nb::handle value);  ///< None: by rank
DType dtype(char const* name, nb::handle value);
Device device(char const* name, nb::handle value);  ///< "cpu", "cuda", "cuda:1"

/// `policies`: tuples (kind, weight, probability, fold, boxes).
Spec spec(nb::handle policies, nb::handle probability, nb::handle pairing, nb::handle granularity,
          nb::handle group, nb::handle flip);

/// Of one value for all channels, or one for each; None of both: no map.
Normalise normalise_of(nb::handle mean, nb::handle std);

Draw draw(nb::handle seed, nb::handle step, nb::handle first);

}  // namespace mixfuse::python
