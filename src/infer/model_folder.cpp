// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/model_folder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <sstream>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/sha256.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "bunchtrain/weights/bundle_files.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

namespace fs = std::filesystem;

/// In order of their names, without what begins with a dot.
std::vector<fs::path> entries_of(const fs::path& folder) {
  if (!fs::is_directory(folder))
    throw ConfigError("folder", folder.string(), "a folder of models: make it by adding the first");
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}

std::string in_small_letters(std::string text) {
  for (char& letter : text)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return text;
}

std::string network_of(const std::string& model) {
  return model.empty() ? std::string() : models::ModelDescription::parse(model).name();
}

ListedModel describe(const fs::path& bundle) {
  ListedModel model{.name = bundle.filename().string()};
  try {
    const weights::BundleContent content = weights::read_bundle_content(bundle);
    model.network = network_of(content.model);
    model.classes = content.classes;
    model.hash = content.hash;
    if (const auto found = content.metadata.find("bunchtrain"); found != content.metadata.end())
      model.written = found->second;
  } catch (const Error& error) {
    model.fault = error.message();
  }
  return model;
}

/// A line of SHA256SUMS: 64 digits, a space, a space or a star, a name.
struct Checksum {
  std::string sum, name;
};

std::optional<Checksum> parse_line(const std::string& line) {
  constexpr std::size_t kDigits = 64;
  if (line.size() < kDigits + 3 || line[kDigits] != ' ' ||
      (line[kDigits + 1] != ' ' && line[kDigits + 1] != '*'))
    return std::nullopt;
  Checksum found{.sum = line.substr(0, kDigits), .name = line.substr(kDigits + 2)};
  const bool plain = found.name.find('/') == std::string::npos && found.name != "." && found.name != "..";
  return plain ? std::optional(found) : std::nullopt;
}

/// The faults of one folder of models, gathered.
class Inspection {
 public:
  void check_bundle(const fs::path& bundle) {
    check_files(bundle);
    const ListedModel model = describe(bundle);
    if (!model.fault.empty()) return add(model.name, model.fault);
    if (const auto [first, is_new] = hashes_.emplace(model.hash, model.name); !is_new)
      add(model.name, fmt::format("is the network of {} once more", first->second));
  }
  void check_name(const std::string& name) {
    if (const auto [first, is_new] = names_.emplace(in_small_letters(name), name); !is_new)
      add(name, fmt::format("is {} but for the case of letters: some file systems take them for one",
                            first->second));
  }
  void add(std::string place, std::string what) { faults_.push_back({std::move(place), std::move(what)}); }
  std::vector<ModelFault> take() { return std::move(faults_); }

 private:
  void check_files(const fs::path& bundle) {
    const std::string name = bundle.filename().string();
    const fs::path path = bundle / kChecksums;
    if (!fs::is_regular_file(path)) return add(name, fmt::format("has no {}", kChecksums));
    std::istringstream text(read_text_file(path));
    std::set<std::string> listed = {std::string(kChecksums)};
    for (std::string line; std::getline(text, line);) {
      const auto checksum = parse_line(line);
      if (!checksum)
        add(name + "/" + std::string(kChecksums),
            fmt::format("has the line '{:.80}', which is no checksum", line));
      else if (!listed.insert(checksum->name).second)
        add(name + "/" + checksum->name, fmt::format("is listed twice by {}", kChecksums));
      else
        check_file(bundle, *checksum);
    }
    for (const auto& entry : fs::directory_iterator(bundle))
      if (const std::string file = entry.path().filename().string(); !listed.contains(file))
        add(name + "/" + file, fmt::format("is foreign: {} does not list it", kChecksums));
  }
  void check_file(const fs::path& bundle, const Checksum& checksum) {
    const std::string place = bundle.filename().string() + "/" + checksum.name;
    const fs::path path = bundle / checksum.name;
    if (!fs::is_regular_file(path)) return add(place, "is missing");
    if (sha256_file(path) != checksum.sum) add(place, "is damaged: its SHA-256 is another");
  }

  std::map<std::string, std::string> names_, hashes_;  ///< to the first that had it
  std::vector<ModelFault> faults_;
};

void copy_synchronised(const fs::path& from, const fs::path& to) {
  std::ifstream source(from, std::ios::binary);
  AtomicFile target(to);
  std::vector<char> piece(std::size_t{1} << 20);
  while (source.read(piece.data(), std::ssize(piece)) || source.gcount() > 0)
    target.write(std::string_view(piece.data(), static_cast<std::size_t>(source.gcount())));
  if (!source.eof()) throw DataError(fmt::format("{} cannot be read", from.string()));
  target.commit();
}

void require_free_name(const fs::path& folder, const std::string& name, const std::string& hash) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (name.empty() || name.starts_with('.') || name.find_first_not_of(kLetters) != std::string::npos)
    throw ConfigError("name", name, "letters, digits, '.', '_' and '-', the first of them no dot");
  if (!fs::exists(folder)) return;
  for (const fs::path& entry : entries_of(folder)) {
    const std::string other = entry.filename().string();
    if (in_small_letters(other) == in_small_letters(name))
      throw ConfigError("name", name, fmt::format("one that is not taken: {} is there", entry.string()));
    if (weights::is_bundle(entry) && describe(entry).hash == hash)
      throw ConfigError(fmt::format("{} is this network already", entry.string()));
  }
}

}  // namespace

std::vector<ListedModel> list_models(const fs::path& folder) {
  std::vector<ListedModel> models;
  for (const fs::path& entry : entries_of(folder))
    if (weights::is_bundle(entry)) models.push_back(describe(entry));
  return models;
}

void add_model(const fs::path& folder, const fs::path& bundle, const std::string& name) {
  const std::string hash = weights::read_bundle_content(bundle).hash;
  const std::string taken = name.empty() ? fs::canonical(bundle).filename().string() : name;
  require_free_name(folder, taken, hash);
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path partial = folder / fmt::format(".{}.partial-{}", taken, ::getpid());
  fs::remove_all(partial, error);
  if (!fs::create_directory(partial, error))
    throw CheckpointError(
        fmt::format("{} cannot be written: {}; choose another folder", folder.string(), error.message()));
  try {
    std::string sums;
    for (const std::string& file : weights::bundle_files(bundle)) {
      copy_synchronised(bundle / file, partial / file);
      sums += fmt::format("{}  {}\n", sha256_file(partial / file), file);
    }
    write_file_atomically(partial / kChecksums, sums);
    static_cast<void>(weights::read_bundle_content(partial));
    fs::rename(partial, folder / taken);
  } catch (...) {
    fs::remove_all(partial, error);
    throw;
  }
  synchronise_folder(folder);
}

std::vector<ModelFault> verify_models(const fs::path& folder) {
  Inspection inspection;
  for (const fs::path& entry : entries_of(folder)) {
    const std::string name = entry.filename().string();
    inspection.check_name(name);
    if (weights::is_bundle(entry))
      inspection.check_bundle(entry);
    else
      inspection.add(
          name, fs::is_directory(entry) ? "is no bundle: it has no bundle.json" : "is foreign: no bundle");
  }
  return inspection.take();
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
