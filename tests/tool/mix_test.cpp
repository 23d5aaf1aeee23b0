// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string_view>

#include "mixfuse/mixfuse.hpp"
#include "tests/tool/picture.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;

std::vector<Row> drawn(Spec const& spec, Draw draw = {}, Extents const& batch = batch_extents()) {
  Plan plan{batch.samples, Device::cpu(), Queue::cpu(1)};
  plan_into(plan, spec, batch, draw, Queue::cpu(1));
  return read_rows(plan, Queue::cpu(1));
}

Spec one(std::variant<Mixup, CutMix> const& policy) {
  Spec spec;
  spec.policies = {{policy, 1.0f}};
  spec.granularity = Granularity::batch;
  return spec;
}

struct FlagCase {
  char const* flags;
  Spec spec;
  Draw draw;
};

std::vector<FlagCase> flag_cases() {
  std::vector<FlagCase> cases;
  auto const add = [&](char const* flags, Spec spec, std::function<void(Spec&)> change = {},
                       Draw draw = {}) {
    if (change) change(spec);
    cases.push_back({flags, spec, draw});
  };
  Spec const mixup = one(Mixup{{0.4f, 0.4f}}), cutmix = one(CutMix{{1.0f, 1.0f}});
  auto const boxes = [](Boxes where) { return one(CutMix{{1.0f, 1.0f}, Fold::none, where}); };
  auto const elem = [](Spec& s) { s.granularity = Granularity::sample; };

  add("--mixup 0.4", mixup);
  add("--mixup-alpha 0.4", mixup);
  add("--mixup 0.4,0.4", mixup);
  add("--mixup 2,5", one(Mixup{{2, 5}}));
  add("--cutmix 1", cutmix);
  add("--cutmix-alpha 1", cutmix);
  add("--mixup 0.4 --cutmix 0", mixup);
  add("--mixup 0 --cutmix 1 --mixup-switch-prob 0.1", cutmix);
  add("--mixup 0,0 --cutmix 0", mixup, [](Spec& s) { s.policies.clear(); });
  add("--mixup 0.4 --cutmix 1 --mixup-mode elem", mixup, [&](Spec& s) {
    elem(s);
    s.policies = {{Mixup{{0.4f, 0.4f}}, 0.5f}, {CutMix{{1, 1}}, 0.5f}};
  });
  add("--mixup 0.4 --cutmix 1 --mixup-switch-prob 0.25 --mixup-mode elem", mixup, [&](Spec& s) {
    elem(s);
    s.policies = {{Mixup{{0.4f, 0.4f}}, 0.75f}, {CutMix{{1, 1}}, 0.25f}};
  });
  add("--cutmix-minmax 0.2 0.8", boxes({Boxes::Kind::min_max, 0.2, 0.8}));
  add("--cutmix 0.3 --cutmix-minmax 0.2 0.8 --box inside", boxes({Boxes::Kind::min_max, 0.2, 0.8}));
  add("--cutmix 0 --cutmix-minmax 0.2 0.8", boxes({Boxes::Kind::min_max, 0.2, 0.8}));
  add("--cutmix 1 --box paper", cutmix);
  add("--cutmix 1 --box inside", boxes({Boxes::Kind::inside}));
  add("--cutmix 1 --box uniform", boxes({Boxes::Kind::uniform}));
  add("--mixup 0.4 --fold own", one(Mixup{{0.4f, 0.4f}, Fold::own}));
  add("--mixup 0.4 --fold partner", one(Mixup{{0.4f, 0.4f}, Fold::partner}));
  add("--cutmix 1 --fold own", one(CutMix{{1, 1}, Fold::own}));
  add("--mixup 0.4 --mixup-prob 0.5 --mixup-mode elem", mixup, [&](Spec& s) {
    elem(s);
    s.probability = 0.5f;
  });
  add("--mixup 0.4 --mixup-mode batch", mixup);
  add("--mixup 0.4 --mixup-mode elem", mixup, elem);
  add("--mixup 0.4 --mixup-mode pair --pairing reverse", mixup, [](Spec& s) {
    s.granularity = Granularity::pair;
    s.pairing = Pairing::reverse;
  });
  add("--mixup 0.4 --mixup-mode pair --pairing pairs", mixup, [](Spec& s) {
    s.granularity = Granularity::pair;
    s.pairing = Pairing::pairs;
  });
  add("--mixup 0.4 --pairing permutation", mixup);
  add("--mixup 0.4 --pairing cycle", mixup, [](Spec& s) { s.pairing = Pairing::cycle; });
  add("--mixup 0.4 --pairing pairs", mixup, [](Spec& s) { s.pairing = Pairing::pairs; });
  add("--mixup 0.4 --pairing reverse", mixup, [](Spec& s) { s.pairing = Pairing::reverse; });
  add("--mixup 0.4 --pairing roll", mixup, [](Spec& s) { s.pairing = Pairing::roll; });
  add("--mixup 0.4 --pairing replacement", mixup,
      [](Spec& s) { s.pairing = Pairing::replacement; });
  add("--mixup 0.4 --group 4", mixup, [](Spec& s) { s.group = 4; });
  add("--mixup 0.4 --batch-size 4", mixup, [](Spec& s) { s.group = 4; });
  add("--mixup 0.4 --hflip 0.5", mixup, [](Spec& s) { s.flip = 0.5f; });
  add("--mixup 0.4 --seed 18446744073709551615", mixup, {},
      {std::numeric_limits<std::uint64_t>::max(), 0, 0});
  add("--mixup 0.4 --step 281474976710655", mixup, {}, {0, (std::uint64_t{1} << 48) - 1, 0});
  add("--mixup 0.4 --first 281474976710650 --group 4", mixup, [](Spec& s) { s.group = 4; },
      {0, 0, (std::uint64_t{1} << 48) - 6});
  add("--mixup 0.4 --preset paper", mixup);
  add("--mixup 0.4 --preset timm", mixup, [](Spec& s) { s.pairing = Pairing::reverse; });
  add("--mixup 0.4 --preset torchvision", mixup, [](Spec& s) { s.pairing = Pairing::roll; });
  add("--cutmix 1 --preset keras", boxes({Boxes::Kind::inside}), elem);
  add("--cutmix 1 --preset keras --mixup-mode batch", boxes({Boxes::Kind::inside}));
  add("--cutmix 1 --box paper --pairing cycle --preset keras", cutmix, [&](Spec& s) {
    elem(s);
    s.pairing = Pairing::cycle;
  });
  add("--mixup 0.4 --pairing roll --preset timm", mixup,
      [](Spec& s) { s.pairing = Pairing::roll; });
  return cases;
}

TEST(Flags, EachDrawsWhatItsSpecDraws) {
  Workplace const at;
  write_batch(at);
  for (FlagCase const& c : flag_cases()) {
    std::string const flags = c.flags;
    Ended const ended = at.run("mix --images x.npy --plan-out p.json " + flags);
    ASSERT_EQ(ended.status, 0) << flags << ": " << ended.err;
    EXPECT_EQ(ended.err, "") << flags;
    EXPECT_EQ(at.rows("p.json", batch_extents()), drawn(c.spec, c.draw)) << flags;
  }
}

