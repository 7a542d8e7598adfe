// SPDX-License-Identifier: Apache-2.0
#include "ensemble.hpp"

#include <ATen/ops/softmax.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/nn/model.hpp"
#include "evaluated_heads.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

/// "runs/first/checkpoints/step-000042 (epoch 3, step 42)"; snapshots of version 0.1 do not say their epoch.
std::string describe_snapshot(const TrainedNetwork& trained) {
  const std::string epoch = trained.epoch > 0 ? fmt::format("epoch {}, ", trained.epoch) : "";
  return fmt::format("{} ({}step {}{})", trained.info.folder.string(), epoch, trained.info.step,
                     trained.averaged ? ", averaged weights" : "");
}

std::string model_name(const TrainedNetwork& trained) {
  const auto found = trained.info.metadata.find("model");
  return found == trained.info.metadata.end() ? "own" : models::ModelDescription::parse(found->second).name();
}

/// Without mean and width, which are fitted to what each network was trained on, and undone by it.
std::vector<features::TargetSpec> unscaled(std::vector<features::TargetSpec> targets) {
  for (auto& target : targets) target.mean = target.width = std::nullopt;
  return targets;
}

/// What two networks must have in common to score the same jets; empty if they have.
std::string difference(const features::Card& a, const features::Card& b) {
  const auto classes_a = class_names(a), classes_b = class_names(b);
  if (classes_a != classes_b) {
    const char* what =
        std::ranges::is_permutation(classes_a, classes_b) ? "the order of the classes" : "the classes";
    return fmt::format("{} ({} and {})", what, fmt::join(classes_a, ","), fmt::join(classes_b, ","));
  }
  std::vector<std::string> differing;
  const auto compare = [&](const char* name, const auto& of_a, const auto& of_b) {
    if (!(of_a == of_b)) differing.emplace_back(name);
  };
  for (const auto& [name, columns] : a.inputs) {
    const auto other = std::ranges::find(b.inputs, name, [](const auto& input) { return input.first; });
    if (other == b.inputs.end() || other->second != columns) differing.push_back("the input " + name);
  }
  for (const auto& [name, columns] : b.inputs)
    if (std::ranges::find(a.inputs, name, [](const auto& input) { return input.first; }) == a.inputs.end())
      differing.push_back("the input " + name);
  compare("the number of particles", a.length, b.length);
  compare("the columns that are read", a.sources, b.sources);
  compare("define", a.define, b.define);
  compare("the mask", a.mask, b.mask);
  compare("the order of the particles", a.sort_by_pt, b.sort_by_pt);
  compare("what stands for NaN", a.nan, b.nan);
  compare("the label", std::tie(a.label, a.classes, a.drop_other_labels),
          std::tie(b.label, b.classes, b.drop_other_labels));
  compare("the targets", unscaled(a.targets), unscaled(b.targets));
  compare("the signal", a.signal, b.signal);
  compare("the selection", std::tie(a.select, a.drop_not_finite, a.fill_missing),
          std::tie(b.select, b.drop_not_finite, b.fill_missing));
  return fmt::format("{}", fmt::join(differing, ", "));
}

std::string words_of(const TrainedNetwork& trained) {
  const std::vector<std::string> names = estimate_outputs(trained);
  return names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ","));
}

NamedTensors as_wide_as(const TrainedNetwork& trained, const NamedTensors& tensors) {
  if (!trained.in_double) return tensors;
  NamedTensors wide;
  for (const auto& [name, tensor] : tensors)
    wide.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  return wide;
}

NamedTensors outputs_of(const TrainedNetwork& trained, const Batch& batch) {
  NamedTensors outputs = nn::as_model(*trained.module)->forward(as_wide_as(trained, batch.tensors));
  const at::Tensor* logits = outputs.find("logits");
  const auto classes = static_cast<std::int64_t>(trained.card.classes.size());
  if (!logits || logits->dim() != 2 || logits->size(0) != batch.size() || logits->size(1) != classes)
    throw ConfigError(fmt::format(
        "the network must give \"logits\" [{}, {}], one per jet and class; it gave {}", batch.size(), classes,
        logits ? fmt::format("[{}]", fmt::join(logits->sizes(), ", ")) : "none"));
  return outputs;
}

}  // namespace

