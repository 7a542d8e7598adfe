// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/data_loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "loader_pipeline.hpp"
#include "row_splits.hpp"

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

/// Versions before ragged samples kept neither.
void require_same_batches(const StateDict& state, const DataLoaderOptions& options) {
  if (state.values.contains("elements"))
    require_same("a budget of elements of", state.text("elements"), std::to_string(options.global_elements),
                 "resume with the same global_elements");
  if (state.values.contains("length_buckets"))
    require_same("length_bucket_batches of", state.text("length_buckets"),
                 std::to_string(options.length_bucket_batches), "resume with the same length_bucket_batches");
  if (state.values.contains("collation"))
    require_same("the collation", state.text("collation"), options.collation->kind(),
                 "resume with the same collation");
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
  require(global_elements >= 0, "global_elements", global_elements, "a positive number, or 0 for none");
  require(length_bucket_batches >= 0, "length_bucket_batches", length_bucket_batches,
          "a positive number, or 0 for none");
  require(length_bucket_batches == 0 || (shuffle && global_elements == 0), "length_bucket_batches",
          length_bucket_batches, "0 without a shuffle, or with a budget of elements");
  require(global_batch >= world_size, "batch", global_batch,
          fmt::format("at least {}, one sample for each of the {} ranks: enlarge {} or start fewer ranks",
                      world_size, world_size, setting("batch")));
  if (dataset_size < world_size && !empty_shares)
    throw ConfigError(
        fmt::format("{} samples cannot be shared by {} ranks: start at most {} ranks or give more data",
                    dataset_size, world_size, dataset_size));
}

double LoaderStatistics::read_amplification() const noexcept {
  return bytes_delivered > 0 ? static_cast<double>(bytes_decoded) / static_cast<double>(bytes_delivered) : 0;
}

double LoaderStatistics::padding() const noexcept {
  return elements > 0 ? static_cast<double>(slots) / static_cast<double>(elements) : 0;
}

double LoaderStatistics::processor_seconds_per_gb() const noexcept {
  return bytes_delivered > 0 ? processor_seconds / (1e-9 * static_cast<double>(bytes_delivered)) : 0;
}

std::string_view LoaderStatistics::slowest_stage() const noexcept {
  if (fetch_seconds >= std::max(decode_seconds, assemble_seconds)) return "storage";
  return decode_seconds >= assemble_seconds ? "decoding" : "assembly";
}

std::string LoaderStatistics::describe() const {
  std::string more = elements > 0 ? fmt::format(", {:.3g} places per element", padding()) : "";
  if (device_ranges + left_to_host > 0)
    more +=
        fmt::format(", {} ranges decoded by the GPU and {} left to the host", device_ranges, left_to_host);
  return fmt::format(
      "{} batches, waited {:.3g} s for them (p50 {:.2g} ms, p99 {:.2g} ms), most work in {}: {:.3g} GB fetched, {:.3g} GB "
      "decoded, {:.3g} GB delivered, {:.3g} processor seconds per GB{}",
      batches, wait_seconds, 1e3 * wait_p50, 1e3 * wait_p99, slowest_stage(),
      1e-9 * static_cast<double>(bytes_fetched), 1e-9 * static_cast<double>(bytes_decoded),
      1e-9 * static_cast<double>(bytes_delivered), processor_seconds_per_gb(), more);
}

struct DataLoader::Impl {
  DatasetPtr dataset;
  DataLoaderOptions options;
  DecodingChoice decoding;
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  std::int64_t position = 0;  // of the step's first sample
  bool failed = false;
  LoaderStatistics statistics;
  std::shared_ptr<const LoaderPlan> plan;    // reads a range: only when it is needed
  std::optional<std::int64_t> steps_known;   // of this epoch, cut by elements
  std::unique_ptr<LoaderPipeline> pipeline;  // begins to read at the first `next`

