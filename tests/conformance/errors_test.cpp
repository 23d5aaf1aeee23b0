// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "tests/support/batch.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

enum class Kind { invalid, not_supported };

/// A legal step, from which each case changes one thing.
struct Scene {
  static constexpr std::int64_t samples = 4, classes = 5;

  Place place = here();
  Tensor own{place, tagged(DType::f32, {samples, 2, 3, 6})};
  Tensor second{place, tagged(DType::f32, {samples, 2, 3, 6})};
  Tensor target{place, DType::f32, {samples, 2, 3, 6}};
  Tensor class_ids{place, ids(DType::i64, {0, 1, 2, 3})};
  Tensor second_ids{place, ids(DType::i64, {3, 2, 1, 0})};
  Tensor soft{place, tagged(DType::f32, {samples, classes})};
  Tensor rows_out{place, DType::f32, {samples, classes}};
  Tensor own_out{place, DType::i64, {samples}};
  Tensor partner_out{place, DType::i64, {samples}};
  Tensor weight_out{place, DType::f32, {samples}};
  Tensor given{place, ids(DType::i64, {1, 0, 3, 2})};
  Plan plan = make_plan(place, cutmix_spec(), image(samples, 3, 6), {1, 2, 3});

  // What a call is made of.
  TensorView out = target;
  Samples images = own.view();
  Targets targets = rows_out.view();
  Samples labels = class_ids.view();
  LabelRule rule;
  Spec spec = cutmix_spec();
  Extents batch = image(samples, 3, 6);
  Draw draw{5, 6, 7};
  Normalise normalise{2, {0.5, 0.4}, {0.25, 0.5}};
  ConstTensorView partners = given.view();
  std::vector<Row> rows = std::vector<Row>(static_cast<std::size_t>(samples));
  Queue queue = place.queue;

  void to_sparse() {
    targets = {own_out.view(), partner_out.view(), weight_out.view()};
    rule.classes = classes;
  }

  /// All bytes that a refused call must leave alone.
  [[nodiscard]] std::vector<Bytes> state() const {
    std::vector<Bytes> bytes;
    for (Tensor const* const tensor : {&own, &second, &target, &class_ids, &second_ids, &soft,
                                       &rows_out, &own_out, &partner_out, &weight_out, &given}) {
      bytes.push_back(tensor->raw());
    }
    auto const now = read_rows(plan, place.queue);
    auto const* const first = reinterpret_cast<std::byte const*>(now.data());
    bytes.emplace_back(first, first + now.size() * sizeof(Row));
    ErrorWord const word = error_of(plan, place);
    auto const* const at = reinterpret_cast<std::byte const*>(&word);
    bytes.emplace_back(at, at + sizeof word);
    return bytes;
  }
};

void mix(Scene& s) { mix_into(s.out, s.images, s.plan, s.queue); }
void normalised(Scene& s) { mix_into(s.out, s.images, s.normalise, s.plan, s.queue); }
void in_place(Scene& s) { mix_in_place(s.out, s.plan, s.queue); }
void label(Scene& s) { label_into(s.targets, s.labels, s.rule, s.plan, s.queue); }
void step(Scene& s) {
  step_into({s.out, s.targets}, {s.images, s.labels, s.rule}, s.plan, s.queue);
}
void step_normalised(Scene& s) {
  step_into({s.out, s.targets}, {s.images, s.labels, s.rule, s.normalise}, s.plan, s.queue);
}
void step_over(Scene& s) { step_in_place({s.out, s.targets}, s.labels, s.rule, s.plan, s.queue); }
void draw(Scene& s) { plan_into(s.plan, s.spec, s.batch, s.draw, s.queue); }
void draw_given(Scene& s) {
  s.spec.pairing = Pairing::given;
  plan_into(s.plan, s.spec, s.batch, s.draw, s.partners, s.queue);
}
void by_hand(Scene& s) { plan_into(s.plan, s.rows.data(), s.batch, s.draw, s.queue); }

using Call = void (*)(Scene&);

