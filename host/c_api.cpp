// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>

#include "host/check.hpp"
#include "host/plan.hpp"
#include "host/versioned.hpp"
#include "mixfuse/mixfuse.h"
#include "mixfuse/mixfuse.hpp"

// C's records are C++'s, and its enumerators count as C++'s do.
static_assert(sizeof(mixfuse_draw) == sizeof(mixfuse::Draw));
static_assert(offsetof(mixfuse_draw, step) == offsetof(mixfuse::Draw, step));
static_assert(offsetof(mixfuse_draw, first) == offsetof(mixfuse::Draw, first));
static_assert(sizeof(mixfuse_error_word) == sizeof(mixfuse::ErrorWord));
static_assert(offsetof(mixfuse_error_word, first) == offsetof(mixfuse::ErrorWord, first));
static_assert(sizeof(mixfuse_row) == sizeof(mixfuse::Row));
static_assert(offsetof(mixfuse_row, outside) == offsetof(mixfuse::Row, outside));
static_assert(offsetof(mixfuse_row, inside) == offsetof(mixfuse::Row, inside));
static_assert(offsetof(mixfuse_row, label) == offsetof(mixfuse::Row, label));
static_assert(offsetof(mixfuse_row, flip) == offsetof(mixfuse::Row, flip));
static_assert(offsetof(mixfuse_row, lo) == offsetof(mixfuse::Row, box.lo));
static_assert(offsetof(mixfuse_row, hi) == offsetof(mixfuse::Row, box.hi));