  bool by_elements() const { return options.global_elements > 0; }
  const std::shared_ptr<const LoaderPlan>& planned() {
    if (plan) return plan;
    const auto on_device =
        decoding.on_device ? dataset->device_support().tensors : std::vector<std::string>();
    plan = std::make_shared<const LoaderPlan>(dataset, options, on_device);
    return plan;
  }
  EpochBatches batches(std::int64_t of_epoch) { return planned()->batches(of_epoch); }
  std::int64_t steps_of(std::int64_t of_epoch) {
    if (by_elements() && dataset->size() > 0) return batches(of_epoch).steps();
    return dataset->size() == 0 ? 0 : (dataset->size() - 1) / options.global_batch + 1;
  }
  std::int64_t steps() {
    if (!by_elements()) return steps_of(epoch);
    if (!steps_known) steps_known = steps_of(epoch);
    return *steps_known;
  }
  /// Position of a step's first sample. @pre step <= steps_of(of_epoch)
  std::int64_t begin_of(std::int64_t of_epoch, std::int64_t of_step) {
    if (of_step == steps_of(of_epoch)) return dataset->size();
    return by_elements() ? batches(of_epoch).begin(of_step) : of_step * options.global_batch;
  }
  void go_to(std::int64_t new_epoch, std::int64_t new_step, std::int64_t new_position) {
    if (std::exchange(epoch, new_epoch) != new_epoch) steps_known.reset();
    step = new_step;
    position = new_position;
  }
};

DataLoader::DataLoader(DatasetPtr dataset, DataLoaderOptions options) {
  expects(dataset != nullptr, "a DataLoader needs a dataset");
  options.validate(dataset->size());
  const bool ragged = !dataset->ragged().empty();
  if (ragged) require_row_splits(dataset->row_splits(), dataset->size());
  require(ragged || options.global_elements == 0, "global_elements", options.global_elements,
          "0: the dataset has no ragged tensors, its batches are cut by samples");
  require(ragged || options.length_bucket_batches == 0, "length_bucket_batches",
          options.length_bucket_batches, "0: the dataset has no ragged tensors, its samples have one length");
  if (!options.collation) options.collation = dataset->collation();
  if (!options.collation) options.collation = ragged ? make_ragged_collation() : make_row_collation();
  impl_ = std::make_unique<Impl>();
  impl_->decoding = choose_decoding(*dataset, options);
  impl_->dataset = std::move(dataset);
  impl_->options = std::move(options);
}

DataLoader::~DataLoader() = default;
DataLoader::DataLoader(DataLoader&&) noexcept = default;
DataLoader& DataLoader::operator=(DataLoader&&) noexcept = default;

std::int64_t DataLoader::steps_per_epoch() const { return impl_->steps(); }
std::int64_t DataLoader::epoch() const noexcept { return impl_->epoch; }
const LoaderStatistics& DataLoader::statistics() const noexcept { return impl_->statistics; }
const Dataset& DataLoader::dataset() const noexcept { return *impl_->dataset; }

std::optional<Batch> DataLoader::next() {
  Impl& self = *impl_;
  if (self.position == self.dataset->size()) {
    if (self.statistics.batches > 0)
      self.options.logger.debug(
          fmt::format("loader: epoch {}: {}", self.epoch + 1, self.statistics.describe()));
    self.go_to(self.epoch + 1, 0, 0);
    return std::nullopt;
  }
  if (!self.pipeline)
    self.pipeline = std::make_unique<LoaderPipeline>(self.dataset, self.planned(), self.options,
                                                     self.decoding, self.epoch, self.step);
  if (self.step == 0) self.statistics = {};
  try {
    Batch batch = self.pipeline->take();
    self.pipeline->collect(self.statistics);
    self.go_to(self.epoch, self.step + 1, self.position + batch.global_samples);
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
  state.set("elements", self.options.global_elements);
  state.set("length_buckets", self.options.length_bucket_batches);
  state.set("collation", self.options.collation->kind());
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
  require_same_batches(state, self.options);
  require_same("data", state.text("fingerprint"), self.dataset->summary().fingerprint,
               "give the same files, or start a new run");
  require_same("number of samples", state.text("samples"), std::to_string(self.dataset->size()),
               "give the same files, card and split, or start a new run");
  const std::int64_t epoch = state.integer("epoch");
  const std::int64_t step = state.integer("step");
  const std::int64_t steps = self.steps_of(epoch);
  if (epoch < 0 || step < 0 || step > steps)
    throw CheckpointError(
        fmt::format("the loader state says epoch {}, step {} of {}: it is damaged", epoch, step, steps));
  self.go_to(epoch, step, self.begin_of(epoch, step));
  self.pipeline.reset();
  self.failed = false;
  self.statistics = {};
}

DataLoader::Iterator::Iterator(DataLoader* loader) : loader_(loader), current_(loader->next()) {}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  current_ = loader_->next();
  return *this;
}

}  // namespace bunchtrain::data
