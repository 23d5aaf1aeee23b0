// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <algorithm>
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

/// The process that loaded the library.
inline pid_t const loader = getpid();

/// An OpenMP region in the child of a process that has used one, here or elsewhere, never returns,
/// so a child works alone.
inline int usable_threads(int wanted) noexcept {
#ifdef _OPENMP
  if (getpid() != loader) return 1;
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  (void)wanted;
  return 1;
#endif
}

/// As many as there is work for, `least` for each; waking a team takes microseconds, and far longer
/// where other work has the cores.
inline int threads_for(std::int64_t work, std::int64_t least, int wanted) noexcept {
  std::int64_t const most = work / least;
  return most <= 1 ? 1 : static_cast<int>(std::min<std::int64_t>(most, usable_threads(wanted)));
}

/// body(begin, end) for contiguous runs that make up [0, count), one a thread.
template <class Body>
void parallel_runs(std::int64_t count, int wanted, Body const& body) {
  int const threads = count > 1 ? usable_threads(wanted) : 1;
  if (threads == 1) {
    FloatMode const mode;
    body(std::int64_t{0}, count);
    return;
  }
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
  {
    FloatMode const mode;
    std::int64_t const team = omp_get_num_threads(), me = omp_get_thread_num();
    std::int64_t const each = count / team, more = count % team;
    std::int64_t const begin = me * each + std::min(me, more);
    body(begin, begin + each + (me < more ? 1 : 0));
  }
#endif
}

/// body(i) for i in [0, count), split into contiguous runs.
template <class Body>
void parallel_for(std::int64_t count, int wanted, Body const& body) {
  parallel_runs(count, wanted, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace mixfuse::cpu