/// `change` makes `call` bad: it throws, names the argument, and leaves everything as it was.
void expect_refused(char const* what, Kind kind, char const* named, Call call,
                    std::function<void(Scene&)> const& change) {
  SCOPED_TRACE(std::string(what) + ", expected to name " + named);
  Scene scene;
  change(scene);
  auto const before = scene.state();
  calls::reset();
  std::string message;
  try {
    call(scene);
    ADD_FAILURE() << "was not refused";
    return;
  } catch (invalid_argument const& caught) {
    EXPECT_EQ(kind, Kind::invalid) << caught.what();
    message = caught.what();
  } catch (unsupported const& caught) {
    EXPECT_EQ(kind, Kind::not_supported) << caught.what();
    message = caught.what();
  }
  if (on_cuda() && calls::counted()) {
    EXPECT_EQ(calls::count("ops"), 0) << message;
  }
  // The argument stands at the start of a word: "out: ..." but not "without".
  std::size_t at = message.find(named);
  while (
      at != std::string::npos && at != 0 &&
      (std::isalnum(static_cast<unsigned char>(message[at - 1])) != 0 || message[at - 1] == '.')) {
    at = message.find(named, at + 1);
  }
  EXPECT_NE(at, std::string::npos) << "message: " << message;
  EXPECT_LT(message.size(), 512u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(scene.state(), before) << "something was written";
}

struct Case {
  char const* what;
  Kind kind;
  char const* named;
  Call call;
  std::function<void(Scene&)> change;
};

void expect_all_refused(std::vector<Case> const& cases) {
  for (Case const& c : cases) expect_refused(c.what, c.kind, c.named, c.call, c.change);
}

constexpr Kind invalid = Kind::invalid, not_supported = Kind::not_supported;

class Errors : public OnDevice {};

TEST_F(Errors, TheSceneItselfIsLegal) {
  for (Call const call : {mix, normalised, label, step, draw, draw_given, by_hand}) {
    Scene scene;
    EXPECT_NO_THROW(call(scene));
  }
  for (Call const call : {in_place, step_over}) {
    Scene scene;
    scene.out = scene.second;
    EXPECT_NO_THROW(call(scene));
  }
  Scene sparse;
  sparse.to_sparse();
  EXPECT_NO_THROW(step(sparse));
}

TEST_F(Errors, EachPointerNullInTurnIsNamed) {
  expect_all_refused({
      {"out", invalid, "out", mix, [](Scene& s) { s.out.data = nullptr; }},
      {"images", invalid, "images", mix, [](Scene& s) { s.images.own.data = nullptr; }},
      {"partners", invalid, "partners", mix,
       [](Scene& s) { s.images.partners = s.second.view(), s.images.partners.data = nullptr; }},
      {"in place", invalid, "images", in_place, [](Scene& s) { s.out.data = nullptr; }},
      {"dense", invalid, "targets", label, [](Scene& s) { s.targets.dense.data = nullptr; }},
      {"labels", invalid, "labels", label, [](Scene& s) { s.labels.own.data = nullptr; }},
      {"second labels", invalid, "labels", label,
       [](Scene& s) { s.labels.partners = s.second_ids.view(), s.labels.partners.data = nullptr; }},
      {"sparse own", invalid, "targets.own", label,
       [](Scene& s) { s.to_sparse(), s.targets.own.data = nullptr; }},
      {"sparse partner", invalid, "targets.partner", label,
       [](Scene& s) { s.to_sparse(), s.targets.partner.data = nullptr; }},
      {"sparse weight", invalid, "targets.weight", label,
       [](Scene& s) { s.to_sparse(), s.targets.weight.data = nullptr; }},
      {"step out", invalid, "out", step, [](Scene& s) { s.out.data = nullptr; }},
      {"step targets", invalid, "targets", step, [](Scene& s) { s.targets.dense.data = nullptr; }},
      {"given", invalid, "partners", draw_given, [](Scene& s) { s.partners.data = nullptr; }},
      {"rows", invalid, "rows", by_hand, [](Scene& s) { std::vector<Row>().swap(s.rows); }},
  });
  Scene scene;
  EXPECT_THROW(error_into(nullptr, scene.plan, scene.queue), invalid_argument);
}

TEST_F(Errors, ShapesThatDisagreeAreRefused) {
  expect_all_refused({
      {"no tensor", invalid, "out", mix, [](Scene& s) { s.out = {}; }},
      {"no images", invalid, "images", mix, [](Scene& s) { s.images = {}; }},
      {"rank 1", invalid, "images", mix,
       [](Scene& s) {
         s.images.own = ConstTensorView(s.own.view().data, DType::f32, {4}, s.place.device);
       }},
      {"rank and layout", invalid, "images", mix,
       [](Scene& s) { s.images.own.layout = Layout::nct; }},
      {"rank of 6", invalid, "out", mix, [](Scene& s) { s.out.rank = 6; }},
      {"rank below 0", invalid, "out", mix, [](Scene& s) { s.out.rank = -1; }},
      {"negative dimension", invalid, "images", mix, [](Scene& s) { s.images.own.shape[1] = -2; }},
      {"negative dimension of out", invalid, "out", mix, [](Scene& s) { s.out.shape[2] = -1; }},
      {"above 64 bits", invalid, "images", mix,
       [](Scene& s) {
         s.images.own.shape[1] = std::int64_t{1} << 40;
         s.images.own.stride[1] = std::int64_t{1} << 40;
       }},
      {"samples of out", invalid, "out", mix, [](Scene& s) { s.out.shape[0] = 3; }},
      {"samples of both", invalid, "images", mix,
       [](Scene& s) { s.out.shape[0] = s.images.own.shape[0] = 3; }},
      {"channels", invalid, "out", mix, [](Scene& s) { s.out.shape[1] = 1; }},
      {"height", invalid, "out", mix, [](Scene& s) { s.out.shape[2] = 2; }},
      {"width of images", invalid, "images", mix, [](Scene& s) { s.images.own.shape[3] = 5; }},
      {"second batch", invalid, "partners", mix,
       [](Scene& s) { s.images.partners = s.second.view(), s.images.partners.shape[1] = 1; }},
      {"samples of second", invalid, "partners", mix,
       [](Scene& s) { s.images.partners = s.second.view(), s.images.partners.shape[0] = 3; }},
      {"in place", invalid, "images", in_place, [](Scene& s) { s.out.shape[0] = 3; }},
      {"samples of targets", invalid, "targets", label,
       [](Scene& s) { s.targets.dense.shape[0] = 3; }},
      {"rank of targets", invalid, "targets", label, [](Scene& s) { s.targets.dense.rank = 1; }},
      {"samples of labels", invalid, "labels", label, [](Scene& s) { s.labels.own.shape[0] = 3; }},
      {"rank of labels", invalid, "labels", label, [](Scene& s) { s.labels.own = s.own.view(); }},
      {"K of rows", invalid, "labels", label,
       [](Scene& s) { s.labels = s.soft.view(), s.labels.own.shape[1] = 4; }},
      {"K of second rows", invalid, "labels", label,
       [](Scene& s) {
         s.labels = {s.soft.view(), s.soft.view()};
         s.labels.partners.shape[1] = 4;
       }},
      {"ids with rows", invalid, "labels", label,
       [](Scene& s) {
         s.labels = {s.class_ids.view(), s.soft.view()};
       }},
      {"sparse of rows", invalid, "labels", label,
       [](Scene& s) { s.to_sparse(), s.labels = s.soft.view(); }},
      {"sparse too short", invalid, "targets.weight", label,
       [](Scene& s) { s.to_sparse(), s.targets.weight.shape[0] = 3; }},
      {"no targets", invalid, "targets", label, [](Scene& s) { s.targets = {}; }},
      {"no labels", invalid, "labels", label, [](Scene& s) { s.labels = {}; }},
      {"second images alone", invalid, "labels", step,
       [](Scene& s) { s.images.partners = s.second.view(); }},
      {"second labels alone", invalid, "labels.partners", step,
       [](Scene& s) { s.labels.partners = s.second_ids.view(); }},
      {"dense and sparse", invalid, "targets: dense and sparse", label,
       [](Scene& s) {
         TensorView const dense = s.targets.dense;
         s.to_sparse(), s.targets.dense = dense;
       }},
      {"second labels in place", invalid, "labels", step_over,
       [](Scene& s) { s.out = s.second, s.labels.partners = s.second_ids.view(); }},
      {"given too short", invalid, "partners", draw_given,
       [](Scene& s) { s.partners.shape[0] = 3; }},
      {"given of rank 2", invalid, "partners", draw_given,
       [](Scene& s) { s.partners = s.soft.view(); }},
      {"no given", invalid, "partners", draw_given, [](Scene& s) { s.partners = {}; }},
  });
}

TEST_F(Errors, ViewsThatCannotBeMadeAreRefused) {
  using Extents5 = std::initializer_list<std::int64_t>;
  for (Extents5 const& shape : {Extents5{1, 2, 3, 4, 5, 6}, Extents5{2, -1},
                                Extents5{std::int64_t{1} << 40, std::int64_t{1} << 40}}) {
    EXPECT_THROW(TensorView(nullptr, DType::f32, shape), invalid_argument);
  }
  EXPECT_THROW((void)extents_of(ConstTensorView{}), invalid_argument);
  EXPECT_THROW((void)extents_of(TensorView(nullptr, DType::f32, {3})), invalid_argument);
  EXPECT_THROW((void)extents_of(TensorView(nullptr, DType::f32, {3, 4}, {}, Layout::nchw)),
               invalid_argument);
}

TEST_F(Errors, DtypesThatAreNotBuiltAreRefusedByName) {
  for (DType const in : {DType::u8, DType::boolean, DType::i32, DType::i64, DType::f16, DType::bf16,
                         DType::f32, DType::f64}) {
    for (DType const out : {DType::u8, DType::boolean, DType::i32, DType::i64, DType::f16,
                            DType::bf16, DType::f32, DType::f64}) {
      bool const image = is_float(in) || in == DType::u8;
      bool const narrow = out == DType::f16 || out == DType::bf16;
      bool const built = (image && in == out) ||
                         (in == DType::u8 && (narrow || out == DType::f32)) ||
                         (in == DType::f32 && narrow);
      if (built) continue;
      expect_refused("image dtypes", not_supported, "out", mix, [&](Scene& s) {
        // In memory of their own that would be large enough.
        static std::vector<std::unique_ptr<Tensor>> kept;
        kept.clear();
        for (DType const dtype : {in, out}) {
          kept.push_back(std::make_unique<Tensor>(s.place, dtype, Shape{4, 2, 3, 6}));
        }
        s.images = kept[0]->view();
        s.out = kept[1]->view();
      });
    }
  }
}

TEST_F(Errors, MapsThatCannotBeAreRefused) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (Call const call : {normalised, step_normalised}) {
    for (int const channels : {-1, 3, 6, max_channels, max_channels + 1}) {
      expect_refused("channels", invalid, "normalise.channels", call,
                     [&](Scene& s) { s.normalise.channels = channels; });
    }
    for (double const deviation : {0.0, -0.0, -1.0, 1e-39, inf, -inf, nan}) {
      expect_refused("std", invalid, "normalise.std[1]", call,
                     [&](Scene& s) { s.normalise.std[1] = deviation; });
    }
    for (double const mean : {inf, -inf, nan}) {
      expect_refused("mean", invalid, "normalise.mean[1]", call,
                     [&](Scene& s) { s.normalise.mean[1] = mean; });
    }
    expect_refused("bytes", not_supported, "normalise", call, [&](Scene& s) {
      static std::unique_ptr<Tensor> own, out;
      own = std::make_unique<Tensor>(s.place, DType::u8, Shape{4, 2, 3, 6});
      out = std::make_unique<Tensor>(s.place, DType::u8, Shape{4, 2, 3, 6});
      s.images = own->view();
      s.out = out->view();
    });
  }
}

