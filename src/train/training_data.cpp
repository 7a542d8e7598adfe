// SPDX-License-Identifier: Apache-2.0
// What a training reads, and what becomes of samples that cannot be read.
#include "training_data.hpp"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "training_loop.hpp"

namespace bunchtrain::train {
namespace {

constexpr double kMostBadShare = 0.001;  ///< of an epoch's samples, of `--on-bad skip`

/// @param length_buckets 0 for passes in the stored order
data::DataLoaderOptions loader_options(const Session& session, const Settings& settings,
                                       std::shared_ptr<data::Staging> staging, bool shuffle,
                                       std::int64_t length_buckets = 0) {
  const auto when_skipped = shuffle ? data::BadData::zero_weight : data::BadData::leave_out;
  return {.global_batch = settings.batch,
          .length_bucket_batches = length_buckets,
          .rank = session.mesh().coordinate(comm::Axis::data),
          .world_size = session.mesh().size(comm::Axis::data),
          .seed = session.seed(),
          .shuffle = shuffle,
          .threads = session.threads().loader,
          .device = session.device(),
          .decode = settings.decode,
          .staging = std::move(staging),
          .on_bad = settings.on_bad == OnBad::skip ? when_skipped : data::BadData::stop,
          .while_waiting =
              [world = session.world(), agreement = session.agreement()]() mutable {
                world.tell_reading();
                agreement.tell_reading();
              },
          .logger = session.logger()};
}

}  // namespace

std::shared_ptr<data::Staging> make_staging(const Session& session, const Settings& settings) {
  if (settings.stage.empty()) return nullptr;
  return std::make_shared<data::Staging>(data::StagingOptions{
      .folder = settings.stage, .capacity_bytes = settings.stage_bytes, .logger = session.logger()});
}

data::DataLoader make_train_loader(const Session& session, const Settings& settings,
                                   const data::DatasetPtr& train, std::shared_ptr<data::Staging> staging,
                                   std::int64_t length_buckets) {
  return {train, loader_options(session, settings, std::move(staging), true, length_buckets)};
}

std::optional<data::DataLoader> make_valid_loader(const Session& session, const Settings& settings,
                                                  const data::DatasetPtr& valid,
                                                  std::shared_ptr<data::Staging> staging) {
  if (!valid || valid->size() == 0) return std::nullopt;
  auto options = loader_options(session, settings, std::move(staging), false);
  options.empty_shares = true;
  options.logger = {};  // it would speak in the middle of the progress bar, and says nothing new
  return std::make_optional<data::DataLoader>(valid, options);
}

/// In the order of samples, over the end of a pass through the data.
std::optional<Batch> TrainingLoop::next_batch() {
  return alone([&] {
    auto batch = loader_.next();
    return batch ? std::move(batch) : loader_.next();
  });
}

/// The same number on all ranks, so that all end at the same step.
void TrainingLoop::count_bad(std::int64_t of_step) {
  state_.bad_samples += of_step;
  const std::int64_t planned =
      plan_.length.steps_per_epoch * settings_.batch;  // of several passes, or of one
  const std::int64_t samples = planned < train_->size() + settings_.batch ? train_->size() : planned;
  const auto most = static_cast<std::int64_t>(kMostBadShare * static_cast<double>(samples));
  if (of_step == 0 || state_.bad_samples <= most) return;
  throw DataError(fmt::format(
      "{} of {} {} could not be read in this epoch, more than {:g} %: fetch the damaged files again; "
      "the first: {}",
      state_.bad_samples, samples, task_.options.samples, 100 * kMostBadShare,
      agreed(loader_.statistics().first_bad)));
}

/// Collective.
void TrainingLoop::tell_bad() {
  if (settings_.on_bad != OnBad::skip) return;
  const double validated =
      valid_loader_ && validation_ ? static_cast<double>(valid_loader_->statistics().bad_samples) : 0;
  at::Tensor sum = at::tensor({session_.mesh().leads(comm::Axis::data) ? validated : 0.0}, at::kDouble);
  session_.agreement().all_reduce(sum).wait();
  const auto of_validation = static_cast<std::int64_t>(sum.item<double>());
  if (state_.bad_samples == 0 && of_validation == 0) return;
  observers_->note(
      fmt::format("epoch {}: {} {} could not be read and had weight 0; {} were left out of the validation",
                  state_.epoch + 1, state_.bad_samples, task_.options.samples, of_validation));
}

}  // namespace bunchtrain::train
