// SPDX-License-Identifier: Apache-2.0
#include "bench/batch.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/dtypes.hpp"

namespace mixfuse::bench {
namespace {

constexpr std::uint64_t seed = 1;

/// SplitMix64's words: random data, since a processor may be faster on zeros.
struct Words {
  std::uint64_t state = seed;
  std::uint64_t operator()() {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
};

/// Bytes of any value, or floats in [0, 1).
std::vector<std::byte> random_bytes(DType dtype, std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size_of(dtype));
  Words words;
  with_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* const values = reinterpret_cast<T*>(bytes.data());
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint64_t const word = words();
      if constexpr (std::is_same_v<T, std::uint8_t>) {
        values[i] = static_cast<std::uint8_t>(word >> 56);
      } else {
        values[i] = maths::narrow<T>(static_cast<float>(word >> 40) * 0x1p-24f);
      }
    }
  });
  return bytes;
}

double value_at(DType dtype, std::vector<std::byte> const& bytes, std::int64_t at) {
  double value = 0.0;
  with_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T element;
    std::memcpy(&element, bytes.data() + static_cast<std::size_t>(at) * sizeof(T), sizeof(T));
    value = static_cast<double>(maths::widen(element));
  });
  return value;
}

/// One pair for all channels, so that the formula needs no table of them.
constexpr double mean = 0.45, deviation = 0.225;

}  // namespace

std::string Shape::name() const {
  std::string name;
  for (std::int64_t const extent : extents)
    name += (name.empty() ? "" : "x") + std::to_string(extent);
  return name;
}

std::int64_t Shape::elements() const {
  std::int64_t count = 1;
  for (std::size_t axis = 1; axis < extents.size(); ++axis) count *= extents[axis];
  return count;
}

std::size_t Shape::bytes_in() const {
  return static_cast<std::size_t>(samples() * elements()) * size_of(in);
}

std::size_t Shape::bytes_out() const {
  return static_cast<std::size_t>(samples() * elements()) * size_of(out);
}

std::vector<Shape> shapes(Size size) {
  constexpr DType f32 = DType::f32, bf16 = DType::bf16, u8 = DType::u8;
  if (size == Size::small) {
    return {{{8, 3, 16, 16}, f32, f32},
            {{8, 3, 16, 16}, bf16, bf16},
            {{8, 3, 16, 16}, u8, bf16, true},
            {{16, 9, 40}, f32, f32}};
  }
  return {{{128, 3, 32, 32}, f32, f32},
          {{256, 3, 224, 224}, f32, f32},
          {{256, 3, 224, 224}, bf16, bf16},
          {{256, 3, 224, 224}, u8, u8},
          {{256, 3, 224, 224}, u8, bf16, true},
          {{256, 3, 224, 224}, u8, f32, true},
          {{1024, 3, 224, 224}, bf16, bf16},
          {{64, 3, 512, 512}, f32, f32},
          {{512, 9, 1000}, f32, f32}};
}

std::vector<std::int64_t> extents_of_name(std::string const& name) {
  std::vector<std::int64_t> extents;
  char const *at = name.data(), *const end = name.data() + name.size();
  while (true) {
    std::int64_t extent = 0;
    auto const [next, error] = std::from_chars(at, end, extent);
    if (error != std::errc{} || extent < 1 || extent > 1 << 24) break;
    extents.push_back(extent);
    if (next == end && (extents.size() == 3 || extents.size() == 4)) return extents;
    if (next == end || *next != 'x' || extents.size() == 4) break;
    at = next + 1;
  }
  throw std::invalid_argument("'" + name + "' is not a shape like 256x3x224x224 or 512x9x1000");
}

Spec mixup_of(Shape const& shape) {
  Spec spec;
  spec.policies = {{Mixup{{0.2f, 0.2f}}, 1.0f}};
  spec.flip = shape.normalise ? 0.5f : 0.0f;
  return spec;
}

Batch::Batch(Lane const& lane, Shape const& shape, int sets)
    : lane_{lane},
      shape_{shape},
      host_{random_bytes(shape.in, shape.samples() * shape.elements())} {
  if (shape.normalise) normalise_ = {1, {mean}, {deviation}};
  for (int set = 0; set < sets; ++set) {
    in_.emplace_back(lane, shape.bytes_in());
    in_.back().put(host_.data());
    out_.emplace_back(lane, shape.bytes_out());
    fill_random(lane, out_.back().data(), shape.bytes_out());  // what is copied may come from there
  }
}

ConstTensorView Batch::in(int set) const {
  std::vector<std::int64_t> extents = shape_.extents;
  if (shape_.normalise) std::rotate(extents.begin() + 1, extents.begin() + 2, extents.end());
  return {in_[static_cast<std::size_t>(set)].data(),
          shape_.in,
          extents.data(),
          static_cast<int>(extents.size()),
          lane_.device(),
          shape_.normalise ? Layout::nhwc : Layout::by_rank};
}

