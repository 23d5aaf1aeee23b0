// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace mixfuse::detail {

/// What the loops are compiled for.
enum class Isa { best, plain, avx2, avx512 };

bool has(Isa isa) noexcept;

/// Choices forced by tests; 0 and best are the library's own. Results do not depend on them.
struct CpuOverride {
  Isa isa = Isa::best;
  std::int64_t cache = 0;  // bytes of the last level
  std::int64_t chunk = 0;  // bytes of a sample at a time
};

CpuOverride& cpu_override() noexcept;  // of the calling thread

}  // namespace mixfuse::detail

namespace mixfuse::cpu {

struct Caches {
  std::int64_t second, last;  // bytes
};

Caches caches() noexcept;

#if defined(__x86_64__)
// Attributes and not files with flags of their own: an inline function that such a file emitted
// could be the one that the linker keeps for all.
template <class Loop, class... Args>
[[gnu::target("avx2,fma,f16c")]] void run_avx2(Args... args) {
  Loop::run(args...);
}
template <class Loop, class... Args>
[[gnu::target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]] void run_avx512(Args... args) {
  Loop::run(args...);
}
#endif

/// Loop::run, always inlined, as compiled for `isa`: the same bits from each. Plain x86-64 has no
/// fma and calls a function for every one.
template <class Loop, class... Args>
void run_for(detail::Isa isa, Args... args) {
#if defined(__x86_64__)
  if (isa == detail::Isa::avx512) return run_avx512<Loop>(args...);
  if (isa == detail::Isa::avx2) return run_avx2<Loop>(args...);
#endif
  (void)isa;
  Loop::run(args...);
}

/// Not best.
detail::Isa chosen_isa() noexcept;

}  // namespace mixfuse::cpu
