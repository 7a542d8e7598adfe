// SPDX-License-Identifier: Apache-2.0
// One epoch of one file by our loader, for comparisons with programs that are not ours: a line of JSON.
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

}  // namespace

nlohmann::json time_epoch(const std::string& kind, const std::string& file, int threads) {
  bt::expects(kind == "jets" || kind == "showers", "samples are jets or showers");
  const bool jets = kind == "jets";
  const bt::data::DatasetPtr dataset =
      jets ? bt::data::JetDataset({.files = {file}, .threads = threads}).all()
           : bt::data::ShowerDataset({.files = {file}, .physical = true, .threads = threads}).all();
  const std::int64_t batch = jets ? 256 : 64;
  const double mean = mean_of(dataset, batch, jets ? "features" : "image");
  const auto begin = std::chrono::steady_clock::now();
  read_by_loader(dataset, batch, threads);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return {{"per_second", static_cast<double>(dataset->size()) / seconds},
          {"samples", dataset->size()},
          {"mean", mean}};
}

}  // namespace loader_benchmark
