// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <stdexcept>

#include "bench/batch.hpp"
#include "host/cli/commands.hpp"
#include "host/cli/engine.hpp"
#include "host/cli/fault.hpp"
#include "host/cli/file.hpp"

namespace mixfuse::cli {
namespace {

using bench::Way;

/// The shapes that were asked for, or a few that show small, large and loader's batches.
std::vector<bench::Shape> shapes_of(BenchOptions const& options) {
  if (options.shapes.empty()) {
    return {{{128, 3, 32, 32}, DType::f32, DType::f32},
            {{256, 3, 224, 224}, DType::f32, DType::f32},
            {{256, 3, 224, 224}, DType::u8, DType::bf16, true}};
  }
  DType const out = options.out_dtype.value_or(options.dtype);
  bool const normalise = out != options.dtype;
  if (normalise && (options.dtype != DType::u8 || out == DType::f64)) {
    throw bad_call("--out-dtype: only u8 becomes another one, f16, bf16 or f32");
  }
  std::vector<bench::Shape> shapes;
  for (std::string const& name : options.shapes) {
    try {
      shapes.push_back({bench::extents_of_name(name), options.dtype, out, normalise});
    } catch (std::invalid_argument const& error) {
      throw bad_call(text("--shape: ", error.what()));
    }
    if (normalise && shapes.back().extents.size() != 4) {
      throw bad_call(text("--out-dtype: normalises images, ", name, " are none"));
    }
  }
  return shapes;
}

}  // namespace

void run_bench(BenchOptions const& options) {
  if (options.out_dtype && options.shapes.empty()) throw bad_call("--out-dtype: needs --shape");
  std::vector<bench::Shape> const shapes = shapes_of(options);
  std::vector<std::unique_ptr<OutputFile>> files;
  if (!options.json.empty()) {
    files.push_back(std::make_unique<OutputFile>(options.json, "--json"));
  }
  Engine const engine{options.device, options.threads};
  bench::Lane const lane{engine.device(), options.threads};
  bench::Effort effort;
  effort.seconds = options.seconds;
  effort.fewest_rounds = 3;
  bench::Report report(lane, "mixfuse bench");
  for (bench::Shape const& shape : shapes) {
    int const sets = bench::cold_sets(lane, effort, shape.bytes_in() + shape.bytes_out());
    bench::Batch const batch(lane, shape, std::max(2, sets));
    report.add(bench::mix_contest(lane, effort, batch, Way::call));
    if (lane.cuda()) report.add(bench::mix_contest(lane, effort, batch, Way::graph));
  }
  if (!files.empty()) files[0]->write(report.json());
  commit(files);
  if (report.wrong()) throw failed_run("a result differs from float64");
}

}  // namespace mixfuse::cli
