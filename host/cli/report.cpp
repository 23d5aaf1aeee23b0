// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "host/cli/commands.hpp"
#include "host/cli/fault.hpp"
#include "host/cli/file.hpp"
#include "mixfuse/error.hpp"

namespace mixfuse::cli {
namespace {

constexpr int failed = 1, bad = 2;
constexpr std::size_t longest = 1000;

/// One line, whatever a file's name holds.
int end(int status, char const* program, std::string line) {
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (line.size() > longest) line.replace(longest, std::string::npos, " ...");
  std::cerr << program << ": " << line << '\n';
  return status;
}

}  // namespace

int report_errors(char const* program, void (*body)(int, char**), int count, char** arguments) {
  try {
    remove_temporaries_on_signals();
    body(count, arguments);
    if (!std::cout.flush()) throw failed_run("standard output cannot be written");
    return 0;
  } catch (CLI::Error const& error) {
    return end(bad, program, error.what());
  } catch (bad_call const& error) {
    return end(bad, program, error.what());
  } catch (unsupported const& error) {
    return end(bad, program, error.what());
  } catch (std::bad_alloc const&) {
    return end(failed, program, "not enough memory");
  } catch (std::exception const& error) {
    return end(failed, program, error.what());
  }
}

}  // namespace mixfuse::cli
