// SPDX-License-Identifier: Apache-2.0
#include "labelled_files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/shell_word.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "row_ranges.hpp"
#include "storage/file_list.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostWords = 40;

bool exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool names_files(const std::string& word) {
  if (exists(word)) return true;
  if (word.find_first_of("*?[") == std::string::npos) return false;
  try {
    return !list_files(std::span(&word, 1)).empty();
  } catch (const DataError&) {
    return false;
  }
}

/// The class that a file's name says: "t" of "t30.hdf5" or "jets_t_2.h5" if the card has a class
/// t, else the name itself.
std::string class_of_name(const fs::path& path, const features::Card& card) {
  const std::string stem = path.stem().string();
  std::string part;
  for (std::size_t i = 0; i <= stem.size(); ++i) {
    const bool letter = i < stem.size() && std::isalpha(static_cast<unsigned char>(stem[i]));
    if (letter) {
      part += stem[i];
      continue;
    }
    for (const auto& spec : card.classes)
      if (spec.name == part) return part;
    part.clear();
  }
  std::string name;
  for (const char c : stem) name += std::isalnum(static_cast<unsigned char>(c)) || c == '-' ? c : '_';
  return name;
}

/// How the user names a file and the class of its jets.
std::string file_word(const std::string& class_name, const std::string& path) {
  return setting("data", class_name + "=" + shell_word(path));
}

std::string class_words(std::span<const JetFile> files, const features::Card& card) {
  if (files.size() == 1)
    return fmt::format("{} and one more {} for each other class",
                       file_word(class_of_name(files.front().path(), card), files.front().path()),
                       setting("data", "NAME=FILE"));
  std::vector<std::string> words;
  for (const JetFile& file : files.first(std::min(files.size(), kMostWords)))
    words.push_back(file_word(class_of_name(file.path(), card), file.path()));
  const std::string more =
      files.size() > kMostWords ? fmt::format(" and so on for {} more files", files.size() - kMostWords) : "";
  return fmt::format("{}{}", fmt::join(words, " "), more);
}

/// The columns that the label alone needs.
std::vector<std::string> label_columns(features::Card card) {
  card.sample_weight.clear();
  card.split_by.clear();
  return features::FeaturePipeline(std::move(card)).optional_columns();
}

bool has_all(const JetFile& file, const std::vector<std::string>& columns) {
  return std::none_of(file.missing().begin(), file.missing().end(), [&](const MissingColumn& missing) {
    return std::find(columns.begin(), columns.end(), missing.name) != columns.end();
  });
}

std::vector<std::string> names_of(const std::vector<features::ClassSpec>& classes) {
  std::vector<std::string> names;
  for (const auto& spec : classes) names.push_back(spec.name);
  return names;
}

void check_own_labels(const LabelledFile& file, const features::Card& card,
                      const std::vector<std::string>& columns) {
  const features::FeaturePipeline pipeline(card);
  const std::vector<JetFile> opened = [&] {
    std::vector<JetFile> files;
    files.emplace_back(file.path, pipeline);
    return files;
  }();
  if (!has_all(opened.front(), columns)) return;
  const std::string word = fmt::format("{}={}", file.class_name, shell_word(file.path.string()));
  const auto names = names_of(card.classes);
  const auto said = std::find(names.begin(), names.end(), file.class_name);
  if (said == names.end())
    throw DataError(
        fmt::format("{}: has labels of its own ({}, classes {}), and {} says another class; leave out "
                    "\"{}=\": {}",
                    file.path.string(), card.label, fmt::join(names, ", "), word, file.class_name,
                    setting("data", shell_word(file.path.string()))));
  features::RawColumns raw;
  features::RowSelection selection;
  for (const RowRange& range : cut_rows(opened)) {
    opened.front().read(range.first, range.count, ColumnSet::selection, raw);
    pipeline.select_rows(raw, selection);
    pipeline.require_known(selection.unknown);
    for (std::size_t i = 0; i < selection.kept.size(); ++i) {
      if (selection.labels[i] == said - names.begin()) continue;
      throw DataError(
          fmt::format("{}, row {}: is labelled {} ({}), but {} says that all its jets are {}; leave "
                      "out \"{}=\": {}",
                      file.path.string(), range.first + static_cast<std::size_t>(selection.kept[i]),
                      names[static_cast<std::size_t>(selection.labels[i])], card.label, word, file.class_name,
                      file.class_name, setting("data", shell_word(file.path.string()))));
    }
  }
}

}  // namespace

