// SPDX-License-Identifier: Apache-2.0
#include "source_messages.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

namespace bunchtrain::messages {
namespace {

enum class Kind { word, text, sign };

struct Token {
  Kind kind;
  std::string value;
  int line;
};

/// Words, string literals and signs; comments, characters and preprocessor lines are left out.
class Lexer {
 public:
  explicit Lexer(std::string text) : text_(std::move(text)) {}

  std::vector<Token> tokens() {
    while (at_ < text_.size()) read();
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void skip_to(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    const std::size_t stop = found == std::string::npos ? text_.size() : found + end.size();
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(stop), '\n'));
    at_ = stop;
  }

  void read() {
    const char c = peek();
    if (c == '\n') ++line_;
    if (std::isspace(static_cast<unsigned char>(c))) {
      ++at_;
    } else if (c == '/' && peek(1) == '/') {
      skip_to("\n");
    } else if (c == '/' && peek(1) == '*') {
      skip_to("*/");
    } else if (c == '"') {
      read_literal('"', true);
    } else if (c == '\'' && (at_ == 0 || !std::isalnum(static_cast<unsigned char>(text_[at_ - 1])))) {
      read_literal('\'', false);
    } else if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      read_word();
    } else {
      tokens_.push_back({Kind::sign, std::string(1, c), line_});
      ++at_;
    }
  }

  void read_word() {
    const std::size_t begin = at_;
    while (std::isalnum(static_cast<unsigned char>(peek())) || peek() == '_') ++at_;
    tokens_.push_back({Kind::word, text_.substr(begin, at_ - begin), line_});
  }

  void read_literal(char quote, bool keep) {
    if (!tokens_.empty() && tokens_.back().kind == Kind::word && tokens_.back().value == "R" &&
        text_[at_ - 1] == 'R')
      return read_raw_literal();
    std::string value;
    const int line = line_;
    for (++at_; at_ < text_.size() && peek() != quote; ++at_) {
      if (peek() != '\\') {
        value += peek();
        continue;
      }
      ++at_;
      value += peek() == 'n' ? '\n' : peek();
    }
    ++at_;
    if (keep) tokens_.push_back({Kind::text, value, line});
  }

  void read_raw_literal() {
    tokens_.pop_back();
    const std::size_t open = text_.find('(', at_);
    const std::string end = ")" + text_.substr(at_ + 1, open - at_ - 1) + "\"";
    const std::size_t close = text_.find(end, open);
    tokens_.push_back({Kind::text, text_.substr(open + 1, close - open - 1), line_});
    skip_to(end);
  }

  std::string text_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

bool is_error_class(const std::string& word) {
  return word.size() > 5 && (word.ends_with("Error") || word == "TrainingHalted") &&
         std::isupper(static_cast<unsigned char>(word.front()));
}

/// Helpers whose arguments are, or become part of, a message.
bool is_helper(const std::string& word) {
  constexpr std::array kNames = {"fail",     "fail_unknown", "refuse",      "refuse_reading",
                                 "reject",   "complain",     "expects",     "throw_error",
                                 "mismatch", "require",      "require_same"};
  return std::ranges::find(kNames, word) != kNames.end();
}

/// A literal without what fmt puts in: "{} of {:.2f}" is "", " of ", "".
std::vector<std::string> cut(const std::string& literal) {
  std::vector<std::string> pieces(1);
  for (std::size_t i = 0; i < literal.size(); ++i) {
    const char c = literal[i];
    if ((c == '{' || c == '}') && i + 1 < literal.size() && literal[i + 1] == c) {
      pieces.back() += c;
      ++i;
    } else if (c == '{' && literal.find('}', i) != std::string::npos) {
      i = literal.find('}', i);
      pieces.emplace_back();
    } else {
      pieces.back() += c == '\n' || c == '\t' ? ' ' : c;
    }
  }
  return pieces;
}

std::size_t length_of(const std::vector<std::string>& pieces) {
  std::size_t length = 0;
  for (const auto& piece : pieces) length += piece.size();
  return length;
}

bool contains_in_order(const std::string& text, const std::vector<std::string>& pieces) {
  std::size_t from = 0;
  for (const auto& piece : pieces) {
    const std::size_t found = text.find(piece, from);
    if (found == std::string::npos) return false;
    from = found + piece.size();
  }
  return true;
}

/// The call whose name is token `name` and whose "(" or "{" follows it, if it has an end.
std::optional<Site> read_call(const std::vector<Token>& tokens, std::size_t name) {
  Site site;
  site.first_line = tokens[name].line;
  site.raised_by = tokens[name].value;
  int depth = 0;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) site.literals.push_back(cut(literal));
    literal.clear();
  };
  for (std::size_t i = name + 1; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    site.last_line = token.line;
    if (token.kind == Kind::text) {
      literal += token.value;
      continue;
    }
    end_literal();
    if (token.value == "(" || token.value == "{") ++depth;
    if ((token.value == ")" || token.value == "}") && --depth == 0) return site;
  }
  return std::nullopt;
}