namespace mixfuse {

// A newer structure is larger: it must not fill the padding at the end of an older one.
template <>
struct Released<mixfuse_cuda_info> : Sizes<40> {};
template <>
struct Released<mixfuse_queue> : Sizes<24> {};
template <>
struct Released<mixfuse_policy> : Sizes<48> {};
template <>
struct Released<mixfuse_spec> : Sizes<40> {};
template <>
struct Released<mixfuse_schedule> : Sizes<32> {};
template <>
struct Released<mixfuse_extents> : Sizes<48> {};
template <>
struct Released<mixfuse_label_rule> : Sizes<24> {};
template <>
struct Released<mixfuse_normalise> : Sizes<24> {};
template <>
struct Released<mixfuse_originals> : Sizes<56> {};
template <>
struct Released<mixfuse_mixed> : Sizes<48> {};

namespace {

template <class C, class Cpp>
constexpr bool same(C c, Cpp cpp) {
  return static_cast<int>(c) == static_cast<int>(cpp);
}
static_assert(same(MIXFUSE_LAYOUT_BY_RANK, Layout::by_rank) &&
              same(MIXFUSE_LAYOUT_NF, Layout::nf) && same(MIXFUSE_LAYOUT_NCT, Layout::nct) &&
              same(MIXFUSE_LAYOUT_NCHW, Layout::nchw) && same(MIXFUSE_LAYOUT_NHWC, Layout::nhwc) &&
              same(MIXFUSE_LAYOUT_NTCHW, Layout::ntchw) &&
              same(MIXFUSE_LAYOUT_NCDHW, Layout::ncdhw));
static_assert(same(MIXFUSE_PAIRING_PERMUTATION, Pairing::permutation) &&
              same(MIXFUSE_PAIRING_CYCLE, Pairing::cycle) &&
              same(MIXFUSE_PAIRING_PAIRS, Pairing::pairs) &&
              same(MIXFUSE_PAIRING_REVERSE, Pairing::reverse) &&
              same(MIXFUSE_PAIRING_ROLL, Pairing::roll) &&
              same(MIXFUSE_PAIRING_REPLACEMENT, Pairing::replacement) &&
              same(MIXFUSE_PAIRING_GIVEN, Pairing::given));
static_assert(same(MIXFUSE_GRANULARITY_BATCH, Granularity::batch) &&
              same(MIXFUSE_GRANULARITY_PAIR, Granularity::pair) &&
              same(MIXFUSE_GRANULARITY_SAMPLE, Granularity::sample));
static_assert(same(MIXFUSE_FOLD_NONE, Fold::none) && same(MIXFUSE_FOLD_OWN, Fold::own) &&
              same(MIXFUSE_FOLD_PARTNER, Fold::partner));
static_assert(same(MIXFUSE_BOXES_PAPER, Boxes::Kind::paper) &&
              same(MIXFUSE_BOXES_INSIDE, Boxes::Kind::inside) &&
              same(MIXFUSE_BOXES_UNIFORM, Boxes::Kind::uniform) &&
              same(MIXFUSE_BOXES_MIN_MAX, Boxes::Kind::min_max));
using Code = ErrorWord::Code;
static_assert(same(MIXFUSE_ERROR_NONE, Code::none) && same(MIXFUSE_ERROR_PARTNER, Code::partner) &&
              same(MIXFUSE_ERROR_LABEL, Code::label) &&
              same(MIXFUSE_ERROR_PARTNER_LABEL, Code::partner_label) &&
              same(MIXFUSE_ERROR_DRAW, Code::draw) &&
              same(MIXFUSE_ERROR_PROBABILITY, Code::probability) &&
              same(MIXFUSE_ERROR_WEIGHT, Code::weight));

struct LastError {
  char text[max_message + 1] = {};
  int cuda = 0;
};
thread_local LastError last_error;

mixfuse_status fail(mixfuse_status status, char const* text, int cuda = 0) noexcept {
  std::strncpy(last_error.text, text, max_message);
  last_error.cuda = cuda;
  return status;
}

/// The body's exceptions as a status.
template <class Body>
mixfuse_status status_of(Body const& body) noexcept {
  try {
    body();
    return MIXFUSE_OK;
  } catch (invalid_argument const& caught) {
    return fail(MIXFUSE_INVALID_ARGUMENT, caught.what());
  } catch (unsupported const& caught) {
    return fail(MIXFUSE_UNSUPPORTED, caught.what());
  } catch (cuda_error const& caught) {
    return fail(MIXFUSE_CUDA_ERROR, caught.what(), caught.code());
  } catch (std::bad_alloc const&) {
    return fail(MIXFUSE_OUT_OF_MEMORY, "the host is out of memory");
  } catch (std::exception const& caught) {
    return fail(MIXFUSE_INTERNAL, caught.what());
  } catch (...) {
    return fail(MIXFUSE_INTERNAL, "an exception of unknown type");
  }
}

template <class T>
T& at(T* pointer, char const* name) {
  require(pointer != nullptr, name, ": null pointer");
  return *pointer;
}

// A handle is the object itself under another name.
Plan& at(mixfuse_plan* plan) { return at(reinterpret_cast<Plan*>(plan), "plan"); }
Plan const& at(mixfuse_plan const* plan) { return at(reinterpret_cast<Plan const*>(plan), "plan"); }
Mixer& at(mixfuse_mixer* mixer) { return at(reinterpret_cast<Mixer*>(mixer), "mixer"); }
Mixer const& at(mixfuse_mixer const* mixer) {
  return at(reinterpret_cast<Mixer const*>(mixer), "mixer");
}

/// An enumerator by its number.
template <class Enum, class... Name>
Enum choice(std::int32_t value, Enum last, Name const&... name) {
  int const most = static_cast<int>(last);
  require(value >= 0 && value <= most, name..., ": ", value, ", expected 0 to ", most);
  return static_cast<Enum>(value);
}

Queue queue_of(mixfuse_queue const* given) {
  mixfuse_queue const queue = received(given, "queue");
  bool const cuda = queue.device_type == kDLCUDA;
  require(cuda || queue.device_type == kDLCPU, "queue.device_type: ", queue.device_type,
          ", expected CPU (1) or CUDA (2)");
  require(cuda || queue.stream == nullptr, "queue.stream: expected null on a CPU queue");
  require(!cuda || queue.threads == 0, "queue.threads: ", queue.threads,
          ", expected 0 on a CUDA queue");
  return cuda ? Queue::cuda(static_cast<CUstream_st*>(queue.stream)) : Queue::cpu(queue.threads);
}

Choice choice_of(mixfuse_policy const& policy, std::uint32_t index) {
  auto const within = [&](std::int32_t value, auto last, char const* name) {
    return choice(value, last, "spec.policies[", index, "].", name);
  };
  enum class Kind { mixup = MIXFUSE_POLICY_MIXUP, cutmix = MIXFUSE_POLICY_CUTMIX };
  Kind const kind = within(policy.kind, Kind::cutmix, "kind");
  Beta const weight{policy.a, policy.b};
  Fold const fold = within(policy.fold, Fold::partner, "fold");
  if (kind == Kind::mixup) return {Mixup{weight, fold}, policy.probability};
  Boxes::Kind const boxes = within(policy.boxes, Boxes::Kind::min_max, "boxes");
  return {CutMix{weight, fold, {boxes, policy.lo, policy.hi}}, policy.probability};
}

Spec spec_of(mixfuse_spec const* given) {
  mixfuse_spec const from = received(given, "spec");
  require<unsupported>(from.policy_count <= max_policies, "spec.policies: ", from.policy_count,
                       ", at most ", max_policies, " are built");
  require(from.policies != nullptr || from.policy_count == 0, "spec.policies: null pointer");
  Spec spec;
  spec.policies.reserve(from.policy_count);
  auto const* next = reinterpret_cast<std::byte const*>(from.policies);
  for (std::uint32_t i = 0; i < from.policy_count; ++i) {
    mixfuse_policy const policy =
        received(reinterpret_cast<mixfuse_policy const*>(next), "spec.policies[", i, "]");
    spec.policies.push_back(choice_of(policy, i));
    next += policy.struct_size;  // as the caller's compiler laid them out
  }
  spec.probability = from.probability;
  spec.pairing = choice(from.pairing, Pairing::given, "spec.pairing");
  spec.granularity = choice(from.granularity, Granularity::sample, "spec.granularity");
  spec.group = from.group;
  spec.flip = from.flip;
  return spec;
}

Draw draw_of(mixfuse_draw const* given) {
  mixfuse_draw const& draw = at(given, "draw");
  return {draw.seed, draw.step, draw.first};
}

Schedule schedule_of(mixfuse_schedule const* given) {
  if (given == nullptr) return {};
  mixfuse_schedule const schedule = received(given, "schedule");
  static_assert(sizeof(Beta) == 2 * sizeof(float));
  return {reinterpret_cast<Beta const*>(schedule.weights), schedule.probabilities,
          schedule.probability};
}

Extents extents_of(mixfuse_extents const* given) {
  mixfuse_extents const from = received(given, "batch");
  require(from.width == 0 || from.width == 1, "batch.width: ", from.width, ", expected 0 or 1");
  Extents extents{from.samples, from.axes, {}, from.width == 1};
  std::copy(from.spatial, from.spatial + 3, extents.spatial);
  return extents;
}

mixfuse_extents c_extents_of(Extents const& from) {
  mixfuse_extents extents = mixfuse_make_extents();
  extents.axes = from.axes;
  extents.width = from.width ? 1 : 0;
  extents.samples = from.samples;
  std::copy(from.spatial, from.spatial + 3, extents.spatial);
  return extents;
}

TensorView view_of(char const* name, DLTensor const* tensor) {
  return from_dlpack(name, at(tensor, name));
}

ConstTensorView optional_view_of(char const* name, DLTensor const* tensor) {
  return tensor == nullptr ? TensorView{} : from_dlpack(name, *tensor);
}

TensorView images_of(char const* name, DLTensor const* tensor, std::int32_t layout) {
  return from_dlpack(name, at(tensor, name), choice(layout, Layout::ncdhw, name, ".layout"));
}

Samples images_of(mixfuse_originals const& in) {
  ConstTensorView const own = images_of("images", in.images, in.layout);
  if (in.partners == nullptr) return own;
  return {own, images_of("partners", in.partners, in.layout)};
}

Samples labels_of(mixfuse_originals const& in) {
  return {view_of("labels", in.labels), optional_view_of("labels.partners", in.labels_partners)};
}

LabelRule rule_of(mixfuse_originals const& in) {
  if (in.rule == nullptr) return {};
  mixfuse_label_rule const from = received(in.rule, "rule");
  LabelRule rule;
  rule.smoothing = from.smoothing;
  rule.classes = from.classes;
  if (from.ignored != nullptr) rule.ignored = *from.ignored;
  return rule;
}

Normalise normalise_of(mixfuse_originals const& in) {
  if (in.normalise == nullptr) return {};
  mixfuse_normalise const from = received(in.normalise, "normalise");
  require(from.channels >= 1 && from.channels <= max_channels,
          "normalise.channels: ", from.channels, ", expected 1 to ", max_channels);
  Normalise normalise;
  normalise.channels = from.channels;
  std::copy_n(&at(from.mean, "normalise.mean"), from.channels, normalise.mean);
  std::copy_n(&at(from.std, "normalise.std"), from.channels, normalise.std);
  return normalise;
}

Targets targets_of(mixfuse_mixed const& out) {
  bool const sparse =
      out.targets_own != nullptr || out.targets_partner != nullptr || out.targets_weight != nullptr;
  if (!sparse) return view_of("targets", out.targets);
  require(out.targets == nullptr, "targets: dense and sparse ones, expected either");
  return {view_of("targets.own", out.targets_own), view_of("targets.partner", out.targets_partner),
          view_of("targets.weight", out.targets_weight)};
}

Mixed mixed_of(mixfuse_mixed const* given) {
  mixfuse_mixed const out = received(given, "out");
  return {images_of("out", out.images, out.layout), targets_of(out)};
}

Originals originals_of(mixfuse_originals const* given) {
  mixfuse_originals const in = received(given, "in");
  return {images_of(in), labels_of(in), rule_of(in), normalise_of(in)};
}

/// A batch that is mixed in place, and its labels.
struct InPlace {
  Mixed inout;
  Samples labels;
  LabelRule rule;
};

InPlace in_place_of(mixfuse_mixed const* given_inout, mixfuse_originals const* given_in) {
  mixfuse_mixed const inout = received(given_inout, "inout");
  mixfuse_originals const in = received(given_in, "in");
  require(in.images == nullptr, "images: expected null in place, where `inout` has them");
  require(in.partners == nullptr, "partners: expected null in place, where there is one batch");
  require(in.normalise == nullptr, "normalise: expected null in place");
  return {{images_of("images", inout.images, inout.layout), targets_of(inout)},
          labels_of(in),
          rule_of(in)};
}

/// In the caller's memory, or its own where there is none.
Plan make_plan(std::int64_t capacity, DLDevice device, void* memory, std::size_t size,
               mixfuse_queue const* queue) {
  Device const where = from_dlpack("device", device);
  if (memory == nullptr && size == 0) return Plan(capacity, where, queue_of(queue));
  return Plan(capacity, where, memory, size, queue_of(queue));
}

/// Unless another thread is using it.
template <class Object>
void destroy(Object* object, Plan::State& state) {
  { InUse const use(state); }
  delete object;
}

ErrorWord word_of(mixfuse_error_word const* word) { return {word->claim, word->first}; }

}  // namespace
}  // namespace mixfuse

