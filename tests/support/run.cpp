// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace mixfuse::test {
namespace {

/// An input at a place, which must not change.
class Input {
 public:
  Input(Place place, Array const& values, Form form) : tensor_{place, values, form} {
    before_ = tensor_.raw();
  }
  Input(Place place, Array const& own, std::optional<Array> const& second, Form form)
      : Input(place, own, form) {
    if (second) second_ = std::make_unique<Input>(place, *second, form);
  }
  ~Input() { EXPECT_EQ(tensor_.raw(), before_) << "an input was written"; }
  Input(Input const&) = delete;
  Input& operator=(Input const&) = delete;

  [[nodiscard]] Samples samples() const {
    return second_ ? Samples(tensor_.view(), second_->tensor_.view()) : Samples(tensor_.view());
  }

 private:
  Tensor tensor_;
  Bytes before_;
  std::unique_ptr<Input> second_;
};

/// Poisoned targets at a place.
class Outputs {
 public:
  Outputs(Place place, Target target, DType dtype, std::int64_t samples, std::int64_t classes,
          Form form) {
    if (target == Target::dense) {
      tensors_.emplace_back(place, dtype, Shape{samples, classes}, Layout::by_rank, form);
    } else {
      for (DType const each : {DType::i64, DType::i64, DType::f32}) {
        tensors_.emplace_back(place, each, Shape{samples}, Layout::by_rank, form);
      }
    }
  }

  [[nodiscard]] Targets targets() const {
    if (tensors_.size() == 1) return tensors_[0].view();
    return {tensors_[0].view(), tensors_[1].view(), tensors_[2].view()};
  }

  [[nodiscard]] Labelled read(Plan const& plan, Place place) const {
    Labelled labelled;
    for (Tensor const& tensor : tensors_) labelled.arrays.push_back(tensor.read());
    labelled.error = error_of(plan, place);
    return labelled;
  }

 private:
  std::vector<Tensor> tensors_;
};

LabelRule rule_for(Labels const& labels, Target target, std::int64_t classes) {
  LabelRule rule = labels.rule;
  if (target == Target::sparse) rule.classes = classes;
  return rule;
}

}  // namespace

Array mix_at(Place place, Batch const& in, Plan& plan, Output const& out, Form form) {
  Input const images(place, in.images, in.second, form);
  Tensor const output(place, out.dtype, out.shape, out.layout, out.form);
  mix_into(output, images.samples(), plan, place.queue);
  return output.read();
}

Array mix_at(Place place, Batch const& in, std::vector<Row> const& rows, Output const& out,
             Form form) {
  Plan plan = make_plan(place, rows, extents_of_array(in.images));
  return mix_at(place, in, plan, out, form);
}

Array mix_at(Place place, Batch const& in, std::vector<Row> const& rows, Normalise const& normalise,
             Output const& out, Form form) {
  Plan plan = make_plan(place, rows, extents_of_array(in.images));
  Input const images(place, in.images, in.second, form);
  Tensor const output(place, out.dtype, out.shape, out.layout, out.form);
  mix_into(output, images.samples(), normalise, plan, place.queue);
  return output.read();
}

Array mix_in_place_at(Place place, Array const& images, std::vector<Row> const& rows, Form form) {
  Plan plan = make_plan(place, rows, extents_of_array(images));
  Tensor const inout(place, images, form);
  mix_in_place(inout, plan, place.queue);
  return inout.read();
}

Labelled label_at(Place place, Labels const& labels, Plan& plan, Target target, DType dtype,
                  std::int64_t classes, Form form) {
  Input const input(place, labels.own, labels.second, form);
  Outputs const outputs(place, target, dtype, labels.own.shape[0], classes, form);
  label_into(outputs.targets(), input.samples(), rule_for(labels, target, classes), plan,
             place.queue);
  return outputs.read(plan, place);
}

Labelled label_at(Place place, Labels const& labels, std::vector<Row> const& rows, Target target,
                  DType dtype, std::int64_t classes, Form form) {
  auto const samples = static_cast<std::int64_t>(rows.size());
  Plan plan = make_plan(place, rows, image(samples, 16, 16));
  return label_at(place, labels, plan, target, dtype, classes, form);
}

Stepped step_at(Place place, Batch const& in, Labels const& labels, Plan& plan, Output const& out,
                Target target, std::int64_t classes) {
  Input const images(place, in.images, in.second, {});
  Input const input(place, labels.own, labels.second, {});
  Tensor const output(place, out.dtype, out.shape, out.layout, out.form);
  Outputs const outputs(place, target, DType::f32, labels.own.shape[0], classes, {});
  step_into({output, outputs.targets()},
            {images.samples(), input.samples(), rule_for(labels, target, classes)}, plan,
            place.queue);
  return {output.read(), outputs.read(plan, place)};
}

Stepped step_in_place_at(Place place, Array const& images, Labels const& labels, Plan& plan,
                         Target target, std::int64_t classes) {
  Tensor const inout(place, images);
  Input const input(place, labels.own, labels.second, {});
  Outputs const outputs(place, target, DType::f32, labels.own.shape[0], classes, {});
  step_in_place({inout, outputs.targets()}, input.samples(), rule_for(labels, target, classes),
                plan, place.queue);
  return {inout.read(), outputs.read(plan, place)};
}

void expect_same(Array const& got, Array const& expected, char const* what) {
  ASSERT_EQ(got.bytes.size(), expected.bytes.size()) << what;
  if (got.bytes == expected.bytes) return;
  for (std::int64_t i = 0; i < got.count(); ++i) {
    ASSERT_EQ(got.bits(i), expected.bits(i)) << what << ", element " << i;
  }
}

void expect_same(Labelled const& got, Labelled const& expected) {
  ASSERT_EQ(got.arrays.size(), expected.arrays.size());
  for (std::size_t i = 0; i < got.arrays.size(); ++i) {
    expect_same(got.arrays[i], expected.arrays[i], "targets");
  }
  EXPECT_EQ(got.error.claim, expected.error.claim);
  EXPECT_EQ(got.error.first, expected.error.first);
}

}  // namespace mixfuse::test
