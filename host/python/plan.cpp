// SPDX-License-Identifier: Apache-2.0
#include "host/python/plan.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <sstream>
#include <utility>

#include "host/check.hpp"
#include "host/plan.hpp"
#include "host/python/arguments.hpp"
#include "host/tensor.hpp"

namespace mixfuse::python {
namespace {

Device device_of(DLDevice device) {
  bool const cuda = device.device_type == kDLCUDA || device.device_type == kDLCUDAManaged;
  return cuda ? Device::cuda(device.device_id) : Device::cpu();
}

/// A tensor that the host only passes on: this dtype, contiguous.
template <class Value>
Value* values_of(char const* name, nb::handle object, Use use, DType dtype, std::int64_t count,
                 Place const& place) {
  if (object.is_none()) return nullptr;
  Borrowed tensor = at_place(name, object, use, place);
  TensorView const view = tensor.open(place.stream);
  bool contiguous = true;
  std::int64_t size = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    contiguous = contiguous && (view.shape[axis] <= 1 || view.stride[axis] == size);
    size *= view.shape[axis];
  }
  require(view.dtype == dtype && contiguous && size == count, name, ": ", name_of(view.dtype), " ",
          shape_of(view), ", expected ", count, " contiguous values of ", name_of(dtype));
  return static_cast<Value*>(view.data);
}

constexpr std::int64_t draw_words = sizeof(Draw) / sizeof(std::int64_t);

nb::object rows_of(PlanObject const& object) {
  std::vector<Row> rows;
  {
    nb::gil_scoped_release const released;
    rows = read_rows(object.plan, object.place.queue());
  }
  return nb::module_::import_("mixfuse._rows")
      .attr("array")(nb::bytes(rows.data(), rows.size() * sizeof(Row)));
}

/// A copy of the rows on the plan's device, for those who go on from there.
void rows_into(PlanObject const& object, nb::object out) {
  Place const& place = object.place;
  std::int64_t const samples = object.plan.extents().samples;
  constexpr std::int64_t words = sizeof(Row) / sizeof(std::int32_t);
  auto* const memory = values_of<void>("out", out, Use::write, DType::i32, samples * words, place);
  if (samples == 0) return;
  require(memory != nullptr, "out: missing, expected int32 (", samples, ", ", words, ")");
  nb::gil_scoped_release const released;
  copy_out(object.plan.state(), memory, object.plan.rows(),
           static_cast<std::size_t>(samples) * sizeof(Row), place.queue());
}

void take_rows(PlanObject& object, Extents const& batch, nb::bytes const& rows, Draw draw,
               Place const& place) {
  require(rows.size() == static_cast<std::size_t>(batch.samples) * sizeof(Row),
          "rows: ", rows.size() / sizeof(Row), " rows, expected ", batch.samples);
  nb::gil_scoped_release const released;
  plan_into(object.plan, reinterpret_cast<Row const*>(rows.c_str()), batch, draw, place.queue());
  object.place = place;
}

ErrorWord error_of(PlanObject const& object) {
  ErrorWord word;
  Queue const queue = object.place.queue();
  nb::gil_scoped_release const released;
  // Reading rows is what waits for the queue.
  error_into(&word, object.plan, queue);
  if (queue.kind() == Device::Kind::cuda) static_cast<void>(read_rows(object.plan, queue));
  return word;
}

char const* name_of(ErrorWord::Code code) {
  switch (code) {
    case ErrorWord::Code::none:
      return "none";
    case ErrorWord::Code::partner:
      return "partner";
    case ErrorWord::Code::label:
      return "label";
    case ErrorWord::Code::partner_label:
      return "partner_label";
    case ErrorWord::Code::draw:
      return "draw";
    case ErrorWord::Code::probability:
      return "probability";
    case ErrorWord::Code::weight:
      return "weight";
  }
  return "unknown";
}

nb::object error_tuple(PlanObject const& object) {
  ErrorWord const word = error_of(object);
  if (!word) return nb::none();
  return nb::make_tuple(name_of(word.code()), word.step(), word.sample());
}

std::string text_of(PlanObject const& object) {
  std::vector<Row> const rows = [&] {
    nb::gil_scoped_release const released;
    return read_rows(object.plan, object.place.queue());
  }();
  std::ostringstream text;
  for (std::size_t i = 0; i < rows.size(); ++i) text << i << ": " << rows[i] << '\n';
  return text.str();
}

std::string summary_of(PlanObject const& object) {
  return message("<mixfuse.Plan of ", object.plan.extents().samples, " samples on ",
                 name_of(object.plan.device()), ">");
}

nb::tuple spatial_of(PlanObject const& object) {
  Extents const& extents = object.plan.extents();
  nb::list lengths;
  for (int axis = 0; axis < extents.axes; ++axis) lengths.append(extents.spatial[axis]);
  return nb::tuple(lengths);
}

/// Extents of a batch that is not there yet.
Extents extents_of_shape(nb::handle shape, nb::handle axes) {
  std::int64_t lengths[max_rank] = {};
  int rank = 0;
  for (nb::handle const length : shape) {
    require(rank < max_rank, "images: ", nb::len(shape), " axes, expected at most ", max_rank);
    lengths[rank++] = integer("images", length);
  }
  ConstTensorView view(nullptr, DType::u8, lengths, rank);
  view.layout = layout("layout", axes);
  return extents_of(view);
}

nb::object plan(nb::object images, Spec const& spec, nb::object seed, nb::object step,
                nb::object first, nb::object live, nb::object schedule, nb::object partners,
                nb::object rows, nb::object out, nb::object axes, nb::object where,
                nb::object stream, nb::object threads) {
  Place place;
  Extents batch;
  nb::object like = nb::none();
  if (nb::isinstance<nb::tuple>(images) || nb::isinstance<nb::list>(images)) {
    place.device = device("device", where.is_none() ? nb::str("cpu") : nb::handle(where));
    place.stream = place.device.kind == Device::Kind::cuda && !stream.is_none()
                       ? stream_of(stream, images, {kDLCUDA, place.device.id})
                       : 0;
    place.threads = static_cast<int>(integer("threads", threads));
    batch = extents_of_shape(images, axes);
  } else {
    require(where.is_none(), "device: given beside a tensor, which lies on one");
    Borrowed tensor("images", images, Use::read);
    place = place_of(tensor, images, stream, threads);
    batch = extents_of(tensor.open(place.stream, layout("layout", axes)));
    like = images;
  }
  if (out.is_none()) out = nb::cast(make_plan(batch.samples, place, like));
  PlanObject& object = plan_of("out", out);
  if (rows.is_none()) {
    draw_into(object, spec, batch, {seed, step, first, live, schedule}, partners, place);
  } else {
    take_rows(object, batch, nb::cast<nb::bytes>(rows), draw(seed, step, first), place);
  }
  return out;
}

}  // namespace

