// SPDX-License-Identifier: Apache-2.0
#include "evaluated_data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <tuple>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/class_files.hpp"

namespace bunchtrain::jet_tagging {
namespace {

using data::JetDataset;

/// Without the files behind virtual datasets, which have no rows of their own.
std::vector<data::FileIdentity> opened(std::vector<data::FileIdentity> files) {
  std::erase_if(files, [](const data::FileIdentity& file) { return file.rows == 0; });
  return files;
}

std::optional<train::TrainedOn> trained_on(const TrainedNetwork& trained) {
  const auto found = trained.info.metadata.find(train::kTrainedOnKey);
  if (found == trained.info.metadata.end()) return std::nullopt;
  auto run = train::parse_trained_on(found->second);
  run.files = opened(std::move(run.files));
  return run;
}

/// @throws ConfigError unless the run split its files and these are they, in their order.
void require_split(const std::string& part, const std::optional<train::TrainedOn>& run,
                   const std::vector<data::FileIdentity>& files) {
  if (!run) throw ConfigError("split", part, "all: the run does not say which files it was trained on");
  if (run->part.name.empty())
    throw ConfigError(
        "split", part,
        fmt::format("all: the run kept no part of its training files; evaluate the files of its {} by {}",
                    setting("valid"), setting("data")));
  const bool same =
      std::equal(files.begin(), files.end(), run->files.begin(), run->files.end(),
                 [](const auto& here, const auto& there) { return here.fingerprint == there.fingerprint; });
  if (!same)
    throw ConfigError(fmt::format(
        "{} is a part of the files that the run was trained on, in their order, and {} are others: leave "
        "{} away, or give {}",
        setting("split", part), setting("data"), setting("data"),
        fmt::join(data::data_words(run->files), " ")));
}

/// Jets of one file that the run was trained on.
struct TrainedJets {
  std::int64_t count = 0;
  bool exact = true;
};

TrainedJets count_trained(const EvaluatedData& evaluated, const train::TrainedOn& run) {
  std::map<std::string, JetDataset::FilePlace> places;
  std::int64_t first_row = 0;
  for (std::size_t i = 0; i < run.files.size(); ++i) {
    places.try_emplace(run.files[i].fingerprint,
                       JetDataset::FilePlace{static_cast<std::int64_t>(i), first_row});
    first_row += run.files[i].rows;
  }
  const auto& summary = evaluated.samples->summary();
  std::vector<std::optional<JetDataset::FilePlace>> place_of;
  for (const auto& file : opened(summary.files)) {
    const auto found = places.find(file.fingerprint);
    place_of.push_back(found == places.end() ? std::nullopt : std::optional(found->second));
  }
  const bool by_key = !evaluated.files.card().split_by.empty();
  const data::SplitOptions split{.valid_fraction = run.part.valid_fraction, .seed = run.part.seed};
  TrainedJets trained;
  for (const auto& row : evaluated.rows) {
    const auto& place = place_of.at(static_cast<std::size_t>(row.file));
    if (!place) continue;
    if (run.part.name.empty()) {
      ++trained.count;
      continue;
    }
    trained.exact = trained.exact && (!by_key || place->index == row.file);
    trained.count += evaluated.files.is_validated(row, split, *place) ? 0 : 1;
  }
  return trained;
}

/// Copies of files, anywhere, are the same files.
bool same_part(const std::optional<train::TrainedOn>& a, const std::optional<train::TrainedOn>& b) {
  if (!a || !b) return false;
  const auto key = [](const data::SplitPart& part) {
    return std::tie(part.name, part.valid_fraction, part.seed);
  };
  return key(a->part) == key(b->part) &&
         std::ranges::equal(a->files, b->files, [](const auto& x, const auto& y) {
           return x.fingerprint == y.fingerprint && x.rows == y.rows;
         });
}

/// @throws ConfigError unless all networks were trained on the same part of the same files.
void require_same_part(const std::string& part, std::span<const TrainedNetwork> networks) {
  const auto first = trained_on(networks.front());
  for (const TrainedNetwork& other : networks.subspan(1))
    if (!same_part(first, trained_on(other)))
      throw ConfigError("split", part,
                        fmt::format("all: {} and {} were not trained on the same part of the same files",
                                    networks.front().info.folder.string(), other.info.folder.string()));
}

void warn_of_trained(const train::Session& session, const EvaluatedData& evaluated,
                     const std::optional<train::TrainedOn>& run, const std::string& whose) {
  if (!run) return;
  const TrainedJets trained = count_trained(evaluated, *run);
  if (trained.count == 0) return;
  const std::string all = format_integer(evaluated.samples->size());
  session.logger().warning(fmt::format(
      "{}{}{} of these {} jets were trained on: what follows is better than on jets never seen{}", whose,
      trained.exact ? "" : "about ", format_integer(trained.count), all,
      run->part.name.empty() ? std::string()
                             : fmt::format("; {} takes those that the run kept", setting("split", "valid"))));
}

/// Of networks that were trained on the same part once.
void warn_of_trained(const train::Session& session, const EvaluatedData& evaluated,
                     std::span<const TrainedNetwork> networks) {
  std::vector<std::optional<train::TrainedOn>> told;
  for (const TrainedNetwork& trained : networks) {
    const auto run = trained_on(trained);
    if (std::ranges::any_of(told, [&](const auto& other) { return same_part(other, run); })) continue;
    told.push_back(run);
    const bool one = networks.size() == 1;
    warn_of_trained(session, evaluated, run, one ? "" : trained.info.folder.string() + ": ");
  }
}

}  // namespace

std::string describe_files(const std::vector<std::filesystem::path>& files) {
  constexpr std::size_t kMost = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(files.size(), kMost); ++i)
    text += (i > 0 ? ", " : "") + files[i].filename().string();
  return files.size() > kMost ? fmt::format("{} and {} more", text, files.size() - kMost) : text;
}