using namespace mixfuse;

char const* mixfuse_last_error(void) { return last_error.text; }

int mixfuse_last_cuda_error(void) { return last_error.cuda; }

char const* mixfuse_version(void) { return version(); }

int mixfuse_stream_version(void) { return stream_version(); }

mixfuse_status mixfuse_get_cuda_info(mixfuse_cuda_info* info) {
  return status_of([&] {
    CudaInfo const& from = cuda_info();
    mixfuse_cuda_info to{};
    to.built = from.built ? 1 : 0;
    to.devices = from.devices;
    to.driver = from.driver;
    to.runtime = from.runtime;
    to.architectures = from.architectures.c_str();
    to.absent = from.absent.c_str();
    hand_back(to, info, "info");
  });
}

void mixfuse_set_checked(int on) { set_checked(on != 0); }

mixfuse_status mixfuse_extents_of(DLTensor const* images, std::int32_t layout,
                                  mixfuse_extents* extents) {
  return status_of([&] {
    hand_back(c_extents_of(extents_of(images_of("images", images, layout))), extents, "extents");
  });
}

mixfuse_status mixfuse_plan_bytes(std::int64_t capacity, DLDevice device, std::size_t* bytes) {
  return status_of(
      [&] { at(bytes, "bytes") = Plan::bytes(capacity, from_dlpack("device", device)); });
}