DataFiles parse_data_words(std::span<const std::string> words) {
  DataFiles result;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const bool is_path = equals == std::string::npos || name.empty() || name.find('/') != std::string::npos ||
                         names_files(word);
    if (is_path) {
      result.files.push_back(word);
      continue;
    }
    const std::string path = word.substr(equals + 1);
    if (path.empty()) throw ConfigError("data", word, "NAME=FILE: the files of a class follow the \"=\"");
    const auto known = std::find_if(result.class_files.begin(), result.class_files.end(),
                                    [&](const ClassFiles& files) { return files.class_name == name; });
    if (known == result.class_files.end())
      result.class_files.push_back({name, {path}});
    else
      known->files.push_back(path);
  }
  return result;
}

std::vector<std::string> data_words(std::span<const FileIdentity> files) {
  std::vector<std::string> words;
  for (const auto& file : files)
    words.push_back(file.class_name.empty() ? file.path : fmt::format("{}={}", file.class_name, file.path));
  return words;
}

std::vector<LabelledFile> list_labelled_files(std::span<const std::string> files,
                                              std::span<const ClassFiles> class_files, bool hash) {
  std::vector<LabelledFile> listed;
  if (!files.empty() || class_files.empty())
    for (auto& path : list_files(files, hash)) listed.push_back({std::move(path)});
  for (const ClassFiles& group : class_files)
    for (auto& path : list_files(group.files, hash)) listed.push_back({std::move(path), group.class_name});
  std::set<fs::path> seen;
  for (const LabelledFile& file : listed) {
    std::error_code error;
    if (!seen.insert(fs::weakly_canonical(file.path, error)).second)
      throw DataError(fmt::format("{}: named twice; its samples would count double", file.path.string()));
  }
  return listed;
}

std::vector<std::string> class_names(std::span<const LabelledFile> files) {
  std::vector<std::string> names;
  for (const LabelledFile& file : files)
    if (!file.class_name.empty() && std::find(names.begin(), names.end(), file.class_name) == names.end())
      names.push_back(file.class_name);
  return names;
}

void check_own_labels(std::span<const LabelledFile> files, const features::Card& card) {
  if (card.label.empty() || card.label == features::kFileLabel) return;
  const auto columns = label_columns(card);
  if (columns.empty()) return;  // the label follows from what the inputs need: it is not the file's
  for (const LabelledFile& file : files)
    if (!file.class_name.empty()) check_own_labels(file, card, columns);
}

void require_labels(std::span<const JetFile> files, const features::Card& card) {
  const auto lacking =
      std::find_if(files.begin(), files.end(), [](const JetFile& file) { return !file.missing().empty(); });
  if (lacking == files.end()) return;
  const auto columns = label_columns(card);
  if (card.kind == features::CardKind::hits || has_all(*lacking, columns))
    throw DataError(lacking->missing().front().message);
  if (card.label == features::kFileLabel)
    throw DataError(fmt::format("{}: its class ({}) is not said, card '{}' takes it from the words of {}: {}",
                                lacking->path(), fmt::join(names_of(card.classes), ", "), card.name,
                                setting("data"), class_words(files, card)));
  throw DataError(fmt::format("{} If each file holds jets of one class, name it: {}",
                              lacking->missing().front().message, class_words(files, card)));
}

std::string describe_missing(std::span<const JetFile> files, features::CardKind kind) {
  std::set<std::string> names;
  std::size_t count = 0;
  for (const JetFile& file : files) {
    count += file.missing().empty() ? 0 : 1;
    for (const MissingColumn& column : file.missing())
      names.insert(column.name.ends_with(features::kFileColumn) ? "the class of the file"
                                                                : features::column_text(kind, column.name));
  }
  if (count == 0) return {};
  return fmt::format(
      "{} of {} files have no {}: their {}s are read without it (label -1, weight 1, targets NaN)", count,
      files.size(), fmt::join(names, ", "), features::sample_word(kind));
}

}  // namespace bunchtrain::data
