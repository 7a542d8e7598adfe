// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What builds a network: its name in the registry and its fields, one line of JSON.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::models {

/// {"model": "particlenet-lite", "num_features": 7, ...}. A factory asks for its fields by type and default;
/// what it never asks for is an error (`require_known_fields`), so that a slip of the pen is found.
///
/// Every getter throws ConfigError naming model, field, value and what is allowed. Getters note what was
/// asked for: one thread at a time.
class ModelDescription {
 public:
  explicit ModelDescription(std::string name = {}) : name_(std::move(name)) {}
  /// Reads JSON, or the line "particlenet num_features=7 fusion=1" that version 0.1 wrote.
  /// @throws ConfigError with the part that does not read.
  static ModelDescription parse(std::string_view text);

  const std::string& name() const noexcept { return name_; }
  /// Asks for nothing.
  bool has(std::string_view field) const noexcept { return find(field) != nullptr; }
  /// Whether there is such a field and it holds a text. Asks for nothing.
  bool is_text(std::string_view field) const noexcept;

  std::int64_t integer(std::string_view field, std::int64_t otherwise) const;
  std::uint64_t unsigned_integer(std::string_view field, std::uint64_t otherwise) const;
  double real(std::string_view field, double otherwise) const;
  /// true, false; 1 and 0 as version 0.1 wrote them.
  bool flag(std::string_view field, bool otherwise) const;
  /// @param allowed empty: any text.
  std::string text(std::string_view field, std::string_view otherwise,
                   std::initializer_list<std::string_view> allowed = {}) const;
  std::vector<std::int64_t> integers(std::string_view field, std::vector<std::int64_t> otherwise) const;
  /// Calls `read` for each object of a list, whose fields it asks for in turn; nothing if there is no such
  /// field.
  void for_each(std::string_view field, const std::function<void(const ModelDescription&)>& read) const;

  ModelDescription& set(std::string field, int value) { return set(std::move(field), std::int64_t{value}); }
  ModelDescription& set(std::string field, std::int64_t value);
  ModelDescription& set(std::string field, std::uint64_t value);
  ModelDescription& set(std::string field, bool value);
  /// @throws ConfigError for a number that is not finite.
  ModelDescription& set(std::string field, double value);
  /// @throws ConfigError for a text that is not UTF-8.
  ModelDescription& set(std::string field, std::string_view value);
  ModelDescription& set(std::string field, const char* value) {
    return set(std::move(field), std::string_view(value));
  }
  ModelDescription& set(std::string field, const std::vector<std::int64_t>& values);
  /// A list of objects: the fields of each, whatever its name.
  ModelDescription& set(std::string field, const std::vector<ModelDescription>& objects);
  /// The factory need not ask for this field: a caller offers it to networks that may have no use for it.
  ModelDescription& may_ignore(std::string field);

  /// One line, fields in the order in which they were set or read; numbers read back to the same bits.
  std::string to_json() const;
  /// @throws ConfigError for a field that nothing asked for, with those that were and the nearest of them.
  void require_known_fields() const;

 private:
  struct Field {
    std::string name;
    std::string json;
  };
  const Field* find(std::string_view field) const noexcept;
  const Field* ask(std::string_view field) const;
  [[noreturn]] void refuse(const Field& field, std::string_view allowed) const;
  ModelDescription& put(std::string field, std::string json);
  std::string fields_to_json(std::string text) const;

  std::string name_;
  std::vector<Field> fields_;
  std::vector<std::string> ignorable_;
  mutable std::vector<std::string> asked_;
};

}  // namespace bunchtrain::models
