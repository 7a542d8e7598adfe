// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/config/options.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::config {
namespace {

using Texts = std::vector<std::string>;

class OptionsTest : public ::testing::Test {
 protected:
  static Options make() {
    Options options("train", "Trains.");
    options.declare({{"data", Texts{}, "files"},
                     {"batch", std::int64_t{256}, "samples per step"},
                     {"learning-rate", 5e-3, "peak"},
                     {"resume", false, "go on"},
                     {"precision", std::string("float32"), "numbers", "", {"float32", "bfloat16"}}});
    return options;
  }
  static std::string parse(Options& options, Texts words) {
    std::vector<const char*> argv = {"train"};
    for (const auto& word : words) argv.push_back(word.c_str());
    return options.parse(static_cast<int>(argv.size()), argv.data());
  }
  static std::string error_of(Texts words) {
    Options options = make();
    try {
      parse(options, std::move(words));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  std::string write_file(const std::string& text) {
    const auto path = std::filesystem::path(::testing::TempDir()) / "options_test.toml";
    std::ofstream(path) << text;
    return path.string();
  }
};

TEST_F(OptionsTest, FlagsWinOverFileOverEnvironment) {
  ::setenv("BUNCHTRAIN_BATCH", "8", 1);
  ::setenv("BUNCHTRAIN_LEARNING_RATE", "0.5", 1);
  const std::string file = write_file("batch = 16\nlearning_rate = 0.25\n");
  Options from_environment = make();
  parse(from_environment, {});
  EXPECT_EQ(from_environment.get<std::int64_t>("batch"), 8);
  EXPECT_EQ(from_environment.source("batch"), OptionSource::environment);
  Options options = make();
  parse(options, {"--batch", "32", "--config", file});
  ::unsetenv("BUNCHTRAIN_BATCH");
  ::unsetenv("BUNCHTRAIN_LEARNING_RATE");
  EXPECT_EQ(options.get<std::int64_t>("batch"), 32);
  EXPECT_EQ(options.get<double>("learning-rate"), 0.25);
  EXPECT_EQ(options.source("learning-rate"), OptionSource::file);
}

TEST_F(OptionsTest, ReadsListsAndSwitches) {
  Options options = make();
  parse(options, {"--data", "a.h5", "b.h5", "--resume", "--precision=bfloat16"});
  EXPECT_EQ(options.get<Texts>("data"), (Texts{"a.h5", "b.h5"}));
  EXPECT_TRUE(options.get<bool>("resume"));
  EXPECT_EQ(options.get<std::string>("precision"), "bfloat16");
}

TEST_F(OptionsTest, AnOptionLeavesWhatFollowsToThePositionalOnes) {
  Options options("inspect", "Looks.");
  options.declare({{"file", Texts{}, "files", "FILE...", {}, true}, {"card", std::string(), "a card"}});
  parse(options, {"--card", "jetnet", "--card", "mine", "a.h5", "b.h5"});
  EXPECT_EQ(options.get<std::string>("card"), "mine");
  EXPECT_EQ(options.get<Texts>("file"), (Texts{"a.h5", "b.h5"}));
}

TEST_F(OptionsTest, RepeatedListsAddUpAndNamesMayHaveCommas) {
  const auto make_with_names = [] {
    Options options = make();
    options.declare({"classes", Texts{}, "names", "NAME,NAME...", {}, false, true});
    return options;
  };
  const auto classes_of = [&](const Texts& words) {
    Options options = make_with_names();
    parse(options, words);
    return options.get<Texts>("classes");
  };
  const Texts both = {"top", "qcd"};
  for (const Texts& words : std::vector<Texts>{{"--classes", "top,qcd"},
                                               {"--classes", "top", "qcd"},
                                               {"--classes=top,qcd"},
                                               {"--classes", "top", "--classes", "qcd,"}})
    EXPECT_EQ(classes_of(words), both) << words.back();
  EXPECT_EQ(classes_of({"--config", write_file("classes = [\"top\", \"qcd\"]\n")}), both);
  EXPECT_EQ(classes_of({"--config", write_file("classes = \"top,qcd\"\n")}), both);
  ::setenv("BUNCHTRAIN_CLASSES", "top,qcd", 1);
  EXPECT_EQ(classes_of({}), both);
  ::unsetenv("BUNCHTRAIN_CLASSES");

  Options files = make();
  parse(files, {"--data", "gluon=g*.h5", "--data", "top=t,1.h5", "--data=plain.h5"});
  EXPECT_EQ(files.get<Texts>("data"), (Texts{"gluon=g*.h5", "top=t,1.h5", "plain.h5"}))
      << "paths keep commas";
}

TEST_F(OptionsTest, ATextMayHaveAMeaningWithoutValue) {
  const auto parsed = [](Texts words) {
    Options options("inspect", "Looks.");
    options.declare({{"file", Texts{}, "files", "FILE...", {}, true},
                     {"write-card", std::string(), "a draft", "FILE", {}, false, false, "auto"}});
    parse(options, std::move(words));
    return std::pair(options.get<Texts>("file"), options.get<std::string>("write-card"));
  };
  EXPECT_EQ(parsed({"a.h5"}), std::pair(Texts{"a.h5"}, std::string()));
  EXPECT_EQ(parsed({"a.h5", "--write-card"}), std::pair(Texts{"a.h5"}, std::string("auto")));
  EXPECT_EQ(parsed({"a.h5", "--write-card", "my.toml"}), std::pair(Texts{"a.h5"}, std::string("my.toml")));
  EXPECT_EQ(parsed({"--write-card=my.toml", "a.h5"}), std::pair(Texts{"a.h5"}, std::string("my.toml")));
}

TEST_F(OptionsTest, PrintedConfigurationCanBeFedBack) {
  Options first = make();
  const std::string printed =
      parse(first, {"--data", "a \"b\".h5", "--learning-rate", "0.1", "--resume", "--print-config"});
  ASSERT_FALSE(printed.empty());
  Options second = make();
  EXPECT_EQ(parse(second, {"--config", write_file(printed)}), "");
  EXPECT_EQ(second.get<Texts>("data"), (Texts{"a \"b\".h5"}));
  EXPECT_EQ(second.get<double>("learning-rate"), 0.1);
  EXPECT_TRUE(second.get<bool>("resume"));
  EXPECT_EQ(second.to_toml(), first.to_toml());
}

TEST_F(OptionsTest, UnknownNamesGetTheNearestSuggestion) {
  EXPECT_NE(error_of({"--bach", "3"}).find("did you mean '--batch'"), std::string::npos);
  const std::string from_file = error_of({"--config", write_file("batch = 1\nlearnin_rate = 2.0\n")});
  EXPECT_NE(from_file.find("line 2"), std::string::npos) << from_file;
  EXPECT_NE(from_file.find("did you mean 'learning-rate'"), std::string::npos) << from_file;
}

TEST_F(OptionsTest, WrongValuesNameOptionValueAndWhatIsAllowed) {
  const std::string type = error_of({"--batch", "many"});
  EXPECT_NE(type.find("batch"), std::string::npos) << type;
  EXPECT_NE(type.find("many"), std::string::npos) << type;
  EXPECT_NE(type.find("an integer"), std::string::npos) << type;
  const std::string choice = error_of({"--precision", "float8"});
  EXPECT_NE(choice.find("float32, bfloat16"), std::string::npos) << choice;
  EXPECT_NE(error_of({"--config", "/nowhere/x.toml"}).find("/nowhere/x.toml"), std::string::npos);
  EXPECT_NE(error_of({"stray.h5"}).find("stray.h5"), std::string::npos);
}

TEST_F(OptionsTest, HelpNamesEveryOption) {
  Options options = make();
  const std::string help = parse(options, {"--help"});
  for (const char* name : {"--data", "--batch", "--learning-rate", "--resume", "--precision"})
    EXPECT_NE(help.find(name), std::string::npos);
}

TEST_F(OptionsTest, HiddenOptionsKeepTheirDefaultsAndBelongToNobody) {
  Options options = make();
  const Texts hidden = {"batch"};
  options.hide(hidden);
  setenv("BUNCHTRAIN_BATCH", "8", 1);
  EXPECT_NO_THROW(parse(options, {"--resume"}));
  unsetenv("BUNCHTRAIN_BATCH");
  EXPECT_EQ(options.get<std::int64_t>("batch"), 256);
  EXPECT_EQ(options.help().find("batch"), std::string::npos);
  EXPECT_EQ(options.to_toml().find("batch"), std::string::npos);
  EXPECT_THROW(parse(options, {"--batch", "8"}), ConfigError);
}

TEST_F(OptionsTest, WhatMayStandWithoutAFlagIsGivenOnce) {
  Options options("evaluate", "Evaluates.");
  options.declare({"run", std::string{}, "run folder", "FOLDER", {}, true});
  try {
    parse(options, {"--run", "first", "--run", "second"});
    ADD_FAILURE() << "taken: " << options.get<std::string>("run");
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("2 times (first, second)"), std::string::npos) << error.what();
  }
}

TEST_F(OptionsTest, WrongTypeOrNameInTheProgramIsAnError) {
  const Options options = make();
  EXPECT_THROW(options.get<double>("batch"), ConfigError);
  EXPECT_THROW(options.get<bool>("resum"), ConfigError);
}

TEST_F(OptionsTest, NamesOfOtherProgramsAreToldTheirs) {
  Options options("train", "Trains.");
  options.declare(
      {{.name = "learning-rate", .default_value = 5e-3, .help = "peak", .other_names = {"lr"}},
       {.name = "batch", .default_value = std::int64_t{1}, .help = "n", .other_names = {"batch-size"}}});
  const auto told = [&](Texts words) {
    Options fresh = options;
    try {
      parse(fresh, std::move(words));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(told({"--lr", "0.1"}).find("did you mean '--learning-rate'?"), std::string::npos);
  EXPECT_NE(told({"--batch_size=3"}).find("did you mean '--batch'?"), std::string::npos);
  EXPECT_NE(told({"--config", write_file("lr = 0.1\n")}).find("did you mean 'learning-rate'?"),
            std::string::npos);
  EXPECT_EQ(told({"--zzz", "1"}).find("did you mean"), std::string::npos);
}

TEST_F(OptionsTest, RemembersWhereAValueCameFrom) {
  ::setenv("BUNCHTRAIN_BATCH", "8", 1);
  const std::string file = write_file("\nprecision = \"bfloat16\"\n");
  Options options = make();
  parse(options, {"--learning-rate", "0.5", "--config", file});
  ::unsetenv("BUNCHTRAIN_BATCH");
  EXPECT_EQ(options.origin("batch"), "environment variable BUNCHTRAIN_BATCH");
  EXPECT_EQ(options.origin("precision"), file + " line 2");
  EXPECT_EQ(options.origin("learning-rate"), "--learning-rate");
  EXPECT_EQ(options.origin("resume"), "default");
  EXPECT_EQ(options.text("learning-rate"), "0.5");
}

TEST_F(OptionsTest, GivenOptionsThatNobodyAsksForAreKnown) {
  const std::string file = write_file("batch = 16\nprecision = \"float32\"\n");
  Options options = make();
  parse(options, {"--learning-rate", "0.005", "--resume", "--config", file});
  // A file may repeat defaults (--print-config writes such files); a flag is meant as it stands.
  EXPECT_EQ(options.unused(), (Texts{"batch", "learning-rate", "resume"}));
  EXPECT_TRUE(options.get<bool>("resume"));
  options.get<std::int64_t>("batch");
  EXPECT_EQ(options.unused(), (Texts{"learning-rate"}));
  EXPECT_TRUE(options.used("batch"));
}

TEST_F(OptionsTest, AVariableThatIsNearlyAnOptionIsNoticed) {
  ::setenv("BUNCHTRAIN_BACTH", "8", 1);
  ::setenv("BUNCHTRAIN_SOMETHING_ELSE", "8", 1);
  Options options = make();
  parse(options, {});
  ::unsetenv("BUNCHTRAIN_BACTH");
  ::unsetenv("BUNCHTRAIN_SOMETHING_ELSE");
  ASSERT_EQ(options.notices().size(), 1U);
  EXPECT_EQ(options.notices().front(),
            "environment variable BUNCHTRAIN_BACTH belongs to no option; did you mean 'batch'?");
}

TEST_F(OptionsTest, EffectiveValuesAreShownAndFedBack) {
  Options options = make();
  parse(options, {"--learning-rate", "0.5"});
  options.set_effective("batch", std::int64_t{512});
  options.set_effective("learning-rate", 0.5);
  options.leave_out("precision", "not used by this run");
  EXPECT_EQ(options.source("batch"), OptionSource::program);
  EXPECT_EQ(options.source("learning-rate"), OptionSource::flag);
  const std::string printed = options.to_toml();
  EXPECT_NE(printed.find("# samples per step (set by the program)\nbatch = 512\n"), std::string::npos)
      << printed;
  EXPECT_NE(printed.find("# precision = \"float32\"  (not used by this run)\n"), std::string::npos)
      << printed;
  Options again = make();
  parse(again, {"--config", write_file(printed)});
  EXPECT_EQ(again.get<std::int64_t>("batch"), 512);
  EXPECT_FALSE(again.given("precision"));
}

TEST_F(OptionsTest, WhatAProgramPresetsIsNoRequestOfTheUser) {
  Options options = make();
  options.declare(OptionSpec{.name = "plain", .default_value = 1.0, .help = {}});
  options.preset("batch", std::int64_t{512});
  options.preset("plain", 2.0);
  EXPECT_EQ(options.source("batch"), OptionSource::program);
  EXPECT_EQ(options.origin("batch"), "set by the program");
  EXPECT_EQ(options.unused(), Texts{});
  EXPECT_FALSE(options.used("batch"));
  options.use("batch");
  EXPECT_TRUE(options.used("batch"));
  EXPECT_EQ(options.get<std::int64_t>("batch"), 512);
  EXPECT_NE(options.to_toml().find("\n\n# (set by the program)\nplain = 2.0\n"), std::string::npos)
      << options.to_toml();
  EXPECT_THROW(options.preset("batch", 0.5), Error);
}

TEST_F(OptionsTest, WhatAnAutomaticValueMeansIsRecordedAndReadBackTheSame) {
  Options options = make();
  parse(options, {"--learning-rate", "0.5"});
  options.resolve("precision", std::string("bfloat16"), "auto");
  EXPECT_EQ(options.get<std::string>("precision"), "bfloat16");
  EXPECT_EQ(options.origin("precision"), "auto");
  EXPECT_EQ(options.source("precision"), OptionSource::default_value);
  Options again = make();
  parse(again, {"--config", write_file(options.to_toml())});
  EXPECT_EQ(again.to_toml(), options.to_toml());
}

TEST_F(OptionsTest, AProgramThatDeclaresANameTwiceIsTold) {
  Options options = make();
  try {
    options.declare({"batch", std::int64_t{1}, "again"});
    FAIL() << "declared twice";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "option 'batch' is declared twice");
  }
}

TEST_F(OptionsTest, ConfigWithoutAFileNamesWhatItNeeds) {
  EXPECT_NE(error_of({"--config"}).find("--config needs the name of a TOML file"), std::string::npos);
}

}  // namespace
}  // namespace bunchtrain::config
