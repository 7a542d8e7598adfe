// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/model_description.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"

namespace bunchtrain::models {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kModel = "model";
constexpr std::size_t kLongestText = 1U << 20;
constexpr int kDeepest = 8;

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t\n=") == std::string_view::npos;
}

[[noreturn]] void refuse_text(std::string_view part, std::string_view why) {
  constexpr std::size_t kShown = 120;
  throw ConfigError(
      "model description",
      part.size() > kShown ? fmt::format("{} ...", part.substr(0, kShown)) : std::string(part),
      fmt::format("one line of JSON, {{\"model\": NAME, ...}}, or NAME field=value ... as version 0.1 "
                  "wrote it ({})",
                  why));
}

/// A tree that is shallow enough to be printed by recursion, and without a field that appears twice.
Json parse_tree(std::string_view text) {
  if (text.size() > kLongestText) refuse_text(text, fmt::format("{} bytes are too many", text.size()));
  std::set<std::string> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest) refuse_text(text, "too deep a nesting");
    if (event == Json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second)
      refuse_text(text, fmt::format("'{}' appears twice", parsed.get<std::string>()));
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception&) {
    refuse_text(text, "this is not JSON");
  }
}

/// Cuts the text up to the next blank off `rest`.
std::string_view next_word(std::string_view& rest) {
  const std::size_t end = rest.find(' ');
  const std::string_view word = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return word;
}

std::string to_json_text(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// A value of version 0.1: a number if it reads as one, else a text.
std::string word_to_json(std::string_view word) {
  const Json number = Json::parse(word, nullptr, /*allow_exceptions=*/false);
  if (number.is_number()) return number.dump();
  return to_json_text(word);
}

}  // namespace

ModelDescription ModelDescription::parse(std::string_view text) {
  if (!text.starts_with('{')) {
    std::string_view rest = text;
    ModelDescription description{std::string(next_word(rest))};
    if (!is_word(description.name_)) refuse_text(text, "it begins with no name");
    while (!rest.empty()) {
      const std::string_view word = next_word(rest);
      const std::size_t equals = word.find('=');
      if (equals == std::string_view::npos || equals == 0) refuse_text(word, "a field without value or name");
      description.put(std::string(word.substr(0, equals)), word_to_json(word.substr(equals + 1)));
    }
    return description;
  }
  const Json tree = parse_tree(text);
  const auto name = tree.find(kModel);
  if (name == tree.end() || !name->is_string() || !is_word(name->get_ref<const std::string&>()))
    refuse_text(text, "\"model\" must be a text of one word");
  ModelDescription description(name->get<std::string>());
  for (const auto& [field, value] : tree.items())
    if (field != kModel) description.put(field, value.dump());
  return description;
}

const ModelDescription::Field* ModelDescription::find(std::string_view field) const noexcept {
  const auto found = std::ranges::find(fields_, field, &Field::name);
  return found == fields_.end() ? nullptr : &*found;
}

bool ModelDescription::is_text(std::string_view name) const noexcept {
  const Field* field = find(name);
  return field && field->json.starts_with('"');
}

const ModelDescription::Field* ModelDescription::ask(std::string_view field) const {
  if (std::ranges::find(asked_, field) == asked_.end()) asked_.emplace_back(field);
  return find(field);
}

void ModelDescription::refuse(const Field& field, std::string_view allowed) const {
  throw ConfigError(fmt::format("model '{}': {}", name_, field.name), field.json, allowed);
}

std::int64_t ModelDescription::integer(std::string_view name, std::int64_t otherwise) const {
  const Field* field = ask(name);
  if (!field) return otherwise;
  const Json value = Json::parse(field->json);
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const bool fits =
      value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::uint64_t>() <= kMost);
  if (!fits) refuse(*field, "a whole number");
  return value.get<std::int64_t>();
}

std::uint64_t ModelDescription::unsigned_integer(std::string_view name, std::uint64_t otherwise) const {
  const Field* field = ask(name);
  if (!field) return otherwise;
  const Json value = Json::parse(field->json);
  if (!value.is_number_unsigned()) refuse(*field, "a whole number from 0");
  return value.get<std::uint64_t>();
}

double ModelDescription::real(std::string_view name, double otherwise) const {
  const Field* field = ask(name);
  if (!field) return otherwise;
  const Json value = Json::parse(field->json);
  if (!value.is_number()) refuse(*field, "a number");
  return value.get<double>();
}

bool ModelDescription::flag(std::string_view name, bool otherwise) const {
  const Field* field = ask(name);
  if (!field) return otherwise;
  const bool on = field->json == "true" || field->json == "1";
  if (!on && field->json != "false" && field->json != "0") refuse(*field, "true or false");
  return on;
}

