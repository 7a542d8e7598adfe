// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "bunchtrain/metrics/shower_comparison.hpp"
#include "bunchtrain/ops/shower_observables.hpp"
#include "bunchtrain/tasks/shower_comparison/shower_report.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

namespace bunchtrain::shower_simulation {
namespace {

/// Statistics of the validation showers and of generated ones with the same labels.
class ShowerValidation final : public train::Validation {
 public:
  ShowerValidation(models::ShowerGenerator generator, metrics::ShowerBinning binning, bool measured_theta,
                   const ShowerSourceOptions& options)
      : variant_(generator->options().variant),
        source_(std::move(generator), options),
        geometry_(metrics::CellGeometry::grid(models::shower_shape(variant_))),
        binning_(std::move(binning)),
        measured_theta_(measured_theta) {
    start();
  }

  void add(const Batch& batch, const NamedTensors& /*outputs*/) override {
    const at::Tensor energy = batch["energy"].cpu();
    const at::Tensor cells = models::to_gev(variant_, batch["image"].to(at::kFloat)).cpu();
    if (variant_ == models::ShowerVariant::fixed_angle) {
      reference_->add(cells, energy);
      candidate_->add(source_.make(batch.sample_ids, energy), energy);
      return;
    }
    const at::Tensor measured = batch["measured_theta"].cpu(), truth = batch["theta"].cpu();
    const at::Tensor label = measured_theta_ ? measured : truth;
    const at::Tensor made = source_.make(batch.sample_ids, energy, label);
    reference_->add(cells, energy, truth, measured);
    candidate_->add(made, energy, truth, ops::ecal_angle(made));
  }

  train::ValidationResult finish(comm::Communicator& ranks, std::optional<double> /*loss*/) override {
    const auto comparison = metrics::compare(reference_->compute(ranks, "validation showers"),
                                             candidate_->compute(ranks, "generator"));
    start();
    const auto& reference = comparison.reference.bins.front();
    const auto& candidate = comparison.candidate.bins.front();
    return {
        .metrics = {{"valid_score", comparison.score.total()},
                    {"valid_fraction_ratio", candidate.fraction.value / reference.fraction.value},
                    {"valid_worst_profile", comparison.worst_profile}},
        .score = -comparison.score.total(),
        .score_name = "negative valid_score",
        .sections = shower_comparison::to_sections(comparison),
        .text = shower_comparison::format_comparison(comparison, shower_comparison::BinsShown::all_together)};
  }

  void discard() override { start(); }

 private:
  void start() {
    reference_.emplace(geometry_, binning_);
    candidate_.emplace(geometry_, binning_);
  }

  models::ShowerVariant variant_;
  ShowerSource source_;
  metrics::CellGeometry geometry_;
  metrics::ShowerBinning binning_;
  bool measured_theta_;
  std::optional<metrics::ShowerStatistics> reference_, candidate_;
};

}  // namespace

std::shared_ptr<train::Validation> make_shower_validation(const train::Session& session,
                                                          const ShowerGanOptions& options,
                                                          models::ShowerGenerator generator,
                                                          const data::Dataset& valid) {
  session.use("theta");
  const auto energies = EnergyResponse::fit(valid);
  return std::make_shared<ShowerValidation>(
      std::move(generator),
      metrics::ShowerBinning::between(energies.lowest_energy(), energies.highest_energy()),
      options.measured_theta,
      ShowerSourceOptions{
          .device = session.device(), .precision = session.precision(), .seed = session.seed()});
}

}  // namespace bunchtrain::shower_simulation
