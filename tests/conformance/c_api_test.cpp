// SPDX-License-Identifier: Apache-2.0

// Through C the same bytes come out as through C++, on the device under test.

#include "tests/support/c_api.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/require_gpu.hpp"
#include "tests/support/run.hpp"

namespace mixfuse::test {
namespace {

constexpr std::int64_t samples = 6, classes = 5;

struct Destroy {
  void operator()(mixfuse_plan* plan) const { EXPECT_EQ(mixfuse_plan_destroy(plan), MIXFUSE_OK); }
  void operator()(mixfuse_mixer* mixer) const {
    EXPECT_EQ(mixfuse_mixer_destroy(mixer), MIXFUSE_OK);
  }
};
using PlanHandle = std::unique_ptr<mixfuse_plan, Destroy>;
using MixerHandle = std::unique_ptr<mixfuse_mixer, Destroy>;

void ok(mixfuse_status status) { ASSERT_EQ(status, MIXFUSE_OK) << mixfuse_last_error(); }

/// Every kind of policy, box, pairing and granularity at least once.
std::vector<Spec> specs() {
  std::vector<Spec> all;
  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.4f}, Fold::own}, 0.5f},
                   {CutMix{{1.0f, 1.0f}, Fold::partner, {Boxes::Kind::inside}}, 0.25f},
                   {CutMix{{}, {}, {Boxes::Kind::min_max, 0.3, 0.8}}, 0.25f}};
  spec.probability = 0.8f;
  spec.flip = 0.5f;
  spec.group = 4;
  all.push_back(spec);
  spec.group = 0;
  spec.pairing = Pairing::reverse;
  spec.granularity = Granularity::pair;
  all.push_back(spec);
  spec.pairing = Pairing::replacement;
  spec.granularity = Granularity::batch;
  spec.policies = {{CutMix{{2.0f, 2.0f}, {}, {Boxes::Kind::uniform}}, 1.0f}};
  all.push_back(spec);
  return all;
}

class CApi : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    queue = c_queue(test_queue());
    plan_ = make_plan_handle();
  }

  static PlanHandle make_plan_handle() {
    mixfuse_queue const queue = c_queue(test_queue());
    mixfuse_plan* plan = nullptr;
    EXPECT_EQ(mixfuse_plan_create(samples, dl_device(test_device()), nullptr, 0, &queue, &plan),
              MIXFUSE_OK)
        << mixfuse_last_error();
    return PlanHandle(plan);
  }

  [[nodiscard]] mixfuse_plan* plan() const { return plan_.get(); }

  [[nodiscard]] std::vector<Row> rows_of(mixfuse_plan const* plan) const {
    std::vector<mixfuse_row> rows(samples);
    EXPECT_EQ(mixfuse_read_rows(plan, rows.data(), samples, &queue), MIXFUSE_OK)
        << mixfuse_last_error();
    return cpp_rows(rows);
  }

  /// The plan's rows drawn through C.
  void draw(Spec const& from) const {
    CSpec const does(from);
    ok(mixfuse_plan_into(plan(), &does.spec, &batch, &first, &queue));
  }

  mixfuse_queue queue{};
  Array images = tagged(DType::u8, {samples, 3, 6, 5});
  Array labels = ids(DType::i64, {0, 1, 2, 3, 4, 0});
  Extents extents = extents_of_array(images);
  mixfuse_extents batch = c_extents(extents);
  Draw from{7, 8, 9};
  mixfuse_draw first = c_draw(from);

 private:
  PlanHandle plan_;
};

TEST_F(CApi, DrawsTheSameRows) {
  for (Spec const& spec : specs()) {
    draw(spec);
    EXPECT_EQ(rows_of(plan()), drawn_rows(on_cpu(), spec, extents, from));
  }
  mixfuse_extents got = mixfuse_make_extents();
  ok(mixfuse_plan_extents(plan(), &got));
  EXPECT_EQ(std::memcmp(&got, &batch, sizeof got), 0);

  mixfuse_row const* where = nullptr;
  ok(mixfuse_plan_rows(plan(), &where));
  std::vector<Row> there(samples);
  read_from_device(there.data(), where, samples * sizeof(Row));
  EXPECT_EQ(there, rows_of(plan()));
}

