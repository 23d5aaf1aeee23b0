// SPDX-License-Identifier: Apache-2.0
#include "host/mix.hpp"

#include <optional>
#include <string_view>
#include <utility>

#include "host/check.hpp"
#include "host/plan.hpp"
#include "host/python/arguments.hpp"
#include "host/python/keep.hpp"
#include "host/python/memory.hpp"
#include "host/python/plan.hpp"
#include "host/tensor.hpp"

namespace mixfuse::python {
namespace {

/// A tensor that stays borrowed until the call has queued its work.
struct Argument {
  std::optional<Borrowed> borrowed;
  TensorView view;

  void open(char const* name, nb::handle object, Use use, Place const& place,
            Layout layout = Layout::by_rank) {
    if (object.is_none()) return;
    borrowed.emplace(at_place(name, object, use, place));
    view = borrowed->open(place.stream, layout);
  }
};

/// The shape of `images` with its axes in another order.
nb::tuple shape_in(Layout layout, TensorView const& images) {
  std::string_view const axes = name_of(layout), own = name_of(layout_of("images", images));
  nb::list shape;
  for (char const axis : axes) {
    auto const at = own.find(axis);
    require(at != own.npos && axes.size() == own.size(), "out_layout: ", own, " does not become ",
            axes);
    shape.append(images.shape[at]);
  }
  return nb::tuple(shape);
}

/// Python says by the type what C++ leaves to `unsupported`.
void check_ids(char const* name, TensorView const& labels) {
  if (labels.rank == 1 && is_float(labels.dtype)) {
    throw nb::type_error(message(name, ": class ids of ", name_of(labels.dtype),
                                 ", expected uint8, int32 or int64; rows have the shape (B, K)")
                             .c_str());
  }
}

/// A tensor that `empty` made, as its framework has it.
nb::object as_framework(nb::handle like, nb::object made) {
  if (!is_memory(made)) return made;
  return nb::module_::import_("mixfuse._frameworks").attr("hand_over")(like, made);
}

/// Arguments of `mix` that concern labels.
struct LabelArguments {
  nb::object labels, partners, out, classes, smoothing, ignored, sparse, dtype;
};

/// The tensors of labels and targets, and how the one becomes the other.
struct LabelCall {
  Argument labels, partners, dense, own, partner, weight;
  LabelRule rule;
  nb::object targets;  // as it is returned

  LabelCall(LabelArguments const& a, Place const& place) {
    labels.open("labels", a.labels, Use::read, place);
    partners.open("partner_labels", a.partners, Use::read, place);
    check_ids("labels", labels.view);
    rule.smoothing = static_cast<float>(number("smoothing", a.smoothing));
    if (!a.ignored.is_none()) rule.ignored = integer("ignored", a.ignored);
    if (!a.classes.is_none()) rule.classes = integer("num_classes", a.classes);
    targets = a.out;
    if (nb::cast<bool>(a.sparse)) {
      require(labels.view.rank == 1, "target: sparse of ", labels.view.rank,
              " axes of labels, expected class ids (B,)");
      open_sparse(a, place);
    } else {
      open_dense(a, place);
    }
  }

  [[nodiscard]] Samples samples() const { return {labels.view, partners.view}; }
  [[nodiscard]] Targets views() const {
    return dense.view.present() ? Targets(dense.view)
                                : Targets(own.view, partner.view, weight.view);
  }

  [[nodiscard]] nb::object handed_over(nb::handle labels_object) const {
    if (dense.view.present()) return as_framework(labels_object, targets);
    return nb::module_::import_("mixfuse._api")
        .attr("Targets")(as_framework(labels_object, targets[0]),
                         as_framework(labels_object, targets[1]),
                         as_framework(labels_object, targets[2]));
  }

 private:
  void open_dense(LabelArguments const& a, Place const& place) {
    TensorView const& view = labels.view;
    if (targets.is_none()) {
      bool const keeps = view.rank == 2 && is_float(view.dtype);
      DType const made = keeps ? view.dtype : DType::f32;
      if (view.rank == 1) check_classes(a);
      std::int64_t const columns = view.rank == 2 ? view.shape[1] : rule.classes;
      targets = empty(a.labels, nb::make_tuple(view.shape[0], columns),
                      a.dtype.is_none() ? made : dtype("target_dtype", a.dtype));
    }
    dense.open("targets_out", targets, Use::write, place);
  }

  void check_classes(LabelArguments const& a) const {
    constexpr char expected[] = ", expected the number of classes, by which ids are checked";
    require(!a.classes.is_none(), "num_classes: missing", expected);
    require(rule.classes > 0, "num_classes: ", rule.classes, expected);
  }

