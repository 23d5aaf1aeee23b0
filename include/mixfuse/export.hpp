// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(_WIN32)
#define MIXFUSE_EXPORT
#else
#define MIXFUSE_EXPORT __attribute__((visibility("default")))
#endif
