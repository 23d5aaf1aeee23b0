// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counts of CUDA runtime calls, where a stand-in for the runtime keeps them; unknown elsewhere.

#include <dlfcn.h>

#include <cstdlib>
#include <optional>
#include <string_view>

namespace mixfuse::test::calls {

template <class Function>
Function* counter(char const* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

inline bool counted() { return counter<void()>("ptxrun_trace_reset") != nullptr; }

/// False where another of the emulator's schedules runs a test for which one is enough.
inline bool is_schedule(std::string_view wanted) {
  char const* const schedule = std::getenv("PTXRUN_SEED");
  return !counted() || schedule == nullptr || schedule == wanted;
}

inline void reset() {
  if (auto* const zero = counter<void()>("ptxrun_trace_reset")) zero();
}

/// Of launch, memcpy, memset, malloc, free, sync, graph_launch; `ops`: all work given to streams.
inline std::optional<long> count(char const* what) {
  auto* const ask = counter<long(char const*)>("ptxrun_trace_count");
  return ask == nullptr ? std::nullopt : std::optional<long>(ask(what));
}

/// Work given to one stream.
inline std::optional<long> count_on(void* stream) {
  auto* const ask = counter<long(void*)>("ptxrun_trace_on");
  return ask == nullptr ? std::nullopt : std::optional<long>(ask(stream));
}

}  // namespace mixfuse::test::calls
