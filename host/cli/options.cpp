// SPDX-License-Identifier: Apache-2.0
#include "host/cli/options.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>

#include "host/cli/fault.hpp"
#include "mixfuse/mix.hpp"

namespace mixfuse::cli {
namespace {

constexpr std::uint64_t index_limit = std::uint64_t{1} << 48;

/// All of `value` as a number in [lo, hi]. CLI11's own conversion saturates beyond 64 bits.
template <class Number>
Number number_of(std::string const& flag, std::string_view value, Number lo, Number hi) {
  Number number{};
  auto const [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || !(number >= lo) ||
      !(number <= hi)) {
    throw bad_call(text(flag, ": '", value, "' is not ",
                        std::is_integral_v<Number> ? "an integer" : "a number", " from ", lo,
                        " to ", hi));
  }
  return number;
}

/// The part of "--mixup,--mixup-alpha" that errors name.
std::string first_of(std::string const& flags) { return flags.substr(0, flags.find(',')); }

template <class Target, class Number>
void add_number(CLI::App& app, std::string const& flags, Target& target, Number lo, Number hi,
                std::string const& help, char const* unit = "N") {
  app.add_option_function<std::string>(
         flags,
         [&target, flag = first_of(flags), lo, hi](std::string const& value) {
           target = number_of<Number>(flag, value, lo, hi);
         },
         help)
      ->type_name(unit);
}

template <class Target>
void add_share(CLI::App& app, std::string const& flags, Target& target, std::string const& help) {
  add_number(app, flags, target, 0.0f, 1.0f, help, "P");
}

template <class Target, class Value>
void add_choice(CLI::App& app, std::string const& flags, Target& target,
                std::vector<std::pair<std::string, Value>> const& values, std::string const& help) {
  std::string names;
  for (auto const& [name, value] : values) names += (names.empty() ? "" : "|") + name;
  app.add_option_function<std::string>(
         flags,
         [&target, flag = first_of(flags), values, names](std::string const& given) {
           for (auto const& [name, value] : values) {
             if (name == given) {
               target = value;
               return;
             }
           }
           if (flag == "--mixup-mode" && given == "half") {
             throw bad_call(
                 "--mixup-mode: half keeps only the first half of the rows, a loader's business; "
                 "pair "
                 "mixes the same and keeps all");
           }
           throw bad_call(text(flag, ": '", given, "' is none of ", names));
         },
         help)
      ->type_name(names);
}

Beta beta_of(std::string const& flag, std::string const& value) {
  auto const comma = value.find(',');
  auto const side = [&](std::string_view part) { return number_of(flag, part, 0.0f, 1e6f); };
  Beta beta;
  beta.a = side(std::string_view{value}.substr(0, comma));
  beta.b = comma == value.npos ? beta.a : side(std::string_view{value}.substr(comma + 1));
  bool const off = beta.a == 0.0f && beta.b == 0.0f;
  if (!off && (beta.a < 1e-6f || beta.b < 1e-6f)) {
    throw bad_call(text(flag, ": '", value, "': alpha is 0 (off) or from 1e-6 to 1e6"));
  }
  return beta;
}

void add_beta(CLI::App& app, std::string const& flags, std::optional<Beta>& target,
              std::string const& help) {
  app.add_option_function<std::string>(
         flags,
         [&target, flag = first_of(flags)](std::string const& value) {
           target = beta_of(flag, value);
         },
         help)
      ->type_name("A[,B]");
}

template <class Target>
void add_dtype(CLI::App& app, std::string const& flag, Target& target, std::string const& help) {
  add_choice<Target, DType>(app, flag, target,
                            {{"u8", DType::u8},
                             {"f16", DType::f16},
                             {"bf16", DType::bf16},
                             {"f32", DType::f32},
                             {"f64", DType::f64}},
                            help);
}

template <class AnyOptions>
void add_device_flags(CLI::App& app, AnyOptions& o) {
  add_choice<DeviceChoice, DeviceChoice>(
      app, "--device", o.device,
      {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}},
      "Where the work runs (auto: CUDA if it is there)");
  add_number(app, "--threads", o.threads, 0, 4096, "CPU threads (0: as many as OpenMP takes)");
}

void add_layout(CLI::App& app, std::string const& flag, std::optional<Layout>& target,
                std::string const& help) {
  std::vector<std::pair<std::string, Layout>> values;
  for (Layout layout :
       {Layout::nf, Layout::nct, Layout::nchw, Layout::nhwc, Layout::ntchw, Layout::ncdhw}) {
    values.emplace_back(name_of(layout), layout);
  }
  add_choice(app, flag, target, values, help);
}

/// One number for all channels or one for each: "r,g,b".
void add_channels(CLI::App& app, std::string const& flag, std::vector<double>& target, double least,
                  double most, std::string const& help) {
  app.add_option_function<std::string>(
         flag,
         [&target, flag, least, most](std::string const& value) {
           std::string_view rest = value;
           for (bool more = true; more;) {
             auto const comma = rest.find(',');
             more = comma != rest.npos;
             target.push_back(number_of(flag, rest.substr(0, comma), least, most));
             if (more) rest.remove_prefix(comma + 1);
           }
           if (target.size() > max_channels) {
             throw bad_call(text(flag, ": ", target.size(), " values are more than ", max_channels,
                                 " channels"));
           }
         },
         help)
      ->type_name("R,G,B");
}

/// The flags of a preset; `paper` without one, since its are the defaults.
struct Drawn {
  Pairing pairing = Pairing::permutation;
  Granularity mode = Granularity::batch;
  Boxes::Kind box = Boxes::Kind::paper;
};

Drawn drawn_of(Options const& options) {
  Drawn drawn;
  switch (options.preset.value_or(Preset::paper)) {
    case Preset::paper:
      break;
    case Preset::timm:
      drawn.pairing = Pairing::reverse;
      break;
    case Preset::torchvision:
      drawn.pairing = Pairing::roll;
      break;
    case Preset::keras:
      drawn.mode = Granularity::sample;
      drawn.box = Boxes::Kind::inside;
      break;
  }
  drawn.pairing = options.pairing.value_or(drawn.pairing);
  drawn.mode = options.mode.value_or(drawn.mode);
  drawn.box = options.box.value_or(drawn.box);
  return drawn;
}

bool is_on(std::optional<Beta> const& beta) { return beta && beta->a > 0.0f; }

/// A flag that a stored plan leaves nothing to do for.
char const* drawing_flag(Options const& options) {
  if (options.mixup) return "--mixup";
  if (options.cutmix) return "--cutmix";
  if (options.minmax) return "--cutmix-minmax";
  if (options.box) return "--box";
  if (options.fold) return "--fold";
  if (options.probability) return "--mixup-prob";
  if (options.switch_probability) return "--mixup-switch-prob";
  if (options.mode) return "--mixup-mode";
  if (options.pairing) return "--pairing";
  if (options.group) return "--group";
  if (options.flip) return "--hflip";
  if (options.preset) return "--preset";
  if (options.seed) return "--seed";
  if (options.step) return "--step";
  if (options.first) return "--first";
  if (options.copies) return "--copies";
  return nullptr;
}

void refuse(bool wrong, std::string const& why) {
  if (wrong) throw bad_call(why);
}

}  // namespace

