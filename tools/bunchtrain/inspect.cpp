// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <numbers>
#include <thread>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/hdf5_dataset.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "bunchtrain/report/table.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

constexpr double kDegrees = 180 / std::numbers::pi;

void print_datasets(const std::vector<data::DatasetContents>& contents) {
  bunchtrain::report::Table table({"dataset", "shape and type", "storage"});
  for (const auto& dataset : contents) table.add_row({dataset.shape.name, dataset.text, dataset.storage});
  fmt::print("{}", table.to_string());
}

void print_jets(const std::string& file, const std::string& card) {
  const data::Hdf5Dataset jets({.files = {file}, .card = card, .labels_required = false});
  const auto all = jets.all();
  const auto& summary = all->summary();
  fmt::print("{}\n", summary.description);
  for (std::size_t i = 0; i < summary.classes.size() && i < summary.class_counts.size(); ++i)
    fmt::print("  {:<12} {}\n", summary.classes[i], summary.class_counts[i]);
  for (const auto& path : summary.paths) fmt::print("  {}\n", path);
}

void print_showers(const std::string& file, const std::string& card) {
  const auto threads = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
  const data::ShowerDataset showers({.files = {file}, .card = card, .threads = threads});
  const auto& summary = showers.all()->summary();
  const auto& found = showers.overview();
  fmt::print("{}\n", summary.description);
  for (const auto& block : showers.card().cells)
    fmt::print("  {:<18} {} cells of {}\n", "grid", fmt::join(block.shape, " x "), block.dataset);
  fmt::print("  {:<18} {:.4g} to {:.4g} GeV\n", "energy", found.lowest_energy, found.highest_energy);
  fmt::print("  {:<18} {:.4g} (cell sum over energy, median)\n", "sampling fraction",
             found.sampling_fraction);
  if (showers.card().has_angle())
    fmt::print("  {:<18} {:.4g} to {:.4g} rad ({:.1f} to {:.1f} degrees)\n", "theta", found.lowest_theta,
               found.highest_theta, found.lowest_theta * kDegrees, found.highest_theta * kDegrees);
  for (const auto& path : summary.paths) fmt::print("  {}\n", path);
}

void print_card(const std::string& file, const std::string& card) {
  if (features::names_shower_card(card)) return print_showers(file, card);
  print_jets(file, card);
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
