// SPDX-License-Identifier: Apache-2.0
#include "host/plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <ostream>
#include <string>
#include <utility>

#include "host/cuda.hpp"
#include "host/tensor.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/maths/row.hpp"

namespace mixfuse {
namespace {

constexpr std::size_t alignment = 256;
constexpr std::uint64_t index_limit = std::uint64_t{1} << 48;
constexpr std::uint64_t always = std::uint64_t{1} << 32;

/// Where the parts of a plan lie in its memory.
struct Parts {
  std::size_t rows, order, workspace, workspace_size, size;
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
  }
  parts.rows = aligned(sizeof(PlanHeader));
  parts.order = aligned(parts.rows + count * sizeof(Row));
  parts.workspace = aligned(parts.order + count * sizeof(std::int32_t));
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

void clear_error_word(Plan::State const& state, Queue queue) {
  if (state.device.kind == Device::Kind::cpu) {
    state.header->error = {};
  } else {
    cuda::clear(&state.header->error, sizeof state.header->error, queue);
  }
}

void place(Plan::State& state, Parts const& parts, Queue queue) {
  state.size = parts.size;
  auto* const base = static_cast<std::byte*>(state.memory);
  state.header = reinterpret_cast<PlanHeader*>(base);
  state.rows = reinterpret_cast<Row*>(base + parts.rows);
  state.order = reinterpret_cast<std::int32_t*>(base + parts.order);
  state.workspace = base + parts.workspace;
  state.workspace_size = parts.workspace_size;
  on_device(state, [&] { clear_error_word(state, queue); });
}

void check_probability(char const* name, double value) {
  require(value >= 0.0 && value <= 1.0, name, ": ", value, ", expected 0 to 1");
}

/// A share of the 2^32 words.
std::uint64_t words_below(double probability) {
  return static_cast<std::uint64_t>(probability * static_cast<double>(always) + 0.5);
}

void check_draw(Draw draw, std::int64_t samples) {
  require(draw.step < index_limit, "draw.step: ", draw.step, ", expected below 2^48");
  require(
      draw.first <= index_limit && static_cast<std::uint64_t>(samples) <= index_limit - draw.first,
      "draw.first: ", draw.first, ", with ", samples, " samples beyond 2^48");
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

/// Whether the policy is on.
bool check_beta(std::string const& name, Beta beta) {
  if (beta.a == 0.0f && beta.b == 0.0f) return false;
  auto const check = [&](char const* side, float value) {
    require(value >= 1e-6f && value <= 1e6f, name, side, ": ", value,
            ", expected 1e-6 to 1e6, or both 0 for off");
  };
  check(".a", beta.a);
  check(".b", beta.b);
  return true;
}

Policy policy_of(Choice const& choice, std::string const& name, Extents const& batch) {
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
    require(policy.boxes <= Boxes::Kind::min_max, name,
            ".boxes.kind: ", static_cast<int>(policy.boxes), ", no such box");
    if (policy.boxes == Boxes::Kind::min_max) {
      Boxes const& boxes = cutmix.boxes;
      check_probability((name + ".boxes.lo").c_str(), boxes.lo);
      check_probability((name + ".boxes.hi").c_str(), boxes.hi);
      require(boxes.lo <= boxes.hi, name, ".boxes: lo ", boxes.lo, " above hi ", boxes.hi);
      for (int axis = 0; axis < batch.axes; ++axis) {
        auto const length = static_cast<double>(batch.spatial[axis]);
        policy.side_lo[axis] = static_cast<std::int32_t>(std::floor(length * boxes.lo));
        policy.side_hi[axis] = static_cast<std::int32_t>(std::floor(length * boxes.hi));
      }
    }
  }
  require(policy.fold <= Fold::partner, name, ".fold: ", static_cast<int>(policy.fold),
          ", no such fold");
  if (check_beta(name + ".weight", weight)) {
    policy.law = maths::make_beta_law(weight.a, weight.b);
  } else {
    policy.kind = Policy::Kind::identity;
  }
  return policy;
}

PlanJob job_of(Plan::State const& state, Spec const& spec, Extents const& batch, Draw draw) {
  check_batch(batch, state);
  check_draw(draw, batch.samples);
  require(spec.pairing <= Pairing::given, "spec.pairing: ", static_cast<int>(spec.pairing),
          ", no such pairing");
  require(spec.granularity <= Granularity::sample,
          "spec.granularity: ", static_cast<int>(spec.granularity), ", no such granularity");
  require(spec.group >= 0, "spec.group: ", spec.group, ", expected 0 or more");
  require(spec.granularity != Granularity::pair || spec.pairing == Pairing::reverse ||
              spec.pairing == Pairing::pairs,
          "spec.granularity: pair, expected with the pairings reverse and pairs");
  check_probability("spec.probability", spec.probability);
  check_probability("spec.flip", spec.flip);
  require(spec.flip == 0.0f || batch.width, "spec.flip: ", spec.flip,
          ", the batch's layout has no w to mirror");
  require<unsupported>(spec.policies.size() <= max_policies,
                       "spec.policies: ", spec.policies.size(), ", at most ", max_policies,
                       " are built");

  PlanJob job{};
  job.header = state.header;
  job.rows = state.rows;
  job.order = state.order;
  job.workspace = state.workspace;
  job.workspace_size = state.workspace_size;
  job.samples = static_cast<std::int32_t>(batch.samples);
  job.group = spec.group;
  job.draw = draw;
  job.pairing = spec.pairing;
  job.granularity = spec.granularity;
  job.gate = words_below(spec.probability);
  job.flip = words_below(spec.flip);
  job.axes = batch.axes;
  for (int axis = 0; axis < batch.axes; ++axis) {
    job.spatial[axis] = static_cast<std::int32_t>(batch.spatial[axis]);
  }

  cpu::FloatMode const mode;  // the laws are made here
  double total = 0.0;
  for (Choice const& choice : spec.policies) {
    std::string const name = message("spec.policies[", job.policies, "]");
    check_probability((name + ".probability").c_str(), choice.probability);
    total += static_cast<double>(choice.probability);
    // Shares such as three times 1/3 are rounded as floats.
    require(total <= 1.0 + 1e-6, "spec.policies: probabilities sum to ", total,
            ", expected at most 1");
    Policy& policy = job.policy[job.policies++] = policy_of(choice, name, batch);
    policy.below = total > 1.0 - 1e-6 ? always : words_below(total);
  }
  return job;
}

/// What is true of the plan once the job is queued.
void commit(Plan::State& state, Extents const& batch, RowTraits traits) {
  state.extents = batch;
  state.drawn = true;
  state.traits = traits;
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

void run(Plan::State& state, PlanJob const& job, Queue queue) {
  if (job.samples == 0) return;
  if (state.device.kind == Device::Kind::cpu) {
    cpu::plan(job, queue.threads());
  } else {
    cuda::DeviceGuard const guard(state.device.id);
    int const pending = cuda::pending_error();
    cuda::check(cuda::plan(job, queue.stream()), "plan", pending);  // CUB gives up on any error
  }
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
std::vector<std::int32_t> cycle_order(Row const* rows, std::int64_t samples) {
  auto const count = static_cast<std::size_t>(samples);
  std::vector<bool> placed(count);
  std::vector<std::int32_t> order;
  order.reserve(count);
  for (std::size_t start = 0; start < count; ++start) {
    for (std::size_t i = start; !placed[i]; i = static_cast<std::size_t>(rows[i].partner)) {
      placed[i] = true;
      auto const sample = static_cast<std::int32_t>(i);
      bool const ends = static_cast<std::size_t>(rows[i].partner) == start;
      order.push_back(ends ? ~sample : sample);
    }
  }
  return order;
}

/// Where there are no cycles, samples with one partner stand together, so that it is read once.
std::vector<std::int32_t> partner_order(Row const* rows, std::int64_t samples) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(samples));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return std::pair(rows[a].partner, a) < std::pair(rows[b].partner, b);
  });
  for (std::int32_t& sample : order) sample = ~sample;
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
  require(spec.pairing != Pairing::given, "spec.pairing: given, expected with the call that takes ",
          "partners");
  run(state, job_of(state, spec, batch, draw), queue);
  commit(state, batch, traits_of(spec));
}

