// SPDX-License-Identifier: Apache-2.0

// Bad calls through C: the status and the text say what is wrong, and nothing is written.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "host/plan.hpp"
#include "tests/support/c_api.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

constexpr std::int64_t samples = 4, classes = 5;

/// All that C's functions take, right; each case makes one thing wrong.
struct Scene {
  Place place = here();
  Tensor images{place, tagged(DType::f32, {samples, 2, 3, 6})};
  Tensor second{place, tagged(DType::f32, {samples, 2, 3, 6})};
  Tensor target{place, DType::f32, {samples, 2, 3, 6}};
  Tensor class_ids{place, ids(DType::i64, {0, 1, 2, 3})};
  Tensor rows_out{place, DType::f32, {samples, classes}};
  Tensor own_out{place, DType::i64, {samples}};
  Tensor partner_out{place, DType::i64, {samples}};
  Tensor weight_out{place, DType::f32, {samples}};
  Tensor partners{place, ids(DType::i64, {1, 0, 3, 2})};
  Handed dl_images{images.view()}, dl_second{second.view()}, dl_target{target.view()};
  Handed dl_ids{class_ids.view()}, dl_rows{rows_out.view()}, dl_own{own_out.view()};
  Handed dl_partner{partner_out.view()}, dl_weight{weight_out.view()};
  Handed dl_partners{partners.view()};
  Buffer live_memory{place, sizeof(Draw)};
  Plan plan_object = make_plan(place, cutmix_spec(), image(samples, 3, 6), {1, 2, 3});
  Mixer mixer_object{cutmix_spec(), {1, 2, 3}, samples, place.device, place.queue};
  CSpec does{cutmix_spec()};
  CSpec takes{given_spec()};
  std::vector<mixfuse_row> made = std::vector<mixfuse_row>(samples);
  double mean[2] = {0.5, 0.4}, deviation[2] = {0.25, 0.5};
  mixfuse_label_rule rule_object = mixfuse_make_label_rule();
  mixfuse_normalise map = mixfuse_make_normalise(2, mean, deviation);
  mixfuse_schedule schedule_object = mixfuse_make_schedule();
  mixfuse_queue queue_object = c_queue(place.queue);
  mixfuse_extents extents = c_extents(image(samples, 3, 6));
  mixfuse_draw draw_object{5, 6, 7};
  mixfuse_error_word word_object{1, 2};
  mixfuse_originals from = mixfuse_make_originals();
  mixfuse_mixed to = mixfuse_make_mixed();
  mixfuse_cuda_info info_object{};
  std::size_t size_object = 3;
  mixfuse_plan* new_plan = reinterpret_cast<mixfuse_plan*>(this);  // any
  mixfuse_mixer* new_mixer = reinterpret_cast<mixfuse_mixer*>(this);
  mixfuse_plan const* plan_found = nullptr;
  mixfuse_row const* rows_found = nullptr;

  // The arguments.
  mixfuse_plan* plan = reinterpret_cast<mixfuse_plan*>(&plan_object);
  mixfuse_mixer* mixer = reinterpret_cast<mixfuse_mixer*>(&mixer_object);
  mixfuse_spec const* spec = &does.spec;
  mixfuse_spec const* spec_of_given = &takes.spec;
  mixfuse_extents* batch = &extents;
  mixfuse_draw* draw = &draw_object;
  mixfuse_draw* live = static_cast<mixfuse_draw*>(live_memory.data());
  mixfuse_schedule* schedule = &schedule_object;
  mixfuse_queue* queue = &queue_object;
  mixfuse_row* rows = made.data();
  DLTensor* given = dl_partners;
  DLTensor* one = dl_images;
  mixfuse_error_word* word = &word_object;
  mixfuse_originals* in = &from;
  mixfuse_mixed* out = &to;
  mixfuse_cuda_info* info = &info_object;
  std::size_t* size = &size_object;
  mixfuse_plan** plan_to = &new_plan;
  mixfuse_mixer** mixer_to = &new_mixer;
  mixfuse_plan const** plan_of = &plan_found;
  mixfuse_row const** rows_at = &rows_found;
  std::int32_t layout = MIXFUSE_LAYOUT_NCHW;
  DLDevice device = dl_device(place.device);

  static Spec given_spec() {
    Spec spec = mixup_spec();
    spec.pairing = Pairing::given;
    return spec;
  }

