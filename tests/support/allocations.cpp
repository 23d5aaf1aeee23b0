// SPDX-License-Identifier: Apache-2.0
#include "tests/support/allocations.hpp"

#include <cstdlib>
#include <limits>
#include <new>

namespace mixfuse::test::allocations {
namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

struct Counts {
  std::size_t made = 0;
  std::size_t freed = 0;
  std::size_t left = never;
};

Counts& counts() noexcept {
  thread_local Counts mine;
  return mine;
}

[[maybe_unused]] void* allocate(std::size_t size, std::size_t alignment) {
  Counts& mine = counts();
  if (mine.left == 0) throw std::bad_alloc();
  if (mine.left != never) --mine.left;
  std::size_t const whole = (size + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
  if (memory == nullptr) throw std::bad_alloc();
  ++mine.made;
  return memory;
}

[[maybe_unused]] void release(void* memory) noexcept {
  if (memory == nullptr) return;
  ++counts().freed;
  std::free(memory);
}

}  // namespace

std::size_t count() noexcept { return counts().made; }
std::size_t alive() noexcept { return counts().made - counts().freed; }
void fail_after(std::size_t k) noexcept { counts().left = k; }
void fail_never() noexcept { counts().left = never; }

}  // namespace mixfuse::test::allocations

// ThreadSanitizer brings its own operators, and none of the tests that count is run under it.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MIXFUSE_TEST_KEEPS_NEW
#endif
#endif
#ifndef MIXFUSE_TEST_KEEPS_NEW

namespace here = mixfuse::test::allocations;

void* operator new(std::size_t size) {
  return here::allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return here::allocate(size, static_cast<std::size_t>(alignment));
}
// std::stable_sort's buffer; a replaced delete must not meet a new that was not replaced.
void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
  try {
    return operator new(size);
  } catch (std::bad_alloc const&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { here::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { here::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { here::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  here::release(memory);
}
#endif
