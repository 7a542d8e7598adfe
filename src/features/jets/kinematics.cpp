// SPDX-License-Identifier: Apache-2.0
#include "kinematics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "expressions/card_expressions.hpp"

namespace bunchtrain::features::detail {
namespace {

/// How a quantity follows from others. Particles without a mass of their own are massless.
struct Rule {
  std::string_view name;
  std::string_view expression;
  std::array<std::string_view, 3> needs;
};

constexpr std::array kRules = {
    Rule{"part.pt", "hypot(part.px, part.py)", {"part.px", "part.py"}},
    Rule{"part.pt", "part.ptrel * jet.pt", {"part.ptrel", "jet.pt"}},
    Rule{"part.px", "part.pt * cos(part.phi)", {"part.pt", "part.phi"}},
    Rule{"part.py", "part.pt * sin(part.phi)", {"part.pt", "part.phi"}},
    Rule{"part.pz", "part.pt * sinh(part.eta)", {"part.pt", "part.eta"}},
    Rule{"part.eta", "asinh(part.pz / part.pt)", {"part.pz", "part.pt"}},
    Rule{"part.phi", "atan2(part.py, part.px)", {"part.py", "part.px"}},
    Rule{"part.e", "part.pt * cosh(part.eta)", {"part.pt", "part.eta"}},
    Rule{"part.e", "part.pt * cosh(jet.eta + part.etarel)", {"part.pt", "jet.eta", "part.etarel"}},
    Rule{"part.deta", "part.etarel * sign(jet.eta)", {"part.etarel", "jet.eta"}},
    Rule{"part.deta", "(part.eta - jet.eta) * sign(jet.eta)", {"part.eta", "jet.eta"}},
    Rule{"part.dphi", "part.phirel", {"part.phirel"}},
    Rule{"part.dphi", "wrap(part.phi - jet.phi)", {"part.phi", "jet.phi"}},
    Rule{"jet.px", "sum(part.px)", {"part.px"}},
    Rule{"jet.py", "sum(part.py)", {"part.py"}},
    Rule{"jet.pz", "sum(part.pz)", {"part.pz"}},
    Rule{"jet.e", "hypot(jet.pt * cosh(jet.eta), jet.mass)", {"jet.pt", "jet.eta", "jet.mass"}},
    Rule{"jet.e", "sum(part.e)", {"part.e"}},
    Rule{"jet.pt", "hypot(jet.px, jet.py)", {"jet.px", "jet.py"}},
    Rule{"jet.eta", "asinh(jet.pz / jet.pt)", {"jet.pz", "jet.pt"}},
    Rule{"jet.phi", "atan2(jet.py, jet.px)", {"jet.py", "jet.px"}},
};

/// Searches the rules backwards from a wanted quantity.
class Derivation {
 public:
  explicit Derivation(Card& card) : card_(card), names_(card) {}

  bool derive(std::string_view name) {
    if (names_.knows(name) || is_defined(name)) return true;
    if (std::ranges::find(open_, name) != open_.end()) return false;  // a circle: px from pt from px
    open_.push_back(name);
    const bool found =
        std::ranges::any_of(kRules, [&](const Rule& rule) { return rule.name == name && apply(rule); });
    open_.pop_back();
    return found;
  }

 private:
  bool is_defined(std::string_view name) const {
    return std::ranges::any_of(card_.define, [name](const auto& entry) { return entry.first == name; });
  }

  bool apply(const Rule& rule) {
    const std::size_t before = card_.define.size();
    for (const std::string_view need : rule.needs) {
      if (need.empty() || derive(need)) continue;
      card_.define.resize(before);
      return false;
    }
    card_.define.emplace_back(rule.name, rule.expression);
    return true;
  }

  Card& card_;
  CardExpressions names_;
  std::vector<std::string_view> open_;
};

}  // namespace

std::span<const InputSpec> kinematics7() {
  static const auto* const specs = [] {
    const auto standardised = [](std::string_view expression, double subtract, double multiply) {
      return InputSpec{.expression = std::string(expression),
                       .subtract = subtract,
                       .multiply = multiply,
                       .minimum = -5,
                       .maximum = 5};
    };
    return new std::vector<InputSpec>{
        standardised("log(part.pt)", 1.7, 0.7),
        standardised("log(part.e)", 2.0, 0.7),
        standardised("log(part.pt / jet.pt)", -4.7, 0.7),
        standardised("log(part.e / jet.e)", -4.7, 0.7),
        standardised("hypot(part.deta, part.dphi)", 0.2, 4.0),
        InputSpec{.expression = "part.deta"},
        InputSpec{.expression = "part.dphi"},
    };
  }();
  return *specs;
}

void define_kinematics(Card& card) {
  Derivation derivation(card);
  for (const std::string_view name : {"jet.pt", "jet.e", "part.pt", "part.e", "part.deta", "part.dphi"}) {
    if (derivation.derive(name)) continue;
    throw ConfigError(
        fmt::format("kinematics7 needs {}, which is neither read nor defined and does not follow from the "
                    "columns; define it",
                    name));
  }
}

}  // namespace bunchtrain::features::detail