TEST_F(Errors, LabelDtypesThatAreNotBuiltAreRefusedByName) {
  auto const as = [](ConstTensorView view, DType dtype) {
    view.dtype = dtype;  // never wider than what it names
    return view;
  };
  std::vector<Case> cases{
      {"ids of bool", not_supported, "labels", label,
       [=](Scene& s) { s.labels = as(s.class_ids.view(), DType::boolean); }},
      {"ids of f32", not_supported, "labels", label,
       [=](Scene& s) { s.labels = as(s.class_ids.view(), DType::f32); }},
      {"rows of i32", not_supported, "labels", label,
       [=](Scene& s) { s.labels = as(s.soft.view(), DType::i32); }},
      {"rows of u8", not_supported, "labels", label,
       [=](Scene& s) { s.labels = as(s.soft.view(), DType::u8); }},
      {"f32 rows to f16", not_supported, "targets", label,
       [](Scene& s) { s.labels = s.soft.view(), s.targets.dense.dtype = DType::f16; }},
      {"ids to u8", not_supported, "targets", label,
       [](Scene& s) { s.targets.dense.dtype = DType::u8; }},
      {"ids to i32", not_supported, "targets", label,
       [](Scene& s) { s.targets.dense.dtype = DType::i32; }},
      {"sparse own", not_supported, "targets.own", label,
       [](Scene& s) { s.to_sparse(), s.targets.own.dtype = DType::i32; }},
      {"sparse partner", not_supported, "targets.partner", label,
       [](Scene& s) { s.to_sparse(), s.targets.partner.dtype = DType::i32; }},
      {"sparse weight", not_supported, "targets.weight", label,
       [](Scene& s) { s.to_sparse(), s.targets.weight.dtype = DType::f16; }},
      {"second ids", invalid, "labels", label,
       [=](Scene& s) { s.labels.partners = as(s.second_ids.view(), DType::i32); }},
      {"second images", invalid, "partners", mix,
       [=](Scene& s) { s.images.partners = as(s.second.view(), DType::f16); }},
      {"in place", not_supported, "images", in_place,
       [](Scene& s) { s.out = s.second, s.out.dtype = DType::i32; }},
      {"unknown dtype", not_supported, "images", mix,
       [](Scene& s) { s.images.own.dtype = static_cast<DType>(99); }},
      {"unknown layout", not_supported, "images", mix,
       [](Scene& s) { s.images.own.layout = static_cast<Layout>(99); }},
      {"given of f32", not_supported, "partners", draw_given,
       [=](Scene& s) { s.partners = as(s.given.view(), DType::f32); }},
      {"given of u8", not_supported, "partners", draw_given,
       [=](Scene& s) { s.partners = as(s.given.view(), DType::u8); }},
  };
  expect_all_refused(cases);
}

