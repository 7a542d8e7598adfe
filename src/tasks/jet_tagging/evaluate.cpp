// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <utility>

#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/metrics/detail/old_curves.hpp"
#include "bunchtrain/metrics/efficiency.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/report/table.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "evaluated_heads.hpp"
#include "evaluation_page.hpp"
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

NamedTensors as_wide_as(const TrainedNetwork& trained, const NamedTensors& tensors) {
  if (!trained.in_double) return tensors;
  NamedTensors wide;
  for (const auto& [name, tensor] : tensors)
    wide.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  return wide;
}

NamedTensors outputs_of(TrainedNetwork& trained, const Batch& batch) {
  NamedTensors outputs = nn::as_model(*trained.module)->forward(as_wide_as(trained, batch.tensors));
  const at::Tensor* logits = outputs.find("logits");
  const auto classes = static_cast<std::int64_t>(trained.card.classes.size());
  if (!logits || logits->dim() != 2 || logits->size(0) != batch.size() || logits->size(1) != classes)
    throw ConfigError(fmt::format(
        "the network must give \"logits\" [{}, {}], one per jet and class; it gave {}", batch.size(), classes,
        logits ? fmt::format("[{}]", fmt::join(logits->sizes(), ", ")) : "none"));
  return outputs;
}

/// This rank's share of the data through the network: fills `metrics` and `heads`, returns one row per sample.
at::Tensor score_share(const train::Session& session, TrainedNetwork& trained, data::DataLoader& loader,
                       metrics::ClassificationMetrics& metrics, EvaluatedHeads& heads) {
  const at::NoGradGuard no_gradients;
  const auto values = std::ssize(trained.card.classes) + std::ssize(trained.card.observers) + heads.width();
  std::vector<at::Tensor> rows = {at::empty({0, values + 2}, at::kDouble)};
  while (const auto batch = loader.next()) {
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const NamedTensors outputs = outputs_of(trained, *batch);
    metrics.add_logits(outputs["logits"], (*batch)["label"]);
    rows.push_back(at::cat(
        {score_rows(*batch, outputs["logits"], trained.card.observers), heads.add(*batch, outputs)}, 1));
  }
  return at::cat(rows, 0);
}

/// scores.h5 with the results and the page beside it, and what they must not replace.
struct Outputs {
  OutputFile scores, results, page;
};

/// What was written here before, also by version 0.1.
bool is_results_file(const fs::path& path) {
  return report::is_sections_file(path) || metrics::is_old_curves_file(path);
}

/// What of a run or a bundle must stay as it is.
std::vector<fs::path> files_of(const fs::path& source) {
  if (weights::is_bundle(source)) return {source};
  const auto run = train::RunFolder::existing(source);
  return {run.checkpoints(), run.description(), run.metrics(), run.card()};
}

/// Results lie in the run folder; those of a bundle beside it, so that it may be replaced as a whole.
fs::path folder_of_results(const fs::path& source) {
  return weights::is_bundle(source) ? fs::canonical(source).parent_path() : source;
}

Outputs choose_outputs(const train::Session& session, const fs::path& source,
                       const EvaluatedData& evaluated) {
  const std::string name = session.option("output");
  std::vector<fs::path> inputs = evaluated.files.files();
  for (const auto& file : evaluated.samples->summary().files) inputs.emplace_back(file.path);
  for (const auto& path : files_of(source)) inputs.push_back(path);
  OutputFile scores{.path = name.empty() ? folder_of_results(source) / "scores.h5" : fs::path(name),
                    .option = "output",
                    .inputs = inputs,
                    .force = session.option("force"),
                    .is_own = is_score_file};
  OutputFile results = scores, page = scores;
  results.path.replace_extension(".json");
  results.option = "output (its results)";
  results.is_own = is_results_file;
  if (results.path == scores.path)
    throw ConfigError("output", name, "a name that does not end in .json: the results get that one");
  const std::string page_name = session.option("page");
  page.path = page_name.empty() ? scores.path.parent_path() / "evaluation.html" : fs::path(page_name);
  page.option = "page";
  page.is_own = report::is_page;
  if (page.path == scores.path || page.path == results.path)
    throw ConfigError("page", page_name, "another name than those of the scores and of the results");
  return {std::move(scores), std::move(results), std::move(page)};
}

void require_writable(const Outputs& outputs) {
  for (const OutputFile* file : {&outputs.scores, &outputs.results, &outputs.page})
    require_writable_output(*file);
}

/// On the root, which has the rows of all.
void write_results(const Outputs& outputs, const EvaluateResult& result) {
  require_writable_output(outputs.results);
  require_writable_output(outputs.page);
  report::write_sections(outputs.results.path, result.sections);
  write_file_atomically(outputs.page.path,
                        report::render_html(report::Page{.title = "Evaluation",
                                                         .subtitle = result.data + " · " + result.snapshot,
                                                         .sections = result.sections}));
}

