// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/mixer.hpp"

#include <utility>

#include "host/cuda.hpp"
#include "host/mix.hpp"
#include "host/plan.hpp"
#include "host/tensor.hpp"

namespace mixfuse {
namespace {

/// Lets a step be checked against a plan that is not drawn yet; unless it is then queued, the plan
/// is as it was.
class Trial {
 public:
  Trial(Plan::State& state, PlanCall const& call)
      : state_{state}, drawn_{state.drawn}, before_{{}, state.extents, state.traits} {
    take(state, call);
  }
  ~Trial() {
    if (queued_) return;
    take(state_, before_);
    state_.drawn = drawn_;
  }
  void queued() noexcept { queued_ = true; }
  Trial(Trial const&) = delete;
  Trial& operator=(Trial const&) = delete;

 private:
  Plan::State& state_;
  bool drawn_;
  PlanCall before_;
  bool queued_ = false;
};

/// Whether it was queued: the plan and the mix by it as one launch, where that can be.
bool run_at_once(PlanCall const& plan, StepCall const& step, Plan::State const& state,
                 Queue queue) {
  if (state.device.kind != Device::Kind::cuda || step.where != Where::out_of_place) return false;
  cuda::DeviceGuard const guard(state.device.id);
  if (!cuda::step_is_one(plan.job, step.images)) return false;
  LabelJob const* const labels = step.labels ? &*step.labels : nullptr;
  cuda::check(cuda::step(plan.job, step.images, labels, queue.stream()), "step");
  return true;
}

}  // namespace

void check_mixer(Spec const& spec, Draw first) {
  Plan::State const none{};
  Draw live;
  Extents any;
  any.axes = 1;
  any.width = true;
  (void)call_of(none, spec, any, Live(&live));
  check_draw(first, 0);
}

Mixer::Mixer(Spec spec, Draw first, std::int64_t capacity, Device device, Queue queue)
    : plan_{(check_mixer(spec, first), Plan(capacity, device, queue))}, spec_{std::move(spec)} {
  set_draw(first, queue);
}

Mixer::Mixer(Plan plan, Spec spec, Draw first, Queue queue)
    : plan_{(check_mixer(spec, first), std::move(plan))}, spec_{std::move(spec)} {
  set_draw(first, queue);
}

Live Mixer::live() const { return Live(&plan_.state().header->draw, schedule_); }

template <class Check>
void Mixer::step(Extents const& batch, Check const& check, Queue queue) {
  Plan::State& state = plan_.state();
  InUse const use(state);
  check_queue(state.device, queue);
  PlanCall const plan = call_of(state, spec_, batch, live());
  Trial trial(state, plan);
  StepCall const step = check(state);
  bool const at_once = run_at_once(plan, step, state, queue);
  if (!at_once) run(state, plan, queue);
  trial.queued();
  if (!at_once) run(step, state, queue);
}

void Mixer::operator()(Mixed out, Originals in, Queue queue) {
  step(
      extents_of(in.images.own),
      [&](Plan::State const& state) { return step_call(out, in, state); }, queue);
}

void Mixer::in_place(Mixed inout, Samples labels, LabelRule rule, Queue queue) {
  step(
      extents_of(inout.images),
      [&](Plan::State const& state) { return step_in_place_call(inout, labels, rule, state); },
      queue);
}

void Mixer::follow(Schedule schedule) {
  InUse const use(plan_.state());
  schedule_ = schedule;
}

void Mixer::set_draw(Draw draw, Queue queue) {
  Plan::State& state = plan_.state();
  InUse const use(state);
  check_queue(state.device, queue);
  check_draw(draw, 0);
  if (state.device.kind == Device::Kind::cpu) {
    state.header->draw = draw;
  } else {
    cuda::DeviceGuard const guard(state.device.id);
    cuda::check(cuda::set_draw(state.header, draw, queue.stream()), "draw");
  }
}

void Mixer::draw_into(Draw* draw, Queue queue) const {
  Plan::State& state = plan_.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(draw != nullptr, "draw: null pointer");
  copy_out(state, draw, &state.header->draw, sizeof *draw, queue);
}

Draw Mixer::read_draw(Queue queue) const {
  Plan::State& state = plan_.state();
  InUse const use(state);
  check_queue(state.device, queue);
  Draw draw;
  read(state, &draw, &state.header->draw, sizeof draw, queue);
  return draw;
}

}  // namespace mixfuse
