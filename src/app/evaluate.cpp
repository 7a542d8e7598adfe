// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/evaluate.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <limits>
#include <map>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hdf5_dataset.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/report/evaluation.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::app {
namespace {

/// What a snapshot of a classifier holds besides weights.
struct TrainedModel {
  std::shared_ptr<models::ParticleCloudModel> model;
  features::Card card;
  std::string hash;
};

std::vector<std::string> class_names(const features::Card& card) {
  std::vector<std::string> names;
  for (const auto& entry : card.classes) names.push_back(entry.name);
  return names;
}

const std::string& require(const checkpoint::Metadata& metadata, const std::string& key,
                           const checkpoint::SnapshotInfo& info) {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    throw CheckpointError(fmt::format(
        "the snapshot {} does not say its {}: it was not written by a bunchtrain classifier trainer",
        info.folder.string(), key));
  return found->second;
}

TrainedModel load_model(train::Session& session, const train::RunFolder& folder) {
  const checkpoint::Store store(folder.checkpoints(), session.agreement(), {.logger = session.logger()});
  const auto snapshot = store.load("best", {"model"});
  if (!snapshot)
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  const auto& info = snapshot->info;
  TrainedModel trained{models::create_from(require(info.metadata, "model", info)),
                       features::parse_card(require(info.metadata, "card", info), info.folder.string()),
                       info.hash};
  weights::load_into(*trained.model->module(), snapshot->components.at("model").tensors,
                     info.folder.string());
  trained.model->module()->to(session.device());
  trained.model->module()->eval();
  return trained;
}

/// One row per sample of this rank: sample id, label, scores, observers; float64, which holds ids up to 2^53
/// exactly.
at::Tensor score_rows(const data::Batch& batch, const at::Tensor& logits,
                      const std::vector<std::string>& observers) {
  std::vector<at::Tensor> columns = {batch.sample_ids.to(at::kDouble).unsqueeze(1),
                                     batch["label"].to(at::kDouble).unsqueeze(1).cpu(),
                                     at::softmax(logits.to(at::kDouble), 1).cpu()};
  for (const auto& name : observers)
    columns.push_back(batch["observer." + name].to(at::kDouble).cpu().unsqueeze(1));
  columns.front() = columns.front().cpu();
  return at::cat(columns, 1);
}

/// Collective. Rows of all ranks, on every rank.
at::Tensor gather_rows(train::Session& session, const at::Tensor& rows, std::int64_t width) {
  const std::int64_t longest = session.control().all_max(rows.size(0));
  at::Tensor padded = at::full({longest, width}, -1.0, at::kDouble);
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  at::Tensor all = at::empty({longest * session.size(), width}, at::kDouble);
  session.agreement().all_gather(all.view(-1), padded.view(-1)).wait();
  return all;
}

/// The columns of one input file, in its row order; rows that the card does not select keep selected = 0.
struct FileScores {
  std::vector<std::int64_t> row;
  std::vector<std::uint8_t> selected;
  std::vector<std::int64_t> label;
  std::vector<std::vector<double>> values;  ///< scores, then observers

  FileScores(std::int64_t rows, std::size_t width)
      : row(static_cast<std::size_t>(rows)),
        selected(row.size(), 0),
        label(row.size(), -1),
        values(width, std::vector<double>(row.size(), std::numeric_limits<double>::quiet_NaN())) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::int64_t>(i);
  }
};

std::vector<FileScores> sort_into_files(const data::Hdf5Dataset& jets, const at::Tensor& rows,
                                        std::size_t width) {
  std::vector<FileScores> files;
  for (std::size_t file = 0; file < jets.files().size(); ++file)
    files.emplace_back(jets.rows_in_file(file), width);
  const auto table = rows.accessor<double, 2>();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto sample = static_cast<std::int64_t>(table[i][0]);
    if (sample < 0) continue;  // padding of a shorter rank
    const auto place = jets.row_of(sample);
    FileScores& file = files[static_cast<std::size_t>(place.file)];
    const auto at = static_cast<std::size_t>(place.row);
    file.selected[at] = 1;
    file.label[at] = static_cast<std::int64_t>(table[i][1]);
    for (std::size_t column = 0; column < width; ++column)
      file.values[column][at] = table[i][static_cast<std::int64_t>(column) + 2];
  }
  return files;
}

