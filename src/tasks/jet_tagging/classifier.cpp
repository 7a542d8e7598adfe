// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/overlap.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/train/detail/memory_need.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::jet_tagging {
namespace {

data::JetDatasetOptions dataset_options(const train::Session& session,
                                        const std::vector<std::string>& words) {
  const auto& options = session.options();
  data::DataFiles files = data::parse_data_words(words);
  return {.files = std::move(files.files),
          .class_files = std::move(files.class_files),
          .card = options.get<std::string>("card"),
          .length = options.get<std::int64_t>("particles"),
          .classes = options.get<std::vector<std::string>>("classes"),
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

void start_from(const std::string& path, torch::nn::Module& module, const features::Card& card) {
  const auto file = weights::read_safetensors(path);
  std::vector<std::string> classes;
  for (const auto& entry : card.classes) classes.push_back(entry.name);
  weights::check_classes(file, classes, path);
  weights::load_into(module, file.tensors, path);
}

/// One empty jet through the network: what does not fit is known before a run folder is made.
void prove_shapes(models::ParticleCloudModel& model, const features::Card& card,
                  device::Precision precision) {
  const at::NoGradGuard no_gradients;
  const auto type = precision == device::Precision::float64 ? at::kDouble : at::kFloat;
  const auto columns = [&](std::string_view tensor) {
    return static_cast<std::int64_t>(card.num_inputs(tensor));
  };
  model.module()->eval();
  model.forward(at::zeros({1, card.length, columns("points")}, type),
                at::zeros({1, card.length, columns("features")}, type),
                at::zeros({1, card.length}, at::kBool));
  model.module()->train();
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
  return {{"model",
           std::string("lite"),
           "network: ParticleNet-Lite (26 k parameters) or ParticleNet (366 k)",
           "",
           {"lite", "particlenet"}},
          {"dropout", 0.1, "dropout of the hidden layer"},
          {"fusion", false, "concatenate all block outputs before pooling (weaver's use_fusion)"},
          {"batch-norm-rows",
           std::string("all"),
           "batch-norm statistics with padded entries, as published, or real ones only",
           "",
           {"all", "real"}},
          {"weights", std::string{},
           "safetensors file to start from (ours or weaver-core's names; a snapshot's model.safetensors)",
           "FILE"},
          {"recompute", false, "recompute edges in backward: less memory, more time"}};
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

Classifier create_classifier(train::Session& session, const data::Dataset& train) {
  const auto* card = train.card();
  expects(card != nullptr, "the training data has no card to take the number of features and classes from");
  const auto& options = session.options();
  const std::string name = options.get<std::string>("model") == "lite" ? "particlenet-lite" : "particlenet";
  const models::ModelOptions spec{.num_features = static_cast<std::int64_t>(card->num_inputs("features")),
                                  .num_classes = static_cast<std::int64_t>(card->classes.size()),
                                  .dropout = options.get<double>("dropout"),
                                  .fusion = options.get<bool>("fusion"),
                                  .recompute = options.get<bool>("recompute"),
                                  .real_rows = options.get<std::string>("batch-norm-rows") == "real",
                                  .seed = session.seed()};
  Classifier classifier{.model = models::create(name, spec), .description = models::describe(name, spec)};
  if (const auto& weights = options.get<std::string>("weights"); !weights.empty())
    start_from(weights, *classifier.model->module(), *card);
  if (session.precision() == device::Precision::float64) classifier.model->module()->to(at::kDouble);
  prove_shapes(*classifier.model, *card, session.precision());
  const std::int64_t passes = std::max<std::int64_t>(1, options.get<std::int64_t>("accumulate"));
  const std::int64_t share = (options.get<std::int64_t>("batch") / session.size() + passes - 1) / passes;
  const std::int64_t bytes =
      classifier.model->predicted_activation_bytes(share, card->length, storage_of(session));
  session.logger().info(
      fmt::format("a pass keeps about {:.2f} GB for backward ({} jets of {} particles per rank)",
                  1e-9 * static_cast<double>(bytes), share, card->length));
  train::expect_memory({.device = session.device(), .predicted_bytes = bytes}, session.logger());
  return classifier;
}

}  // namespace bunchtrain::jet_tagging