mixfuse_status mixfuse_plan_create(std::int64_t capacity, DLDevice device, void* memory,
                                   std::size_t memory_size, mixfuse_queue const* queue,
                                   mixfuse_plan** plan) {
  return status_of([&] {
    mixfuse_plan*& made = at(plan, "plan");
    made = reinterpret_cast<mixfuse_plan*>(
        new Plan(make_plan(capacity, device, memory, memory_size, queue)));
  });
}

mixfuse_status mixfuse_plan_destroy(mixfuse_plan* plan) {
  return status_of([&] {
    if (plan != nullptr) destroy(&at(plan), at(plan).state());
  });
}

mixfuse_status mixfuse_plan_into(mixfuse_plan* plan, mixfuse_spec const* spec,
                                 mixfuse_extents const* batch, mixfuse_draw const* draw,
                                 mixfuse_queue const* queue) {
  return status_of([&] {
    plan_into(at(plan), spec_of(spec), extents_of(batch), draw_of(draw), queue_of(queue));
  });
}

mixfuse_status mixfuse_plan_into_live(mixfuse_plan* plan, mixfuse_spec const* spec,
                                      mixfuse_extents const* batch, mixfuse_draw* live,
                                      mixfuse_schedule const* schedule,
                                      mixfuse_queue const* queue) {
  return status_of([&] {
    plan_into(at(plan), spec_of(spec), extents_of(batch),
              Live(reinterpret_cast<Draw*>(&at(live, "live")), schedule_of(schedule)),
              queue_of(queue));
  });
}

