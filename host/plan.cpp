// SPDX-License-Identifier: Apache-2.0
#include "host/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <ostream>
#include <string>
#include <utility>

#include "host/cuda.hpp"
#include "host/tensor.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/maths/live.hpp"
#include "kernels/maths/row.hpp"

namespace mixfuse {
namespace {

constexpr std::size_t alignment = 256;

/// Where the parts of a plan lie in its memory; those before the rows are zeroed with the header.
struct Parts {
  std::size_t early_order, rows, order, early_rows, workspace, workspace_size, size;
  std::int32_t early;
};

std::size_t aligned(std::size_t offset) { return (offset + alignment - 1) / alignment * alignment; }

Parts parts_of(std::int64_t capacity, Device device) {
  require(capacity >= 0 && capacity <= std::numeric_limits<std::int32_t>::max(),
          "capacity: ", capacity, ", expected 0 to 2147483647");
  auto const count = static_cast<std::size_t>(capacity);
  Parts parts{};
  if (device.kind == Device::Kind::cpu) {
    parts.workspace_size = cpu::workspace_bytes(capacity);
  } else {
    cuda::require_built();
    cuda::DeviceGuard const guard(device.id);
    cuda::check(cuda::workspace_bytes(capacity, &parts.workspace_size), "plan");
    parts.early = static_cast<std::int32_t>(std::min<std::int64_t>(capacity, Early::most));
  }
  auto const early = 2 * static_cast<std::size_t>(parts.early);
  parts.early_order = aligned(sizeof(PlanHeader));
  parts.rows = aligned(parts.early_order + early * sizeof(Turn));
  parts.order = aligned(parts.rows + count * sizeof(Row));
  parts.early_rows = aligned(parts.order + count * sizeof(Turn));
  parts.workspace = aligned(parts.early_rows + early * sizeof(Row));
  parts.size = aligned(parts.workspace + parts.workspace_size);
  return parts;
}

/// Runs on the plan's device: device current, queue of its kind.
template <class Work>
void on_device(Plan::State const& state, Work const& work) {
  if (state.device.kind == Device::Kind::cpu) {
    work();
  } else {
    cuda::DeviceGuard const guard(state.device.id);
    work();
  }
}

/// What must not happen in a capture.
void check_no_capture(Device device, Queue queue, char const* what) {
  if (device.kind == Device::Kind::cuda) cuda::require_no_capture(queue, what);
}

void copy(Device device, void* to, void const* from, std::size_t bytes, Queue queue) {
  if (bytes == 0) return;
  if (device.kind == Device::Kind::cpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::copy(to, from, bytes, queue);
  }
}

void clear(Device device, void* memory, std::size_t bytes, Queue queue) {
  if (device.kind == Device::Kind::cpu) {
    std::memset(memory, 0, bytes);
  } else {
    cuda::clear(memory, bytes, queue);
  }
}

void place(Plan::State& state, Parts const& parts, Queue queue) {
  state.size = parts.size;
  auto* const base = static_cast<std::byte*>(state.memory);
  state.header = reinterpret_cast<PlanHeader*>(base);
  state.rows = reinterpret_cast<Row*>(base + parts.rows);
  state.order = reinterpret_cast<Turn*>(base + parts.order);
  state.early = {reinterpret_cast<Row*>(base + parts.early_rows),
                 reinterpret_cast<Turn*>(base + parts.early_order), parts.early};
  state.workspace = base + parts.workspace;
  state.workspace_size = parts.workspace_size;
  on_device(state, [&] { clear(state.device, base, parts.rows, queue); });
}

/// `name` in parts, which become a text only in an error.
template <class... Name>
void check_probability(double value, Name const&... name) {
  require(maths::is_probability(value), name..., ": ", value, ", expected 0 to 1");
}

void check_batch(Extents const& batch, Plan::State const& state) {
  require(batch.samples >= 0, "batch: ", batch.samples, " samples, expected 0 or more");
  require(batch.samples <= state.capacity, "batch: ", batch.samples,
          " samples, the plan's capacity is ", state.capacity);
  require(batch.axes >= 1 && batch.axes <= 3, "batch: ", batch.axes,
          " spatial axes, expected 1 to 3");
  for (int axis = 0; axis < batch.axes; ++axis) {
    require(
        batch.spatial[axis] >= 0 && batch.spatial[axis] <= std::numeric_limits<std::int32_t>::max(),
        "batch: spatial axis ", axis, " is ", batch.spatial[axis], ", expected 0 to 2147483647");
  }
}

/// Box arithmetic is exact below these sizes.
void check_box_sizes(Extents const& batch) {
  double pixels = 1.0;
  for (int axis = 0; axis < batch.axes; ++axis) {
    pixels *= static_cast<double>(batch.spatial[axis]);
    require<unsupported>(batch.axes < 3 || batch.spatial[axis] <= 1 << 20, "batch: spatial axis ",
                         axis, " is ", batch.spatial[axis], ", boxes are built for up to 2^20");
  }
  require<unsupported>(pixels < 0x1p53, "batch: ", pixels,
                       " pixels, boxes are built for below 2^53");
}

void check_shape(float value, int index, char const* side) {
  require(maths::is_shape(value), "spec.policies[", index, "].weight.", side, ": ", value,
          ", expected 1e-6 to 1e6, or both 0 for off");
}

/// The spec's policy; `schedule` may change its weight.
Policy policy_of(Choice const& choice, int index, Extents const& batch, Schedule const& schedule) {
  Policy policy{};
  Beta weight;
  if (auto const* const mixup = std::get_if<Mixup>(&choice.policy)) {
    policy.kind = Policy::Kind::mixup;
    policy.fold = mixup->fold;
    weight = mixup->weight;
  } else {
    CutMix const& cutmix = std::get<CutMix>(choice.policy);
    policy.kind = Policy::Kind::cutmix;
    policy.fold = cutmix.fold;
    policy.boxes = cutmix.boxes.kind;
    weight = cutmix.weight;
    check_box_sizes(batch);
    require(policy.boxes <= Boxes::Kind::min_max, "spec.policies[", index,
            "].boxes.kind: ", static_cast<int>(policy.boxes), ", no such box");
    if (policy.boxes == Boxes::Kind::min_max) {
      Boxes const& boxes = cutmix.boxes;
      check_probability(boxes.lo, "spec.policies[", index, "].boxes.lo");
      check_probability(boxes.hi, "spec.policies[", index, "].boxes.hi");
      require(boxes.lo <= boxes.hi, "spec.policies[", index, "].boxes: lo ", boxes.lo, " above hi ",
              boxes.hi);
      for (int axis = 0; axis < batch.axes; ++axis) {
        auto const length = static_cast<double>(batch.spatial[axis]);
        policy.side_lo[axis] = static_cast<std::int32_t>(std::floor(length * boxes.lo));
        policy.side_hi[axis] = static_cast<std::int32_t>(std::floor(length * boxes.hi));
      }
    }
  }
  require(policy.fold <= Fold::partner, "spec.policies[", index,
          "].fold: ", static_cast<int>(policy.fold), ", no such fold");
  if (!maths::is_off(weight)) {
    check_shape(weight.a, index, "a");
    check_shape(weight.b, index, "b");
    policy.law = maths::make_beta_law(weight.a, weight.b);
  } else if (schedule.weights == nullptr) {
    policy.kind = Policy::Kind::identity;
  }
  return policy;
}

/// Of rows drawn by the spec.
RowTraits traits_of(Spec const& spec) {
  RowTraits traits;
  traits.permutation = spec.pairing != Pairing::replacement && spec.pairing != Pairing::given;
  for (Choice const& choice : spec.policies) {
    traits.boxes = traits.boxes || std::holds_alternative<CutMix>(choice.policy);
  }
  traits.flips = spec.flip > 0.0f;
  return traits;
}

/// Where cycles surely end: with a group, and after every two positions where samples are matched.
Runs runs_of(Spec const& spec, std::int64_t samples, std::uint64_t first) {
  constexpr std::int64_t several = 8;  // as many as a thread reads ahead
  Runs runs{samples, samples};
  if (spec.group > 0) {
    auto const into = static_cast<std::int64_t>(first % static_cast<std::uint64_t>(spec.group));
    runs = {std::min(spec.group - into, samples), spec.group};
  }
  bool const matched = spec.pairing == Pairing::pairs || spec.pairing == Pairing::reverse;
  bool const even = spec.group == 0 || (runs.first % 2 == 0 && runs.size % 2 == 0);
  return matched && even ? Runs{several, several} : runs;
}

/// All but where the draw comes from.
PlanCall call_of(Plan::State const& state, Spec const& spec, Extents const& batch,
                 Schedule const& schedule) {
  cpu::FloatMode const mode;  // whatever the caller's is
  check_batch(batch, state);
  require(spec.pairing <= Pairing::given, "spec.pairing: ", static_cast<int>(spec.pairing),
          ", no such pairing");
  require(spec.granularity <= Granularity::sample,
          "spec.granularity: ", static_cast<int>(spec.granularity), ", no such granularity");
  require(spec.group >= 0, "spec.group: ", spec.group, ", expected 0 or more");
  require(spec.granularity != Granularity::pair || spec.pairing == Pairing::reverse ||
              spec.pairing == Pairing::pairs,
          "spec.granularity: pair, expected with the pairings reverse and pairs");
  check_probability(spec.probability, "spec.probability");
  check_probability(spec.flip, "spec.flip");
  require(spec.flip == 0.0f || batch.width, "spec.flip: ", spec.flip,
          ", the batch's layout has no w to mirror");
  require<unsupported>(spec.policies.size() <= max_policies,
                       "spec.policies: ", spec.policies.size(), ", at most ", max_policies,
                       " are built");

  PlanJob job{};
  job.header = state.header;
  job.rows = state.rows;
  job.order = state.order;
  job.early = state.early;
  job.workspace = state.workspace;
  job.workspace_size = state.workspace_size;
  job.samples = static_cast<std::int32_t>(batch.samples);
  job.group = spec.group;
  job.schedule = schedule;
  job.pairing = spec.pairing;
  job.granularity = spec.granularity;
  job.gate = maths::words_below(spec.probability);
  job.flip = maths::words_below(spec.flip);
  job.axes = batch.axes;
  for (int axis = 0; axis < batch.axes; ++axis) {
    job.spatial[axis] = static_cast<std::int32_t>(batch.spatial[axis]);
  }

  double total = 0.0;
  for (Choice const& choice : spec.policies) {
    int const index = job.policies++;
    check_probability(choice.probability, "spec.policies[", index, "].probability");
    total += static_cast<double>(choice.probability);
    require(total <= 1.0 + maths::share_tolerance, "spec.policies: probabilities sum to ", total,
            ", expected at most 1");
    job.policy[index] = policy_of(choice, index, batch, schedule);
    job.policy[index].below = maths::policy_below(total);
  }
  return {job, batch, traits_of(spec)};
}

/// Of any pairing, the caller's own too.
PlanCall host_call(Plan::State const& state, Spec const& spec, Extents const& batch, Draw draw) {
  PlanCall call = call_of(state, spec, batch, Schedule{});
  check_draw(draw, batch.samples);
  call.job.draw = draw;
  call.traits.runs = runs_of(spec, batch.samples, draw.first);
  return call;
}

void check_not_given(Spec const& spec) {
  require(spec.pairing != Pairing::given, "spec.pairing: given, expected with the call that takes ",
          "partners");
}

bool is_permutation(Row const* rows, std::int64_t samples) {
  std::vector<bool> taken(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i) {
    auto const partner = static_cast<std::size_t>(rows[i].partner);
    if (taken[partner]) return false;
    taken[partner] = true;
  }
  return true;
}

/// The samples of rows made by hand, cycle by cycle.
std::vector<Turn> cycle_order(Row const* rows, std::int64_t samples) {
  auto const count = static_cast<std::size_t>(samples);
  std::vector<bool> placed(count);
  std::vector<Turn> order;
  order.reserve(count);
  for (std::size_t start = 0; start < count; ++start) {
    for (std::size_t i = start; !placed[i]; i = static_cast<std::size_t>(rows[i].partner)) {
      placed[i] = true;
      auto const sample = static_cast<std::int32_t>(i);
      bool const ends = static_cast<std::size_t>(rows[i].partner) == start;
      order.push_back({ends ? ~sample : sample, rows[i].partner});
    }
  }
  return order;
}

/// Where there are no cycles, samples with one partner stand together, so that it is read once.
std::vector<Turn> partner_order(Row const* rows, std::int64_t samples) {
  std::vector<Turn> order;
  order.reserve(static_cast<std::size_t>(samples));
  for (std::int32_t i = 0; i < samples; ++i) order.push_back({~i, rows[i].partner});
  std::sort(order.begin(), order.end(), [](Turn a, Turn b) {
    return std::pair(a.partner, a.sample()) < std::pair(b.partner, b.sample());
  });
  return order;
}

void check_row(Row const& row, std::int64_t index, Extents const& batch) {
  auto const weight = [&](char const* name, float value) {
    require(value >= 0.0f && value <= 1.0f, "rows[", index, "].", name, ": ", value,
            ", expected 0 to 1");
  };
  require(row.partner >= 0 && row.partner < batch.samples, "rows[", index,
          "].partner: ", row.partner, ", expected 0 to ", batch.samples - 1);
  weight("outside", row.outside);
  weight("inside", row.inside);
  weight("label", row.label);
  require(row.flip <= 1, "rows[", index, "].flip: ", row.flip, ", expected 0 or 1");
  require(row.flip == 0 || batch.width, "rows[", index,
          "].flip: 1, the batch's layout has no w to mirror");
  for (int axis = 0; axis < 3; ++axis) {
    std::int64_t const length = axis < batch.axes ? batch.spatial[axis] : 0;
    std::int32_t const lo = row.box.lo[axis], hi = row.box.hi[axis];
    require(0 <= lo && lo <= hi && hi <= length, "rows[", index, "].box: [", lo, ", ", hi,
            ") on axis ", axis, " of length ", length);
  }
}

}  // namespace

void check_apart_from_plan(char const* name, ConstTensorView const& output,
                           Plan::State const& state) {
  ConstTensorView const memory(state.memory, DType::u8, {static_cast<std::int64_t>(state.size)},
                               state.device);
  check_apart(name, output, "plan", memory);
}

void check_draw(Draw draw, std::int64_t samples) {
  require(maths::is_step(draw), "draw.step: ", draw.step, ", expected below 2^48");
  require(maths::fits(draw, samples), "draw.first: ", draw.first, ", with ", samples,
          " samples beyond 2^48");
}

PlanCall call_of(Plan::State const& state, Spec const& spec, Extents const& batch, Draw draw) {
  check_not_given(spec);
  return host_call(state, spec, batch, draw);
}

PlanCall call_of(Plan::State const& state, Spec const& spec, Extents const& batch,
                 Live const& live) {
  check_not_given(spec);
  Schedule const& schedule = live.schedule;
  PlanCall call = call_of(state, spec, batch, schedule);
  auto const check = [&](char const* name, void const* values, DType dtype, std::int64_t count) {
    check_tensor(name, ConstTensorView(values, dtype, {count}, state.device), Access::read);
  };
  check("live.draw", live.draw, DType::i64, 3);
  if (schedule.weights != nullptr) {
    check("live.schedule.weights", schedule.weights, DType::f32, 2 * call.job.policies);
  }
  if (schedule.probabilities != nullptr) {
    check("live.schedule.probabilities", schedule.probabilities, DType::f32, call.job.policies);
  }
  if (schedule.probability != nullptr) {
    check("live.schedule.probability", schedule.probability, DType::f32, 1);
  }
  call.job.live = live.draw;
  if (spec.group == 0) call.traits.runs = runs_of(spec, batch.samples, 0);
  return call;
}

void take(Plan::State& state, PlanCall const& call) noexcept {
  state.extents = call.batch;
  state.drawn = true;
  state.traits = call.traits;
}

void run(Plan::State& state, PlanCall const& call, Queue queue) {
  PlanJob const& job = call.job;
  if (job.samples > 0 || job.live != nullptr) {
    on_device(state, [&] {
      if (state.device.kind == Device::Kind::cpu) return cpu::plan(job, queue.threads());
      int const pending = cuda::pending_error();
      cuda::check(cuda::plan(job, queue.stream()), "plan", pending);  // CUB gives up on any error
    });
  }
  take(state, call);
}

void copy_out(Plan::State const& state, void* to, void const* from, std::size_t bytes,
              Queue queue) {
  on_device(state, [&] { copy(state.device, to, from, bytes, queue); });
}

void read(Plan::State const& state, void* to, void const* from, std::size_t bytes, Queue queue) {
  on_device(state, [&] {
    check_no_capture(state.device, queue, "nothing can be read");
    copy(state.device, to, from, bytes, queue);
    if (state.device.kind == Device::Kind::cuda) cuda::wait(queue);
  });
}

Plan::State::~State() {
  if (!owned) return;
  if (device.kind == Device::Kind::cuda) {
    cuda::release(memory);
  } else {
    ::operator delete (memory, std::align_val_t{alignment});
  }
}

Plan::Plan(std::int64_t capacity, Device device, Queue queue) : state_{new State} {
  check_queue(device, queue);
  Parts const parts = parts_of(capacity, device);
  state_->capacity = capacity;
  state_->device = device;
  on_device(*state_, [&] {
    check_no_capture(device, queue, "a plan cannot allocate");
    state_->memory = device.kind == Device::Kind::cuda
                         ? cuda::allocate(parts.size)
                         : ::operator new (parts.size, std::align_val_t{alignment});
  });
  state_->owned = true;
  place(*state_, parts, queue);
}

Plan::Plan(std::int64_t capacity, Device device, void* memory, std::size_t size, Queue queue)
    : state_{new State} {
  check_queue(device, queue);
  Parts const parts = parts_of(capacity, device);
  require(memory != nullptr, "memory: null pointer");
  require(reinterpret_cast<std::uintptr_t>(memory) % alignment == 0,
          "memory: address is not a multiple of ", alignment);
  require(size >= parts.size, "memory: ", size, " bytes, expected ", parts.size);
  state_->capacity = capacity;
  state_->device = device;
  state_->memory = memory;
  place(*state_, parts, queue);
}

Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

std::size_t Plan::bytes(std::int64_t capacity, Device device) {
  return parts_of(capacity, device).size;
}

std::int64_t Plan::capacity() const noexcept { return state_->capacity; }
Device Plan::device() const noexcept { return state_->device; }
Extents const& Plan::extents() const noexcept { return state_->extents; }
Row const* Plan::rows() const noexcept { return state_->rows; }

void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Draw draw, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  run(state, call_of(state, spec, batch, draw), queue);
}

