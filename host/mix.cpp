// SPDX-License-Identifier: Apache-2.0
#include "host/mix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "host/cuda.hpp"
#include "host/label.hpp"
#include "host/plan.hpp"
#include "host/tensor.hpp"
#include "kernels/cpu/threads.hpp"
#include "kernels/dtypes.hpp"

namespace mixfuse {
namespace {

void check_images(char const* name, ConstTensorView const& images, Access access,
                  Plan::State const& state) {
  check_tensor(name, images, access);
  check_device(name, images.device, state.device);
  check_extents(name, images, state.extents);
  if (access == Access::write) check_apart_from_plan(name, images, state);
}

MixJob job_of(TensorView const& out, ConstTensorView const& own, ConstTensorView const& partners,
              Plan::State const& state) {
  MixJob job{};
  job.dtype_in = own.dtype;
  job.dtype_out = out.dtype;
  job.out = out.data;
  job.own = own.data;
  job.partners = partners.data;
  job.samples = state.extents.samples;
  job.out_pitch = out.stride[0];
  job.own_pitch = own.stride[0];
  job.partners_pitch = partners.stride[0];
  job.walk = walk_of(out, own, partners);
  job.rows = state.rows;
  job.order = state.order;
  job.permutation = state.traits.permutation;
  job.boxes = state.traits.boxes;
  job.flips = state.traits.flips;
  Runs const whole{job.samples, job.samples};
  job.runs = state.traits.runs.size > 0 ? state.traits.runs : whole;
  return job;
}

/// Constants of the map from means and deviations in full-scale units.
Affine affine_of(Normalise const& normalise, TensorView const& out, ConstTensorView const& images) {
  Affine affine{};
  if (normalise.channels == 0) return affine;
  cpu::FloatMode const mode;  // whatever the caller's is
  std::int64_t const channels = channels_of(images);
  require(normalise.channels > 0 && normalise.channels <= max_channels &&
              (normalise.channels == 1 || normalise.channels == channels),
          "normalise.channels: ", normalise.channels, ", expected 1 or the images' ", channels);
  require<unsupported>(out.dtype != DType::u8, "normalise: to u8, expected a float dtype");
  double const full_scale = images.dtype == DType::u8 ? 255.0 : 1.0;
  affine.channels = normalise.channels;
  for (int c = 0; c < normalise.channels; ++c) {
    double const mean = normalise.mean[c], deviation = normalise.std[c];
    require(std::isfinite(mean), "normalise.mean[", c, "]: ", mean, ", expected a finite number");
    require(std::isfinite(deviation) && deviation > 0.0, "normalise.std[", c, "]: ", deviation,
            ", expected above 0");
    affine.scale[c] = 1.0 / (full_scale * deviation);
    affine.shift[c] = -mean / deviation;
    double const most = images.dtype == DType::f64 ? std::numeric_limits<double>::max()
                                                   : std::numeric_limits<float>::max();
    require(affine.scale[c] <= most && std::abs(affine.shift[c]) <= most, "normalise.std[", c,
            "]: ", deviation, ", too small for mean / std to be finite");
    if (images.dtype == DType::f64) continue;
    affine.scale_f32[c] = static_cast<float>(affine.scale[c]);
    affine.shift_f32[c] = static_cast<float>(affine.shift[c]);
  }
  return affine;
}

MixJob out_of_place(TensorView const& out, Samples const& in, Normalise const& normalise,
                    Plan::State const& state) {
  require(state.drawn, "plan: holds no rows");
  bool const second = in.partners.present();
  ConstTensorView const& partners = second ? in.partners : in.own;
  check_images("images", in.own, Access::read, state);
  check_images("out", out, Access::write, state);
  if (second) {
    check_images("partners", partners, Access::read, state);
    require(partners.dtype == in.own.dtype, "partners: ", name_of(partners.dtype), ", images are ",
            name_of(in.own.dtype));
    check_apart("out", out, "partners", partners);
  }
  check_apart("out", out, "images", in.own);
  require<unsupported>(with_pair(in.own.dtype, out.dtype, [](auto, auto) {}),
                       "out: ", name_of(out.dtype), " of images of ", name_of(in.own.dtype),
                       "; built are u8, f16, bf16, f32, f64 to themselves, u8 to f16, bf16, f32, ",
                       "and f32 to f16, bf16");
  MixJob job = job_of(out, in.own, partners, state);
  job.second = second;
  job.affine = affine_of(normalise, out, in.own);
  return job;
}

MixJob in_place(TensorView const& images, Plan::State const& state) {
  require(state.drawn, "plan: holds no rows");
  check_images("images", images, Access::write, state);
  require<unsupported>(with_dtype(images.dtype, [](auto) {}), "images: ", name_of(images.dtype),
                       ", expected u8, f16, bf16, f32 or f64");
  require(state.traits.permutation,
          "plan: a sample is the partner of two, or partners were given; such a plan cannot be "
          "applied in place");
  return job_of(images, images, images, state);
}

bool has_labels(Mixed const& out, Samples const& labels) {
  std::vector<NamedTensor> const targets = outputs_of(out.targets);
  return labels.own.present() || labels.partners.present() ||
         std::any_of(targets.begin(), targets.end(),
                     [](NamedTensor const& target) { return target.view.present(); });
}

/// None where there are neither labels nor targets. Targets and images must not share a byte
/// either. The images' first are those that are written.
std::optional<LabelJob> labels_beside(Mixed const& out, Samples const& labels,
                                      LabelRule const& rule, std::vector<NamedTensor> const& images,
                                      Plan::State const& state) {
  if (!has_labels(out, labels)) return std::nullopt;
  LabelJob const job = label_job(out.targets, labels, rule, state);
  for (NamedTensor const& target : outputs_of(out.targets)) {
    for (NamedTensor const& image : images) {
      check_apart(target.name, target.view, image.name, image.view);
    }
  }
  auto const& [written, pixels] = images.front();
  check_apart(written, pixels, "labels", labels.own);
  if (labels.partners.present()) check_apart(written, pixels, "labels.partners", labels.partners);
  return job;
}

}  // namespace

void run(StepCall const& call, Plan::State const& state, Queue queue) {
  MixJob const& images = call.images;
  LabelJob const* const labels = call.labels ? &*call.labels : nullptr;
  bool const in_place = call.where == Where::in_place;
  if (images.samples == 0) return;
  if (state.device.kind == Device::Kind::cpu) {
    in_place ? cpu::mix_in_place(images, queue.threads()) : cpu::mix(images, queue.threads());
    if (labels != nullptr) cpu::label(*labels, queue.threads());
    return;
  }
  cuda::DeviceGuard const guard(state.device.id);
  cuda::check(in_place ? cuda::mix_in_place(images, labels, queue.stream())
                       : cuda::mix(images, labels, queue.stream()),
              "mix");
}

StepCall mix_call(TensorView const& out, Samples const& in, Normalise const& normalise,
                  Plan::State const& state) {
  return {Where::out_of_place, out_of_place(out, in, normalise, state), {}};
}

StepCall mix_in_place_call(TensorView const& images, Plan::State const& state) {
  return {Where::in_place, in_place(images, state), {}};
}

StepCall step_call(Mixed const& out, Originals const& in, Plan::State const& state) {
  MixJob const images = out_of_place(out.images, in.images, in.normalise, state);
  bool const second = in.images.partners.present();
  require(second == in.labels.partners.present() || !has_labels(out, in.labels),
          "labels.partners: a second batch brings both images and labels");
  std::vector<NamedTensor> read{{"out", out.images}, {"images", in.images.own}};
  if (second) read.push_back({"partners", in.images.partners});
  return {Where::out_of_place, images, labels_beside(out, in.labels, in.rule, read, state)};
}

StepCall step_in_place_call(Mixed const& inout, Samples const& labels, LabelRule const& rule,
                            Plan::State const& state) {
  MixJob const images = in_place(inout.images, state);
  require(!labels.partners.present(), "labels.partners: in place there is one batch");
  return {Where::in_place, images,
          labels_beside(inout, labels, rule, {{"images", inout.images}}, state)};
}

void mix_into(TensorView out, Samples in, Plan& plan, Queue queue) {
  mix_into(out, in, Normalise{}, plan, queue);
}

void mix_into(TensorView out, Samples in, Normalise const& normalise, Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  run(mix_call(out, in, normalise, state), state, queue);
}

void mix_in_place(TensorView images, Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  run(mix_in_place_call(images, state), state, queue);
}

void step_into(Mixed out, Originals in, Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  run(step_call(out, in, state), state, queue);
}

void step_in_place(Mixed inout, Samples labels, LabelRule rule, Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  run(step_in_place_call(inout, labels, rule, state), state, queue);
}

}  // namespace mixfuse
