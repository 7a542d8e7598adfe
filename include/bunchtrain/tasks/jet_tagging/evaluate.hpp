// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A snapshot of a run, or a bundle, on files: table, ROC, scores.h5.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/session.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::jet_tagging {

/// evaluate, split, checkpoint, output, page, against, working-point, force. A program that evaluates its own runs has them among its
/// options and calls `evaluate` if `--evaluate` is given.
std::vector<config::OptionSpec> evaluate_options();

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

/// Several networks (`--run A B` where that option is a list): scores are the means of their probabilities; each
/// one's own AUC and accuracy stand beside. They must score the same jets: classes, inputs, card.
///
/// Collective. Applies the snapshot of `--run` that `--checkpoint` names, or the bundle that `--run` is, to
/// `--data`, or to the part of the run's own files that `--split` names; warns of jets that the run was
/// trained on. Computes the same features as the run (its resolved card) and writes one compound dataset
/// `scores` (`scores_1`, ... for further files) in the row order of each input file: `row`, `selected`,
/// `label` (-1 unknown), `score_<class>` (softmax, float64), observers, and of each target that the network
/// estimates (an output of its name) `<target>`, `<target>_width` if it gives its own error, and
/// `target_<target>` (NaN in files without it). Files that are read, and what others wrote, are not replaced
/// (`require_writable_output`).
/// @param make for networks that `models::create_from` does not know; empty: as the snapshot or bundle says.
/// @param network its name in the Trainer, if that trained several.
/// @throws ConfigError, DataError; CheckpointError on all ranks for a bundle of another model, card, order of
/// classes or of a newer format
EvaluateResult evaluate(train::Session& session, const MakeNetwork& make = {},
                        const std::string& network = {});

/// Table and file names for the terminal.
std::string format_evaluation(const EvaluateResult& result);

}  // namespace bunchtrain::jet_tagging
