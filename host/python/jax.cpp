// SPDX-License-Identifier: Apache-2.0

// A step as an operation of XLA's: what varies from step to step is an operand, all else an
// attribute, and XLA brings the memory. CPU and CUDA differ in the queue alone.

#include "host/python/jax.hpp"

#include <nanobind/stl/vector.h>
#include <xla/ffi/api/ffi.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "host/check.hpp"
#include "host/mix.hpp"
#include "host/plan.hpp"
#include "host/python/arguments.hpp"
#include "host/tensor.hpp"

namespace mixfuse::python {
namespace {

namespace ffi = xla::ffi;

/// All that is fixed when a call is compiled.
struct Options {
  Spec spec;
  Layout layout = Layout::by_rank, out_layout = Layout::by_rank;
  LabelRule rule;
  Normalise normalise;
  bool labels = false;    // there are some
  bool partners = false;  // there is a second batch
};

/// Options travel as one array of numbers, each of which a double holds exactly.
struct Writer {
  std::vector<double>& numbers;

  template <class Number>
  void operator()(Number const& number) {
    numbers.push_back(static_cast<double>(number));
  }
};

struct Reader {
  std::span<double const> numbers;

  template <class Number>
  void operator()(Number& number) {
    require(!numbers.empty(), "options: too few numbers, expected what mixfuse.jax sent");
    number = static_cast<Number>(numbers.front());
    numbers = numbers.subspan(1);
  }
};

template <class Archive>
void exchange(Archive& archive, Beta& weight, Fold& fold) {
  archive(weight.a);
  archive(weight.b);
  archive(fold);
}

template <class Archive>
void exchange(Archive& archive, Choice& choice) {
  bool cutmix = std::holds_alternative<CutMix>(choice.policy);
  archive(choice.probability);
  archive(cutmix);
  if (cutmix) {
    CutMix policy =
        std::holds_alternative<CutMix>(choice.policy) ? std::get<CutMix>(choice.policy) : CutMix{};
    exchange(archive, policy.weight, policy.fold);
    archive(policy.boxes.kind);
    archive(policy.boxes.lo);
    archive(policy.boxes.hi);
    choice.policy = policy;
  } else {
    Mixup policy = std::get<Mixup>(choice.policy);
    exchange(archive, policy.weight, policy.fold);
    choice.policy = policy;
  }
}

template <class Archive>
void exchange(Archive& archive, Options& options) {
  Spec& spec = options.spec;
  std::size_t policies = spec.policies.size();
  archive(policies);
  require(policies <= max_policies, "policies: ", policies, ", at most ", max_policies);
  spec.policies.resize(policies);
  for (Choice& choice : spec.policies) exchange(archive, choice);
  archive(spec.probability);
  archive(spec.pairing);
  archive(spec.granularity);
  archive(spec.group);
  archive(spec.flip);
  archive(options.layout);
  archive(options.out_layout);
  LabelRule& rule = options.rule;
  bool ignores = rule.ignored.has_value();
  std::int64_t ignored = rule.ignored.value_or(0);
  archive(rule.smoothing);
  archive(rule.classes);
  archive(ignores);
  archive(ignored);
  rule.ignored = ignores ? std::optional(ignored) : std::nullopt;
  Normalise& normalise = options.normalise;
  archive(normalise.channels);
  require(normalise.channels >= 0 && normalise.channels <= max_channels,
          "mean: ", normalise.channels, " channels");
  for (int c = 0; c < normalise.channels; ++c) {
    archive(normalise.mean[c]);
    archive(normalise.std[c]);
  }
  archive(options.labels);
  archive(options.partners);
}

Options options_of(std::span<double const> numbers) {
  Options options;
  Reader reader{numbers};
  exchange(reader, options);
  return options;
}

/// The tensors of a call, in XLA's order: draw, images, labels, partners, partner_labels as far as
/// there are some; then mixed, memory, targets, rows and error.
struct Tensors {
  ConstTensorView draw;  // six words of 32 bits: seed, step, first
  Originals in;
  Mixed out;
  TensorView memory;
  TensorView rows, error;
};

template <class Operand, class Result>
Tensors tensors_of(Options const& options, Operand const& operand, Result const& result,
                   std::size_t results) {
  Tensors t;
  std::size_t at = 0;
  t.draw = operand(at++);
  t.in.images.own = operand(at++);
  if (options.labels) t.in.labels.own = operand(at++);
  if (options.partners) t.in.images.partners = operand(at++);
  if (options.partners && options.labels) t.in.labels.partners = operand(at++);
  t.in.images.own.layout = t.in.images.partners.layout = options.layout;
  t.in.rule = options.rule;
  t.in.normalise = options.normalise;
  at = 0;
  t.out.images = result(at++);
  t.out.images.layout = options.out_layout;
  t.memory = result(at++);
  if (options.labels) t.out.targets = result(at++);
  if (at < results) {
    t.rows = result(at++);
    t.error = result(at++);
  }
  return t;
}

std::size_t bytes_of(ConstTensorView const& view) {
  return static_cast<std::size_t>(elements_of(view)) * size_of(view.dtype);
}

constexpr std::size_t alignment = 256;  // of a plan, which XLA need not keep

Plan plan_in(TensorView const& memory, std::int64_t capacity, Device device, Queue queue) {
  void* address = memory.data;
  std::size_t size = bytes_of(memory);
  require(std::align(alignment, 1, address, size) != nullptr, "memory: ", bytes_of(memory),
          " bytes, too few");
  return Plan(capacity, device, address, size, queue);
}

/// The step itself. Everything is checked before anything is queued but the clearing of the plan.
void step(Options const& options, Tensors const& t, Queue queue) {
  Device const device = t.in.images.own.device;
  Extents const batch = extents_of(t.in.images.own);
  Plan plan = plan_in(t.memory, batch.samples, device, queue);
  Plan::State& state = plan.state();
  require(bytes_of(t.draw) == sizeof(Draw), "key: ", bytes_of(t.draw), " bytes, expected ",
          sizeof(Draw));
  PlanCall const draws = call_of(state, options.spec, batch, Live(&state.header->draw));
  take(state, draws);
  StepCall const mixes = options.labels
                             ? step_call(t.out, t.in, state)
                             : mix_call(t.out.images, t.in.images, options.normalise, state);
  // XLA's operands are nobody's to write, so the draw that the plan advances is a copy.
  copy_out(state, &state.header->draw, t.draw.data, sizeof(Draw), queue);
  run(state, draws, queue);
  run(mixes, state, queue);
  if (t.rows.present()) {
    std::size_t const bytes = static_cast<std::size_t>(batch.samples) * sizeof(Row);
    require(bytes_of(t.rows) == bytes && bytes_of(t.error) == sizeof(ErrorWord),
            "rows: ", bytes_of(t.rows), " bytes, expected ", bytes);
    copy_out(state, t.rows.data, state.rows, bytes, queue);
    copy_out(state, t.error.data, &state.header->error, sizeof(ErrorWord), queue);
  }
}

// What XLA calls

struct Known {
  ffi::DataType theirs;
  DType ours;
};
constexpr Known dtypes[] = {
    {ffi::U8, DType::u8},   {ffi::PRED, DType::boolean}, {ffi::S32, DType::i32},
    {ffi::U32, DType::i32},  // of words and rows only; images and labels are never of this dtype
    {ffi::S64, DType::i64}, {ffi::F16, DType::f16},      {ffi::BF16, DType::bf16},
    {ffi::F32, DType::f32}, {ffi::F64, DType::f64},
};

TensorView view_of(ffi::AnyBuffer const& buffer, Device device) {
  auto const dimensions = buffer.dimensions();
  for (Known const& known : dtypes) {
    if (known.theirs != buffer.element_type()) continue;
    return TensorView(buffer.untyped_data(), known.ours, dimensions.begin(),
                      static_cast<int>(dimensions.size()), device);
  }
  throw unsupported(message("buffer: of XLA's type ", static_cast<int>(buffer.element_type())));
}

template <class Got>
auto value_of(Got const& got) {
  require(got.has_value(), "buffers: fewer than expected");
  return *got;
}

ffi::Error handle(Device device, Queue queue, ffi::RemainingArgs operands,
                  ffi::RemainingRets results, ffi::Span<double const> numbers) {
  try {
    Options const options = options_of({numbers.begin(), numbers.size()});
    auto const operand = [&](std::size_t at) {
      return view_of(value_of(operands.get<ffi::AnyBuffer>(at)), device);
    };
    auto const result = [&](std::size_t at) {
      return view_of(*value_of(results.get<ffi::AnyBuffer>(at)), device);
    };
    step(options, tensors_of(options, operand, result, results.size()), queue);
    return ffi::Error::Success();
  } catch (invalid_argument const& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (unsupported const& error) {
    return {ffi::ErrorCode::kUnimplemented, error.what()};
  } catch (std::exception const& error) {
    return ffi::Error::Internal(error.what());
  }
}

ffi::Error on_cpu(ffi::RemainingArgs operands, ffi::RemainingRets results,
                  ffi::Span<double const> numbers) {
  return handle(Device::cpu(), Queue::cpu(), operands, results, numbers);
}

ffi::Error on_cuda(CUstream_st* stream, std::int32_t device, ffi::RemainingArgs operands,
                   ffi::RemainingRets results, ffi::Span<double const> numbers) {
  return handle(Device::cuda(device), Queue::cuda(stream), operands, results, numbers);
}

XLA_FFI_DEFINE_HANDLER(
    mix_on_cpu, on_cpu,
    ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<ffi::Span<double const>>("options"));
XLA_FFI_DEFINE_HANDLER(mix_on_cuda, on_cuda,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::PlatformStream<CUstream_st*>>()
                           .Ctx<ffi::DeviceOrdinal>()
                           .RemainingArgs()
                           .RemainingRets()
                           .Attr<ffi::Span<double const>>("options"),
                       {ffi::Traits::kCmdBufferCompatible});

nb::object capsule_of(XLA_FFI_Handler* handler) {
  return nb::capsule(reinterpret_cast<void const*>(handler));
}

// What mixfuse.jax asks while it traces

std::vector<double> numbers_of(Spec const& spec, nb::object layout, nb::object out_layout,
                               nb::object classes, nb::object smoothing, nb::object ignored,
                               nb::object mean, nb::object std, bool labels, bool partners) {
  Options options{
      spec,    python::layout("layout", layout), python::layout("out_layout", out_layout),
      {},      normalise_of(mean, std),          labels,
      partners};
  options.rule.smoothing = static_cast<float>(number("smoothing", smoothing));
  if (!ignored.is_none()) options.rule.ignored = integer("ignored", ignored);
  if (!classes.is_none()) options.rule.classes = integer("num_classes", classes);
  std::vector<double> numbers;
  Writer writer{numbers};
  exchange(writer, options);
  return numbers;
}

std::int64_t memory_bytes(std::int64_t samples, bool cuda) {
  std::size_t bytes = Plan::bytes(samples, Device::cpu());
  if (cuda) bytes = std::max(bytes, Plan::bytes(samples, Device::cuda()));
  return static_cast<std::int64_t>(bytes + alignment - 1);
}

/// A tensor (dtype, shape) without its samples.
TensorView shell_of(char const* name, nb::handle tensor, std::int64_t samples) {
  if (tensor.is_none()) return {};
  nb::object const shape = tensor[1];
  std::int64_t extents[max_rank] = {};
  int rank = 0;
  for (nb::handle const extent : shape) {
    require(rank < max_rank, name, ": ", nb::len(shape), " axes, expected at most ", max_rank);
    extents[rank++] = integer(name, extent);
  }
  require(rank > 0 && extents[0] == samples, name, ": shape ", nb::repr(shape).c_str(),
          ", expected ", samples, " samples, as images have");
  extents[0] = 0;
  try {
    return TensorView(nullptr, dtype(name, nb::object(tensor[0])), extents, rank);
  } catch (invalid_argument const& error) {
    throw unsupported(error.what());
  }
}

/// Throws as the step would: it is one, of no samples.
void check(std::vector<double> const& numbers, nb::object images, nb::object labels,
           nb::object partners, nb::object partner_labels, nb::object mixed, nb::object targets) {
  Options const options = options_of(numbers);
  Draw draw;
  std::vector<std::byte> memory(static_cast<std::size_t>(memory_bytes(0, false)));
  nb::object const shape = images[1];
  std::int64_t const samples = integer("images", nb::object(shape[0]));
  auto const shell = [&](char const* name, nb::handle tensor) {
    return shell_of(name, tensor, samples);
  };
  std::vector<TensorView> operands{TensorView(&draw, DType::i64, {3}), shell("images", images)};
  if (options.labels) operands.push_back(shell("labels", labels));
  if (options.partners) operands.push_back(shell("partners", partners));
  if (options.partners && options.labels) {
    operands.push_back(shell("partner_labels", partner_labels));
  }
  std::vector<TensorView> results{
      shell("out_dtype", mixed),
      TensorView(memory.data(), DType::u8, {static_cast<std::int64_t>(memory.size())})};
  if (options.labels) results.push_back(shell("target_dtype", targets));
  auto const at = [](std::span<TensorView const> tensors) {
    return [tensors](std::size_t index) { return tensors[index]; };
  };
  step(options, tensors_of(options, at(operands), at(results), results.size()), Queue::cpu(1));
}

}  // namespace

void bind_jax(nb::module_& module) {
  nb::dict handlers;
  handlers["cpu"] = capsule_of(mix_on_cpu);
  handlers["CUDA"] = capsule_of(mix_on_cuda);
  module.attr("jax_handlers") = handlers;
  auto const any = [](char const* name) { return nb::arg(name).none(); };
  module.def("jax_numbers", &numbers_of, any("spec"), any("layout"), any("out_layout"),
             any("num_classes"), any("smoothing"), any("ignored"), any("mean"), any("std"),
             any("labels"), any("partners"));
  module.def("jax_memory", &memory_bytes, nb::arg("samples"), nb::arg("cuda"));
  module.def("jax_check", &check, nb::arg("numbers"), any("images"), any("labels"), any("partners"),
             any("partner_labels"), any("mixed"), any("targets"));
}

}  // namespace mixfuse::python
