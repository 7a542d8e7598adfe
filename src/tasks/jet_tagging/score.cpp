// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/score.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "evaluated_data.hpp"
#include "evaluated_heads.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

namespace fs = std::filesystem;

std::vector<EstimatedTarget> estimated_by(const infer::Predictor& predictor) {
  const auto gives = [&](const std::string& name) {
    return std::ranges::find(predictor.outputs(), name) != predictor.outputs().end();
  };
  std::vector<EstimatedTarget> heads;
  for (const features::TargetSpec& target : predictor.card()->targets)
    if (gives(target.name)) heads.push_back({target.name, gives(models::width_output(target.name))});
  return heads;
}

EvaluatedData open_files(const ScoreOptions& options, const features::Card& card,
                         const std::vector<EstimatedTarget>& heads) {
  const data::DataFiles named = data::parse_data_words(options.data);
  std::vector<std::string> targets;
  for (const EstimatedTarget& head : heads) targets.push_back(head.name);
  const data::JetDataset files({.files = named.files,
                                .class_files = named.class_files,
                                .targets = std::move(targets),
                                .labels_required = false,
                                .allow_plugins = options.hdf5_plugins,
                                .threads = options.threads,
                                .io = options.io,
                                .logger = options.logger},
                               card);
  EvaluatedData data{
      .files = files, .samples = files.all(), .rows = {}, .description = describe_files(files.files())};
  data.rows = files.rows_of(*data.samples);
  return data;
}

OutputFile output_of(const ScoreOptions& options, const EvaluatedData& data) {
  std::vector<fs::path> inputs = data.files.files();
  for (const auto& file : data.samples->summary().files) inputs.emplace_back(file.path);
  inputs.push_back(options.bundle);
  return {.path = options.output.empty() ? fs::canonical(options.bundle).parent_path() / "scores.h5"
                                         : fs::path(options.output),
          .option = "output",
          .inputs = std::move(inputs),
          .force = options.force,
          .is_own = is_score_file};
}

/// [B, columns] float64, as `EvaluatedHeads::add` gives them.
at::Tensor estimates_of(const std::vector<EstimatedTarget>& heads, const Batch& batch,
                        const NamedTensors& outputs) {
  std::vector<at::Tensor> columns = {at::empty({batch.size(), 0}, at::kDouble)};
  const auto add = [&](const at::Tensor& column) {
    columns.push_back(column.to(at::kDouble).reshape({-1, 1}));
  };
  for (const EstimatedTarget& head : heads) {
    add(outputs[head.name]);
    if (head.own_width) add(outputs[models::width_output(head.name)]);
    add(batch[head.name]);
  }
  return at::cat(columns, 1);
}

}  // namespace

void ScoreOptions::validate() const {
  if (bundle.empty()) throw ConfigError("bundle", "", "the folder of a bundle");
  if (data.empty()) throw ConfigError("data", "", "HDF5 files to score");
  if (batch < 1) throw ConfigError("batch", fmt::to_string(batch), "at least 1");
  if (threads < 1) throw ConfigError("threads", fmt::to_string(threads), "at least 1");
}

ScoreResult score(const ScoreOptions& options) {
  options.validate();
  const infer::Predictor predictor = infer::Predictor::load(options.bundle);
  if (!predictor.card())
    throw CheckpointError(fmt::format("{} is of a network without a data card of jets: it scores no files",
                                      options.bundle.string()));
  const features::Card& card = *predictor.card();
  const std::vector<EstimatedTarget> heads = estimated_by(predictor);
  const EvaluatedData data = open_files(options, card, heads);
  const OutputFile output = output_of(options, data);
  require_writable_output(output);

  data::DataLoader loader(data.samples, {.global_batch = options.batch,
                                         .shuffle = false,
                                         .threads = options.threads,
                                         .empty_shares = true,
                                         .logger = options.logger});
  const auto width = std::ssize(card.classes) + std::ssize(card.observers) + std::ssize(head_columns(heads));
  std::vector<at::Tensor> rows = {at::empty({0, width + 2}, at::kDouble)};
  while (const auto batch = loader.next()) {
    const NamedTensors outputs = predictor.run(batch->tensors);
    const at::Tensor probabilities = at::softmax(outputs["logits"].to(at::kDouble), 1);
    rows.push_back(at::cat(
        {score_rows(*batch, probabilities, card.observers), estimates_of(heads, *batch, outputs)}, 1));
  }
  const at::Tensor all = at::cat(rows, 0);
  write_scores(output, all, data, card,
               {.run = options.bundle.string(),
                .split = "all",
                .estimates = head_columns(heads),
                .checkpoint = predictor.hash()});
  return {.scores = output.path, .jets = all.size(0), .data = data.description, .hash = predictor.hash()};
}

}  // namespace bunchtrain::jet_tagging
