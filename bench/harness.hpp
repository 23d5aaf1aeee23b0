// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mixfuse/tensor.hpp"

/// What all benchmarks here share, `mixfuse bench` too. Not Google Benchmark, which times one
/// benchmark after the other: every figure here is a ratio within one round, contestants in turns.
namespace mixfuse::bench {

struct Spread {
  double p10 = 0.0, median = 0.0, p90 = 0.0;
};

[[nodiscard]] Spread spread_of(std::vector<double> values);

/// Where the work runs: the CPU, or the current CUDA device with a stream of its own.
class Lane {
 public:
  /// Throws std::runtime_error when CUDA is asked for and is not there.
  Lane(Device device, int threads);
  ~Lane();
  Lane(Lane const&) = delete;
  Lane& operator=(Lane const&) = delete;

  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] bool cuda() const { return device_.kind == Device::Kind::cuda; }
  [[nodiscard]] int threads() const { return threads_; }
  [[nodiscard]] Queue queue() const { return cuda() ? Queue::cuda(stream_) : Queue::cpu(threads_); }
  void wait() const;
  [[nodiscard]] std::size_t cache() const;  ///< bytes of the last level: L2 of a GPU, L3 of a CPU
  [[nodiscard]] std::size_t room() const;   ///< bytes that buffers may take

 private:
  Device device_;
  int threads_;
  CUstream_st* stream_ = nullptr;
};

enum class Place : std::uint8_t { lane, pinned };

/// Memory of a lane, or of the host and pinned where the lane is CUDA's.
class Memory {
 public:
  Memory(Lane const& lane, std::size_t size, Place place = Place::lane);
  [[nodiscard]] void* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Both wait.
  void put(void const* host) const;
  void get(void* host) const;

 private:
  Lane const* lane_;
  std::size_t size_;
  std::unique_ptr<void, void (*)(void*)> data_;
};

/// Copies within a lane; the CPU's is memcpy by all its threads.
void copy(Lane const& lane, void* to, void const* from, std::size_t size);
/// With stores that pass the cache by; false where the processor has none.
bool copy_non_temporal(Lane const& lane, void* to, void const* from, std::size_t size);
void fill_zero(Lane const& lane, void* to, std::size_t size);
/// Processors may be faster on zeros, and nothing that was never written is to be read.
void fill_random(Lane const& lane, void* to, std::size_t size);

/// How much is measured.
struct Effort {
  int most_rounds = 51;
  int fewest_rounds = 7;
  double seconds = 10.0;  ///< of a contest, unless the fewest rounds take longer
  int steps = 20;         ///< at least so many in a graph or between two events
  int most_sets = 256;    ///< of buffers
};

/// How often buffers must be repeated to be cold at each use: at least 4 times, together at least
/// four times the cache, as far as `most_sets` and memory allow.
[[nodiscard]] int cold_sets(Lane const& lane, Effort const& effort, std::size_t bytes_of_a_set);

enum class Way : std::uint8_t {
  call,   ///< plain calls, queued one after the other
  graph,  ///< the same captured in a CUDA graph, which is replayed
};

struct Contestant {
  std::string name;
  std::function<void(int set)> step;  ///< queues one step on a set of buffers
  /// Largest error against float64, which must not exceed `tolerance`; absent where nothing can be
  /// wrong. Called once, before anything is timed.
  std::function<double()> error = {};
  double tolerance = 0.0;
  bool capturable = true;
  bool waits = false;  ///< part of it runs elsewhere: timed by the host's clock, after a wait
};

struct Result {
  std::string name;
  Spread us;     ///< a step
  Spread ratio;  ///< to the first contestant in the same round
  std::optional<Spread> host_us;
  std::optional<double> error;
};

/// One line of a table: contestants that do the same work, of which the first is the ceiling.
struct Contest {
  std::string stage;  ///< copy, plan, mix, label or step
  std::string shape, in, out;
  std::int64_t samples = 0;
  std::int64_t bytes = 0;  ///< the fewest that must move: each input read, each output written once
  Way way = Way::call;
  int sets = 1;  ///< of buffers; 1: warm
  int steps = 0, rounds = 0;
  std::vector<Result> results = {};
  std::vector<std::pair<std::string, std::string>> absent = {};  ///< who, and why
  bool wrong = false;  ///< some are absent because their results are wrong
};

/// Lets the contestants run in turns. One that is unsupported, cannot start, or whose result is
/// wrong, becomes absent.
void measure(Lane const& lane, Effort const& effort, std::vector<Contestant> const& contestants,
             Contest& contest);

/// The contests of a run, and what they ran on. bench/README.md describes the JSON.
class Report {
 public:
  Report(Lane const& lane, std::string program, std::string commit = "", std::string file = "");
  /// Prints the contest as well, and writes the file anew, so that a run that is stopped leaves
  /// what it measured.
  void add(Contest contest);
  [[nodiscard]] bool empty() const { return contests_.empty(); }
  [[nodiscard]] bool wrong() const;  ///< some contestant's result was
  [[nodiscard]] std::string json() const;

 private:
  std::string program_, commit_, file_;
  std::string machine_;  ///< JSON, made before anything is measured, which is load itself
  std::vector<Contest> contests_;
};

}  // namespace mixfuse::bench
