// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numbers>
#include <thread>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/shell_word.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/file_reading.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "bunchtrain/data/input_files.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/shower_dataset.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

constexpr double kDegrees = 180 / std::numbers::pi;
constexpr std::size_t kColumns = 60;               ///< of a narrow terminal: longer lines are broken
constexpr std::string_view kDraftName = "FILE's";  ///< --write-card without a name

/// Words after `indent` blanks, continued on further lines where they do not fit.
void print_wrapped(std::size_t indent, const std::vector<std::string>& words) {
  std::string line(indent, ' ');
  bool begun = false;
  for (const std::string& word : words) {
    if (begun && line.size() + 1 + word.size() > kColumns) {
      fmt::print("{}\n", line);
      line = std::string(indent + 2, ' ');
      begun = false;
    }
    if (begun) line += ' ';
    line += word;
    begun = true;
  }
  fmt::print("{}\n", line);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

void print_text(std::size_t indent, std::string_view text) { print_wrapped(indent, words_of(text)); }

std::string number(double value) {
  const bool whole = value == std::nearbyint(value) && std::abs(value) < 1e15;  // event numbers in full
  return whole ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

std::string range_text(const data::ValueSample& sample) {
  std::string text = sample.minimum > sample.maximum
                         ? "no finite value"
                         : fmt::format("{} to {}", number(sample.minimum), number(sample.maximum));
  const auto share = [&](std::int64_t count, std::string_view what) {
    if (count == 0) return;
    text += fmt::format(", {:.2g} % {}",
                        100.0 * static_cast<double>(count) / static_cast<double>(sample.values), what);
  };
  share(sample.nan, "NaN");
  share(sample.infinite, "infinite");
  return text;
}

/// Name, type and range of the members in columns; the range on a line of its own where it does not fit.
void print_members(const std::vector<data::ValueSample>& samples) {
  std::size_t name_width = 0;
  for (const auto& sample : samples) name_width = std::max(name_width, sample.member.size());
  name_width = std::min(name_width, std::size_t{28});
  for (const auto& sample : samples) {
    const std::string head = fmt::format("    {:<{}} {:<7}", sample.member, name_width, sample.type);
    const std::string range = range_text(sample);
    if (head.size() + 1 + range.size() <= kColumns) {
      fmt::print("{} {}\n", head, range);
    } else {
      fmt::print("{}\n", head);
      print_text(8, range);
    }
  }
}

void print_dataset(const data::DatasetContents& dataset, const data::DatasetSample& sample) {
  const std::size_t members = dataset.shape.members.size();
  std::vector<std::string> words = words_of(fmt::format("{} {}", dataset.shape.name, dataset.text));
  if (members > 0) words.push_back(fmt::format("({} members)", members));
  print_wrapped(2, words);
  if (!dataset.storage.empty()) print_text(4, dataset.storage);
  // In one line: a command in it is to be copied as it is.
  if (!dataset.unreadable.empty()) return fmt::print("    {}\n", dataset.unreadable);
  if (!sample.problem.empty()) return print_text(4, "cannot be read: " + sample.problem);
  if (members > 0) return print_members(sample.columns);
  for (const auto& column : sample.columns) print_text(4, range_text(column));
}

/// How many rows the datasets have.
void print_rows(const std::vector<data::DatasetContents>& contents) {
  std::map<std::int64_t, std::size_t> counts;
  for (const auto& dataset : contents)
    if (!dataset.shape.shape.empty()) ++counts[dataset.shape.shape.front()];
  std::vector<std::string> texts;
  for (const auto& [rows, datasets] : counts)
    texts.push_back(counts.size() == 1 ? fmt::format("{}", rows)
                                       : fmt::format("{} ({} datasets)", rows, datasets));
  if (!texts.empty()) print_text(2, fmt::format("rows: {}", fmt::join(texts, ", ")));
}

void print_contents(const std::vector<data::DatasetContents>& contents,
                    const std::vector<data::DatasetSample>& samples) {
  if (contents.empty()) fmt::print("  no datasets\n");
  for (std::size_t i = 0; i < contents.size(); ++i) print_dataset(contents[i], samples[i]);
  print_rows(contents);
}

/// What of the command line concerns reading.
struct Reading {
  std::string card;  ///< empty: recognised
  bool plugins = false;
};

void print_jets(const std::string& file, const Reading& reading) {
  const data::JetDataset jets(
      {.files = {file}, .card = reading.card, .labels_required = false, .allow_plugins = reading.plugins});
  const auto all = jets.all();
  const auto& summary = all->summary();
  print_text(0, summary.description);
  if (!jets.card().label.empty()) print_text(2, "labels " + features::describe_labels(jets.card()));
  for (std::size_t i = 0; i < summary.classes.size() && i < summary.class_counts.size(); ++i)
    fmt::print("  {:<12} {}\n", summary.classes[i], summary.class_counts[i]);
  for (const auto& path : summary.paths) print_text(2, path);
}

void print_showers(const std::string& file, const Reading& reading) {
  const auto threads = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
  const data::ShowerDataset showers(
      {.files = {file}, .card = reading.card, .allow_plugins = reading.plugins, .threads = threads});
  const auto& summary = showers.all()->summary();
  const auto& found = showers.overview();
  print_text(0, summary.description);
  for (const auto& block : showers.card().cells)
    fmt::print("  {:<18} {} cells of {}\n", "grid", fmt::join(block.shape, " x "), block.dataset);
  fmt::print("  {:<18} {:.4g} to {:.4g} GeV\n", "energy", found.lowest_energy, found.highest_energy);
  fmt::print("  {:<18} {:.4g} (cell sum over energy)\n", "sampling fraction", found.sampling_fraction);
  if (showers.card().has_angle())
    fmt::print("  {:<18} {:.4g} to {:.4g} rad ({:.1f} to {:.1f} degrees)\n", "theta", found.lowest_theta,
               found.highest_theta, found.lowest_theta * kDegrees, found.highest_theta * kDegrees);
  for (const auto& path : summary.paths) print_text(2, path);
}

void print_hits(const std::string& file, const Reading& reading) {
  const data::HitDataset events(
      {.files = {file}, .card = reading.card, .labels_required = false, .allow_plugins = reading.plugins});
  const auto all = events.all();
  const auto& summary = all->summary();
  print_text(0, summary.description);
  std::int64_t least = events.hits(), most = 0;
  for (std::size_t i = 0; i + 1 < all->row_splits().size(); ++i) {
    const std::int64_t hits = all->row_splits()[i + 1] - all->row_splits()[i];
    least = std::min(least, hits);
    most = std::max(most, hits);
  }
  fmt::print("  {:<18} {} to {}\n", "hits per event", least, most);
  if (!events.card().label.empty()) print_text(2, "labels " + features::describe_labels(events.card()));
  for (std::size_t i = 0; i < summary.classes.size() && i < summary.class_counts.size(); ++i)
    fmt::print("  {:<12} {}\n", summary.classes[i], summary.class_counts[i]);
  for (const auto& path : summary.paths) print_text(2, path);
}

void print_card(const std::string& file, const Reading& reading) {
  switch (features::kind_of_card(reading.card)) {
    case features::CardKind::showers:
      return print_showers(file, reading);
    case features::CardKind::hits:
      return print_hits(file, reading);
    case features::CardKind::jets:
      return print_jets(file, reading);
  }
}

/// Which built-in card fits; how to come by one if none does.
void print_verdict(const std::string& file, const features::LayoutFit& layout, bool readable, bool plugins) {
  if (!readable) return;  // what cannot be opened fits no card
  print_text(0, features::describe(layout));
  if (layout.card) return print_card(file, {.card = layout.card->card, .plugins = plugins});
  fmt::print("draft a card:\n  bunchtrain inspect {} --write-card\n", shell_word(file));
}

std::filesystem::path draft_path(const std::string& target, const std::string& file) {
  if (target != kDraftName) return target;
  return std::filesystem::path(file).stem().string() + ".toml";
}

void write_card(const std::filesystem::path& path, const std::string& file,
                const std::vector<features::DatasetShape>& shapes) {
  if (std::filesystem::exists(path))
    throw ConfigError("write-card", path.string(), "a file that does not exist yet: nothing is overwritten");
  const std::string card = features::draft_card(shapes, std::filesystem::path(file).filename().string());
  write_file_atomically(path, card);
  const std::string name = shell_word(path.string());
  print_text(0, fmt::format("card written to {}: look at inputs and labels, then", name));
  const features::CardKind kind = features::kind_of_text(card);
  if (kind == features::CardKind::hits)
    return fmt::print("  bunchtrain inspect {} --card {}\n", shell_word(file), name);
  fmt::print("  {} --data {} --card {}\n",
             kind == features::CardKind::showers ? "train_3dgan" : "train_particlenet", shell_word(file),
             name);
}

void require_files(const std::vector<std::string>& files, const std::string& target) {
  if (!files.empty() && (files.size() == 1 || target.empty())) return;
  if (files.size() > 1) throw ConfigError("write-card", target, "one file at a time: a card each");
  const bool swallowed = target.size() > 3 && !target.ends_with(".toml") && target != kDraftName;
  throw ConfigError("file", "",
                    swallowed
                        ? fmt::format("an HDF5 file before --write-card: bunchtrain inspect {} --write-card",
                                      shell_word(target))
                        : "one HDF5 file or more");
}

/// The indexes that PyTables keeps beside a table, for its own queries: groups "_i_table" with
/// chunks that it never fills.
bool is_pytables_index(const data::DatasetContents& dataset) {
  return dataset.shape.name.starts_with("_i_") || dataset.shape.name.find("/_i_") != std::string::npos;
}

/// How each dataset is read, and why.
void print_reading(const std::string& file, bool plugins) {
  const data::FileReading reading = data::describe_reading(file, data::IoEngine::automatic, plugins);
  fmt::print("{}\n", file);
  for (const auto& dataset : reading.datasets)
    print_text(2, dataset.problem.empty()
                      ? fmt::format("{}: {}{}", dataset.dataset, dataset.way,
                                    dataset.plain ? " (fit for --decode device)" : "")
                      : fmt::format("{}: cannot be read: {}", dataset.dataset, dataset.problem));
  print_text(2, reading.choice);
  for (const auto& engine : reading.unavailable) print_text(2, "not here: " + engine);
}

void inspect_file(const std::string& file, const Reading& reading, const std::string& target) {
  auto contents = data::list_contents(file);
  const std::size_t indexes = std::erase_if(contents, is_pytables_index);
  const auto samples = data::sample_values(file, contents, reading.plugins);
  data::add_seen_values(samples, contents);
  const auto shapes = data::shapes_of(contents);
  fmt::print("{}\n", file);
  print_contents(contents, samples);
  if (indexes > 0) print_text(2, fmt::format("left out: {} datasets of PyTables' indexes (_i_...)", indexes));
  if (reading.card.empty())
    print_verdict(file, features::judge_layout(shapes), contents.empty() || !shapes.empty(), reading.plugins);
  else
    print_card(file, reading);
  if (!target.empty()) write_card(draft_path(target, file), file, shapes);
}

void inspect_files(const config::Options& given) {
  const auto& files = given.get<std::vector<std::string>>("file");
  const auto& target = given.get<std::string>("write-card");
  require_files(files, target);
  const Reading reading{.card = given.get<std::string>("card"), .plugins = given.get<bool>("hdf5-plugins")};
  const auto paths = data::input_files(files);  // of a manifest all its shards
  for (const auto& path : paths) {
    const std::string file = path.string();
    if (given.get<bool>("io"))
      print_reading(file, reading.plugins);
    else
      inspect_file(file, reading, path == paths.front() ? target : std::string());
  }
}

}  // namespace

int inspect(int argc, char** argv) {
  config::Options options("bunchtrain inspect",
                          "Lists what HDF5 files hold, which data card fits and how each dataset is read.");
  options.declare({{"file", std::vector<std::string>{}, "HDF5 files", "FILE...", {}, true},
                   {"card", std::string{}, "look at the file through this card", "NAME|FILE"},
                   {"write-card",
                    std::string{},
                    "write a card to begin with; FILE's name with .toml if none is given",
                    "[FILE.toml]",
                    {},
                    false,
                    false,
                    std::string(kDraftName)},
                   {"io", false, "how each dataset would be read, and why, instead of what is in it"},
                   {"hdf5-plugins", false, "allow HDF5 filter plug-ins (they load code that a file names)"}});
  return run_subcommand(std::move(options), argc, argv, inspect_files);
}

}  // namespace bunchtrain::tool
