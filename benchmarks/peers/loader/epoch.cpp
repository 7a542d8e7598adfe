// SPDX-License-Identifier: Apache-2.0
// Epochs of one file by our loader, for comparisons with programs that are not ours: a line of JSON.
#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <chrono>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "contest.hpp"
#include "contests.hpp"

namespace loader_benchmark {
namespace {

namespace bt = bunchtrain;

/// Of all elements of a tensor of the dataset's batches.
double mean_of(const bt::data::DatasetPtr& dataset, std::int64_t batch, const char* name) {
  bt::data::DataLoader loader(dataset, {.global_batch = batch});
  double sum = 0, elements = 0;
  while (const auto next = loader.next()) {
    const at::Tensor& values = (*next)[name];
    sum += values.to(at::kDouble).sum().item<double>();
    elements += static_cast<double>(values.numel());
  }
  return sum / elements;
}

/// So little that nothing is kept: each epoch decodes all samples again, as DataLoader's workers do.
constexpr std::int64_t kPrefetchBytes = 32 << 20;

/// An epoch of a loader that lives on, as DataLoader's workers do: the mean of several behind the first.
double seconds_of_epoch(const bt::data::DatasetPtr& dataset, std::int64_t batch, int threads) {
  constexpr int kEpochs = 4;
  bt::data::DataLoader loader(dataset,
                              {.global_batch = batch, .threads = threads, .prefetch_bytes = kPrefetchBytes});
  const auto epoch = [&] {
    std::int64_t samples = 0;
    while (const auto next = loader.next()) samples += next->size();
    bt::expects(samples == dataset->size(), "the loader lost samples");
  };
  epoch();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kEpochs; ++i) epoch();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kEpochs;
}

}  // namespace

nlohmann::json time_epoch(const std::string& kind, const std::string& file, int threads) {
  bt::expects(kind == "jets" || kind == "showers", "samples are jets or showers");
  const bool jets = kind == "jets";
  const bt::data::DatasetPtr dataset =
      jets ? bt::data::JetDataset({.files = {file}, .threads = threads}).all()
           : bt::data::ShowerDataset({.files = {file}, .physical = true, .threads = threads}).all();
  const std::int64_t batch = jets ? 256 : 64;
  const double mean = mean_of(dataset, batch, jets ? "features" : "image");
  const double seconds = seconds_of_epoch(dataset, batch, threads);
  return {{"per_second", static_cast<double>(dataset->size()) / seconds},
          {"samples", dataset->size()},
          {"mean", mean}};
}

}  // namespace loader_benchmark