TensorView Batch::out(int set) const {
  return {out_[static_cast<std::size_t>(set)].data(), shape_.out, shape_.extents.data(),
          static_cast<int>(shape_.extents.size()), lane_.device()};
}

/// Where the input is smaller than what is copied, the next set's output is read.
void const* Batch::copied_from(int set) const {
  if (shape_.bytes_in() >= half()) return in_[static_cast<std::size_t>(set)].data();
  return out_[static_cast<std::size_t>((set + 1) % sets())].data();
}

void Batch::copy(int set) const {
  bench::copy(lane_, out_[static_cast<std::size_t>(set)].data(), copied_from(set), half());
}

bool Batch::copy_non_temporal(int set) const {
  return bench::copy_non_temporal(lane_, out_[static_cast<std::size_t>(set)].data(),
                                  copied_from(set), half());
}

double larger(double worst, double difference) {
  return std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                : std::max(worst, difference);
}

double Batch::error(int set, std::vector<Row> const& rows) const {
  Memory const& memory = out_[static_cast<std::size_t>(set)];
  std::vector<std::byte> mixed(memory.size());
  memory.get(mixed.data());

  std::int64_t const elements = shape_.elements(), channels = shape_.channels();
  std::int64_t const width = shape_.extents.back(), pixels = elements / channels;
  bool const images = shape_.extents.size() == 4;
  std::int64_t const count = shape_.samples() * elements;
  std::int64_t const stride = count / 1000000 + 1;  // a million elements are enough
  double worst = 0.0;
  for (std::int64_t at = 0; at < count; at += stride) {
    std::int64_t const i = at / elements, c = at % elements / pixels, pixel = at % pixels;
    std::int64_t const x = pixel % width, y = pixel / width;
    auto const read = [&](std::int64_t sample) {
      bool const flip = rows[static_cast<std::size_t>(sample)].flip != 0;
      std::int64_t const p = y * width + (flip ? width - 1 - x : x);
      std::int64_t const e = shape_.normalise ? p * channels + c : c * pixels + p;
      return value_at(shape_.in, host_, sample * elements + e);
    };
    Row const& row = rows[static_cast<std::size_t>(i)];
    std::int64_t const first = images ? y : x;
    bool const inside = first >= row.box.lo[0] && first < row.box.hi[0] &&
                        (!images || (x >= row.box.lo[1] && x < row.box.hi[1]));
    auto const w = static_cast<double>(inside ? row.inside : row.outside);
    double want = w * read(i) + (1 - w) * read(row.partner);
    if (shape_.normalise) want = (want / 255 - mean) / deviation;
    worst = larger(worst, std::abs(value_at(shape_.out, mixed, at) - want));
  }
  return worst;
}

double Batch::converted_error(int set) const {
  Memory const& memory = out_[static_cast<std::size_t>(set)];
  std::vector<std::byte> converted(memory.size());
  memory.get(converted.data());
  double worst = 0.0;
  for (std::int64_t e = 0; e < shape_.samples() * shape_.elements(); ++e) {
    worst =
        larger(worst, std::abs(value_at(shape_.out, converted, e) - value_at(shape_.in, host_, e)));
  }
  return worst;
}

double Batch::tolerance() const {
  switch (shape_.out) {
    case DType::u8:
      return 1.6;  // the formula rounds three times
    case DType::f16:
      return 1e-2;
    case DType::bf16:
      return 8e-2;
    default:
      return 4e-6;
  }
}

Plan plan_of(Batch const& batch, Lane const& lane) {
  Shape const& shape = batch.shape();
  Plan plan(shape.samples(), lane.device(), lane.queue());
  plan_into(plan, mixup_of(shape), extents_of(batch.in(0)), first_draw, lane.queue());
  return plan;
}

std::vector<std::int64_t> class_ids(std::int64_t samples, std::int64_t classes) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i)
    ids[static_cast<std::size_t>(i)] = i * 2654435761 % classes;
  return ids;
}

double targets_error(Memory const& targets, std::vector<std::int64_t> const& ids,
                     std::int64_t classes, std::vector<Row> const& rows) {
  std::vector<float> got(targets.size() / sizeof(float));
  targets.get(got.data());
  double worst = 0.0;
  auto value = got.begin();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const w = static_cast<double>(rows[i].label);
    for (std::int64_t k = 0; k < classes; ++k) {
      double want = ids[i] == k ? w : 0.0;
      if (ids[static_cast<std::size_t>(rows[i].partner)] == k) want += 1.0 - w;
      worst = larger(worst, std::abs(static_cast<double>(*value++) - want));
    }
  }
  return worst;
}

