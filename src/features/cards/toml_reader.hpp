// SPDX-License-Identifier: Apache-2.0
#pragma once
/// TOML text read with errors that name the line: what the parsers of all cards share.

#include <toml++/toml.h>

#include <cstdint>
#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "place_text.hpp"

namespace bunchtrain::features::detail {

/// A key of a table with its value.
struct TomlEntry {
  std::string name;
  const toml::node* value;
};

/// The entries in the order of the text: TOML tables are unordered, cards are not.
std::vector<TomlEntry> entries_of(const toml::table& table);

/// Reads values of one card. Every error is a ConfigError that names the card and the line; `what` is what a
/// message calls the value.
class TomlReader {
 public:
  TomlReader(std::string_view text, std::string_view origin) : origin_(origin), text_(text) {}

  const std::string& origin() const noexcept { return origin_; }

 protected:
  /// The whole text; checks the version in `card = 1`.
  toml::table parse() const;
  /// The entry "name", or else the stem of the origin.
  std::string name_of(const toml::table& root) const;

  [[noreturn]] void fail(const toml::node& at, std::string_view what,
                         std::source_location where = std::source_location::current()) const;
  void check_keys(const toml::table& table, std::string_view where,
                  std::initializer_list<std::string_view> known) const;

  const toml::table& as_table(const toml::node& node, std::string_view what) const;
  const toml::array& as_array(const toml::node& node, std::string_view what) const;
  std::string as_string(const toml::node& node, std::string_view what) const;
  std::int64_t as_integer(const toml::node& node, std::string_view what) const;
  double as_number(const toml::node& node, std::string_view what) const;
  bool as_flag(const toml::node& node, std::string_view what) const;
  std::vector<std::string> as_strings(const toml::node& node, std::string_view what) const;
  /// A unit that converts.
  std::string as_unit(const toml::node& node) const;
  /// DATASET:member[...] or GROUP/*.
  PlaceText as_place(const toml::node& node, std::string_view what) const;
  /// The name of a dataset and nothing else: "/a/b" and "a/b" are one, quotes are taken away.
  std::string as_dataset(const toml::node& node, std::string_view what) const;
  /// `missing = "fill"` at top level, if it is there.
  void read_missing(const toml::table& root, bool& fill) const;
  /// `fractions = { valid = 0.1 }` of [split], if it is there.
  void read_fractions(const toml::table& split, double& valid) const;

  /// The card if `validate` accepts it.
  template <class Card>
  Card validated(Card card) const {
    try {
      validate(card);
    } catch (Error& error) {
      error.add_context("in card " + origin_);
      throw;
    }
    return card;
  }

  /// Calls `read` with the table of that name, if there is one.
  template <class Read>
  void section(const toml::table& parent, std::string_view name, const Read& read) const {
    if (const toml::node* node = parent.get(name)) read(as_table(*node, name));
  }

 private:
  std::string origin_;
  std::string_view text_;
};

}  // namespace bunchtrain::features::detail