struct BadCase {
  std::string flags, named;
};

std::string zeros(int count) {
  std::string list;
  for (int i = 0; i < count; ++i) list += ",0";
  return list;
}

TEST(Flags, ABadCallEndsWith2AndNamesItsFlag) {
  Workplace const at;
  write_batch(at);
  std::filesystem::create_symlink("elsewhere", at.path("work/link.npy"));
  std::filesystem::create_directory(at.path("work/folder"));
  ASSERT_EQ(at.run_program("mkfifo", "pipe").status, 0);
  std::size_t const before = at.files();
  for (BadCase const& c : {
           BadCase{"", "--mixup"},
           {"--mixup nan", "--mixup"},
           {"--mixup inf", "--mixup"},
           {"--mixup -1", "--mixup"},
           {"--mixup 1e-7", "--mixup"},
           {"--mixup 2e6", "--mixup"},
           {"--mixup 0,1", "--mixup"},
           {"--mixup 1,", "--mixup"},
           {"--mixup 1,2,3", "--mixup"},
           {"--mixup 1x", "--mixup"},
           {"--mixup", "--mixup"},
           {"--mixup 1 --mixup 1", "--mixup"},
           {"--cutmix-alpha nan", "--cutmix"},
           {"--cutmix-minmax 0.8 0.2", "--cutmix-minmax"},
           {"--cutmix-minmax 0.8", "--cutmix-minmax"},
           {"--cutmix-minmax 0 1.1", "--cutmix-minmax"},
           {"--mixup 1 --box middle", "--box"},
           {"--mixup 1 --fold both", "--fold"},
           {"--mixup 1 --mixup-prob 1.0000001", "--mixup-prob"},
           {"--mixup 1 --mixup-prob -1e-9", "--mixup-prob"},
           {"--mixup 1 --mixup-prob nan", "--mixup-prob"},
           {"--mixup 1 --mixup-switch-prob 2", "--mixup-switch-prob"},
           {"--mixup 1 --mixup-mode half", "--mixup-mode"},
           {"--mixup 1 --mixup-mode pair", "--mixup-mode"},
           {"--mixup 1 --mixup-mode pair --pairing roll", "--mixup-mode"},
           {"--mixup 1 --mixup-mode pair --preset torchvision", "--mixup-mode"},
           {"--mixup 1 --pairing given", "--pairing"},
           {"--mixup 1 --group 0", "--group"},
           {"--mixup 1 --batch-size -4", "--group"},
           {"--mixup 1 --hflip 2", "--hflip"},
           {"--mixup 1 --seed -1", "--seed"},
           {"--mixup 1 --seed 18446744073709551616", "--seed"},
           {"--mixup 1 --seed 1.5", "--seed"},
           {"--mixup 1 --seed ''", "--seed"},
           {"--mixup 1 --step 281474976710656", "--step"},
           {"--mixup 1 --step 9223372036854775808", "--step"},
           {"--mixup 1 --step 281474976710655 --copies 2", "--copies"},
           {"--mixup 1 --first 281474976710656", "--first"},
           {"--mixup 1 --first 281474976710655", "--first"},
           {"--mixup 1 --device gpu", "--device"},
           {"--mixup 1 --threads -1", "--threads"},
           {"--mixup 1 --preset pytorch", "--preset"},
           {"--mixup 1 --layout nwhc", "--layout"},
           {"--mixup 1 --labels y.npy --targets t.npy", "--num-classes"},
           {"--mixup 1 --labels y.npy --targets s.npy --target sparse", "--num-classes"},
           {"--mixup 1 --num-classes 0", "--num-classes"},
           {"--mixup 1 --targets t.npy", "--targets"},
           {"--mixup 1 --target sparse", "--target"},
           {"--mixup 1 --smoothing 0.1", "--smoothing"},
           {"--mixup 1 --ignore-index 3", "--ignore-index"},
           {"--mixup 1 --labels y.npy --num-classes 4 --targets t.npy --smoothing 1.5",
            "--smoothing"},
           {"--mixup 1 --labels y.npy --num-classes 4 --targets t.npy --target sparse "
            "--label-smoothing 0.1",
            "--smoothing"},
           {"--mixup 1 --labels y.npy --num-classes 4 --targets t.npy --partners x.npy",
            "--partner-labels"},
           {"--mixup 1 --labels y.npy --partner-labels y.npy", "--partner-labels"},
           {"--mixup 1 --labels x.csv", "--labels"},
           {"--mixup 1 --labels x.npy --num-classes 4 --targets t.npy --ignore-index x",
            "--ignore-index"},
           {"--mixup 1 --out-dtype f64", "--out-dtype"},
           {"--mixup 1 --out-dtype u8", "--out-dtype"},
           {"--mixup 1 --out-dtype i8", "--out-dtype"},
           {"--mixup 1 --targets ../work/z.npy --labels y.npy --num-classes 4", "--targets"},
           {"--mixup 1 --copies 0", "--copies"},
           {"--mixup 1 --keep-originals", "--keep-originals"},
           {"--mixup 1 --copies 2 --plan-out p.json", "--plan-out"},
           {"--mixup 1 --targets z.npy --labels y.npy --num-classes 4", "--targets"},
           {"--mixup 1 --mean nan", "--mean"},
           {"--mixup 1 --mean 0,-inf,0", "--mean"},
           {"--mixup 1 --mean ''", "--mean"},
           {"--mixup 1 --mean 1,2,", "--mean"},
           {"--mixup 1 --mean 1,,3", "--mean"},
           {"--mixup 1 --mean 1x,2,3", "--mean"},
           {"--mixup 1 --mean 1 2 3", ""},
           {"--mixup 1 --mean 0 --mean 0", "--mean"},
           {"--mixup 1 --mean 0" + zeros(32), "--mean"},
           {"--mixup 1 --mean 1e13", "--mean"},
           {"--mixup 1 --std 1e-13", "--std"},
           {"--mixup 1 --std 0", "--std"},
           {"--mixup 1 --std 1,-1,1", "--std"},
           {"--mixup 1 --std inf", "--std"},
           {"--mixup 1 --std nan", "--std"},
           {"--mixup 1 --mean 1,2,3 --std 1,2", "--std"},
           {"--mixup 1 --mean 0 --out-dtype u8", "--out-dtype"},
           {"--mixup 1 --std 1 --out-dtype u8", "--out-dtype"},
           {"--mixup 1 --mean 0 --out-dtype f64", "--out-dtype"},
           {"--mixup 1 --out-layout nwhc", "--out-layout"},
           {"--mixup 1 --out-layout nct", "--out-layout"},
           {"--mixup 1 --out-layout ntchw", "--out-layout"},
           {"--plan-in p.json --mixup 1", "--mixup"},
           {"--plan-in p.json --seed 0", "--seed"},
           {"--plan-in p.json --copies 2", "--copies"},
           {"--plan-in p.json --preset timm", "--preset"},
           {"--plan-in p.json --hflip 0", "--hflip"},
           {"--mixup 1 --plan-out link.npy", "--plan-out"},
           {"--mixup 1 --plan-out folder", "--plan-out"},
           {"--mixup 1 --plan-out pipe", "--plan-out"},  // not /dev/null, which root may replace
       }) {
    Ended const ended = at.run("mix --images x.npy --out z.npy " + c.flags);
    EXPECT_EQ(ended.status, 2) << c.flags << ": " << ended.err;
    EXPECT_TRUE(ended.one_line()) << ended.err;
    EXPECT_NE(ended.err.find(c.named), std::string::npos) << c.flags << ": " << ended.err;
    EXPECT_EQ(at.files(), before) << c.flags;
  }
  for (char const* flags : {"--mean 0", "--std 1", "--out-layout nhwc", "--out-dtype f32"}) {
    std::string const flag{flags, std::string_view{flags}.find(' ')};
    Ended const ended =
        at.run("mix --images x.npy --mixup 1 --plan-out z.json " + std::string{flags});
    EXPECT_EQ(ended.status, 2) << flags;
    EXPECT_NE(ended.err.find(flag + ": needs --out"), std::string::npos) << ended.err;
    EXPECT_EQ(at.run("sheet --images x.npy --mixup 1 --out z.png " + std::string{flags}).status, 2)
        << flags;
    EXPECT_EQ(at.files(), before) << flags;
  }
  for (char const* call : {"", "mixes", "mix", "mix --images x.npy", "mix --mixup 1 --out z.npy",
                           "mix --images x.npy --mixup 1", "bench --jason", "info --jason",
                           "sheet --images x.npy --mixup 1"}) {
    Ended const ended = at.run(call);
    EXPECT_EQ(ended.status, 2) << call;
    EXPECT_TRUE(ended.one_line()) << ended.err;
  }
}

