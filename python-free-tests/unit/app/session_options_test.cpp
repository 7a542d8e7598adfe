// SPDX-License-Identifier: Apache-2.0
// What a command line says arrives in the structs, and every name that is none is told those that there are.
#include "bunchtrain/app/session_options.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/io_engine.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "session_record.hpp"
#include "support/flags.hpp"

namespace bunchtrain::app {
namespace {

using test::parse_flags;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

/// Another value than the default, as the option's text is written.
std::string another_value(const config::OptionSpec& spec) {
  static const std::map<std::string, std::string> kOwn = {{"early-stop", "-auc:5:0.5"},
                                                          {"checkpoint-every", "90s"},
                                                          {"group", "*.bias:lr=0.5,weight_decay=0"},
                                                          {"mesh", "data=2"},
                                                          {"stage-size", "5000"}};
  if (const auto own = kOwn.find(spec.name); own != kOwn.end()) return own->second;
  if (const auto* number = std::get_if<std::int64_t>(&spec.default_value)) return std::to_string(*number + 1);
  if (const auto* number = std::get_if<double>(&spec.default_value)) return std::to_string(*number + 0.5);
  if (std::holds_alternative<bool>(spec.default_value)) return "true";
  return spec.allowed.empty() ? "other" : spec.allowed.back();
}

const config::OptionSpec* find_standard(const std::string& name) {
  static const auto all = standard_options();
  const auto found = std::ranges::find(all, name, &config::OptionSpec::name);
  return found == all.end() ? nullptr : &*found;
}

TEST(SessionOptionsTest, DefaultsOfTheStructsAreThoseOfTheOptions) {
  const config::Options record = train::make_record({});
  for (const auto& name : record.names()) {
    const config::OptionSpec* standard = find_standard(name);
    ASSERT_NE(standard, nullptr) << name;
    EXPECT_EQ(record.spec(name).default_value, standard->default_value) << name;
    EXPECT_EQ(record.spec(name).scope, standard->scope) << name;
    EXPECT_TRUE(standard->standard) << name;
  }
  Texts others;
  for (const auto& spec : standard_options())
    if (const auto names = record.names(); std::ranges::find(names, spec.name) == names.end())
      others.push_back(spec.name);
  EXPECT_THAT(others, testing::ElementsAre("data", "valid", "card", "particles", "classes", "valid-fraction",
                                           "hash-data", "io", "hdf5-plugins", "log-level"));
}

TEST(SessionOptionsTest, EveryValueArrivesInItsField) {
  Texts flags;
  for (const auto& name : train::make_record({}).names())
    flags.push_back("--" + name + "=" + another_value(*find_standard(name)));
  const config::Options options = parse_flags(flags);
  const config::Options record = train::make_record(session_options(options));
  for (const auto& name : record.names()) {
    EXPECT_EQ(record.text(name), options.text(name)) << name;
    EXPECT_NE(record.text(name), train::make_record({}).text(name)) << name;
  }
  EXPECT_EQ(record.program(), "toy");
}

TEST(SessionOptionsTest, WhatTheUserGaveIsToldFromDefaults) {
  config::Options options("toy", "A test.");
  options.declare(standard_options());
  options.set_default("batch", std::int64_t{64});
  const char* argv[] = {"toy", "--epochs", "10"};
  options.parse(3, argv);
  const train::TrainingChoices choices = session_options(options).training;
  EXPECT_TRUE(choices.epochs.by_user);
  EXPECT_FALSE(choices.batch.by_user);
  EXPECT_EQ(choices.batch.value, 64);
}

TEST(SessionOptionsTest, AListOfRunsIsTheProgramsOwn) {
  const config::Options options =
      parse_flags({"--run", "a", "b"}, {{.name = "run", .default_value = Texts{}, .help = "to read"}});
  EXPECT_EQ(session_options(options).run, "");
}

TEST(SessionOptionsTest, ReadingMarksNothingAsUsed) {
  const config::Options options = parse_flags({"--epochs", "3", "--timeout", "5"});
  const train::SessionOptions asked = session_options(options);
  EXPECT_EQ(asked.record->unused(), (Texts{"epochs", "timeout"}));
}

/// The message of the error that `action` ends with.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SessionOptionsTest, RoomForCopiesIsANumberOfBytesInAFolder) {
  const auto asked = [](const std::vector<std::string>& flags) {
    return session_options(parse_flags(flags)).training;
  };
  EXPECT_EQ(asked({"--stage", "/scratch", "--stage-size", "200G"}).stage_bytes, 200'000'000'000U);
  EXPECT_EQ(asked({"--stage", "/scratch"}).stage_bytes, 0U);
  EXPECT_THAT(error_of([&] { asked({"--stage-size", "200G"}); }), HasSubstr("--stage FOLDER"));
  EXPECT_THAT(error_of([&] {
                asked({"--stage", "/scratch", "--stage-size", "much"});
              }),
              HasSubstr("bytes above 0"));
}

TEST(SessionOptionsTest, UnknownNamesAreErrorsThatListTheNames) {
  for (const auto& spec : standard_options()) {
    if (spec.allowed.empty()) continue;
    const std::string refused = error_of([&] { parse_flags({"--" + spec.name, "rubbish"}); });
    EXPECT_THAT(refused, HasSubstr("rubbish"));
    for (const auto& name : spec.allowed) EXPECT_THAT(refused, HasSubstr(name)) << spec.name;

    // The same where the table lets a name through, as a program's own option of that name may.
    config::OptionSpec open = spec;
    open.allowed.clear();
    const config::Options options = parse_flags({"--" + spec.name, "rubbish"}, {open});
    const std::string found = error_of([&] {
      if (spec.name == "log-level") parse_log_level(options.get<std::string>("log-level"));
      if (spec.name == "io") data::parse_io_engine(options.get<std::string>("io"));
      train::Session session(session_options(options), mpi::Comm::self(), {});
      tensor::ParameterArenas arenas;
      train::create_optimizer(session, arenas);
    });
    EXPECT_THAT(found, HasSubstr("rubbish")) << spec.name;
    for (const auto& name : spec.allowed) {
      const bool listed = name != "auto" || spec.name != "precision";  // unset in the struct
      EXPECT_THAT(listed ? found : refused, HasSubstr(name)) << spec.name;
    }
  }
}

TEST(SessionOptionsTest, ATimeoutIsAPositiveNumber) {
  EXPECT_EQ(timeout_of(parse_flags({"--timeout", "0.25"})), std::chrono::milliseconds(250));
  for (const char* wrong : {"--timeout=0", "--timeout=-3", "--timeout=inf"}) {
    try {
      timeout_of(parse_flags({wrong}));
      ADD_FAILURE() << wrong;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("timeout"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("a positive number of seconds"), std::string::npos)
          << error.what();
    }
  }
}

TEST(SessionOptionsTest, ATextThatCannotBeReadNamesItsOption) {
  EXPECT_THAT(error_of([] {
                session_options(parse_flags({"--early-stop", "auc"}));
              }),
              HasSubstr("early-stop"));
  EXPECT_THAT(error_of([] {
                session_options(parse_flags({"--checkpoint-every", "often"}));
              }),
              HasSubstr("checkpoint-every"));
  EXPECT_THAT(error_of([] { session_options(parse_flags({"--group", "*.bias"})); }), HasSubstr("group"));
  EXPECT_THAT(error_of([] { session_options(parse_flags({"--keep-every=-1"})); }),
              HasSubstr("a number of hours"));
}

}  // namespace
}  // namespace bunchtrain::app
