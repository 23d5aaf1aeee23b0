// SPDX-License-Identifier: Apache-2.0

// Rows whose draw is decided by a hair.

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include "kernels/maths/beta.hpp"
#include "kernels/maths/philox.hpp"
#include "tests/support/batch.hpp"
#include "tests/support/calls.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

class RowOnDevice : public OnDevice {};

struct CloseCall {
  Beta law;
  std::uint32_t hair;  // of 2^32
  float least;         // the weight, to reach a tail where another formula decides
};

/// The first index whose weight would be another one if the word that it is accepted by were
/// larger or smaller by a hair.
std::optional<std::uint64_t> find(CloseCall const& call, Draw draw, std::uint32_t nudge) {
  maths::BetaLaw const law = maths::make_beta_law(call.law.a, call.law.b);
  for (std::uint64_t index = 40; index < 10000000; ++index) {
    auto const drawn = [&](std::uint32_t more) {
      return maths::draw_beta(law, [&](std::uint32_t block) {
        maths::Words words =
            maths::draw_words(draw.seed, index, draw.step, maths::Purpose::lambda, block);
        words.w[3] += more;
        return words;
      });
    };
    float const own = drawn(0).own, other = drawn(nudge).own;
    if (own != other && (nudge == call.hair ? own : other) > call.least) return index;
  }
  return std::nullopt;
}

// An error of 1e-4 in what a try is compared with shows in no other way.
TEST_F(RowOnDevice, AcceptsAndRejectsByAHairAsTheHostDoes) {
  if (!calls::is_schedule("0")) {
    GTEST_SKIP() << "one of an emulator's schedules is enough for so many draws";
  }
  CloseCall const calls[] = {{{2.0f, 3.0f}, 1u << 16, 0.0f},
                             {{100.0f, 3.0f}, 1u << 16, 0.0f},
                             {{1e-3f, 5.0f}, 1u << 16, 0.0f},
                             {{1.0f, 2.0f}, 1u << 18, 0.85f}};
  for (CloseCall const& call : calls) {
    for (std::uint32_t const nudge : {call.hair, 0u - call.hair}) {  // just accepted, or not
      Draw draw{31, 7, 0};
      auto const index = find(call, draw, nudge);
      ASSERT_TRUE(index.has_value());
      draw.first = *index - 40;
      Spec spec;
      spec.policies = {{Mixup{call.law, Fold::none}, 1.0f}};
      for (auto const& [pairing, samples] :
           {std::pair{Pairing::roll, 60}, {Pairing::cycle, 60}, {Pairing::cycle, 4100}}) {
        spec.pairing = pairing;
        EXPECT_EQ(drawn_rows(here(), spec, image(samples, 1, 1), draw),
                  drawn_rows(on_cpu(), spec, image(samples, 1, 1), draw));
      }
    }
  }
}

// The largest share below 1 leaves a pixel of each side.
TEST_F(RowOnDevice, CutsTheBoxOfTheLargestShareBelowOne) {
  Beta const weight{0.1f, 0.1f};
  maths::BetaLaw const law = maths::make_beta_law(weight.a, weight.b);
  Draw draw{31, 7, 0};
  auto const share = [&](std::uint64_t index) {
    return maths::draw_beta(law,
                            [&](std::uint32_t block) {
                              return maths::draw_words(draw.seed, index, draw.step,
                                                       maths::Purpose::lambda, block);
                            })
        .partner;
  };
  std::uint64_t index = 40;
  while (index < 1000000 && share(index) != 1 - 0x1p-24f) ++index;
  ASSERT_LT(index, 1000000u);
  draw.first = index - 40;
  Spec spec;
  spec.policies = {{CutMix{weight, Fold::none, {Boxes::Kind::inside}}, 1.0f}};
  for (auto const& [pairing, samples] :
       {std::pair{Pairing::roll, 60}, {Pairing::cycle, 60}, {Pairing::cycle, 4100}}) {
    spec.pairing = pairing;
    auto const rows = drawn_rows(here(), spec, image(samples, 8, 8), draw);
    EXPECT_EQ(rows, drawn_rows(on_cpu(), spec, image(samples, 8, 8), draw));
    EXPECT_EQ(rows[40].box.hi[0] - rows[40].box.lo[0], 7);
  }
}

// The box is cut in integers of more than 32 bits.
TEST_F(RowOnDevice, CutsBoxesOfHugeImages) {
  Spec spec;
  spec.policies = {{CutMix{{0.1f, 0.3f}, Fold::none, {Boxes::Kind::inside}}, 1.0f}};
  for (auto const& [pairing, samples] : {std::pair{Pairing::roll, 300}, {Pairing::cycle, 4100}}) {
    spec.pairing = pairing;
    Extents const extents = image(samples, 70000, 90000);
    EXPECT_EQ(drawn_rows(here(), spec, extents, {1, 2, 3}),
              drawn_rows(on_cpu(), spec, extents, {1, 2, 3}));
  }
}

}  // namespace
}  // namespace mixfuse::test
