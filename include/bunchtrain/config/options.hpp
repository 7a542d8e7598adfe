// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Options of a program: declared once, read from flags, a TOML file and the environment.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bunchtrain::config {

/// The types an option may have; the default's type is the option's type.
using OptionValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

/// Whom the value of an option concerns.
enum class OptionScope {
  training,  ///< what is computed: the same on all ranks, and `--resume` does not let it change unasked
  run,       ///< how it is done (folder, snapshots, timeouts): the same on all ranks, free to change
  rank,      ///< this rank alone (threads, paths of its files): may differ
};

/// One option: `--name`, `name = ...` in TOML, `BUNCHTRAIN_NAME` in the environment.
struct OptionSpec {
  std::string name;  ///< "learning-rate": lower case, dashes
  OptionValue default_value;
  std::string help;                       ///< one sentence with the unit
  std::string value_name = {};            ///< "FILE" in the help text
  std::vector<std::string> allowed = {};  ///< for texts: the values allowed, empty = any
  bool positional = false;                ///< may stand without its flag: `inspect FILE`
  bool commas = false;                    ///< for lists of names, which hold no commas: "b,c" is two
  std::string bare = {};  ///< for texts: what the flag without a value means; empty = it needs one
  OptionScope scope = OptionScope::training;
  /// What other programs call it: `--lr` is told `--learning-rate`.
  std::vector<std::string> other_names = {};
  /// Of all training programs: asked for before the first step, or it has no effect. Own ones of a program may be
  /// asked for at any time.
  bool standard = false;
};

/// Where a value came from; `program`: the program's own code (`Options::set_effective`).
enum class OptionSource { default_value, environment, file, flag, program };

/// The declared options of one program and their values. Flags win over the TOML file given by
/// `--config`, that over the environment, that over defaults. Notes which options were asked for. Not
/// thread-safe while parsed.
class Options {
 public:
  Options(std::string program, std::string summary);

  /// @throws ConfigError if the name is declared already.
  void declare(OptionSpec spec);
  void declare(std::vector<OptionSpec> specs);
  /// Replaces the default of a declared option.
  void set_default(std::string_view name, OptionValue value);
  /// A value that the program's code gives before anything asks for it: wins over the default, is no request of
  /// the user (`unused`).
  void preset(std::string_view name, OptionValue value);
  /// Takes declared options away from the user: they keep their defaults, and are in no
  /// help, file or environment.
  void hide(std::span<const std::string> names);

  /// Reads flags, the file and the environment. Returns the text to print instead of running (`--help`,
  /// `--print-config`, `--version`), or an empty one. A program whose own code sets some of the values goes
  /// on with `--print-config` (`print_config()`) until it knows them.
  /// @throws ConfigError for an unknown flag or key (with the nearest known one), a wrong type or value, an
  /// unreadable file (with the line).
  std::string parse(int argc, const char* const* argv);

  /// @throws ConfigError if no such option is declared or it has another type.
  template <class T>
  const T& get(std::string_view name) const {
    return std::get<T>(value_of(name, OptionValue(T{}).index()));
  }
  bool print_config() const noexcept { return print_config_; }
  OptionSource source(std::string_view name) const;
  /// "--batch", "environment variable BUNCHTRAIN_BATCH", "settings.toml line 3", "default".
  const std::string& origin(std::string_view name) const;
  /// The value as TOML: the same text for the same value.
  std::string text(std::string_view name) const;
  const OptionSpec& spec(std::string_view name) const { return entry(name).spec; }
  bool has(std::string_view name) const;
  /// In the order of their declaration.
  std::vector<std::string> names() const;
  /// Whether the user set it (anywhere).
  bool given(std::string_view name) const { return source(name) != OptionSource::default_value; }
  /// Says that it has an effect, for a value that travels otherwise. As `get` does.
  void use(std::string_view name) const;
  /// Whether `get` or `use` has been called for it.
  bool used(std::string_view name) const { return entry(name).used; }
  /// Given by flag, or elsewhere with another value than the default, and not asked for so far: these do
  /// nothing, which the user should be told.
  std::vector<std::string> unused() const;
  /// What the user should know of the environment: variables that are nearly the name of an option.
  const std::vector<std::string>& notices() const noexcept { return notices_; }

  /// For a record of what ran: the value that holds in the end, and that counts. Marks it as set by the
  /// program if it is another one than before.
  void set_effective(std::string_view name, OptionValue value);
  /// For the same record: what an automatic value means here, "auto" being "tf32". Set by whom it was, but
  /// named by `origin`.
  void resolve(std::string_view name, OptionValue value, std::string origin);
  /// `to_toml` shows the option as a comment only, with the reason: "not used by this run".
  void leave_out(std::string_view name, std::string reason);
  bool left_out(std::string_view name) const { return !entry(name).left_out.empty(); }

  /// All options as TOML, with the help as comments: can be fed back through `--config`.
  std::string to_toml() const;
  std::string help() const;
  const std::string& program() const noexcept { return program_; }

 private:
  struct Entry {
    OptionSpec spec;
    OptionValue value;
    OptionSource source = OptionSource::default_value;
    bool hidden = false;
    std::string origin = "default";
    std::string left_out = {};  ///< why `to_toml` leaves it out
    mutable bool used = false;  ///< written atomically: options may be read from several threads
  };
  const OptionValue& value_of(std::string_view name, std::size_t type_index) const;
  Entry& entry(std::string_view name);
  const Entry& entry(std::string_view name) const;
  void read_environment();
  void read_file(const std::string& path);
  void read_flags(int argc, const char* const* argv);

  std::string suggestion(std::string_view given, std::string_view prefix) const;
  void set(Entry& option, OptionValue value, OptionSource source, std::string origin);

  std::string program_;
  std::string summary_;
  std::vector<Entry> entries_;
  std::vector<std::string> notices_;
  bool print_config_ = false;
};

/// An option's value that converts to the type it is assigned to: `std::string run = session.option("run");`.
class OptionView {
 public:
  OptionView(const Options& options, std::string name) : options_(&options), name_(std::move(name)) {}
  /// @throws ConfigError if the option has another type.
  template <class T>
  operator T() const {
    return options_->get<T>(name_);
  }

 private:
  const Options* options_;
  std::string name_;
};

}  // namespace bunchtrain::config
