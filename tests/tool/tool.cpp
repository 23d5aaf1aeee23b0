// SPDX-License-Identifier: Apache-2.0
#include "tests/tool/tool.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "host/cli/plan_json.hpp"

namespace mixfuse::tool_tests {

namespace fs = std::filesystem;

Workplace::Workplace() {
  std::string name = (fs::temp_directory_path() / "mixfuse-tool-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = name;
  fs::create_directory(path("work"));
}

Workplace::~Workplace() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void Workplace::write(std::string const& name, std::string const& contents) const {
  fs::create_directories(fs::path{path("work/" + name)}.parent_path());
  std::ofstream{path("work/" + name), std::ios::binary} << contents;
}

std::string Workplace::read(std::string const& name) const {
  std::ifstream file{path("work/" + name), std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

bool Workplace::exists(std::string const& name) const {
  return fs::exists(fs::symlink_status(path("work/" + name)));
}

std::size_t Workplace::files() const {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator{path("work")}, fs::directory_iterator{}));
}

Ended Workplace::run(std::string const& arguments) const {
  return run_program(MIXFUSE_TOOL, arguments);
}

Ended Workplace::run_program(std::string const& program, std::string const& arguments,
                             std::string const& limits) const {
  std::string const command = "cd " + path("work") + " && " + limits + " " + program + " " +
                              arguments + " >../out 2>../err </dev/null";
  int const status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), read("../out"),
          read("../err")};
}

std::vector<Row> Workplace::rows(std::string const& plan, Extents const& batch) const {
  return cli::read_plan(path("work/" + plan), batch).rows;
}

std::string tagged_images(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count) * 3 * 5 * 7);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 1024.0f;
  return npy("<f4", {count, 3, 5, 7}, values);
}

void write_batch(Workplace const& at) {
  at.write("x.npy", tagged_images(batch_samples));
  at.write("y.npy", npy<std::int64_t>("<i8", {batch_samples}, {0, 1, 2, 3, 0, 1}));
}

}  // namespace mixfuse::tool_tests