Place place_of(Borrowed const& tensor, nb::handle object, nb::handle stream, nb::handle threads) {
  std::int64_t const count = integer("threads", threads);
  require(count >= 0 && count <= 4096, "threads: ", count, ", expected 0 to 4096");
  return {device_of(tensor.device()), stream_of(stream, object, tensor.device()),
          static_cast<int>(count)};
}

Borrowed at_place(char const* name, nb::handle object, Use use, Place const& place) {
  Borrowed tensor(name, object, use);
  check_device(name, device_of(tensor.device()), place.device);
  return tensor;
}

nb::object empty(nb::handle like, nb::tuple const& shape, DType dtype) {
  char const* name = "";
  switch (dtype) {
    case DType::u8:
      name = "uint8";
      break;
    case DType::boolean:
      name = "bool";
      break;
    case DType::i32:
      name = "int32";
      break;
    case DType::i64:
      name = "int64";
      break;
    case DType::f16:
      name = "float16";
      break;
    case DType::bf16:
      name = "bfloat16";
      break;
    case DType::f32:
      name = "float32";
      break;
    case DType::f64:
      name = "float64";
      break;
  }
  return nb::module_::import_("mixfuse._frameworks").attr("empty")(like, shape, name);
}

PlanObject& plan_of(char const* name, nb::handle object) {
  if (!nb::isinstance<PlanObject>(object)) {
    throw nb::type_error(
        message(name, ": ", nb::type_name(object.type()).c_str(), ", expected a mixfuse.Plan")
            .c_str());
  }
  return nb::cast<PlanObject&>(object);
}

PlanObject make_plan(std::int64_t capacity, Place const& place, nb::handle like) {
  constexpr std::size_t alignment = 256;  // which a framework need not keep
  bool const cuda = place.device.kind == Device::Kind::cuda;
  std::size_t const bytes = cuda ? Plan::bytes(capacity, place.device) : 0;
  nb::object memory = nb::none();
  if (cuda && !like.is_none()) {
    memory =
        nb::module_::import_("mixfuse._frameworks").attr("memory")(like, bytes + alignment - 1);
  }
  if (memory.is_none()) return {Plan(capacity, place.device, place.queue()), memory, place};
  Borrowed tensor = at_place("plan", memory, Use::write, place);
  auto const address = reinterpret_cast<std::uintptr_t>(tensor.open(place.stream).data);
  auto* const aligned = reinterpret_cast<void*>((address + alignment - 1) / alignment * alignment);
  return {Plan(capacity, place.device, aligned, bytes, place.queue()), memory, place};
}

