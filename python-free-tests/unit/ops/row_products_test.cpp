// SPDX-License-Identifier: Apache-2.0
// Every instruction set that this processor has multiplies as a plain sum in double does, and each row by itself.
#include "rows/cpu/row_products.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "bunchtrain/core/random.hpp"
#include "conv3d/cpu/image_convolution.hpp"
#include "edge_conv/cpu/edge_simd.hpp"
#include "instruction_sets.hpp"
#include "rows/cpu/outer_products.hpp"

namespace bunchtrain::ops::detail {
namespace {

std::vector<float> numbers(std::int64_t count, std::uint64_t stream) {
  const CounterRandom random(3, stream);
  std::vector<float> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(random.normal(i));
  return all;
}

class RowProductsTest : public test::InstructionSetTest {};

TEST_P(RowProductsTest, AreSumsOfProducts) {
  struct Sizes {
    std::int64_t in, out, rows;
  };
  for (const auto& [in, out, rows] :
       {Sizes{1, 1, 1}, {7, 2, 3}, {64, 64, 13}, {33, 35, 9}, {200, 40, 21}, {5, 17, 0}})
    for (const bool relu : {false, true}) {
      const auto weight = numbers(in * out, 1), bias = numbers(out, 2), x = numbers(in * rows, 3);
      const auto panels = pack_panels(weight.data(), bias.data(), in, out);
      std::vector<float> y(static_cast<std::size_t>(rows * out + 1), -77);
      const RowProduct product{panels.data(), in, out, relu};
      multiply_rows(product, x.data(), rows, y.data());
      EXPECT_EQ(y.back(), -77) << "behind the end";
      std::vector<float> alone(static_cast<std::size_t>(out));
      for (std::int64_t r = 0; r < rows; ++r) {
        multiply_rows(product, x.data() + r * in, 1, alone.data());
        for (std::int64_t c = 0; c < out; ++c) {
          double sum = bias[static_cast<std::size_t>(c)];
          for (std::int64_t k = 0; k < in; ++k)
            sum += double{x[static_cast<std::size_t>(r * in + k)]} *
                   weight[static_cast<std::size_t>(k * out + c)];
          const float found = y[static_cast<std::size_t>(r * out + c)];
          ASSERT_NEAR(found, relu ? std::max(sum, 0.0) : sum, 1e-4) << in << " to " << out << ", row " << r;
          ASSERT_EQ(found, alone[static_cast<std::size_t>(c)]);
        }
      }
    }
}

TEST_P(RowProductsTest, KeepWhatIsNotFinite) {
  const std::vector<float> weight(40, 1.0F), bias(40, 0.0F);
  const auto panels = pack_panels(weight.data(), bias.data(), 1, 40);
  const float x[] = {std::numeric_limits<float>::quiet_NaN(), 2};
  std::vector<float> y(80);
  multiply_rows({panels.data(), 1, 40, false}, x, 2, y.data());
  for (std::size_t c = 0; c < 40; ++c) {
    EXPECT_TRUE(std::isnan(y[c])) << c;
    EXPECT_EQ(y[40 + c], 2) << c;
  }
}

TEST_P(RowProductsTest, AveragesAreMeansOfActivatedRows) {
  constexpr std::int64_t kIn = 21, kPoints = 3;
  for (const std::int64_t out : {1, 16, 35, 64})
    for (const std::int64_t k : {1, 2, 5, 6, 7, 8, 9, 13, 16, 39}) {
      const auto weight = numbers(kIn * out, 1), bias = numbers(out, 2), x = numbers(kIn * kPoints * k, 3);
      const auto panels = pack_panels(weight.data(), bias.data(), kIn, out);
      const RowProduct product{panels.data(), kIn, out, true};
      std::vector<float> rows(static_cast<std::size_t>(kPoints * k * out));
      multiply_rows(product, x.data(), kPoints * k, rows.data());
      std::vector<float> mean(static_cast<std::size_t>(kPoints * out + 1), -77),
          alone(static_cast<std::size_t>(out));
      average_products(product, x.data(), kPoints, k, mean.data());
      EXPECT_EQ(mean.back(), -77) << "behind the end";
      for (std::int64_t i = 0; i < kPoints; ++i) {
        average_products(product, x.data() + i * k * kIn, 1, k, alone.data());
        for (std::int64_t c = 0; c < out; ++c) {
          double sum = 0;
          for (std::int64_t e = 0; e < k; ++e) sum += rows[static_cast<std::size_t>((i * k + e) * out + c)];
          const float found = mean[static_cast<std::size_t>(i * out + c)];
          ASSERT_NEAR(found, sum / static_cast<double>(k), 1e-5) << out << " columns, k " << k;
          ASSERT_EQ(found, alone[static_cast<std::size_t>(c)]);
        }
      }
    }
}

/// Rows like those behind a ReLU: some columns are zero in all rows of a point, some in single rows, one is NaN.
TEST_P(RowProductsTest, ZerosAreLeftOutWithoutChangingBits) {
  struct Sizes {
    std::int64_t in, out, points, k;
  };
  for (const auto& [in, out, points, k] : {Sizes{1, 3, 2, 1},
                                           {20, 35, 40, 16},
                                           {64, 64, 30, 7},
                                           {256, 33, 9, 16},
                                           {257, 16, 3, 5},
                                           {5, 16, 2, 300}}) {
    const std::int64_t rows = points * k;
    const auto weight = numbers(in * out, 1), bias = numbers(out, 2);
    auto x = numbers(rows * in, 3);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t c = 0; c < in; ++c) {
        float& value = x[static_cast<std::size_t>(row * in + c)];
        if (value < 0 || (row / k + c) % 3 == 0) value = 0;
      }
    x[static_cast<std::size_t>((rows - 1) * in)] = std::numeric_limits<float>::quiet_NaN();
    const auto panels = pack_panels(weight.data(), bias.data(), in, out);
    const RowProduct all{panels.data(), in, out, false}, some{panels.data(), in, out, false, true};
    const auto size = static_cast<std::size_t>(rows * out), means = static_cast<std::size_t>(points * out);
    std::vector<float> expected(size), found(size), expected_mean(means), mean(means);
    multiply_rows(all, x.data(), rows, expected.data());
    multiply_rows(some, x.data(), rows, found.data());
    average_products(all, x.data(), points, k, expected_mean.data());
    average_products(some, x.data(), points, k, mean.data());
    const auto same = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    for (std::size_t i = 0; i < size; ++i) ASSERT_TRUE(same(found[i], expected[i])) << in << ", value " << i;
    for (std::size_t i = 0; i < means; ++i)
      ASSERT_TRUE(same(mean[i], expected_mean[i])) << in << ", mean " << i;
    EXPECT_TRUE(std::isnan(found.back()));
  }
}

TEST_P(RowProductsTest, EdgesAreActivatedSumsOfTerms) {
  const std::vector<std::int32_t> indices = {3, 1, 0, 2, 3, 3, 1, 0};
  for (const std::int64_t channels : {1, 5, 16, 37}) {
    auto terms = numbers(4 * 2 * channels, 1);
    terms[static_cast<std::size_t>(2 * channels)] = std::numeric_limits<float>::quiet_NaN();  // u of point 1
    const auto at = [&](std::int64_t point, std::int64_t c) {
      return terms[static_cast<std::size_t>(point * 2 * channels + c)];
    };
    std::vector<float> out(static_cast<std::size_t>(2 * 2 * channels + 1), -77);
    activate_points({.points = 4, .neighbours = 2, .channels = channels}, 1, 3, terms.data(), indices.data(),
                    out.data());
    EXPECT_EQ(out.back(), -77) << "behind the end";
    for (std::int64_t edge = 0; edge < 4; ++edge)
      for (std::int64_t c = 0; c < channels; ++c) {
        const float sum = at(1 + edge / 2, c) + at(indices[static_cast<std::size_t>(2 + edge)], channels + c);
        EXPECT_EQ(out[static_cast<std::size_t>(edge * channels + c)], sum > 0 ? sum : 0) << edge << ", " << c;
      }
  }
}

TEST_P(RowProductsTest, WindowsAreSumsOverTheirRuns) {
  constexpr std::int64_t kRun = 5;
  const std::vector<WindowRun> runs = {{0, 0}, {7, 2}, {20, 1}};
  for (const std::int64_t columns : {16, 32, 48, 64, 80}) {
    const auto weight = numbers(3 * kRun * columns, 1), x = numbers(100, 2), bias = numbers(columns, 3),
               scale = numbers(columns, 4), shift = numbers(columns, 5);
    const WindowProduct product{
        weight.data(), {bias.data(), scale.data(), shift.data(), 0.3F}, columns, kRun, runs};
    for (std::size_t windows = 1; windows < 20; ++windows) {
      std::vector<std::int64_t> begins;
      for (std::size_t i = 0; i < windows; ++i) begins.push_back(static_cast<std::int64_t>(3 * i));
      std::vector<float> y(windows * static_cast<std::size_t>(columns));
      multiply_windows(product, x.data(), begins, y.data());
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t c = i % static_cast<std::size_t>(columns);
        double sum = bias[c];
        for (const WindowRun& run : runs)
          for (std::int64_t k = 0; k < kRun; ++k)
            sum += double{x[static_cast<std::size_t>(begins[i / static_cast<std::size_t>(columns)] +
                                                     run.begin + k)]} *
                   weight[static_cast<std::size_t>((run.block * kRun + k) * columns) + c];
        ASSERT_NEAR(y[i], std::max(sum, 0.3 * sum) * scale[c] + shift[c], 1e-4)
            << columns << " columns, " << i;
      }
    }
  }
}

