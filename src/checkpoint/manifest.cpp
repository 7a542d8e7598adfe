// SPDX-License-Identifier: Apache-2.0
#include "manifest.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "bunchtrain-checkpoint";
constexpr int kVersion = 1;
constexpr std::uintmax_t kLargestManifest = 64u << 20;

// The checksum is that of the content as we print it, so it does not depend on white space.
std::string print(const Json& content) { return content.dump(1, ' ', false, Json::error_handler_t::replace); }

Json to_json(const FileEntry& entry) {
  Json json{{"name", file_name(entry)}, {"component", entry.component}};
  if (entry.rank) json["rank"] = *entry.rank;
  json["bytes"] = entry.bytes;
  json["xxh3_128"] = entry.hash;
  return json;
}

FileEntry parse_entry(const Json& json) {
  FileEntry entry{.component = json.at("component").get<std::string>(),
                  .rank = {},
                  .bytes = json.at("bytes").get<std::uint64_t>(),
                  .hash = json.at("xxh3_128").get<std::string>()};
  if (json.contains("rank")) entry.rank = json["rank"].get<int>();
  check_component_name(entry.component);
  if (json.at("name") != file_name(entry)) {
    throw CheckpointError(fmt::format("a file of component '{}' has the wrong name", entry.component));
  }
  return entry;
}

Json to_json(const Manifest& manifest) {
  Json content{{"format", kFormat},
               {"version", kVersion},
               {"step", manifest.info.step},
               {"sequence", manifest.info.sequence},
               {"world", manifest.info.world}};
  if (manifest.info.metric && std::isfinite(*manifest.info.metric)) {
    content["metric"] = {{"name", manifest.metric_name},
                         {"value", *manifest.info.metric},
                         {"higher_is_better", manifest.higher_is_better}};
  }
  if (!manifest.info.judged) content["judged"] = false;
  if (!manifest.info.lost.empty()) content["lost"] = manifest.info.lost;
  content["metadata"] = manifest.info.metadata;
  content["files"] = Json::array();
  for (const FileEntry& entry : manifest.files) content["files"].push_back(to_json(entry));
  return content;
}

Manifest parse_content(const Json& content) {
  if (content.at("format") != kFormat) throw CheckpointError("it is of another format");
  if (content.at("version") != kVersion) {
    throw CheckpointError(
        fmt::format("its version is {}, this build reads {}; use the bunchtrain that wrote it",
                    content.at("version").dump(), kVersion));
  }
  Manifest manifest;
  manifest.info.step = content.at("step").get<std::int64_t>();
  manifest.info.sequence = content.at("sequence").get<std::int64_t>();
  manifest.info.world = content.at("world").get<int>();
  manifest.info.judged = content.value("judged", true);
  manifest.info.lost = content.value("lost", std::string());
  manifest.info.metadata = content.at("metadata").get<Metadata>();
  if (content.contains("metric")) {
    const Json& metric = content["metric"];
    manifest.info.metric = metric.at("value").get<double>();
    manifest.metric_name = metric.at("name").get<std::string>();
    manifest.higher_is_better = metric.at("higher_is_better").get<bool>();
  }
  for (const Json& entry : content.at("files")) manifest.files.push_back(parse_entry(entry));
  return manifest;
}

std::string read_manifest_text(const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error)
    throw CheckpointError(fmt::format("{} is missing: the snapshot was never finished", path.string()));
  if (bytes > kLargestManifest) {
    throw CheckpointError(fmt::format("{} has {} bytes: that is no manifest", path.string(), bytes));
  }
  try {
    return read_text_file(path);
  } catch (const DataError& unreadable) {
    throw CheckpointError(unreadable.message());
  }
}

}  // namespace

std::string file_name(const FileEntry& entry) {
  return entry.rank ? fmt::format("{}.rank-{:05}.safetensors", entry.component, *entry.rank)
                    : entry.component + ".safetensors";
}

void check_component_name(const std::string& name) {
  const bool fine = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (!fine)
    throw CheckpointError(fmt::format("'{}' cannot name a component: use a-z, 0-9, '_' and '-'", name));
}

std::string to_json_line(const std::vector<FileEntry>& files) {
  Json list = Json::array();
  for (const FileEntry& entry : files) list.push_back(to_json(entry));
  return list.dump();
}

std::vector<FileEntry> parse_json_line(const std::string& line) {
  std::vector<FileEntry> files;
  for (const Json& entry : Json::parse(line)) files.push_back(parse_entry(entry));
  return files;
}

std::string write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  const Json content = to_json(manifest);
  const std::string checksum = hash_hex(print(content));
  write_file_atomically(folder / kManifestName,
                        print(Json{{"content", content}, {"xxh3_128", checksum}}) + '\n');
  return checksum;
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kManifestName;
  const std::string text = read_manifest_text(path);
  try {
    const Json json = Json::parse(text);
    const std::string checksum = hash_hex(print(json.at("content")));
    if (json.at("xxh3_128") != checksum) throw CheckpointError("its checksum differs from its content");
    Manifest manifest = parse_content(json.at("content"));
    manifest.info.folder = folder;
    manifest.info.hash = checksum;
    return manifest;
  } catch (const Json::exception& error) {
    throw CheckpointError(fmt::format("{} is damaged: {}", path.string(), error.what()));
  } catch (const CheckpointError& error) {
    throw CheckpointError(fmt::format("{} is damaged: {}", path.string(), error.message()));
  }
}

}  // namespace bunchtrain::checkpoint
