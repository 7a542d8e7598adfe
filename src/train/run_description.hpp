// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The text of run.json and the lines printed before the first step.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

/// What a run is, for people and for run.json.
struct RunDescription {
  std::vector<std::string> lines;  ///< printed once: ranks, device, threads, data, plan
  std::string json;                ///< run.json
  std::string card;                ///< resolved data card as TOML, empty without one
};

RunDescription describe_run(const Session& session, std::span<const TrainedNetwork> networks,
                            const data::Dataset& train, const data::Dataset* valid,
                            const std::map<std::string, std::string>& metadata, const std::string& samples);

/// run.json with how the run went: "finished" with epochs, steps and, if it ended before its last epoch, why.
std::string with_outcome(const std::string& json, const FitResult& result);

}  // namespace bunchtrain::train