void add_input_flags(CLI::App& app, Options& options) {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  constexpr auto words = std::numeric_limits<std::uint64_t>::max();
  Options& o = options;

  app.add_option("--images", o.images, "Images: .npy, or a folder of PNG and JPEG files")
      ->required()
      ->type_name("IN.npy|DIR");
  app.add_option("--labels", o.labels,
                 "Labels: ids or rows in .npy, or for a folder a CSV of file,class")
      ->type_name("Y.npy|CSV");
  add_number(app, "--num-classes", o.classes, std::int64_t{1}, most, "Classes; needed for ids",
             "K");
  add_layout(app, "--layout", o.layout,
             "Axes of the images; by their number: nf, nct, nchw, ncdhw");
  app.add_option("--partners", o.partners, "Partners come from this second batch")
      ->type_name("IN2.npy");
  app.add_option("--partner-labels", o.partner_labels, "Its labels")->type_name("Y2.npy");

  add_beta(app, "--mixup,--mixup-alpha", o.mixup, "Beta of Mixup's lambda; 0: off");
  add_beta(app, "--cutmix,--cutmix-alpha", o.cutmix, "Beta of CutMix's lambda; 0: off");
  app.add_option_function<std::vector<std::string>>(
         "--cutmix-minmax",
         [&o](std::vector<std::string> const& values) {
           double const lo = number_of("--cutmix-minmax", values.at(0), 0.0, 1.0);
           double const hi = number_of("--cutmix-minmax", values.at(1), 0.0, 1.0);
           refuse(lo > hi, text("--cutmix-minmax: ", lo, " is above ", hi));
           o.minmax = {lo, hi};
         },
         "Sides of the box, as shares of the image; turns CutMix on")
      ->expected(2)
      ->type_name("LO HI");
  add_choice<std::optional<Boxes::Kind>, Boxes::Kind>(app, "--box", o.box,
                                                      {{"paper", Boxes::Kind::paper},
                                                       {"inside", Boxes::Kind::inside},
                                                       {"uniform", Boxes::Kind::uniform}},
                                                      "Where the box lies (paper)");
  add_choice<std::optional<Fold>, Fold>(
      app, "--fold", o.fold, {{"none", Fold::none}, {"own", Fold::own}, {"partner", Fold::partner}},
      "Who gets the larger share (none: as drawn)");
  add_share(app, "--mixup-prob", o.probability, "Share that is mixed at all (1)");
  add_share(app, "--mixup-switch-prob", o.switch_probability,
            "Share of CutMix where both are on (0.5)");
  add_choice<std::optional<Granularity>, Granularity>(
      app, "--mixup-mode", o.mode,
      {{"batch", Granularity::batch}, {"pair", Granularity::pair}, {"elem", Granularity::sample}},
      "What lambda is drawn once for (batch)");
  add_choice<std::optional<Pairing>, Pairing>(app, "--pairing", o.pairing,
                                              {{"permutation", Pairing::permutation},
                                               {"cycle", Pairing::cycle},
                                               {"pairs", Pairing::pairs},
                                               {"reverse", Pairing::reverse},
                                               {"roll", Pairing::roll},
                                               {"replacement", Pairing::replacement}},
                                              "Who is mixed with whom (permutation)");
  add_number(app, "--group,--batch-size", o.group, std::int64_t{1}, most,
             "Mix in groups of so many samples (all at once)", "G");
  add_share(app, "--hflip", o.flip, "Share of samples that are mirrored (0)");
  add_choice<std::optional<Preset>, Preset>(app, "--preset", o.preset,
                                            {{"paper", Preset::paper},
                                             {"timm", Preset::timm},
                                             {"torchvision", Preset::torchvision},
                                             {"keras", Preset::keras}},
                                            "Pairing, mode and box of another library");
  add_number(app, "--seed", o.seed, std::uint64_t{0}, words, "Seed of the draws (0)");
  add_number(app, "--step", o.step, std::uint64_t{0}, index_limit - 1, "Step of the draws (0)");
  add_number(app, "--first", o.first, std::uint64_t{0}, index_limit - 1,
             "Global index of the first sample (0)");
  app.add_option("--plan-in", o.plan_in, "Mix by this plan and draw nothing")->type_name("P.json");

  add_device_flags(app, o);

  add_number(app, "--max-side", o.limits.side, std::int64_t{1}, most,
             "Limit: side of an image file");
  add_number(app, "--max-pixels", o.limits.pixels, std::int64_t{1}, most,
             "Limit: pixels of an image file");
  add_number(app, "--max-channels", o.limits.channels, std::int64_t{1}, std::int64_t{4},
             "Limit: channels of an image file");
  add_number(app, "--max-file", o.limits.file, std::int64_t{1}, most,
             "Limit: bytes of an image file or CSV");
  add_number(app, "--max-bytes", o.limits.bytes, std::int64_t{1}, most,
             "Limit: bytes of all inputs, decoded");
  add_number(app, "--max-rows", o.limits.rows, std::int64_t{1}, most, "Limit: rows of labels");
}

