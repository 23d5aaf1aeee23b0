// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Marks a pure function of scalars that both processors run.
#if defined(__CUDACC__)
#define MIXFUSE_HD __host__ __device__
#elif !defined(MIXFUSE_HD)
#define MIXFUSE_HD
#endif
