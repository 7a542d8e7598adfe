// SPDX-License-Identifier: Apache-2.0
/// No option that writes replaces what is read, or what others wrote; and the command line's own help.
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

namespace fs = std::filesystem;

class OutputsTest : public UserSession {
 protected:
  /// `command` is refused with 78, says all of `parts` and leaves the files as they are.
  void expect_refused(const std::string& command, const std::vector<std::string>& parts,
                      const std::vector<std::string>& untouched) const {
    std::vector<std::string> before;
    for (const auto& file : untouched) before.push_back(read_file(file));
    const Finished done = run(command);
    EXPECT_EQ(done.exit_code, 78) << command << "\n" << done.output;
    for (const auto& part : parts)
      EXPECT_NE(done.output.find(part), std::string::npos) << command << "\nlacks '" << part << "':\n"
                                                           << done.output;
    for (std::size_t i = 0; i < untouched.size(); ++i)
      EXPECT_EQ(read_file(untouched[i]), before[i]) << untouched[i] << " was replaced by " << command;
  }
  void expect_done(const std::string& command) const {
    const Finished done = run(command);
    EXPECT_EQ(done.exit_code, 0) << command << "\n" << done.output;
  }
  /// All the names under which a file can be reached.
  std::vector<std::string> names_of(const std::string& file) const {
    for (const char* link : {"symbolic", "hard", "chain"}) fs::remove(path(link));
    fs::create_symlink(file, path("symbolic"));
    fs::create_symlink("symbolic", path("chain"));
    fs::create_hard_link(file, path("hard"));
    fs::create_directories(path("sub"));
    return {file, path("symbolic"), path("chain"), path("hard"),
            path("sub/../" + fs::path(file).filename().string())};
  }
  std::string make_showers(const std::string& name, int seed = 1) const {
    expect_done(tool("generate gflash --count 40 --seed " + std::to_string(seed) + " --out " + path(name)));
    return path(name);
  }
};

TEST_F(OutputsTest, EvaluateNeverReplacesItsDataOrItsRun) {
  const std::string jets = make_jets("toy.h5", 400), notes = path("notes.h5"), twin = path("other.json");
  expect_done(train("--particles 24 --epochs 1 --data " + jets + " --run " + path("run")));
  std::ofstream(notes) << "mine";
  std::ofstream(twin) << "mine";
  const std::string evaluate = tool("evaluate " + path("run") + " --data " + jets);
  for (const auto& name : names_of(jets))
    expect_refused(evaluate + " --force --output " + name, {"would replace", "toy.h5"}, {jets});
  const std::string weights = (latest("run") / "model.safetensors").string();
  expect_refused(evaluate + " --force --output " + weights, {"would replace"}, {weights});
  expect_refused(evaluate + " --force --output " + path("run/run.json"), {"run.json"},
                 {path("run/run.json")});
  expect_refused(evaluate + " --output " + notes, {"notes.h5", "--force"}, {notes});
  expect_refused(evaluate + " --output " + path("other.h5"), {"other.json", "results"}, {twin});
  expect_refused(evaluate + " --page " + twin, {"other.json", "--page"}, {twin});
  expect_refused(evaluate + " --page " + path("run/report.html"), {"--page", "report.html", "--force"},
                 {path("run/report.html")});
  expect_refused(evaluate + " --force --page " + path("run/scores.h5"), {"another name"}, {});
  expect_refused(evaluate + " --output " + path("scores.json"), {".json"}, {});
  expect_refused(evaluate + " --output " + path("sub"), {"is a folder"}, {});
  EXPECT_FALSE(fs::exists(path("other.h5")));
  expect_done(evaluate);
  expect_done(evaluate);  // its own scores of before
  expect_done(evaluate + " --force --output " + notes);
}

TEST_F(OutputsTest, GeneratorsReplaceOnlyWhatTheyWrote) {
  const std::string jets = make_jets("toy.h5", 50), showers = make_showers("showers.h5");
  std::ofstream(path("mine.h5")) << "mine";
  for (const std::string what : {"jets", "gflash"}) {
    const std::string generate = tool("generate " + what + " --count 30 --out ");
    expect_refused(generate + path("mine.h5"), {"--out", "mine.h5", "--force"}, {path("mine.h5")});
    expect_refused(generate + (what == "jets" ? showers : jets), {"--force"}, {jets, showers});
    expect_done(generate + (what == "jets" ? jets : showers));
    expect_refused(generate + path("run_folder/../mine.h5"), {}, {path("mine.h5")});
    expect_refused(tool("generate " + what), {"--out"}, {});
  }
  expect_done(tool("generate jets --count 10 --force --out " + path("mine.h5")));
}