TEST_F(Errors, StridesThatCannotBeFollowedAreRefused) {
  expect_all_refused({
      {"negative", not_supported, "images", mix, [](Scene& s) { s.images.own.stride[3] = -1; }},
      {"negative of out", not_supported, "out", mix, [](Scene& s) { s.out.stride[0] = -1; }},
      {"zero of out", invalid, "out", mix, [](Scene& s) { s.out.stride[1] = 0; }},
      {"samples of out overlap", invalid, "out", mix, [](Scene& s) { s.out.stride[0] = 35; }},
      {"zero in place", invalid, "images", in_place,
       [](Scene& s) { s.out = s.second, s.out.stride[0] = 0; }},
      {"zero of targets", invalid, "targets", label,
       [](Scene& s) { s.targets.dense.stride[1] = 0; }},
      {"zero of sparse", invalid, "targets.own", label,
       [](Scene& s) { s.to_sparse(), s.targets.own.stride[0] = 0; }},
      {"negative of labels", not_supported, "labels", label,
       [](Scene& s) { s.labels.own.stride[0] = -1; }},
      {"negative of given", not_supported, "partners", draw_given,
       [](Scene& s) { s.partners.stride[0] = -1; }},
      {"misaligned", invalid, "images", mix,
       [](Scene& s) { s.images.own.data = static_cast<std::byte const*>(s.images.own.data) + 2; }},
      {"misaligned out", invalid, "out", mix,
       [](Scene& s) { s.out.data = static_cast<std::byte*>(s.out.data) + 1; }},
      {"misaligned targets", invalid, "targets", label,
       [](Scene& s) { s.targets.dense.data = static_cast<std::byte*>(s.targets.dense.data) + 3; }},
      {"misaligned labels", invalid, "labels", label,
       [](Scene& s) { s.labels.own.data = static_cast<std::byte const*>(s.labels.own.data) + 4; }},
  });
}

