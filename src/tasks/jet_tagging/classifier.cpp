// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/overlap.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/memory_need.hpp"
#include "heads.hpp"
#include "initial_weights.hpp"

namespace bunchtrain::jet_tagging {
namespace {

constexpr double kDropout = 0.1;  ///< of ParticleNet, as published

data::JetDatasetOptions dataset_options(const train::Session& session,
                                        const std::vector<std::string>& words) {
  const auto& options = session.options();
  data::DataFiles files = data::parse_data_words(words);
  return {.files = std::move(files.files),
          .class_files = std::move(files.class_files),
          .card = options.get<std::string>("card"),
          .length = options.get<std::int64_t>("particles"),
          .classes = options.get<std::vector<std::string>>("classes"),
          .targets = target_names(read_heads(session)),
          .allow_plugins = options.get<bool>("hdf5-plugins"),
          .threads = session.threads().loader,
          .hash_data = options.get<bool>("hash-data"),
          .logger = session.logger()};
}

/// The Trainer looks again; here it is known before anything is built or written.
data::DatasetSplit disjoint(data::DatasetSplit split) {
  data::require_disjoint(*split.train, *split.valid);
  return split;
}

data::DatasetSplit open_files(const train::Session& session) {
  const auto& options = session.options();
  const data::JetDataset jets(dataset_options(session, options.get<std::vector<std::string>>("data")));
  if (const auto& files = options.get<std::vector<std::string>>("valid"); !files.empty()) {
    const data::JetDataset valid(dataset_options(session, files), jets.card());
    return disjoint({jets.all(), valid.all()});
  }
  const double fraction = options.get<double>("valid-fraction");
  if (fraction < 0 || fraction >= 1)
    throw ConfigError("valid-fraction", fmt::format("{}", fraction), "a number from 0 to below 1");
  return disjoint(jets.split(
      {.valid_fraction = fraction > 0 ? fraction : jets.card().valid_fraction, .seed = session.seed()}));
}

/// One output for each `--head`, in the scale that the card learned from the training data.
std::vector<models::ModelDescription> describe_heads(const train::Session& session,
                                                     const features::Card& card) {
  std::vector<models::ModelDescription> heads;
  for (const HeadChoice& choice : read_heads(session)) {
    const features::TargetSpec& target = card.target(choice.target);
    expects(target.width.has_value(),
            fmt::format("the data were not read with the target '{}': open_data does", choice.target));
    heads.push_back(models::ModelDescription("head")
                        .set("name", target.name)
                        .set("mean", target.mean.value())
                        .set("width", target.width.value())
                        .set("own_width", choice.estimate().own_width));
    session.logger().info(fmt::format("head {}: \"{}\", mean {:.4g}, width {:.4g}{}{}", target.name,
                                      target.expression, *target.mean, *target.width,
                                      target.unit.empty() ? "" : " ", target.unit));
  }
  return heads;
}

/// The network that --model names. What the user left at its default is left to the model, which may have no
/// such field.
models::ModelDescription describe_classifier(const train::Session& session, const features::Card& card) {
  const auto& options = session.options();
  const std::string name = options.get<std::string>("model");
  models::ModelDescription description(name == "lite" ? "particlenet-lite" : name);
  description.set("num_features", static_cast<std::int64_t>(card.num_inputs("features")))
      .set("num_classes", static_cast<std::int64_t>(card.classes.size()))
      .set("seed", session.seed());
  for (const char* offered : {"num_features", "num_classes", "seed"}) description.may_ignore(offered);
  if (const double dropout = options.get<double>("dropout"); dropout != kDropout)
    description.set("dropout", dropout);
  if (options.get<bool>("fusion")) description.set("fusion", true);
  if (options.get<bool>("recompute")) description.set("recompute", true);
  if (const auto& rows = options.get<std::string>("batch-norm-rows"); rows != "all")
    description.set("batch_norm_rows", rows);
  if (const auto& padding = options.get<std::string>("padding-rule"); padding != "weaver")
    description.set("padding", padding);
  if (const auto heads = describe_heads(session, card); !heads.empty()) description.set("heads", heads);
  return description;
}

/// One empty jet through the network: what does not fit is known before a run folder is made.
void prove_shapes(torch::nn::Module& module, const train::Session& session, const features::Card& card) {
  const at::NoGradGuard no_gradients;
  const bool wide = session.precision() == device::Precision::float64;
  nn::Model& model = *nn::as_model(module);
  const NamedTensors jet = empty_jet(card, wide ? at::kDouble : at::kFloat);
  for (const auto& input : model.input_names()) {
    if (jet.contains(input)) continue;
    std::vector<std::string> known;
    for (const auto& entry : jet) known.push_back(entry.name);
    throw ConfigError("model", session.options().get<std::string>("model"),
                      fmt::format("a network that reads {} of card {}; this one reads '{}'",
                                  fmt::join(known, ", "), card.name, input));
  }
  module.eval();
  const NamedTensors outputs = model.forward(jet);
  module.train();
  const at::Tensor& logits = outputs["logits"];
  const auto classes = static_cast<std::int64_t>(card.classes.size());
  if (logits.dim() != 2 || logits.size(0) != 1 || logits.size(1) != classes)
    throw ConfigError(
        fmt::format("the network gives logits [{}] for one jet, card {} has {} classes: make it for "
                    "num_classes",
                    fmt::join(logits.sizes(), ", "), card.name, classes));
  for (const HeadChoice& head : read_heads(session))
    if (const at::Tensor* output = outputs.find(head.target); !output || output->numel() != 1)
      throw ConfigError("head", head.target,
                        "nothing: the network has no output of that name, one number per jet");
}

nn::EdgeStorage storage_of(const train::Session& session) {
  using device::Precision;
  const Precision precision = session.precision();
  std::int64_t bytes = 4;
  if (precision == Precision::float64) bytes = 8;
  if (precision == Precision::bfloat16) bytes = 2;
  if (precision == Precision::float16 && session.device().is_cuda()) bytes = 2;  // the CPU keeps float32
  return {.device = session.device().type(), .value_bytes = bytes};
}

}  // namespace

std::vector<config::OptionSpec> classifier_options() {
  std::vector<config::OptionSpec> options = {
      {"model", std::string("lite"),
       "network: lite (ParticleNet-Lite, 26 k parameters), particlenet (366 k), or one that the program registers",
       "NAME"},
      head_option(),
      {"dropout", kDropout, "dropout of the hidden layer"},
      {"fusion", false, "concatenate all block outputs before pooling (weaver's use_fusion)"},
      {"padding-rule",
       std::string("weaver"),
       "how padding enters: zeroed after every block, mean over real particles (weaver), or zeroed once at the "
       "end, mean over all slots (keras)",
       "",
       {"weaver", "keras"}},
      {"batch-norm-rows",
       std::string("all"),
       "batch-norm statistics with padded entries, as published, or real ones only",
       "",
       {"all", "real"}},
      {"recompute", false, "recompute edges in backward: less memory, more time"}};
  for (auto& option : initial_weights_options()) options.push_back(std::move(option));
  return options;
}

data::DatasetSplit open_data(train::Session& session) {
  if (session.options().get<std::vector<std::string>>("data").empty())
    throw ConfigError(
        "data", "",
        "one or more HDF5 files; for a first try make some: bunchtrain generate jets --out toy_jets.h5");
  data::DatasetSplit split;
  session.control().together([&] { split = open_files(session); });
  return split;
}

std::shared_ptr<torch::nn::Module> create_classifier(train::Session& session, const data::Dataset& train) {
  const auto* card = train.card();
  expects(card != nullptr, "the training data has no card to take the number of features and classes from");
  if (card->classes.empty())
    throw ConfigError("card", card->name, "a card with a [label]: of which column, and its classes");
  const auto& options = session.options();
  const auto module = models::create(describe_classifier(session, *card));
  prepare_weights(session, *module, *card);
  if (session.precision() == device::Precision::float64) module->to(at::kDouble);
  prove_shapes(*module, session, *card);
  const std::int64_t passes = std::max<std::int64_t>(1, options.get<std::int64_t>("accumulate"));
  const std::int64_t share = (options.get<std::int64_t>("batch") / session.size() + passes - 1) / passes;
  const std::int64_t bytes =
      nn::as_model(*module)->predicted_activation_bytes(share, card->length, storage_of(session));
  if (bytes == 0) return module;
  session.logger().info(
      fmt::format("a pass keeps about {:.2f} GB for backward ({} jets of {} particles per rank)",
                  1e-9 * static_cast<double>(bytes), share, card->length));
  train::expect_memory({.device = session.device(), .predicted_bytes = bytes}, session.logger());
  return module;
}

}  // namespace bunchtrain::jet_tagging