void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Live live, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  PlanCall const call = call_of(state, spec, batch, live);
  check_apart_from_plan("live.draw", ConstTensorView(live.draw, DType::i64, {3}, state.device),
                        state);
  run(state, call, queue);
}

void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Draw draw,
               ConstTensorView partners, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(spec.pairing == Pairing::given, "spec.pairing: expected given with partners");
  PlanCall call = host_call(state, spec, batch, draw);
  PlanJob& job = call.job;
  check_tensor("partners", partners, Access::read);
  check_device("partners", partners.device, state.device);
  require(partners.rank == 1 && partners.shape[0] == batch.samples, "partners: shape ",
          shape_of(partners), ", expected (", batch.samples, ")");
  require<unsupported>(partners.dtype == DType::i32 || partners.dtype == DType::i64,
                       "partners: ", name_of(partners.dtype), ", expected i32 or i64");
  job.given = partners.data;
  job.given_wide = partners.dtype == DType::i64;
  job.given_stride = partners.stride[0];
  if (state.device.kind == Device::Kind::cpu) {
    for (std::int32_t i = 0; i < job.samples; ++i) {
      require(maths::given_partner(job, i) >= 0, "partners: at ", i, ", expected 0 to ",
              job.samples - 1);
    }
  }
  run(state, call, queue);
}