TEST_F(CApi, TakesRowsAndPartners) {
  Random random(1);
  std::vector<Row> const rows = random_rows(extents, random, Partners::any);
  ok(mixfuse_plan_into_rows(plan(), c_rows(rows).data(), &batch, &first, &queue));
  EXPECT_EQ(rows_of(plan()), rows);

  Spec spec = mixup_spec();
  spec.pairing = Pairing::given;
  CSpec const does(spec);
  Tensor const partners(here(), ids(DType::i32, {5, 4, 3, 2, 1, 0}));
  Handed given(partners.view());
  ok(mixfuse_plan_into_given(plan(), &does.spec, &batch, &first, given, &queue));
  for (std::int64_t i = 0; i < samples; ++i) {
    EXPECT_EQ(rows_of(plan())[static_cast<std::size_t>(i)].partner, samples - 1 - i);
  }
}

TEST_F(CApi, DrawsFromALiveDrawAndASchedule) {
  Spec const spec = mixup_spec();
  CSpec const does(spec);
  Draw const start{1, 2, 3};
  Buffer live(here(), sizeof start), weights(here(), 2 * sizeof(float));
  live.write(std::as_bytes(std::span(&start, 1)));
  float const beta[2] = {0.3f, 4.0f};
  weights.write(std::as_bytes(std::span(beta)));
  mixfuse_schedule schedule = mixfuse_make_schedule();
  schedule.weights = static_cast<float const*>(weights.data());
  Spec scheduled = spec;
  scheduled.policies = {{Mixup{{0.3f, 4.0f}}, 1.0f}};
  auto* const at = static_cast<mixfuse_draw*>(live.data());
  ok(mixfuse_plan_into_live(plan(), &does.spec, &batch, at, nullptr, &queue));
  EXPECT_EQ(rows_of(plan()), drawn_rows(on_cpu(), spec, extents, start));
  ok(mixfuse_plan_into_live(plan(), &does.spec, &batch, at, &schedule, &queue));
  EXPECT_EQ(rows_of(plan()), drawn_rows(on_cpu(), scheduled, extents, {1, 3, 3}));
}

TEST_F(CApi, MixesToTheSameBytes) {
  Spec const spec = specs()[0];
  draw(spec);
  Plan expected = make_plan(on_cpu(), spec, extents, from);
  Tensor const in(here(), images), out(here(), DType::u8, images.shape);
  Handed own(in.view()), mixed(out.view());
  mixfuse_originals read = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  read.images = own;
  written.images = mixed;
  ok(mixfuse_mix_into(&written, &read, plan(), &queue));
  expect_same(out.read(), mix_at(on_cpu(), {images}, expected, same_as(images)), "mixed");

  Array const second = tagged(DType::u8, images.shape);
  Tensor const other(here(), second);
  Handed partners(other.view());
  read.partners = partners;
  ok(mixfuse_mix_into(&written, &read, plan(), &queue));
  expect_same(out.read(), mix_at(on_cpu(), {images, second}, expected, same_as(images)),
              "with a second batch");

  Tensor const over(here(), images);
  Handed inout(over.view());
  ok(mixfuse_mix_in_place(inout, MIXFUSE_LAYOUT_NCHW, plan(), &queue));
  expect_same(over.read(), mix_in_place_at(on_cpu(), images, read_rows(expected, Queue::cpu())),
              "in place");
}

TEST_F(CApi, NormalisesIntoAnotherLayout) {
  Array const grained = tagged(DType::u8, {samples, 6, 5, 3}, Layout::nhwc);
  Spec const spec = cutmix_spec();
  draw(spec);
  Normalise const normalise{3, {0.5, 0.4, 0.3}, {0.25, 0.5, 0.75}};
  mixfuse_normalise const map = mixfuse_make_normalise(3, normalise.mean, normalise.std);
  Tensor const in(here(), grained), out(here(), DType::f16, images.shape);
  Handed own(in.view()), mixed(out.view());
  mixfuse_originals read = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  read.images = own;
  read.layout = MIXFUSE_LAYOUT_NHWC;
  read.normalise = &map;
  written.images = mixed;
  written.layout = MIXFUSE_LAYOUT_NCHW;
  ok(mixfuse_mix_into(&written, &read, plan(), &queue));
  expect_same(out.read(),
              mix_at(on_cpu(), {grained}, drawn_rows(on_cpu(), spec, extents, from), normalise,
                     {DType::f16, Layout::nchw, images.shape, {}}),
              "normalised");
}

