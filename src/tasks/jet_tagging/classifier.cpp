// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/detail/overlap.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/memory_need.hpp"
#include "heads.hpp"
#include "initial_weights.hpp"
#include "shared_rows.hpp"

namespace bunchtrain::jet_tagging {
namespace {

data::JetDatasetOptions dataset_options(const train::Session& session, const JetDataOptions& options,
                                        const std::vector<std::string>& targets,
                                        const std::vector<std::string>& words) {
  for (const char* name : {"card", "particles", "classes", "hdf5-plugins", "hash-data", "io"})
    session.use(name);
  data::DataFiles files = data::parse_data_words(words);
  return {.files = std::move(files.files),
          .class_files = std::move(files.class_files),
          .card = options.files.card,
          .length = options.particles,
          .pad_to_longest = options.pad_to_longest,
          .classes = options.classes,
          .targets = targets,
          .allow_plugins = options.files.hdf5_plugins,
          .threads = session.threads().loader,
          .hash_data = options.files.hash_data,
          .io = options.files.io,
          .logger = session.logger()};
}

/// The Trainer looks again; here it is known before anything is built or written.
data::DatasetSplit disjoint(data::DatasetSplit split) {
  data::require_disjoint(*split.train, *split.valid);
  return split;
}

data::DatasetSplit open_files(const train::Session& session, const JetDataOptions& options,
                              const std::vector<std::string>& targets, SharedRows& rows) {
  const data::JetDataset jets = rows.open(dataset_options(session, options, targets, options.files.data));
  if (jets.card().ragged)
    throw ConfigError(
        "particles.batches", "ragged",
        fmt::format("\"padded\" in card '{}': the networks of this task take [jets, length, columns] "
                    "and a mask",
                    jets.card().name));
  session.use("valid");
  if (const auto& files = options.files.valid; !files.empty()) {
    const data::JetDataset valid = rows.open(dataset_options(session, options, targets, files), jets.card());
    return disjoint({jets.all(), valid.all()});
  }
  session.use("valid-fraction");
  const double fraction = options.files.valid_fraction;
  if (fraction < 0 || fraction >= 1)
    throw ConfigError("valid-fraction", fmt::format("{}", fraction), "a number from 0 to below 1");
  return disjoint(jets.split(
      {.valid_fraction = fraction > 0 ? fraction : jets.card().valid_fraction, .seed = session.seed()}));
}

/// One output for each head, in the scale that the card learned from the training data.
std::vector<models::ModelDescription> describe_heads(const train::Session& session,
                                                     const std::vector<HeadChoice>& choices,
                                                     const features::Card& card) {
  std::vector<models::ModelDescription> heads;
  for (const HeadChoice& choice : choices) {
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

/// What is left at its default is left to the model, which may have no such field.
models::ModelDescription describe_classifier(const train::Session& session, const ClassifierOptions& options,
                                             const features::Card& card) {
  models::ModelDescription description(options.model == "lite" ? "particlenet-lite" : options.model);
  description.set("num_features", static_cast<std::int64_t>(card.num_inputs("features")))
      .set("num_classes", static_cast<std::int64_t>(card.classes.size()))
      .set("seed", session.seed());
  for (const char* offered : {"num_features", "num_classes", "seed"}) description.may_ignore(offered);
  if (options.dropout != ClassifierOptions().dropout) description.set("dropout", options.dropout);
  if (options.fusion) description.set("fusion", true);
  if (options.recompute) description.set("recompute", true);
  if (options.batch_norm_rows == models::BatchNormRows::real) description.set("batch_norm_rows", "real");
  if (options.padding == models::PaddingRule::keras) description.set("padding", "keras");
  if (const auto heads = describe_heads(session, options.heads, card); !heads.empty())
    description.set("heads", heads);
  return description;
}

/// One empty jet through the network: what does not fit is known before a run folder is made.
void prove_shapes(torch::nn::Module& module, const train::Session& session, const ClassifierOptions& options,
                  const features::Card& card) {
  const at::NoGradGuard no_gradients;
  const bool wide = session.precision() == device::Precision::float64;
  nn::Model& model = *nn::as_model(module);
  const NamedTensors jet = empty_jet(card, wide ? at::kDouble : at::kFloat);
  for (const auto& input : model.input_names()) {
    if (jet.contains(input)) continue;
    std::vector<std::string> known;
    for (const auto& entry : jet) known.push_back(entry.name);
    throw ConfigError("model", options.model,
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
  for (const HeadChoice& head : options.heads)
    if (const at::Tensor* output = outputs.find(head.target); !output || output->numel() != 1)
      throw ConfigError("head", head.target,
                        "nothing: the network has no output of that name, one number per jet");
}

bool is_particle_net(const ClassifierOptions& options) {
  return options.model == "lite" || options.model == "particlenet";
}

/// Also of the shortest batches.
void prove_buckets(torch::nn::Module& module, const train::Session& session, const ClassifierOptions& options,
                   features::Card card) {
  card.length = std::min(card.length, data::kLeastLength);
  prove_shapes(module, session, options, card);
  if (is_particle_net(options))
    session.logger().warning(
        "batches of jets of like lengths have other statistics than all jets, and batch norm learns theirs: compare the "
        "validation with that of a run without " +
        setting("length_buckets") + ", most of all where the number of particles tells the classes");
}

nn::EdgeStorage storage_of(const train::Session& session) {
  using device::Precision;
  const Precision precision = session.precision();
  std::int64_t bytes = 4;
  if (precision == Precision::float64) bytes = 8;
  if (precision == Precision::bfloat16) bytes = 2;
  if (precision == Precision::float16 && session.device().is_cuda()) bytes = 2;  // the CPU keeps float32
  return {.device = session.device(), .value_bytes = bytes};
}

std::int64_t predict_bytes(const train::Session& session, const torch::nn::Module& module, std::int64_t jets,
                           std::int64_t particles) {
  const device::PrecisionGuard precision(session.precision(), session.device().type());
  return nn::as_model(module)->predicted_activation_bytes(jets, particles, storage_of(session));
}

/// What a GPU computes the long way.
void log_operations(const train::Session& session, const torch::nn::Module& module, std::int64_t particles) {
  const auto* network = dynamic_cast<const models::ParticleNetImpl*>(&module);
  if (!network || !session.device().is_cuda() || !session.logger().enabled(LogLevel::debug)) return;
  const device::PrecisionGuard precision(session.precision(), session.device().type());
  for (const std::string& line : network->blocks_by_operations(particles, session.device()))
    session.logger().debug("edges go through operations instead of fused passes in " + line);
}

data::DatasetSplit open_with_targets(train::Session& session, const JetDataOptions& options,
                                     const std::vector<std::string>& targets) {
  session.use("data");
  if (options.files.data.empty())
    throw ConfigError(
        "data", "",
        "one or more HDF5 files; for a first try make some: " + way_to(Advice::make_toy_jets, "toy_jets.h5"));
  return open_once_per_node(session,
                            [&](SharedRows& rows) { return open_files(session, options, targets, rows); });
}

/// Batches of other jets have other padding.
void require_padding_unseen(const ClassifierOptions& options) {
  if (options.length_buckets == 0) return;
  if (options.length_buckets < 0)
    throw ConfigError("length-buckets", fmt::format("{}", options.length_buckets),
                      "a number of batches, or 0 for none");
  if (is_particle_net(options) && options.padding == models::PaddingRule::keras)
    throw ConfigError(
        "padding-rule", "keras",
        "weaver with " + setting("length_buckets") + ": a mean over all slots depends on the padding");
  if (is_particle_net(options) && options.batch_norm_rows == models::BatchNormRows::all)
    throw ConfigError(
        "batch-norm-rows", "all",
        "real with " + setting("length_buckets") + ": statistics with padded entries depend on it");
}

}  // namespace

void ClassifierOptions::validate() const {
  require_padding_unseen(*this);
  std::set<std::string> targets;
  for (const HeadChoice& head : heads) {
    if (head.target == kClassHead)
      throw ConfigError("head", head.target,
                        fmt::format("another target: {} are the classes' own head", kClassHead));
    if (!targets.insert(head.target).second) throw ConfigError("head", head.target, "each target once");
  }
}

data::DatasetSplit open_data(train::Session& session, const JetDataOptions& options) {
  return open_with_targets(session, options, {});
}

data::DatasetSplit open_data(train::Session& session, const ClassifierOptions& options) {
  for (const char* name : {"head", "length-buckets"}) session.use(name);
  options.validate();
  JetDataOptions data = options.data;
  data.pad_to_longest = data.pad_to_longest || options.length_buckets > 0;
  return open_with_targets(session, data, target_names(options.heads));
}

std::shared_ptr<torch::nn::Module> create_classifier(train::Session& session,
                                                     const ClassifierOptions& options,
                                                     const data::Dataset& train) {
  for (const char* name : {"model", "head", "dropout", "fusion", "recompute", "batch-norm-rows",
                           "padding-rule", "accumulate", "batch"})
    session.use(name);
  const auto* card = train.card();
  expects(card != nullptr, "the training data has no card to take the number of features and classes from");
  if (card->classes.empty())
    throw ConfigError("card", card->name, "a card with a [label]: of which column, and its classes");
  const auto module = models::create(describe_classifier(session, options, *card));
  prepare_weights(session, options, *module, *card);
  if (session.precision() == device::Precision::float64) module->to(at::kDouble);
  prove_shapes(*module, session, options, *card);
  if (options.length_buckets > 0) prove_buckets(*module, session, options, *card);
  log_operations(session, *module, card->length);
  const train::TrainingChoices& training = session.asked().training;
  const std::int64_t passes = std::max<std::int64_t>(1, training.accumulate.value);
  const std::int64_t share = (training.batch.value / session.size() + passes - 1) / passes;
  const std::int64_t bytes = predict_bytes(session, *module, share, card->length);
  if (bytes == 0) return module;
  session.logger().info(
      fmt::format("a pass keeps about {:.2f} GB for backward ({} jets of {} particles per rank)",
                  1e-9 * static_cast<double>(bytes), share, card->length));
  train::expect_memory({.device = session.device(), .predicted_bytes = bytes}, session.logger());
  return module;
}

}  // namespace bunchtrain::jet_tagging
