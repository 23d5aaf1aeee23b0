// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <iostream>

#include "host/cli/commands.hpp"
#include "mixfuse/info.hpp"

namespace mixfuse::cli {
namespace {

void run_tool(int count, char** arguments) {
  CLI::App app{"Mixes batches of samples and their labels: Mixup and CutMix", "mixfuse"};
  app.require_subcommand(1);
  Options options;
  BenchOptions bench_options;
  bool json = false;
  CLI::App* const mix = app.add_subcommand("mix", "Mix a file or a folder of images");
  CLI::App* const sheet = app.add_subcommand("sheet", "Draw own, partner and mixed side by side");
  CLI::App* const bench = app.add_subcommand("bench", "Time a step beside a copy and the formula");
  CLI::App* const info = app.add_subcommand("info", "Say what this build and this machine can do");
  add_input_flags(*mix, options);
  add_mix_flags(*mix, options);
  add_input_flags(*sheet, options);
  add_sheet_flags(*sheet, options);
  add_bench_flags(*bench, bench_options);
  info->add_flag("--json", json, "As JSON");
  app.set_version_flag("--version", version());
  try {
    app.parse(count, arguments);
  } catch (CLI::CallForHelp const&) {
    std::cout << app.help();
    return;
  } catch (CLI::CallForVersion const&) {
    std::cout << version() << '\n';
    return;
  }

  if (*mix) run_mix(options);
  if (*sheet) run_sheet(options);
  if (*bench) run_bench(bench_options);
  if (*info) run_info(json ? Form::json : Form::lines);
}

}  // namespace
}  // namespace mixfuse::cli

int main(int count, char** arguments) {
  return mixfuse::cli::report_errors("mixfuse", mixfuse::cli::run_tool, count, arguments);
}