TEST_F(CApi, LabelsAndStepsToTheSameBytes) {
  Spec const spec = specs()[0];
  draw(spec);
  Plan expected = make_plan(on_cpu(), spec, extents, from);
  Tensor const in(here(), images), out(here(), DType::u8, images.shape), over(here(), images);
  Tensor const class_ids(here(), labels), dense(here(), DType::f32, {samples, classes});
  Tensor const own_out(here(), DType::i64, {samples}), partner_out(here(), DType::i64, {samples});
  Tensor const weight_out(here(), DType::f32, {samples});
  Handed own(in.view()), mixed(out.view()), inout(over.view()), ids_in(class_ids.view());
  Handed rows_out(dense.view()), first_out(own_out.view()), second_out(partner_out.view());
  Handed share_out(weight_out.view());
  std::int64_t const ignored = 3;
  mixfuse_label_rule rule = mixfuse_make_label_rule();
  rule.smoothing = 0.1f;
  rule.ignored = &ignored;
  Labels const smooth{labels, {}, {0.1f, 3}}, plain{labels};

  mixfuse_originals read = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  read.images = own;
  read.labels = ids_in;
  read.rule = &rule;
  written.images = mixed;
  written.targets = rows_out;
  ok(mixfuse_step_into(&written, &read, plan(), &queue));
  Stepped const step =
      step_at(on_cpu(), {images}, smooth, expected, same_as(images), Target::dense, classes);
  expect_same(out.read(), step.images, "images");
  expect_same(dense.read(), step.targets.dense(), "targets");

  mixfuse_mixed sparse = mixfuse_make_mixed();
  sparse.targets_own = first_out;
  sparse.targets_partner = second_out;
  sparse.targets_weight = share_out;
  rule = mixfuse_make_label_rule();
  rule.classes = classes;
  ok(mixfuse_label_into(&sparse, &read, plan(), &queue));
  Labelled const thrice = label_at(on_cpu(), plain, expected, Target::sparse, DType::f32, classes);
  expect_same(own_out.read(), thrice.arrays.at(0), "own");
  expect_same(partner_out.read(), thrice.arrays.at(1), "partner");
  expect_same(weight_out.read(), thrice.arrays.at(2), "weight");

  read = mixfuse_make_originals();
  read.labels = ids_in;
  written.images = inout;
  ok(mixfuse_step_in_place(&written, &read, plan(), &queue));
  Stepped const placed =
      step_in_place_at(on_cpu(), images, plain, expected, Target::dense, classes);
  expect_same(over.read(), placed.images, "images in place");
  expect_same(dense.read(), placed.targets.dense(), "targets in place");
}

TEST_F(CApi, SaysWhatOnlyTheDeviceFindsOut) {
  draw(mixup_spec());
  Tensor const bad(here(), ids(DType::i64, {0, 1, 2, 3, 99, 0}));
  Tensor const dense(here(), DType::f32, {samples, classes});
  Handed ids_in(bad.view()), rows_out(dense.view());
  mixfuse_originals read = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  read.labels = ids_in;
  written.targets = rows_out;
  auto const word_now = [&] {
    mixfuse_error_word word{1, 1};
    EXPECT_EQ(mixfuse_error_into(&word, plan(), &queue), MIXFUSE_OK) << mixfuse_last_error();
    std::vector<mixfuse_row> rows(samples);  // waits
    EXPECT_EQ(mixfuse_read_rows(plan(), rows.data(), samples, &queue), MIXFUSE_OK);
    return word;
  };
  mixfuse_error_word word = word_now();
  EXPECT_EQ(mixfuse_error_code_of(&word), MIXFUSE_ERROR_NONE);
  EXPECT_EQ(mixfuse_error_step_of(&word), 0u);
  EXPECT_EQ(mixfuse_error_sample_of(&word), -1);
  ok(mixfuse_label_into(&written, &read, plan(), &queue));
  word = word_now();
  EXPECT_EQ(mixfuse_error_code_of(&word), MIXFUSE_ERROR_LABEL);
  EXPECT_EQ(mixfuse_error_step_of(&word), first.step);
  EXPECT_EQ(mixfuse_error_sample_of(&word), 4);
  ok(mixfuse_clear_error(plan(), &queue));
  word = word_now();
  EXPECT_EQ(mixfuse_error_code_of(&word), MIXFUSE_ERROR_NONE);
}