  Scene() {
    Draw const start{1, 2, 3};
    live_memory.write(std::as_bytes(std::span(&start, 1)));
    from.images = dl_images;
    from.labels = dl_ids;
    from.rule = &rule_object;
    from.normalise = &map;
    to.images = dl_target;
    to.targets = dl_rows;
    info_object.struct_size = sizeof info_object;
  }

  void to_sparse() {
    to.targets = nullptr;
    to.targets_own = dl_own;
    to.targets_partner = dl_partner;
    to.targets_weight = dl_weight;
    rule_object.classes = classes;
  }
  void to_place() {
    to.images = dl_images;
    from.images = nullptr;
    from.normalise = nullptr;
  }

  /// All bytes that a refused call must leave alone.
  [[nodiscard]] std::vector<Bytes> state() const {
    std::vector<Bytes> bytes;
    for (Tensor const* const tensor : {&images, &second, &target, &class_ids, &rows_out, &own_out,
                                       &partner_out, &weight_out, &partners}) {
      bytes.push_back(tensor->raw());
    }
    bytes.push_back(live_memory.read());
    auto const keep = [&](void const* at, std::size_t count) {
      auto const* const first = static_cast<std::byte const*>(at);
      bytes.emplace_back(first, first + count);
    };
    auto const now = read_rows(plan_object, place.queue);
    keep(now.data(), now.size() * sizeof(Row));
    Draw const next = mixer_object.read_draw(place.queue);
    keep(&next, sizeof next);
    ErrorWord const error = error_of(plan_object, place);
    keep(&error, sizeof error);
    keep(&extents, sizeof extents);
    keep(&draw_object, sizeof draw_object);
    keep(&word_object, sizeof word_object);
    keep(&info_object, sizeof info_object);
    keep(&size_object, sizeof size_object);
    keep(made.data(), made.size() * sizeof(mixfuse_row));
    for (void const* const handle :
         std::initializer_list<void const*>{new_plan, new_mixer, plan_found, rows_found}) {
      keep(&handle, sizeof handle);
    }
    return bytes;
  }
};

using Call = std::function<mixfuse_status(Scene&)>;
using Change = std::function<void(Scene&)>;

/// `change` makes `call` bad.
void expect_refused(mixfuse_status status, std::string const& named, Call const& call,
                    Change const& change) {
  SCOPED_TRACE("expected to name " + named);
  Scene scene;
  change(scene);
  auto const before = scene.state();
  calls::reset();
  EXPECT_EQ(call(scene), status) << mixfuse_last_error();
  std::string const text = mixfuse_last_error();
  EXPECT_EQ(text.find(named), 0u) << text;
  if (on_cuda() && calls::counted()) {
    EXPECT_EQ(calls::count("ops"), 0) << text;
  }
  EXPECT_EQ(scene.state(), before) << text;
}

mixfuse_status draw(Scene& s) {
  return mixfuse_plan_into(s.plan, s.spec, s.batch, s.draw, s.queue);
}
mixfuse_status draw_live(Scene& s) {
  return mixfuse_plan_into_live(s.plan, s.spec, s.batch, s.live, s.schedule, s.queue);
}
mixfuse_status draw_given(Scene& s) {
  return mixfuse_plan_into_given(s.plan, s.spec_of_given, s.batch, s.draw, s.given, s.queue);
}
mixfuse_status take_rows(Scene& s) {
  return mixfuse_plan_into_rows(s.plan, s.rows, s.batch, s.draw, s.queue);
}
mixfuse_status read_back(Scene& s) { return mixfuse_read_rows(s.plan, s.rows, samples, s.queue); }
mixfuse_status mix(Scene& s) { return mixfuse_mix_into(s.out, s.in, s.plan, s.queue); }
mixfuse_status in_place(Scene& s) { return mixfuse_mix_in_place(s.one, s.layout, s.plan, s.queue); }
mixfuse_status label(Scene& s) { return mixfuse_label_into(s.out, s.in, s.plan, s.queue); }
mixfuse_status step(Scene& s) { return mixfuse_step_into(s.out, s.in, s.plan, s.queue); }
mixfuse_status step_over(Scene& s) { return mixfuse_step_in_place(s.out, s.in, s.plan, s.queue); }
mixfuse_status create(Scene& s) {
  return mixfuse_plan_create(samples, s.device, nullptr, 0, s.queue, s.plan_to);
}
mixfuse_status create_mixer(Scene& s) {
  return mixfuse_mixer_create(s.spec, s.draw, samples, s.device, nullptr, 0, s.queue, s.mixer_to);
}
mixfuse_status mixer_step(Scene& s) { return mixfuse_mixer_step(s.mixer, s.out, s.in, s.queue); }
mixfuse_status mixer_over(Scene& s) {
  return mixfuse_mixer_step_in_place(s.mixer, s.out, s.in, s.queue);
}