TEST(Flags, HelpAndVersionEndWith0) {
  Workplace const at;
  EXPECT_NE(at.run("--help").out.find("mix"), std::string::npos);
  EXPECT_NE(at.run("mix --help").out.find("--mixup-switch-prob"), std::string::npos);
  EXPECT_EQ(at.run("--version").out, std::string{version()} + "\n");
}

TEST(Info, SaysTheStreamVersion) {
  Workplace const at;
  Ended const json = at.run("info --json");
  EXPECT_EQ(json.status, 0);
  EXPECT_NE(json.out.find("\"stream_version\": " + std::to_string(stream_version())),
            std::string::npos);
  EXPECT_NE(at.run("info").out.find("backends"), std::string::npos);
}

TEST(Mix, PixelsAndTargetsAreTheLibrarys) {
  Workplace const at;
  write_batch(at);
  ASSERT_EQ(at.run("mix --images x.npy --labels y.npy --num-classes 4 --mixup 0.4 --cutmix 1 "
                   "--mixup-mode elem --hflip 0.5 --smoothing 0.1 --out o.npy --targets t.npy "
                   "--plan-out p.json")
                .status,
            0);
  auto const x = elements<float>(at.read("x.npy"));
  auto const y = elements<std::int64_t>(at.read("y.npy"));
  auto const rows = at.rows("p.json", batch_extents());
  std::vector<float> out(x.size()), targets(6 * 4);
  Plan plan{6, Device::cpu(), Queue::cpu(1)};
  plan_into(plan, rows.data(), batch_extents(), {}, Queue::cpu(1));
  mix_into({out.data(), DType::f32, {6, 3, 5, 7}},
           ConstTensorView{x.data(), DType::f32, {6, 3, 5, 7}}, plan, Queue::cpu(1));
  label_into(TensorView{targets.data(), DType::f32, {6, 4}},
             ConstTensorView{y.data(), DType::i64, {6}}, {0.1f}, plan, Queue::cpu(1));
  EXPECT_EQ(elements<float>(at.read("o.npy")), out);
  EXPECT_EQ(elements<float>(at.read("t.npy")), targets);
}

TEST(Mix, APlanReadBackGivesTheSameBytes) {  // RN-09
  Workplace const at;
  write_batch(at);
  std::string const inputs = "mix --images x.npy --labels y.npy --num-classes 4 ";
  ASSERT_EQ(at.run(inputs + "--mixup 0.1 --cutmix 1 --mixup-mode elem --hflip 0.5 --seed 5 "
                            "--step 1000 --first 12 --out a.npy --targets a_t.npy --plan-out "
                            "a.json")
                .status,
            0);
  ASSERT_EQ(
      at.run(inputs + "--plan-in a.json --out b.npy --targets b_t.npy --plan-out b.json").status,
      0);
  EXPECT_EQ(at.read("a.npy"), at.read("b.npy"));
  EXPECT_EQ(at.read("a_t.npy"), at.read("b_t.npy"));
  EXPECT_EQ(at.read("a.json"), at.read("b.json"));
}

TEST(Mix, APlanThatDoesNotFitIsRefused) {  // RN-09
  Workplace const at;
  write_batch(at);
  ASSERT_EQ(at.run("mix --images x.npy --mixup 1 --plan-out p.json").status, 0);
  std::string const plan = at.read("p.json");
  auto const refused = [&](std::string const& contents, std::string const& images = "x.npy") {
    at.write("q.json", contents);
    Ended const ended = at.run("mix --images " + images + " --plan-in q.json --out z.npy");
    EXPECT_EQ(ended.status, 1) << ended.err;
    EXPECT_TRUE(ended.one_line()) << ended.err;
    EXPECT_NE(ended.err.find("q.json"), std::string::npos) << ended.err;
    EXPECT_FALSE(at.exists("z.npy"));
  };
  for (std::size_t length = 0; length < plan.size() - 1; length += 37) {
    refused(plan.substr(0, length));
  }
  refused("{\"version\": 2" + plan.substr(std::string{"{\"version\": 1"}.size()));
  refused(std::string(200000, ' ') + plan);
  at.write("x7.npy", tagged_images(7));
  refused(plan, "x7.npy");
}

TEST(Mix, ARunIsResumedAtItsStep) {  // RN-09
  Workplace const at;
  write_batch(at);
  std::string const call = "mix --images x.npy --mixup 0.4 --mixup-mode elem ";
  ASSERT_EQ(at.run(call + "--step 1000 --copies 3 --out all.npy").status, 0);
  auto const all = elements<float>(at.read("all.npy"));
  ASSERT_EQ(at.run(call + "--step 1002 --out last.npy").status, 0);
  auto const last = elements<float>(at.read("last.npy"));
  ASSERT_EQ(all.size(), 3 * last.size());
  EXPECT_TRUE(std::equal(last.begin(), last.end(), all.end() - static_cast<long>(last.size())));
  EXPECT_FALSE(std::equal(last.begin(), last.end(), all.begin())) << "another step's";
}

