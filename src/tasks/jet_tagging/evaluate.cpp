// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/metrics/detail/old_curves.hpp"
#include "bunchtrain/metrics/efficiency.hpp"
#include "bunchtrain/report/table.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "ensemble.hpp"
#include "evaluated_heads.hpp"
#include "evaluation_page.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

namespace fs = std::filesystem;

data::DataLoader make_loader(const train::Session& session, const EvaluatedData& evaluated,
                             const EvaluateOptions& options) {
  const std::int64_t batch = std::max<std::int64_t>(options.batch, session.size());
  return data::DataLoader(evaluated.samples, {.global_batch = batch,
                                              .rank = session.mesh().coordinate(comm::Axis::data),
                                              .world_size = session.mesh().size(comm::Axis::data),
                                              .shuffle = false,
                                              .threads = session.threads().loader,
                                              .device = session.device(),
                                              .decode = options.decode,
                                              .empty_shares = true,
                                              .logger = session.logger()});
}

/// This rank's share of the data through the networks: fills `heads`, returns one row per sample.
at::Tensor score_share(const train::Session& session, Ensemble& ensemble, data::DataLoader& loader,
                       EvaluatedHeads& heads) {
  const at::NoGradGuard no_gradients;
  const features::Card& card = ensemble.first().card;
  const auto values = std::ssize(card.classes) + std::ssize(card.observers) + heads.width();
  std::vector<at::Tensor> rows = {at::empty({0, values + 2}, at::kDouble)};
  while (const auto batch = loader.next()) {
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const Ensemble::Scored scored = ensemble.score(*batch);
    rows.push_back(at::cat(
        {score_rows(*batch, scored.probabilities, card.observers), heads.add(*batch, scored.estimates)}, 1));
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

/// The page that a training makes of its run.
bool is_page_of_run(const fs::path& path) {
  std::error_code failed;
  const fs::path found = fs::weakly_canonical(path, failed);
  return found.filename() == "report.html" && fs::exists(found.parent_path() / "run.json", failed);
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

/// Of several networks the results lie with the first, beside its own.
Outputs choose_outputs(const EvaluateOptions& options, const std::vector<WeightSource>& sources,
                       const EvaluatedData& evaluated) {
  const bool one = sources.size() == 1;
  const std::string& name = options.output;
  std::vector<fs::path> inputs = evaluated.files.files();
  for (const auto& file : evaluated.samples->summary().files) inputs.emplace_back(file.path);
  for (const WeightSource& source : sources)
    for (const auto& path : files_of(source.path)) inputs.push_back(path);
  const fs::path folder = folder_of_results(sources.front().path);
  OutputFile scores{.path = name.empty() ? folder / (one ? "scores.h5" : "ensemble.h5") : fs::path(name),
                    .option = "output",
                    .inputs = inputs,
                    .force = options.force,
                    .is_own = is_score_file};
  OutputFile results = scores, page = scores;
  results.path.replace_extension(".json");
  results.option = "output (its results)";
  results.is_own = is_results_file;
  if (results.path == scores.path)
    throw ConfigError("output", name, "a name that does not end in .json: the results get that one");
  const std::string& page_name = options.page;
  page.path = page_name.empty() ? scores.path.parent_path() / (one ? "evaluation.html" : "ensemble.html")
                                : fs::path(page_name);
  page.option = "page";
  page.is_own = [](const fs::path& path) { return report::is_page(path) && !is_page_of_run(path); };
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

WeightSource weight_source(const train::Session& session, const EvaluateOptions& options,
                           const std::string& run, const std::string& network) {
  session.use("checkpoint");
  if (weights::is_bundle(run)) {
    if (options.checkpoint)
      throw ConfigError("checkpoint", *options.checkpoint,
                        "nothing for a bundle, which holds one network: name its run");
    return {.path = run, .network = network};
  }
  session.use("average");
  return {.path = train::RunFolder::existing(run).path(),
          .snapshot = options.checkpoint.value_or("best"),
          .network = network,
          .averaged = options.averaged};
}

std::vector<WeightSource> weight_sources(const train::Session& session, const EvaluateOptions& options,
                                         const std::string& network) {
  session.use("run");
  std::vector<WeightSource> sources;
  for (const std::string& run : options.runs)
    sources.push_back(weight_source(session, options, run, network));
  if (sources.empty())
    throw ConfigError(
        "run", "",
        fmt::format("the folder of a run, or a bundle: RUN {0} FILES (what follows {0} is taken for data)",
                    setting("data")));
  return sources;
}

/// Collective.
std::vector<TrainedNetwork> load_networks(train::Session& session, const std::vector<WeightSource>& sources,
                                          const MakeNetwork& make) {
  std::vector<TrainedNetwork> networks;
  for (const WeightSource& source : sources) networks.push_back(load_network(session, source, make));
  require_alike(networks);
  return networks;
}

std::string paths_of(const std::vector<WeightSource>& sources) {
  std::vector<std::string> paths;
  for (const WeightSource& source : sources) paths.push_back(source.path.string());
  return fmt::format("{}", fmt::join(paths, ","));
}

/// Collective: what one rank finds is an error on all.
template <class Action>
auto together(const train::Session& session, Action action) {
  std::optional<decltype(action())> result;
  session.control().together([&] { result.emplace(action()); });
  return std::move(*result);
}

}  // namespace

std::string_view to_string(EvaluatedPart part) noexcept {
  if (part == EvaluatedPart::all) return "all";
  return part == EvaluatedPart::train ? "train" : "valid";
}

EvaluateResult evaluate(train::Session& session, const EvaluateOptions& options, const MakeNetwork& make,
                        const std::string& network) {
  const std::vector<WeightSource> sources = weight_sources(session, options, network);
  std::vector<TrainedNetwork> networks = load_networks(session, sources, make);
  features::Card& card = networks.front().card;
  for (const char* name : {"against", "working-point", "output", "page", "force", "batch"}) session.use(name);
  add_observers(card, options.against);
  metrics::EfficiencyOptions{.working_point = options.working_point}.validate();
  const EvaluatedData evaluated = open_once_per_node(
      session, [&](SharedRows& rows) { return open_evaluated(session, options, networks, rows); });
  const Outputs outputs = together(session, [&] {
    Outputs chosen = choose_outputs(options, sources, evaluated);
    if (session.is_root()) require_writable(chosen);
    return chosen;
  });
  data::DataLoader loader = make_loader(session, evaluated, options);
  const auto counted = train::classification_options(class_names(card), card.signal);
  Ensemble ensemble(std::move(networks), counted);
  EvaluatedHeads heads(ensemble.first(), evaluated.description);
  const at::Tensor share = together(session, [&] { return score_share(session, ensemble, loader, heads); });
  auto agreement = session.agreement();
  const at::Tensor rows = comm::gather_rows(share, agreement);  // on the root, which writes them
  auto summary = ensemble.compute(agreement);
  const std::vector<report::Section> members = ensemble.members_section(summary, agreement);
  const train::ValidationResult estimates = heads.finish(agreement);

  EvaluateResult result{.metrics = std::nullopt,
                        .scores = outputs.scores.path,
                        .results = {},
                        .page = {},
                        .sections = {},
                        .data = evaluated.description,
                        .snapshot = ensemble.describe()};
  if (summary.samples > 0) result.metrics = std::move(summary);
  if (result.metrics || !estimates.sections.empty()) {
    result.results = outputs.results.path;
    result.page = outputs.page.path;
  }
  session.control().together([&] {
    if (!session.is_root()) return;
    const TrainedNetwork& first = ensemble.first();
    write_scores(outputs.scores, rows, evaluated, first.card,
                 {.run = paths_of(sources),
                  .split = std::string(to_string(options.split)),
                  .estimates = head_columns(first.heads),
                  .checkpoint = ensemble.hashes()});
    if (result.page.empty()) return;
    if (result.metrics) {
      result.sections = evaluation_sections(*result.metrics, rows, first, options.against,
                                            options.working_point, result.data);
      result.sections.insert(result.sections.begin() + 1, members.begin(), members.end());
    }
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
