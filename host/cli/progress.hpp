// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

namespace mixfuse::cli {

/// A bar on stderr, when that is a terminal and the work takes more than half a second.
class Progress {
 public:
  explicit Progress(std::string what) : what_{std::move(what)} {}
  ~Progress() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }
  Progress(Progress const&) = delete;
  Progress& operator=(Progress const&) = delete;

  void show(std::size_t done, std::size_t of) {
    auto const now = Clock::now();
    if (!terminal_ || now < next_ || of == 0) return;
    next_ = now + std::chrono::milliseconds{100};
    shown_ = true;
    constexpr std::size_t width = 30;
    auto const share = static_cast<double>(done) / static_cast<double>(of);
    std::string bar(static_cast<std::size_t>(share * width), '#');
    bar.resize(width, '.');
    std::fprintf(stderr, "\r%s [%s] %3.0f %%", what_.c_str(), bar.c_str(), share * 100.0);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  bool terminal_ = ::isatty(2) == 1;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + std::chrono::milliseconds{500};
};

}  // namespace mixfuse::cli
