// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace mixfuse::cpu {

/// Rounding to nearest and no flush to zero while it lives: other libraries change both, and each
/// thread has its own.
class FloatMode {
 public:
  FloatMode() noexcept {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatMode() { std::fesetenv(&saved_); }
  FloatMode(FloatMode const&) = delete;
  FloatMode& operator=(FloatMode const&) = delete;

 private:
  std::fenv_t saved_;
};

/// An OpenMP region in the child of a process that has used one never returns, so a child works
/// alone.
inline int usable_threads(int wanted) noexcept {
#ifdef _OPENMP
  static std::atomic<pid_t> owner{0};
  pid_t const self = getpid();
  pid_t expected = 0;
  if (!owner.compare_exchange_strong(expected, self) && expected != self) return 1;
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  (void)wanted;
  return 1;
#endif
}

/// body(i) for i in [0, count), split into contiguous runs.
template <class Body>
void parallel_for(std::int64_t count, int wanted, Body const& body) {
  int const threads = count > 1 ? usable_threads(wanted) : 1;
  if (threads == 1) {
    FloatMode const mode;
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
  {
    FloatMode const mode;
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < count; ++i) body(i);
  }
#endif
}

}  // namespace mixfuse::cpu
