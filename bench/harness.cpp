// SPDX-License-Identifier: Apache-2.0
#include "bench/harness.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "kernels/cpu/choice.hpp"
#include "kernels/cpu/threads.hpp"
#include "mixfuse/error.hpp"
#include "mixfuse/info.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if MIXFUSE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mixfuse::bench {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

#if MIXFUSE_HAS_CUDA
void check(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}
#endif

/// What CUDA is asked for here, so that the rest needs no #if.
struct Graph {
#if MIXFUSE_HAS_CUDA
  template <class Steps>
  Graph(CUstream_st* stream, Steps const& steps) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    try {
      steps();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph));
    auto const made = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(made);
  }
  ~Graph() { cudaGraphExecDestroy(executable); }
  void launch(CUstream_st* stream) const { check(cudaGraphLaunch(executable, stream)); }
  cudaGraphExec_t executable = nullptr;
#else
  template <class Steps>
  Graph(CUstream_st*, Steps const&) {}
  void launch(CUstream_st*) const {}
#endif
  Graph(Graph const&) = delete;
  Graph& operator=(Graph const&) = delete;
};

class Events {
 public:
#if MIXFUSE_HAS_CUDA
  explicit Events(Lane const& lane) : lane_{lane} {
    if (!lane.cuda()) return;
    check(cudaEventCreate(&start_));
    check(cudaEventCreate(&stop_));
  }
  ~Events() {
    if (start_) cudaEventDestroy(start_);
    if (stop_) cudaEventDestroy(stop_);
  }
  void start() { check(cudaEventRecord(start_, lane_.queue().stream())); }
  double stop() {
    check(cudaEventRecord(stop_, lane_.queue().stream()));
    check(cudaEventSynchronize(stop_));
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, start_, stop_));
    return milliseconds * 1e3;
  }
#else
  explicit Events(Lane const&) {}
  void start() {}
  double stop() { return 0.0; }
#endif
  Events(Events const&) = delete;
  Events& operator=(Events const&) = delete;

#if MIXFUSE_HAS_CUDA
 private:
  Lane const& lane_;
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
#endif
};

/// A contestant at the start, and what was timed of it.
struct Runner {
  Contestant const* contestant;
  std::optional<double> error;
  std::unique_ptr<Graph> graph;
  std::vector<double> us, ratio, host_us;
};

class Race {
 public:
  Race(Lane const& lane, Contest const& contest) : lane_{lane}, contest_{contest}, events_{lane} {}

  /// Checks and warms up; what it throws makes the contestant absent, but for a wrong result.
  Runner enter(Contestant const& contestant) {
    Runner runner{&contestant, {}, {}, {}, {}, {}};
    contestant.step(0);
    lane_.wait();
    if (contestant.error) runner.error = contestant.error();
    if (contest_.way == Way::graph) {
      if (!contestant.capturable) throw unsupported("not in a graph: it allocates or waits");
      runner.graph = std::make_unique<Graph>(lane_.queue().stream(), [&] { steps(contestant); });
      runner.graph->launch(lane_.queue().stream());
      lane_.wait();
    }
    return runner;
  }

  void run(Runner& runner) {
    Contestant const& contestant = *runner.contestant;
    bool const by_events = lane_.cuda() && !contestant.waits;
    lane_.wait();
    if (by_events) events_.start();
    auto const begin = Clock::now();
    if (runner.graph) {
      runner.graph->launch(lane_.queue().stream());
    } else {
      steps(contestant);
    }
    double const host = microseconds(begin);
    if (!by_events) lane_.wait();
    double const total = by_events ? events_.stop() : microseconds(begin);
    runner.us.push_back(total / contest_.steps);
    if (by_events && !runner.graph) runner.host_us.push_back(host / contest_.steps);
  }

 private:
  void steps(Contestant const& contestant) {
    for (int i = 0; i < contest_.steps; ++i) contestant.step(next_++ % contest_.sets);
  }

  Lane const& lane_;
  Contest const& contest_;
  Events events_;
  int next_ = 0;
};

std::string first_line(char const* file, char const* key) {
  std::ifstream lines{file};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key)) return line.substr(line.find(':') + 2);
  }
  return "";
}

