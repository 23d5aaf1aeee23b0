// SPDX-License-Identifier: Apache-2.0

// Hashes of what the shared formulas make. Built with several compilers and flags, whose programs
// must print the same: an fma of the compiler's own, say, would show.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/dtypes.hpp"
#include "kernels/job.hpp"
#include "kernels/maths/blend.hpp"
#include "kernels/maths/row.hpp"
#include "kernels/maths/target.hpp"

namespace mixfuse {
namespace {

/// FNV-1a.
template <class T>
void print_hash(char const* what, int which, std::vector<T> const& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  std::vector<unsigned char> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  for (unsigned char const byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  std::printf("%s %d: %016llx\n", what, which, static_cast<unsigned long long>(hash));
}

std::vector<Row> drawn_rows(Policy const& policy, std::int32_t samples) {
  PlanJob job{};
  job.samples = samples;
  job.draw = {7, 11, 13};
  job.gate = job.flip = std::uint64_t{1} << 31;
  job.policies = 1;
  job.policy[0] = policy;
  job.axes = 2;
  job.spatial[0] = 224, job.spatial[1] = 161;
  std::vector<Row> rows;
  for (std::int32_t k = 0; k < samples; ++k) {
    rows.push_back(maths::draw_row(job, k, (k + 1) % samples));
  }
  return rows;
}

std::vector<Row> print_rows() {
  std::vector<Row> all;
  Policy policy{};
  policy.below = std::uint64_t{1} << 32;
  policy.side_lo[0] = policy.side_lo[1] = 7;
  policy.side_hi[0] = policy.side_hi[1] = 100;
  float const alphas[] = {1e-6f, 0.01f, 0.2f, 1.0f, 3.0f, 100.0f, 1e6f};
  for (float const a : alphas) {
    for (float const b : alphas) {
      policy.law = maths::make_beta_law(a, b);
      policy.kind = all.size() % 2 == 0 ? Policy::Kind::mixup : Policy::Kind::cutmix;
      policy.boxes = static_cast<Boxes::Kind>(all.size() / 2 % 4);
      std::vector<Row> const rows = drawn_rows(policy, 2001);
      all.insert(all.end(), rows.begin(), rows.end());
    }
  }
  print_hash("rows", 0, all);
  return all;
}

/// Any bits, thus subnormals, infinities and NaN as well, and of each exponent many.
template <class T>
std::vector<T> noise(std::size_t count, std::uint64_t seed) {
  std::vector<T> values(count);
  std::vector<unsigned char> bytes;
  for (std::uint64_t k = 0; bytes.size() < count * sizeof(T); ++k) {
    maths::Words const words = maths::draw_words(seed, k, 0, maths::Purpose::gate);
    auto const* const first = reinterpret_cast<unsigned char const*>(words.w);
    bytes.insert(bytes.end(), first, first + sizeof(words.w));
  }
  std::memcpy(static_cast<void*>(values.data()), bytes.data(), count * sizeof(T));
  return values;
}

template <class In, class Out>
void print_pixels(int which, std::vector<Row> const& rows) {
  constexpr std::size_t length = 1000;
  std::vector<In> const own = noise<In>(50 * length, 1), partner = noise<In>(50 * length, 2);
  std::vector<Out> mixed(own.size()), normalised(own.size());
  maths::Map<maths::Real<In>> const map{static_cast<maths::Real<In>>(0.0171247538),
                                        static_cast<maths::Real<In>>(-2.11790393)};
  for (std::size_t k = 0; k < own.size(); k += length) {
    float const weight = rows[k].outside;
    if (weight == 0.0f || weight == 1.0f) continue;
    for (std::size_t i = k; i < k + length; ++i) {
      mixed[i] = maths::blended<Out>(weight, own[i], partner[i]);
    }
    if constexpr (sizeof(Out) > 1) {
      for (std::size_t i = k; i < k + length; ++i) {
        normalised[i] = maths::blended<Out>(weight, own[i], partner[i], map);
      }
    }
  }
  print_hash("mixed", which, mixed);
  if constexpr (sizeof(Out) > 1) {
    print_hash("normalised", which, normalised);
    for (std::size_t i = 0; i < own.size(); ++i) mixed[i] = maths::copied<Out>(own[i], map);
    print_hash("copied", which, mixed);
  }
}

template <class... In, class... Out>
void print_all_pixels(Types<Pair<In, Out>...>, std::vector<Row> const& rows) {
  int which = 0;
  (print_pixels<In, Out>(which++, rows), ...);
}

template <class T>
void print_targets(bool ids, std::vector<Row> const& rows) {
  constexpr std::int64_t samples = 200, classes = 37;
  std::vector<std::int64_t> labels(samples);
  std::vector<float> const soft = noise<float>(samples * classes, 3);
  std::vector<T> targets(samples * classes);
  for (std::int64_t k = 0; k < samples; ++k) labels[static_cast<std::size_t>(k)] = k * k % classes;
  LabelJob job{};
  job.samples = samples;
  job.classes = classes;
  job.ids = ids;
  job.second = true;
  job.out = {targets.data(), dtype_of<T>, {classes, 1}};
  job.own = ids ? Matrix<void const>{labels.data(), DType::i64, {1, 1}}
                : Matrix<void const>{soft.data(), DType::f32, {classes, 1}};
  job.partners = job.own;
  job.off = 0.1f / classes;
  job.on = 0.9f + job.off;
  for (std::int64_t k = 0; k < samples; ++k) {
    Row row = rows[static_cast<std::size_t>(400 * k)];
    row.partner = static_cast<std::int32_t>((k + 1) % samples);
    for (std::int64_t column = 0; column < classes; ++column) {
      maths::dense_target(job, row, k, column);
    }
  }
  print_hash(ids ? "targets of ids" : "targets of rows", static_cast<int>(sizeof(T)), targets);
}

void print_all() {
  std::vector<Row> const rows = print_rows();
  print_all_pixels(ImagePairs{}, rows);
  for (bool const ids : {true, false}) {
    print_targets<float>(ids, rows);
    print_targets<maths::F16>(ids, rows);
    print_targets<maths::Bf16>(ids, rows);
  }
}

}  // namespace
}  // namespace mixfuse

int main() { mixfuse::print_all(); }
