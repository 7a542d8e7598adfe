// SPDX-License-Identifier: Apache-2.0
#include "manifest.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "bunchtrain-checkpoint";
constexpr int kVersion = 2;
constexpr int kOldestVersion = 1;
constexpr std::uintmax_t kLargestManifest = 64u << 20;
constexpr int kDeepest = 16;  ///< ours nest 7 deep; what prints and frees JSON recurses

// The checksum is that of the content as we print it, so it does not depend on white space.
std::string print(const Json& content) { return content.dump(1, ' ', false, Json::error_handler_t::replace); }

Json parse_json(std::string_view text) {
  return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) throw CheckpointError(fmt::format("its lists nest more than {} deep", kDeepest));
    return true;
  });
}

Json to_json(const StoredSlice& stored) {
  const tensor::Slice& slice = stored.slice;
  Json json{{"name", stored.name}, {"dtype", to_string(stored.dtype)}, {"shape", slice.shape}};
  if (slice.is_range()) {
    json["strides"] = slice.strides;
    json["range"] = {slice.begin, slice.count};
  } else if (!slice.is_whole()) {
    json["offset"] = slice.offset;
    json["sizes"] = slice.sizes;
  }
  return json;
}

StoredSlice parse_slice(const Json& json) {
  using Sizes = std::vector<std::int64_t>;
  StoredSlice stored{.name = json.at("name").get<std::string>()};
  const auto dtype = weights::parse_dtype(json.at("dtype").get<std::string>());
  if (!dtype) throw CheckpointError(fmt::format("tensor '{}' has an unknown dtype", stored.name));
  stored.dtype = *dtype;
  const auto shape = json.at("shape").get<Sizes>();
  if (json.contains("range")) {
    const auto range = json["range"].get<std::array<std::int64_t, 2>>();
    stored.slice = tensor::Slice::range(shape, json.at("strides").get<Sizes>(), range[0], range[1]);
  } else if (json.contains("offset")) {
    stored.slice = tensor::Slice::box(shape, json["offset"].get<Sizes>(), json.at("sizes").get<Sizes>());
  } else {
    stored.slice = tensor::Slice::whole(shape);
  }
  try {
    stored.slice.validate();
  } catch (const CheckpointError& error) {
    throw CheckpointError(fmt::format("tensor '{}': {}", stored.name, error.message()));
  }
  return stored;
}

/// `tensors`: whether the format lists them.
Json to_json(const FileEntry& entry, bool tensors) {
  Json json{{"name", file_name(entry)}, {"component", entry.component}};
  if (entry.kind == FileKind::own) json["rank"] = entry.rank;
  if (entry.kind == FileKind::shared && entry.rank > 0) json["part"] = entry.rank;
  json["bytes"] = entry.bytes;
  json["xxh3_128"] = entry.hash;
  if (!tensors) return json;
  json["tensors"] = Json::array();
  for (const StoredSlice& stored : entry.tensors) json["tensors"].push_back(to_json(stored));
  return json;
}

FileEntry parse_entry(const Json& json) {
  FileEntry entry{.component = json.at("component").get<std::string>(),
                  .bytes = json.at("bytes").get<std::uint64_t>(),
                  .hash = json.at("xxh3_128").get<std::string>()};
  if (json.contains("rank")) {
    entry.kind = FileKind::own;
    entry.rank = json["rank"].get<int>();
  }
  if (json.contains("part")) entry.rank = json["part"].get<int>();
  check_component_name(entry.component);
  if (json.at("name") != file_name(entry)) {
    throw CheckpointError(fmt::format("a file of component '{}' has the wrong name", entry.component));
  }
  if (json.contains("tensors"))
    for (const Json& stored : json["tensors"]) entry.tensors.push_back(parse_slice(stored));
  return entry;
}

Json to_json(const Manifest& manifest) {
  Json content{{"format", kFormat},
               {"version", manifest.version},
               {"step", manifest.info.step},
               {"sequence", manifest.info.sequence},
               {"world", manifest.info.world}};
  if (manifest.info.saved_at) content["saved_at"] = manifest.info.saved_at->time_since_epoch().count();
  if (manifest.info.metric && std::isfinite(*manifest.info.metric)) {
    content["metric"] = {{"name", manifest.metric_name},
                         {"value", *manifest.info.metric},
                         {"higher_is_better", manifest.higher_is_better}};
  }
  if (!manifest.info.judged) content["judged"] = false;
  if (!manifest.info.lost.empty()) content["lost"] = manifest.info.lost;
  content["metadata"] = manifest.info.metadata;
  content["files"] = Json::array();
  for (const FileEntry& entry : manifest.files)
    content["files"].push_back(to_json(entry, manifest.version > 1));
  return content;
}

