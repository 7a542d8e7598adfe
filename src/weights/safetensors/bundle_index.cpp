// SPDX-License-Identifier: Apache-2.0
#include "bundle_index.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"

namespace bunchtrain::weights::detail {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "bunchtrain-bundle";
constexpr int kVersion = 1, kVersionWithExtras = 2;
constexpr int kDeepest = 16;  // printing, which the checksum needs, is recursive

// The checksum is that of the content as we print it, so it does not depend on white space.
std::string print(const Json& json) { return json.dump(1, ' ', false, Json::error_handler_t::replace); }

/// A description as an object, so that other programs read it too; other text as it is.
Json model_to_json(const std::string& text) {
  const Json tree = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return tree.is_object() ? tree : Json(text);
}

bool is_extra(const BundleFile& file) {
  return std::ranges::find(kBundleExtras, file.name) != kBundleExtras.end();
}

std::string model_to_text(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object()) throw CheckpointError("its model is neither a description nor a text");
  std::string text;
  for (const auto& [key, value] : json.items())
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", Json(key).dump(), value.dump());
  return fmt::format("{{{}}}", text);
}

BundleFile parse_file(const Json& json) {
  BundleFile file{.name = json.at("name").get<std::string>(),
                  .bytes = json.at("bytes").get<std::uint64_t>(),
                  .hash = json.at("xxh3_128").get<std::string>()};
  if (file.name != kBundleWeights && file.name != kBundleCard && !is_extra(file))
    throw CheckpointError(fmt::format("it lists the file '{}'; a bundle has {}, {}, {}", file.name,
                                      kBundleWeights, kBundleCard, fmt::join(kBundleExtras, ", ")));
  return file;
}

void require_format(const Json& content) {
  if (content.at("format") != kFormat) throw CheckpointError("it is of another format");
  const auto version = content.at("version").get<std::int64_t>();
  if (version == kVersion || version == kVersionWithExtras) return;
  const Json& metadata = content.at("metadata");
  const std::string writer =
      metadata.is_object() ? metadata.value("bunchtrain", std::string()) : std::string();
  throw CheckpointError(fmt::format(
      "it is a bundle of version {}, this build reads {} and {}: use {}", version, kVersion,
      kVersionWithExtras,
      writer.empty() ? "the bunchtrain that wrote it" : fmt::format("bunchtrain {} or newer", writer)));
}

BundleIndex parse_content(const Json& content) {
  require_format(content);
  BundleIndex index;
  index.content.model = model_to_text(content.at("model"));
  index.content.classes = content.at("classes").get<std::vector<std::string>>();
  index.content.metadata = content.at("metadata").get<std::map<std::string, std::string>>();
  for (const Json& file : content.at("files")) {
    index.files.push_back(parse_file(file));
    if (std::ranges::count(index.files, index.files.back().name, &BundleFile::name) > 1)
      throw CheckpointError(fmt::format("it lists '{}' twice", index.files.back().name));
  }
  if (std::ranges::find(index.files, kBundleWeights, &BundleFile::name) == index.files.end())
    throw CheckpointError(fmt::format("it lists no {}", kBundleWeights));
  return index;
}

Json parse_tree(std::string_view text) {
  return Json::parse(text, [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) throw CheckpointError("its values are nested too deeply");
    return true;
  });
}

}  // namespace

IndexText format_index(const BundleIndex& index) {
  const BundleContent& bundle = index.content;
  const int version = std::ranges::any_of(index.files, is_extra) ? kVersionWithExtras : kVersion;
  Json content{
      {"format", kFormat},         {"version", version},          {"model", model_to_json(bundle.model)},
      {"classes", bundle.classes}, {"metadata", bundle.metadata}, {"files", Json::array()}};
  for (const BundleFile& file : index.files)
    content["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_128", file.hash}});
  const std::string hash = hash_hex(print(content));
  return {print(Json{{"content", content}, {"xxh3_128", hash}}) + '\n', hash};
}

BundleIndex parse_index(std::string_view text, std::string_view origin) {
  try {
    const Json json = parse_tree(text);
    const std::string hash = hash_hex(print(json.at("content")));
    if (json.at("xxh3_128") != hash) throw CheckpointError("its checksum differs from its content");
    BundleIndex index = parse_content(json.at("content"));
    index.content.hash = hash;
    return index;
  } catch (const Json::exception& error) {
    throw CheckpointError(fmt::format("{} cannot be used: {}; take another copy or write the bundle again",
                                      origin, error.what()));
  } catch (const CheckpointError& error) {
    throw CheckpointError(fmt::format("{} cannot be used: {}; take another copy or write the bundle again",
                                      origin, error.message()));
  }
}

}  // namespace bunchtrain::weights::detail
