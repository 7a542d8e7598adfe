// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files of a dataset with the class that was said of each.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/class_files.hpp"
#include "bunchtrain/features/card.hpp"
#include "jet_file.hpp"

namespace bunchtrain::data {

/// A file, and the class of all its jets; empty = it has labels of its own, or none.
struct LabelledFile {
  std::filesystem::path path;
  std::string class_name = {};
};

/// The files of `files`, then those of `class_files`, globs expanded. @throws DataError: see `list_files`.
std::vector<LabelledFile> list_labelled_files(std::span<const std::string> files,
                                              std::span<const ClassFiles> class_files, bool hash = false);

/// The classes that were said, each once, in the order of the files.
std::vector<std::string> class_names(std::span<const LabelledFile> files);

/// Files whose class was said may have labels of their own only if these say the same.
/// @param card as it was chosen, its label not yet the file. @throws DataError naming file, row, label and
/// the word to leave out.
void check_own_labels(std::span<const LabelledFile> files, const features::Card& card);

/// Training needs what label, weights and split want. @throws DataError that says what is missing; where it
/// is the label, with the words that name the class of each file.
void require_labels(std::span<const JetFile> files, const features::Card& card);

/// "2 of 3 files have no jet.kind: ...": what evaluation goes without; empty if nothing.
std::string describe_missing(std::span<const JetFile> files, features::CardKind kind);

}  // namespace bunchtrain::data