mixfuse_status mixfuse_plan_into_given(mixfuse_plan* plan, mixfuse_spec const* spec,
                                       mixfuse_extents const* batch, mixfuse_draw const* draw,
                                       DLTensor const* partners, mixfuse_queue const* queue) {
  return status_of([&] {
    plan_into(at(plan), spec_of(spec), extents_of(batch), draw_of(draw),
              view_of("partners", partners), queue_of(queue));
  });
}

mixfuse_status mixfuse_plan_into_rows(mixfuse_plan* plan, mixfuse_row const* rows,
                                      mixfuse_extents const* batch, mixfuse_draw const* draw,
                                      mixfuse_queue const* queue) {
  return status_of([&] {
    plan_into(at(plan), reinterpret_cast<Row const*>(rows), extents_of(batch), draw_of(draw),
              queue_of(queue));
  });
}

mixfuse_status mixfuse_read_rows(mixfuse_plan const* plan, mixfuse_row* rows, std::int64_t count,
                                 mixfuse_queue const* queue) {
  return status_of(
      [&] { read_rows(reinterpret_cast<Row*>(rows), count, at(plan), queue_of(queue)); });
}

mixfuse_status mixfuse_plan_rows(mixfuse_plan const* plan, mixfuse_row const** rows) {
  return status_of([&] {
    mixfuse_row const*& to = at(rows, "rows");
    to = reinterpret_cast<mixfuse_row const*>(at(plan).rows());
  });
}

mixfuse_status mixfuse_plan_extents(mixfuse_plan const* plan, mixfuse_extents* batch) {
  return status_of([&] {
    Plan const& from = at(plan);
    InUse const use(from.state());
    hand_back(c_extents_of(from.extents()), batch, "batch");
  });
}

mixfuse_status mixfuse_error_into(mixfuse_error_word* word, mixfuse_plan const* plan,
                                  mixfuse_queue const* queue) {
  return status_of(
      [&] { error_into(reinterpret_cast<ErrorWord*>(word), at(plan), queue_of(queue)); });
}

mixfuse_status mixfuse_clear_error(mixfuse_plan* plan, mixfuse_queue const* queue) {
  return status_of([&] { clear_error(at(plan), queue_of(queue)); });
}

int mixfuse_error_code_of(mixfuse_error_word const* word) {
  return static_cast<int>(word_of(word).code());
}

std::uint64_t mixfuse_error_step_of(mixfuse_error_word const* word) { return word_of(word).step(); }

std::int64_t mixfuse_error_sample_of(mixfuse_error_word const* word) {
  return word_of(word).sample();
}

mixfuse_status mixfuse_mix_into(mixfuse_mixed const* out, mixfuse_originals const* in,
                                mixfuse_plan* plan, mixfuse_queue const* queue) {
  return status_of([&] {
    mixfuse_mixed const to = received(out, "out");
    mixfuse_originals const from = received(in, "in");
    mix_into(images_of("out", to.images, to.layout), images_of(from), normalise_of(from), at(plan),
             queue_of(queue));
  });
}

mixfuse_status mixfuse_mix_in_place(DLTensor const* images, std::int32_t layout, mixfuse_plan* plan,
                                    mixfuse_queue const* queue) {
  return status_of(
      [&] { mix_in_place(images_of("images", images, layout), at(plan), queue_of(queue)); });
}