TEST(Mix, CopiesKeepTheOriginalsFirst) {
  Workplace const at;
  write_batch(at);
  std::string const call = "mix --images x.npy --labels y.npy --num-classes 4 --mixup 1 --hflip 1 ";
  ASSERT_EQ(at.run(call + "--copies 3 --out a.npy --targets a_t.npy").status, 0);
  ASSERT_EQ(at.run(call + "--copies 3 --keep-originals --out b.npy --targets b_t.npy").status, 0);
  auto const x = elements<float>(at.read("x.npy"));
  auto const a = elements<float>(at.read("a.npy")), b = elements<float>(at.read("b.npy"));
  auto const targets = elements<float>(at.read("b_t.npy"));
  auto const each = static_cast<long>(x.size());
  ASSERT_EQ(b.size(), 3 * x.size());
  EXPECT_TRUE(std::equal(x.begin(), x.end(), b.begin()));
  EXPECT_TRUE(std::equal(a.begin() + each, a.end(), b.begin() + each));
  auto const y = elements<std::int64_t>(at.read("y.npy"));
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(targets[i * 4 + k], static_cast<std::size_t>(y[i]) == k ? 1.0f : 0.0f);
    }
  }
}

TEST(Mix, ThreadsAndGroupsDoNotChangeBits) {
  Workplace const at;
  at.write("x.npy", tagged_images(8));
  std::string const call = "mix --images x.npy --mixup 0.4 --cutmix 1 --mixup-mode elem --group 4 ";
  for (char const* threads : {"1", "2", "7"}) {
    ASSERT_EQ(at.run(call + "--threads " + threads + " --out o" + threads + ".npy").status, 0);
  }
  EXPECT_EQ(at.read("o1.npy"), at.read("o2.npy"));
  EXPECT_EQ(at.read("o1.npy"), at.read("o7.npy"));
  auto const all = elements<float>(at.read("x.npy"));
  std::vector<float> const second(all.begin() + 4 * 105, all.end());
  at.write("x2.npy", npy("<f4", {4, 3, 5, 7}, second));
  ASSERT_EQ(at.run("mix --images x2.npy --mixup 0.4 --cutmix 1 --mixup-mode elem --group 4 "
                   "--first 4 --out half.npy")
                .status,
            0);
  auto const whole = elements<float>(at.read("o1.npy"));
  EXPECT_EQ(elements<float>(at.read("half.npy")),
            std::vector<float>(whole.begin() + 4 * 105, whole.end()));
}

TEST(Mix, PartnersComeFromTheSecondBatch) {
  Workplace const at;
  write_batch(at);
  at.write("other.npy", npy("<f4", {6, 3, 5, 7}, std::vector<float>(6 * 105, 50.0f)));
  at.write("other_y.npy", npy<std::int32_t>("<i4", {6}, {3, 3, 3, 3, 3, 3}));
  ASSERT_EQ(at.run("mix --images x.npy --labels y.npy --num-classes 4 --partners other.npy "
                   "--partner-labels other_y.npy --mixup 1 --out o.npy --targets s.npy --target "
                   "sparse --plan-out p.json")
                .status,
            0);
  float const lambda = at.rows("p.json", batch_extents())[0].outside;
  auto const x = elements<float>(at.read("x.npy")), o = elements<float>(at.read("o.npy"));
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(o[i], std::fma(lambda, x[i], std::fma(-lambda, 50.0f, 50.0f)));
  }
  std::string const targets = at.read("s.npy");
  ASSERT_EQ(targets.size(), 128u + 6 * 20);  // packed: 8 + 8 + 4
  auto const y = elements<std::int64_t>(at.read("y.npy"));
  for (std::size_t i = 0; i < 6; ++i) {
    std::int64_t own, partner;
    float weight;
    std::memcpy(&own, targets.data() + 128 + i * 20, 8);
    std::memcpy(&partner, targets.data() + 136 + i * 20, 8);
    std::memcpy(&weight, targets.data() + 144 + i * 20, 4);
    EXPECT_EQ(own, y[i]);
    EXPECT_EQ(partner, 3);
    EXPECT_EQ(weight, lambda);
  }
}

TEST(Mix, ASecondBatchThatDiffersIsRefusedByItsFile) {
  Workplace const at;
  write_batch(at);
  at.write("few.npy", tagged_images(5));
  at.write("turned.npy", npy("<f4", {6, 3, 7, 5}, std::vector<float>(6 * 105)));
  at.write("double.npy", npy("<f8", {6, 3, 5, 7}, std::vector<double>(6 * 105)));
  at.write("few_y.npy", npy<std::int64_t>("<i8", {5}, {0, 1, 2, 3, 0}));
  at.write("rows_y.npy", npy("<f4", {6, 4}, std::vector<float>(24)));
  std::size_t const before = at.files();
  std::string const call =
      "mix --images x.npy --labels y.npy --num-classes 4 --mixup 1 --out o.npy --targets t.npy ";
  struct Case {
    std::string images, labels, named;
  };
  for (Case const& c : {Case{"few.npy", "y.npy", "few.npy"},
                        {"turned.npy", "y.npy", "turned.npy"},
                        {"double.npy", "y.npy", "double.npy"},
                        {"x.npy", "few_y.npy", "few_y.npy"},
                        {"x.npy", "rows_y.npy", "rows_y.npy"}}) {
    Ended const ended = at.run(call + "--partners " + c.images + " --partner-labels " + c.labels);
    EXPECT_EQ(ended.status, 1) << c.named;
    EXPECT_TRUE(ended.one_line()) << ended.err;
    EXPECT_NE(ended.err.find(c.named), std::string::npos) << ended.err;
    EXPECT_EQ(at.files(), before) << c.named;
  }
}

