// SPDX-License-Identifier: Apache-2.0

// Rows whose draw is decided by a hair.

#include <gtest/gtest.h>

#include <optional>

#include "kernels/maths/beta.hpp"
#include "kernels/maths/philox.hpp"
#include "tests/support/batch.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::test {
namespace {

class RowOnDevice : public OnDevice {};

/// The first index whose weight would be another one if the word that it is accepted by were
/// larger or smaller by `nudge`.
std::optional<std::uint64_t> close_call(Beta weight, Draw draw, std::uint32_t nudge) {
  maths::BetaLaw const law = maths::make_beta_law(weight.a, weight.b);
  for (std::uint64_t index = 40; index < 1000000; ++index) {
    auto const drawn = [&](std::uint32_t more) {
      return maths::draw_beta(law, [&](std::uint32_t block) {
        maths::Words words =
            maths::draw_words(draw.seed, index, draw.step, maths::Purpose::lambda, block);
        words.w[3] += more;
        return words;
      });
    };
    if (drawn(0).own != drawn(nudge).own) return index;
  }
  return std::nullopt;
}

// An error of 1e-4 in what a try is compared with shows in no other way.
TEST_F(RowOnDevice, AcceptsAndRejectsByAHairAsTheHostDoes) {
  constexpr std::uint32_t hair = 1u << 16;  // of 2^32
  for (Beta const weight : {Beta{2.0f, 3.0f}, Beta{100.0f, 3.0f}, Beta{1e-3f, 5.0f}}) {
    for (std::uint32_t const nudge : {hair, 0u - hair}) {  // just accepted, just rejected
      Draw draw{31, 7, 0};
      auto const index = close_call(weight, draw, nudge);
      ASSERT_TRUE(index.has_value());
      draw.first = *index - 40;
      Spec spec;
      spec.policies = {{Mixup{weight, Fold::none}, 1.0f}};
      for (auto const& [pairing, samples] :
           {std::pair{Pairing::roll, 60}, {Pairing::cycle, 60}, {Pairing::cycle, 4100}}) {
        spec.pairing = pairing;
        EXPECT_EQ(drawn_rows(here(), spec, image(samples, 1, 1), draw),
                  drawn_rows(on_cpu(), spec, image(samples, 1, 1), draw));
      }
    }
  }
}

}  // namespace
}  // namespace mixfuse::test
