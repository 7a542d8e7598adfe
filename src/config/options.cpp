// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/config/options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/core/version.hpp"
#include "option_text.hpp"

namespace bunchtrain::config {
namespace {

constexpr const char* kByProgram = "set by the program";

std::string with_dashes(std::string_view name) {
  std::string result(name);
  std::replace(result.begin(), result.end(), '_', '-');
  return result;
}

std::string environment_name(std::string_view name) {
  std::string result = "BUNCHTRAIN_";
  for (char c : name)
    result += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

/// "learning-rate" for "BUNCHTRAIN_LEARNING_RATE=0.1"; empty for a variable of another kind.
std::string option_of_variable(std::string_view variable) {
  constexpr std::string_view kPrefix = "BUNCHTRAIN_";
  if (!variable.starts_with(kPrefix)) return {};
  std::string name = with_dashes(variable.substr(kPrefix.size(), variable.find('=') - kPrefix.size()));
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

void check_allowed(const OptionSpec& spec, const OptionValue& value, std::string_view origin) {
  const auto* text = std::get_if<std::string>(&value);
  if (!text || spec.allowed.empty() ||
      std::find(spec.allowed.begin(), spec.allowed.end(), *text) != spec.allowed.end())
    return;
  throw ConfigError(fmt::format("{} ({})", spec.name, origin), *text,
                    fmt::format("one of {}", fmt::join(spec.allowed, ", ")));
}

/// What may stand without its flag says what a command is about: of two the last would win in silence.
void require_once(const OptionSpec& spec, const std::vector<std::string>& given) {
  if (!spec.positional || std::holds_alternative<std::vector<std::string>>(spec.default_value) ||
      given.size() < 2)
    return;
  throw ConfigError(fmt::format("--{} is given {} times ({}): one at a time", spec.name, given.size(),
                                fmt::join(given, ", ")));
}

/// What a flag without a value means.
std::string bare_value(const OptionSpec& spec) { return spec.bare.empty() ? "true" : spec.bare; }

/// A line of two parts; nothing where both are empty.
std::string comment(const std::string& help, const std::string& remark) {
  if (help.empty() && remark.empty()) return {};
  return fmt::format("# {}{}{}\n", help, help.empty() || remark.empty() ? "" : " ", remark);
}

/// A TOML value as text pieces, in the form that `parse_value` reads.
std::vector<std::string> pieces_of(const toml::node& node) {
  std::vector<std::string> pieces;
  if (const auto* array = node.as_array()) {
    for (const auto& element : *array)
      for (auto& piece : pieces_of(element)) pieces.push_back(std::move(piece));
  } else if (const auto text = node.value_exact<std::string>()) {
    pieces.push_back(*text);
  } else if (const auto flag = node.value_exact<bool>()) {
    pieces.push_back(*flag ? "true" : "false");
  } else if (const auto integer = node.value_exact<std::int64_t>()) {
    pieces.push_back(fmt::format("{}", *integer));
  } else if (const auto real = node.value_exact<double>()) {
    pieces.push_back(fmt::format("{}", *real));
  }
  return pieces;
}

}  // namespace

Options::Options(std::string program, std::string summary)
    : program_(std::move(program)), summary_(std::move(summary)) {}

void Options::declare(OptionSpec spec) {
  for (const auto& existing : entries_)
    if (existing.spec.name == spec.name)
      throw ConfigError(fmt::format("option '{}' is declared twice", spec.name));
  OptionValue value = spec.default_value;
  entries_.push_back({.spec = std::move(spec), .value = std::move(value)});
}

void Options::declare(std::vector<OptionSpec> specs) {
  for (auto& spec : specs) declare(std::move(spec));
}

void Options::set_default(std::string_view name, OptionValue value) {
  Entry& target = entry(name);
  expects(value.index() == target.value.index(),
          fmt::format("the default of option '{}' has another type", name));
  target.spec.default_value = value;
  if (target.source == OptionSource::default_value) target.value = std::move(value);
}

void Options::preset(std::string_view name, OptionValue value) {
  Entry& option = entry(name);
  expects(value.index() == option.value.index(),
          fmt::format("the preset value of option '{}' has another type", name));
  set(option, std::move(value), OptionSource::program, kByProgram);
}

void Options::hide(std::span<const std::string> names) {
  for (const auto& name : names) entry(name).hidden = true;
}

Options::Entry& Options::entry(std::string_view name) {
  return const_cast<Entry&>(std::as_const(*this).entry(name));
}

const Options::Entry& Options::entry(std::string_view name) const {
  for (const auto& candidate : entries_)
    if (candidate.spec.name == name) return candidate;
  throw ConfigError(fmt::format("no option '{}' is declared by {}{}", name, program_, suggestion(name, "")));
}

/// What was probably meant by `given`: the option that other programs call so, or the nearest name.
std::string Options::suggestion(std::string_view given, std::string_view prefix) const {
  std::string name(given.substr(given.starts_with(prefix) ? prefix.size() : 0));
  std::ranges::replace(name, '_', '-');
  std::vector<std::string> known;
  for (const auto& option : entries_) {
    if (option.hidden) continue;
    if (std::ranges::find(option.spec.other_names, name) != option.spec.other_names.end())
      return fmt::format("; did you mean '{}{}'?", prefix, option.spec.name);
    known.push_back(option.spec.name);
  }
  for (const char* own : {"config", "print-config", "help", "version"}) known.emplace_back(own);
  const std::string near = nearest(name, known);
  return near.empty() ? std::string() : fmt::format("; did you mean '{}{}'?", prefix, near);
}

void Options::set(Entry& option, OptionValue value, OptionSource source, std::string origin) {
  check_allowed(option.spec, value, origin);
  option.value = std::move(value);
  option.source = source;
  option.origin = std::move(origin);
}

const OptionValue& Options::value_of(std::string_view name, std::size_t type_index) const {
  const Entry& found = entry(name);
  if (found.value.index() != type_index)
    throw ConfigError(fmt::format("option '{}' holds {}, but was asked for as {}", name,
                                  type_name(found.value.index()), type_name(type_index)));
  use(name);
  return found.value;
}

void Options::use(std::string_view name) const {
  std::atomic_ref(entry(name).used).store(true, std::memory_order_relaxed);
}

OptionSource Options::source(std::string_view name) const { return entry(name).source; }
const std::string& Options::origin(std::string_view name) const { return entry(name).origin; }
std::string Options::text(std::string_view name) const { return toml_text(entry(name).value); }

bool Options::has(std::string_view name) const {
  return std::ranges::any_of(entries_, [&](const Entry& option) { return option.spec.name == name; });
}

std::vector<std::string> Options::names() const {
  std::vector<std::string> names;
  for (const auto& option : entries_) names.push_back(option.spec.name);
  return names;
}

std::vector<std::string> Options::unused() const {
  std::vector<std::string> names;
  for (const auto& option : entries_) {
    const bool elsewhere = option.source == OptionSource::environment || option.source == OptionSource::file;
    const bool given =
        option.source == OptionSource::flag || (elsewhere && option.value != option.spec.default_value);
    if (given && !option.used) names.push_back(option.spec.name);
  }
  return names;
}

void Options::set_effective(std::string_view name, OptionValue value) {
  Entry& option = entry(name);
  if (value == option.value) {
    option.used = true;
    return;
  }
  resolve(name, std::move(value), kByProgram);
  option.source = OptionSource::program;
}

void Options::resolve(std::string_view name, OptionValue value, std::string origin) {
  Entry& option = entry(name);
  expects(value.index() == option.value.index(),
          fmt::format("the effective value of option '{}' has another type", name));
  option.used = true;
  option.value = std::move(value);
  option.origin = std::move(origin);
}

void Options::leave_out(std::string_view name, std::string reason) {
  entry(name).left_out = std::move(reason);
}

std::string Options::parse(int argc, const char* const* argv) {
  read_environment();
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--help" || word == "-h") return help();
    if (word == "--version") return fmt::format("{} (bunchtrain {})\n", program_, version());
    if (word == "--config") {
      if (i + 1 >= argc) throw ConfigError("--config needs the name of a TOML file");
      read_file(argv[i + 1]);
    } else if (word.starts_with("--config=")) {
      read_file(std::string(word.substr(9)));
    }
  }
  read_flags(argc, argv);
  print_config_ =
      std::any_of(argv + 1, argv + argc, [](std::string_view word) { return word == "--print-config"; });
  return print_config_ ? to_toml() : std::string();
}

void Options::read_environment() {
  for (auto& option : entries_) {
    if (option.hidden) continue;
    const std::string variable = environment_name(option.spec.name);
    const char* text = std::getenv(variable.c_str());
    if (!text) continue;
    const std::string origin = "environment variable " + variable;
    set(option, parse_value(option.spec, {text}, origin), OptionSource::environment, origin);
  }
  for (char** variable = environ; variable && *variable; ++variable) {
    const std::string name = option_of_variable(*variable);
    const bool known =
        std::ranges::any_of(entries_, [&](const Entry& option) { return option.spec.name == name; });
    if (name.empty() || known) continue;
    if (const std::string meant = suggestion(name, ""); !meant.empty())
      notices_.push_back(
          fmt::format("environment variable {} belongs to no option{}",
                      std::string_view(*variable).substr(0, std::string_view(*variable).find('=')), meant));
  }
}

void Options::read_file(const std::string& path) {
  std::string text;
  try {
    text = read_text_file(path);
  } catch (Error& error) {
    throw ConfigError(fmt::format("--config: {}", error.message()));
  }
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{} line {}: {}", path, error.source().begin.line, error.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string name = with_dashes(key.str());
    const auto found = std::ranges::find_if(
        entries_, [&](const Entry& option) { return !option.hidden && option.spec.name == name; });
    const std::string where = fmt::format("{} line {}", path, node.source().begin.line);
    if (found == entries_.end())
      throw ConfigError(fmt::format("{}: unknown key '{}'{}; --print-config lists all keys", where, key.str(),
                                    suggestion(name, "")));
    set(*found, parse_value(found->spec, pieces_of(node), where), OptionSource::file, where);
  }
}

void Options::read_flags(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  bool print = false;
  std::string file;
  app.add_flag("--print-config", print);
  app.add_option("--config", file);
  std::vector<std::vector<std::string>> values(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].hidden) continue;
    const std::string flag = "--" + entries_[i].spec.name;
    CLI::Option* option =
        app.add_option(entries_[i].spec.positional ? entries_[i].spec.name + "," + flag : flag, values[i]);
    if (std::holds_alternative<bool>(entries_[i].value)) {
      option->expected(0, 1)->default_str("true");
    } else if (std::holds_alternative<std::vector<std::string>>(entries_[i].value)) {
      option->expected(1, 1 << 20);
    } else if (!entries_[i].spec.bare.empty()) {
      option->expected(0, 1)->take_last()->allow_extra_args(false)->default_str(entries_[i].spec.bare);
    } else {
      // Without the last call an option that the last value wins takes all that follow, positional ones too.
      option->expected(1)->take_last()->allow_extra_args(false);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    throw ConfigError(fmt::format("{}; try {} --help", error.what(), program_));
  }
  for (const auto& extra : app.remaining()) {
    const std::string given = extra.substr(0, extra.find('='));
    if (given.starts_with("-"))
      throw ConfigError(
          fmt::format("unknown option '{}'{}; try {} --help", given, suggestion(given, "--"), program_));
    throw ConfigError(fmt::format("'{}' belongs to no option; try {} --help", extra, program_));
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].hidden) continue;
    const auto* option = app.get_option("--" + entries_[i].spec.name);
    if (option->count() == 0) continue;
    const std::string where = "--" + entries_[i].spec.name;
    require_once(entries_[i].spec, option->results());
    const auto pieces =
        values[i].empty() ? std::vector<std::string>{bare_value(entries_[i].spec)} : values[i];
    set(entries_[i], parse_value(entries_[i].spec, pieces, where), OptionSource::flag, where);
  }
}

