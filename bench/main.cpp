// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

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
  Effort effort;
  bool profile = false;
};

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
        flags.threads = std::stoi(value);
        break;
      case 'g':
        flags.stage = value;
        break;
      case 'm':
        flags.match = value;
        break;
      case 's':
        flags.size = Size::small;
        flags.effort = {3, 1, 1.0, 2, 2};
        break;
      case 'r':
        flags.effort.most_rounds = flags.effort.fewest_rounds = std::stoi(value);
        break;
      case 'e':
        flags.effort.seconds = std::stod(value);
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
  return flags;
}

Device device_of(std::string const& name) {
  if (name == "cpu") return Device::cpu();
  if (name == "cuda") return Device::cuda();
  if (name != "auto") throw std::invalid_argument(usage);
  return cuda_info().devices > 0 ? Device::cuda() : Device::cpu();
}

/// The status to end with.
int run(Flags const& flags) {
  Lane const lane(device_of(flags.device), flags.threads);
  Setup const setup{lane, flags.effort, flags.size, flags.match};
  if (flags.profile) {
    profile_mix(setup);
    return 0;
  }
  Report report(lane, "mixfuse-bench", flags.commit, flags.json);
  auto const wanted = [&](char const* stage) {
    return flags.stage.empty() || flags.stage == stage;
  };
  if (wanted("copy")) copy_bench(setup, report);
  if (wanted("plan")) plan_bench(setup, report);
  if (wanted("mix")) mix_bench(setup, report);
  if (wanted("label")) label_bench(setup, report);
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
