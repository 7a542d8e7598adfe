// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Files that hold jets of one class each, as JetNet is published, and the words of `--data` that name them.

#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

struct FileIdentity;

/// Files whose jets are all of one class.
struct ClassFiles {
  std::string class_name;          ///< "gluon"
  std::vector<std::string> files;  ///< paths and globs
};

/// What the words of `--data` name.
struct DataFiles {
  std::vector<std::string> files;  ///< paths and globs of files with labels of their own
  std::vector<ClassFiles> class_files;
};

/// `gluon=g*.h5` names files and their class; words of one class are put together. A word that is an existing
/// path, or a glob that matches files, is a path, even if it contains "=".
/// @throws ConfigError for a word that ends with "=".
DataFiles parse_data_words(std::span<const std::string> words);
/// The words that name these files again: "gluon=g.h5", or a path alone.
std::vector<std::string> data_words(std::span<const FileIdentity> files);

}  // namespace bunchtrain::data
