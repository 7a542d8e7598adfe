// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a run is made of, as text: ranks compare it before the first step, snapshots keep it, a resumed run
/// is held against it.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

/// One setting, or one thing that follows from settings.
struct Fact {
  enum class Kind {
    setting,  ///< an option that changes what is computed
    length,   ///< an option that ends the run earlier or later and changes nothing before
    derived,  ///< data, card, model, update rule: follow from options or from the program's code
  };
  std::string name;         ///< "batch", "training data"
  std::string value;        ///< what is compared
  std::string origin = {};  ///< "--batch", "jets.h5": shown, not compared
  Kind kind = Kind::setting;

  bool operator==(const Fact& other) const { return name == other.name && value == other.value; }
};

/// The options of `effective` that count for this run, its networks, their model and the data.
std::vector<Fact> collect_facts(const config::Options& effective, std::span<const TrainedNetwork> networks,
                                const data::Dataset& train, const data::Dataset* valid,
                                const std::map<std::string, std::string>& metadata);

/// The fact of this name, or nullptr.
const Fact* find_fact(std::span<const Fact> facts, std::string_view name);

/// `value` as a person reads it beside `other`: of long texts the first line in which they differ.
std::string shown_beside(const Fact& fact, const Fact& other);

/// For snapshots. @throws CheckpointError if the text is damaged.
std::string to_json(std::span<const Fact> facts);
std::vector<Fact> parse_facts(const std::string& json);

}  // namespace bunchtrain::train