/// Half of the buffer of `tensor`, seen as another.
TensorView over(TensorView const& tensor, TensorView view, std::ptrdiff_t bytes) {
  view.data = static_cast<std::byte*>(tensor.data) + bytes;
  return view;
}

TEST_F(Errors, OverlapOfEveryKindIsRefused) {
  expect_all_refused({
      {"itself", invalid, "out", mix, [](Scene& s) { s.out = s.own; }},
      {"by one element", invalid, "out", mix,
       [](Scene& s) { s.out = over(s.own, s.target, 143 * 4); }},
      {"by one sample before", invalid, "out", mix,
       [](Scene& s) { s.out = over(s.own, s.target, -3 * 36 * 4); }},
      {"second batch", invalid, "out", mix,
       [](Scene& s) { s.images.partners = s.second.view(), s.out = s.second; }},
      {"strided across", invalid, "out", mix,
       [](Scene& s) {
         s.images.own.shape[0] = 4;
         s.images.own.stride[0] = 10 * 36;  // reaches far behind; out lies in a gap's end
         s.out = over(s.own, s.target, 30 * 36 * 4);
       }},
      {"targets over labels", invalid, "targets", label,
       [](Scene& s) { s.labels = s.soft.view(), s.targets.dense.data = s.soft.view().data; }},
      {"targets over second labels", invalid, "targets", label,
       [](Scene& s) {
         s.labels = {s.soft.view(), over(s.rows_out, s.soft, 0)};
       }},
      {"sparse over each other", invalid, "targets", label,
       [](Scene& s) { s.to_sparse(), s.targets.partner.data = s.targets.own.data; }},
      {"sparse weight over own", invalid, "targets", label,
       [](Scene& s) { s.to_sparse(), s.targets.weight.data = s.targets.own.data; }},
      {"targets over out", invalid, "targets", step,
       [](Scene& s) { s.targets.dense.data = s.out.data; }},
      {"targets over images", invalid, "targets", step,
       [](Scene& s) { s.targets.dense.data = s.own.view().data; }},
      {"targets over second images", invalid, "targets", step,
       [](Scene& s) {
         s.images.partners = s.second.view();
         s.labels.partners = s.second_ids.view();
         s.targets.dense.data = s.second.view().data;
       }},
      {"out over labels", invalid, "out", step,
       [](Scene& s) { s.labels = over(s.target, s.soft, 0); }},
      {"targets over images in place", invalid, "targets", step_over,
       [](Scene& s) { s.out = s.second, s.targets.dense.data = s.second.view().data; }},
      {"labels over images in place", invalid, "images: overlaps labels", step_over,
       [](Scene& s) { s.out = s.second, s.labels = over(s.second, s.soft, 0); }},
  });
}

TEST_F(Errors, OverlapByOneByteIsRefused) {
  Place const place = here();
  Tensor const both(place, tagged(DType::u8, {8, 2, 9}));
  TensorView first = both, second = both;
  first.shape[0] = second.shape[0] = 4;
  second.data = static_cast<std::byte*>(second.data) + 4 * 18 - 1;
  Plan plan = make_plan(place, mixup_spec(), extents_of(first), {});
  auto const before = both.raw();
  EXPECT_THROW(mix_into(second, first, plan, place.queue), invalid_argument);
  EXPECT_THROW(mix_into(first, second, plan, place.queue), invalid_argument);
  EXPECT_EQ(both.raw(), before);
}

TEST_F(Errors, TensorsThatOnlyTouchAreLegal) {
  Place const place = here();
  Tensor const both(place, tagged(DType::u8, {8, 2, 9}));
  TensorView in = both, out = both;
  in.shape[0] = out.shape[0] = 4;
  out.data = static_cast<std::byte*>(out.data) + 4 * 18;
  Plan plan = make_plan(place, mixup_spec(), extents_of(in), {});
  EXPECT_NO_THROW(mix_into(out, in, plan, place.queue));
  EXPECT_NO_THROW(mix_into(in, out, plan, place.queue));
}

