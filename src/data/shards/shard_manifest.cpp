// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/shard_manifest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "bunchtrain shards";
constexpr std::int64_t kVersion = 1;
// So that sums of what a manifest says fit into 64 bits.
constexpr std::int64_t kMost = std::int64_t{1} << 44;
constexpr std::size_t kMostShards = 100000;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw DataError(fmt::format("{}: {}; docs/repack.md describes manifests of shards", path.string(), why));
}

Json parse(const fs::path& path) {
  // Nested deeper than any manifest is: the parser would follow it to the end of the stack.
  constexpr int kDeepest = 8;
  const auto limit = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) throw DataError("lists in lists");
    return true;
  };
  try {
    return Json::parse(read_text_file(path), limit);
  } catch (const Json::exception& error) {
    refuse(path, fmt::format("is no JSON ({})", error.what()));
  } catch (const DataError& error) {
    if (error.message() != "lists in lists") throw;
    refuse(path, "is no manifest: lists in lists");
  }
}

/// @throws DataError unless it is there and a whole number
std::int64_t number(const fs::path& path, const Json& from, const char* name, const std::string& of) {
  const auto found = from.find(name);
  if (found == from.end() || !found->is_number_integer() || found->get<std::int64_t>() < 0 ||
      found->get<std::int64_t>() > kMost)
    refuse(path, fmt::format("\"{}\" of {} must be a whole number from 0 to {}", name, of, kMost));
  return found->get<std::int64_t>();
}

std::string text(const fs::path& path, const Json& from, const char* name, const std::string& of) {
  const auto found = from.find(name);
  if (found == from.end() || found->is_null()) return {};
  if (!found->is_string()) refuse(path, fmt::format("\"{}\" of {} must be a text", name, of));
  return found->get<std::string>();
}

Shard read_shard(const fs::path& path, const Json& json, std::size_t index) {
  const std::string of = fmt::format("shard {}", index);
  if (!json.is_object()) refuse(path, of + " must be an object with file, rows and bytes");
  Shard shard{.file = text(path, json, "file", of),
              .rows = number(path, json, "rows", of),
              .bytes = number(path, json, "bytes", of),
              .hash = text(path, json, "hash", of)};
  const fs::path file = fs::path(shard.file).lexically_normal();
  if (file.empty() || file.is_absolute() || *file.begin() == "..")
    refuse(path, fmt::format("the file of {} is \"{}\": a name in the manifest's folder is wanted", of,
                             shard.file));
  if (shard.rows == 0) refuse(path, fmt::format("{} ({}) has no rows: leave it out", of, shard.file));
  return shard;
}

void require_whole(const fs::path& manifest, const Shard& shard, bool hash) {
  const fs::path file = manifest.parent_path() / shard.file;
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  if (error)
    throw DataError(
        fmt::format("{}: is not there ({}), {} lists it with {} rows; put it back, or write the shards again",
                    file.string(), error.message(), manifest.string(), shard.rows));
  if (static_cast<std::int64_t>(bytes) != shard.bytes)
    throw DataError(
        fmt::format("{}: has {} bytes, {} says {}: it was altered or is not whole; fetch it again, or write "
                    "the shards again",
                    file.string(), bytes, manifest.string(), shard.bytes));
  if (hash && !shard.hash.empty() && hash_file(file) != shard.hash)
    throw DataError(
        fmt::format("{}: its contents are not those that {} was written for; fetch it again, or write the "
                    "shards again",
                    file.string(), manifest.string()));
}

}  // namespace

std::int64_t ShardManifest::rows() const noexcept {
  std::int64_t rows = 0;
  for (const Shard& shard : shards) rows += shard.rows;
  return rows;
}

std::string to_json(const ShardManifest& manifest) {
  Json shards = Json::array();
  for (const Shard& shard : manifest.shards) {
    Json json = {{"file", shard.file}, {"rows", shard.rows}, {"bytes", shard.bytes}};
    if (!shard.hash.empty()) json["hash"] = shard.hash;
    shards.push_back(std::move(json));
  }
  Json json = {
      {"format", kFormat}, {"version", kVersion}, {"rows", manifest.rows()}, {"shards", std::move(shards)}};
  if (!manifest.card.empty()) json["card"] = manifest.card;
  if (manifest.seed) json["seed"] = *manifest.seed;
  return json.dump(2) + "\n";
}

ShardManifest read_manifest(const fs::path& path) {
  const Json json = parse(path);
  const std::string of = "the manifest";
  if (!json.is_object() || text(path, json, "format", of) != kFormat)
    refuse(path, fmt::format("is no manifest: \"format\" must be \"{}\"", kFormat));
  if (const auto version = number(path, json, "version", of); version != kVersion)
    refuse(path,
           fmt::format("is a manifest of version {}, this bunchtrain reads version {}", version, kVersion));
  const auto shards = json.find("shards");
  if (shards == json.end() || !shards->is_array() || shards->empty()) refuse(path, "lists no shards");
  if (shards->size() > kMostShards)
    refuse(path, fmt::format("lists {} shards, at most {} are read", shards->size(), kMostShards));
  ShardManifest manifest{.shards = {}, .card = text(path, json, "card", of), .seed = std::nullopt};
  if (const auto seed = json.find("seed"); seed != json.end() && seed->is_number_unsigned())
    manifest.seed = seed->get<std::uint64_t>();
  std::set<fs::path> seen;
  for (const Json& shard : *shards) {
    manifest.shards.push_back(read_shard(path, shard, manifest.shards.size()));
    const Shard& last = manifest.shards.back();
    if (!seen.insert(fs::path(last.file).lexically_normal()).second)
      refuse(path, fmt::format("lists {} twice; its rows would count double", last.file));
  }
  if (const auto rows = number(path, json, "rows", of); rows != manifest.rows())
    refuse(path, fmt::format("says {} rows, its shards have {}: one is missing or too many", rows,
                             manifest.rows()));
  return manifest;
}

bool is_manifest(const fs::path& path) { return path.extension() == ".json"; }

std::vector<fs::path> shard_files(const fs::path& manifest, bool hash) {
  std::vector<fs::path> files;
  for (const Shard& shard : read_manifest(manifest).shards) {
    require_whole(manifest, shard, hash);
    files.push_back(manifest.parent_path() / shard.file);
  }
  return files;
}

std::string card_of_manifests(std::span<const std::string> arguments) {
  std::set<std::string> cards;
  for (const std::string& argument : arguments) {
    if (!is_manifest(argument)) return {};
    const std::string card = read_manifest(argument).card;
    cards.insert(card.ends_with(".toml") ? (fs::path(argument).parent_path() / card).string() : card);
  }
  return cards.size() == 1 ? *cards.begin() : std::string();
}

}  // namespace bunchtrain::data
