// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "bench/bench.hpp"
#include "mixfuse/error.hpp"

namespace mixfuse::bench {

/// The ceilings by size; copies may be slower where the size is not a multiple of 4096.
void copy_bench(Setup const& setup, Report& report) {
  Lane const& lane = setup.lane;
  std::vector<std::size_t> sizes = {std::size_t{1} << 16};
  if (setup.size == Size::full) {
    sizes = {std::size_t{1} << 20, std::size_t{1} << 24, std::size_t{1} << 27,
             (std::size_t{1} << 27) + 1024, std::size_t{1} << 28};
    if (lane.cuda()) sizes.insert(sizes.end(), {std::size_t{1} << 30, std::size_t{1} << 31});
  }
  for (std::size_t const size : sizes) {
    if (!setup.wants(std::to_string(size))) continue;
    int const sets = cold_sets(lane, setup.effort, 2 * size);
    std::vector<Memory> from, to;
    for (int set = 0; set < sets; ++set) {
      from.emplace_back(lane, size);
      fill_random(lane, from.back().data(), size);
      to.emplace_back(lane, size);
    }
    auto const at = [](std::vector<Memory> const& memory, int set) {
      return memory[static_cast<std::size_t>(set)].data();
    };
    std::vector<Contestant> contestants = {
        {"copy", [&](int set) { copy(lane, at(to, set), at(from, set), size); }},
        {"memset", [&](int set) { fill_zero(lane, at(to, set), size); }}};
    if (!lane.cuda()) {
      contestants.push_back({"non-temporal copy", [&](int set) {
                               if (!copy_non_temporal(lane, at(to, set), at(from, set), size)) {
                                 throw unsupported("no such store here");
                               }
                             }});
    }
    for (Way const way : setup.ways()) {
      Contest contest{
          "copy", std::to_string(size), "u8", "u8", 0, static_cast<std::int64_t>(2 * size), way,
          sets};
      measure(lane, setup.effort, contestants, contest);
      report.add(std::move(contest));
    }
  }
}

}  // namespace mixfuse::bench
