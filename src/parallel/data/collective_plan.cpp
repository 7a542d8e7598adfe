// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/collective_plan.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {

namespace {

constexpr std::int64_t kSmallBytes = 1 << 10;
constexpr std::int64_t kLargeBytes = 4 << 20;
constexpr int kSmallRepetitions = 15;
constexpr int kLargeRepetitions = 3;
/// Up to here latency and the cost of pumping outweigh what overlap hides.
constexpr std::int64_t kOneCollectiveBytes = 4 << 20;
constexpr std::int64_t kLeastBucketBytes = 1 << 20;
constexpr double kMaxBuckets = 16;

double seconds_of_one(comm::Communicator& communicator, at::Tensor& tensor) {
  communicator.barrier();
  const auto start = std::chrono::steady_clock::now();
  communicator.all_reduce(tensor).wait();
  if (!tensor.is_cpu())
    static_cast<void>(tensor[0].item<float>());  // wait() orders streams, it does not block
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median_seconds(comm::Communicator& communicator, c10::Device device, std::int64_t bytes,
                      int repetitions) {
  at::Tensor tensor = at::zeros({bytes / 4}, at::TensorOptions(at::kFloat).device(device));
  seconds_of_one(communicator, tensor);  // connections are made by the first use
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) times.push_back(seconds_of_one(communicator, tensor));
  std::ranges::nth_element(times, times.begin() + repetitions / 2);
  return times[static_cast<std::size_t>(repetitions / 2)];
}

double slowest(const comm::Communicator& communicator, double seconds) {
  const auto nanoseconds = static_cast<std::int64_t>(seconds * 1e9);
  return static_cast<double>(communicator.control().all_max(nanoseconds)) * 1e-9;
}

std::string describe(const LinkFit& fit) {
  if (fit.bytes_per_second <= 0) return "as asked for";
  return fmt::format("latency {:.0f} us, {:.2f} GB/s", fit.latency_seconds * 1e6,
                     fit.bytes_per_second * 1e-9);
}

/// n buckets expose about n * latency + bytes / (n * bandwidth): least at n = sqrt(bytes
/// / (bandwidth * latency)).
std::int64_t best_bucket_bytes(const LinkFit& fit, std::int64_t gradient_bytes) {
  double buckets = kMaxBuckets;
  if (fit.bytes_per_second > 0 && fit.latency_seconds > 0) {
    const double transfer = static_cast<double>(gradient_bytes) / fit.bytes_per_second;
    buckets = std::clamp(std::sqrt(transfer / fit.latency_seconds), 2.0, kMaxBuckets);
  }
  return std::max(kLeastBucketBytes,
                  static_cast<std::int64_t>(static_cast<double>(gradient_bytes) / buckets));
}

}  // namespace

std::string_view to_string(CollectivePlan plan) noexcept {
  if (plan == CollectivePlan::automatic) return "auto";
  return plan == CollectivePlan::buckets ? "buckets" : "after-backward";
}

CollectivePlan parse_collective_plan(std::string_view text) {
  for (const CollectivePlan plan :
       {CollectivePlan::automatic, CollectivePlan::after_backward, CollectivePlan::buckets})
    if (text == to_string(plan)) return plan;
  throw ConfigError("collectives", text, "auto, after-backward, buckets");
}

LinkFit measure_link(comm::Communicator& communicator, c10::Device device) {
  if (communicator.size() == 1) return {};
  const double small =
      slowest(communicator, median_seconds(communicator, device, kSmallBytes, kSmallRepetitions));
  const double large =
      slowest(communicator, median_seconds(communicator, device, kLargeBytes, kLargeRepetitions));
  const double transfer = std::max(large - small, 1e-9);
  return {.latency_seconds = small,
          .bytes_per_second = static_cast<double>(kLargeBytes - kSmallBytes) / transfer};
}

BucketPlan make_plan(const LinkFit& fit, std::int64_t gradient_bytes, CollectivePlan wish,
                     std::int64_t bucket_bytes) {
  expects(bucket_bytes >= 0, "bucket_bytes must not be negative (0 = choose)");
  const double megabytes = static_cast<double>(gradient_bytes) * 1e-6;
  const bool one =
      wish == CollectivePlan::after_backward ||
      (wish == CollectivePlan::automatic && bucket_bytes == 0 && gradient_bytes <= kOneCollectiveBytes);
  if (one) {
    return {.kind = CollectivePlan::after_backward,
            .bucket_bytes = 0,
            .description =
                fmt::format("one all-reduce of {:.1f} MB after backward ({})", megabytes, describe(fit))};
  }
  const std::int64_t bytes = bucket_bytes > 0 ? bucket_bytes : best_bucket_bytes(fit, gradient_bytes);
  return {.kind = CollectivePlan::buckets,
          .bucket_bytes = bytes,
          .description =
              fmt::format("all-reduces of at least {:.1f} MB, {:.1f} MB together, during backward ({})",
                          static_cast<double>(bytes) * 1e-6, megabytes, describe(fit))};
}

}  // namespace bunchtrain::parallel
