// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "host/check.hpp"
#include "kernels/job.hpp"
#include "mixfuse/plan.hpp"

namespace mixfuse {

/// What the host knows of rows that it has not seen.
struct RowTraits {
  bool permutation = false;  // each sample is the partner of one: can be mixed in place
  bool boxes = false;        // some row may have a box
  bool flips = false;        // some row may be mirrored
  Runs runs = {};            // none where only the device knows where groups begin
};

struct Plan::State {
  std::int64_t capacity = 0;
  Device device;
  void* memory = nullptr;
  std::size_t size = 0;
  bool owned = false;

  PlanHeader* header = nullptr;  // these five lie in `memory`
  Row* rows = nullptr;
  Turn* order = nullptr;
  Early early = {};
  void* workspace = nullptr;
  std::size_t workspace_size = 0;

  Extents extents;
  bool drawn = false;  // holds a batch's rows
  RowTraits traits;
  std::atomic<bool> busy{false};

  ~State();
};

/// An output must not lie over the plan.
void check_apart_from_plan(char const* name, ConstTensorView const& output,
                           Plan::State const& state);

/// A checked call of plan_into, and what the host will know of its rows.
struct PlanCall {
  PlanJob job;
  Extents batch;
  RowTraits traits;
};

PlanCall call_of(Plan::State const& state, Spec const& spec, Extents const& batch, Draw draw);
/// Of a live draw, its step to be advanced.
PlanCall call_of(Plan::State const& state, Spec const& spec, Extents const& batch,
                 Live const& live);
/// The plan is from now on that of the call.
void take(Plan::State& state, PlanCall const& call) noexcept;
/// Queues the call, and takes it.
void run(Plan::State& state, PlanCall const& call, Queue queue);

void check_draw(Draw draw, std::int64_t samples);
/// All that can be wrong with a mixer before there is memory or a batch.
void check_mixer(Spec const& spec, Draw first);

/// From the plan's memory to the host's; `read` waits.
void copy_out(Plan::State const& state, void* to, void const* from, std::size_t bytes, Queue queue);
void read(Plan::State const& state, void* to, void const* from, std::size_t bytes, Queue queue);
/// The plan's rows into memory for `count`.
void read_rows(Row* rows, std::int64_t count, Plan const& plan, Queue queue);

/// Reports a plan that two threads use at once.
class InUse {
 public:
  explicit InUse(Plan::State& state) : state_{state} {
    require(!state_.busy.exchange(true), "plan: used by two threads at once");
  }
  ~InUse() { state_.busy = false; }
  InUse(InUse const&) = delete;
  InUse& operator=(InUse const&) = delete;

 private:
  Plan::State& state_;
};

}  // namespace mixfuse