EvaluatedData open_evaluated(const train::Session& session, const EvaluateOptions& options,
                             std::span<const TrainedNetwork> networks, SharedRows& rows) {
  for (const char* name : {"split", "data", "hdf5-plugins", "io", "decode"}) session.use(name);
  const TrainedNetwork& trained = networks.front();
  const std::string part(to_string(options.split));
  const auto run = trained_on(trained);
  if (part != "all") require_same_part(part, networks);
  std::vector<std::string> names = options.data;
  if (names.empty() && part != "all") {
    require_split(part, run, run ? run->files : std::vector<data::FileIdentity>{});
    names = data::data_words(run->files);
  }
  if (names.empty())
    throw ConfigError(fmt::format(
        "nothing to evaluate: name HDF5 files by {}, or take the part of its own files that the run kept, by {}",
        setting("data"), setting("split", "valid")));
  const data::DataFiles named = data::parse_data_words(names);
  std::vector<std::string> targets;
  for (const EstimatedTarget& head : trained.heads) targets.push_back(head.name);
  const JetDataset files = rows.open({.files = named.files,
                                      .class_files = named.class_files,
                                      .targets = std::move(targets),
                                      .labels_required = false,
                                      .allow_plugins = options.hdf5_plugins,
                                      .threads = session.threads().loader,
                                      .io = options.io,
                                      .logger = session.logger()},
                                     trained.card);
  EvaluatedData evaluated{
      .files = files, .samples = files.all(), .rows = {}, .description = describe_files(files.files())};
  if (part != "all") {
    require_split(part, run, opened(files.all()->summary().files));
    const auto split = files.split({.valid_fraction = run->part.valid_fraction, .seed = run->part.seed});
    evaluated.samples = part == "valid" ? split.valid : split.train;
    evaluated.description =
        fmt::format("{} part of {}", part == "valid" ? "validation" : "training", evaluated.description);
  }
  evaluated.rows = files.rows_of(*evaluated.samples);
  if (part == "all") warn_of_trained(session, evaluated, networks);
  return evaluated;
}

}  // namespace bunchtrain::jet_tagging