void plan_into(Plan& plan, Row const* rows, Extents const& batch, Draw draw, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  check_batch(batch, state);
  check_draw(draw, batch.samples);
  cpu::FloatMode const mode;  // whatever the caller's is
  require(rows != nullptr || batch.samples == 0, "rows: null pointer with ", batch.samples,
          " samples");
  RowTraits traits;
  for (std::int64_t i = 0; i < batch.samples; ++i) {
    check_row(rows[i], i, batch);
    traits.flips = traits.flips || rows[i].flip != 0;
    traits.boxes = traits.boxes || rows[i].inside != rows[i].outside;
  }
  traits.permutation = is_permutation(rows, batch.samples);
  traits.runs = {batch.samples, batch.samples};
  auto const order =
      traits.permutation ? cycle_order(rows, batch.samples) : partner_order(rows, batch.samples);
  auto const count = static_cast<std::size_t>(batch.samples);
  on_device(state, [&] {
    check_no_capture(state.device, queue, "rows cannot be uploaded");
    copy(state.device, &state.header->step, &draw.step, sizeof draw.step, queue);
    copy(state.device, state.rows, rows, count * sizeof(Row), queue);
    copy(state.device, state.order, order.data(), count * sizeof(Turn), queue);
    // A copy from pageable memory may still read it.
    if (state.device.kind == Device::Kind::cuda) cuda::wait(queue);
  });
  take(state, {{}, batch, traits});
}