#if MIXFUSE_HAS_CUDA
/// "580.65.06", which CUDA does not tell; empty where there is no nvidia-smi.
std::string gpu_driver() {
  char line[64] = {};
  if (std::FILE* const pipe =
          popen("nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null", "r")) {
    if (!std::fgets(line, sizeof line, pipe)) line[0] = '\0';
    pclose(pipe);
  }
  return {line, std::strcspn(line, "\n")};
}
#endif

nlohmann::ordered_json machine_of(Lane const& lane) {
  nlohmann::ordered_json machine;
#if MIXFUSE_HAS_CUDA
  if (lane.cuda()) {
    cudaDeviceProp properties = {};
    check(cudaGetDeviceProperties(&properties, lane.device().id));
    int clock = 0, memory_clock = 0;
    cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, lane.device().id);
    cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, lane.device().id);
    machine = {{"device", "cuda"},
               {"name", properties.name},
               {"multiprocessors", properties.multiProcessorCount},
               {"memory_bytes", properties.totalGlobalMem},
               {"clock_mhz", clock / 1000},
               {"memory_clock_mhz", memory_clock / 1000},
               {"driver", cuda_info().driver},
               {"runtime", cuda_info().runtime}};
    std::string const driver = gpu_driver();
    if (!driver.empty()) machine["gpu_driver"] = driver;
  }
#endif
  if (!lane.cuda()) {
    machine = {{"device", "cpu"}, {"name", first_line("/proc/cpuinfo", "model name")}};
  }
  machine["threads"] = cpu::usable_threads(lane.threads());
  machine["cores"] = sysconf(_SC_NPROCESSORS_ONLN);
  machine["cache_bytes"] = lane.cache();
  double load[1] = {};
  if (getloadavg(load, 1) == 1) machine["load"] = load[0];  // what else the machine was doing
  return machine;
}

std::string now() {
  std::time_t const seconds = std::time(nullptr);
  std::tm fields = {};
  gmtime_r(&seconds, &fields);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &fields);
  return text;
}

nlohmann::ordered_json json_of(Spread const& spread) {
  return {{"p10", spread.p10}, {"median", spread.median}, {"p90", spread.p90}};
}

char const* name_of(Way way) { return way == Way::graph ? "graph" : "call"; }

nlohmann::ordered_json json_of(Contest const& contest) {
  nlohmann::ordered_json json = {
      {"stage", contest.stage},      {"shape", contest.shape},     {"in", contest.in},
      {"out", contest.out},          {"samples", contest.samples}, {"bytes", contest.bytes},
      {"way", name_of(contest.way)}, {"sets", contest.sets},       {"steps", contest.steps},
      {"rounds", contest.rounds}};
  json["results"] = nlohmann::ordered_json::array();
  for (Result const& result : contest.results) {
    nlohmann::ordered_json entry = {
        {"name", result.name}, {"us", json_of(result.us)}, {"ratio", json_of(result.ratio)}};
    if (result.host_us) entry["host_us"] = json_of(*result.host_us);
    if (result.error) entry["error"] = *result.error;
    json["results"].push_back(std::move(entry));
  }
  json["absent"] = nlohmann::ordered_json::array();
  for (auto const& [name, why] : contest.absent) {
    json["absent"].push_back({{"name", name}, {"why", why}});
  }
  return json;
}

/// `body(offset, size)` for one part of `size` bytes a thread.
template <class Body>
void in_parts(Lane const& lane, std::size_t size, Body const& body) {
  auto const threads = static_cast<std::size_t>(cpu::usable_threads(lane.threads()));
  std::size_t const part = (size / threads + 4095) / 4096 * 4096;
  cpu::parallel_for(static_cast<std::int64_t>(threads), lane.threads(), [&](std::int64_t i) {
    std::size_t const begin = std::min(size, static_cast<std::size_t>(i) * part);
    body(begin, std::min(part, size - begin));
  });
}

#if defined(__x86_64__)
[[gnu::target("avx")]] void stream_part(std::byte* to, std::byte const* from, std::size_t size) {
  std::size_t at = std::min(size, (32 - reinterpret_cast<std::uintptr_t>(to) % 32) % 32);
  std::memcpy(to, from, at);
  for (; at + 32 <= size; at += 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + at),
                        _mm256_loadu_si256(reinterpret_cast<__m256i const*>(from + at)));
  }
  std::memcpy(to + at, from + at, size - at);
  _mm_sfence();
}
#endif

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  auto const at = [&](double share) {
    double const place = share * static_cast<double>(values.size() - 1);
    auto const below = static_cast<std::size_t>(place);
    std::size_t const above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.1), at(0.5), at(0.9)};
}

