// SPDX-License-Identifier: Apache-2.0
#include "expression_parser.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"

namespace bunchtrain::features::detail {
namespace {

struct Function {
  std::string_view name;
  Op op;
};
constexpr std::array kFunctions = {
    Function{"log", Op::log},     Function{"exp", Op::exp},   Function{"sqrt", Op::sqrt},
    Function{"abs", Op::abs},     Function{"sign", Op::sign}, Function{"tanh", Op::tanh},
    Function{"sinh", Op::sinh},   Function{"cosh", Op::cosh}, Function{"asinh", Op::asinh},
    Function{"sin", Op::sin},     Function{"cos", Op::cos},   Function{"hypot", Op::hypot},
    Function{"atan2", Op::atan2}, Function{"wrap", Op::wrap}, Function{"min", Op::min},
    Function{"max", Op::max},     Function{"sum", Op::sum},
};

bool is_name_start(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_name_char(char c) noexcept { return is_name_start(c) || is_digit(c) || c == '.'; }

/// Recursive descent, one method per precedence level: | & comparison + * unary primary.
class Parser {
 public:
  Parser(std::string_view text, ExpressionGraph& graph, const NameResolver& resolve)
      : text_(text), graph_(graph), resolve_(resolve) {}

  int parse() {
    const int node = parse_or();
    skip_blanks();
    if (position_ != text_.size()) fail("an operator or the end");
    return node;
  }

 private:
  // Nesting that no honest card reaches; keeps hostile ones off the stack.
  static constexpr int kDeepest = 200;

  int parse_or() {
    if (++depth_ > kDeepest) fail("less nesting");
    int left = parse_and();
    while (accept("||") || accept("|")) left = graph_.apply(Op::logical_or, left, parse_and());
    --depth_;
    return left;
  }

  int parse_and() {
    int left = parse_comparison();
    while (accept("&&") || accept("&")) left = graph_.apply(Op::logical_and, left, parse_comparison());
    return left;
  }

  int parse_comparison() {
    const int left = parse_sum();
    const std::optional<Op> op = accept_comparison();
    return op ? graph_.apply(*op, left, parse_sum()) : left;
  }

  std::optional<Op> accept_comparison() {
    if (accept("<=")) return Op::less_equal;
    if (accept(">=")) return Op::greater_equal;
    if (accept("==")) return Op::equal;
    if (accept("!=")) return Op::not_equal;
    if (accept("<")) return Op::less;
    if (accept(">")) return Op::greater;
    return std::nullopt;
  }

  int parse_sum() {
    int left = parse_product();
    while (true) {
      if (accept("+"))
        left = graph_.apply(Op::add, left, parse_product());
      else if (accept("-"))
        left = graph_.apply(Op::subtract, left, parse_product());
      else
        return left;
    }
  }

  int parse_product() {
    int left = parse_unary();
    while (true) {
      if (accept("*"))
        left = graph_.apply(Op::multiply, left, parse_unary());
      else if (accept("/"))
        left = graph_.apply(Op::divide, left, parse_unary());
      else
        return left;
    }
  }

  int parse_unary() {
    std::vector<Op> prefixes;  // a loop, not recursion: "-----x" must not cost stack
    while (true) {
      if (accept("-"))
        prefixes.push_back(Op::negate);
      else if (peek() == '!' && peek(1) != '=' && accept("!"))
        prefixes.push_back(Op::logical_not);
      else
        break;
    }
    int node = parse_primary();
    for (auto prefix = prefixes.rbegin(); prefix != prefixes.rend(); ++prefix)
      node = graph_.apply(*prefix, node);
    return node;
  }

  int parse_primary() {
    if (accept("(")) {
      const int inner = parse_or();
      if (!accept(")")) fail("\")\"");
      return inner;
    }
    if (is_digit(peek()) || peek() == '.') return graph_.constant(parse_number());
    if (!is_name_start(peek())) fail("a number, a name or \"(\"");
    const std::string name = parse_name();
    return accept("(") ? parse_call(name) : resolve_(name);
  }

  int parse_call(std::string_view name) {
    const Op op = function(name);
    const int first = parse_or();
    int second = -1;
    if (num_arguments(op) == 2) {
      if (!accept(",")) fail(fmt::format("\",\": {}() takes two arguments", name));
      second = parse_or();
    }
    if (!accept(")"))
      fail(fmt::format("\")\" after the {} of {}()", second < 0 ? "argument" : "two arguments", name));
    return graph_.apply(op, first, second);
  }

  Op function(std::string_view name) const {
    std::vector<std::string> names;
    for (const Function& known : kFunctions) {
      if (known.name == name) return known.op;
      names.emplace_back(known.name);
    }
    const std::string near = nearest(name, names);
    throw ConfigError(fmt::format("expression \"{}\": there is no function {}(){}. Functions: {}", text_,
                                  name, near.empty() ? "" : fmt::format(", did you mean {}()", near),
                                  fmt::join(names, " ")));
  }

  double parse_number() {
    double value = 0;
    const char* begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("a number");
    position_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  /// part.pt, or part.'pt [GeV]' for a column of any name ('' is a quote).
  std::string parse_name() {
    const std::size_t begin = position_;
    while (is_name_char(peek_here())) ++position_;
    std::string name(text_.substr(begin, position_ - begin));
    if (name.back() != '.' || peek_here() != '\'') return name;
    while (true) {
      const std::size_t close = text_.find('\'', ++position_);
      if (close == std::string_view::npos) fail("the \"'\" that ends the name");
      name += text_.substr(position_, close - position_);
      position_ = close + 1;
      if (peek_here() != '\'') return name;
      name += '\'';
    }
  }

  void skip_blanks() {
    while (position_ < text_.size() &&
           (text_[position_] == ' ' || text_[position_] == '\t' || text_[position_] == '\n')) {
      ++position_;
    }
  }
  char peek_here() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  char peek(std::size_t ahead = 0) {
    skip_blanks();
    return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0';
  }
  bool accept(std::string_view token) {
    skip_blanks();
    if (text_.substr(position_, token.size()) != token) return false;
    position_ += token.size();
    return true;
  }

  [[noreturn]] void fail(std::string_view expected,
                         std::source_location where = std::source_location::current()) const {
    throw ConfigError(
        fmt::format(
            "expression \"{}\": expected {} at column {}{}", text_, expected, position_ + 1,
            position_ < text_.size() ? fmt::format(", found \"{}\"", text_.substr(position_, 12)) : ""),
        where);
  }

  std::string_view text_;
  ExpressionGraph& graph_;
  const NameResolver& resolve_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace

int parse_expression(std::string_view text, ExpressionGraph& graph, const NameResolver& resolve) {
  constexpr std::size_t kLongest = 4096;  // bounds every recursion over the nodes of one expression
  if (text.size() > kLongest) {
    throw ConfigError(fmt::format("expression \"{}...\" has more than {} characters; split it with [define]",
                                  text.substr(0, 40), kLongest));
  }
  return Parser(text, graph, resolve).parse();
}

std::string quote_column(std::string_view column) {
  if (is_name(fmt::format("part.{}", column))) return std::string(column);
  std::string quoted = "'";
  for (const char c : column) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

bool is_name(std::string_view text) noexcept {
  if (text.empty() || !is_name_start(text.front()) || text.back() == '.') return false;
  for (const char c : text) {
    if (!is_name_char(c)) return false;
  }
  return true;
}

}  // namespace bunchtrain::features::detail
