// SPDX-License-Identifier: Apache-2.0
#include "mixfuse/info.hpp"

#include <iostream>
#include <nlohmann/json.hpp>

#include "host/cli/commands.hpp"
#include "host/cli/fault.hpp"

namespace mixfuse::cli {
namespace {

/// 13000 is 13.0.
std::string version_text(int version) {
  return version == 0 ? "none" : text(version / 1000, ".", version % 1000 / 10);
}

}  // namespace

void run_info(Form form) {
  CudaInfo const& cuda = cuda_info();
  if (form == Form::json) {
    nlohmann::ordered_json const info = {
        {"version", version()},
        {"stream_version", stream_version()},
        {"backends", cuda.built ? nlohmann::json{"cpu", "cuda"} : nlohmann::json::array({"cpu"})},
        {"devices", cuda.devices},
        {"driver", cuda.driver},
        {"runtime", cuda.runtime},
        {"architectures", cuda.architectures},
        {"absent", cuda.absent}};
    std::cout << info.dump(2) << '\n';
    return;
  }
  std::cout << "mixfuse         " << version() << "\n"
            << "stream version  " << stream_version() << "\n"
            << "backends        " << (cuda.built ? "cpu, cuda" : "cpu") << "\n"
            << "CUDA devices    " << cuda.devices << "\n";
  if (!cuda.absent.empty()) std::cout << "why not CUDA    " << cuda.absent << "\n";
  if (cuda.built) {
    std::cout << "driver          " << version_text(cuda.driver) << "\n"
              << "runtime         " << version_text(cuda.runtime) << "\n"
              << "architectures   " << cuda.architectures << "\n";
  }
}

}  // namespace mixfuse::cli
