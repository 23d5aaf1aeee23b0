// SPDX-License-Identifier: Apache-2.0
#include "host/cli/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "host/cli/fault.hpp"

namespace mixfuse::cli {
namespace {

std::string reason() { return std::strerror(errno); }

// What a signal handler has to remove: it can neither allocate nor lock.
std::array<std::atomic<char const*>, 8> temporaries;

void remember(char const* path) {
  for (auto& slot : temporaries) {
    char const* none = nullptr;
    if (slot.compare_exchange_strong(none, path)) return;
  }
}

void forget(char const* path) {
  for (auto& slot : temporaries) {
    char const* mine = path;
    if (slot.compare_exchange_strong(mine, nullptr)) return;
  }
}

void end(int signal) {
  for (auto& slot : temporaries) {
    if (char const* path = slot.load()) ::unlink(path);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

void Budget::take(std::int64_t bytes, std::string const& file) {
  if (bytes > left_) {
    throw failed_run(text(file, ": its ", bytes, " bytes and what was read before are more than ",
                          limits_.bytes, " (--max-bytes)"));
  }
  left_ -= bytes;
}

InputFile::InputFile(std::string path)
    : path_{std::move(path)},
      // A pipe would block here otherwise, before it can be refused.
      descriptor_{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {
  if (descriptor_ < 0) throw failed_run(text(path_, ": cannot be opened: ", reason()));
  struct stat status = {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw failed_run(text(path_, ": is not a regular file"));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t const count = ::read(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw failed_run(text(path_, ": cannot be read: ", reason()));
    if (count == 0) throw failed_run(text(path_, ": ended early"));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

std::string read_text(std::string const& path, std::int64_t limit) {
  InputFile file{path};
  if (file.size() > static_cast<std::uint64_t>(limit)) {
    throw failed_run(
        text(path, ": ", file.size(), " bytes are more than ", limit, " (--max-file)"));
  }
  std::string contents(static_cast<std::size_t>(file.size()), '\0');
  file.read(std::as_writable_bytes(std::span{contents}));
  return contents;
}

OutputFile::OutputFile(std::string path, std::string const& flag) : path_{std::move(path)} {
  struct stat status = {};
  if (::lstat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw bad_call(text(flag, ": ", path_, " is ",
                        S_ISLNK(status.st_mode)   ? "a symbolic link"
                        : S_ISDIR(status.st_mode) ? "a folder"
                                                  : "not a regular file"));
  }
  auto const name = path_.find_last_of('/') + 1;
  if (name == path_.size()) throw bad_call(text(flag, ": '", path_, "' does not name a file"));
  static int opened = 0;  // the name may be as long as names can be
  temporary_ = text(path_.substr(0, name), ".mixfuse-", ::getpid(), "-", ++opened);
  descriptor_ =
      ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) throw failed_run(text(path_, ": cannot be written: ", reason()));
  remember(temporary_.c_str());
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (place_ != Place::fresh) ::unlink(temporary_.c_str());
  forget(temporary_.c_str());
}

void OutputFile::write(std::span<std::byte const> bytes) {
  while (!bytes.empty()) {
    ssize_t const count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw failed_run(text(path_, ": cannot be written: ", reason()));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void OutputFile::write(std::string const& characters) {
  write(std::as_bytes(std::span{characters}));
}

void OutputFile::close() {
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    throw failed_run(text(path_, ": cannot be written: ", reason()));
  }
}

bool OutputFile::place() {
  char const *const from = temporary_.c_str(), *const to = path_.c_str();
  struct stat status = {};
  bool const is_file = ::lstat(to, &status) == 0 && S_ISREG(status.st_mode);
  if (is_file && ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
    place_ = Place::exchanged;
  } else if (::rename(from, to) == 0) {  // there was none, or the file system cannot exchange
    place_ = Place::fresh;
  }
  return place_ != Place::temporary;
}

void OutputFile::take_back() {
  char const *const from = temporary_.c_str(), *const to = path_.c_str();
  if (place_ == Place::exchanged) ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
  if (place_ == Place::fresh) ::unlink(to);
}

void commit(std::vector<std::unique_ptr<OutputFile>>& files) {
  for (auto& file : files) file->close();
  for (auto& file : files) {
    if (file->place()) continue;
    std::string const why = reason();
    for (auto& other : files) other->take_back();
    throw failed_run(text(file->path_, ": cannot be written: ", why));
  }
}

void remove_temporaries_on_signals() {
  for (int signal : {SIGHUP, SIGINT, SIGTERM, SIGXCPU}) std::signal(signal, end);
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond its limit is then an error of write()
}

}  // namespace mixfuse::cli
