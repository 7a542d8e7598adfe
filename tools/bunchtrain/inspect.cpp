// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/hdf5_dataset.hpp"
#include "bunchtrain/report/table.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

void print_datasets(const std::vector<data::DatasetContents>& contents) {
  bunchtrain::report::Table table({"dataset", "shape and type", "storage"});
  for (const auto& dataset : contents) table.add_row({dataset.shape.name, dataset.text, dataset.storage});
  fmt::print("{}", table.to_string());
}

void print_card(const std::string& file, const std::string& card) {
  const data::Hdf5Dataset jets({.files = {file}, .card = card, .labels_required = false});
  const auto all = jets.all();
  const auto& summary = all->summary();
  fmt::print("{}\n", summary.description);
  for (std::size_t i = 0; i < summary.classes.size() && i < summary.class_counts.size(); ++i)
    fmt::print("  {:<12} {}\n", summary.classes[i], summary.class_counts[i]);
  for (const auto& path : summary.paths) fmt::print("  {}\n", path);
}

void print_fits(const std::vector<features::DatasetShape>& shapes) {
  for (const auto& fit : features::fit_builtin_cards(shapes))
    if (!fit.matched.empty())
      fmt::print("card {}: {}\n", fit.card,
                 fit.fits() ? "fits" : fmt::format("{}", fmt::join(fit.problems, "; ")));
}

void write_card(const std::string& path, const std::vector<features::DatasetShape>& shapes) {
  if (std::filesystem::exists(path))
    throw ConfigError("write-card", path, "a file that does not exist yet: nothing is overwritten");
  const std::string name = std::filesystem::path(path).stem().string();
  write_file_atomically(path, features::draft_card(shapes, name));
  fmt::print("card drafted in {}: fill in inputs and label, then train with --card {}\n", path, path);
}

void inspect_file(const config::Options& given) {
  const auto& files = given.get<std::vector<std::string>>("file");
  if (files.empty()) throw ConfigError("file", "", "one HDF5 file");
  for (const auto& file : files) {
    const auto contents = data::list_contents(file);
    const auto shapes = data::shapes_of(contents);
    fmt::print("{}\n", file);
    print_datasets(contents);
    const std::string card = given.get<std::string>("card");
    const auto recognised = features::recognise(shapes);
    if (card.empty() && !recognised) {
      print_fits(shapes);
    } else {
      print_card(file, card.empty() ? *recognised : card);
    }
    if (const auto& target = given.get<std::string>("write-card"); !target.empty())
      write_card(target, shapes);
  }
}

}  // namespace

int inspect(int argc, char** argv) {
  config::Options options("bunchtrain inspect",
                          "Lists what HDF5 files hold, which data card fits and how each dataset is read.");
  options.declare({{"file", std::vector<std::string>{}, "HDF5 files", "FILE...", {}, true},
                   {"card", std::string{}, "look at the file through this card", "NAME|FILE"},
                   {"write-card", std::string{}, "draft a card for this layout", "FILE.toml"}});
  return run_subcommand(std::move(options), argc, argv, inspect_file);
}

}  // namespace bunchtrain::tool
