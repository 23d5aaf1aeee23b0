// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <iostream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "bench/bench.hpp"
#include "mixfuse/info.hpp"

namespace mixfuse::bench {
namespace {

constexpr char usage[] =
    "usage: mixfuse-bench [--device auto|cpu|cuda] [--threads N] [--stage copy|plan|mix|label]\n"
    "                     [--match TEXT] [--small] [--rounds N] [--seconds S] [--profile]\n"
    "                     [--json FILE] [--commit TEXT]\n";

struct Flags {
  std::string device = "auto", stage, match, json, commit;
  int threads = 0;
  Size size = Size::full;
  std::optional<int> rounds;
  std::optional<double> seconds;
  bool profile = false;

  [[nodiscard]] Effort effort() const {
    Effort effort;
    if (size == Size::small) effort = {3, 1, 1.0, 2, 2};
    if (rounds) effort.most_rounds = effort.fewest_rounds = *rounds;
    if (seconds) effort.seconds = *seconds;
    return effort;
  }
};

[[noreturn]] void refuse(char const* flag, std::string const& value, std::string const& why) {
  throw std::invalid_argument(std::string{flag} + " '" + value + "': " + why);
}

template <class Number>
Number number(char const* flag, std::string const& value, Number least) {
  Number parsed{};
  auto const [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc{} || end != value.data() + value.size() || !(parsed >= least)) {
    refuse(flag, value, "not a number of at least " + std::to_string(static_cast<int>(least)));
  }
  return parsed;
}

using Stage = void (*)(Setup const&, Report&);
constexpr std::pair<char const*, Stage> stages[] = {
    {"copy", copy_bench}, {"plan", plan_bench}, {"mix", mix_bench}, {"label", label_bench}};

Flags parse(int count, char** arguments) {
  option const known[] = {{"device", required_argument, nullptr, 'd'},
                          {"threads", required_argument, nullptr, 't'},
                          {"stage", required_argument, nullptr, 'g'},
                          {"match", required_argument, nullptr, 'm'},
                          {"small", no_argument, nullptr, 's'},
                          {"rounds", required_argument, nullptr, 'r'},
                          {"seconds", required_argument, nullptr, 'e'},
                          {"profile", no_argument, nullptr, 'p'},
                          {"json", required_argument, nullptr, 'j'},
                          {"commit", required_argument, nullptr, 'c'},
                          {nullptr, 0, nullptr, 0}};
  Flags flags;
  for (int flag = 0; (flag = getopt_long(count, arguments, "", known, nullptr)) != -1;) {
    std::string const value = optarg ? optarg : "";
    switch (flag) {
      case 'd':
        flags.device = value;
        break;
      case 't':
        flags.threads = number("--threads", value, 0);
        break;
      case 'g':
        flags.stage = value;
        break;
      case 'm':
        flags.match = value;
        break;
      case 's':
        flags.size = Size::small;
        break;
      case 'r':
        flags.rounds = number("--rounds", value, 1);
        break;
      case 'e':
        flags.seconds = number("--seconds", value, 0.0);
        break;
      case 'p':
        flags.profile = true;
        break;
      case 'j':
        flags.json = value;
        break;
      case 'c':
        flags.commit = value;
        break;
      default:
        throw std::invalid_argument(usage);
    }
  }
  if (optind != count) throw std::invalid_argument(usage);
  bool const known_stage = std::any_of(std::begin(stages), std::end(stages),
                                       [&](auto const& s) { return flags.stage == s.first; });
  if (!flags.stage.empty() && !known_stage) {
    refuse("--stage", flags.stage, "not copy, plan, mix or label");
  }
  return flags;
}

Device device_of(std::string const& name) {
  if (name == "cpu") return Device::cpu();
  if (name == "cuda") return Device::cuda();
  if (name != "auto") refuse("--device", name, "not auto, cpu or cuda");
  return cuda_info().devices > 0 ? Device::cuda() : Device::cpu();
}

/// The status to end with.
int run(Flags const& flags) {
  Lane const lane(device_of(flags.device), flags.threads);
  Setup const setup{lane, flags.effort(), flags.size, flags.match};
  if (flags.profile) {
    if (!profile_mix(setup)) refuse("--match", flags.match, "no shape is like this");
    return 0;
  }
  Report report(lane, "mixfuse-bench", flags.commit, flags.json);
  for (auto const& [name, bench] : stages) {
    if (flags.stage.empty() || flags.stage == name) bench(setup, report);
  }
  if (report.empty()) refuse("--match", flags.match, "no contest's shape is like this");
  return report.wrong() ? 1 : 0;
}

}  // namespace
}  // namespace mixfuse::bench

int main(int count, char** arguments) {
  try {
    return mixfuse::bench::run(mixfuse::bench::parse(count, arguments));
  } catch (std::invalid_argument const& error) {
    std::cerr << error.what() << '\n';
    return 2;
  } catch (std::exception const& error) {
    std::cerr << "mixfuse-bench: " << error.what() << '\n';
    return 1;
  }
}
