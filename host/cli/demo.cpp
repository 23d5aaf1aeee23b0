// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>
#include <tuple>

#include "host/cli/commands.hpp"
#include "host/cli/dataset.hpp"
#include "host/cli/engine.hpp"
#include "host/cli/fault.hpp"
#include "host/cli/images.hpp"
#include "host/cli/mixer.hpp"
#include "host/cli/plan_json.hpp"
#include "host/cli/sheet.hpp"
#include "mixfuse/mixfuse.hpp"

namespace mixfuse::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch = 64;
constexpr float mixup_alpha = 0.4f, cutmix_alpha = 1.0f;

/// A batch of a folder's images as f32 RGB from 0 to 1, on white, evenly taken from all of them.
/// Its classes are the folders, or without folders the files, which is the country of a flag.
Dataset read_batch(std::string const& path) {
  Limits limits;
  Budget budget{limits};
  Folder const folder = read_folder(path, Labelling::by_folder, budget, [](auto, auto) {});
  std::vector<std::size_t> chosen;  // flags that start with _ are of no country
  for (std::size_t i = 0; i < folder.files.size(); ++i) {
    if (!folder.files[i].starts_with('_')) chosen.push_back(i);
  }
  Dataset data;
  data.class_names = folder.classes;
  bool const by_file = data.class_names.empty();
  if (by_file) {
    for (std::size_t i : chosen) data.class_names.push_back(fs::path{folder.files[i]}.stem());
  }
  std::size_t const samples = std::min(batch, chosen.size());
  auto const& shape = folder.images.shape;
  auto const pixels = static_cast<std::size_t>(shape[1] * shape[2]);
  auto const channels = static_cast<std::size_t>(shape[3]);
  auto const count = static_cast<std::int64_t>(samples);
  data.layout = Layout::nhwc;
  data.images = {DType::f32, {count, shape[1], shape[2], 3}, Bytes(samples * pixels * 3 * 4)};
  Labels& labels = data.labels.emplace();
  labels.values = {DType::i64, {count}, Bytes(samples * 8)};
  labels.file = path;
  data.classes = static_cast<std::int64_t>(data.class_names.size());
  auto* out = reinterpret_cast<float*>(data.images.bytes.data.get());
  for (std::size_t i = 0; i < samples; ++i) {
    std::size_t const from = i * chosen.size() / samples;
    std::int64_t const label =
        by_file ? static_cast<std::int64_t>(from) : folder.labels[chosen[from]];
    std::memcpy(labels.values.bytes.data.get() + i * 8, &label, 8);
    std::byte const* pixel = folder.images.bytes.data.get() + chosen[from] * pixels * channels;
    for (std::size_t p = 0; p < pixels; ++p, pixel += channels) {
      auto const unit = [pixel](std::size_t c) {
        return static_cast<float>(std::to_integer<int>(pixel[c])) / 255.0f;
      };
      float const opacity = channels == 4 ? unit(3) : 1.0f;
      for (std::size_t c = 0; c < 3; ++c) {
        float const shade = unit(channels == 1 ? 0 : c);
        *out++ = std::min(1.0f, shade * opacity + (1.0f - opacity));
      }
    }
  }
  data.extents = {count, 2, {shape[1], shape[2]}, true};
  return data;
}

void write_file(std::string const& path, std::initializer_list<std::span<std::byte const>> parts) {
  std::vector<std::unique_ptr<OutputFile>> files;
  files.push_back(std::make_unique<OutputFile>(path, "OUTDIR"));
  for (auto const part : parts) files[0]->write(part);
  commit(files);
}

void write_file(std::string const& path, std::string const& contents) {
  write_file(path, {std::as_bytes(std::span{contents})});
}

Spec spec_of(std::variant<Mixup, CutMix> const& policy) {
  Spec spec;
  spec.policies = {{policy, 1.0f}};
  return spec;
}

