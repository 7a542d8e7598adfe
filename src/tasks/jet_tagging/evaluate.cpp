// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <utility>

#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/report/evaluation.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

namespace fs = std::filesystem;

/// One row per sample of this rank: sample id, label, scores, observers; float64, which
/// holds ids up to 2^53 exactly.
at::Tensor score_rows(const Batch& batch, const at::Tensor& logits,
                      const std::vector<std::string>& observers) {
  std::vector<at::Tensor> columns = {batch.sample_ids.to(at::kDouble).cpu().unsqueeze(1),
                                     batch["label"].to(at::kDouble).unsqueeze(1).cpu(),
                                     at::softmax(logits.to(at::kDouble), 1).cpu()};
  for (const auto& name : observers)
    columns.push_back(batch["observer." + name].to(at::kDouble).cpu().unsqueeze(1));
  return at::cat(columns, 1);
}

data::DataLoader make_loader(const train::Session& session, const EvaluatedData& evaluated) {
  const auto batch = session.options().get<std::int64_t>("batch");
  return data::DataLoader(evaluated.samples, {.global_batch = std::max<std::int64_t>(batch, session.size()),
                                              .rank = session.mesh().coordinate(comm::Axis::data),
                                              .world_size = session.mesh().size(comm::Axis::data),
                                              .shuffle = false,
                                              .threads = session.threads().loader,
                                              .device = session.device(),
                                              .empty_shares = true,
                                              .logger = session.logger()});
}

NamedTensors in_double(const NamedTensors& tensors) {
  NamedTensors wide;
  for (const auto& [name, tensor] : tensors)
    wide.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  return wide;
}

at::Tensor logits_of(TrainedNetwork& trained, const Batch& batch) {
  auto* const model = nn::as_model(*trained.network.module);
  const NamedTensors outputs = model->forward(trained.in_double ? in_double(batch.tensors) : batch.tensors);
  const at::Tensor* found = outputs.find("logits");
  const at::Tensor logits = found ? *found : at::Tensor();
  const auto classes = static_cast<std::int64_t>(trained.card.classes.size());
  if (!logits.defined() || logits.dim() != 2 || logits.size(0) != batch.size() || logits.size(1) != classes)
    throw ConfigError(fmt::format(
        "the network must give \"logits\" [{}, {}], one per jet and class; it gave {}", batch.size(), classes,
        logits.defined() ? fmt::format("[{}]", fmt::join(logits.sizes(), ", ")) : "none"));
  return logits;
}

/// This rank's share of the data through the network: fills `metrics`, returns one row per sample.
at::Tensor score_share(const train::Session& session, TrainedNetwork& trained, data::DataLoader& loader,
                       metrics::ClassificationMetrics& metrics) {
  const at::NoGradGuard no_gradients;
  const std::size_t values = trained.card.classes.size() + trained.card.observers.size();
  std::vector<at::Tensor> rows = {at::empty({0, static_cast<std::int64_t>(values) + 2}, at::kDouble)};
  while (const auto batch = loader.next()) {
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const at::Tensor logits = logits_of(trained, *batch);
    metrics.add_logits(logits, (*batch)["label"]);
    rows.push_back(score_rows(*batch, logits, trained.card.observers));
  }
  return at::cat(rows, 0);
}

/// scores.h5 and the curves beside it, with what they must not replace.
struct Outputs {
  OutputFile scores, curves;
};

Outputs choose_outputs(const train::Session& session, const train::RunFolder& folder,
                       const EvaluatedData& evaluated) {
  const std::string name = session.option("output");
  std::vector<fs::path> inputs = evaluated.files.files();
  for (const auto& file : evaluated.samples->summary().files) inputs.emplace_back(file.path);
  for (const auto& path : {folder.checkpoints(), folder.description(), folder.metrics(), folder.card()})
    inputs.push_back(path);
  OutputFile scores{.path = name.empty() ? folder.path() / "scores.h5" : fs::path(name),
                    .option = "output",
                    .inputs = inputs,
                    .force = session.option("force"),
                    .is_own = is_score_file};
  OutputFile curves = scores;
  curves.path.replace_extension(".json");
  curves.option = "output (its curves)";
  curves.is_own = report::is_evaluation_file;
  if (curves.path == scores.path)
    throw ConfigError("output", name, "a name that does not end in .json: the curves get that one");
  return {std::move(scores), std::move(curves)};
}

