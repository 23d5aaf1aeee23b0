// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

/// The program's operator new, counted and made to fail.
namespace mixfuse::test::allocations {

/// Of the calling thread, ever.
std::size_t count() noexcept;
/// Of the calling thread, less what it freed.
std::size_t alive() noexcept;
/// The k-th allocation of the calling thread from now on throws, and all after it.
void fail_after(std::size_t k) noexcept;
void fail_never() noexcept;

}  // namespace mixfuse::test::allocations