TEST_F(Errors, OutputsInThePlansOwnMemoryAreRefused) {
  Place const place = here();
  std::size_t const size = Plan::bytes(4, place.device);
  Buffer const memory(place, size + 4096);
  Plan plan(4, place.device, memory.data(), size, place.queue);
  Extents const extents = image(4, 2, 2);
  plan_into(plan, mixup_spec(), extents, Draw{}, place.queue);
  Tensor const images(place, tagged(DType::f32, {4, 1, 2, 2}));
  Tensor const labels(place, ids(DType::i64, {0, 1, 2, 3}));
  auto const before = memory.read();
  TensorView const out(memory.data(), DType::f32, {4, 1, 2, 2}, place.device);
  EXPECT_THROW(mix_into(out, images, plan, place.queue), invalid_argument);
  EXPECT_THROW(mix_in_place(out, plan, place.queue), invalid_argument);
  TensorView const targets(memory.data(), DType::f32, {4, 5}, place.device);
  EXPECT_THROW(label_into(targets, labels, {}, plan, place.queue), invalid_argument);
  // By its last bytes, where the sort works; right behind it all is well.
  TensorView behind = out;
  behind.data = static_cast<std::byte*>(memory.data()) + size - 4;
  EXPECT_THROW(mix_into(behind, images, plan, place.queue), invalid_argument);
  EXPECT_EQ(memory.read(), before);
  behind.data = static_cast<std::byte*>(memory.data()) + size;
  EXPECT_NO_THROW(mix_into(behind, images, plan, place.queue));
}

TEST_F(Errors, RulesOfLabelsAreChecked) {
  float const nan = std::numeric_limits<float>::quiet_NaN();
  for (float const smoothing : {-0.1f, 1.0000001f, nan, HUGE_VALF}) {
    expect_refused("smoothing", invalid, "rule.smoothing", label,
                   [&](Scene& s) { s.rule.smoothing = smoothing; });
  }
  expect_all_refused({
      {"smoothing of rows", invalid, "rule.smoothing", label,
       [](Scene& s) { s.labels = s.soft.view(), s.rule.smoothing = 0.1f; }},
      {"smoothing of sparse", invalid, "rule.smoothing", label,
       [](Scene& s) { s.to_sparse(), s.rule.smoothing = 0.1f; }},
      {"ignored of rows", invalid, "rule.ignored", label,
       [](Scene& s) { s.labels = s.soft.view(), s.rule.ignored = 1; }},
      {"K 0", invalid, "rule.classes", label, [](Scene& s) { s.to_sparse(), s.rule.classes = 0; }},
      {"K below 0", invalid, "rule.classes", label,
       [](Scene& s) { s.to_sparse(), s.rule.classes = -1; }},
      {"K of dense targets", invalid, "targets", label,
       [](Scene& s) { s.targets.dense.shape[1] = 0; }},
      {"negative K of dense targets", invalid, "targets", label,
       [](Scene& s) { s.targets.dense.shape[1] = -1; }},
      {"two different K", invalid, "rule.classes", label, [](Scene& s) { s.rule.classes = 6; }},
  });
}