std::string ModelDescription::text(std::string_view name, std::string_view otherwise,
                                   std::initializer_list<std::string_view> allowed) const {
  const Field* field = ask(name);
  if (!field) return std::string(otherwise);
  const Json value = Json::parse(field->json);
  const bool fits =
      value.is_string() &&
      (allowed.size() == 0 || std::ranges::find(allowed, value.get<std::string>()) != allowed.end());
  if (!fits) refuse(*field, allowed.size() > 0 ? fmt::format("{}", fmt::join(allowed, ", ")) : "a text");
  return value.get<std::string>();
}

std::vector<std::int64_t> ModelDescription::integers(std::string_view name,
                                                     std::vector<std::int64_t> otherwise) const {
  const Field* field = ask(name);
  if (!field) return otherwise;
  const Json values = Json::parse(field->json);
  const auto is_whole = [](const Json& value) { return value.is_number_integer(); };
  if (!values.is_array() || !std::ranges::all_of(values, is_whole)) refuse(*field, "a list of whole numbers");
  return values.get<std::vector<std::int64_t>>();
}

void ModelDescription::for_each(std::string_view name,
                                const std::function<void(const ModelDescription&)>& read) const {
  const Field* field = ask(name);
  if (!field) return;
  const Json objects = Json::parse(field->json);
  const auto is_object = [](const Json& value) { return value.is_object(); };
  if (!objects.is_array() || !std::ranges::all_of(objects, is_object)) refuse(*field, "a list of objects");
  for (std::size_t i = 0; i < objects.size(); ++i) {
    ModelDescription object(fmt::format("{}.{}[{}]", name_, name, i));
    for (const auto& [key, value] : objects[i].items()) object.put(key, value.dump());
    read(object);
    object.require_known_fields();
  }
}

ModelDescription& ModelDescription::put(std::string field, std::string json) {
  const auto found = std::ranges::find(fields_, field, &Field::name);
  if (found == fields_.end())
    fields_.push_back({std::move(field), std::move(json)});
  else
    found->json = std::move(json);
  return *this;
}

ModelDescription& ModelDescription::set(std::string field, std::int64_t value) {
  return put(std::move(field), Json(value).dump());
}
ModelDescription& ModelDescription::set(std::string field, std::uint64_t value) {
  return put(std::move(field), Json(value).dump());
}
ModelDescription& ModelDescription::set(std::string field, bool value) {
  return put(std::move(field), value ? "true" : "false");
}
ModelDescription& ModelDescription::set(std::string field, double value) {
  if (!std::isfinite(value))
    throw ConfigError(fmt::format("model '{}': {}", name_, field), fmt::to_string(value), "a finite number");
  return put(std::move(field), Json(value).dump());
}
ModelDescription& ModelDescription::set(std::string field, std::string_view value) {
  try {
    return put(std::move(field), Json(value).dump());
  } catch (const Json::exception&) {
    throw ConfigError(fmt::format("the description of model '{}' holds a text that is not UTF-8", name_));
  }
}
ModelDescription& ModelDescription::set(std::string field, const std::vector<std::int64_t>& values) {
  return put(std::move(field), Json(values).dump());
}
ModelDescription& ModelDescription::set(std::string field, const std::vector<ModelDescription>& objects) {
  std::vector<std::string> texts;
  for (const ModelDescription& object : objects) texts.push_back(object.fields_to_json(""));
  return put(std::move(field), Json::parse(fmt::format("[{}]", fmt::join(texts, ","))).dump());
}

ModelDescription& ModelDescription::may_ignore(std::string field) {
  ignorable_.push_back(std::move(field));
  return *this;
}

std::string ModelDescription::fields_to_json(std::string text) const {
  for (const Field& field : fields_)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", to_json_text(field.name), field.json);
  return fmt::format("{{{}}}", text);
}

std::string ModelDescription::to_json() const {
  return fields_to_json(fmt::format("\"{}\": {}", kModel, to_json_text(name_)));
}

void ModelDescription::require_known_fields() const {
  for (const Field& field : fields_) {
    if (std::ranges::find(asked_, field.name) != asked_.end()) continue;
    if (std::ranges::find(ignorable_, field.name) != ignorable_.end()) continue;
    const std::string meant = nearest(field.name, asked_);
    throw ConfigError(fmt::format("model '{}' has no field '{}' (given as {}); it has {}{}", name_,
                                  field.name, field.json, fmt::join(asked_, ", "),
                                  meant.empty() ? "" : fmt::format("; is '{}' meant?", meant)));
  }
}

}  // namespace bunchtrain::models