void list_file(const std::filesystem::path& path, const std::string& name, std::vector<Site>& sites) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  const auto tokens = Lexer(text.str()).tokens();
  for (std::size_t i = 1; i + 1 < tokens.size(); ++i) {
    if (tokens[i].kind != Kind::word || (tokens[i + 1].value != "(" && tokens[i + 1].value != "{")) continue;
    std::size_t before = i - 1;
    while (before > 1 && tokens[before].value == ":") before -= tokens[before - 1].value == ":" ? 3 : 1;
    const bool thrown = is_error_class(tokens[i].value) && tokens[before].value == "throw";
    if (!thrown && !is_helper(tokens[i].value)) continue;
    auto site = read_call(tokens, i);
    if (!site || (!thrown && site->literals.empty())) continue;
    site->file = name;
    sites.push_back(std::move(*site));
  }
}

}  // namespace

std::string Site::pattern() const {
  std::string text;
  for (const auto& pieces : literals) {
    if (length_of(pieces) < 3) continue;  // separators of lists, formats of numbers
    if (!text.empty()) text += " / ";
    for (std::size_t i = 0; i < pieces.size(); ++i) text += (i > 0 ? "..." : "") + pieces[i];
  }
  return text.empty() ? "(a text made elsewhere)" : text;
}

bool Site::raises(const std::string& text, const std::string& where_file, int where_line) const {
  constexpr std::size_t kTellingLength = 10, kTellingInItsFile = 4;
  const bool same_file = where_file.ends_with("/" + file);
  if (same_file && first_line <= where_line && where_line <= last_line) return true;
  const auto longest = std::ranges::max_element(literals, {}, length_of);
  return longest != literals.end() &&
         length_of(*longest) >= (same_file ? kTellingInItsFile : kTellingLength) &&
         contains_in_order(text, *longest);
}

bool Site::is_users() const {
  constexpr std::array kOthers = {"expects", "CommError", "DeviceError", "NotBuiltError"};
  constexpr std::array kOtherPlaces = {"src/comm/", "src/mpi/", "src/parallel/", "include/"};
  return std::ranges::find(kOthers, raised_by) == kOthers.end() &&
         std::ranges::none_of(kOtherPlaces, [&](const char* place) { return file.starts_with(place); });
}

std::vector<Site> list_sites(const std::filesystem::path& source) {
  std::vector<std::filesystem::path> files;
  for (const char* folder : {"src", "models", "tools", "include"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(source / folder))
      if (entry.path().extension() == ".cpp" || entry.path().extension() == ".hpp" ||
          entry.path().extension() == ".cu")
        files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<Site> sites;
  for (const auto& path : files) list_file(path, path.lexically_relative(source).string(), sites);
  return sites;
}

}  // namespace bunchtrain::messages
