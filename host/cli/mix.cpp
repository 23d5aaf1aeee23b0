// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "host/cli/commands.hpp"
#include "host/cli/dataset.hpp"
#include "host/cli/engine.hpp"
#include "host/cli/fault.hpp"
#include "host/cli/file.hpp"
#include "host/cli/mixer.hpp"
#include "host/cli/plan_json.hpp"
#include "host/cli/progress.hpp"

namespace mixfuse::cli {
namespace {

/// The files of one call. Their links and folders are refused before any input is read.
struct Outputs {
  std::vector<std::unique_ptr<OutputFile>> files;
  OutputFile* images = nullptr;
  OutputFile* targets = nullptr;
  OutputFile* plan = nullptr;
};

Outputs open_outputs(Options const& options) {
  Outputs outputs;
  auto const whole = [](std::string const& path) {
    std::error_code unknown;
    std::filesystem::path const found =
        std::filesystem::weakly_canonical(std::filesystem::absolute(path), unknown);
    return unknown ? path : found.string();
  };
  std::map<std::string, char const*> flags;
  auto const open = [&](std::string const& path, char const* flag) -> OutputFile* {
    if (path.empty()) return nullptr;
    auto const [earlier, fresh] = flags.emplace(whole(path), flag);
    if (!fresh) throw bad_call(text(flag, ": ", path, " is the file of ", earlier->second));
    return outputs.files.emplace_back(std::make_unique<OutputFile>(path, flag)).get();
  };
  outputs.images = open(options.out, "--out");
  outputs.targets = open(options.targets, "--targets");
  outputs.plan = open(options.plan_out, "--plan-out");
  return outputs;
}

/// The map of --mean and --std. One value is for all channels.
Normalise normalise_of(Options const& options, Dataset const& data) {
  auto const at = std::string_view{name_of(data.layout)}.find('c');
  auto const channels = at == std::string_view::npos ? 1 : data.images.shape[at];
  auto const check = [&](char const* flag, std::vector<double> const& values) {
    if (values.size() > 1 && static_cast<std::int64_t>(values.size()) != channels) {
      throw failed_run(text(flag, ": ", values.size(), " values, ", options.images, " has ",
                            channels, channels == 1 ? " channel" : " channels"));
    }
  };
  check("--mean", options.mean);
  check("--std", options.deviation);
  Normalise normalise;
  std::size_t const maps = std::max(options.mean.size(), options.deviation.size());
  normalise.channels = static_cast<int>(maps);
  auto const value = [](std::vector<double> const& values, std::size_t c, double absent) {
    return values.empty() ? absent : values[values.size() == 1 ? 0 : c];
  };
  for (std::size_t c = 0; c < maps; ++c) {
    normalise.mean[c] = value(options.mean, c, 0.0);
    normalise.std[c] = value(options.deviation, c, 1.0);
  }
  return normalise;
}

Products products_of(Options const& options, Dataset const& data) {
  Products products;
  products.images = !options.out.empty();
  products.normalise = normalise_of(options, data);
  DType const dtype = data.images.dtype;
  bool const leaves_u8 = dtype == DType::u8 && products.normalise.channels > 0;
  products.dtype = options.out_dtype.value_or(leaves_u8 ? DType::f32 : dtype);
  products.layout = options.out_layout;
  if (!options.targets.empty()) products.targets = options.target.value_or(TargetKind::dense);
  products.smoothing = options.smoothing.value_or(0.0f);
  products.ignored = options.ignored;
  return products;
}

void write_headers(Outputs const& outputs, Dataset const& data, Products const& products,
                   DType target_dtype, std::int64_t copies) {
  std::int64_t rows = 0;
  if (__builtin_mul_overflow(data.extents.samples, copies, &rows)) {
    throw failed_run(text("--copies: ", copies, " are more than a file can hold"));
  }
  auto const quoted = [](DType dtype) { return text("'", npy_name(dtype), "'"); };
  if (outputs.images) {
    auto shape = shape_in(products.layout.value_or(data.layout), data);
    shape[0] = rows;
    outputs.images->write(npy_header(quoted(products.dtype), shape));
  }
  if (outputs.targets && products.targets == TargetKind::dense) {
    outputs.targets->write(npy_header(quoted(target_dtype), {rows, data.classes}));
  } else if (outputs.targets) {
    outputs.targets->write(
        npy_header("[('own', '<i8'), ('partner', '<i8'), ('lambda', '<f4')]", {rows}));
  }
}

/// Every sample as it is.
std::vector<Row> unmixed(std::int64_t samples) {
  std::vector<Row> rows(static_cast<std::size_t>(samples));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].partner = static_cast<std::int32_t>(i);
  return rows;
}

}  // namespace

void run_mix(Options const& options) {
  check_flags(options);
  Outputs outputs = open_outputs(options);
  Engine const engine{options.device, options.threads};
  Dataset const data = read_dataset(options);
  std::optional<StoredPlan> stored;
  if (!options.plan_in.empty()) stored = read_plan(options.plan_in, data.extents);

  Products const products = products_of(options, data);
  Mixer mixer{engine, data, products};
  std::int64_t const copies = options.copies.value_or(1);
  write_headers(outputs, data, products, mixer.target_dtype(), copies);
  Progress progress("mixing");
  for (std::int64_t copy = 0; copy < copies; ++copy) {
    Draw draw = stored ? stored->draw : draw_of(options);
    draw.step += static_cast<std::uint64_t>(copy);
    if (stored) {
      mixer.take(stored->rows, draw);
    } else if (copy == 0 && options.keep_originals) {
      // A second batch has other samples, but rows of weight 1 do not read it.
      mixer.take(unmixed(data.extents.samples), draw);
    } else {
      mixer.draw(spec_of(options), draw);
    }
    mixer.mix();
    mixer.fetch();
    if (outputs.images) outputs.images->write(mixer.images());
    if (outputs.targets) outputs.targets->write(mixer.targets());
    progress.show(static_cast<std::size_t>(copy + 1), static_cast<std::size_t>(copies));
  }
  if (outputs.plan) {
    StoredPlan const plan =
        stored ? *stored : StoredPlan{stream_version(), draw_of(options), mixer.rows()};
    outputs.plan->write(plan_text(plan, data.extents));
  }
  commit(outputs.files);
}

}  // namespace mixfuse::cli