void add_mix_flags(CLI::App& app, Options& options) {
  Options& o = options;
  add_share(app, "--smoothing,--label-smoothing", o.smoothing,
            "Label smoothing, before the mix (0)");
  add_number(app, "--ignore-index", o.ignored, std::numeric_limits<std::int64_t>::min(),
             std::numeric_limits<std::int64_t>::max(), "Class id whose share is left out", "ID");
  app.add_option("--out", o.out, "The mixed images")->type_name("OUT.npy");
  add_dtype(app, "--out-dtype", o.out_dtype,
            "Their dtype (the input's; f32 for u8 with --mean or --std)");
  add_layout(app, "--out-layout", o.out_layout,
             "Their axes (the input's); nchw and nhwc become each other");
  constexpr double largest = 1e12;  // so that mean / std is a float
  add_channels(app, "--mean", o.mean, -largest, largest,
               "Subtract it from each channel, u8 taken as 0 to 1 (0)");
  add_channels(app, "--std", o.deviation, 1 / largest, largest,
               "Divide each channel by it then (1)");
  app.add_option("--targets", o.targets, "The mixed labels")->type_name("T.npy");
  add_choice<std::optional<TargetKind>, TargetKind>(
      app, "--target", o.target, {{"dense", TargetKind::dense}, {"sparse", TargetKind::sparse}},
      "Rows of K, or both ids and lambda (dense)");
  app.add_option("--plan-out", o.plan_out, "The plan")->type_name("P.json");
  add_number(app, "--copies", o.copies, std::int64_t{1}, std::numeric_limits<std::int64_t>::max(),
             "Write N times as many samples; copy c is drawn at step + c");
  app.add_flag("--keep-originals", o.keep_originals, "The first copy is unmixed");
}

void add_sheet_flags(CLI::App& app, Options& options) {
  app.add_option("--out", options.out, "The picture")->required()->type_name("SHEET.png");
  add_number(app, "--count", options.count, std::int64_t{1}, std::int64_t{100},
             "Samples on it (8)");
}

