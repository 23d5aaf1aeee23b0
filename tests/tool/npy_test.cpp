// SPDX-License-Identifier: Apache-2.0
#include "host/cli/npy.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "host/cli/fault.hpp"
#include "tests/tool/tool.hpp"

namespace mixfuse {
namespace {

using namespace tool_tests;
using cli::NpyHeader;

NpyHeader parse(std::string const& file) {
  return cli::parse_npy_header(std::as_bytes(std::span{file}), file.size(), "x.npy");
}

std::string refusal(std::string const& file) {
  try {
    static_cast<void>(parse(file));
  } catch (cli::failed_run const& error) {
    return error.what();
  }
  return "";
}

std::string with(std::string const& dictionary, std::size_t elements, char version = 1) {
  std::string file{"\x93NUMPY", 6};
  file += {version, '\0'};
  auto const length = dictionary.size();
  file += {static_cast<char>(length & 255), static_cast<char>(length >> 8)};
  if (version > 1) file += std::string(2, '\0');
  return file + dictionary + std::string(elements, 'x');
}

// As numpy.save of NumPy 2.4 wrote them.
TEST(Npy, HeadersAreThoseThatNumPyWrites) {
  std::string expected{"\x93NUMPY\x01\x00\x76\x00", 10};
  expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  expected.append(58, ' ') += '\n';
  EXPECT_EQ(cli::npy_header("'<f4'", {2, 3}), expected);
  EXPECT_NE(cli::npy_header("'|u1'", {5}).find("'shape': (5,), }"), std::string::npos);
  EXPECT_NE(cli::npy_header("'|u1'", {}).find("'shape': (), }"), std::string::npos);
}

TEST(Npy, EveryVersionOfTheHeaderIsRead) {
  std::string const dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n";
  for (char version : {'\1', '\2', '\3'}) {
    NpyHeader const header = parse(with(dictionary, 24, version));
    EXPECT_EQ(header.dtype, DType::f32);
    EXPECT_EQ(header.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(header.bytes, 24u);
    EXPECT_EQ(header.offset, dictionary.size() + (version == 1 ? 10 : 12));
  }
  EXPECT_NE(refusal(with(dictionary, 24, 4)).find("version 4"), std::string::npos);
  for (std::size_t const byte : {10u, 11u}) {  // all four bytes of its length count
    std::string file = with(dictionary, 24, 2);
    file[byte] = '\1';
    EXPECT_NE(refusal(file).find("too long"), std::string::npos) << byte;
  }
}

TEST(Npy, KeysMayComeInAnyOrderAndQuotes) {
  NpyHeader const header =
      parse(with("{\"shape\":(3,),'fortran_order':False , 'descr' : \"|b1\"}", 3));
  EXPECT_EQ(header.dtype, DType::boolean);
  EXPECT_EQ(header.shape, std::vector<std::int64_t>{3});
}

TEST(Npy, DtypesAreThoseOfTheContract) {
  struct Case {
    char const* name;
    DType dtype;
  };
  for (Case const& known : {Case{"|u1", DType::u8},
                            {"<u1", DType::u8},
                            {"|b1", DType::boolean},
                            {"<i4", DType::i32},
                            {"<i8", DType::i64},
                            {"<f2", DType::f16},
                            {"<u2", DType::bf16},
                            {"<f4", DType::f32},
                            {"<f8", DType::f64}}) {
    std::string const header = cli::npy_header("'" + std::string{known.name} + "'", {0});
    EXPECT_EQ(parse(header).dtype, known.dtype) << known.name;
  }
  for (char const* unknown : {"|i1", "<i2", "<u4", "<c8", "|S4", "<f16", "<f", "", "|O", "u1"}) {
    std::string const header = cli::npy_header("'" + std::string{unknown} + "'", {0});
    EXPECT_NE(refusal(header).find("dtype"), std::string::npos) << unknown;
  }
}

TEST(Npy, WhatIsNotReadIsRefusedByName) {
  EXPECT_NE(
      refusal(with("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4)).find("Fortran"),
      std::string::npos);
  EXPECT_NE(refusal(cli::npy_header("'>f4'", {1}) + "abcd").find("big-endian"), std::string::npos);
  EXPECT_NE(refusal(cli::npy_header("[('a', '<f4')]", {1}) + "abcd").find("structured"),
            std::string::npos);
}

TEST(Npy, AFileIsExactlyAsLongAsItsHeaderSays) {
  std::string const file = tagged_images(2);
  EXPECT_EQ(refusal(file), "");
  EXPECT_NE(refusal(file + "x"), "");
  for (std::size_t length = 0; length < file.size(); ++length) {
    ASSERT_NE(refusal(file.substr(0, length)), "") << length;
  }
}

TEST(Npy, SizesThatOverflowAreRefused) {
  for (char const* shape : {"(2147483647, 2147483647)", "(4294967296, 4294967296)",
                            "(9223372036854775807,)", "(9223372036854775808,)",
                            "(2, 9223372036854775807)", "(-1,)", "(4611686018427387904, 4)"}) {
    std::string const dictionary =
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + std::string{shape} + ", }";
    EXPECT_NE(refusal(with(dictionary, 16)), "") << shape;
    EXPECT_NE(refusal(with(dictionary, 0)), "") << shape << ", some of which is 0 modulo 2^64";
  }
}

TEST(Npy, AHeaderThatEndsBeyondTheFileIsRefused) {
  // By one byte, and with elements of which there are -1 modulo 2^64.
  std::string const dictionary =
      "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967295, 4294967297), }";
  std::string file = with(dictionary, 0);
  file[8] = static_cast<char>(file[8] + 1);
  EXPECT_NE(refusal(file).find("ends in its header"), std::string::npos) << refusal(file);
}

TEST(Npy, HeadersOutsideTheGrammarAreRefused) {
  for (char const* dictionary :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,)}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}"}) {
    EXPECT_NE(refusal(with(dictionary, 4)), "") << dictionary;
  }
}

TEST(Npy, BoolsAreZeroOrOne) {
  Workplace const at;
  at.write("b.npy", npy<std::uint8_t>("|b1", {3}, {0, 1, 2}));
  cli::Budget budget{{}};
  EXPECT_THROW(static_cast<void>(cli::read_npy(at.path("work/b.npy"), budget)), cli::failed_run);
}

TEST(Npy, NumPyReadsWhatTheToolWritesAndTheReverse) {
  Workplace const at;
  if (at.run_program("python3", "-c 'import numpy'").status != 0) GTEST_SKIP() << "no NumPy";
  at.write("save.py",
           "import numpy as np\n"
           "np.save('x.npy', np.arange(2*3*4*5).reshape(2,3,4,5).astype('f4') / 120)\n"
           "np.save('y.npy', np.array([1, 0], 'i4'))\n");
  at.write("load.py",
           "import numpy as np\n"
           "x, o, t, s = (np.load(n + '.npy') for n in 'xots')\n"
           "assert o.dtype == 'f4' and np.array_equal(o, x)\n"
           "assert t.dtype == 'f4' and np.array_equal(t, [[0, 1], [1, 0]])\n"
           "assert s.dtype.names == ('own', 'partner', 'lambda') and s.itemsize == 20\n"
           "assert s['own'].tolist() == [1, 0] and s['lambda'].tolist() == [1, 1]\n");
  ASSERT_EQ(at.run_program("python3", "save.py").status, 0);
  std::string const base = "mix --images x.npy --labels y.npy --num-classes 2 --mixup 0 ";
  EXPECT_EQ(at.run(base + "--out o.npy --targets t.npy").status, 0);
  EXPECT_EQ(at.run(base + "--targets s.npy --target sparse").status, 0);
  Ended const loaded = at.run_program("python3", "load.py");
  EXPECT_EQ(loaded.status, 0) << loaded.err;
}

}  // namespace
}  // namespace mixfuse