Lane::Lane(Device device, int threads) : device_{device}, threads_{threads} {
  if (!cuda()) return;
  if (cuda_info().devices == 0) throw std::runtime_error(cuda_info().absent);
#if MIXFUSE_HAS_CUDA
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
#endif
}

Lane::~Lane() {
#if MIXFUSE_HAS_CUDA
  if (stream_) cudaStreamDestroy(stream_);
#endif
}

void Lane::wait() const {
#if MIXFUSE_HAS_CUDA
  if (cuda()) check(cudaStreamSynchronize(stream_));
#endif
}

std::size_t Lane::cache() const {
#if MIXFUSE_HAS_CUDA
  if (cuda()) {
    int bytes = 0;
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device_.id));
    return static_cast<std::size_t>(bytes);
  }
#endif
  return static_cast<std::size_t>(cpu::caches().last);
}

std::size_t Lane::room() const {
#if MIXFUSE_HAS_CUDA
  if (cuda()) {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total));
    return free / 2;
  }
#endif
  return static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) *
         static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 2;
}

Memory::Memory(Lane const& lane, std::size_t size, Place place)
    : lane_{&lane}, size_{size}, data_{nullptr, std::free} {
#if MIXFUSE_HAS_CUDA
  if (lane.cuda()) {
    void* memory = nullptr;
    if (place == Place::pinned) {
      check(cudaMallocHost(&memory, size));
      data_ = {memory, [](void* pointer) { cudaFreeHost(pointer); }};
    } else {
      check(cudaMalloc(&memory, std::max<std::size_t>(size, 1)));
      data_ = {memory, [](void* pointer) { cudaFree(pointer); }};
    }
    return;
  }
#endif
  (void)place;
  data_.reset(std::aligned_alloc(4096, size / 4096 * 4096 + 4096));
  if (!data_) throw std::bad_alloc();
  fill_zero(lane, data_.get(), size);  // pages are there before anything is timed
}

void Memory::put(void const* host) const {
  copy(*lane_, data(), host, size_);
  lane_->wait();
}

void Memory::get(void* host) const {
  copy(*lane_, host, data(), size_);
  lane_->wait();
}

void copy(Lane const& lane, void* to, void const* from, std::size_t size) {
#if MIXFUSE_HAS_CUDA
  if (lane.cuda()) {
    return check(cudaMemcpyAsync(to, from, size, cudaMemcpyDefault, lane.queue().stream()));
  }
#endif
  in_parts(lane, size, [&](std::size_t at, std::size_t part) {
    std::memcpy(static_cast<std::byte*>(to) + at, static_cast<std::byte const*>(from) + at, part);
  });
}

bool copy_non_temporal(Lane const& lane, void* to, void const* from, std::size_t size) {
#if defined(__x86_64__)
  if (lane.cuda() || !__builtin_cpu_supports("avx")) return false;
  in_parts(lane, size, [&](std::size_t at, std::size_t part) {
    stream_part(static_cast<std::byte*>(to) + at, static_cast<std::byte const*>(from) + at, part);
  });
  return true;
#else
  (void)lane, (void)to, (void)from, (void)size;
  return false;
#endif
}

void fill_zero(Lane const& lane, void* to, std::size_t size) {
#if MIXFUSE_HAS_CUDA
  if (lane.cuda()) return check(cudaMemsetAsync(to, 0, size, lane.queue().stream()));
#endif
  in_parts(lane, size, [&](std::size_t at, std::size_t part) {
    std::memset(static_cast<std::byte*>(to) + at, 0, part);
  });
}

void fill_random(Lane const& lane, void* to, std::size_t size) {
  static std::vector<std::uint64_t> const words = [] {
    std::vector<std::uint64_t> made(std::size_t{1} << 20);
    std::generate(made.begin(), made.end(), std::mt19937_64{1});
    return made;
  }();
  std::size_t const most = words.size() * sizeof words[0];
  for (std::size_t at = 0; at < size; at += most) {
    copy(lane, static_cast<std::byte*>(to) + at, words.data(), std::min(most, size - at));
  }
  lane.wait();
}

