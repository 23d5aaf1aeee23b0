// SPDX-License-Identifier: Apache-2.0

// mixfuse._core: what the package's Python files are written over. Importing it makes no CUDA call.

#include <nanobind/nanobind.h>

#include <string>
#include <string_view>

#include "host/python/jax.hpp"
#include "host/python/memory.hpp"
#include "host/python/plan.hpp"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse::python {
namespace {

/// The arguments that a C++ text names, by their Python names.
std::string in_python(std::string const& text) {
  constexpr std::pair<std::string_view, std::string_view> names[] = {
      {"rule.classes", "num_classes"},
      {"rule.", ""},
      {"spec.", ""},
      {"draw.", ""},
      {"live.draw", "draw"},
      {"live.", ""},
      {"normalise.channels", "mean"},
      {"normalise.", ""},
      {"normalise:", "mean:"},
      {"labels.partners", "partner_labels"},
      {"targets", "targets_out"},
      {"queue", "stream"},
      {"batch", "images"}};
  for (auto const& [theirs, ours] : names) {
    if (text.rfind(theirs, 0) == 0 && text.rfind(ours.empty() ? "\n" : ours, 0) != 0) {
      return std::string(ours).append(text, theirs.size());
    }
  }
  return text;
}

void translate(std::exception_ptr const& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (invalid_argument const& error) {
    PyErr_SetString(PyExc_ValueError, in_python(error.what()).c_str());
  } catch (unsupported const& error) {
    PyErr_SetString(PyExc_NotImplementedError, in_python(error.what()).c_str());
  } catch (error const& error) {
    PyErr_SetString(PyExc_RuntimeError, in_python(error.what()).c_str());
  }
}

nb::dict info() {
  CudaInfo const* found = nullptr;
  {
    nb::gil_scoped_release const released;
    found = &cuda_info();
  }
  nb::dict info;
  info["version"] = version();
  info["stream_version"] = stream_version();
  info["backends"] = found->built ? nb::make_tuple("cpu", "cuda") : nb::make_tuple("cpu");
  info["devices"] = found->devices;
  info["driver"] = found->driver;
  info["runtime"] = found->runtime;
  info["architectures"] = found->architectures.c_str();
  info["absent"] = found->absent.c_str();
  return info;
}

}  // namespace

NB_MODULE(_core, module) {
  nb::set_leak_warnings(false);  // torch keeps its operators, and they their specs, to the end
  nb::register_exception_translator(&translate, nullptr);
  module.attr("version") = version();
  module.attr("stream_version") = stream_version();
  module.def("info", &info);
  bind_memory(module);
  bind_plan(module);
  bind_mix(module);
#if MIXFUSE_HAS_XLA
  bind_jax(module);
#endif
}

}  // namespace mixfuse::python
