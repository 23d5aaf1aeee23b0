// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/maths/beta.hpp"
#include "tests/support/require_gpu.hpp"

namespace mixfuse::maths {
namespace {

struct Shapes {
  float a, b;
};

constexpr Shapes shapes_tested[] = {
    {1e-6f, 1e-6f}, {1e-3f, 1e-3f}, {0.01f, 0.01f}, {0.2f, 0.2f}, {1.0f, 1.0f},   {8.0f, 8.0f},
    {1e6f, 1e6f},   {1e-6f, 2e-6f}, {1e-6f, 1e6f},  {0.2f, 0.8f}, {2.0f, 1.0f},   {1e-3f, 5.0f},
    {100.0f, 3.0f}, {0.01f, 1e4f},  {1e6f, 9e5f},   {5.0f, 1e6f}, {20.0f, 30.0f}, {7.0f, 500.0f},
};

/// Try t of draw i takes the words of block i + t.
struct WordsFrom {
  Words const* first;
  MIXFUSE_HD Words operator()(std::uint32_t block) const { return first[block]; }
};

__global__ void make_law(float a, float b, BetaLaw* law) { *law = make_beta_law(a, b); }

__global__ void draw(BetaLaw law, Words const* words, Weight* weights, int draws) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < draws) weights[i] = draw_beta(law, WordsFrom{words + i});
}

/// Device memory for a test; any error is a failure of it.
template <class T>
class Shared {
 public:
  explicit Shared(std::size_t count) : bytes_(count * sizeof(T)) {
    EXPECT_EQ(cudaMalloc(&data_, bytes_), cudaSuccess);
  }
  ~Shared() { cudaFree(data_); }
  Shared(Shared const&) = delete;
  Shared& operator=(Shared const&) = delete;
  T* data() const { return static_cast<T*>(data_); }
  void set(std::vector<T> const& values) const {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice), cudaSuccess);
  }
  std::vector<T> get() const {
    std::vector<T> values(bytes_ / sizeof(T));
    EXPECT_EQ(cudaMemcpy(values.data(), data_, bytes_, cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  std::size_t bytes_;
  void* data_ = nullptr;
};

/// Random blocks, then every block of extreme words, then each extreme block `most_tries` times
/// over.
std::vector<Words> words_tested() {
  std::mt19937_64 engine(0xfa0b45192cd52bb5u);
  std::vector<Words> words;
  for (int i = 0; i < 4096; ++i) {
    std::uint64_t const x = engine(), y = engine();
    words.push_back({{static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                      static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y >> 32)}});
  }
  constexpr std::uint32_t extremes[] = {0u,          1u,          0x7fffffffu, 0x80000000u,
                                        0xffffff7fu, 0xffffff80u, 0xffffffffu};
  for (std::uint32_t const w0 : extremes) {
    for (std::uint32_t const w1 : extremes) {
      for (std::uint32_t const w2 : extremes) {
        for (std::uint32_t const w3 : extremes) words.push_back({{w0, w1, w2, w3}});
      }
    }
  }
  for (std::uint32_t const word : extremes)
    words.insert(words.end(), most_tries, {{word, word, word, word}});
  return words;
}

bool same(float x, float y) { return bits_of(x) == bits_of(y); }
bool same(TwoFloat x, TwoFloat y) { return same(x.hi, y.hi) && same(x.lo, y.lo); }
bool same(HatSide x, HatSide y) {
  return same(x.corner, y.corner) && same(x.scale, y.scale) && x.share == y.share;
}
bool same(BetaLaw const& x, BetaLaw const& y) {
  return x.symmetric == y.symmetric && x.swapped == y.swapped && same(x.inverse, y.inverse) &&
         same(x.total, y.total) && same(x.mode, y.mode) && same(x.rest, y.rest) &&
         same(x.odds, y.odds) && same(x.inverse_odds, y.inverse_odds) && same(x.left, y.left) &&
         same(x.right, y.right);
}

class BetaOnDevice : public mixfuse::test::OnDevice {};

TEST_F(BetaOnDevice, LawsHaveTheHostsBits) {
  for (Shapes const shapes : shapes_tested) {
    for (bool const turned : {false, true}) {
      float const a = turned ? shapes.b : shapes.a, b = turned ? shapes.a : shapes.b;
      Shared<BetaLaw> law(1);
      make_law<<<1, 1>>>(a, b, law.data());
      ASSERT_EQ(cudaGetLastError(), cudaSuccess);
      EXPECT_TRUE(same(law.get()[0], make_beta_law(a, b))) << a << ' ' << b;
    }
  }
}

TEST_F(BetaOnDevice, DrawsHaveTheHostsBits) {
  std::vector<Words> const words = words_tested();
  int const draws = static_cast<int>(words.size() - most_tries + 1);
  Shared<Words> on_device(words.size());
  on_device.set(words);
  for (Shapes const shapes : shapes_tested) {
    BetaLaw const law = make_beta_law(shapes.a, shapes.b);
    Shared<Weight> weights(static_cast<std::size_t>(draws));
    constexpr int threads = 128;
    draw<<<static_cast<unsigned>((draws + threads - 1) / threads), threads>>>(
        law, on_device.data(), weights.data(), draws);
    ASSERT_EQ(cudaGetLastError(), cudaSuccess);
    std::vector<Weight> const drawn = weights.get();
    for (int i = 0; i < draws; ++i) {
      Weight const expected = draw_beta(law, WordsFrom{words.data() + i});
      Weight const weight = drawn[static_cast<std::size_t>(i)];
      ASSERT_TRUE(same(weight.own, expected.own) && same(weight.partner, expected.partner))
          << shapes.a << ' ' << shapes.b << ", draw " << i << ": " << weight.own << ' '
          << weight.partner << " for " << expected.own << ' ' << expected.partner;
    }
  }
}

}  // namespace
}  // namespace mixfuse::maths
