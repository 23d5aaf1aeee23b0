// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <optional>

#include "bench/bench.hpp"
#include "bench/toolkit.hpp"

namespace mixfuse::bench {
namespace {

constexpr std::int64_t classes = 1000;

/// Variants of mixfuse that show what a part of the work costs.
std::vector<std::pair<char const*, Spec>> variants(Shape const& shape) {
  Spec roll = mixup_of(shape), cutmix = roll, both = roll, unmixed = roll;
  roll.pairing = Pairing::roll;
  cutmix.policies = {{CutMix{{1.0f, 1.0f}}, 1.0f}};
  both.policies = {{Mixup{{0.2f, 0.2f}}, 0.5f}, {CutMix{{1.0f, 1.0f}}, 0.5f}};
  unmixed.probability = 0.0f;
  return {{"mixfuse, roll", roll},
          {"mixfuse, CutMix", cutmix},
          {"mixfuse, Mixup or CutMix", both},
          {"mixfuse, unmixed", unmixed}};
}

#if MIXFUSE_HAS_CUDA
constexpr float rolled_weight = 0.3f;

std::vector<Row> rolled_rows(std::int64_t samples) {
  std::vector<Row> rows(static_cast<std::size_t>(samples));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].partner = static_cast<std::int32_t>((i == 0 ? rows.size() : i) - 1);
    rows[i].outside = rows[i].inside = rows[i].label = rolled_weight;
  }
  return rows;
}
#endif

void mix_contests(Setup const& setup, Report& report, Shape const& shape, int sets) {
  Lane const& lane = setup.lane;
  Batch const batch(lane, shape, sets);
  std::vector<std::unique_ptr<Mixing>> mixings;
  std::vector<Contestant> more;
  for (auto const& [name, spec] : variants(shape)) {
    Mixing& mixing = *mixings.emplace_back(std::make_unique<Mixing>(batch, spec, lane));
    more.push_back({name, [&](int set) { mixing.step(set); }, [&] { return mixing.error(); },
                    batch.tolerance()});
  }
  Mixing& labelled =
      *mixings.emplace_back(std::make_unique<Mixing>(batch, mixup_of(shape), lane, classes));
  more.push_back({"mixfuse, with labels", [&](int set) { labelled.step(set); },
                  [&] { return labelled.error(); }, batch.tolerance()});
  Plan kept = plan_of(batch, lane);
  more.push_back({"mixfuse, the plan kept",
                  [&](int set) {
                    mix_into(batch.out(set), batch.in(set), batch.normalise(), kept, lane.queue());
                  },
                  [&] { return batch.error(0, read_rows(kept, lane.queue())); },
                  batch.tolerance()});
  if (shape.in == shape.out) {
    Mixing& mixing = *mixings.emplace_back(std::make_unique<Mixing>(batch, mixup_of(shape), lane));
    more.push_back({"mixfuse, in place", [&](int set) { mixing.step_in_place(set); },
                    [&] {
                      copy(lane, batch.out(0).data, batch.in(0).data, shape.bytes_in());
                      mixing.step_in_place(0);
                      return mixing.error();
                    },
                    batch.tolerance()});
  }
#if MIXFUSE_HAS_CUDA
  std::unique_ptr<ToolkitMixup> toolkit;
  std::optional<Formulas const> formulas;
  if (lane.cuda()) {
    formulas.emplace(batch, lane);
    more.push_back({"Thrust and cuRAND, uniform lambda",
                    [&](int set) {
                      if (!toolkit) {
                        toolkit = std::make_unique<ToolkitMixup>(shape.samples(), 1,
                                                                 lane.queue().stream());
                      }
                      toolkit->plan();
                      toolkit->mix(formulas->formula(set));
                    },
                    [&] { return batch.error(0, toolkit->rows()); }, batch.tolerance(), false});
    more.push_back({"DeviceTransform, roll, one lambda",
                    [&](int set) {
                      transform_roll(formulas->formula(set), rolled_weight, lane.queue().stream());
                    },
                    [&] { return batch.error(0, rolled_rows(shape.samples())); },
                    batch.tolerance()});
  }
#endif
  for (Way const way : setup.ways()) {
    report.add(mix_contest(lane, setup.effort, batch, way, more));
  }
}

