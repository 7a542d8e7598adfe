// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A snapshot of a run, or a bundle, on files: table, ROC, scores.h5.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/decode_on.hpp"
#include "bunchtrain/data/io_engine.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/session.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// A quantity that efficiencies are shown against.
struct AgainstColumn {
  std::string expression;  ///< a column of the card or an expression of them: "jet.pt", "log(jet.pt)"
  std::int64_t bins = 10;

  bool operator==(const AgainstColumn&) const = default;
};
/// "jet.pt", "jet.pt:8". @throws ConfigError for a number of bins that is none.
AgainstColumn parse_against(const std::string& text);

/// Of files, or of a run's own: everything, or the part that the run trained or validated on.
enum class EvaluatedPart { all, train, valid };
std::string_view to_string(EvaluatedPart part) noexcept;

/// What is to be scored, by what, and where the results go. `app::evaluate_options` reads it from a command line.
struct EvaluateOptions {
  std::vector<std::string> runs = {};  ///< run folders and bundles; of several the probabilities are averaged
  std::vector<std::string> data = {};  ///< HDF5 files; empty: the run's own, where `split` is a part of them
  EvaluatedPart split = EvaluatedPart::all;
  /// Snapshot of a run: "best", "latest" or one by its name ("step-000042"); unset: the best. A bundle has none.
  std::optional<std::string> checkpoint = {};
  bool averaged = true;      ///< the averaged weights of a run that has them
  std::int64_t batch = 256;  ///< jets per pass over all ranks
  /// File of the scores; empty: scores.h5 in the run folder or beside the bundle, of several networks ensemble.h5.
  std::string output = {};
  std::string page = {};  ///< empty: evaluation.html, of several networks ensemble.html, beside the scores
  std::vector<AgainstColumn> against = {};
  double working_point = 0.5;  ///< signal efficiency of the cut whose efficiencies `against` shows
  bool force = false;          ///< replace files that something else wrote
  bool hdf5_plugins = false;   ///< allow filter plug-ins, which load code that a file names
  data::IoEngine io = data::IoEngine::automatic;  ///< which engine fetches the bytes of the files
  /// What makes inputs of them: `DataLoaderOptions::decode`, on the session's device.
  data::DecodeOn decode = data::DecodeOn::automatic;

  bool operator==(const EvaluateOptions&) const = default;
};

/// Makes the network for the inputs and classes of a run's card: an `nn::Model` that gives "logits" [B,
/// classes]; its weights come from the snapshot or bundle.
using MakeNetwork = std::function<std::shared_ptr<torch::nn::Module>(const features::Card& card)>;

struct EvaluateResult {
  std::optional<metrics::ClassificationResult> metrics;  ///< nothing for unlabelled files
  std::filesystem::path scores;                          ///< scores.h5
  std::filesystem::path results;          ///< the sections as JSON, beside the scores; if there are any
  std::filesystem::path page;             ///< the sections as a page; if there are any
  std::vector<report::Section> sections;  ///< on the root: tables and plots, of classes and of heads
  std::string data;                       ///< "400 of 4,000 jets of toy.h5, kept for validation"
  std::string snapshot;                   ///< "runs/first/checkpoints/step-000042 (epoch 3, step 42)"
};

/// Several networks: scores are the means of their probabilities; each
/// one's own AUC and accuracy stand beside. They must score the same jets: classes, inputs, card.
///
/// Collective. Applies a run's snapshot, or a bundle, to files, or to a part of the run's own; warns of jets that
/// the run was trained on. Computes the same features as the run (its resolved card) and writes one compound dataset
/// `scores` (`scores_1`, ... for further files) in the row order of each input file: `row`, `selected`,
/// `label` (-1 unknown), `score_<class>` (softmax, float64), observers, and of each target that the network
/// estimates (an output of its name) `<target>`, `<target>_width` if it gives its own error, and
/// `target_<target>` (NaN in files without it). Files that are read, and what others wrote, are not replaced
/// (`require_writable_output`).
/// @param make for networks that `models::create_from` does not know; empty: as the snapshot or bundle says.
/// @param network its name in the Trainer, if that trained several.
/// @throws ConfigError, DataError; CheckpointError on all ranks for a bundle of another model, card, order of
/// classes or of a newer format
EvaluateResult evaluate(train::Session& session, const EvaluateOptions& options, const MakeNetwork& make = {},
                        const std::string& network = {});

/// Table and file names for the terminal.
std::string format_evaluation(const EvaluateResult& result);

}  // namespace bunchtrain::jet_tagging