Mixing::Mixing(Batch const& batch, Spec spec, Lane const& lane, std::int64_t classes)
    : batch_{batch},
      lane_{lane},
      classes_{classes},
      mixer_{std::move(spec), first_draw, batch.shape().samples(), lane.device(), lane.queue()},
      classes_of_{class_ids(batch.shape().samples(), std::max<std::int64_t>(classes, 1))},
      ids_{lane, classes_of_.size() * sizeof(std::int64_t)},
      targets_{lane, static_cast<std::size_t>(batch.shape().samples() * classes) * sizeof(float)} {
  ids_.put(classes_of_.data());
}

double Mixing::error() const {
  std::vector<Row> const rows = read_rows(mixer_.plan(), lane_.queue());
  if (classes_ > 0 && !(targets_error(targets_, classes_of_, classes_, rows) <= targets_tolerance))
    return std::numeric_limits<double>::infinity();
  return batch_.error(0, rows);
}

void Mixing::step(int set) {
  Mixed out{batch_.out(set)};
  Originals in{batch_.in(set), {}, {}, batch_.normalise()};
  if (classes_ > 0) {
    std::int64_t const samples = batch_.shape().samples();
    out.targets = TensorView{targets_.data(), DType::f32, {samples, classes_}, lane_.device()};
    in.labels = ConstTensorView{ids_.data(), DType::i64, {samples}, lane_.device()};
  }
  mixer_(out, in, lane_.queue());
}

void Mixing::step_in_place(int set) { mixer_.in_place({batch_.out(set)}, {}, {}, lane_.queue()); }

namespace {

template <class Value>
Memory of_rows(Lane const& lane, std::vector<Row> const& rows, Value Row::*member) {
  std::vector<Value> values;
  for (Row const& row : rows) values.push_back(row.*member);
  Memory memory(lane, values.size() * sizeof(Value));
  memory.put(values.data());
  return memory;
}

std::vector<Row> unflipped(std::vector<Row> rows) {
  for (Row& row : rows) row.flip = 0;
  return rows;
}

}  // namespace

Formulas::Formulas(Batch const& batch, Lane const& lane)
    : batch_{batch},
      lane_{lane},
      rows_{unflipped(read_rows(plan_of(batch, lane), lane.queue()))},
      partner_{of_rows(lane, rows_, &Row::partner)},
      weight_{of_rows(lane, rows_, &Row::outside)},
      scratch_{lane, 2 * batch.shape().bytes_out()} {}

Formula Formulas::formula(int set) const {
  Shape const& shape = batch_.shape();
  return {shape.in,
          shape.out,
          batch_.in(set).data,
          batch_.out(set).data,
          scratch_.data(),
          shape.samples(),
          shape.elements(),
          shape.normalise ? shape.channels() : 0,
          static_cast<float>(mean),
          static_cast<float>(deviation),
          static_cast<std::int32_t const*>(partner_.data()),
          static_cast<float const*>(weight_.data())};
}

void Formulas::passes(int set) const { bench::passes(formula(set), lane_.queue()); }

void Formulas::fused(int set) const { bench::fused(formula(set), lane_.queue()); }

void Formulas::convert(int set) const { convert_cpu(formula(set), lane_.queue().threads()); }

Contest mix_contest(Lane const& lane, Effort const& effort, Batch const& batch, Way way,
                    std::vector<Contestant> const& more) {
  Shape const& shape = batch.shape();
  Mixing mixing(batch, mixup_of(shape), lane);
  Formulas const formulas(batch, lane);
  std::vector<Contestant> contestants = {{"copy", [&](int set) { batch.copy(set); }}};
  if (!lane.cuda()) {
    contestants.push_back({"non-temporal copy", [&](int set) {
                             if (!batch.copy_non_temporal(set)) throw unsupported("no such store");
                           }});
  }
  if (!lane.cuda() && shape.in != shape.out) {
    contestants.push_back({"converting copy", [&](int set) { formulas.convert(set); },
                           [&] { return batch.converted_error(0); }});
  }
  contestants.push_back({"mixfuse", [&](int set) { mixing.step(set); },
                         [&] { return mixing.error(); }, batch.tolerance()});
  contestants.push_back({shape.normalise ? "formula, seven passes" : "formula, four passes",
                         [&](int set) { formulas.passes(set); }, [&] { return formulas.error(); },
                         batch.tolerance()});
  contestants.push_back({"formula, one loop", [&](int set) { formulas.fused(set); },
                         [&] { return formulas.error(); }, batch.tolerance()});
  contestants.insert(contestants.end(), more.begin(), more.end());

  Contest contest{"mix",
                  shape.name(),
                  name_of(shape.in),
                  name_of(shape.out),
                  shape.samples(),
                  static_cast<std::int64_t>(shape.bytes_in() + shape.bytes_out()),
                  way,
                  batch.sets()};
  measure(lane, effort, contestants, contest);
  return contest;
}

}  // namespace mixfuse::bench
