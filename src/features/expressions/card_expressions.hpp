// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The names of a card (columns, definitions) and its expressions as nodes of one graph.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "cards/card_words.hpp"
#include "expression_graph.hpp"

namespace bunchtrain::features::detail {

/// Compiles expressions of one card. Definitions may use each other in any order, but not in a circle.
class CardExpressions {
 public:
  /// @throws ConfigError for a name given twice or a unit that does not convert.
  explicit CardExpressions(const Card& card);

  /// @throws ConfigError naming the expression and what is wrong with it (unknown name with the nearest one).
  int compile(std::string_view expression);
  /// Whether "jet.pt" is a column (certainly, or possibly: a compound whose members are not
  /// listed) or a definition.
  bool knows(std::string_view name) const;
  /// Whether it is certainly one.
  bool certainly_knows(std::string_view name) const;

  const ExpressionGraph& graph() const noexcept { return graph_; }

 private:
  int resolve(std::string_view name);
  int resolve_column(std::string_view name);
  int resolve_definition(const std::string& name, const std::string& expression);
  void add_source(const ReadSource& source);
  void add_open_source(const ReadSource& source, double common);
  void add_name(const std::string& name, std::string_view what);
  [[noreturn]] void fail_unknown(std::string_view name) const;

  const CardWords& words_;
  ExpressionGraph graph_;
  std::map<std::string, double, std::less<>> columns_;     ///< name with prefix -> factor to our units
  std::map<std::string, double, std::less<>> open_units_;  ///< factors of columns of compounds without a list
  struct OpenSources {
    int count = 0;
    double factor = 1;  ///< of all columns of the only one
  };
  OpenSources open_jet_, open_particle_;  ///< compounds and groups without a list of columns
  std::map<std::string, std::string, std::less<>> definitions_;
  std::map<std::string, int, std::less<>> resolved_;
  std::vector<std::string> in_progress_;  ///< definitions being resolved, for circles
};

}  // namespace bunchtrain::features::detail