void write_scores(const std::filesystem::path& path, const std::vector<FileScores>& files,
                  const data::Hdf5Dataset& jets, const TrainedModel& trained, const std::string& run) {
  data::Hdf5Writer writer(path);
  const std::vector<std::string> classes = class_names(trained.card);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = i == 0 ? "scores" : fmt::format("scores_{}", i);
    std::vector<data::CompoundColumn> columns = {{.name = "row", .integers = files[i].row},
                                                 {.name = "selected", .flags = files[i].selected},
                                                 {.name = "label", .integers = files[i].label}};
    for (std::size_t c = 0; c < classes.size(); ++c)
      columns.push_back({.name = "score_" + classes[c], .reals = files[i].values[c]});
    for (std::size_t o = 0; o < trained.card.observers.size(); ++o)
      columns.push_back(
          {.name = trained.card.observers[o], .reals = files[i].values[classes.size() + o], .real_bytes = 8});
    writer.write_compound(name, columns);
    writer.write_attribute(name, "file", jets.files()[i].string());
    writer.write_attribute(name, "classes", fmt::format("{}", fmt::join(classes, ",")));
    writer.write_attribute(name, "run", run);
    writer.write_attribute(name, "checkpoint", trained.hash);
  }
  writer.commit();
}

data::DataLoader make_loader(const train::Session& session, const data::Hdf5Dataset& jets) {
  const auto batch = session.options().get<std::int64_t>("batch");
  return data::DataLoader(jets.all(), {.global_batch = std::max<std::int64_t>(batch, session.size()),
                                       .rank = session.rank(),
                                       .world_size = session.size(),
                                       .shuffle = false,
                                       .threads = session.threads().loader,
                                       .device = session.device(),
                                       .logger = session.logger()});
}

/// Scores, then observers of a sample.
std::size_t num_values(const features::Card& card) { return card.classes.size() + card.observers.size(); }

/// This rank's share of the data through the network: fills `metrics`, returns one row per sample.
at::Tensor score_share(const train::Session& session, TrainedModel& trained, data::DataLoader& loader,
                       metrics::ClassificationMetrics& metrics) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> rows = {
      at::empty({0, static_cast<std::int64_t>(num_values(trained.card)) + 2}, at::kDouble)};
  while (const auto batch = loader.next()) {
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const auto& tensors = *batch;
    const at::Tensor logits = trained.model->forward(tensors["points"], tensors["features"], tensors["mask"]);
    metrics.add_logits(logits, tensors["label"]);
    rows.push_back(score_rows(tensors, logits, trained.card.observers));
  }
  return at::cat(rows, 0);
}

}  // namespace

std::vector<config::OptionSpec> evaluate_options() {
  return {{"output", std::string{}, "where the scores go; empty = scores.h5 in the run folder", "FILE"}};
}

EvaluateResult evaluate(train::Session& session) {
  const std::vector<std::string> files = session.option("data");
  if (files.empty()) throw ConfigError("data", "", "one or more HDF5 files to evaluate");
  const auto folder = train::RunFolder::existing(session.options().get<std::string>("run"));
  TrainedModel trained = load_model(session, folder);
  const data::DataFiles named = data::parse_data_words(files);
  const data::Hdf5Dataset jets({.files = named.files,
                                .class_files = named.class_files,
                                .labels_required = false,
                                .allow_plugins = session.option("hdf5-plugins"),
                                .threads = session.threads().loader,
                                .logger = session.logger()},
                               trained.card);
  data::DataLoader loader = make_loader(session, jets);
  metrics::ClassificationMetrics metrics(
      train::classification_options(class_names(trained.card), trained.card.signal));
  const at::Tensor share = score_share(session, trained, loader, metrics);
  const at::Tensor rows = gather_rows(session, share, share.size(1));
  auto agreement = session.agreement();
  auto summary = metrics.compute(agreement);

  EvaluateResult result;
  const std::string output = session.option("output");
  result.scores = output.empty() ? folder.path() / "scores.h5" : std::filesystem::path(output);
  if (summary.samples > 0) {
    result.metrics = std::move(summary);
    result.curves = std::filesystem::path(result.scores).replace_extension(".json");
  }
  std::string error;
  if (session.is_root()) try {
      write_scores(result.scores, sort_into_files(jets, rows, num_values(trained.card)), jets, trained,
                   folder.path().string());
      if (result.metrics)
        report::write_evaluation(
            result.curves, train::to_evaluation(*result.metrics, fmt::format("{}", fmt::join(files, " "))));
    } catch (const Error& failure) {
      error = failure.what();
    }
  session.control().agree_or_throw(error);
  return result;
}

}  // namespace bunchtrain::app
