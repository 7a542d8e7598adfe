// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/detail/trained_on.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string to_text(const data::DatasetSummary& training_data) {
  if (training_data.files.empty()) return {};
  Json files = Json::array();
  for (const auto& file : training_data.files) {
    std::error_code failed;
    const auto path = std::filesystem::absolute(file.path, failed);
    files.push_back({{"path", failed ? file.path : path.string()},
                     {"fingerprint", file.fingerprint},
                     {"rows", file.rows},
                     {"class", file.class_name}});
  }
  const auto& part = training_data.part;
  const Json json = {{"files", std::move(files)},
                     {"part", part.name},
                     {"valid_fraction", part.valid_fraction},
                     {"seed", part.seed}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

TrainedOn parse_trained_on(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    TrainedOn trained{.files = {},
                      .part = {.name = json.at("part").get<std::string>(),
                               .valid_fraction = json.at("valid_fraction").get<double>(),
                               .seed = json.at("seed").get<std::uint64_t>()}};
    for (const Json& file : json.at("files"))
      trained.files.push_back({.path = file.at("path").get<std::string>(),
                               .fingerprint = file.at("fingerprint").get<std::string>(),
                               .rows = file.at("rows").get<std::int64_t>(),
                               .class_name = file.value("class", std::string())});
    return trained;
  } catch (const Json::exception& error) {
    throw CheckpointError(std::string("what the snapshot says of its training files cannot be read: ") +
                          error.what());
  }
}

}  // namespace bunchtrain::train
