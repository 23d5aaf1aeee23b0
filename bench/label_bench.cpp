// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "bench/bench.hpp"

namespace mixfuse::bench {
namespace {

/// A batch's class ids, and dense and sparse targets; the rows of a plan without images.
class Labels {
 public:
  Labels(Lane const& lane, std::int64_t samples, std::int64_t classes, int sets)
      : lane_{lane},
        samples_{samples},
        classes_{classes},
        ids_{class_ids(samples, classes)},
        plan_{samples, lane.device(), lane.queue()},
        labels_{lane, ids_.size() * sizeof(std::int64_t)},
        sparse_{lane, ids_.size() * 20} {
    labels_.put(ids_.data());
    Spec spec;
    spec.policies = {{Mixup{{0.2f, 0.2f}}, 1.0f}};
    plan_into(plan_, spec, {samples, 2, {224, 224}, true}, Draw{1, 0, 0}, lane.queue());
    for (int set = 0; set < sets; ++set) dense_.emplace_back(lane, bytes());
  }

  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(samples_ * classes_) * sizeof(float);
  }
  [[nodiscard]] void* dense(int set) const { return dense_[static_cast<std::size_t>(set)].data(); }

  void into_dense(int set) {
    TensorView const targets{dense(set), DType::f32, {samples_, classes_}, lane_.device()};
    label_into(targets, labels(), {}, plan_, lane_.queue());
  }

  void into_sparse() {
    auto* const memory = static_cast<std::byte*>(sparse_.data());
    std::size_t const ids = ids_.size() * sizeof(std::int64_t);
    Device const device = lane_.device();
    label_into({TensorView{memory, DType::i64, {samples_}, device},
                TensorView{memory + ids, DType::i64, {samples_}, device},
                TensorView{memory + 2 * ids, DType::f32, {samples_}, device}},
               labels(), {0.0f, {}, classes_}, plan_, lane_.queue());
  }

  /// Of set 0's targets.
  [[nodiscard]] double dense_error() const {
    return targets_error(dense_[0], ids_, classes_, read_rows(plan_, lane_.queue()));
  }

  /// Infinite where an id is wrong.
  [[nodiscard]] double sparse_error() const {
    std::vector<std::byte> got(sparse_.size());
    sparse_.get(got.data());
    auto const rows = read_rows(plan_, lane_.queue());
    auto const* const own = reinterpret_cast<std::int64_t const*>(got.data());
    auto const* const partner = own + rows.size();
    auto const* const weight = reinterpret_cast<float const*>(partner + rows.size());
    double worst = 0.0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (own[i] != ids_[i] || partner[i] != ids_[static_cast<std::size_t>(rows[i].partner)])
        return std::numeric_limits<double>::infinity();
      worst = larger(worst, std::abs(static_cast<double>(weight[i] - rows[i].label)));
    }
    return worst;
  }

 private:
  [[nodiscard]] ConstTensorView labels() const {
    return {labels_.data(), DType::i64, {samples_}, lane_.device()};
  }

  Lane const& lane_;
  std::int64_t samples_, classes_;
  std::vector<std::int64_t> ids_;
  Plan plan_;
  Memory labels_, sparse_;
  std::vector<Memory> dense_;
};

void label_contest(Setup const& setup, Report& report, std::int64_t samples, std::int64_t classes) {
  std::string const shape = std::to_string(samples) + "x" + std::to_string(classes);
  if (!setup.wants(shape)) return;
  Lane const& lane = setup.lane;
  // The formula takes rows of targets as if they were images; what is in them costs nothing.
  Shape const rows{{samples, 1, classes}, DType::f32, DType::f32};
  int const sets = cold_sets(lane, setup.effort, 2 * rows.bytes_out());
  Labels labels(lane, samples, classes, sets);
  Batch const one_hot(lane, rows, sets);
  Formulas const formulas(one_hot, lane);
  std::vector<Contestant> const contestants = {
      {"memset", [&](int set) { fill_zero(lane, labels.dense(set), labels.bytes()); }},
      {"mixfuse, dense", [&](int set) { labels.into_dense(set); },
       [&] { return labels.dense_error(); }, targets_tolerance},
      {"mixfuse, sparse", [&](int) { labels.into_sparse(); },
       [&] { return labels.sparse_error(); }},
      {"formula, four passes over one-hot rows", [&](int set) { formulas.passes(set); },
       [&] { return formulas.error(); }, one_hot.tolerance()}};
  for (Way const way : setup.ways()) {
    Contest contest{"label", shape,   "ids",
                    "f32",   samples, static_cast<std::int64_t>(labels.bytes()),
                    way,     sets};
    measure(lane, setup.effort, contestants, contest);
    report.add(std::move(contest));
  }
}

}  // namespace

void label_bench(Setup const& setup, Report& report) {
  if (setup.size == Size::small) return label_contest(setup, report, 16, 40);
  label_contest(setup, report, 256, 1000);
  label_contest(setup, report, 4096, 21841);
}

}  // namespace mixfuse::bench
