// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/model_card.hpp"
#include "bunchtrain/infer/model_folder.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

namespace fs = std::filesystem;

/// Something is not in order: neither bad input (78) nor a failure (1).
constexpr int kExitFaults = 2;

config::OptionSpec folder_spec() {
  return {"folder", std::string{}, "folder of the models", "FOLDER", {}, true};
}

fs::path folder_of(const config::Options& given) {
  const std::string& folder = given.get<std::string>("folder");
  if (folder.empty()) throw ConfigError("folder", "", "a folder of models");
  return folder;
}

void list(const config::Options& given) {
  fmt::print("{:<24} {:<20} {:<34} {}\n", "name", "network", "hash", "classes");
  for (const infer::ListedModel& model : infer::list_models(folder_of(given)))
    if (model.fault.empty())
      fmt::print("{:<24} {:<20} {:<34} {}\n", model.name, model.network, model.hash,
                 fmt::join(model.classes, ","));
    else
      fmt::print("{:<24} cannot be used: {}\n", model.name, model.fault);
}

void show(const config::Options& given) {
  const std::string& name = given.get<std::string>("name");
  if (name.empty()) throw ConfigError("name", "", "the name of a model");
  const fs::path bundle = folder_of(given) / name;
  const fs::path card = bundle / "model_card.json";
  fmt::print("{}", fs::exists(card) ? read_text_file(card) : infer::model_card(bundle));
}

void add(const config::Options& given) {
  const std::string &bundle = given.get<std::string>("bundle"), &name = given.get<std::string>("name");
  if (bundle.empty()) throw ConfigError("bundle", "", "the folder of a bundle");
  infer::add_model(folder_of(given), bundle, name);
}

int verify(const config::Options& given) {
  const auto faults = infer::verify_models(folder_of(given));
  for (const infer::ModelFault& fault : faults) fmt::print("{} {}\n", fault.place, fault.what);
  if (faults.empty()) fmt::print("{}: all in order\n", given.get<std::string>("folder"));
  return faults.empty() ? 0 : kExitFaults;
}

}  // namespace

int models_list(int argc, char** argv) {
  config::Options options("bunchtrain models list", "Lists the bundles of a folder.");
  options.declare(folder_spec());
  return run_subcommand(std::move(options), argc, argv, list);
}

int models_show(int argc, char** argv) {
  config::Options options("bunchtrain models show", "Prints the card of a model in a folder, as JSON.");
  options.declare({folder_spec(), {"name", std::string{}, "of the model", "NAME"}});
  return run_subcommand(std::move(options), argc, argv, show);
}

int models_add(int argc, char** argv) {
  config::Options options("bunchtrain models add",
                          "Copies a bundle into a folder of models, with its SHA-256 checksums.");
  options.declare({folder_spec(),
                   {"bundle", std::string{}, "folder of the bundle", "BUNDLE"},
                   {"name", std::string{}, "what it is called there; empty = as its folder", "NAME"}});
  return run_subcommand(std::move(options), argc, argv, add);
}

int models_verify(int argc, char** argv) {
  config::Options options(
      "bunchtrain models verify",
      "Proves all files of the models in a folder: names what is damaged, missing, twice or foreign.");
  options.declare(folder_spec());
  return run_with_code(std::move(options), argc, argv, verify);
}

}  // namespace bunchtrain::tool