Draw draw_of(Source const& source) {
  require(source.schedule.is_none(), "schedule: given without a live draw");
  return draw(source.seed, source.step, source.first);
}

Live live_of(Spec const& spec, Source const& source, Place const& place) {
  auto const policies = static_cast<std::int64_t>(spec.policies.size());
  Schedule follows;
  if (!source.schedule.is_none()) {
    auto const read = [&](char const* name, int index, std::int64_t count) {
      return values_of<void const>(name, nb::object(source.schedule[index]), Use::read, DType::f32,
                                   count, place);
    };
    follows.weights = static_cast<Beta const*>(read("schedule.weights", 0, 2 * policies));
    follows.probabilities = static_cast<float const*>(read("schedule.probabilities", 1, policies));
    follows.probability = static_cast<float const*>(read("schedule.probability", 2, 1));
  }
  auto* const draw =
      values_of<void>("draw", source.live, Use::write, DType::i64, draw_words, place);
  return Live(static_cast<Draw*>(draw), follows);
}

void draw_into(PlanObject& object, Spec const& spec, Extents const& batch, Source const& source,
               nb::handle partners, Place const& place) {
  Queue const queue = place.queue();
  if (!source.live.is_none()) {
    require(partners.is_none(), "partners: given with a live draw, expected seed and step");
    Live const live = live_of(spec, source, place);
    nb::gil_scoped_release const released;
    plan_into(object.plan, spec, batch, live, queue);
  } else if (!partners.is_none()) {
    Draw const drawn = draw_of(source);
    Borrowed tensor = at_place("partners", partners, Use::read, place);
    TensorView const view = tensor.open(place.stream);
    nb::gil_scoped_release const released;
    plan_into(object.plan, spec, batch, drawn, view, queue);
  } else {
    Draw const drawn = draw_of(source);
    nb::gil_scoped_release const released;
    plan_into(object.plan, spec, batch, drawn, queue);
  }
  object.place = place;
}

void bind_plan(nb::module_& module) {
  nb::class_<Spec>(module, "Spec")
      .def("__init__",
           [](Spec* self, nb::object policies, nb::object probability, nb::object pairing,
              nb::object granularity, nb::object group, nb::object flip) {
             new (self) Spec(spec(policies, probability, pairing, granularity, group, flip));
           });
  nb::class_<PlanObject>(
      module, "Plan",
      "The rows of a batch, in the memory where the work runs: who is mixed with "
      "whom and how. Made by mixfuse.plan; str() prints the rows, in C++'s format.")
      .def_prop_ro(
          "samples", [](PlanObject const& o) { return o.plan.extents().samples; },
          "B of the batch that it is drawn for.")
      .def_prop_ro(
          "capacity", [](PlanObject const& o) { return o.plan.capacity(); },
          "The largest B that it has room for.")
      .def_prop_ro("spatial", &spatial_of, "Extents that boxes lie on, in pixels: (h, w), say.")
      .def_prop_ro(
          "device", [](PlanObject const& o) { return name_of(o.plan.device()); },
          "\"cpu\", or \"cuda:0\" and so on.")
      .def(
          "rows", &rows_of,
          "The rows as a NumPy structured array: partner, outside, inside, label, flip, lo (3), hi "
          "(3). Waits for the stream that they are drawn on.")
      .def("rows_into", &rows_into, nb::arg("out"),
           "Copies the rows to an int32 tensor (B, 11) on the plan's device, on the stream that "
           "they are drawn on; does not wait.")
      .def("error", &error_tuple,
           "What only the device could find out: (what, step, sample) of the first bad step, or "
           "None. Kept until clear_error(). Waits.")
      .def(
          "clear_error",
          [](PlanObject& o) {
            nb::gil_scoped_release const released;
            clear_error(o.plan, o.place.queue());
          },
          "Forgets it, in the order of the stream that the rows are drawn on.")
      .def("__str__", &text_of)
      .def("__repr__", &summary_of);
  auto const any = [](char const* name) { return nb::arg(name).none(); };
  module.def("plan", &plan, any("images"), nb::arg("spec"), any("seed"), any("step"), any("first"),
             any("draw"), any("schedule"), any("partners"), any("rows"), any("out"), any("layout"),
             any("device"), any("stream"), any("threads"));
  module.def(
      "stream_of",
      [](nb::object given, nb::object tensor) {
        return stream_of(given, tensor, Borrowed("tensor", tensor, Use::read).device());
      },
      any("stream"), any("tensor"));
}

}  // namespace mixfuse::python
