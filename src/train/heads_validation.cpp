// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <set>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

/// "valid_flavour_auc" of "valid_auc", "negative valid_energy_resolution" of "negative valid_resolution".
std::string of_head(const std::string& head, std::string name) {
  constexpr std::string_view kPrefix = "valid_";
  const auto place = name.find(kPrefix);
  if (place == std::string::npos) return head + "_" + name;
  return name.insert(place + kPrefix.size(), head + "_");
}

/// What one head found, under its name.
ValidationResult named(const std::string& head, ValidationResult found) {
  for (auto& metric : found.metrics) metric.name = of_head(head, metric.name);
  if (found.score) found.score_name = of_head(head, found.score_name);
  for (auto& section : found.sections) {
    section.title = fmt::format("{}: {}", head, section.title);
    for (auto& number : section.numbers) number.label = fmt::format("{}: {}", head, number.label);
  }
  if (!found.text.empty()) found.text = fmt::format("{}:\n{}", head, found.text);
  return found;
}

class HeadsValidation final : public Validation {
 public:
  explicit HeadsValidation(std::vector<HeadValidation> heads) : heads_(std::move(heads)) {
    expects(!heads_.empty(), "a validation of heads needs a head or more");
    std::set<std::string> names;
    for (const auto& head : heads_) {
      expects(head.validation != nullptr, fmt::format("head '{}' has no validation", head.name));
      if (!names.insert(head.name).second)
        throw ConfigError("heads", head.name, "names that differ: metrics are told apart by them");
    }
  }

  void add(const Batch& batch, const NamedTensors& outputs) override {
    for (const auto& head : heads_) {
      try {
        head.validation->add(batch, outputs);
      } catch (Error& error) {
        error.add_context(fmt::format("in head '{}'", head.name));
        throw;
      }
    }
  }

  ValidationResult finish(comm::Communicator& ranks, std::optional<double> loss) override {
    ValidationResult all{.loss = loss};
    for (const auto& head : heads_) {
      const ValidationResult found = named(head.name, head.validation->finish(ranks, std::nullopt));
      all.metrics.insert(all.metrics.end(), found.metrics.begin(), found.metrics.end());
      all.sections.insert(all.sections.end(), found.sections.begin(), found.sections.end());
      all.text += found.text + (found.text.empty() || found.text.ends_with('\n') ? "" : "\n");
      if (all.score || !found.score) continue;
      all.score = found.score;
      all.score_name = found.score_name;
    }
    return all;
  }

  void discard() override {
    for (const auto& head : heads_) head.validation->discard();
  }

 private:
  std::vector<HeadValidation> heads_;
};

}  // namespace

std::shared_ptr<Validation> make_heads_validation(std::vector<HeadValidation> heads) {
  return std::make_shared<HeadsValidation>(std::move(heads));
}

}  // namespace bunchtrain::train
