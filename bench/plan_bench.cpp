// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <utility>

#include "bench/bench.hpp"
#include "bench/toolkit.hpp"

namespace mixfuse::bench {
namespace {

std::vector<std::pair<char const*, Spec>> specs() {
  auto const one = [](std::variant<Mixup, CutMix> policy) {
    Spec spec;
    spec.policies = {{policy, 1.0f}};
    return spec;
  };
  Spec both;
  both.policies = {{Mixup{{0.2f, 0.2f}}, 0.5f}, {CutMix{{1.0f, 1.0f}}, 0.5f}};
  Spec cycle = one(Mixup{{0.2f, 0.2f}});
  cycle.pairing = Pairing::cycle;
  return {{"mixfuse", one(Mixup{{0.2f, 0.2f}})},
          {"mixfuse, Beta(2, 5)", one(Mixup{{2.0f, 5.0f}})},
          {"mixfuse, CutMix", one(CutMix{{1.0f, 1.0f}})},
          {"mixfuse, both", both},
          {"mixfuse, cycle", cycle}};
}

/// What a C++ program would do without mixfuse: lambdas by two gammas, then a shuffle.
struct Standard {
  std::mt19937_64 engine{1};
  std::vector<std::int32_t> partner;
  std::vector<float> weight;

  void draw(std::size_t samples) {
    partner.resize(samples);
    weight.resize(samples);
    std::iota(partner.begin(), partner.end(), 0);
    std::shuffle(partner.begin(), partner.end(), engine);
    std::gamma_distribution<float> gamma{0.2f};
    for (float& w : weight) {
      float const x = gamma(engine), y = gamma(engine);
      w = x / (x + y);
    }
  }
};

/// 0 where the partners are a permutation and the weights are shares, else 1.
double error_of(std::vector<std::int32_t> const& partner, std::vector<float> const& weight) {
  std::vector<char> seen(partner.size());
  for (std::int32_t const of : partner) seen.at(static_cast<std::size_t>(of))++;
  bool const right =
      std::all_of(seen.begin(), seen.end(), [](char count) { return count == 1; }) &&
      std::all_of(weight.begin(), weight.end(), [](float w) { return w >= 0 && w <= 1; });
  return right ? 0.0 : 1.0;
}

double error_of(std::vector<Row> const& rows) {
  std::vector<std::int32_t> partner;
  std::vector<float> weight;
  for (Row const& row : rows) {
    partner.push_back(row.partner);
    weight.push_back(row.label);
  }
  return error_of(partner, weight);
}

void plan_contest(Setup const& setup, Report& report, std::int64_t samples) {
  Lane const& lane = setup.lane;
  Extents const extents{samples, 2, {224, 224}, true};
  Memory const rows(lane, static_cast<std::size_t>(samples) * sizeof(Row));
  std::vector<Contestant> contestants = {
      {"memset of the rows", [&](int) { fill_zero(lane, rows.data(), rows.size()); }}};

  std::vector<std::unique_ptr<Plan>> plans;
  std::uint64_t step = 0;
  for (auto const& [name, spec] : specs()) {
    Plan& plan = *plans.emplace_back(std::make_unique<Plan>(samples, lane.device(), lane.queue()));
    contestants.push_back({name,
                           [&, spec](int) {
                             plan_into(plan, spec, extents, Draw{1, step++, 0}, lane.queue());
                           },
                           [&] { return error_of(read_rows(plan, lane.queue())); }});
  }
  Standard standard;
  if (!lane.cuda()) {
    contestants.push_back({"std::shuffle, two gammas",
                           [&](int) { standard.draw(static_cast<std::size_t>(samples)); },
                           [&] { return error_of(standard.partner, standard.weight); }});
  }
#if MIXFUSE_HAS_CUDA
  std::unique_ptr<ToolkitMixup> toolkit;
  if (lane.cuda()) {
    contestants.push_back({"Thrust and cuRAND, uniform lambda",
                           [&](int) {
                             if (!toolkit) {
                               toolkit = std::make_unique<ToolkitMixup>(samples, 1,
                                                                        lane.queue().stream());
                             }
                             toolkit->plan();
                           },
                           [&] { return error_of(toolkit->rows()); }, 0.0, false});
  }
#endif
  for (Way const way : setup.ways()) {
    Contest contest{"plan",  std::to_string(samples),
                    "rows",  "rows",
                    samples, static_cast<std::int64_t>(rows.size()),
                    way};
    measure(lane, setup.effort, contestants, contest);
    report.add(std::move(contest));
  }
}

}  // namespace

void plan_bench(Setup const& setup, Report& report) {
  std::vector<std::int64_t> batches = {128, 256, 1024, 4096, 16384};
  if (setup.size == Size::small) batches = {16};
  for (std::int64_t const samples : batches) {
    if (setup.wants(std::to_string(samples))) plan_contest(setup, report, samples);
  }
}

}  // namespace mixfuse::bench