class CErrors : public OnDevice {};

TEST_F(CErrors, EachNullPointerIsNamed) {
  Change const no_plan = [](Scene& s) { s.plan = nullptr; };
  Change const no_mixer = [](Scene& s) { s.mixer = nullptr; };
  Change const no_spec = [](Scene& s) { s.spec = nullptr; };
  Change const no_batch = [](Scene& s) { s.batch = nullptr; };
  Change const no_draw = [](Scene& s) { s.draw = nullptr; };
  Change const no_queue = [](Scene& s) { s.queue = nullptr; };
  Change const no_in = [](Scene& s) { s.in = nullptr; };
  Change const no_out = [](Scene& s) { s.out = nullptr; };
  Change const no_images_in = [](Scene& s) { s.from.images = nullptr; };
  Change const no_images_out = [](Scene& s) { s.to.images = nullptr; };
  Change const no_labels = [](Scene& s) { s.from.labels = nullptr; };
  Change const no_targets = [](Scene& s) { s.to.targets = nullptr; };
  auto const placed = [](Change const& change) -> Change {
    return [change](Scene& s) {
      s.to_place();
      change(s);
    };
  };
  auto const sparse = [](auto member) -> Change {
    return [member](Scene& s) {
      s.to_sparse();
      s.to.*member = nullptr;
    };
  };
  struct {
    char const* named;
    Call call;
    Change change;
  } const cases[] = {
      {"plan", draw, no_plan},
      {"spec", draw, no_spec},
      {"spec.policies", draw, [](Scene& s) { s.does.spec.policies = nullptr; }},
      {"batch", draw, no_batch},
      {"draw", draw, no_draw},
      {"queue", draw, no_queue},
      {"plan", draw_live, no_plan},
      {"spec", draw_live, no_spec},
      {"batch", draw_live, no_batch},
      {"live", draw_live, [](Scene& s) { s.live = nullptr; }},
      {"queue", draw_live, no_queue},
      {"plan", draw_given, no_plan},
      {"spec", draw_given, [](Scene& s) { s.spec_of_given = nullptr; }},
      {"batch", draw_given, no_batch},
      {"draw", draw_given, no_draw},
      {"partners", draw_given, [](Scene& s) { s.given = nullptr; }},
      {"partners", draw_given, [](Scene& s) { s.dl_partners->data = nullptr; }},
      {"partners.shape", draw_given, [](Scene& s) { s.dl_partners->shape = nullptr; }},
      {"queue", draw_given, no_queue},
      {"plan", take_rows, no_plan},
      {"rows", take_rows, [](Scene& s) { s.rows = nullptr; }},
      {"batch", take_rows, no_batch},
      {"draw", take_rows, no_draw},
      {"queue", take_rows, no_queue},
      {"plan", mix, no_plan},
      {"out", mix, no_out},
      {"in", mix, no_in},
      {"images", mix, no_images_in},
      {"out", mix, no_images_out},
      {"normalise.mean", mix, [](Scene& s) { s.map.mean = nullptr; }},
      {"normalise.std", mix, [](Scene& s) { s.map.std = nullptr; }},
      {"queue", mix, no_queue},
      {"plan", in_place, no_plan},
      {"images", in_place, [](Scene& s) { s.one = nullptr; }},
      {"queue", in_place, no_queue},
      {"plan", label, no_plan},
      {"out", label, no_out},
      {"in", label, no_in},
      {"labels", label, no_labels},
      {"targets", label, no_targets},
      {"targets.own", label, sparse(&mixfuse_mixed::targets_own)},
      {"targets.partner", label, sparse(&mixfuse_mixed::targets_partner)},
      {"targets.weight", label, sparse(&mixfuse_mixed::targets_weight)},
      {"queue", label, no_queue},
      {"plan", step, no_plan},
      {"out", step, no_out},
      {"in", step, no_in},
      {"images", step, no_images_in},
      {"out", step, no_images_out},
      {"labels", step, no_labels},
      {"targets", step, no_targets},
      {"queue", step, no_queue},
      {"plan", step_over, placed(no_plan)},
      {"inout", step_over, placed(no_out)},
      {"in", step_over, placed(no_in)},
      {"images", step_over, placed(no_images_out)},
      {"labels", step_over, placed(no_labels)},
      {"targets", step_over, placed(no_targets)},
      {"queue", step_over, placed(no_queue)},
      {"queue", create, no_queue},
      {"plan", create, [](Scene& s) { s.plan_to = nullptr; }},
      {"spec", create_mixer, no_spec},
      {"draw", create_mixer, no_draw},
      {"queue", create_mixer, no_queue},
      {"mixer", create_mixer, [](Scene& s) { s.mixer_to = nullptr; }},
      {"mixer", mixer_step, no_mixer},
      {"out", mixer_step, no_out},
      {"in", mixer_step, no_in},
      {"images", mixer_step, no_images_in},
      {"out", mixer_step, no_images_out},
      {"labels", mixer_step, no_labels},
      {"targets", mixer_step, no_targets},
      {"queue", mixer_step, no_queue},
      {"mixer", mixer_over, placed(no_mixer)},
      {"images", mixer_over, placed(no_images_out)},
      {"labels", mixer_over, placed(no_labels)},
      {"queue", mixer_over, placed(no_queue)},
      {"plan", read_back, no_plan},
      {"rows", read_back, [](Scene& s) { s.rows = nullptr; }},
      {"queue", read_back, no_queue},
  };
  for (auto const& [named, call, change] : cases) {
    expect_refused(MIXFUSE_INVALID_ARGUMENT, std::string(named) + ": null pointer", call, change);
  }
}

