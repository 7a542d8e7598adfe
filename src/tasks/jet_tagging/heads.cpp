// SPDX-License-Identifier: Apache-2.0
#include "heads.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

std::optional<train::RegressionLoss> loss_named(std::string_view word) {
  if (word == "mse") return train::RegressionLoss::mse;
  if (word == "huber") return train::RegressionLoss::huber;
  if (word == "l1") return train::RegressionLoss::l1;
  if (word == "gaussian") return train::RegressionLoss::gaussian;
  return std::nullopt;
}

std::optional<double> number_in(std::string_view word) {
  double value = 0;
  const auto [rest, fault] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (fault != std::errc() || rest != word.data() + word.size() || !std::isfinite(value) || value < 0)
    return std::nullopt;
  return value;
}

std::string width_of(const EstimatedTarget& estimate) {
  return estimate.own_width ? models::width_output(estimate.name) : std::string();
}

const features::Card& card_of(const data::Dataset& dataset) {
  const auto* card = dataset.card();
  expects(card != nullptr, "heads are made for what a data card says, and these data have none");
  return *card;
}

}  // namespace

HeadChoice parse_head(std::string_view text) {
  const auto refuse = [&] {
    throw ConfigError(
        "head", text,
        "a target of the card, then its loss (mse, huber, l1, gaussian) and its weight, 0 or more, where "
        "they are not mse and 1: energy:huber:0.5");
  };
  std::vector<std::string_view> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  HeadChoice head{.target = std::string(words.front())};
  if (head.target.empty() || words.size() > 3) refuse();
  std::size_t next = 1;
  if (next < words.size())
    if (const auto loss = loss_named(words[next])) {
      head.loss = *loss;
      ++next;
    }
  if (next < words.size()) {
    const auto weight = number_in(words[next++]);
    if (!weight) refuse();
    head.weight = *weight;
  }
  if (next < words.size()) refuse();
  return head;
}

std::vector<std::string> target_names(const std::vector<HeadChoice>& heads) {
  std::vector<std::string> names;
  for (const HeadChoice& head : heads) names.push_back(head.target);
  return names;
}

std::shared_ptr<train::Validation> make_target_validation(const EstimatedTarget& estimate,
                                                          const features::TargetSpec& target,
                                                          const metrics::ResultOrigin& origin) {
  return train::make_regression_validation({.output = target.name,
                                            .target = target.name,
                                            .width = width_of(estimate),
                                            .unit = target.unit,
                                            .metrics = {.relative = target.relative},
                                            .origin = origin});
}

NamedTensors empty_jet(const features::Card& card, at::ScalarType type) {
  NamedTensors jet;
  for (const auto& [tensor, columns] : card.inputs)
    jet.set(tensor, at::zeros({1, card.length, static_cast<std::int64_t>(card.num_inputs(tensor))}, type));
  jet.set("mask", at::zeros({1, card.length}, at::kBool));
  return jet;
}

std::vector<EstimatedTarget> estimated_targets(torch::nn::Module& module, const features::Card& card,
                                               at::ScalarType type) {
  if (card.targets.empty()) return {};
  const at::NoGradGuard no_gradients;
  const bool training = module.is_training();
  module.eval();
  const NamedTensors outputs = nn::as_model(module)->forward(empty_jet(card, type));
  module.train(training);
  std::vector<EstimatedTarget> estimates;
  for (const features::TargetSpec& target : card.targets)
    if (outputs.contains(target.name))
      estimates.push_back({target.name, outputs.contains(models::width_output(target.name))});
  return estimates;
}

nn::Objective create_objective(const ClassifierOptions& options, const data::Dataset& train) {
  const std::vector<HeadChoice>& choices = options.heads;
  if (choices.empty()) return train::classification();
  std::vector<train::Head> heads = {{kClassHead, train::classification()}};
  for (const HeadChoice& choice : choices) {
    const features::TargetSpec& target = card_of(train).target(choice.target);
    heads.push_back({target.name,
                     train::regression({.output = target.name,
                                        .target = target.name,
                                        .width = width_of(choice.estimate()),
                                        .loss = choice.loss,
                                        .scale = target.width.value_or(1)}),
                     choice.weight});
  }
  return train::heads(std::move(heads));
}

std::shared_ptr<train::Validation> create_validation(const ClassifierOptions& options,
                                                     const data::Dataset& train) {
  const features::Card& card = card_of(train);
  auto classes =
      train::make_classification_validation(train::classification_options(class_names(card), card.signal));
  const std::vector<HeadChoice>& choices = options.heads;
  if (choices.empty()) return classes;
  std::vector<train::HeadValidation> heads = {{kClassHead, std::move(classes)}};
  for (const HeadChoice& choice : choices)
    heads.push_back({choice.target, make_target_validation(choice.estimate(), card.target(choice.target))});
  return train::make_heads_validation(std::move(heads));
}

}  // namespace bunchtrain::jet_tagging