void read_rows(Row* rows, std::int64_t count, Plan const& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  std::int64_t const held = state.extents.samples;
  require(count >= held, "count: ", count, ", expected the plan's ", held, " samples or more");
  require(rows != nullptr || held == 0, "rows: null pointer with ", held, " samples");
  read(state, rows, state.rows, static_cast<std::size_t>(held) * sizeof(Row), queue);
}

std::vector<Row> read_rows(Plan const& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  std::vector<Row> rows(static_cast<std::size_t>(state.extents.samples));
  read(state, rows.data(), state.rows, rows.size() * sizeof(Row), queue);
  return rows;
}

void error_into(ErrorWord* word, Plan const& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(word != nullptr, "word: null pointer");
  copy_out(state, word, &state.header->error, sizeof *word, queue);
}

void clear_error(Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  ErrorWord& word = state.header->error;
  on_device(state, [&] { clear(state.device, &word, sizeof word, queue); });
}

bool operator==(Row const& a, Row const& b) noexcept {
  return a.partner == b.partner && a.outside == b.outside && a.inside == b.inside &&
         a.label == b.label && a.flip == b.flip && std::equal(a.box.lo, a.box.lo + 3, b.box.lo) &&
         std::equal(a.box.hi, a.box.hi + 3, b.box.hi);
}

std::ostream& operator<<(std::ostream& out, Row const& row) {
  std::string text = message("partner ", row.partner, ", outside ", row.outside, ", inside ",
                             row.inside, ", label ", row.label, ", flip ", row.flip, ", box");
  for (int axis = 0; axis < 3; ++axis) {
    text += message(" [", row.box.lo[axis], ", ", row.box.hi[axis], ")");
  }
  return out << text;
}

}  // namespace mixfuse
