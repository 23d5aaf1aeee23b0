// SPDX-License-Identifier: Apache-2.0
#include "host/label.hpp"

#include "host/cuda.hpp"
#include "host/plan.hpp"
#include "host/tensor.hpp"
#include "kernels/cpu/threads.hpp"

namespace mixfuse {
namespace {

template <class Void>
Matrix<Void> matrix_of(BasicTensorView<Void> const& view) {
  return {view.data, view.dtype, {view.stride[0], view.rank > 1 ? view.stride[1] : 0}};
}

/// Class ids (B,), or rows (B, K).
void check_labels(char const* name, ConstTensorView const& labels, Plan::State const& state) {
  check_tensor(name, labels, Access::read);
  check_device(name, labels.device, state.device);
  require(labels.rank <= 2, name, ": shape ", shape_of(labels), ", expected (B,) or (B, K)");
  DType const dtype = labels.dtype;
  if (labels.rank == 1) {
    require<unsupported>(dtype == DType::u8 || dtype == DType::i32 || dtype == DType::i64, name,
                         ": ids of ", name_of(dtype), ", expected u8, i32 or i64");
  } else {
    require<unsupported>(is_float(dtype) || dtype == DType::boolean, name, ": rows of ",
                         name_of(dtype), ", expected f16, bf16, f32, f64 or bool");
  }
}

void check_target(char const* name, TensorView const& target, Plan::State const& state) {
  check_tensor(name, target, Access::write);
  check_device(name, target.device, state.device);
  check_apart_from_plan(name, target, state);
}

void check_dense(TensorView const& dense, ConstTensorView const& labels, Plan::State const& state) {
  check_target("targets", dense, state);
  std::int64_t const samples = state.extents.samples;
  require(dense.rank == 2 && dense.shape[0] == samples, "targets: shape ", shape_of(dense),
          ", expected (", samples, ", K)");
  require(dense.shape[1] > 0, "targets: K is ", dense.shape[1], ", expected 1 or more");
  require(labels.rank == 1 || labels.shape[1] == dense.shape[1], "targets: shape ", shape_of(dense),
          ", labels have ", shape_of(labels));
  bool const keeps = labels.rank == 2 && is_float(labels.dtype);
  if (keeps) {
    require<unsupported>(dense.dtype == labels.dtype, "targets: ", name_of(dense.dtype),
                         " of rows of ", name_of(labels.dtype), ", expected the same");
  } else {
    require<unsupported>(is_float(dense.dtype) && dense.dtype != DType::f64,
                         "targets: ", name_of(dense.dtype), ", expected f32, f16 or bf16");
  }
}

void check_sparse(Targets const& targets, ConstTensorView const& labels, LabelRule const& rule,
                  Plan::State const& state) {
  auto const check = [&](char const* name, TensorView const& target, DType dtype) {
    check_target(name, target, state);
    require(target.rank == 1 && target.shape[0] == state.extents.samples, name, ": shape ",
            shape_of(target), ", expected (", state.extents.samples, ")");
    require<unsupported>(target.dtype == dtype, name, ": ", name_of(target.dtype), ", expected ",
                         name_of(dtype));
  };
  check("targets.own", targets.own, DType::i64);
  check("targets.partner", targets.partner, DType::i64);
  check("targets.weight", targets.weight, DType::f32);
  require(labels.rank == 1, "labels: rows ", shape_of(labels), ", sparse targets are made of ids");
  require(rule.classes > 0, "rule.classes: ", rule.classes, ", expected 1 or more");
}

}  // namespace

std::vector<NamedTensor> outputs_of(Targets const& targets) {
  if (targets.dense.present()) return {{"targets", targets.dense}};
  return {{"targets.own", targets.own},
          {"targets.partner", targets.partner},
          {"targets.weight", targets.weight}};
}

LabelJob label_job(Targets const& targets, Samples const& labels, LabelRule const& rule,
                   Plan::State const& state) {
  cpu::FloatMode const mode;  // whatever the caller's is
  check_labels("labels", labels.own, state);
  bool const ids = labels.own.rank == 1;
  bool const sparse = !targets.dense.present();
  require(labels.own.shape[0] == state.extents.samples, "labels: shape ", shape_of(labels.own),
          ", the plan has ", state.extents.samples, " samples");
  require(
      sparse || !(targets.own.present() || targets.partner.present() || targets.weight.present()),
      "targets: dense and sparse ones, expected either");
  sparse ? check_sparse(targets, labels.own, rule, state)
         : check_dense(targets.dense, labels.own, state);
  bool const second = labels.partners.present();
  if (second) {
    check_labels("labels.partners", labels.partners, state);
    require(labels.partners.dtype == labels.own.dtype &&
                shape_of(labels.partners) == shape_of(labels.own),
            "labels.partners: ", name_of(labels.partners.dtype), " ", shape_of(labels.partners),
            ", labels are ", name_of(labels.own.dtype), " ", shape_of(labels.own));
  }
  require(rule.smoothing >= 0.0f && rule.smoothing <= 1.0f, "rule.smoothing: ", rule.smoothing,
          ", expected 0 to 1");
  require(rule.smoothing == 0.0f || (ids && !sparse), "rule.smoothing: ", rule.smoothing,
          ", only ids with dense targets are smoothed");
  require(!rule.ignored || ids, "rule.ignored: only ids can be ignored");
  require(sparse || rule.classes == 0 || rule.classes == targets.dense.shape[1],
          "rule.classes: ", rule.classes, ", targets have ", shape_of(targets.dense));

  auto const outputs = outputs_of(targets);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check_apart(outputs[i].name, outputs[i].view, "labels", labels.own);
    if (second) check_apart(outputs[i].name, outputs[i].view, "labels.partners", labels.partners);
    for (std::size_t j = 0; j < i; ++j) {
      check_apart(outputs[i].name, outputs[i].view, outputs[j].name, outputs[j].view);
    }
  }

  LabelJob job{};
  job.samples = state.extents.samples;
  job.classes = sparse ? rule.classes : targets.dense.shape[1];
  job.sparse = sparse;
  job.ids = ids;
  job.second = second;
  job.out = matrix_of(sparse ? targets.own : targets.dense);
  job.partner = matrix_of(targets.partner);
  job.weight = matrix_of(targets.weight);
  job.own = matrix_of(labels.own);
  job.partners = matrix_of(second ? labels.partners : labels.own);
  double const smoothing = static_cast<double>(rule.smoothing);
  double const share = smoothing / static_cast<double>(job.classes);
  job.off = static_cast<float>(share);
  job.on = static_cast<float>(1.0 - smoothing + share);
  job.has_ignored = rule.ignored.has_value();
  job.ignored = rule.ignored.value_or(0);
  job.rows = state.rows;
  job.header = state.header;
  return job;
}

void label_into(Targets targets, Samples labels, LabelRule rule, Plan& plan, Queue queue) {
  Plan::State& state = plan.state();
  InUse const use(state);
  check_queue(state.device, queue);
  require(state.drawn, "plan: holds no rows");
  LabelJob const job = label_job(targets, labels, rule, state);
  if (job.samples == 0) return;
  if (state.device.kind == Device::Kind::cpu) {
    cpu::label(job, queue.threads());
  } else {
    cuda::DeviceGuard const guard(state.device.id);
    cuda::check(cuda::label(job, queue.stream()), "label_into");
  }
}

}  // namespace mixfuse