TEST_F(CErrors, EachNullPointerOfASmallCallIsNamed) {
  struct {
    char const* named;
    Call call;
  } const cases[] = {
      {"plan", [](Scene& s) { return mixfuse_error_into(s.word, nullptr, s.queue); }},
      {"word", [](Scene& s) { return mixfuse_error_into(nullptr, s.plan, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_error_into(s.word, s.plan, nullptr); }},
      {"plan", [](Scene& s) { return mixfuse_clear_error(nullptr, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_clear_error(s.plan, nullptr); }},
      {"plan", [](Scene& s) { return mixfuse_plan_extents(nullptr, s.batch); }},
      {"batch", [](Scene& s) { return mixfuse_plan_extents(s.plan, nullptr); }},
      {"plan", [](Scene& s) { return mixfuse_plan_rows(nullptr, s.rows_at); }},
      {"rows", [](Scene& s) { return mixfuse_plan_rows(s.plan, nullptr); }},
      {"images", [](Scene& s) { return mixfuse_extents_of(nullptr, s.layout, s.batch); }},
      {"extents", [](Scene& s) { return mixfuse_extents_of(s.one, s.layout, nullptr); }},
      {"info", [](Scene&) { return mixfuse_get_cuda_info(nullptr); }},
      {"bytes", [](Scene& s) { return mixfuse_plan_bytes(samples, s.device, nullptr); }},
      {"memory",
       [](Scene& s) {
         return mixfuse_plan_create(samples, s.device, nullptr, 9, s.queue, s.plan_to);
       }},
      {"memory",
       [](Scene& s) {
         return mixfuse_mixer_create(s.spec, s.draw, samples, s.device, nullptr, 9, s.queue,
                                     s.mixer_to);
       }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_follow(nullptr, s.schedule); }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_set_draw(nullptr, s.draw, s.queue); }},
      {"draw", [](Scene& s) { return mixfuse_mixer_set_draw(s.mixer, nullptr, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_mixer_set_draw(s.mixer, s.draw, nullptr); }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_draw_into(nullptr, s.draw, s.queue); }},
      {"draw", [](Scene& s) { return mixfuse_mixer_draw_into(s.mixer, nullptr, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_mixer_draw_into(s.mixer, s.draw, nullptr); }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_read_draw(nullptr, s.draw, s.queue); }},
      {"draw", [](Scene& s) { return mixfuse_mixer_read_draw(s.mixer, nullptr, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_mixer_read_draw(s.mixer, s.draw, nullptr); }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_plan(nullptr, s.plan_of); }},
      {"plan", [](Scene& s) { return mixfuse_mixer_plan(s.mixer, nullptr); }},
      {"mixer", [](Scene& s) { return mixfuse_mixer_clear_error(nullptr, s.queue); }},
      {"queue", [](Scene& s) { return mixfuse_mixer_clear_error(s.mixer, nullptr); }},
  };
  for (auto const& [named, call] : cases) {
    expect_refused(MIXFUSE_INVALID_ARGUMENT, std::string(named) + ": null pointer", call,
                   [](Scene&) {});
  }
  EXPECT_EQ(mixfuse_plan_destroy(nullptr), MIXFUSE_OK);
  EXPECT_EQ(mixfuse_mixer_destroy(nullptr), MIXFUSE_OK);
}

