// SPDX-License-Identifier: Apache-2.0
#include "run_facts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/class_files.hpp"

namespace bunchtrain::train {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 5> kLengthOptions = {"epochs", "max-steps", "max-samples", "patience",
                                                            "early-stop"};

/// "AdamW(betas 0.9 0.999, ...)": the rate is a fact of its own, and not the same at every moment.
std::string without_rate(std::string description) {
  const auto begin = description.find("learning_rate ");
  if (begin == std::string::npos) return description;
  auto end = description.find_first_of(",)", begin);
  if (end != std::string::npos && description[end] == ',') end += 2;
  return description.erase(begin, end - begin);
}

/// Everything of an optimizer and its gradients that the program's code may set.
std::string describe_update(const TrainedNetwork& network) {
  std::string text = without_rate(network.optimizer->describe());
  for (const auto& group : network.optimizer->groups()) text += fmt::format("; {}", optim::describe(group));
  if (const std::string arithmetic = network.engine->arithmetic(); !arithmetic.empty())
    text += "; " + arithmetic;
  return text;
}

Fact data_fact(std::string name, const data::Dataset& dataset) {
  const auto& summary = dataset.summary();
  const std::vector<std::string> files = data::data_words(summary.files);
  std::string value = fmt::format("{} samples, fingerprint {}", dataset.size(), summary.fingerprint);
  if (!summary.classes.empty()) value = fmt::format("{} of {}", value, fmt::join(summary.classes, ", "));
  std::string origin = files.empty() ? summary.description : fmt::format("{}", fmt::join(files, ", "));
  return {std::move(name), std::move(value), std::move(origin), Fact::Kind::derived};
}

}  // namespace

std::vector<Fact> collect_facts(const config::Options& effective, std::span<const TrainedNetwork> networks,
                                const data::Dataset& train, const data::Dataset* valid,
                                const std::map<std::string, std::string>& metadata) {
  std::vector<Fact> facts;
  for (const auto& name : effective.names()) {
    if (effective.spec(name).scope != config::OptionScope::training || effective.left_out(name)) continue;
    const bool length = std::ranges::find(kLengthOptions, name) != kLengthOptions.end();
    facts.push_back({name, effective.text(name), effective.origin(name),
                     length ? Fact::Kind::length : Fact::Kind::setting});
  }
  const bool own_rates = effective.left_out("learning-rate");
  for (const auto& network : networks) {
    facts.push_back({"update rule of " + network.name, describe_update(network), "", Fact::Kind::derived});
    if (own_rates)
      facts.push_back({"learning rate of " + network.name,
                       fmt::format("{}", network.optimizer->learning_rate()), "", Fact::Kind::derived});
  }
  for (const auto& [name, text] : metadata)
    facts.push_back({"metadata " + name, text, "", Fact::Kind::derived});
  if (const auto& card = train.summary().card; !card.empty())
    facts.push_back({"resolved card", card, "", Fact::Kind::derived});
  facts.push_back(data_fact("training data", train));
  if (valid) facts.push_back(data_fact("validation data", *valid));
  return facts;
}

const Fact* find_fact(std::span<const Fact> facts, std::string_view name) {
  const auto found = std::ranges::find(facts, name, &Fact::name);
  return found == facts.end() ? nullptr : &*found;
}

std::string shown_beside(const Fact& fact, const Fact& other) {
  std::string text = fact.value;
  if (text.find('\n') != std::string::npos) {
    std::istringstream ours(fact.value), theirs(other.value);
    std::string line, their_line;
    text = "nothing more";
    while (std::getline(ours, line)) {
      const bool more = static_cast<bool>(std::getline(theirs, their_line));
      if (more && line == their_line) continue;
      text = fmt::format("'{}'", line);
      break;
    }
  }
  return fact.origin.empty() ? text : fmt::format("{} ({})", text, fact.origin);
}

std::string to_json(std::span<const Fact> facts) {
  Json list = Json::array();
  for (const auto& fact : facts)
    list.push_back({{"name", fact.name},
                    {"value", fact.value},
                    {"origin", fact.origin},
                    {"kind", static_cast<int>(fact.kind)}});
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<Fact> parse_facts(const std::string& json) {
  std::vector<Fact> facts;
  try {
    for (const auto& entry : Json::parse(json))
      facts.push_back({entry.at("name").get<std::string>(), entry.at("value").get<std::string>(),
                       entry.at("origin").get<std::string>(),
                       static_cast<Fact::Kind>(entry.at("kind").get<int>())});
  } catch (const Json::exception& error) {
    throw CheckpointError(fmt::format("the settings of the snapshot are damaged: {}", error.what()));
  }
  return facts;
}

}  // namespace bunchtrain::train