/// Mixes the batch by one policy, writes what came out and adds four examples to the sheet.
void mix_by(std::string const& name, Spec const& spec, Engine const& engine, Dataset const& data,
            Sheet& sheet) {
  Products products;
  products.dtype = DType::f32;
  products.targets = TargetKind::dense;
  Mixer mixer{engine, data, products};
  mixer.draw(spec, {});
  mixer.mix();
  mixer.fetch();
  auto const rows = mixer.rows();

  auto const header = [](std::vector<std::int64_t> const& shape) {
    return npy_header("'<f4'", shape);
  };
  std::string const images = header(data.images.shape);
  std::string const targets = header({data.extents.samples, data.classes});
  write_file(name + "_images.npy", {std::as_bytes(std::span{images}), mixer.images()});
  write_file(name + "_targets.npy", {std::as_bytes(std::span{targets}), mixer.targets()});
  write_file(name + "_plan.json", plan_text({stream_version(), {}, rows}, data.extents));

  std::size_t shown = 0;
  for (std::size_t i = 0; i < rows.size() && shown < 4; ++i) {
    if (rows[i].label < 0.1f || rows[i].label > 0.9f) continue;  // hardly seen to be mixed
    sheet.add(example_of(data, mixer.images(), rows, i), name);
    ++shown;
  }
}

using Clock = std::chrono::steady_clock;

double median_ms(std::function<void()> const& work) {
  constexpr int runs = 15;
  std::vector<double> times;
  for (int run = 0; run <= runs; ++run) {
    auto const start = Clock::now();
    work();
    if (run > 0) {
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  }
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[runs / 2];
}

/// lambda x + (1 - lambda) x[partner] as a user would write it: four passes over memory.
class PlainFormula {
 public:
  PlainFormula(Dataset const& data, std::vector<Row> const& rows, unsigned threads)
      : rows_{rows},
        threads_{threads},
        each_{data.images.bytes.size / 4 / rows.size()},
        own_{reinterpret_cast<float const*>(data.images.bytes.data.get())},
        partner_(rows.size() * each_),
        scaled_(partner_.size()),
        out_(partner_.size()) {}

  void run() {
    pass([this](std::size_t i) {
      std::copy_n(own_ + static_cast<std::size_t>(rows_[i].partner) * each_, each_,
                  at(partner_, i));
    });
    pass([this](std::size_t i) {
      float const weight = rows_[i].outside;
      std::transform(own_ + i * each_, own_ + (i + 1) * each_, at(scaled_, i),
                     [weight](float x) { return weight * x; });
    });
    pass([this](std::size_t i) {
      float const weight = 1.0f - rows_[i].outside;
      std::transform(at(partner_, i), at(partner_, i) + each_, at(partner_, i),
                     [weight](float x) { return weight * x; });
    });
    pass([this](std::size_t i) {
      std::transform(at(scaled_, i), at(scaled_, i) + each_, at(partner_, i), at(out_, i),
                     std::plus<float>{});
    });
  }

  [[nodiscard]] std::vector<float> const& out() const { return out_; }

 private:
  [[nodiscard]] float* at(std::vector<float>& values, std::size_t i) const {
    return values.data() + i * each_;
  }
  void pass(std::function<void(std::size_t)> const& sample) {
    std::vector<std::thread> workers;
    auto const share = [&](unsigned thread) {
      for (std::size_t i = thread; i < rows_.size(); i += threads_) sample(i);
    };
    for (unsigned thread = 1; thread < threads_; ++thread) workers.emplace_back(share, thread);
    share(0);
    for (auto& worker : workers) worker.join();
  }

  std::vector<Row> const& rows_;
  unsigned threads_;
  std::size_t each_;
  float const* own_;
  std::vector<float> partner_, scaled_, out_;
};

void require_equal(std::span<std::byte const> mixed, std::vector<float> const& plain) {
  constexpr float tolerance = 2.4e-7f;  // 2 ulp of the largest pixel
  for (std::size_t i = 0; i < plain.size(); ++i) {
    float value;
    std::memcpy(&value, mixed.data() + i * 4, 4);
    if (!(std::fabs(value - plain[i]) <= tolerance)) {
      throw failed_run(text("element ", i, " is ", value, ", by the plain formula ", plain[i]));
    }
  }
}

void compare_speed(Dataset const& data, bool on_gpu) {
  Products products;
  products.dtype = DType::f32;
  products.targets = TargetKind::dense;
  Spec const spec = spec_of(Mixup{{mixup_alpha, mixup_alpha}});
  double const bytes =
      2.0 * static_cast<double>(data.images.bytes.size);  // read once, written once
  auto const step_ms = [&](Engine const& engine) {
    Mixer mixer{engine, data, products};
    std::uint64_t step = 0;
    return median_ms([&] {
      mixer.draw(spec, {0, step++, 0});
      mixer.mix();
      engine.wait();
    });
  };
  auto const line = [&](std::string const& what, double ms, std::string const& more) {
    std::printf("  %-34s %8.2f ms  %7.1f GB/s%s\n", what.c_str(), ms, bytes / ms / 1e6,
                more.c_str());
  };
  std::printf(
      "\nA step (plan, images, targets), median of 15, GB/s of each image read and written "
      "once:\n");
  if (on_gpu) {
    Engine const gpu{DeviceChoice::cuda, 0};
    line(gpu.name(), step_ms(gpu), "");
  }
  std::vector<unsigned> counts = {1};
  if (std::thread::hardware_concurrency() > 1)
    counts.push_back(std::thread::hardware_concurrency());
  for (unsigned threads : counts) {
    Engine const cpu{DeviceChoice::cpu, static_cast<int>(threads)};
    Mixer mixer{cpu, data, products};
    mixer.draw(spec, {});
    mixer.mix();
    mixer.fetch();
    auto const rows = mixer.rows();
    PlainFormula plain{data, rows, threads};
    plain.run();
    require_equal(mixer.images(), plain.out());
    double const ours = step_ms(cpu), theirs = median_ms([&] { plain.run(); });
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "  %.2fx the speed", theirs / ours);
    line(text("mixfuse, ", cpu.name()), ours, ratio);
    line(text("plain formula, ", cpu.name()), theirs, "");
  }
  std::printf(
      "The plain formula gathers the partners, scales both sides and adds: four passes, and "
      "no targets. Its pixels were found equal within 2 ulp\nbefore anything was timed.\n");
}

