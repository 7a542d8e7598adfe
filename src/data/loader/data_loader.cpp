// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/data_loader.hpp"

#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "loader_pipeline.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::string_view kAnyPositive = "a positive number";

void require(bool condition, std::string_view field, std::int64_t value, std::string_view allowed) {
  if (!condition) throw ConfigError(field, std::to_string(value), allowed);
}

void require_same(std::string_view what, const std::string& saved, const std::string& here,
                  std::string_view mend) {
  if (saved != here)
    throw CheckpointError(
        fmt::format("the loader state was saved with {} {}, here it is {}: {}", what, saved, here, mend));
}

}  // namespace

void DataLoaderOptions::validate(std::int64_t dataset_size) const {
  require(world_size > 0, "world_size", world_size, kAnyPositive);
  require(rank >= 0 && rank < world_size, "rank", rank,
          fmt::format("0 to {} in a world of {}", world_size - 1, world_size));
  require(threads > 0, "threads", threads, kAnyPositive);
  require(prefetch_batches > 0, "prefetch_batches", prefetch_batches, kAnyPositive);
  require(prefetch_bytes > 0, "prefetch_bytes", prefetch_bytes, kAnyPositive);
  require(global_batch > 0, "batch", global_batch, kAnyPositive);
  require(global_batch >= world_size, "batch", global_batch,
          fmt::format("at least {}, one sample for each of the {} ranks: enlarge {} or start fewer ranks",
                      world_size, world_size, setting("batch")));
  if (dataset_size < world_size && !empty_shares)
    throw ConfigError(
        fmt::format("{} samples cannot be shared by {} ranks: start at most {} ranks or give more data",
                    dataset_size, world_size, dataset_size));
}

struct DataLoader::Impl {
  DatasetPtr dataset;
  DataLoaderOptions options;
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  bool failed = false;
  LoaderStatistics statistics;
  std::unique_ptr<LoaderPipeline> pipeline;  // begins to read at the first `next`

  std::int64_t steps() const { return (dataset->size() + options.global_batch - 1) / options.global_batch; }
};

DataLoader::DataLoader(DatasetPtr dataset, DataLoaderOptions options) {
  expects(dataset != nullptr, "a DataLoader needs a dataset");
  options.validate(dataset->size());
  impl_ = std::make_unique<Impl>();
  impl_->dataset = std::move(dataset);
  impl_->options = std::move(options);
}

DataLoader::~DataLoader() = default;
DataLoader::DataLoader(DataLoader&&) noexcept = default;
DataLoader& DataLoader::operator=(DataLoader&&) noexcept = default;

std::int64_t DataLoader::steps_per_epoch() const noexcept { return impl_->steps(); }
std::int64_t DataLoader::epoch() const noexcept { return impl_->epoch; }
const LoaderStatistics& DataLoader::statistics() const noexcept { return impl_->statistics; }
const Dataset& DataLoader::dataset() const noexcept { return *impl_->dataset; }

std::optional<Batch> DataLoader::next() {
  Impl& self = *impl_;
  if (self.step == self.steps()) {
    ++self.epoch;
    self.step = 0;
    return std::nullopt;
  }
  if (!self.pipeline)
    self.pipeline = std::make_unique<LoaderPipeline>(self.dataset, self.options, self.epoch, self.step);
  if (self.step == 0) self.statistics = {};
  try {
    Batch batch = self.pipeline->take();
    self.pipeline->collect(self.statistics);
    ++self.step;
    return batch;
  } catch (Error& error) {
    // The pipeline throws the same object again at every later call.
    if (!std::exchange(self.failed, true))
      error.add_context(fmt::format("while reading step {} of epoch {}", self.step, self.epoch));
    throw;
  }
}

StateDict DataLoader::state() const {
  const Impl& self = *impl_;
  StateDict state;
  state.set("epoch", self.epoch);
  state.set("step", self.step);
  state.set("seed", std::to_string(self.options.seed));
  state.set("batch", self.options.global_batch);
  state.set("samples", self.dataset->size());
  state.set("fingerprint", self.dataset->summary().fingerprint);
  return state;
}

void DataLoader::load(const StateDict& state) {
  Impl& self = *impl_;
  // A seed chooses the split, too: it is named before the data.
  require_same("seed", state.text("seed"), std::to_string(self.options.seed),
               "resume with the same " + setting("seed"));
  require_same("batch", state.text("batch"), std::to_string(self.options.global_batch),
               "resume with the same " + setting("batch"));
  require_same("data", state.text("fingerprint"), self.dataset->summary().fingerprint,
               "give the same files, or start a new run");
  require_same("number of samples", state.text("samples"), std::to_string(self.dataset->size()),
               "give the same files, card and split, or start a new run");
  const std::int64_t epoch = state.integer("epoch");
  const std::int64_t step = state.integer("step");
  if (epoch < 0 || step < 0 || step > self.steps())
    throw CheckpointError(fmt::format("the loader state says epoch {}, step {} of {}: it is damaged", epoch,
                                      step, self.steps()));
  self.pipeline.reset();
  self.failed = false;
  self.epoch = epoch;
  self.step = step;
  self.statistics = {};
}

DataLoader::Iterator::Iterator(DataLoader* loader) : loader_(loader), current_(loader->next()) {}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  current_ = loader_->next();
  return *this;
}

}  // namespace bunchtrain::data
