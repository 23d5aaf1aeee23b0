// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "host/cli/options.hpp"

namespace mixfuse::cli {

enum class Form : std::uint8_t { lines, json };

/// The subcommands. They throw bad_call, failed_run or the library's errors.
void run_mix(Options const& options);
void run_sheet(Options const& options);
void run_info(Form form);
void run_bench(BenchOptions const& options);

/// Runs `body` and turns what it throws into one line on stderr and the status to end with.
int report_errors(char const* program, void (*body)(int, char**), int count, char** arguments);

}  // namespace mixfuse::cli