mixfuse_status mixfuse_label_into(mixfuse_mixed const* out, mixfuse_originals const* in,
                                  mixfuse_plan* plan, mixfuse_queue const* queue) {
  return status_of([&] {
    mixfuse_mixed const to = received(out, "out");
    mixfuse_originals const from = received(in, "in");
    label_into(targets_of(to), labels_of(from), rule_of(from), at(plan), queue_of(queue));
  });
}

mixfuse_status mixfuse_step_into(mixfuse_mixed const* out, mixfuse_originals const* in,
                                 mixfuse_plan* plan, mixfuse_queue const* queue) {
  return status_of([&] { step_into(mixed_of(out), originals_of(in), at(plan), queue_of(queue)); });
}

mixfuse_status mixfuse_step_in_place(mixfuse_mixed const* inout, mixfuse_originals const* in,
                                     mixfuse_plan* plan, mixfuse_queue const* queue) {
  return status_of([&] {
    InPlace const step = in_place_of(inout, in);
    step_in_place(step.inout, step.labels, step.rule, at(plan), queue_of(queue));
  });
}

mixfuse_status mixfuse_mixer_create(mixfuse_spec const* spec, mixfuse_draw const* first,
                                    std::int64_t capacity, DLDevice device, void* memory,
                                    std::size_t memory_size, mixfuse_queue const* queue,
                                    mixfuse_mixer** mixer) {
  return status_of([&] {
    mixfuse_mixer*& made = at(mixer, "mixer");
    Spec does = spec_of(spec);
    Draw const draw = draw_of(first);
    check_mixer(does, draw);
    made = reinterpret_cast<mixfuse_mixer*>(
        new Mixer(make_plan(capacity, device, memory, memory_size, queue), std::move(does), draw,
                  queue_of(queue)));
  });
}

mixfuse_status mixfuse_mixer_destroy(mixfuse_mixer* mixer) {
  return status_of([&] {
    if (mixer != nullptr) destroy(&at(mixer), at(mixer).plan().state());
  });
}

mixfuse_status mixfuse_mixer_step(mixfuse_mixer* mixer, mixfuse_mixed const* out,
                                  mixfuse_originals const* in, mixfuse_queue const* queue) {
  return status_of([&] { at(mixer)(mixed_of(out), originals_of(in), queue_of(queue)); });
}

mixfuse_status mixfuse_mixer_step_in_place(mixfuse_mixer* mixer, mixfuse_mixed const* inout,
                                           mixfuse_originals const* in,
                                           mixfuse_queue const* queue) {
  return status_of([&] {
    InPlace const step = in_place_of(inout, in);
    at(mixer).in_place(step.inout, step.labels, step.rule, queue_of(queue));
  });
}

mixfuse_status mixfuse_mixer_follow(mixfuse_mixer* mixer, mixfuse_schedule const* schedule) {
  return status_of([&] { at(mixer).follow(schedule_of(schedule)); });
}

mixfuse_status mixfuse_mixer_set_draw(mixfuse_mixer* mixer, mixfuse_draw const* draw,
                                      mixfuse_queue const* queue) {
  return status_of([&] { at(mixer).set_draw(draw_of(draw), queue_of(queue)); });
}

mixfuse_status mixfuse_mixer_draw_into(mixfuse_mixer const* mixer, mixfuse_draw* draw,
                                       mixfuse_queue const* queue) {
  return status_of([&] { at(mixer).draw_into(reinterpret_cast<Draw*>(draw), queue_of(queue)); });
}

mixfuse_status mixfuse_mixer_read_draw(mixfuse_mixer const* mixer, mixfuse_draw* draw,
                                       mixfuse_queue const* queue) {
  return status_of([&] {
    mixfuse_draw& to = at(draw, "draw");
    Draw const read = at(mixer).read_draw(queue_of(queue));
    to = {read.seed, read.step, read.first};
  });
}

mixfuse_status mixfuse_mixer_plan(mixfuse_mixer const* mixer, mixfuse_plan const** plan) {
  return status_of([&] {
    mixfuse_plan const*& to = at(plan, "plan");
    to = reinterpret_cast<mixfuse_plan const*>(&at(mixer).plan());
  });
}

mixfuse_status mixfuse_mixer_clear_error(mixfuse_mixer* mixer, mixfuse_queue const* queue) {
  return status_of([&] { at(mixer).clear_error(queue_of(queue)); });
}
