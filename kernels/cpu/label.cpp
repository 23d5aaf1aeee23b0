// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "kernels/cpu/error.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse::cpu {
namespace {

template <class T>
void fill(T* row, std::int64_t stride, std::int64_t columns, float value) {
  T const narrow = maths::narrow<T>(value);
  if (stride == 1) {
    std::fill_n(row, columns, narrow);
  } else {
    for (std::int64_t k = 0; k < columns; ++k) row[k * stride] = narrow;
  }
}

void fill(Matrix<void> const& out, std::int64_t at, std::int64_t columns, float value) {
  std::int64_t const stride = out.stride[1];
  switch (out.dtype) {
    case DType::f16:
      return fill(static_cast<maths::F16*>(out.data) + at, stride, columns, value);
    case DType::bf16:
      return fill(static_cast<maths::Bf16*>(out.data) + at, stride, columns, value);
    default:
      return fill(static_cast<float*>(out.data) + at, stride, columns, value);
  }
}

/// The dense targets of a class id: one value nearly everywhere.
void one_hots(LabelJob const& job, Row const& row, std::int64_t sample) {
  maths::OneHots const hots = maths::one_hots(job, row, sample);
  std::int64_t const start = sample * job.out.stride[0];
  fill(job.out, start, job.classes, hots.neither);
  for (std::int64_t const k : {hots.own, hots.partner}) {
    if (k < 0 || k >= job.classes) continue;
    maths::store_value(job.out, start + k * job.out.stride[1], hots.at(k));
  }
}

}  // namespace

void label(LabelJob const& job, int wanted) {
  constexpr std::int64_t least_elements = 16384;
  std::int64_t const elements = job.samples * (job.sparse ? 1 : job.classes);
  int const threads = threads_for(elements, least_elements, wanted);
  parallel_for(job.samples, threads, [&](std::int64_t sample) {
    Row const row = job.rows[sample];
    if (job.sparse) return maths::sparse_target(job, row, sample);
    if (job.ids) return one_hots(job, row, sample);
    for (std::int64_t k = 0; k < job.classes; ++k) maths::dense_target(job, row, sample, k);
  });

  std::uint64_t mark = 0;
  for (std::int64_t sample = 0; sample < job.samples; ++sample) {
    mark = std::max(mark, maths::label_mark(job, job.rows[sample], sample));
  }
  if (mark != 0) raise(*job.header, mark);
}

}  // namespace mixfuse::cpu
