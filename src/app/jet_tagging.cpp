// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/jet_tagging.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <variant>

#include "bunchtrain/core/error.hpp"
#include "training_files.hpp"

namespace bunchtrain::app {
namespace {

using config::Options;
using Text = std::string;
using Texts = std::vector<std::string>;

/// Which of two names an option has. @throws ConfigError that lists them.
bool is_second(const Options& options, std::string_view option, std::string_view first,
               std::string_view second) {
  const auto& text = options.get<Text>(option);
  if (text != first && text != second) throw ConfigError(option, text, fmt::format("{}, {}", first, second));
  return text == second;
}

/// `--weights` is the old name of `--init`.
Text init_of(const Options& options) {
  const auto& init = options.get<Text>("init");
  const auto& weights = options.get<Text>("weights");
  if (!init.empty() && !weights.empty())
    throw ConfigError("weights", weights, "--init alone, of which --weights is the old name");
  if (!init.empty() || !weights.empty()) return init.empty() ? weights : init;
  // By value: a configuration that was printed has them all.
  if (!options.get<Texts>("init-rename").empty() || options.get<Text>("init-mode") != "strict")
    throw ConfigError("init", "", "the weights that --init-mode and --init-rename are about");
  return {};
}

jet_tagging::JetDataOptions data_options(const Options& options) {
  return {.files = training_files(options),
          .particles = options.get<std::int64_t>("particles"),
          .classes = options.get<Texts>("classes")};
}

jet_tagging::EvaluatedPart parse_part(const Text& text) {
  using jet_tagging::EvaluatedPart;
  for (const EvaluatedPart part : {EvaluatedPart::all, EvaluatedPart::train, EvaluatedPart::valid})
    if (text == to_string(part)) return part;
  throw ConfigError("split", text, "all, train, valid");
}

/// `--run` of a program that trains is one folder, that of `bunchtrain evaluate` a list.
Texts runs_of(const Options& options) {
  if (std::holds_alternative<Texts>(options.spec("run").default_value)) return options.get<Texts>("run");
  const auto& run = options.get<Text>("run");
  return run.empty() ? Texts{} : Texts{run};
}

std::vector<config::OptionSpec> initial_weights_specs() {
  return {{"init", Text{},
           "weights to start from: a bundle, a run folder (its best snapshot) or a safetensors file (ours or "
           "weaver-core's names)",
           "BUNDLE|RUN|FILE"},
          {"weights", Text{}, "the old name of --init", "FILE"},
          {"init-mode",
           Text{"strict"},
           "strict: the weights must be those of the same network; partial: what fits in name and shape is "
           "taken, a head of another size starts anew",
           "",
           {"strict", "partial"}},
          {"init-rename", Texts{}, "names in the weights, or their first parts, and this network's",
           "OLD=NEW..."},
          {"freeze", Texts{}, "parameters that are not trained, by name: 'edge_convs.*'", "PATTERN..."}};
}

}  // namespace

std::vector<config::OptionSpec> classifier_specs() {
  std::vector<config::OptionSpec> specs = {
      {"model", Text{"lite"},
       "network: lite (ParticleNet-Lite, 26 k parameters), particlenet (366 k), or one that the program registers",
       "NAME"},
      {"head", Texts{},
       "estimates targets of the card ([targets]) beside the classes, each with its loss (mse, huber, l1, or "
       "gaussian: with an error of its own) and "
       "the loss's weight: energy, energy:huber:0.5",
       "TARGET[:LOSS][:WEIGHT]..."},
      {"dropout", 0.1, "dropout of the hidden layer"},
      {"fusion", false, "concatenate all block outputs before pooling (weaver's use_fusion)"},
      {"padding-rule",
       Text{"weaver"},
       "how padding enters: zeroed after every block, mean over real particles (weaver), or zeroed once at the "
       "end, mean over all slots (keras)",
       "",
       {"weaver", "keras"}},
      {"batch-norm-rows",
       Text{"all"},
       "batch-norm statistics with padded entries, as published, or real ones only",
       "",
       {"all", "real"}},
      {"recompute", false, "recompute edges in backward: less memory, more time"},
      {"length-buckets", std::int64_t{0},
       "so many batches at a time exchange jets, so that those of a batch have like numbers of particles, and are padded to "
       "the longest alone (64; with --batch-norm-rows real); 0 = none"}};
  for (auto& spec : initial_weights_specs()) specs.push_back(std::move(spec));
  return specs;
}

std::vector<config::OptionSpec> evaluate_specs() {
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
      {"output", Text{},
       "where the scores go; empty = scores.h5 in the run folder, or beside the bundle; of several networks ensemble.h5",
       "FILE"},
      {"page", Text{},
       "where the page goes; empty = evaluation.html, of several networks ensemble.html, beside the scores",
       "FILE"},
      {"against", std::vector<Text>{},
       "shows efficiencies against columns of the card or expressions of them, in so many bins: jet.pt:8",
       "COLUMN[:BINS]..."},
      {"working-point", 0.5, "signal efficiency of the cut whose efficiencies --against shows"},
      {"force", false, "replace files that something else wrote"}};
}

jet_tagging::JetDataOptions jet_data_options(const train::Session& session) {
  return data_options(Options(session.options()));  // what is read here is used only where the task says so
}

jet_tagging::ClassifierOptions classifier_options(const train::Session& session) {
  const Options options = session.options();
  jet_tagging::ClassifierOptions chosen{
      .data = data_options(options),
      .model = options.get<Text>("model"),
      .dropout = options.get<double>("dropout"),
      .fusion = options.get<bool>("fusion"),
      .padding = is_second(options, "padding-rule", "weaver", "keras") ? models::PaddingRule::keras
                                                                       : models::PaddingRule::weaver,
      .batch_norm_rows = is_second(options, "batch-norm-rows", "all", "real") ? models::BatchNormRows::real
                                                                              : models::BatchNormRows::all,
      .recompute = options.get<bool>("recompute"),
      .length_buckets = options.get<std::int64_t>("length-buckets"),
      .init = init_of(options),
      .init_mode = is_second(options, "init-mode", "strict", "partial") ? weights::LoadMode::partial
                                                                        : weights::LoadMode::strict,
      .freeze = options.get<Texts>("freeze")};
  for (const auto& text : options.get<Texts>("head")) chosen.heads.push_back(jet_tagging::parse_head(text));
  for (const auto& text : options.get<Texts>("init-rename"))
    chosen.init_renames.push_back(weights::parse_rename(text));
  return chosen;
}

jet_tagging::EvaluateOptions evaluate_options(const train::Session& session) {
  const Options options = session.options();
  jet_tagging::EvaluateOptions chosen{.runs = runs_of(options),
                                      .data = options.get<Texts>("data"),
                                      .split = parse_part(options.get<Text>("split")),
                                      .averaged = !is_second(options, "average", "on", "off"),
                                      .batch = options.get<std::int64_t>("batch"),
                                      .output = options.get<Text>("output"),
                                      .page = options.get<Text>("page"),
                                      .working_point = options.get<double>("working-point"),
                                      .force = options.get<bool>("force"),
                                      .hdf5_plugins = options.get<bool>("hdf5-plugins"),
                                      .io = data::parse_io_engine(options.get<Text>("io")),
                                      .decode = data::parse_decode_on(options.get<Text>("decode"))};
  if (options.given("checkpoint")) chosen.checkpoint = options.get<Text>("checkpoint");
  for (const auto& text : options.get<Texts>("against"))
    chosen.against.push_back(jet_tagging::parse_against(text));
  return chosen;
}

}  // namespace bunchtrain::app