  void open_sparse(LabelArguments const& a, Place const& place) {
    check_classes(a);
    require(a.dtype.is_none(), "target_dtype: sparse targets are int64, int64 and float32");
    if (targets.is_none()) {
      nb::tuple const shape = nb::make_tuple(labels.view.shape[0]);
      targets =
          nb::make_tuple(empty(a.labels, shape, DType::i64), empty(a.labels, shape, DType::i64),
                         empty(a.labels, shape, DType::f32));
    }
    require(PySequence_Check(targets.ptr()) != 0 && nb::len(targets) == 3,
            "targets_out: expected own, partner and weight");
    own.open("targets_out.own", nb::object(targets[0]), Use::write, place);
    partner.open("targets_out.partner", nb::object(targets[1]), Use::write, place);
    weight.open("targets_out.weight", nb::object(targets[2]), Use::write, place);
  }
};

/// The CPU knows at once; on CUDA the plan keeps it until somebody asks.
void warn_of_bad_label(PlanObject const& object, bool before) {
  if (object.place.device.kind != Device::Kind::cpu || before) return;
  ErrorWord word;
  error_into(&word, object.plan, object.place.queue());
  bool const partner = word.code() == ErrorWord::Code::partner_label;
  if (!partner && word.code() != ErrorWord::Code::label) return;
  std::string const text =
      message(partner ? "partner_labels" : "labels", ": the class of sample ", word.sample(),
              " (step ", word.step(), ") is outside 0 to num_classes - 1; its share was left out");
  nb::module_::import_("mixfuse._frameworks").attr("warn")(text.c_str());
}

bool has_error(PlanObject const& object) {
  if (object.place.device.kind != Device::Kind::cpu) return false;
  ErrorWord word;
  error_into(&word, object.plan, object.place.queue());
  return static_cast<bool>(word);
}

/// Mixes by a plan, or by one that is drawn for this call. Returns images, or (images, targets).
nb::object mix(nb::object images, nb::object labels, nb::object plan, nb::object spec,
               nb::object seed, nb::object step, nb::object first, nb::object live,
               nb::object schedule, nb::object partners, nb::object partner_labels, nb::object out,
               nb::object targets_out, nb::object classes, nb::object smoothing, nb::object ignored,
               nb::object sparse, nb::object axes, nb::object out_axes, nb::object out_dtype,
               nb::object target_dtype, nb::object mean, nb::object std, nb::object stream,
               nb::object threads) {
  bool const in_place = !out.is_none() && out.is(images);
  Borrowed batch("images", images, in_place ? Use::write : Use::read);
  Place const place = place_of(batch, images, stream, threads);
  TensorView const in = batch.open(place.stream, layout("layout", axes));
  Extents const extents = extents_of(in);
  Argument second, mixed;
  second.open("partners", partners, Use::read, place, in.layout);
  Normalise const normalise = normalise_of(mean, std);
  if (in_place) {
    mixed.view = in;
    require<unsupported>(normalise.channels == 0, "mean: pixels mixed in place are not normalised");
    require(!second.view.present(), "partners: in place there is one batch");
  } else {
    Layout const made =
        out_axes.is_none() ? layout_of("images", in) : layout("out_layout", out_axes);
    if (out.is_none()) {
      out = empty(images, shape_in(made, in),
                  out_dtype.is_none() ? in.dtype : dtype("out_dtype", out_dtype));
    }
    mixed.open("out", out, Use::write, place, made);
  }
  std::optional<LabelCall> label;
  if (!labels.is_none()) {
    label.emplace(LabelArguments{labels, partner_labels, targets_out, classes, smoothing, ignored,
                                 sparse, target_dtype},
                  place);
  }

  std::optional<PlanObject> drawn;
  PlanObject* const object = plan.is_none()
                                 ? &drawn.emplace(make_plan(extents.samples, place, images))
                                 : &plan_of("plan", plan);
  bool const error_before = has_error(*object);
  {
    Queue const queue = place.queue();
    Plan::State& state = object->plan.state();
    InUse const use(state);
    check_queue(state.device, queue);

    // Everything is checked before anything is queued: of a bad call not even the draw may go on.
    std::optional<PlanCall> first_call;
    if (drawn) {
      auto const& wanted = nb::cast<Spec const&>(spec);
      Source const source{seed, step, first, live, schedule};
      first_call = live.is_none() ? call_of(state, wanted, extents, draw_of(source))
                                  : call_of(state, wanted, extents, live_of(wanted, source, place));
      take(state, *first_call);
    }
    Samples const samples{in, second.view};
    StepCall const call = [&] {
      if (in_place) {
        return label
                   ? step_in_place_call({in, label->views()}, label->samples(), label->rule, state)
                   : mix_in_place_call(in, state);
      }
      return label ? step_call({mixed.view, label->views()},
                               {samples, label->samples(), label->rule, normalise}, state)
                   : mix_call(mixed.view, samples, normalise, state);
    }();
    {
      nb::gil_scoped_release const released;
      if (first_call) run(state, *first_call, queue);
      run(call, state, queue);
    }
  }
  if (label) warn_of_bad_label(*object, error_before);
  if (!stream.is_none()) {
    keep(nb::make_tuple(images, labels, partners, partner_labels, out,
                        label ? label->targets : nb::none(), object->memory),
         place);
  }
  nb::object const result = as_framework(images, out);
  return label ? nb::object(nb::make_tuple(result, label->handed_over(labels))) : result;
}

}  // namespace

void bind_mix(nb::module_& module) {
  auto const any = [](char const* name) { return nb::arg(name).none(); };
  module.def("mix", &mix, any("images"), any("labels"), any("plan"), any("spec"), any("seed"),
             any("step"), any("first"), any("draw"), any("schedule"), any("partners"),
             any("partner_labels"), any("out"), any("targets_out"), any("num_classes"),
             any("smoothing"), any("ignored"), any("sparse"), any("layout"), any("out_layout"),
             any("out_dtype"), any("target_dtype"), any("mean"), any("std"), any("stream"),
             any("threads"));
}

}  // namespace mixfuse::python