/// Share of Beta(a, a) below x <= 1/2. With u = t^a the pole at 0 is gone, so Simpson's rule holds.
double beta_below(double a, double x) {
  constexpr int steps = 2000;
  double const end = std::pow(x, a), width = end / steps;
  auto const integrand = [a](double u) { return std::pow(1.0 - std::pow(u, 1.0 / a), a - 1.0); };
  double sum = integrand(0.0) + integrand(end);
  for (int i = 1; i < steps; ++i) sum += (i % 2 ? 4.0 : 2.0) * integrand(i * width);
  return sum * width / 3.0 / a / std::beta(a, a);
}

void plot_lambdas(Engine const& engine) {
  constexpr std::size_t draws = 1 << 18, bins = 50;
  constexpr double a = static_cast<double>(mixup_alpha);
  Plan plan{draws, engine.device(), engine.queue()};
  plan_into(plan, spec_of(Mixup{{mixup_alpha, mixup_alpha}}), {draws, 1, {1}, false}, {},
            engine.queue());
  std::vector<double> share(bins);
  for (Row const& row : read_rows(plan, engine.queue())) {
    auto const bin = static_cast<std::size_t>(row.label * static_cast<float>(bins));
    share[std::min(bin, bins - 1)] += 1.0 / draws;
  }
  // The density has poles at both ends, so each bin is compared with its exact share.
  auto const below = [](double x) {
    return x <= 0.5 ? beta_below(a, x) : 1 - beta_below(a, 1 - x);
  };
  std::string script = text(
      "set terminal pngcairo size 1000,600 font 'DejaVu Sans,12'\nset output '.lambda.png'\n"
      "set title 'Lambda of ",
      draws, " samples, alpha = ", mixup_alpha,
      "'\n"
      "set xlabel 'lambda'\nset ylabel 'density (mean of each bin)'\nset xrange [0:1]\n"
      "set yrange [0:*]\nset key top center\nset grid ytics lc rgb '#dddddd'\nset border 3\n"
      "set tics nomirror\nset style fill solid 1.0 noborder\n$bins << END\n");
  for (std::size_t bin = 0; bin < bins; ++bin) {
    double const lo = static_cast<double>(bin) / bins, hi = static_cast<double>(bin + 1) / bins;
    script +=
        text((lo + hi) / 2, " ", share[bin] * bins, " ", (below(hi) - below(lo)) * bins, "\n");
  }
  script += text(
      "END\nplot $bins using 1:2 with boxes lc rgb '#92c5de' title 'drawn by mixfuse', "
      "$bins using 1:3 with points pt 7 ps 0.8 lc rgb '#b2182b' title 'Beta(",
      mixup_alpha, ", ", mixup_alpha, "), exact'\n");
  std::signal(SIGPIPE, SIG_IGN);  // without gnuplot, pclose says so
  std::FILE* const gnuplot = ::popen("gnuplot >/dev/null 2>&1", "w");
  if (gnuplot == nullptr) throw failed_run("gnuplot cannot be started");
  std::fputs(script.c_str(), gnuplot);
  if (::pclose(gnuplot) != 0) throw failed_run("lambda.png: gnuplot failed (package gnuplot-nox)");
  fs::rename(".lambda.png", "lambda.png");
}