TEST_F(CErrors, EachStructureSizeIsChecked) {
  struct {
    char const* named;
    Call call;
    std::uint32_t* (*size)(Scene&);
  } const structures[] = {
      {"queue", draw, [](Scene& s) { return &s.queue_object.struct_size; }},
      {"spec", draw, [](Scene& s) { return &s.does.spec.struct_size; }},
      {"spec.policies[0]", draw, [](Scene& s) { return &s.does.policies[0].struct_size; }},
      {"batch", draw, [](Scene& s) { return &s.extents.struct_size; }},
      {"schedule", draw_live, [](Scene& s) { return &s.schedule_object.struct_size; }},
      {"in", mix, [](Scene& s) { return &s.from.struct_size; }},
      {"out", mix, [](Scene& s) { return &s.to.struct_size; }},
      {"normalise", mix, [](Scene& s) { return &s.map.struct_size; }},
      {"in", label, [](Scene& s) { return &s.from.struct_size; }},
      {"out", label, [](Scene& s) { return &s.to.struct_size; }},
      {"rule", label, [](Scene& s) { return &s.rule_object.struct_size; }},
      {"in", step, [](Scene& s) { return &s.from.struct_size; }},
      {"out", step, [](Scene& s) { return &s.to.struct_size; }},
      {"in", step_over, [](Scene& s) { return &s.from.struct_size; }},
      {"inout", step_over, [](Scene& s) { return &s.to.struct_size; }},
      {"info", [](Scene& s) { return mixfuse_get_cuda_info(s.info); },
       [](Scene& s) { return &s.info_object.struct_size; }},
      {"extents", [](Scene& s) { return mixfuse_extents_of(s.one, s.layout, s.batch); },
       [](Scene& s) { return &s.extents.struct_size; }},
      {"batch", [](Scene& s) { return mixfuse_plan_extents(s.plan, s.batch); },
       [](Scene& s) { return &s.extents.struct_size; }},
  };
  for (auto const& structure : structures) {
    std::string const field = std::string(structure.named) + ".struct_size: ";
    auto const set = [&](std::uint32_t change) -> Change {
      return [&structure, change](Scene& s) { *structure.size(s) += change; };
    };
    expect_refused(MIXFUSE_UNSUPPORTED, field, structure.call, set(8));
    expect_refused(MIXFUSE_INVALID_ARGUMENT, field, structure.call, set(~0u));  // one less
    expect_refused(MIXFUSE_INVALID_ARGUMENT, field, structure.call,
                   [&](Scene& s) { *structure.size(s) = 0; });
  }
}