TEST_F(Errors, AlphasProbabilitiesAndBoxesAreChecked) {
  float const nan = std::numeric_limits<float>::quiet_NaN();
  auto const second = [](Scene& s, Choice choice) {
    s.spec.policies[0].probability = 0.5f;
    choice.probability = 0.5f;
    s.spec.policies.push_back(choice);
  };
  for (float const alpha : {-1.0f, nan, HUGE_VALF, -HUGE_VALF, 1e-40f, 9e-7f, 1.1e6f, 1e30f}) {
    expect_refused("alpha a", invalid, "spec.policies[1].weight.a", draw, [&](Scene& s) {
      second(s, {Mixup{{alpha, 1}, Fold::none}, 0});
    });
    expect_refused("alpha b", invalid, "spec.policies[1].weight.b", draw, [&](Scene& s) {
      second(s, {CutMix{{1, alpha}, Fold::none, {}}, 0});
    });
  }
  expect_refused("one alpha 0", invalid, "spec.policies[0].weight", draw, [](Scene& s) {
    s.spec = mixup_spec(), std::get<Mixup>(s.spec.policies[0].policy).weight.a = 0;
  });
  for (float const probability : {nan, -1e-9f, 1.0000001f, HUGE_VALF}) {
    expect_refused("gate", invalid, "spec.probability", draw,
                   [&](Scene& s) { s.spec.probability = probability; });
    expect_refused("flip", invalid, "spec.flip", draw,
                   [&](Scene& s) { s.spec.flip = probability; });
    expect_refused("policy", invalid, "spec.policies[0].probability", draw,
                   [&](Scene& s) { s.spec.policies[0].probability = probability; });
  }
  auto const boxes = [](double lo, double hi) {
    return [=](Scene& s) { s.spec = cutmix_spec({Boxes::Kind::min_max, lo, hi}); };
  };
  double const no = std::numeric_limits<double>::quiet_NaN();
  expect_all_refused({
      {"sum", invalid, "spec.policies", draw,
       [&](Scene& s) {
         second(s, {Mixup{}, 0}), s.spec.policies[0].probability = 0.6f;
       }},
      {"lo", invalid, "spec.policies[0].boxes.lo", draw, boxes(-0.1, 0.5)},
      {"hi", invalid, "spec.policies[0].boxes.hi", draw, boxes(0.1, 1.5)},
      {"lo NaN", invalid, "spec.policies[0].boxes.lo", draw, boxes(no, 0.5)},
      {"hi NaN", invalid, "spec.policies[0].boxes.hi", draw, boxes(0.5, no)},
      {"lo above hi", invalid, "spec.policies[0].boxes", draw, boxes(0.6, 0.5)},
      {"nine policies", not_supported, "spec.policies", draw,
       [](Scene& s) {
         s.spec.policies.assign(9, {Mixup{}, 0.1f});
       }},
      {"group", invalid, "spec.group", draw, [](Scene& s) { s.spec.group = -1; }},
      {"pair of a permutation", invalid, "spec.granularity", draw,
       [](Scene& s) { s.spec.granularity = Granularity::pair; }},
      {"pair of a roll", invalid, "spec.granularity", draw,
       [](Scene& s) {
         s.spec.granularity = Granularity::pair;
         s.spec.pairing = Pairing::roll;
       }},
      {"given without partners", invalid, "spec.pairing", draw,
       [](Scene& s) { s.spec.pairing = Pairing::given; }},
      {"no such pairing", invalid, "spec.pairing", draw,
       [](Scene& s) { s.spec.pairing = static_cast<Pairing>(77); }},
      {"no such granularity", invalid, "spec.granularity", draw,
       [](Scene& s) { s.spec.granularity = static_cast<Granularity>(77); }},
      {"no such fold", invalid, "spec.policies[0].fold", draw,
       [](Scene& s) {
         s.spec.policies = {{Mixup{{}, static_cast<Fold>(9)}, 1}};
       }},
      {"no such box", invalid, "spec.policies[0].boxes.kind", draw,
       [](Scene& s) {
         s.spec = cutmix_spec({static_cast<Boxes::Kind>(9), 0, 1});
       }},
      {"flip without w", invalid, "spec.flip", draw,
       [](Scene& s) {
         s.spec.flip = 0.5f, s.batch = {4, 1, {18, 0, 0}, false};
       }},
  });
  Scene off;
  off.spec = mixup_spec(0);
  EXPECT_NO_THROW(draw(off));
}