TEST_F(CApi, MixerGoesOnByItselfInTheCallersMemory) {
  Spec const spec = specs()[0];
  CSpec const does(spec);
  std::size_t size = 0;
  DLDevice const device = dl_device(test_device());
  ok(mixfuse_plan_bytes(samples, device, &size));
  EXPECT_EQ(size, Plan::bytes(samples, test_device()));
  Buffer memory(here(), size);
  mixfuse_mixer* made = nullptr;
  ok(mixfuse_mixer_create(&does.spec, &first, samples, device, memory.data(), size, &queue, &made));
  MixerHandle const mixer(made);
  Mixer expected(spec, from, samples, test_device(), test_queue());

  Tensor in(here(), images);
  Tensor const out(here(), DType::u8, images.shape), class_ids(here(), labels);
  Tensor const dense(here(), DType::f32, {samples, classes});
  Handed own(in.view()), mixed(out.view()), ids_in(class_ids.view()), rows_out(dense.view());
  mixfuse_originals read = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  read.images = own;
  read.labels = ids_in;
  written.images = mixed;
  written.targets = rows_out;
  auto const expect_next = [&](char const* what) {
    Array const got = out.read(), got_rows = dense.read();
    expected({out, dense.view()}, {in, class_ids, {}, {}}, test_queue());
    expect_same(got, out.read(), what);
    expect_same(got_rows, dense.read(), what);
  };
  for (int step = 0; step < 3; ++step) {
    ok(mixfuse_mixer_step(mixer.get(), &written, &read, &queue));
    expect_next("step");
  }

  float const never = 0.0f;
  Buffer probability(here(), sizeof never);
  probability.write(std::as_bytes(std::span(&never, 1)));
  mixfuse_schedule schedule = mixfuse_make_schedule();
  schedule.probability = static_cast<float const*>(probability.data());
  ok(mixfuse_mixer_follow(mixer.get(), &schedule));
  expected.follow({nullptr, nullptr, schedule.probability});
  ok(mixfuse_mixer_step(mixer.get(), &written, &read, &queue));
  expect_next("scheduled");
  ok(mixfuse_mixer_follow(mixer.get(), nullptr));
  expected.follow({});

  mixfuse_draw const again{11, 12, 13};
  ok(mixfuse_mixer_set_draw(mixer.get(), &again, &queue));
  expected.set_draw({11, 12, 13}, test_queue());
  ok(mixfuse_mixer_step(mixer.get(), &written, &read, &queue));
  expect_next("redrawn");
  mixfuse_draw now{}, copied{};
  ok(mixfuse_mixer_draw_into(mixer.get(), &copied, &queue));
  ok(mixfuse_mixer_read_draw(mixer.get(), &now, &queue));
  EXPECT_EQ(now.seed, 11u);
  EXPECT_EQ(now.step, 13u);
  EXPECT_EQ(now.first, 13u);
  EXPECT_EQ(std::memcmp(&now, &copied, sizeof now), 0);

  mixfuse_plan const* plan_of_it = nullptr;
  ok(mixfuse_mixer_plan(mixer.get(), &plan_of_it));
  EXPECT_EQ(rows_of(plan_of_it), read_rows(expected.plan(), test_queue()));
  ok(mixfuse_mixer_clear_error(mixer.get(), &queue));

  mixfuse_originals just_labels = mixfuse_make_originals();
  just_labels.labels = ids_in;
  Tensor const over(here(), images);
  Handed inout(over.view());
  written.images = inout;
  CSpec const permuted(specs()[0]);
  ok(mixfuse_mixer_step_in_place(mixer.get(), &written, &just_labels, &queue));
  Array const got = over.read();
  in.write(images);
  expected.in_place({in, dense.view()}, class_ids, {}, test_queue());
  expect_same(got, in.read(), "in place");
}

TEST_F(CApi, TellsExtentsAndVersions) {
  Tensor const in(here(), images);
  Handed own(in.view());
  mixfuse_extents got = mixfuse_make_extents();
  ok(mixfuse_extents_of(own, MIXFUSE_LAYOUT_BY_RANK, &got));
  EXPECT_EQ(std::memcmp(&got, &batch, sizeof got), 0);

  EXPECT_STREQ(mixfuse_version(), version());
  EXPECT_EQ(mixfuse_stream_version(), stream_version());
  mixfuse_cuda_info info{};
  info.struct_size = sizeof info;
  ok(mixfuse_get_cuda_info(&info));
  EXPECT_EQ(info.built != 0, cuda_info().built);
  EXPECT_EQ(info.devices, cuda_info().devices);
  EXPECT_EQ(info.absent, cuda_info().absent);
  EXPECT_EQ(info.architectures, cuda_info().architectures);
}

}  // namespace
}  // namespace mixfuse::test
