// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "kernels/cpu/error.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse::cpu {
void label(LabelJob const& job, int threads) {
  parallel_for(job.samples, threads, [&](std::int64_t sample) {
    Row const row = job.rows[sample];
    if (job.sparse) return maths::sparse_target(job, row, sample);
    for (std::int64_t k = 0; k < job.classes; ++k) maths::dense_target(job, row, sample, k);
  });

  std::uint64_t mark = 0;
  for (std::int64_t sample = 0; sample < job.samples; ++sample) {
    mark = std::max(mark, maths::label_mark(job, job.rows[sample], sample));
  }
  if (mark != 0) raise(*job.header, mark);
}

}  // namespace mixfuse::cpu