void require_alike(std::span<const TrainedNetwork> networks) {
  const TrainedNetwork& first = networks.front();
  for (std::size_t i = 1; i < networks.size(); ++i) {
    const auto folder = networks[i].info.folder;
    for (std::size_t other = 0; other < i; ++other)
      if (is_same_file(folder, networks[other].info.folder))
        throw ConfigError("run", folder.string(), "every network once: its vote would count twice");
    if (estimate_outputs(first) != estimate_outputs(networks[i]))
      throw ConfigError(
          "run", folder.string(),
          fmt::format("a network that estimates what {} does beside the classes ({}); it does: {}",
                      first.info.folder.string(), words_of(first), words_of(networks[i])));
    if (const std::string what = difference(first.card, networks[i].card); !what.empty())
      throw ConfigError("run", folder.string(),
                        fmt::format("a network that scores the same jets as {}; they differ in {}",
                                    first.info.folder.string(), what));
  }
}

Ensemble::Ensemble(std::vector<TrainedNetwork> networks, const metrics::ClassificationOptions& options)
    : networks_(std::move(networks)), mean_(options) {
  if (!is_one()) own_.assign(networks_.size(), metrics::ClassificationMetrics(options));
}

Ensemble::Scored Ensemble::score(const Batch& batch) {
  const at::Tensor& labels = batch["label"];
  if (is_one()) {
    NamedTensors outputs = outputs_of(first(), batch);
    mean_.add_logits(outputs["logits"], labels);
    const at::Tensor probabilities = at::softmax(outputs["logits"].to(at::kDouble), 1).cpu();
    return {probabilities, std::move(outputs)};
  }
  const auto share = 1.0 / static_cast<double>(networks_.size());
  const std::vector<std::string> estimated = estimate_outputs(first());
  std::vector<at::Tensor> sums(estimated.size());
  Scored mean;
  const auto add = [&](const at::Tensor& sum, const at::Tensor& term) {
    return sum.defined() ? sum + term * share : term * share;
  };
  for (std::size_t i = 0; i < networks_.size(); ++i) {
    const NamedTensors outputs = outputs_of(networks_[i], batch);
    own_[i].add_logits(outputs["logits"], labels);
    mean.probabilities = add(mean.probabilities, at::softmax(outputs["logits"].to(at::kDouble), 1).cpu());
    for (std::size_t e = 0; e < estimated.size(); ++e)
      sums[e] = add(sums[e], outputs[estimated[e]].to(at::kCPU, at::kDouble).reshape({-1}));
  }
  for (std::size_t e = 0; e < estimated.size(); ++e) mean.estimates.set(estimated[e], sums[e]);
  mean_.add_scores(mean.probabilities, labels.cpu());
  return mean;
}

std::vector<report::Section> Ensemble::members_section(const metrics::ClassificationResult& mean,
                                                       comm::Communicator& ranks) const {
  if (is_one()) return {};
  report::Section section{
      .title = fmt::format("Ensemble of {} networks", networks_.size()),
      .paragraphs = {"Results are those of the mean over the networks of their probabilities."}};
  section.table.header = {"Network", "Model", "AUC", "Accuracy"};
  const auto add = [&](std::string network, std::string model, const metrics::ClassificationResult& result) {
    section.table.rows.push_back({std::move(network), std::move(model), fmt::format("{:.5f}", result.auc),
                                  fmt::format("{:.5f}", result.accuracy)});
  };
  add("all together", "ensemble", mean);
  for (std::size_t i = 0; i < networks_.size(); ++i)
    add(describe_snapshot(networks_[i]), model_name(networks_[i]), own_[i].compute(ranks));
  return {std::move(section)};
}

std::string Ensemble::hashes() const {
  std::vector<std::string> hashes;
  for (const TrainedNetwork& trained : networks_) hashes.push_back(trained.info.hash);
  return fmt::format("{}", fmt::join(hashes, ","));
}

std::string Ensemble::describe() const {
  std::vector<std::string> texts;
  for (const TrainedNetwork& trained : networks_) texts.push_back(describe_snapshot(trained));
  return is_one() ? texts.front()
                  : fmt::format("mean of {} networks: {}", texts.size(), fmt::join(texts, ", "));
}

}  // namespace bunchtrain::jet_tagging
