/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIXFUSE_DLPACK_H
#define MIXFUSE_DLPACK_H

/* DLTensor and its kin: from a DLPack header that is already included, from <dlpack/dlpack.h>
   where there is one, else from our mirror of it. */

#if !defined(DLPACK_DLPACK_H_) && defined(__has_include)
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#endif
#endif
#ifndef DLPACK_DLPACK_H_
#include "mixfuse/dlpack_mirror.h"
#endif

#endif
