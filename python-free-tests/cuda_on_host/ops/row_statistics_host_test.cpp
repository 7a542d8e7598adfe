// SPDX-License-Identifier: Apache-2.0
// The kernels that finish the statistics of a batch norm, run on the host, against float64.
#include <gtest/gtest.h>

#include "rows/cuda/row_launch.hpp"
#include "storage_values.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;

constexpr double kEpsilon = 1e-5, kMomentum = 0.1;

/// Parameters, buffers, and what the kernels write.
struct Norm {
  explicit Norm(std::int64_t num_channels)
      : channels(num_channels),
        weight(random_values<float>(channels, 11, true)),
        bias(random_values<float>(channels, 12, true)),
        running_mean(random_values<float>(channels, 13, true)),
        running_var(random_values<float>(channels, 14, true)),
        batches(std::vector<std::int64_t>{5}),
        mean(channels, true),
        inverse(channels, true),
        count(1, true),
        scale(channels, true),
        shift(channels, true),
        weight_gradient(channels, true),
        bias_gradient(channels, true),
        slope(channels, true),
        offset(channels, true) {
    for (std::int64_t c = 0; c < channels; ++c) running_var[c] = std::abs(running_var[c]) + 0.1F;
  }

  void finish_forward(const double* partials, std::int64_t num_partials, bool moves_on) {
    launch_forward_statistics({.partials = partials,
                               .num_partials = num_partials,
                               .channels = channels,
                               .epsilon = kEpsilon,
                               .momentum = kMomentum,
                               .weight = weight.data(),
                               .bias = bias.data(),
                               .running_mean = running_mean.data(),
                               .running_var = running_var.data(),
                               .moves_on = moves_on,
                               .num_batches = batches.data(),
                               .mean = mean.data(),
                               .inverse = inverse.data(),
                               .count = partials ? count.data() : nullptr,
                               .scale = scale.data(),
                               .shift = shift.data()},
                              nullptr);
  }
  void finish_backward(const double* partials, std::int64_t num_partials, const double* all_ranks,
                       bool fixed) {
    launch_backward_statistics({.partials = partials,
                                .num_partials = num_partials,
                                .channels = channels,
                                .all_ranks = all_ranks,
                                .mean = mean.data(),
                                .inverse = inverse.data(),
                                .count = fixed ? nullptr : count.data(),
                                .weight = weight.data(),
                                .weight_gradient = weight_gradient.data(),
                                .bias_gradient = bias_gradient.data(),
                                .slope = slope.data(),
                                .offset = offset.data()},
                               nullptr);
  }

  std::int64_t channels;
  Values<float> weight, bias, running_mean, running_var;
  host_cuda::GuardedBuffer<std::int64_t> batches;
  Values<double> mean, inverse, count;
  Values<float> scale, shift, weight_gradient, bias_gradient, slope, offset;
};

/// Partial sums as if of numbers with mean m and variance v per channel.
host_cuda::GuardedBuffer<double> make_partials(std::int64_t blocks, std::int64_t channels,
                                               double rows_per_block) {
  const std::int64_t columns = partial_columns(channels);
  std::vector<double> all(static_cast<std::size_t>(blocks * columns));
  const CounterRandom random(22, 1);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const double mean = random.uniform(static_cast<std::uint64_t>(b * channels + c)) - 0.3;
      all[static_cast<std::size_t>(b * columns + c)] = rows_per_block * mean;
      all[static_cast<std::size_t>(b * columns + channels + c)] = rows_per_block * (mean * mean + 0.5);
    }
    all[static_cast<std::size_t>(b * columns + 2 * channels)] = rows_per_block;
  }
  return host_cuda::GuardedBuffer<double>(all);
}

double column_sum(const host_cuda::GuardedBuffer<double>& partials, std::int64_t columns,
                  std::int64_t column) {
  double sum = 0;
  for (auto i = static_cast<std::size_t>(column); i < partials.size(); i += static_cast<std::size_t>(columns))
    sum += partials[i];
  return sum;
}

void expect_relative(double value, double expected, double tolerance) {
  EXPECT_NEAR(value, expected, tolerance * std::max(1.0, std::abs(expected)));
}

constexpr std::int64_t kChannels[] = {1, 3, 31, 32, 33, 64, 256};
constexpr std::int64_t kBlocks[] = {1, 2, 31, 32, 33, 1024};

TEST(RowStatisticsTest, ForwardEqualsTheFormula) {
  for (const std::int64_t channels : kChannels)
    for (const std::int64_t blocks : kBlocks) {
      SCOPED_TRACE(testing::Message() << channels << " channels, " << blocks << " blocks");
      const auto partials = make_partials(blocks, channels, 40);
      Norm norm(channels), before(channels);
      norm.finish_forward(partials.data(), blocks, true);
      const double rows = 40.0 * static_cast<double>(blocks);
      EXPECT_EQ(norm.count[0], rows);
      EXPECT_EQ(norm.batches[0], 6);
      for (std::int64_t c = 0; c < channels; ++c) {
        const double mean = column_sum(partials, 2 * channels + 1, c) / rows;
        const double variance = column_sum(partials, 2 * channels + 1, channels + c) / rows - mean * mean;
        const double inverse = 1 / std::sqrt(variance + kEpsilon);
        expect_relative(norm.mean[c], mean, 1e-12);
        expect_relative(norm.inverse[c], inverse, 1e-12);
        expect_relative(norm.scale[c], norm.weight[c] * inverse, 1e-6);
        expect_relative(norm.shift[c], norm.bias[c] - norm.weight[c] * inverse * mean, 1e-6);
        expect_relative(norm.running_mean[c], 0.9 * before.running_mean[c] + 0.1 * mean, 1e-6);
        expect_relative(norm.running_var[c], 0.9 * before.running_var[c] + 0.1 * variance * rows / (rows - 1),
                        1e-6);
      }
    }
}