TEST(Mix, LabelsOfEveryKindGiveTheSameTargets) {
  Workplace const at;
  write_batch(at);
  std::vector<std::int64_t> const ids = {0, 1, 2, 3, 0, 1};
  at.write("i32.npy", npy<std::int32_t>("<i4", {6}, {ids.begin(), ids.end()}));
  at.write("u8.npy", npy<std::uint8_t>("|u1", {6}, {ids.begin(), ids.end()}));
  std::vector<float> rows(24);
  std::vector<std::uint8_t> flags(24);
  for (std::size_t i = 0; i < 6; ++i) {
    rows[i * 4 + static_cast<std::size_t>(ids[i])] = 1.0f;
    flags[i * 4 + static_cast<std::size_t>(ids[i])] = 1;
  }
  at.write("f32.npy", npy("<f4", {6, 4}, rows));
  at.write("bool.npy", npy("|b1", {6, 4}, flags));
  std::string const call = "mix --images x.npy --mixup 1 --num-classes 4 --targets t.npy --labels ";
  ASSERT_EQ(at.run(call + "y.npy").status, 0);
  std::string const expected = at.read("t.npy");
  for (char const* labels : {"i32.npy", "u8.npy", "f32.npy", "bool.npy"}) {
    ASSERT_EQ(at.run(call + labels).status, 0) << labels;
    EXPECT_EQ(at.read("t.npy"), expected) << labels;
  }
  at.write("half.npy", npy("<u2", {6, 4}, std::vector<std::uint16_t>(24, 0x3f80)));
  ASSERT_EQ(at.run(call + "half.npy").status, 0);
  EXPECT_EQ(elements<std::uint16_t>(at.read("t.npy")), std::vector<std::uint16_t>(24, 0x3f80));
  at.write("rows.npy", npy("<i4", {6, 4}, std::vector<std::int32_t>(24)));
  EXPECT_EQ(at.run(call + "rows.npy").status, 2);
  EXPECT_EQ(at.run(call + "f32.npy --smoothing 0.1").status, 1);
  EXPECT_EQ(at.run(call + "f32.npy --target sparse").status, 1);
  at.write("wide.npy", npy("<f4", {6, 5}, std::vector<float>(30)));
  EXPECT_EQ(at.run(call + "wide.npy").status, 1);
  at.write("few.npy", npy<std::int64_t>("<i8", {5}, {0, 1, 2, 3, 0}));
  Ended const few = at.run(call + "few.npy");
  EXPECT_EQ(few.status, 1);
  EXPECT_NE(few.err.find("few.npy: has 5 labels for 6 samples"), std::string::npos) << few.err;
}

TEST(Mix, ABadClassIdIsNamedWithItsRow) {
  Workplace const at;
  write_batch(at);
  at.write("bad.npy", npy<std::int64_t>("<i8", {6}, {0, 1, 2, 3, 7, -1}));
  std::string const call = "mix --images x.npy --labels bad.npy --mixup 1 --targets t.npy ";
  Ended const ended = at.run(call + "--num-classes 4 --out o.npy");
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.one_line()) << ended.err;
  EXPECT_NE(ended.err.find("bad.npy: row 4: class 7"), std::string::npos) << ended.err;
  EXPECT_EQ(at.files(), 3u);
  EXPECT_EQ(at.run(call + "--num-classes 8 --ignore-index -1").status, 0);
  Ended const partner = at.run(
      "mix --images x.npy --labels y.npy --partners x.npy "
      "--partner-labels bad.npy --mixup 1 --targets t.npy "
      "--num-classes 4");
  EXPECT_EQ(partner.status, 1);
  EXPECT_NE(partner.err.find("bad.npy: row 4"), std::string::npos) << partner.err;
}

TEST(Mix, OutputsHaveTheDtypeAskedFor) {
  Workplace const at;
  std::vector<std::uint8_t> bytes(4 * 2 * 3 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 3);
  at.write("u.npy", npy("|u1", {4, 2, 3, 3}, bytes));
  std::string const call = "mix --images u.npy --layout nhwc --mixup 0 --out o.npy --out-dtype ";
  ASSERT_EQ(at.run(call + "f32").status, 0);
  EXPECT_EQ(elements<float>(at.read("o.npy")), std::vector<float>(bytes.begin(), bytes.end()));
  ASSERT_EQ(at.run(call + "bf16").status, 0);
  EXPECT_NE(at.read("o.npy").find("'<u2'"), std::string::npos);
  EXPECT_EQ(elements<std::uint16_t>(at.read("o.npy"))[1], 0x4040);  // 3.0
  ASSERT_EQ(at.run(call + "f16").status, 0);
  EXPECT_EQ(elements<std::uint16_t>(at.read("o.npy"))[1], 0x4200);
  ASSERT_EQ(at.run(call + "u8").status, 0);
  EXPECT_EQ(elements<std::uint8_t>(at.read("o.npy")), bytes);
  EXPECT_EQ(at.run(call + "f64").status, 2);
}

/// u8 (4, 3, 5, 3) pixels in u.npy: nhwc, colours last.
std::vector<std::uint8_t> write_pixels(Workplace const& at) {
  std::vector<std::uint8_t> pixels(4 * 3 * 5 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37);
  at.write("u.npy", npy("|u1", {4, 3, 5, 3}, pixels));
  return pixels;
}

/// Samples of nhwc elements with their channels in front.
template <class Value>
std::vector<Value> planes_of(std::vector<Value> const& pixels, std::size_t samples,
                             std::size_t channels) {
  std::size_t const plane = pixels.size() / samples / channels;
  std::vector<Value> planes;
  for (std::size_t b = 0; b < samples; ++b) {
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t p = 0; p < plane; ++p) {
        planes.push_back(pixels[(b * plane + p) * channels + c]);
      }
    }
  }
  return planes;
}

TEST(Mix, LayoutsBecomeEachOther) {
  Workplace const at;
  auto const pixels = write_pixels(at);
  std::string const call = "mix --mixup 0.4 --cutmix 1 --mixup-mode elem --hflip 0.5 --images ";
  ASSERT_EQ(at.run(call + "u.npy --layout nhwc --out same.npy").status, 0);
  ASSERT_EQ(at.run(call + "u.npy --layout nhwc --out-layout nhwc --out o.npy").status, 0);
  EXPECT_EQ(at.read("o.npy"), at.read("same.npy"));
  auto const planes = planes_of(elements<std::uint8_t>(at.read("same.npy")), 4, 3);
  ASSERT_EQ(at.run(call + "u.npy --layout nhwc --out-layout nchw --out o.npy").status, 0);
  EXPECT_EQ(at.read("o.npy"), npy("|u1", {4, 3, 3, 5}, planes));

  at.write("v.npy", npy("|u1", {4, 3, 3, 5}, planes_of(pixels, 4, 3)));
  ASSERT_EQ(at.run(call + "v.npy --out-layout nhwc --out o.npy").status, 0);
  EXPECT_EQ(at.read("o.npy"), at.read("same.npy"));
  ASSERT_EQ(at.run(call + "v.npy --partners v.npy --out-layout nhwc --out o.npy").status, 0);
  EXPECT_NE(at.read("o.npy").find("(4, 3, 5, 3)"), std::string::npos);

  at.write("in/1.png", png(4, 3, 3, 20));
  at.write("in/2.png", png(4, 3, 3, 30));
  ASSERT_EQ(at.run(call + "in --mixup-prob 0 --out-layout nchw --out o.npy").status, 0);
  EXPECT_NE(at.read("o.npy").find("(2, 3, 3, 4)"), std::string::npos);
}

struct NormaliseCase {
  std::string flags;
  std::vector<double> mean, deviation;  ///< of each of three channels
};