int cold_sets(Lane const& lane, Effort const& effort, std::size_t bytes_of_a_set) {
  std::size_t const bytes = std::max<std::size_t>(bytes_of_a_set, 1);
  std::size_t const wanted = std::max<std::size_t>(4, (4 * lane.cache() + bytes - 1) / bytes);
  std::size_t const most = std::min(wanted, static_cast<std::size_t>(effort.most_sets));
  return static_cast<int>(std::clamp<std::size_t>(lane.room() / bytes, 1, most));
}

void measure(Lane const& lane, Effort const& effort, std::vector<Contestant> const& contestants,
             Contest& contest) {
  // On the CPU a clock is read in no time, but steps of a few microseconds are timed together.
  bool const many = lane.cuda() || contest.bytes < (8 << 20);
  contest.steps = many ? std::max(effort.steps, contest.sets) : 1;
  Race race{lane, contest};
  std::vector<Runner> runners;
  for (Contestant const& contestant : contestants) {
    try {
      runners.push_back(race.enter(contestant));
    } catch (invalid_argument const&) {
      throw;  // a bad call is the bench's own mistake
    } catch (std::exception const& error) {
      contest.absent.emplace_back(contestant.name, error.what());
      continue;
    }
    auto const error = runners.back().error;
    if (error && !(*error <= contestant.tolerance)) {
      contest.wrong = true;
      contest.absent.emplace_back(contestant.name, "WRONG by " + std::to_string(*error));
      runners.pop_back();
    }
  }
  auto const begin = Clock::now();
  for (; contest.rounds < effort.most_rounds; ++contest.rounds) {
    if (contest.rounds >= effort.fewest_rounds && microseconds(begin) > effort.seconds * 1e6) break;
    for (std::size_t i = 0; i < runners.size(); ++i) {
      race.run(runners[(i + static_cast<std::size_t>(contest.rounds)) % runners.size()]);
    }
    for (Runner& runner : runners) runner.ratio.push_back(runner.us.back() / runners[0].us.back());
  }
  for (Runner& runner : runners) {
    Result result{
        runner.contestant->name, spread_of(runner.us), spread_of(runner.ratio), {}, runner.error};
    if (!runner.host_us.empty()) result.host_us = spread_of(runner.host_us);
    contest.results.push_back(std::move(result));
  }
}

Report::Report(Lane const& lane, std::string program, std::string commit, std::string file)
    : program_{std::move(program)},
      commit_{std::move(commit)},
      file_{std::move(file)},
      machine_{machine_of(lane).dump()} {}

void Report::add(Contest contest) {
  std::cout << contest.stage << ' ' << contest.shape << ' ' << contest.in
            << (contest.in == contest.out ? "" : " -> " + contest.out) << ", "
            << name_of(contest.way) << (contest.sets == 1 ? ", warm" : "") << ", " << contest.rounds
            << " rounds\n"
            << std::fixed;
  for (Result const& result : contest.results) {
    std::cout << "  " << std::left << std::setw(36) << result.name << std::right
              << std::setprecision(1) << std::setw(11) << result.us.median << " us  x"
              << std::setprecision(3) << result.ratio.median << "  (" << result.ratio.p10 << " to "
              << result.ratio.p90 << ")\n";
  }
  for (auto const& [name, why] : contest.absent) {
    std::cout << "  " << name << ": absent, " << why << '\n';
  }
  std::cout << std::flush;
  contests_.push_back(std::move(contest));
  if (file_.empty()) return;
  std::ofstream file{file_};
  if (!(file << json()).flush()) throw std::runtime_error(file_ + ": not written");
}

bool Report::wrong() const {
  return std::any_of(contests_.begin(), contests_.end(), [](Contest const& c) { return c.wrong; });
}

std::string Report::json() const {
  nlohmann::ordered_json json = {{"schema", 1},
                                 {"program", program_},
                                 {"version", version()},
                                 {"stream_version", stream_version()},
                                 {"commit", commit_},
                                 {"date", now()},
                                 {"machine", nlohmann::ordered_json::parse(machine_)}};
  json["contests"] = nlohmann::ordered_json::array();
  for (Contest const& contest : contests_) json["contests"].push_back(json_of(contest));
  return json.dump(1) + '\n';
}

}  // namespace mixfuse::bench
