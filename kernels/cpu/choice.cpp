// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/choice.hpp"

#include <fcntl.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdlib>

namespace mixfuse {
namespace {

/// "32768K" as Linux has it, 0 where it is silent.
std::int64_t read_size(char const* path) noexcept {
  int const file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[32] = {};
  ssize_t const length = read(file, text, sizeof text - 1);
  close(file);
  char* unit = text;
  std::int64_t const size = length > 0 ? std::strtoll(text, &unit, 10) : 0;
  return *unit == 'K' ? size << 10 : *unit == 'M' ? size << 20 : size;
}

/// sysconf is second choice: for AMD glibc below 2.38 counts the last level of all chiplets.
std::int64_t cache_size(char const* path, int name, std::int64_t fallback) noexcept {
  std::int64_t size = read_size(path);
  if (size <= 0) size = sysconf(name);
  return size > 0 ? size : fallback;
}

#if defined(__x86_64__)
/// Clang's __builtin_cpu_supports does not know it.
bool has_f16c() noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

}  // namespace

namespace detail {

CpuOverride& cpu_override() noexcept {
  thread_local CpuOverride forced;
  return forced;
}

bool has(Isa isa) noexcept {
#if defined(__x86_64__)
  static bool const avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  static bool const avx512 =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
#endif
  return isa == Isa::plain || isa == Isa::best;
}

}  // namespace detail

namespace cpu {

Caches caches() noexcept {
  static Caches const found = [] {
    constexpr std::int64_t kib = 1024;
    // Processors without a third level exist, and containers that tell nothing.
    std::int64_t const second = cache_size("/sys/devices/system/cpu/cpu0/cache/index2/size",
                                           _SC_LEVEL2_CACHE_SIZE, 512 * kib);
    return Caches{second,
                  std::max(second, cache_size("/sys/devices/system/cpu/cpu0/cache/index3/size",
                                              _SC_LEVEL3_CACHE_SIZE, 32 * 1024 * kib))};
  }();
  std::int64_t const forced = detail::cpu_override().cache;
  return forced > 0 ? Caches{0, forced} : found;
}

detail::Isa chosen_isa() noexcept {
  using detail::Isa;
  Isa const forced = detail::cpu_override().isa;
  if (forced != Isa::best) return forced;
  return detail::has(Isa::avx512) ? Isa::avx512 : detail::has(Isa::avx2) ? Isa::avx2 : Isa::plain;
}

}  // namespace cpu
}  // namespace mixfuse