/// The step on either processor, by the host's clock: what a training loop waits for.
void step_contest(Setup const& setup, Report& report, Shape const& shape) {
  Lane const cpu(Device::cpu(), setup.lane.threads());
  Batch const cpu_batch(cpu, shape,
                        cold_sets(cpu, setup.effort, shape.bytes_in() + shape.bytes_out()));
  Mixing on_cpu(cpu_batch, mixup_of(shape), cpu, classes);
  Formulas const formulas(cpu_batch, cpu);
  auto const of_cpu = [&](int set) { return set % cpu_batch.sets(); };
  std::vector<Contestant> contestants = {
      {"CPU step", [&](int set) { on_cpu.step(of_cpu(set)); }, [&] { return on_cpu.error(); }},
      {"CPU formula", [&](int set) { formulas.passes(of_cpu(set)); },
       [&] { return formulas.error(); }}};

  std::unique_ptr<Batch> batch;
  std::unique_ptr<Mixing> mixing;
  std::unique_ptr<Memory> pinned;
  Lane const& lane = setup.lane;
  int sets = cpu_batch.sets();
  if (lane.cuda()) {
    sets = cold_sets(lane, setup.effort, shape.bytes_in() + shape.bytes_out());
    batch = std::make_unique<Batch>(lane, shape, sets);
    mixing = std::make_unique<Mixing>(*batch, mixup_of(shape), lane, classes);
    pinned = std::make_unique<Memory>(lane, shape.bytes_in(), Place::pinned);
    pinned->put(batch->host().data());
    contestants.insert(
        contestants.begin(),
        {{"GPU step", [&](int set) { mixing->step(set); }, [&] { return mixing->error(); }},
         {"GPU step, uploaded from pinned memory",
          [&](int set) {
            copy(lane, const_cast<void*>(batch->in(set).data), pinned->data(), pinned->size());
            mixing->step(set);
          },
          [&] { return mixing->error(); }}});
  }
  for (Contestant& contestant : contestants) {
    contestant.tolerance = cpu_batch.tolerance();
    contestant.waits = true;
  }
  Contest contest{"step",
                  shape.name(),
                  name_of(shape.in),
                  name_of(shape.out),
                  shape.samples(),
                  static_cast<std::int64_t>(shape.bytes_in() + shape.bytes_out()),
                  Way::call,
                  sets};
  Effort effort = setup.effort;
  effort.steps = 4;  // the CPU's steps are long
  measure(lane, effort, contestants, contest);
  report.add(std::move(contest));
}

}  // namespace

void mix_bench(Setup const& setup, Report& report) {
  for (Shape const& shape : shapes(setup.size)) {
    if (!setup.wants(shape)) continue;
    std::size_t const bytes = shape.bytes_in() + shape.bytes_out();
    mix_contests(setup, report, shape, std::max(2, cold_sets(setup.lane, setup.effort, bytes)));
    if (bytes <= setup.lane.cache() / 2 && shape.in == shape.out) {
      mix_contests(setup, report, shape, 1);  // warm, as it is just after a loader's copy
    }
  }
  for (Shape const& shape : shapes(setup.size)) {
    bool const usual =
        setup.size == Size::small || (shape.samples() == 256 && shape.in != DType::bf16);
    if (usual && setup.wants(shape)) step_contest(setup, report, shape);
  }
}

bool profile_mix(Setup const& setup) {
  bool any = false;
  for (Shape const& shape : shapes(setup.size)) {
    if (!setup.wants(shape)) continue;
    any = true;
    Batch const batch(setup.lane, shape, 2);
    Mixing mixing(batch, mixup_of(shape), setup.lane);
    Formulas const formulas(batch, setup.lane);
    mixing.step(0);
    mixing.step(1);
    formulas.fused(0);
    setup.lane.wait();
  }
  return any;
}

}  // namespace mixfuse::bench