void plan_into(Plan& plan, Spec const& spec, Extents const& batch, Draw draw,
               ConstTensorView partners, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(spec.pairing == Pairing::given, "spec.pairing: expected given with partners");
  PlanJob job = job_of(state, spec, batch, draw);
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
  run(state, job, queue);
  commit(state, batch, traits_of(spec));
}

void plan_into(Plan& plan, Row const* rows, Extents const& batch, Draw draw, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  check_batch(batch, state);
  check_draw(draw, batch.samples);
  require(rows != nullptr || batch.samples == 0, "rows: null pointer with ", batch.samples,
          " samples");
  RowTraits traits;
  for (std::int64_t i = 0; i < batch.samples; ++i) {
    check_row(rows[i], i, batch);
    traits.flips = traits.flips || rows[i].flip != 0;
    traits.boxes = traits.boxes || rows[i].inside != rows[i].outside;
  }
  traits.permutation = is_permutation(rows, batch.samples);
  auto const order =
      traits.permutation ? cycle_order(rows, batch.samples) : partner_order(rows, batch.samples);
  auto const count = static_cast<std::size_t>(batch.samples);
  on_device(state, [&] {
    check_no_capture(state.device, queue, "rows cannot be uploaded");
    copy(state.device, &state.header->step, &draw.step, sizeof draw.step, queue);
    copy(state.device, state.rows, rows, count * sizeof(Row), queue);
    copy(state.device, state.order, order.data(), count * sizeof(std::int32_t), queue);
    // A copy from pageable memory may still read it.
    if (state.device.kind == Device::Kind::cuda) cuda::wait(queue);
  });
  commit(state, batch, traits);
}

std::vector<Row> read_rows(Plan const& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  std::vector<Row> rows(static_cast<std::size_t>(state.extents.samples));
  on_device(state, [&] {
    check_no_capture(state.device, queue, "rows cannot be read");
    copy(state.device, rows.data(), state.rows, rows.size() * sizeof(Row), queue);
    if (state.device.kind == Device::Kind::cuda) cuda::wait(queue);
  });
  return rows;
}

void error_into(ErrorWord* word, Plan const& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(word != nullptr, "word: null pointer");
  on_device(state, [&] { copy(state.device, word, &state.header->error, sizeof *word, queue); });
}

void clear_error(Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  on_device(state, [&] { clear_error_word(state, queue); });
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