std::string Options::to_toml() const {
  std::string text = fmt::format("# Options of {}: use with --config FILE\n", program_);
  for (const auto& option : entries_) {
    if (option.hidden) continue;
    const bool by_program = option.source == OptionSource::program && option.left_out.empty();
    text += '\n' + comment(option.spec.help, by_program ? "(" + option.origin + ")" : "");
    const std::string line = fmt::format("{} = {}", option.spec.name, toml_text(option.value));
    text += option.left_out.empty() ? line + '\n' : fmt::format("# {}  ({})\n", line, option.left_out);
  }
  return text;
}

std::string Options::help() const {
  std::string text = fmt::format("{}\n\nUsage: {} [OPTIONS]\n\n", summary_, program_);
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& option : entries_) {
    if (option.hidden) continue;
    const std::string value =
        option.spec.value_name.empty() ? value_placeholder(option.spec) : option.spec.value_name;
    rows.emplace_back(fmt::format("{}{} {}", option.spec.positional ? "[--]" : "--", option.spec.name, value),
                      help_text(option.spec));
  }
  rows.emplace_back("--config FILE", "read options from a TOML file (flags win over it)");
  rows.emplace_back("--print-config", "print what would run as TOML, to be fed back by --config");
  rows.emplace_back("--version", "print the version");
  for (const auto& [left, right] : rows) text += fmt::format("  {:<32} {}\n", left, right);
  return text + "\nEvery option can also be set by an environment variable, e.g. BUNCHTRAIN_LEARNING_RATE.\n";
}

}  // namespace bunchtrain::config