TEST_F(OutputsTest, ValidationNeverReplacesAnySample) {
  const std::string good = make_showers("good.h5"), other = make_showers("other.h5", 2);
  std::ofstream(path("mine.txt")) << "mine";
  const std::string validate = tool("validate showers --reference " + good + " --candidate " + other);
  for (const std::string option : {" --json ", " --html "}) {
    for (const auto& sample : {good, other})
      for (const auto& name : names_of(sample))
        expect_refused(validate + " --force" + option + name, {"would replace"}, {good, other});
    expect_refused(validate + option + path("mine.txt"), {"mine.txt", "--force"}, {path("mine.txt")});
    expect_done(validate + option + path("result"));
    expect_done(validate + option + path("result"));
    fs::remove(path("result"));
  }
  expect_refused(validate + " --json " + path("same") + " --html " + path("same"), {"html", "--json"}, {});
  expect_refused(
      tool("validate showers --reference '" + path("go*.h5") + "' --candidate " + other + " --json " + good),
      {"would replace"}, {good});
}

TEST_F(OutputsTest, ARunInAFolderOfOthersFilesIsRefused) {
  const std::string jets = make_jets("toy.h5", 60);
  fs::create_directories(path("work"));
  std::ofstream(path("work/card.toml")) << "card = 1\n";
  expect_refused(train("--epochs 1 --data " + jets + " --run " + path("work")), {"card.toml", "--run"},
                 {path("work/card.toml")});
  std::ofstream(path("work/run.json")) << R"({"name": "r"})";
  std::ofstream(path("work/report.html")) << "mine";
  expect_refused(tool("report " + path("work")), {"report.html", "--force"}, {path("work/report.html")});
}

TEST_F(OutputsTest, FilesThatTrainAndValidateAreRefused) {
  const std::string jets = make_jets("toy.h5", 60), other = make_jets("other.h5", 60, 9);
  fs::copy_file(jets, path("copy.h5"));
  auto names = names_of(jets);
  names.push_back(path("copy.h5"));
  for (const auto& name : names)
    expect_refused(
        train("--epochs 1 --data " + other + " " + jets + " --valid " + name + " --run " + path("run")),
        {"both trained and validated on", "toy.h5"}, {});
  expect_refused(train("--epochs 1 --data " + jets + " " + path("copy.h5") + " --run " + path("run")),
                 {"is a copy of", "copy.h5"}, {});
  EXPECT_FALSE(fs::exists(path("run"))) << "a refused run left a trace";
  const std::string showers = make_showers("showers.h5");
  expect_refused(example("train_3dgan",
                         "--epochs 1 --data " + showers + " --valid " + showers + " --run " + path("gan")),
                 {"both trained and validated on", "showers.h5"}, {});
}

TEST_F(OutputsTest, HelpIsThereUnderEveryName) {
  for (const char* words : {"", "help", "--help", "-h"}) {
    const Finished done = run(tool(words));
    EXPECT_EQ(done.exit_code, 0) << words;
    for (const char* command : {"generate jets", "evaluate", "validate showers"})
      EXPECT_NE(done.output.find(command), std::string::npos) << words << "\n" << done.output;
  }
  for (const char* words : {"help evaluate", "evaluate --help", "help generate jets", "generate jets --help",
                            "generate --help", "help generate", "help inspect", "help validate showers"}) {
    const Finished done = run(tool(words));
    EXPECT_EQ(done.exit_code, 0) << words << "\n" << done.output;
    EXPECT_NE(done.output.find("Usage: bunchtrain"), std::string::npos) << words << "\n" << done.output;
    EXPECT_EQ(done.output.find("error:"), std::string::npos) << words << "\n" << done.output;
  }
  EXPECT_NE(run(tool("generate --help")).output.find("generate gflash"), std::string::npos);
  EXPECT_EQ(run(tool("generate --help")).output.find("inspect"), std::string::npos);
}

TEST_F(OutputsTest, HalfACommandSaysWhatThereIs) {
  expect_refused(tool("generate"), {"generate jets", "generate showers"}, {});
  expect_refused(tool("generate jet"), {"did you mean 'generate jets'?"}, {});
  expect_refused(tool("validate"), {"validate showers"}, {});
  expect_refused(tool("evalute"), {"did you mean 'evaluate'?"}, {});
  expect_refused(tool("reprot x"), {"did you mean 'report'?"}, {});
  const Finished doubled = run(tool("inspect --write-card"));
  EXPECT_EQ(doubled.exit_code, 78);
  EXPECT_EQ(doubled.output.find("error: bunchtrain"), std::string::npos) << doubled.output;
}

TEST_F(OutputsTest, HelpListsOnlyWhatACommandTakes) {
  const std::string help = run(tool("evaluate --help")).output;
  for (const char* there :
       {"[--]run", "--data", "--split", "--checkpoint", "--output", "--force", "--batch", "--device"})
    EXPECT_NE(help.find(there), std::string::npos) << there;
  for (const char* not_there :
       {"--epochs", "--learning-rate", "--valid ", "--optimizer", "train on", "--evaluate", "--resume"})
    EXPECT_EQ(help.find(not_there), std::string::npos) << not_there << "\n" << help;
  expect_refused(tool("evaluate runs/x --epochs 3"), {"unknown option '--epochs'"}, {});
  const std::string gan = run(example("train_3dgan", "--help")).output;
  for (const char* not_there : {"--particles", "--classes"})
    EXPECT_EQ(gan.find(not_there), std::string::npos) << gan;
}

}  // namespace
}  // namespace bunchtrain::test
