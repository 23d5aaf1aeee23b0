// SPDX-License-Identifier: Apache-2.0
#include "host/cli/mixer.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "host/cli/fault.hpp"

namespace mixfuse::cli {
namespace {

bool is_image_dtype(DType dtype) {
  return dtype != DType::boolean && dtype != DType::i32 && dtype != DType::i64;
}

DType checked(DType in, DType out) {
  if (!is_image_dtype(in)) {
    throw bad_call(text("--images: ", name_of(in),
                        " is not supported, u8, f16, bf16, f32 and f64 "
                        "are"));
  }
  bool const half = out == DType::f16 || out == DType::bf16;
  bool const built =
      in == out || (in == DType::u8 && (half || out == DType::f32)) || (in == DType::f32 && half);
  if (!built) {
    throw bad_call(text("--out-dtype: ", name_of(in), " to ", name_of(out), " is not supported"));
  }
  return out;
}

std::int64_t product(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) throw std::bad_alloc();
  return result;
}

Bytes room(std::int64_t count, DType dtype) {
  return Bytes(static_cast<std::size_t>(product(count, static_cast<std::int64_t>(size_of(dtype)))));
}

std::int64_t elements(Array const& array) {
  return static_cast<std::int64_t>(array.bytes.size / size_of(array.dtype));
}

Mirror mirror(Engine const& engine, Array const* array) {
  return array
             ? Mirror(engine, static_cast<void const*>(array->bytes.data.get()), array->bytes.size)
             : Mirror(engine, static_cast<void*>(nullptr), 0);
}

template <class Value>
Array const* array_of(std::optional<Value> const& from, bool wanted) {
  if (!from || !wanted) return nullptr;
  if constexpr (std::is_same_v<Value, Array>) {
    return &*from;
  } else {
    return &from->values;
  }
}

constexpr std::size_t id_bytes = 8, record_bytes = 20;

}  // namespace

std::vector<std::int64_t> shape_in(Layout layout, Dataset const& data) {
  std::string_view const axes = name_of(layout), own = name_of(data.layout);
  if (!std::is_permutation(axes.begin(), axes.end(), own.begin(), own.end())) {
    throw bad_call(text("--out-layout: ", own, " does not become ", axes));
  }
  std::vector<std::int64_t> shape;
  for (char const axis : axes) shape.push_back(data.images.shape[own.find(axis)]);
  return shape;
}

Mixer::Mixer(Engine const& engine, Dataset const& data, Products const& products)
    : engine_{engine},
      data_{data},
      products_{products},
      target_dtype_{data.labels && !data.labels->ids() &&
                            data.labels->values.dtype != DType::boolean
                        ? data.labels->values.dtype
                        : DType::f32},
      mixed_{products.images
                 ? room(elements(data.images), checked(data.images.dtype, products.dtype))
                 : Bytes()},
      targets_{products.targets == TargetKind::dense
                   ? room(product(data.extents.samples, data.classes), target_dtype_)
               : products.targets
                   ? Bytes(static_cast<std::size_t>(data.extents.samples) * record_bytes)
                   : Bytes()},
      parts_{products.targets == TargetKind::sparse ? Bytes(targets_.size) : Bytes()},
      images_{mirror(engine, products.images ? &data.images : nullptr)},
      partners_{mirror(engine, array_of(data.partners, products.images))},
      labels_{mirror(engine, array_of(data.labels, products.targets.has_value()))},
      partner_labels_{mirror(engine, array_of(data.partner_labels, products.targets.has_value()))},
      mixed_mirror_{engine, static_cast<void*>(mixed_.data.get()), mixed_.size},
      targets_mirror_{engine,
                      static_cast<void*>(parts_.data ? parts_.data.get() : targets_.data.get()),
                      targets_.size},
      plan_{data.extents.samples, engine.device(), engine.queue()} {}

void Mixer::draw(Spec const& spec, Draw draw) {
  plan_into(plan_, spec, data_.extents, draw, engine_.queue());
}

void Mixer::take(std::vector<Row> const& rows, Draw draw) {
  plan_into(plan_, rows.data(), data_.extents, draw, engine_.queue());
}

ConstTensorView Mixer::view(Array const& array, Mirror const& memory) const {
  return {memory.data(), array.dtype, array.shape.data(), static_cast<int>(array.shape.size()),
          engine_.device()};
}

Targets Mixer::targets_view() const {
  std::int64_t const samples = data_.extents.samples;
  Device const device = engine_.device();
  auto* const memory = static_cast<std::byte*>(targets_mirror_.data());
  if (products_.targets == TargetKind::dense) {
    return TensorView{memory, target_dtype_, {samples, data_.classes}, device};
  }
  std::size_t const ids = static_cast<std::size_t>(samples) * id_bytes;
  return {TensorView{memory, DType::i64, {samples}, device},
          TensorView{memory ? memory + ids : nullptr, DType::i64, {samples}, device},
          TensorView{memory ? memory + 2 * ids : nullptr, DType::f32, {samples}, device}};
}

void Mixer::mix() {
  Queue const queue = engine_.queue();
  if (products_.images) {
    ConstTensorView own = view(data_.images, images_);
    own.layout = data_.layout;
    Layout const layout = products_.layout.value_or(data_.layout);
    TensorView const out{
        mixed_mirror_.data(), products_.dtype, shape_in(layout, data_).data(), own.rank,
        engine_.device(),     layout};
    Samples in = own;
    if (data_.partners) {
      in.partners = own;
      in.partners.data = partners_.data();
    }
    mix_into(out, in, products_.normalise, plan_, queue);
  }
  if (products_.targets) {
    Samples labels = view(data_.labels->values, labels_);
    if (data_.partner_labels) {
      labels.partners = view(data_.partner_labels->values, partner_labels_);
    }
    label_into(targets_view(), labels, {products_.smoothing, products_.ignored, data_.classes},
               plan_, queue);
  }
}

void Mixer::fetch() {
  mixed_mirror_.fetch();
  targets_mirror_.fetch();
  ErrorWord word;
  error_into(&word, plan_, engine_.queue());
  engine_.wait();
  if (word) report(word);
  if (products_.targets != TargetKind::sparse) return;
  auto const samples = static_cast<std::size_t>(data_.extents.samples);
  for (std::size_t i = 0; i < samples; ++i) {
    std::byte* const record = targets_.data.get() + i * record_bytes;
    std::byte const* const part = parts_.data.get();
    std::memcpy(record, part + i * id_bytes, id_bytes);
    std::memcpy(record + id_bytes, part + (samples + i) * id_bytes, id_bytes);
    std::memcpy(record + 2 * id_bytes, part + 2 * samples * id_bytes + i * 4, 4);
  }
}

void Mixer::report(ErrorWord const& word) const {
  bool const partner = word.code() == ErrorWord::Code::partner_label;
  Labels const& labels = partner ? *data_.partner_labels : *data_.labels;
  std::int64_t id = 0;
  std::memcpy(&id, labels.values.bytes.data.get() + static_cast<std::size_t>(word.sample()) * 8, 8);
  throw failed_run(text(labels.file, ": row ", word.sample(), ": class ", id, " is outside 0 to ",
                        data_.classes - 1, " (--num-classes)"));
}

std::vector<Row> Mixer::rows() const { return read_rows(plan_, engine_.queue()); }

}  // namespace mixfuse::cli