Manifest parse_content(const Json& content) {
  if (content.at("format") != kFormat) throw CheckpointError("it is of another format");
  const Json& version = content.at("version");
  if (!version.is_number_integer() || version < kOldestVersion || version > kVersion) {
    throw CheckpointError(
        fmt::format("its version is {}, this build reads {} to {}; use the bunchtrain that wrote it",
                    version.dump(), kOldestVersion, kVersion));
  }
  Manifest manifest{.version = version.get<int>(), .info = {}, .metric_name = {}, .files = {}};
  manifest.info.step = content.at("step").get<std::int64_t>();
  manifest.info.sequence = content.at("sequence").get<std::int64_t>();
  manifest.info.world = content.at("world").get<int>();
  if (content.contains("saved_at"))
    manifest.info.saved_at =
        std::chrono::sys_seconds(std::chrono::seconds(content["saved_at"].get<std::int64_t>()));
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
  if (manifest.version > 1) check_complete(manifest.files);
  return manifest;
}

/// Who holds a part of one tensor.
struct Holder {
  const FileEntry* file;
  const StoredSlice* stored;
};

/// What is wrong with the parts of one tensor; empty: nothing.
std::string fault_of(const std::vector<Holder>& parts) {
  const StoredSlice& first = *parts.front().stored;
  std::int64_t held = 0;
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    if (part->stored->dtype != first.dtype || part->stored->slice.shape != first.slice.shape)
      return fmt::format("is of another dtype or shape in {} than in {}", file_name(*part->file),
                         file_name(*parts.front().file));
    for (auto other = parts.begin(); other != part; ++other)
      if (overlap(part->stored->slice, other->stored->slice))
        return fmt::format("has elements twice: {} in {} and {} in {}", other->stored->slice.to_string(),
                           file_name(*other->file), part->stored->slice.to_string(), file_name(*part->file));
    held += part->stored->slice.numel();
  }
  const std::int64_t whole = tensor::Slice::whole(first.slice.shape).numel();
  return held == whole ? "" : fmt::format("has {} of its {} elements only", held, whole);
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
  if (entry.kind == FileKind::own)
    return fmt::format("{}.rank-{:05}.safetensors", entry.component, entry.rank);
  if (entry.rank > 0) return fmt::format("{}.part-{:05}.safetensors", entry.component, entry.rank);
  return entry.component + ".safetensors";
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
  for (const FileEntry& entry : files) list.push_back(to_json(entry, true));
  return list.dump();
}

std::vector<FileEntry> parse_json_line(const std::string& line) {
  std::vector<FileEntry> files;
  for (const Json& entry : Json::parse(line)) files.push_back(parse_entry(entry));
  return files;
}

void check_complete(const std::vector<FileEntry>& files) {
  std::map<std::pair<std::string, std::string>, std::vector<Holder>> holders;
  for (const FileEntry& file : files) {
    if (file.kind == FileKind::own) continue;
    for (const StoredSlice& stored : file.tensors)
      holders[{file.component, stored.name}].push_back({&file, &stored});
  }
  for (const auto& [name, parts] : holders)
    if (const std::string fault = fault_of(parts); !fault.empty())
      throw CheckpointError(fmt::format("tensor '{}' of component '{}' {}", name.second, name.first, fault));
}

std::string write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  const Json content = to_json(manifest);
  const std::string checksum = hash_hex(print(content));
  write_file_atomically(folder / kManifestName,
                        print(Json{{"content", content}, {"xxh3_128", checksum}}) + '\n');
  return checksum;
}

std::string content_text(const Manifest& manifest) { return to_json(manifest).dump(); }

Manifest parse_manifest_content(std::string_view json) {
  try {
    return parse_content(parse_json(json));
  } catch (const Json::exception& error) {
    throw CheckpointError(error.what());
  }
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kManifestName;
  const std::string text = read_manifest_text(path);
  try {
    const Json json = parse_json(text);
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