NormaliseCase const normalise_cases[] = {
    {"--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
     {0.485, 0.456, 0.406},
     {0.229, 0.224, 0.225}},
    {"--mean 0.485,0.456,0.406", {0.485, 0.456, 0.406}, {1, 1, 1}},
    {"--std 0.229,0.224,0.225", {0, 0, 0}, {0.229, 0.224, 0.225}},
    {"--mean 0.5", {0.5, 0.5, 0.5}, {1, 1, 1}},
    {"--std 0.5", {0, 0, 0}, {0.5, 0.5, 0.5}},
    {"--mean -0.1 --std 2,3,4", {-0.1, -0.1, -0.1}, {2, 3, 4}},
    {"--mean 1,2,3 --std 1e-1", {1, 2, 3}, {0.1, 0.1, 0.1}},
    {"--mean 0 --std 1", {0, 0, 0}, {1, 1, 1}},
};

template <class Real>
Real normalised(Real value, NormaliseCase const& c, std::size_t channel, double full_scale) {
  return std::fma(value, static_cast<Real>(1 / (full_scale * c.deviation[channel])),
                  static_cast<Real>(-c.mean[channel] / c.deviation[channel]));
}

TEST(Mix, MeanAndStdNormaliseWhatWasMixed) {
  Workplace const at;
  auto const pixels = write_pixels(at);
  std::string const call = "mix --images u.npy --layout nhwc --mixup 0.4 --plan-out p.json ";
  ASSERT_EQ(at.run(call).status, 0);
  auto const rows = at.rows("p.json", {4, 2, {3, 5}, true});
  std::size_t const each = pixels.size() / 4;
  auto const mixed_pixel = [&](std::size_t i) {
    Row const& row = rows[i / each];
    auto const own = static_cast<float>(pixels[i]);
    auto const partner =
        static_cast<float>(pixels[static_cast<std::size_t>(row.partner) * each + i % each]);
    return row.partner == static_cast<int>(i / each)
               ? own
               : std::fma(row.outside, own, std::fma(-row.outside, partner, partner));
  };
  for (NormaliseCase const& c : normalise_cases) {
    std::vector<float> expected;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      expected.push_back(normalised(mixed_pixel(i), c, i % 3, 255));
    }
    ASSERT_EQ(at.run(call + "--out o.npy " + c.flags).status, 0) << c.flags;  // f32 of itself
    EXPECT_EQ(at.read("o.npy"), npy("<f4", {4, 3, 5, 3}, expected)) << c.flags;
    ASSERT_EQ(at.run(call + "--out o.npy --out-dtype f32 --out-layout nchw " + c.flags).status, 0);
    EXPECT_EQ(at.read("o.npy"), npy("<f4", {4, 3, 3, 5}, planes_of(expected, 4, 3))) << c.flags;
    std::vector<std::uint16_t> halves;
    for (float const value : expected) {
      auto const bits = std::bit_cast<std::uint32_t>(value);
      halves.push_back(static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
    }
    ASSERT_EQ(at.run(call + "--out o.npy --out-dtype bf16 " + c.flags).status, 0) << c.flags;
    EXPECT_EQ(elements<std::uint16_t>(at.read("o.npy")), halves) << c.flags;
  }
}