report::Evaluation describe(const metrics::ClassificationResult& result, const EvaluateResult& all,
                            const TrainedNetwork& trained) {
  report::Evaluation evaluation = train::to_evaluation(result, all.data);
  evaluation.epoch = trained.epoch;
  evaluation.step = trained.info.step;
  return evaluation;
}

/// "runs/first/checkpoints/step-000042 (epoch 3, step 42)"; snapshots of version 0.1 do not say their epoch.
std::string describe_snapshot(const TrainedNetwork& trained) {
  const std::string epoch = trained.epoch > 0 ? fmt::format("epoch {}, ", trained.epoch) : "";
  return fmt::format("{} ({}step {})", trained.info.folder.string(), epoch, trained.info.step);
}

/// Collective: what one rank finds is an error on all.
template <class Action>
auto together(const train::Session& session, Action action) {
  std::optional<decltype(action())> result;
  session.control().together([&] { result.emplace(action()); });
  return std::move(*result);
}

}  // namespace

std::vector<config::OptionSpec> evaluate_options() {
  using Text = std::string;
  return {
      {"evaluate", false, "score --data by a snapshot of --run instead of training"},
      {"split",
       Text{"all"},
       "of --data, or of the run's own files: everything, or the part that the run "
       "trained or validated on",
       "",
       {"all", "train", "valid"}},
      {"checkpoint", Text{"best"}, "which snapshot: best, latest or one by its name (step-000042)", "NAME"},
      {"output", Text{}, "where the scores go; empty = scores.h5 in the run folder", "FILE"},
      {"force", false, "replace files that something else wrote"}};
}

EvaluateResult evaluate(train::Session& session, const MakeNetwork& make) {
  const std::string run = session.option("run");
  if (run.empty())
    throw ConfigError("run", "",
                      "the folder of a run: RUN --data FILES (what follows --data is taken for data)");
  const auto folder = train::RunFolder::existing(run);
  TrainedNetwork trained = load_network(session, folder, session.option("checkpoint"), make);
  const EvaluatedData evaluated = together(session, [&] { return open_evaluated(session, trained); });
  const Outputs outputs = together(session, [&] {
    Outputs chosen = choose_outputs(session, folder, evaluated);
    if (session.is_root()) {
      require_writable_output(chosen.scores);
      require_writable_output(chosen.curves);
    }
    return chosen;
  });
  data::DataLoader loader = make_loader(session, evaluated);
  metrics::ClassificationMetrics metrics(
      train::classification_options(class_names(trained.card), trained.card.signal));
  const at::Tensor share = together(session, [&] { return score_share(session, trained, loader, metrics); });
  auto agreement = session.agreement();
  const at::Tensor rows = comm::gather_rows(share, agreement);  // on the root, which writes them
  auto summary = metrics.compute(agreement);

  EvaluateResult result{.metrics = std::nullopt,
                        .scores = outputs.scores.path,
                        .curves = {},
                        .data = evaluated.description,
                        .snapshot = describe_snapshot(trained)};
  if (summary.samples > 0) {
    result.metrics = std::move(summary);
    result.curves = outputs.curves.path;
  }
  session.control().together([&] {
    if (!session.is_root()) return;
    write_scores(outputs.scores, rows, evaluated, trained,
                 {.run = folder.path().string(), .split = session.option("split")});
    if (!result.metrics) return;
    require_writable_output(outputs.curves);
    report::write_evaluation(result.curves, describe(*result.metrics, result, trained));
  });
  return result;
}

std::string format_evaluation(const EvaluateResult& result) {
  std::string text = fmt::format("data     {}\nnetwork  {}\n", result.data, result.snapshot);
  text += result.metrics ? train::format_results(*result.metrics) : "no labels in the data: scores only\n";
  text += fmt::format("scores   {}\n", result.scores.string());
  if (result.metrics) text += fmt::format("curves   {}\n", result.curves.string());
  return text;
}

}  // namespace bunchtrain::jet_tagging
