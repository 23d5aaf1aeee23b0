// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/cli/file.hpp"
#include "mixfuse/plan.hpp"
#include "mixfuse/tensor.hpp"

namespace mixfuse::cli {

enum class DeviceChoice : std::uint8_t { automatic, cpu, cuda };
enum class TargetKind : std::uint8_t { dense, sparse };
enum class Preset : std::uint8_t { paper, timm, torchvision, keras };

/// The flags of one call, as given. What was not given is absent or holds its default.
struct Options {
  std::string images, labels, partners, partner_labels;
  std::optional<std::int64_t> classes;
  std::optional<Layout> layout;
  Limits limits;

  std::optional<Beta> mixup, cutmix;
  std::optional<std::pair<double, double>> minmax;
  std::optional<Boxes::Kind> box;
  std::optional<Fold> fold;
  std::optional<float> probability, switch_probability, flip;
  std::optional<Granularity> mode;
  std::optional<Pairing> pairing;
  std::optional<std::int64_t> group;
  std::optional<Preset> preset;
  std::optional<std::uint64_t> seed, step, first;
  std::string plan_in;

  std::optional<float> smoothing;
  std::optional<std::int64_t> ignored;
  DeviceChoice device = DeviceChoice::automatic;
  int threads = 0;

  std::string out, targets, plan_out;
  std::optional<TargetKind> target;
  std::optional<DType> out_dtype;
  std::optional<Layout> out_layout;
  std::vector<double> mean, deviation;  ///< in full-scale units: of all channels, or of each
  std::optional<std::int64_t> copies;
  bool keep_originals = false;
  std::int64_t count = 8;  ///< samples on a sheet
};

/// The flags of `bench`.
struct BenchOptions {
  std::vector<std::string> shapes;
  DType dtype = DType::f32;
  std::optional<DType> out_dtype;
  DeviceChoice device = DeviceChoice::automatic;
  int threads = 0;
  double seconds = 5.0;
  std::string json;
};

/// The flags that say what is read, what is drawn and where the work runs.
void add_input_flags(CLI::App& app, Options& options);
/// The flags of `mix` and of `sheet` alone.
void add_mix_flags(CLI::App& app, Options& options);
void add_sheet_flags(CLI::App& app, Options& options);
void add_bench_flags(CLI::App& app, BenchOptions& options);

/// Throws bad_call for flags that are wrong together, before any file is opened.
void check_flags(Options const& options);

/// What the flags draw: each one given, else the preset's, else the default.
[[nodiscard]] Spec spec_of(Options const& options);

[[nodiscard]] Draw draw_of(Options const& options);

}  // namespace mixfuse::cli