TEST(Mix, FloatsAreNormalisedInTheirOwnUnits) {
  Workplace const at;
  write_batch(at);
  auto const x = elements<float>(at.read("x.npy"));
  at.write("d.npy", npy("<f8", {6, 3, 5, 7}, std::vector<double>(x.begin(), x.end())));
  for (NormaliseCase const& c : normalise_cases) {
    std::vector<float> singles;
    std::vector<double> doubles;
    for (std::size_t i = 0; i < x.size(); ++i) {
      singles.push_back(normalised(x[i], c, i / 35 % 3, 1));
      doubles.push_back(normalised(static_cast<double>(x[i]), c, i / 35 % 3, 1));
    }
    ASSERT_EQ(at.run("mix --images x.npy --mixup 0 --out o.npy " + c.flags).status, 0) << c.flags;
    EXPECT_EQ(at.read("o.npy"), npy("<f4", {6, 3, 5, 7}, singles)) << c.flags;
    ASSERT_EQ(at.run("mix --images d.npy --mixup 0 --out o.npy " + c.flags).status, 0) << c.flags;
    EXPECT_EQ(at.read("o.npy"), npy("<f8", {6, 3, 5, 7}, doubles)) << c.flags;
  }
  // One value for data without channels, more are none of theirs.
  at.write("f.npy", npy("<f4", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  ASSERT_EQ(at.run("mix --images f.npy --mixup 0 --out o.npy --mean 1 --std 0.5").status, 0);
  EXPECT_EQ(elements<float>(at.read("o.npy")), (std::vector<float>{0, 2, 4, 6, 8, 10}));
  for (char const* flag : {"--mean", "--std"}) {
    for (char const* images : {"f.npy", "d.npy"}) {
      Ended const ended =
          at.run("mix --mixup 0 --out z.npy --images " + std::string{images} + " " + flag + " 1,1");
      EXPECT_EQ(ended.status, 1) << images;
      EXPECT_TRUE(ended.one_line()) << ended.err;
      EXPECT_NE(ended.err.find(std::string{flag} + ": 2 values"), std::string::npos) << ended.err;
      EXPECT_FALSE(at.exists("z.npy"));
    }
  }
}

TEST(Mix, KeptOriginalsAreNormalisedToo) {
  Workplace const at;
  auto const pixels = write_pixels(at);
  NormaliseCase const& c = normalise_cases[0];
  std::string const call =
      "mix --images u.npy --layout nhwc --mixup 1 --copies 2 --out-layout nchw " + c.flags;
  ASSERT_EQ(at.run(call + " --out a.npy").status, 0);
  ASSERT_EQ(at.run(call + " --keep-originals --out b.npy").status, 0);
  std::vector<float> expected;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    expected.push_back(normalised(static_cast<float>(pixels[i]), c, i % 3, 255));
  }
  expected = planes_of(expected, 4, 3);
  auto const a = elements<float>(at.read("a.npy"));
  expected.insert(expected.end(), a.end() - static_cast<long>(pixels.size()), a.end());
  EXPECT_EQ(at.read("b.npy"), npy("<f4", {8, 3, 3, 5}, expected));
}

TEST(Mix, BoxesLieOnTheAxesOfTheLayout) {
  Workplace const at;
  struct Case {
    char const* layout;
    std::vector<std::int64_t> shape;
    Extents batch;
  };
  for (Case const& c : {Case{"nf", {4, 24}, {4, 1, {24}, false}},
                        {"nct", {4, 2, 12}, {4, 1, {12}, false}},
                        {"nchw", {4, 2, 3, 4}, {4, 2, {3, 4}, true}},
                        {"nhwc", {4, 2, 3, 4}, {4, 2, {2, 3}, true}},
                        {"ntchw", {4, 2, 1, 3, 4}, {4, 2, {3, 4}, true}},
                        {"ncdhw", {4, 1, 2, 3, 4}, {4, 3, {2, 3, 4}, true}}}) {
    at.write("x.npy", npy("<f4", c.shape, std::vector<float>(4 * 24, 1.0f)));
    std::string const call = "mix --images x.npy --plan-out p.json --cutmix 1 --layout ";
    ASSERT_EQ(at.run(call + c.layout).status, 0) << c.layout;
    EXPECT_EQ(at.rows("p.json", c.batch), drawn(one(CutMix{{1, 1}}), {}, c.batch)) << c.layout;
    Ended const flipped = at.run(call + c.layout + " --hflip 0.5");
    EXPECT_EQ(flipped.status, c.batch.width ? 0 : 1) << c.layout;
    EXPECT_EQ(flipped.err.find("--hflip") != std::string::npos, !c.batch.width) << flipped.err;
    Ended const other = at.run(call + (c.shape.size() == 2 ? "nct" : "nf"));
    EXPECT_EQ(other.status, 1);
    EXPECT_NE(other.err.find("--layout"), std::string::npos);
  }
}

TEST(Mix, NoSamplesInGiveNoSamplesOut) {
  Workplace const at;
  at.write("x.npy", tagged_images(0));
  at.write("y.npy", npy<std::int64_t>("<i8", {0}, {}));
  ASSERT_EQ(at.run("mix --images x.npy --labels y.npy --num-classes 3 --mixup 1 --out o.npy "
                   "--targets t.npy --plan-out p.json")
                .status,
            0);
  EXPECT_EQ(at.read("o.npy"), at.read("x.npy"));
  EXPECT_NE(at.read("t.npy").find("(0, 3)"), std::string::npos);
  EXPECT_EQ(at.run("mix --images x.npy --plan-in p.json --out o2.npy").status, 0);
}

TEST(Mix, FoldersBringTheirClasses) {
  Workplace const at;
  int shade = 10;
  for (char const* name : {"in/cat/1.png", "in/cat/2.png", "in/dog/1.png"}) {
    at.write(name, png(4, 3, 3, shade += 10));
  }
  ASSERT_EQ(at.run("mix --images in --mixup 0 --out o.npy --targets t.npy").status, 0);
  EXPECT_NE(at.read("o.npy").find("(3, 3, 4, 3)"), std::string::npos);
  EXPECT_EQ(elements<std::uint8_t>(at.read("o.npy"))[36], 30);
  EXPECT_EQ(elements<float>(at.read("t.npy")), (std::vector<float>{1, 0, 1, 0, 0, 1}));
  Ended const few = at.run("mix --images in --mixup 0 --targets t.npy --num-classes 1");
  EXPECT_EQ(few.status, 1);
  EXPECT_NE(few.err.find("2 class folders"), std::string::npos) << few.err;
  EXPECT_EQ(at.run("mix --images in --mixup 0 --out t.npy --layout nchw").status, 2);

  at.write("y.csv", "dog/1.png,0\ncat/2.png,2\ncat/1.png,1\n");
  std::string const call = "mix --images in --labels y.csv --mixup 0 --targets t.npy ";
  ASSERT_EQ(at.run(call + "--num-classes 3").status, 0);
  EXPECT_EQ(elements<float>(at.read("t.npy")), (std::vector<float>{0, 1, 0, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(at.run(call).status, 2);
  at.write("in/dog/odd.png", png(3, 4, 3, 0));
  Ended const odd = at.run(call);  // SE-03
  EXPECT_EQ(odd.status, 1);
  EXPECT_NE(odd.err.find("odd.png: 3x4"), std::string::npos) << odd.err;
}

TEST(Mix, HostileFilesEndWith1InLittleMemory) {  // SE-01, SE-02
  Workplace const at;
  write_batch(at);
  auto const refused = [&](std::string const& arguments) {
    // A sanitiser's shadow needs the address space.
    std::string const limits = *MIXFUSE_SANITIZE ? "" : "ulimit -v 524288 && ulimit -t 2 &&";
    Ended const ended =
        at.run_program(MIXFUSE_TOOL, "mix --mixup 1 --out z.npy " + arguments, limits);
    EXPECT_EQ(ended.status, 1) << arguments << ": " << ended.err;
    EXPECT_TRUE(ended.one_line()) << ended.err;
    EXPECT_FALSE(at.exists("z.npy"));
  };
  std::string const lie = cli::npy_header("'<f4'", {2147483647, 2147483647});
  at.write("lie.npy", lie.substr(0, 100));
  refused("--images lie.npy");
  at.write("long.npy", cli::npy_header("'|u1'", {1 << 30, 8}));
  std::filesystem::resize_file(at.path("work/long.npy"), 128 + (std::uintmax_t{1} << 33));
  refused("--images long.npy");  // as long as it says, but a hole
  std::string const good = at.read("x.npy");
  for (std::size_t length = 0; length < good.size(); length += 61) {
    at.write("cut.npy", good.substr(0, length));
    refused("--images cut.npy");
  }
  refused("--images /dev/zero");
  refused("--images missing.npy");
  at.write("x/a.png", huge_png());
  refused("--images x");
  at.write("x/a.png", "GIF89a");
  refused("--images x");
  refused("--images x.npy --labels x.npy --num-classes 3 --targets t.npy");
  refused("--images y.npy");
}

TEST(Mix, APipeIsRefusedAndNotWaitedFor) {
  Workplace const at;
  ASSERT_EQ(at.run_program("mkfifo", "pipe.npy").status, 0);
  Ended const ended =
      at.run_program("timeout 20 " MIXFUSE_TOOL, "mix --images pipe.npy --mixup 1 --out z.npy");
  EXPECT_EQ(ended.status, 1) << ended.err;
  EXPECT_TRUE(ended.one_line()) << ended.err;
  EXPECT_EQ(at.files(), 1u);
}

TEST(Mix, EachLimitHasItsFlag) {
  Workplace const at;
  write_batch(at);
  std::string lines;
  for (int i = 0; i < 30; ++i) {
    std::string const name = std::to_string(100 + i) + ".png";
    at.write("in/" + name, png(4, 3, 3, 0));
    lines += name + ",0\n";
  }
  at.write("y.csv", lines);
  std::size_t const before = at.files();
  std::string const image = std::to_string(png(4, 3, 3, 0).size());
  ASSERT_LT(image.size(), 4u);
  auto const batch = "--images x.npy --labels y.npy ", folder = "--images in --labels y.csv ";
  auto const ended = [&](std::string const& inputs, std::string const& flag, std::string value) {
    return at.run("mix --mixup 1 --num-classes 4 --targets t.npy " + inputs + flag + " " + value);
  };
  struct Case {
    std::string inputs, flag, enough, short_of;
  };
  for (Case const& c :
       {Case{batch, "--max-rows", "6", "5"},
        {batch, "--max-bytes", std::to_string(6 * 105 * 4 + 6 * 8),
         std::to_string(6 * 105 * 4 + 6 * 8 - 1)},
        {folder, "--max-file", std::to_string(lines.size()), image},
        {folder, "--max-file", "1000", "10"},
        {folder, "--max-bytes", std::to_string(30 * 36), std::to_string(30 * 36 - 1)},
        {folder, "--max-side", "4", "3"},
        {folder, "--max-pixels", "12", "11"},
        {folder, "--max-channels", "3", "2"}}) {
    EXPECT_EQ(ended(c.inputs, c.flag, c.enough).status, 0) << c.flag << " " << c.enough;
    std::filesystem::remove(at.path("work/t.npy"));
    Ended const refused = ended(c.inputs, c.flag, c.short_of);
    EXPECT_EQ(refused.status, 1) << c.flag << " " << c.short_of;
    EXPECT_TRUE(refused.one_line()) << refused.err;
    EXPECT_NE(refused.err.find(c.flag), std::string::npos) << refused.err;
    EXPECT_EQ(at.files(), before) << c.flag;
  }
}

TEST(Mix, EndedByASignalItLeavesNothing) {
  Workplace const at;
  write_batch(at);
  for (char const* const signal : {"TERM", "INT", "HUP"}) {
    // So many copies that it is never done.
    Ended const ended =
        at.run_program("timeout -s " + std::string{signal} + " 0.5 " MIXFUSE_TOOL,
                       "mix --images x.npy --mixup 1 --copies 1000000000 --out o.npy");
    EXPECT_EQ(ended.status, 124) << signal << ": " << ended.err;  // as timeout says
    EXPECT_EQ(at.files(), 2u) << signal;
  }
}

TEST(Mix, AnErrorIsOneLineWhateverAFileIsCalled) {
  Workplace const at;
  Ended const ended =
      at.run("mix --images \"$(printf 'two\\nlines\\033[31m')\" --mixup 1 --out o.npy");
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.one_line()) << ended.err;
  EXPECT_EQ(ended.err.find('\033'), std::string::npos) << ended.err;
  std::string const path(3000, 'x');
  Ended const longer = at.run("mix --images " + path + " --mixup 1 --out o.npy");
  EXPECT_EQ(longer.status, 1);
  EXPECT_TRUE(longer.one_line());
  EXPECT_LT(longer.err.size(), 1100u);
}

TEST(Mix, WhatTheLibraryDoesNotBuildIsABadCall) {
  Workplace const at;
  // A hole of 2^20 + 1 bytes: boxes are not built for so long a side of a volume.
  at.write("x.npy", cli::npy_header("'|u1'", {1, 1, 1, 1, (1 << 20) + 1}));
  std::filesystem::resize_file(at.path("work/x.npy"), 128 + (1 << 20) + 1);
  Ended const ended = at.run("mix --images x.npy --cutmix 1 --out o.npy");
  EXPECT_EQ(ended.status, 2) << ended.err;
  EXPECT_TRUE(ended.one_line()) << ended.err;
  EXPECT_EQ(at.run("mix --images x.npy --mixup 1 --out o.npy").status, 0);
}

TEST(Mix, ShortOfSpaceItLeavesNothing) {
  Workplace const at;
  write_batch(at);
  at.write("o.npy", "what was there before");
  // In units of 512 bytes; LLVM's OpenMP needs a file of 1 KiB for itself.
  Ended const ended = at.run_program(
      MIXFUSE_TOOL, "mix --images x.npy --mixup 1 --plan-out p.json --out o.npy", "ulimit -f 2 &&");
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.one_line()) << ended.err;
  EXPECT_TRUE(at.read("o.npy") == "what was there before");
  EXPECT_EQ(at.files(), 3u);
}

TEST(Mix, OutputsReplaceFilesOnlyWhenAllIsDone) {
  Workplace const at;
  write_batch(at);
  at.write("o.npy", "old");
  EXPECT_EQ(at.run("mix --images x.npy --mixup 1 --out o.npy --plan-out nowhere/p.json").status, 1);
  EXPECT_EQ(at.read("o.npy"), "old");
  EXPECT_EQ(at.files(), 3u);
  EXPECT_EQ(at.run("mix --images x.npy --mixup 1 --out x.npy").status, 0);  // over its input
  EXPECT_EQ(at.files(), 3u);
}

TEST(Mix, CudaWithoutADeviceIsAnErrorAndNoFallback) {
  if (cuda_info().devices > 0) GTEST_SKIP() << "there is a device";
  Workplace const at;
  write_batch(at);
  Ended const ended = at.run("mix --images x.npy --mixup 1 --out z.npy --device cuda");
  EXPECT_EQ(ended.status, cuda_info().built ? 1 : 2);
  EXPECT_NE(ended.err.find("--device"), std::string::npos) << ended.err;
  EXPECT_FALSE(at.exists("z.npy"));
  EXPECT_EQ(at.run("mix --images x.npy --mixup 1 --out z.npy --device auto").status, 0);
}

TEST(Mix, CudaGivesTheBytesOfTheCpu) {
#ifdef MIXFUSE_TOOL_CUDA
  std::string const tool = MIXFUSE_TOOL_CUDA;
  if (tool.starts_with(' ') && cuda_info().devices == 0) GTEST_SKIP() << "no GPU, no emulator";
  Workplace const at;
  write_batch(at);
  std::string const inputs =
      "mix --images x.npy --labels y.npy --num-classes 4 --mixup 0.4 "
      "--cutmix 1 --mixup-mode elem --hflip 0.5 ";
  for (char const* target : {"dense", "sparse"}) {
    std::string const call = inputs + "--target " + target;
    ASSERT_EQ(at.run(call + " --device cpu --out a.npy --targets at.npy --plan-out a.json").status,
              0);
    Ended const ended = at.run_program(
        tool, call + " --device cuda --out b.npy --targets bt.npy --plan-out b.json");
    ASSERT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(at.read("a.npy"), at.read("b.npy"));
    EXPECT_EQ(at.read("at.npy"), at.read("bt.npy"));
    EXPECT_EQ(at.read("a.json"), at.read("b.json"));
  }
  write_pixels(at);
  std::string const call =
      "mix --images u.npy --layout nhwc --mixup 0.4 --cutmix 1 --mixup-mode elem --hflip 0.5 "
      "--copies 2 --keep-originals --out-layout nchw --out-dtype bf16 " +
      normalise_cases[0].flags;
  ASSERT_EQ(at.run(call + " --device cpu --out a.npy").status, 0);
  Ended const ended = at.run_program(tool, call + " --device cuda --out b.npy");
  ASSERT_EQ(ended.status, 0) << ended.err;
  EXPECT_EQ(at.read("a.npy"), at.read("b.npy"));
  at.write("bad.npy", npy<std::int64_t>("<i8", {6}, {0, 1, 2, 3, 7, -1}));
  Ended const bad = at.run_program(tool,
                                   "mix --images x.npy --labels bad.npy --num-classes 4 "
                                   "--mixup 1 --targets t.npy --device cuda");
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.err.find("row 4"), std::string::npos) << bad.err;
#else
  GTEST_SKIP() << "a build without CUDA";
#endif
}

}  // namespace
}  // namespace mixfuse