TEST_P(RowProductsTest, OuterProductsAreAddedToWhatWasThere) {
  struct Sizes {
    std::int64_t out, in, rows;
  };
  for (const auto& [out, in, rows] :
       {Sizes{1, 1, 1}, {8, 32, 5}, {64, 64, 300}, {13, 35, 129}, {6, 20, 2}, {9, 96, 0}}) {
    const auto dy = numbers(rows * out, 1), x = numbers(rows * in, 2), before = numbers(out * in, 3);
    std::vector<float> sum = before;
    sum.push_back(-77);
    add_outer_products(dy.data(), x.data(), rows, out, in, sum.data());
    EXPECT_EQ(sum.back(), -77) << "behind the end";
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t c = 0; c < in; ++c) {
        double expected = before[static_cast<std::size_t>(o * in + c)];
        for (std::int64_t r = 0; r < rows; ++r)
          expected +=
              double{dy[static_cast<std::size_t>(r * out + o)]} * x[static_cast<std::size_t>(r * in + c)];
        ASSERT_NEAR(sum[static_cast<std::size_t>(o * in + c)], expected, 1e-4)
            << out << " x " << in << ", " << rows;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowProductsTest, testing::ValuesIn(test::instruction_sets()),
                         test::name_of_instruction_set);

}  // namespace
}  // namespace bunchtrain::ops::detail