TEST_F(Errors, DrawsAndBatchesAreChecked) {
  for (std::uint64_t const large :
       {std::uint64_t{1} << 48, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    expect_refused("step", invalid, "draw.step", draw, [&](Scene& s) { s.draw.step = large; });
    expect_refused("first", invalid, "draw.first", draw, [&](Scene& s) { s.draw.first = large; });
    expect_refused("step by hand", invalid, "draw.step", by_hand,
                   [&](Scene& s) { s.draw.step = large; });
  }
  expect_all_refused({
      {"last sample", invalid, "draw.first", draw,
       [](Scene& s) { s.draw.first = (std::uint64_t{1} << 48) - 3; }},
      {"above capacity", invalid, "batch", draw, [](Scene& s) { s.batch.samples = 5; }},
      {"below 0", invalid, "batch", draw, [](Scene& s) { s.batch.samples = -1; }},
      {"no axes", invalid, "batch", draw, [](Scene& s) { s.batch.axes = 0; }},
      {"four axes", invalid, "batch", draw, [](Scene& s) { s.batch.axes = 4; }},
      {"negative length", invalid, "batch", draw, [](Scene& s) { s.batch.spatial[1] = -6; }},
      {"length above 31 bits", invalid, "batch", draw,
       [](Scene& s) { s.batch.spatial[1] = std::int64_t{1} << 31; }},
      {"boxes on 2^54 pixels", not_supported, "batch", draw,
       [](Scene& s) { s.batch.spatial[0] = s.batch.spatial[1] = 1 << 27; }},
      {"boxes on a volume's side above 2^20", not_supported, "batch", draw,
       [](Scene& s) {
         s.batch = {4, 3, {1, (1 << 20) + 1, 1}, true};
       }},
      {"above capacity by hand", invalid, "batch", by_hand,
       [](Scene& s) { s.batch.samples = 5, s.rows.resize(5); }},
      {"above capacity given", invalid, "batch", draw_given, [](Scene& s) { s.batch.samples = 5; }},
  });
  Scene large;  // only boxes count pixels
  large.spec = mixup_spec();
  large.batch.spatial[0] = large.batch.spatial[1] = 1 << 27;
  EXPECT_NO_THROW(draw(large));
  Place const place = here();
  for (std::int64_t const capacity :
       {std::int64_t{-1}, std::int64_t{1} << 31, std::int64_t{1} << 62}) {
    EXPECT_THROW(Plan(capacity, place.device, place.queue), invalid_argument);
    EXPECT_THROW((void)Plan::bytes(capacity, place.device), invalid_argument);
  }
}

TEST_F(Errors, RowsMadeByHandAreChecked) {
  float const nan = std::numeric_limits<float>::quiet_NaN();
  for (float const weight : {nan, -0.1f, 1.0000001f, HUGE_VALF}) {
    expect_refused("outside", invalid, "rows[3].outside", by_hand,
                   [&](Scene& s) { s.rows[3].outside = weight; });
    expect_refused("inside", invalid, "rows[2].inside", by_hand,
                   [&](Scene& s) { s.rows[2].inside = weight; });
    expect_refused("label", invalid, "rows[0].label", by_hand,
                   [&](Scene& s) { s.rows[0].label = weight; });
  }
  for (std::int32_t const partner : {-1, 4, std::numeric_limits<std::int32_t>::min()}) {
    expect_refused("partner", invalid, "rows[3].partner", by_hand,
                   [&](Scene& s) { s.rows[3].partner = partner; });
  }
  expect_all_refused({
      {"box above", invalid, "rows[1].box", by_hand,
       [](Scene& s) {
         s.rows[1].box = {{0, 0}, {4, 6}};
       }},
      {"box below", invalid, "rows[1].box", by_hand,
       [](Scene& s) {
         s.rows[1].box = {{-1, 0}, {3, 6}};
       }},
      {"box inside out", invalid, "rows[1].box", by_hand,
       [](Scene& s) {
         s.rows[1].box = {{2, 0}, {1, 6}};
       }},
      {"box on an axis that is not there", invalid, "rows[1].box", by_hand,
       [](Scene& s) {
         s.rows[1].box = {{0, 0, 0}, {1, 1, 1}};
       }},
      {"flip", invalid, "rows[1].flip", by_hand, [](Scene& s) { s.rows[1].flip = 2; }},
      {"flip without w", invalid, "rows[1].flip", by_hand,
       [](Scene& s) {
         s.rows[1].flip = 1, s.batch = {4, 1, {18, 0, 0}, false};
       }},
  });
}

TEST_F(Errors, APlanWithoutRowsIsRefused) {
  for (Call const call : {mix, label, step}) {
    expect_refused("empty plan", invalid, "plan", call,
                   [](Scene& s) { s.plan = Plan(4, s.place.device, s.place.queue); });
  }
}

TEST_F(Errors, AnotherProcessorsTensorOrQueueIsRefused) {
  Device const other = on_cuda() ? Device::cpu() : Device::cuda(0);
  for (Call const call : {mix, normalised, label, step, draw, draw_given, by_hand}) {
    expect_refused("queue", invalid, "queue", call, [](Scene& s) {
      s.queue = on_cuda() ? Queue::cpu() : Queue::cuda(static_cast<CUstream_st*>(nullptr));
    });
  }
  expect_refused("threads", invalid, "queue", on_cuda() ? draw : mix,
                 [](Scene& s) { s.queue = on_cuda() ? Queue::cpu() : Queue::cpu(-1); });
  expect_all_refused({
      {"images", invalid, "images", mix, [=](Scene& s) { s.images.own.device = other; }},
      {"out", invalid, "out", mix, [=](Scene& s) { s.out.device = other; }},
      {"partners", invalid, "partners", mix,
       [=](Scene& s) { s.images.partners = s.second.view(), s.images.partners.device = other; }},
      {"labels", invalid, "labels", label, [=](Scene& s) { s.labels.own.device = other; }},
      {"targets", invalid, "targets", label, [=](Scene& s) { s.targets.dense.device = other; }},
      {"given", invalid, "partners", draw_given, [=](Scene& s) { s.partners.device = other; }},
      {"another ordinal", invalid, "out", mix, [](Scene& s) { s.out.device.id = 1; }},
  });
}

TEST_F(Errors, MessagesOfHostileValuesStayShort) {
  Scene scene;
  scene.images.own.shape[0] = std::numeric_limits<std::int64_t>::max();
  for (int axis = 1; axis < max_rank; ++axis) {
    scene.images.own.shape[axis] = std::numeric_limits<std::int64_t>::max();
    scene.images.own.stride[axis] = std::numeric_limits<std::int64_t>::max();
  }
  EXPECT_THROW(mix(scene), invalid_argument);
  scene.spec.policies.assign(9, {Mixup{{-1e38f, 1e38f}, Fold::none}, 1});
  try {
    draw(scene);
    FAIL();
  } catch (error const& caught) {
    EXPECT_LT(std::string(caught.what()).size(), 512u);
  }
}

TEST_F(Errors, AfterARefusalTheNextGoodCallWorks) {
  Scene scene;
  EXPECT_THROW(mix_into(scene.own, scene.images, scene.plan, scene.queue), invalid_argument);
  EXPECT_NO_THROW(step(scene));
  EXPECT_FALSE(error_of(scene.plan, scene.place));
}

}  // namespace
}  // namespace mixfuse::test