void add_bench_flags(CLI::App& app, BenchOptions& o) {
  app.add_option("--shape", o.shapes, "A batch like 256x3x224x224 or 512x9x1000; may be repeated")
      ->type_name("BxCxHxW|BxCxT");
  add_dtype(app, "--dtype", o.dtype, "Its dtype (f32)");
  add_dtype(app, "--out-dtype", o.out_dtype,
            "Another one than u8: flips and normalises on the way (the input's)");
  add_device_flags(app, o);
  add_number(app, "--seconds", o.seconds, 0.0, 3600.0, "Time for each contest (5)", "S");
  app.add_option("--json", o.json, "The figures")->type_name("R.json");
}

void check_flags(Options const& o) {
  if (!o.plan_in.empty()) {
    if (char const* flag = drawing_flag(o)) {
      throw bad_call(text(flag, ": draws, but --plan-in brings what was drawn"));
    }
  } else {
    refuse(!o.mixup && !o.cutmix && !o.minmax,
           "--mixup, --cutmix or --cutmix-minmax is needed, or a plan by --plan-in");
    Drawn const drawn = drawn_of(o);
    refuse(drawn.mode == Granularity::pair && drawn.pairing != Pairing::reverse &&
               drawn.pairing != Pairing::pairs,
           "--mixup-mode: pair needs --pairing reverse or pairs");
    refuse(o.copies && static_cast<std::uint64_t>(*o.copies) > index_limit - o.step.value_or(0),
           "--copies: the last one's step is beyond 2^48 - 1 (--step)");
  }
  refuse(o.partners.empty() && !o.partner_labels.empty(), "--partner-labels: needs --partners");
  bool const sparse = o.target == TargetKind::sparse;
  refuse(o.targets.empty() && o.target.has_value(), "--target: needs --targets");
  refuse(o.targets.empty() && o.smoothing.has_value(), "--smoothing: needs --targets");
  refuse(o.targets.empty() && o.ignored.has_value(), "--ignore-index: needs --targets");
  refuse(!o.targets.empty() && !o.partners.empty() && o.partner_labels.empty(),
         "--targets: with --partners it needs --partner-labels too");
  refuse(sparse && o.smoothing.value_or(0.0f) > 0.0f,
         "--smoothing: only dense targets are smoothed, not --target sparse");
  refuse(o.out.empty() && o.out_dtype.has_value(), "--out-dtype: needs --out");
  refuse(o.out.empty() && o.out_layout.has_value(), "--out-layout: needs --out");
  refuse(o.out.empty() && !o.mean.empty(), "--mean: needs --out");
  refuse(o.out.empty() && !o.deviation.empty(), "--std: needs --out");
  refuse(o.mean.size() > 1 && o.deviation.size() > 1 && o.mean.size() != o.deviation.size(),
         text("--std: ", o.deviation.size(), " values, --mean has ", o.mean.size()));
  refuse(o.out_dtype == DType::u8 && !(o.mean.empty() && o.deviation.empty()),
         "--out-dtype: u8 does not hold what --mean and --std give, a float dtype does");
  refuse(o.out.empty() && o.targets.empty() && o.plan_out.empty(),
         "--out, --targets or --plan-out is needed");
  refuse(o.copies && !o.plan_out.empty(), "--plan-out: there is one plan for each of --copies");
  refuse(o.keep_originals && !o.copies, "--keep-originals: needs --copies");
}

Spec spec_of(Options const& o) {
  Drawn const drawn = drawn_of(o);
  Fold const fold = o.fold.value_or(Fold::none);
  Boxes boxes;
  boxes.kind = drawn.box;
  if (o.minmax) boxes = {Boxes::Kind::min_max, o.minmax->first, o.minmax->second};

  bool const mixup = is_on(o.mixup);
  // Min-max boxes have no use for lambda, so they overrule alpha, as in timm.
  bool const cutmix = is_on(o.cutmix) || o.minmax;
  float const share = !cutmix ? 0.0f : !mixup ? 1.0f : o.switch_probability.value_or(0.5f);

  Spec spec;
  if (mixup) spec.policies.push_back({Mixup{*o.mixup, fold}, 1.0f - share});
  if (cutmix) {
    spec.policies.push_back({CutMix{o.minmax ? Beta{} : *o.cutmix, fold, boxes}, share});
  }
  spec.probability = o.probability.value_or(1.0f);
  spec.pairing = drawn.pairing;
  spec.granularity = drawn.mode;
  spec.group = o.group.value_or(0);
  spec.flip = o.flip.value_or(0.0f);
  return spec;
}

Draw draw_of(Options const& o) {
  return {o.seed.value_or(0), o.step.value_or(0), o.first.value_or(0)};
}

}  // namespace mixfuse::cli