TEST(RowStatisticsTest, RunningStatisticsStayInAReplayAndWithoutRows) {
  for (const bool replay : {true, false}) {
    Norm norm(7), before(7);
    const auto partials = make_partials(replay ? 3 : 0, 7, 40);
    norm.finish_forward(partials.data(), replay ? 3 : 0, !replay);
    for (std::int64_t c = 0; c < 7; ++c) {
      EXPECT_EQ(norm.running_mean[c], before.running_mean[c]);
      EXPECT_EQ(norm.running_var[c], before.running_var[c]);
      EXPECT_TRUE(std::isfinite(norm.scale[c]) && std::isfinite(norm.shift[c]));
    }
    EXPECT_EQ(norm.count[0], replay ? 120 : 1);
    EXPECT_EQ(norm.batches[0], replay ? 5 : 6) << "a batch of no row is a batch";
  }
}

TEST(RowStatisticsTest, OneRowHasABiasedRunningVariance) {
  Norm norm(2), before(2);
  const host_cuda::GuardedBuffer<double> partials(std::vector<double>{3, 4, 9, 16, 1});
  norm.finish_forward(partials.data(), 1, true);
  for (std::int64_t c = 0; c < 2; ++c) EXPECT_FLOAT_EQ(norm.running_var[c], 0.9F * before.running_var[c]);
}

TEST(RowStatisticsTest, EvaluationTakesTheRunningStatistics) {
  Norm norm(33);
  norm.finish_forward(nullptr, 0, false);
  for (std::int64_t c = 0; c < 33; ++c) {
    const double inverse = 1 / std::sqrt(norm.running_var[c] + kEpsilon);
    EXPECT_EQ(norm.mean[c], norm.running_mean[c]);
    expect_relative(norm.inverse[c], inverse, 1e-12);
    expect_relative(norm.scale[c], norm.weight[c] * inverse, 1e-6);
  }
}

TEST(RowStatisticsTest, BackwardEqualsTheFormula) {
  for (const std::int64_t channels : kChannels)
    for (const std::int64_t blocks : kBlocks)
      for (const bool ranks : {false, true}) {
        SCOPED_TRACE(testing::Message() << channels << " channels, " << blocks << " blocks");
        Norm norm(channels);
        const auto forward = make_partials(3, channels, 40), partials = make_partials(blocks, channels, 40),
                   others = make_partials(1, channels, 70);
        norm.finish_forward(forward.data(), 3, false);
        norm.finish_backward(partials.data(), blocks, ranks ? others.data() : nullptr, false);
        const auto& all = ranks ? others : partials;
        for (std::int64_t c = 0; c < channels; ++c) {
          const auto normalised = [&](const auto& sums) {
            return (column_sum(sums, 2 * channels + 1, channels + c) -
                    column_sum(sums, 2 * channels + 1, c) * norm.mean[c]) *
                   norm.inverse[c];
          };
          const double scale = norm.weight[c] * norm.inverse[c];
          const double slope = scale * norm.inverse[c] * normalised(all) / 120;
          expect_relative(norm.weight_gradient[c], normalised(partials), 1e-6);
          expect_relative(norm.bias_gradient[c], column_sum(partials, 2 * channels + 1, c), 1e-6);
          expect_relative(norm.slope[c], slope, 1e-6);
          expect_relative(norm.offset[c],
                          scale * column_sum(all, 2 * channels + 1, c) / 120 - slope * norm.mean[c], 1e-6);
        }
      }
}

TEST(RowStatisticsTest, FixedStatisticsCorrectNothing) {
  Norm norm(9);
  const auto partials = make_partials(4, 9, 40);
  norm.finish_forward(nullptr, 0, false);
  norm.finish_backward(partials.data(), 4, nullptr, true);
  for (std::int64_t c = 0; c < 9; ++c) {
    EXPECT_EQ(norm.slope[c], 0);
    EXPECT_EQ(norm.offset[c], 0);
    expect_relative(norm.bias_gradient[c], column_sum(partials, 19, c), 1e-6);
  }
}

TEST(RowStatisticsTest, SumsOfPartialsDoNotDependOnTheOrderOfBlocksAndThreads) {
  constexpr std::int64_t kColumns = 129;
  const auto partials = make_partials(100, 64, 40);
  std::vector<std::vector<double>> results;
  for (const host_cuda::BlockOrder order : host_cuda::kBlockOrders)
    for (std::uint64_t seed = 1; seed < 4; ++seed) {
      host_cuda::set_seed(seed);
      host_cuda::set_block_order(order);
      host_cuda::GuardedBuffer<double> sums(kColumns);
      launch_sum_partials(partials.data(), 100, kColumns, sums.data(), nullptr);
      results.push_back(sums.values());
    }
  host_cuda::set_block_order(host_cuda::BlockOrder::ascending);
  for (const auto& sums : results) EXPECT_EQ(sums, results[0]);
  for (std::int64_t c = 0; c < kColumns; ++c)
    expect_relative(results[0][static_cast<std::size_t>(c)], column_sum(partials, kColumns, c), 1e-12);
}

}  // namespace
}  // namespace bunchtrain::test
