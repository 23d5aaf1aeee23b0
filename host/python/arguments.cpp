// SPDX-License-Identifier: Apache-2.0
#include "host/python/arguments.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "host/check.hpp"

namespace mixfuse::python {
namespace {

[[noreturn]] void refuse(char const* name, nb::handle value, char const* expected) {
  throw nb::type_error(
      message(name, ": ", nb::type_name(value.type()).c_str(), ", expected ", expected).c_str());
}

std::string text(char const* name, nb::handle value, char const* expected) {
  std::string text;
  if (!nb::isinstance<nb::str>(value)) refuse(name, value, expected);
  return nb::cast<nb::str>(value).c_str();
}

/// Python's own conversion of what counts as an int, so NumPy's too.
template <class Integer>
Integer integer_of(char const* name, nb::handle value, char const* range) {
  nb::object const index = nb::steal(PyNumber_Index(value.ptr()));
  if (!index.is_valid()) {
    PyErr_Clear();
    refuse(name, value, "an int");
  }
  Integer integer{};
  if (!nb::try_cast(index, integer)) {
    throw invalid_argument(message(name, ": ", nb::repr(value).c_str(), ", expected ", range));
  }
  return integer;
}

template <class Value, std::size_t size>
Value named(char const* name, nb::handle value,
            std::pair<std::string_view, Value> const (&values)[size]) {
  std::string const given = text(name, value, "a name");
  std::string all;
  for (auto const& [known, result] : values) {
    if (known == given) return result;
    all.append(all.empty() ? "" : ", ").append(known);
  }
  throw invalid_argument(message(name, ": '", given, "', expected one of ", all));
}

Fold fold(nb::handle value) {
  return named<Fold>("fold", value,
                     {{"none", Fold::none}, {"own", Fold::own}, {"partner", Fold::partner}});
}

/// A name, or the pair (lo, hi) of min-max sides.
Boxes boxes(nb::handle value) {
  Boxes boxes;
  if (nb::isinstance<nb::str>(value)) {
    boxes.kind = named<Boxes::Kind>("boxes", value,
                                    {{"paper", Boxes::Kind::paper},
                                     {"inside", Boxes::Kind::inside},
                                     {"uniform", Boxes::Kind::uniform}});
    return boxes;
  }
  std::vector<double> const sides = numbers("boxes", value);
  require(sides.size() == 2, "boxes: ", sides.size(), " numbers, expected a name or (lo, hi)");
  boxes.kind = Boxes::Kind::min_max;
  boxes.lo = sides[0];
  boxes.hi = sides[1];
  return boxes;
}

/// Of "float32", numpy.float32, numpy.dtype("float32") and torch.float32: the last word.
nb::object dtype_name(nb::handle value) {
  nb::object const name = nb::getattr(value, "__name__", nb::str(value));
  return name.attr("rpartition")(".")[2];
}

/// One alpha, or (a, b).
Beta weight(char const* name, nb::handle value) {
  std::vector<double> const sides = numbers(name, value);
  require(sides.size() == 1 || sides.size() == 2, name, ": ", sides.size(),
          " numbers, expected alpha or (a, b)");
  return {static_cast<float>(sides.front()), static_cast<float>(sides.back())};
}

Choice choice(nb::handle policy) {
  enum class Kind { mixup, cutmix };
  if (!nb::isinstance<nb::tuple>(policy) || nb::len(policy) != 5) {
    throw invalid_argument(
        message("policies: ", nb::repr(policy).c_str(), ", expected Policy values"));
  }
  Choice choice;
  Beta const law = weight("weight", policy[1]);
  choice.probability = static_cast<float>(number("probability", policy[2]));
  if (named<Kind>("kind", policy[0], {{"mixup", Kind::mixup}, {"cutmix", Kind::cutmix}}) ==
      Kind::mixup) {
    choice.policy = Mixup{law, fold(policy[3])};
  } else {
    choice.policy = CutMix{law, fold(policy[3]), boxes(policy[4])};
  }
  return choice;
}

}  // namespace

std::int64_t integer(char const* name, nb::handle value) {
  return integer_of<std::int64_t>(name, value, "an int below 2^63");
}

std::uint64_t word(char const* name, nb::handle value) {
  return integer_of<std::uint64_t>(name, value, "0 to 2^64 - 1");
}

double number(char const* name, nb::handle value) {
  double const number = PyFloat_AsDouble(value.ptr());
  if (number == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    refuse(name, value, "a number");
  }
  return number;
}

std::vector<double> numbers(char const* name, nb::handle value) {
  if (value.is_none()) return {};
  if (PySequence_Check(value.ptr()) == 0) return {number(name, value)};
  std::vector<double> all;
  for (nb::handle const one : value) all.push_back(number(name, one));
  return all;
}

Layout layout(char const* name, nb::handle value) {
  if (value.is_none()) return Layout::by_rank;
  return named<Layout>(name, value,
                       {{"nf", Layout::nf},
                        {"nct", Layout::nct},
                        {"nchw", Layout::nchw},
                        {"nhwc", Layout::nhwc},
                        {"ntchw", Layout::ntchw},
                        {"ncdhw", Layout::ncdhw}});
}

DType dtype(char const* name, nb::handle value) {
  return named<DType>(name, dtype_name(value),
                      {{"u8", DType::u8},
                       {"uint8", DType::u8},
                       {"bool", DType::boolean},
                       {"i32", DType::i32},
                       {"int32", DType::i32},
                       {"i64", DType::i64},
                       {"int64", DType::i64},
                       {"f16", DType::f16},
                       {"float16", DType::f16},
                       {"bf16", DType::bf16},
                       {"bfloat16", DType::bf16},
                       {"f32", DType::f32},
                       {"float32", DType::f32},
                       {"f64", DType::f64},
                       {"float64", DType::f64}});
}

Device device(char const* name, nb::handle value) {
  std::string const given = text(name, value, "\"cpu\" or \"cuda:0\"");
  if (given == "cpu") return Device::cpu();
  std::string const digits = given.rfind("cuda:", 0) == 0 ? given.substr(5) : "";
  bool const numbered =
      !digits.empty() && digits.size() < 4 && digits.find_first_not_of("0123456789") == digits.npos;
  require(given == "cuda" || numbered, name, ": '", given, "', expected cpu, cuda or cuda:N");
  return Device::cuda(numbered ? std::stoi(digits) : 0);
}

Spec spec(nb::handle policies, nb::handle probability, nb::handle pairing, nb::handle granularity,
          nb::handle group, nb::handle flip) {
  Spec spec;
  for (nb::handle const policy : policies) spec.policies.push_back(choice(policy));
  spec.probability = static_cast<float>(number("probability", probability));
  spec.pairing = named<Pairing>("pairing", pairing,
                                {{"permutation", Pairing::permutation},
                                 {"cycle", Pairing::cycle},
                                 {"pairs", Pairing::pairs},
                                 {"reverse", Pairing::reverse},
                                 {"roll", Pairing::roll},
                                 {"replacement", Pairing::replacement},
                                 {"given", Pairing::given}});
  spec.granularity = named<Granularity>("granularity", granularity,
                                        {{"batch", Granularity::batch},
                                         {"pair", Granularity::pair},
                                         {"sample", Granularity::sample}});
  spec.group = integer("group", group);
  spec.flip = static_cast<float>(number("flip", flip));
  return spec;
}

Normalise normalise_of(nb::handle mean, nb::handle std) {
  Normalise normalise;
  std::vector<double> const means = numbers("mean", mean), deviations = numbers("std", std);
  std::size_t const count = std::max(means.size(), deviations.size());
  require<unsupported>(count <= max_channels, "mean: ", count, " channels, at most ", max_channels,
                       " are built");
  auto const one_or_each = [&](char const* name, std::vector<double> const& given) {
    require(given.size() <= 1 || given.size() == count, name, ": ", given.size(),
            " values, expected one or ", count);
  };
  one_or_each("mean", means);
  one_or_each("std", deviations);
  auto const at = [](std::vector<double> const& given, std::size_t c, double otherwise) {
    return given.empty() ? otherwise : given[given.size() == 1 ? 0 : c];
  };
  normalise.channels = static_cast<int>(count);
  for (std::size_t c = 0; c < count; ++c) {
    normalise.mean[c] = at(means, c, 0.0);
    normalise.std[c] = at(deviations, c, 1.0);
  }
  return normalise;
}

Draw draw(nb::handle seed, nb::handle step, nb::handle first) {
  auto const count = [](char const* name, nb::handle value) {
    return integer_of<std::uint64_t>(name, value, "0 to 2^48 - 1");
  };
  return {word("seed", seed), count("step", step), count("first", first)};
}

}  // namespace mixfuse::python
