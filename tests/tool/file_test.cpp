// SPDX-License-Identifier: Apache-2.0
#include "host/cli/file.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "host/cli/fault.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;
using Files = std::vector<std::unique_ptr<cli::OutputFile>>;

Files open(Workplace const& at, std::initializer_list<char const*> names) {
  Files files;
  for (char const* const name : names) {
    files.push_back(
        std::make_unique<cli::OutputFile>(at.path("work/" + std::string{name}), "--out"));
    files.back()->write(std::string{"new "} + name);
  }
  return files;
}

TEST(OutputFiles, HaveTheirNamesOnlyWhenAllAreDone) {
  Workplace const at;
  at.write("a", "old");
  {
    Files files = open(at, {"a", "b"});
    EXPECT_EQ(at.read("a"), "old");
    EXPECT_FALSE(at.exists("b"));
    cli::commit(files);
  }
  EXPECT_EQ(at.read("a"), "new a");
  EXPECT_EQ(at.read("b"), "new b");
  EXPECT_EQ(at.files(), 2u);
}

TEST(OutputFiles, AreAllPlacedOrNone) {
  Workplace const at;
  {
    Files files = open(at, {"a", "b"});
    std::filesystem::create_directory(at.path("work/b"));  // meanwhile
    EXPECT_THROW(cli::commit(files), cli::failed_run);
  }
  EXPECT_FALSE(at.exists("a"));
  EXPECT_EQ(at.files(), 1u);
}

TEST(OutputFiles, ThatWereThereBeforeComeBack) {
  Workplace const at;
  at.write("a", "old");
  {
    Files files = open(at, {"a", "b"});
    std::filesystem::create_directory(at.path("work/b"));  // meanwhile
    EXPECT_THROW(cli::commit(files), cli::failed_run);
  }
  EXPECT_EQ(at.read("a"), "old");
  EXPECT_EQ(at.files(), 2u);
}

TEST(OutputFiles, MayHaveTheLongestNames) {
  Workplace const at;
  std::string const name(255, 'x');
  {
    Files files = open(at, {name.c_str()});
    cli::commit(files);
  }
  EXPECT_EQ(at.read(name), "new " + name);
}

TEST(OutputFiles, ThatAreGivenUpLeaveNothing) {
  Workplace const at;
  at.write("a", "old");
  open(at, {"a", "b"}).clear();
  EXPECT_EQ(at.read("a"), "old");
  EXPECT_EQ(at.files(), 1u);
}

TEST(InputFiles, AreRegularAndReadToTheirEnd) {
  Workplace const at;
  at.write("a", "12345");
  EXPECT_EQ(cli::read_text(at.path("work/a"), 5), "12345");
  EXPECT_THROW(static_cast<void>(cli::read_text(at.path("work/a"), 4)), cli::failed_run);
  EXPECT_THROW(static_cast<void>(cli::read_text(at.path("work"), 5)), cli::failed_run);
  EXPECT_THROW(static_cast<void>(cli::read_text(at.path("work/none"), 5)), cli::failed_run);
  cli::InputFile file{at.path("work/a")};
  std::filesystem::resize_file(at.path("work/a"), 3);  // meanwhile
  std::string bytes(5, ' ');
  EXPECT_THROW(file.read(std::as_writable_bytes(std::span{bytes})), cli::failed_run);
}

TEST(Budgets, AreTakenFromUntilNothingIsLeft) {
  cli::Limits limits;
  limits.bytes = 10;
  cli::Budget budget{limits};
  budget.take(4, "a");
  budget.take(6, "b");
  budget.take(0, "c");
  try {
    budget.take(1, "d.npy");
    ADD_FAILURE() << "was not refused";
  } catch (cli::failed_run const& caught) {
    EXPECT_NE(std::string{caught.what()}.find("d.npy"), std::string::npos) << caught.what();
    EXPECT_NE(std::string{caught.what()}.find("--max-bytes"), std::string::npos) << caught.what();
  }
}

}  // namespace
}  // namespace mixfuse
