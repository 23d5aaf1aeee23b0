// SPDX-License-Identifier: Apache-2.0

// Our mirror of DLPack's structs: against the numbers of its ABI, and against the real header where
// one is installed.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#ifdef DLPACK_MAJOR_VERSION
#define MIXFUSE_TEST_DLPACK_1
#endif
#define MIXFUSE_TEST_DLPACK
#undef DLPACK_DLPACK_H_
#undef DLPACK_MAJOR_VERSION
#undef DLPACK_MINOR_VERSION
#endif
namespace mirror {
#include "mixfuse/dlpack_mirror.h"
}

namespace mixfuse {
namespace {

TEST(DlpackMirror, HasTheLayoutOfTheAbi) {
  EXPECT_EQ(sizeof(mirror::DLDevice), 8u);
  EXPECT_EQ(sizeof(mirror::DLDataType), 4u);
  EXPECT_EQ(sizeof(mirror::DLTensor), 48u);
  EXPECT_EQ(offsetof(mirror::DLTensor, data), 0u);
  EXPECT_EQ(offsetof(mirror::DLTensor, device), 8u);
  EXPECT_EQ(offsetof(mirror::DLTensor, ndim), 16u);
  EXPECT_EQ(offsetof(mirror::DLTensor, dtype), 20u);
  EXPECT_EQ(offsetof(mirror::DLTensor, shape), 24u);
  EXPECT_EQ(offsetof(mirror::DLTensor, strides), 32u);
  EXPECT_EQ(offsetof(mirror::DLTensor, byte_offset), 40u);
  EXPECT_EQ(sizeof(mirror::DLManagedTensor), 64u);
  EXPECT_EQ(offsetof(mirror::DLManagedTensor, deleter), 56u);
  EXPECT_EQ(sizeof(mirror::DLManagedTensorVersioned), 80u);
  EXPECT_EQ(offsetof(mirror::DLManagedTensorVersioned, manager_ctx), 8u);
  EXPECT_EQ(offsetof(mirror::DLManagedTensorVersioned, deleter), 16u);
  EXPECT_EQ(offsetof(mirror::DLManagedTensorVersioned, flags), 24u);
  EXPECT_EQ(offsetof(mirror::DLManagedTensorVersioned, dl_tensor), 32u);
}

#ifdef MIXFUSE_TEST_DLPACK

TEST(DlpackMirror, HasTheLayoutOfTheRealHeader) {
  EXPECT_EQ(sizeof(mirror::DLTensor), sizeof(::DLTensor));
  EXPECT_EQ(offsetof(mirror::DLTensor, data), offsetof(::DLTensor, data));
  EXPECT_EQ(offsetof(mirror::DLTensor, device), offsetof(::DLTensor, device));
  EXPECT_EQ(offsetof(mirror::DLTensor, ndim), offsetof(::DLTensor, ndim));
  EXPECT_EQ(offsetof(mirror::DLTensor, dtype), offsetof(::DLTensor, dtype));
  EXPECT_EQ(offsetof(mirror::DLTensor, shape), offsetof(::DLTensor, shape));
  EXPECT_EQ(offsetof(mirror::DLTensor, strides), offsetof(::DLTensor, strides));
  EXPECT_EQ(offsetof(mirror::DLTensor, byte_offset), offsetof(::DLTensor, byte_offset));
  EXPECT_EQ(offsetof(mirror::DLDevice, device_id), offsetof(::DLDevice, device_id));
  EXPECT_EQ(offsetof(mirror::DLDataType, bits), offsetof(::DLDataType, bits));
  EXPECT_EQ(offsetof(mirror::DLDataType, lanes), offsetof(::DLDataType, lanes));
  EXPECT_EQ(sizeof(mirror::DLManagedTensor), sizeof(::DLManagedTensor));
  EXPECT_EQ(offsetof(mirror::DLManagedTensor, deleter), offsetof(::DLManagedTensor, deleter));
  EXPECT_EQ(static_cast<int>(mirror::kDLCUDAHost), static_cast<int>(::kDLCUDAHost));
  EXPECT_EQ(static_cast<int>(mirror::kDLBfloat), static_cast<int>(::kDLBfloat));
#ifdef MIXFUSE_TEST_DLPACK_1
  using Mirror = mirror::DLManagedTensorVersioned;
  using Real = ::DLManagedTensorVersioned;
  EXPECT_EQ(sizeof(Mirror), sizeof(Real));
  EXPECT_EQ(offsetof(Mirror, version), offsetof(Real, version));
  EXPECT_EQ(offsetof(Mirror, manager_ctx), offsetof(Real, manager_ctx));
  EXPECT_EQ(offsetof(Mirror, deleter), offsetof(Real, deleter));
  EXPECT_EQ(offsetof(Mirror, flags), offsetof(Real, flags));
  EXPECT_EQ(offsetof(Mirror, dl_tensor), offsetof(Real, dl_tensor));
  EXPECT_EQ(static_cast<int>(mirror::kDLBool), static_cast<int>(::kDLBool));
  EXPECT_EQ(static_cast<int>(mirror::kDLCUDAManaged), static_cast<int>(::kDLCUDAManaged));
#endif
}

#else

TEST(DlpackMirror, HasTheLayoutOfTheRealHeader) { GTEST_SKIP() << "there is no <dlpack/dlpack.h>"; }

#endif

}  // namespace
}  // namespace mixfuse