WeightSource weight_source(const train::Session& session, const std::string& network) {
  const std::string run = session.option("run");
  if (run.empty())
    throw ConfigError(
        "run", "",
        "the folder of a run, or a bundle: RUN --data FILES (what follows --data is taken for data)");
  const std::string checkpoint = session.option("checkpoint");
  if (weights::is_bundle(run)) {
    if (session.options().given("checkpoint"))
      throw ConfigError("checkpoint", checkpoint,
                        "nothing for a bundle, which holds one network: name its run");
    return {.path = run, .network = network};
  }
  return {.path = train::RunFolder::existing(run).path(),
          .snapshot = checkpoint,
          .network = network,
          .averaged = session.options().get<std::string>("average") == "on"};
}

/// "runs/first/checkpoints/step-000042 (epoch 3, step 42)"; snapshots of version 0.1 do not say their epoch.
std::string describe_snapshot(const TrainedNetwork& trained) {
  const std::string epoch = trained.epoch > 0 ? fmt::format("epoch {}, ", trained.epoch) : "";
  return fmt::format("{} ({}step {}{})", trained.info.folder.string(), epoch, trained.info.step,
                     trained.averaged ? ", averaged weights" : "");
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
      {"evaluate", false, "score --data by a snapshot of --run, or by a bundle, instead of training"},
      {"split",
       Text{"all"},
       "of --data, or of the run's own files: everything, or the part that the run "
       "trained or validated on",
       "",
       {"all", "train", "valid"}},
      {"checkpoint", Text{"best"}, "which snapshot: best, latest or one by its name (step-000042)", "NAME"},
      {"average",
       Text{"on"},
       "the averaged weights of a run with --ema, or off: those that were trained",
       "",
       {"on", "off"}},
      {"output", Text{}, "where the scores go; empty = scores.h5 in the run folder, or beside the bundle",
       "FILE"},
      {"page", Text{}, "where the page goes; empty = evaluation.html beside the scores", "FILE"},
      {"against", std::vector<Text>{},
       "shows efficiencies against columns of the card or expressions of them, in so many bins: jet.pt:8",
       "COLUMN[:BINS]..."},
      {"working-point", 0.5, "signal efficiency of the cut whose efficiencies --against shows"},
      {"force", false, "replace files that something else wrote"}};
}

EvaluateResult evaluate(train::Session& session, const MakeNetwork& make, const std::string& network) {
  const WeightSource source = weight_source(session, network);
  TrainedNetwork trained = load_network(session, source, make);
  const auto against = read_against(session, trained.card);
  const auto working_point = session.options().get<double>("working-point");
  metrics::EfficiencyOptions{.working_point = working_point}.validate();
  const EvaluatedData evaluated = together(session, [&] { return open_evaluated(session, trained); });
  const Outputs outputs = together(session, [&] {
    Outputs chosen = choose_outputs(session, source.path, evaluated);
    if (session.is_root()) require_writable(chosen);
    return chosen;
  });
  data::DataLoader loader = make_loader(session, evaluated);
  metrics::ClassificationMetrics metrics(
      train::classification_options(class_names(trained.card), trained.card.signal));
  EvaluatedHeads heads(trained, evaluated.description);
  const at::Tensor share =
      together(session, [&] { return score_share(session, trained, loader, metrics, heads); });
  auto agreement = session.agreement();
  const at::Tensor rows = comm::gather_rows(share, agreement);  // on the root, which writes them
  auto summary = metrics.compute(agreement);
  const train::ValidationResult estimates = heads.finish(agreement);

  EvaluateResult result{.metrics = std::nullopt,
                        .scores = outputs.scores.path,
                        .results = {},
                        .page = {},
                        .sections = {},
                        .data = evaluated.description,
                        .snapshot = describe_snapshot(trained)};
  if (summary.samples > 0) result.metrics = std::move(summary);
  if (result.metrics || !estimates.sections.empty()) {
    result.results = outputs.results.path;
    result.page = outputs.page.path;
  }
  session.control().together([&] {
    if (!session.is_root()) return;
    write_scores(outputs.scores, rows, evaluated, trained,
                 {.run = source.path.string(), .split = session.option("split")});
    if (result.page.empty()) return;
    if (result.metrics)
      result.sections =
          evaluation_sections(*result.metrics, rows, trained, against, working_point, result.data);
    result.sections.insert(result.sections.end(), estimates.sections.begin(), estimates.sections.end());
    write_results(outputs, result);
  });
  return result;
}

std::string format_evaluation(const EvaluateResult& result) {
  std::string text = fmt::format("data     {}\nnetwork  {}\n", result.data, result.snapshot);
  text += result.metrics ? train::format_results(*result.metrics) : "no labels in the data: scores only\n";
  for (std::size_t i = result.metrics ? 1 : 0; i < result.sections.size(); ++i) {  // the first stands there
    const report::Section& section = result.sections[i];
    if (!section.table.rows.empty())
      text += section.title + '\n' + report::format_text(section, report::output_width());
  }
  text += fmt::format("scores   {}\n", result.scores.string());
  if (!result.page.empty())
    text += fmt::format("results  {}\npage     {}\n", result.results.string(), result.page.string());
  return text;
}

}  // namespace bunchtrain::jet_tagging