TEST_F(CErrors, WhatIsWrongIsToldByStatusAndText) {
  using S = Scene&;
  DLDevice const rocm{static_cast<DLDeviceType>(10), 0};
  bool const cuda = on_cuda();
  struct {
    mixfuse_status status;
    char const* named;
    Call call;
    Change change;
  } const cases[] = {
      {MIXFUSE_INVALID_ARGUMENT, "spec.pairing: 7", draw, [](S s) { s.does.spec.pairing = 7; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.pairing: 256", draw, [](S s) { s.does.spec.pairing = 256; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.granularity: -1", draw,
       [](S s) { s.does.spec.granularity = -1; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.policies[0].kind: 2", draw,
       [](S s) { s.does.policies[0].kind = 2; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.policies[0].fold: 3", draw,
       [](S s) { s.does.policies[0].fold = 3; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.policies[0].boxes: 4", draw,
       [](S s) { s.does.policies[0].boxes = 4; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.policies[0].weight.a: -1", draw,
       [](S s) { s.does.policies[0].a = -1.0f; }},
      {MIXFUSE_UNSUPPORTED, "spec.policies: 9", draw, [](S s) { s.does.spec.policy_count = 9; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.probability: 1.5", draw,
       [](S s) { s.does.spec.probability = 1.5f; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.flip: 2", draw, [](S s) { s.does.spec.flip = 2.0f; }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.group: -1", draw, [](S s) { s.does.spec.group = -1; }},
      {MIXFUSE_INVALID_ARGUMENT, "batch: 5 samples", draw, [](S s) { s.extents.samples = 5; }},
      {MIXFUSE_INVALID_ARGUMENT, "batch.width: 2", draw, [](S s) { s.extents.width = 2; }},
      {MIXFUSE_INVALID_ARGUMENT, "draw.step", draw, [](S s) { s.draw_object.step = 1ull << 48; }},
      {MIXFUSE_INVALID_ARGUMENT, "draw.first", draw, [](S s) { s.draw_object.first = 1ull << 48; }},
      {MIXFUSE_INVALID_ARGUMENT, "queue.device_type: 3", draw,
       [](S s) { s.queue_object.device_type = 3; }},
      {MIXFUSE_INVALID_ARGUMENT, cuda ? "queue.threads: 2" : "queue.stream", draw,
       [](S s) {
         s.queue_object.threads = 2;
         s.queue_object.stream = &s;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "queue: a c", draw,
       [cuda](S s) { s.queue_object = cuda ? mixfuse_cpu_queue(0) : mixfuse_cuda_queue(nullptr); }},
      {MIXFUSE_INVALID_ARGUMENT, "rows[1].partner: 9", take_rows,
       [](S s) { s.made[1].partner = 9; }},
      {MIXFUSE_INVALID_ARGUMENT, "count: 3",
       [](S s) { return mixfuse_read_rows(s.plan, s.rows, 3, s.queue); }, [](S) {}},
      {MIXFUSE_INVALID_ARGUMENT, "images.layout: 7", mix, [](S s) { s.from.layout = 7; }},
      {MIXFUSE_INVALID_ARGUMENT, "out.layout: -1", mix, [](S s) { s.to.layout = -1; }},
      {MIXFUSE_INVALID_ARGUMENT, "images.layout: 9", in_place, [](S s) { s.layout = 9; }},
      {MIXFUSE_UNSUPPORTED, "images: complex64", mix,
       [](S s) {
         s.dl_images->dtype = {5, 64, 1};
       }},
      {MIXFUSE_UNSUPPORTED, "out: on DLPack device 10", mix,
       [rocm](S s) { s.dl_target->device = rocm; }},
      {MIXFUSE_INVALID_ARGUMENT, "partners: rank 0", mix,
       [](S s) {
         s.dl_second->ndim = 0;
         s.from.partners = s.dl_second;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "out: overlaps images", mix,
       [](S s) { s.to.images = s.dl_images; }},
      {MIXFUSE_INVALID_ARGUMENT, "out: on c", mix,
       [cuda](S s) {
         s.dl_target->device = {cuda ? kDLCPU : kDLCUDA, 0};
       }},
      {MIXFUSE_INVALID_ARGUMENT, "normalise.channels: 33", mix, [](S s) { s.map.channels = 33; }},
      {MIXFUSE_INVALID_ARGUMENT, "normalise.channels: 0", mix, [](S s) { s.map.channels = 0; }},
      {MIXFUSE_INVALID_ARGUMENT, "rule.smoothing: 2", label,
       [](S s) { s.rule_object.smoothing = 2.0f; }},
      {MIXFUSE_INVALID_ARGUMENT, "rule.classes: 0", label,
       [](S s) {
         s.to_sparse();
         s.rule_object.classes = 0;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "targets: dense and sparse", label,
       [](S s) {
         s.to_sparse();
         s.to.targets = s.dl_rows;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "labels.partners", step,
       [](S s) { s.from.labels_partners = s.dl_ids; }},
      {MIXFUSE_INVALID_ARGUMENT, "images: expected null", step_over,
       [](S s) {
         s.to_place();
         s.from.images = s.dl_second;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "partners: expected null", step_over,
       [](S s) {
         s.to_place();
         s.from.partners = s.dl_second;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "normalise: expected null", step_over,
       [](S s) {
         s.to_place();
         s.from.normalise = &s.map;
       }},
      {MIXFUSE_INVALID_ARGUMENT, "spec.pairing: given", create_mixer,
       [](S s) { s.spec = s.spec_of_given; }},
      {MIXFUSE_UNSUPPORTED, "device", create, [rocm](S s) { s.device = rocm; }},
      {MIXFUSE_INVALID_ARGUMENT, "memory: ",
       [](S s) { return mixfuse_plan_create(samples, s.device, s.live, 8, s.queue, s.plan_to); },
       [](S) {}},
      {MIXFUSE_INVALID_ARGUMENT, "capacity: -1",
       [](S s) { return mixfuse_plan_create(-1, s.device, nullptr, 0, s.queue, s.plan_to); },
       [](S) {}},
  };
  for (auto const& [status, named, call, change] : cases) {
    expect_refused(status, named, call, change);
  }
}

TEST_F(CErrors, TextIsTheThreadsOwnAndStaysUntilTheNextFailure) {
  Scene scene;
  scene.does.spec.pairing = 9;
  EXPECT_EQ(draw(scene), MIXFUSE_INVALID_ARGUMENT);
  std::string const text = mixfuse_last_error();
  EXPECT_NE(text, "");
  EXPECT_EQ(mixfuse_last_cuda_error(), 0);
  scene.does.spec.pairing = 0;
  EXPECT_EQ(draw(scene), MIXFUSE_OK);
  EXPECT_EQ(mixfuse_last_error(), text);
  std::string elsewhere = "?";
  std::thread([&] { elsewhere = mixfuse_last_error(); }).join();
  EXPECT_EQ(elsewhere, "");
}

/// As in the midst of another thread's call.
void set_busy(Scene& scene, bool on) {
  scene.plan_object.state().busy = on;
  scene.mixer_object.plan().state().busy = on;
}

TEST_F(CErrors, HandleThatAnotherThreadUsesIsRefused) {
  struct {
    char const* what;
    Call call;
    Change change;
  } const cases[] = {
      {"draw", draw, [](Scene&) {}},
      {"draw_live", draw_live, [](Scene&) {}},
      {"draw_given", draw_given, [](Scene&) {}},
      {"take_rows", take_rows, [](Scene&) {}},
      {"read_back", read_back, [](Scene&) {}},
      {"mix", mix, [](Scene&) {}},
      {"in_place", in_place, [](Scene&) {}},
      {"label", label, [](Scene&) {}},
      {"step", step, [](Scene&) {}},
      {"step_over", step_over, [](Scene& s) { s.to_place(); }},
      {"error", [](Scene& s) { return mixfuse_error_into(s.word, s.plan, s.queue); },
       [](Scene&) {}},
      {"clear", [](Scene& s) { return mixfuse_clear_error(s.plan, s.queue); }, [](Scene&) {}},
      {"extents", [](Scene& s) { return mixfuse_plan_extents(s.plan, s.batch); }, [](Scene&) {}},
      {"destroy", [](Scene& s) { return mixfuse_plan_destroy(s.plan); }, [](Scene&) {}},
      {"mixer_step", mixer_step, [](Scene&) {}},
      {"mixer_over", mixer_over, [](Scene& s) { s.to_place(); }},
      {"follow", [](Scene& s) { return mixfuse_mixer_follow(s.mixer, s.schedule); }, [](Scene&) {}},
      {"set_draw", [](Scene& s) { return mixfuse_mixer_set_draw(s.mixer, s.draw, s.queue); },
       [](Scene&) {}},
      {"draw_into", [](Scene& s) { return mixfuse_mixer_draw_into(s.mixer, s.draw, s.queue); },
       [](Scene&) {}},
      {"read_draw", [](Scene& s) { return mixfuse_mixer_read_draw(s.mixer, s.draw, s.queue); },
       [](Scene&) {}},
      {"clear_mixer", [](Scene& s) { return mixfuse_mixer_clear_error(s.mixer, s.queue); },
       [](Scene&) {}},
      {"destroy_mixer", [](Scene& s) { return mixfuse_mixer_destroy(s.mixer); }, [](Scene&) {}},
  };
  for (auto const& [what, call, change] : cases) {
    SCOPED_TRACE(what);
    Scene scene;
    change(scene);
    auto const before = scene.state();
    set_busy(scene, true);
    EXPECT_EQ(call(scene), MIXFUSE_INVALID_ARGUMENT);
    EXPECT_STREQ(mixfuse_last_error(), "plan: used by two threads at once");
    set_busy(scene, false);
    EXPECT_EQ(scene.state(), before);
  }
}

}  // namespace
}  // namespace mixfuse::test