void run_demo(int count, char** arguments) {
  CLI::App app{"Mixes a batch of real images by mixup and by cutmix", "mixfuse-demo"};
  std::string folder, source = "/usr/share/iso-flags-png-320x240";
  app.add_option("OUTDIR", folder, "Where pictures and arrays go")->required();
  app.add_option("--data", source, "Images of one size (" + source + ")")->type_name("DIR");
  try {
    app.parse(count, arguments);
  } catch (CLI::CallForHelp const&) {
    std::cout << app.help();
    return;
  }
  if (!fs::is_directory(source)) {
    throw failed_run(text(source,
                          ": there is no such folder; install iso-flags-png-320x240, or "
                          "name images by --data"));
  }
  source = fs::absolute(source);
  fs::create_directories(folder);
  fs::current_path(folder);

  Dataset const data = read_batch(source);
  Engine const engine{DeviceChoice::automatic, 0};
  bool const on_gpu = engine.device().kind == Device::Kind::cuda;
  auto const& shape = data.images.shape;
  std::printf("%lld images of %lldx%lld from %s, %lld classes\nmixed on %s%s%s\n",
              static_cast<long long>(shape[0]), static_cast<long long>(shape[2]),
              static_cast<long long>(shape[1]), source.c_str(),
              static_cast<long long>(data.classes), engine.name().c_str(),
              on_gpu ? "" : ", since CUDA is not there: ", cuda_info().absent.c_str());

  Sheet sheet{shape[2], shape[1], 8,
              text("Above mixup, alpha ", mixup_alpha, "; below cutmix, alpha ", cutmix_alpha,
                   "; \u03bb is the share of the own label")};
  mix_by("mixup", spec_of(Mixup{{mixup_alpha, mixup_alpha}}), engine, data, sheet);
  mix_by("cutmix", spec_of(CutMix{{cutmix_alpha, cutmix_alpha}}), engine, data, sheet);
  write_file("sheet.png", sheet.png());
  plot_lambdas(engine);
  std::printf(
      "\nIn %s:\n"
      "  sheet.png           own, partner, mixed, lambda and both labels\n"
      "  lambda.png          drawn lambdas against the Beta density\n"
      "  mixup_images.npy    mixup_targets.npy    mixup_plan.json\n"
      "  cutmix_images.npy   cutmix_targets.npy   cutmix_plan.json\n",
      folder.c_str());
  compare_speed(data, on_gpu);
  std::printf(
      "\nThe data set does not grow: each step draws new mixtures of the batch it is given, "
      "so N epochs see\nN times as many different samples. Who wants a larger set writes one "
      "with `mixfuse mix --copies N`.\n");
}

}  // namespace
}  // namespace mixfuse::cli

int main(int count, char** arguments) {
  return mixfuse::cli::report_errors("mixfuse-demo", mixfuse::cli::run_demo, count, arguments);
}
