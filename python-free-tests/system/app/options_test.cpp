// SPDX-License-Identifier: Apache-2.0
// The configuration reference says what the programs offer, and no program offers what does nothing in it.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Program {
  std::string title, command;
};

class OptionsTest : public UserSession {
 protected:
  static std::vector<Program> programs() {
    std::vector<Program> all;
    for (const char* name : {"train_particlenet", "train_3dgan", "train_calo_diffusion"})
      all.push_back({name, example(name, "--help")});
    for (const char* name :
         {"evaluate", "generate jets", "generate gflash", "generate showers", "validate showers", "export",
          "score", "models list", "models show", "models add", "models verify", "inspect", "repack",
          "bench infer", "bench io", "plan", "report", "info"})
      all.push_back({std::string("bunchtrain ") + name, tool(std::string(name) + " --help")});
    return all;
  }
  static std::string help_of(const std::string& title) {
    for (const auto& program : programs())
      if (program.title == title) return run(program.command).output;
    return "no such program";
  }
};

TEST_F(OptionsTest, TheReferenceIsWhatTheProgramsSay) {
  std::string expected =
      "# Options\n\nWhat the programs say with `--help`, made by the test `app.options`: "
      "`BUNCHTRAIN_WRITE_OPTIONS=1 ctest -R app.options` writes this page anew. "
      "Where values come from is told in [concepts](concepts.md).\n";
  for (const auto& [title, command] : programs()) {
    const Finished help = run(command);
    ASSERT_EQ(help.exit_code, 0) << help.output;
    expected += "\n## " + title + "\n\n```text\n" + help.output + "```\n";
  }
  const std::filesystem::path page = std::filesystem::path(BUNCHTRAIN_SOURCE) / "docs" / "options.md";
  if (std::getenv("BUNCHTRAIN_WRITE_OPTIONS")) std::ofstream(page) << expected;
  EXPECT_EQ(read_file(page), expected) << "docs/options.md is stale: see its first lines";
}

TEST_F(OptionsTest, ProgramsOfferWhatHasAnEffectInThem) {
  const std::string gan = help_of("train_3dgan"), jets = help_of("train_particlenet"),
                    evaluate = help_of("bunchtrain evaluate");
  for (const char* name : {"--particles ", "--classes ", "--valid-weights ", "--accumulate ", "--clip-norm ",
                           "--check-finite "}) {
    EXPECT_THAT(jets, HasSubstr(name));
    EXPECT_THAT(gan, Not(HasSubstr(name)));
  }
  for (const char* name : {"--epochs ", "--optimizer ", "--resume ", "--seed ", "--mesh ", "--evaluate "})
    EXPECT_THAT(evaluate, Not(HasSubstr(name)));
  for (const char* name : {"--data ", "--batch ", "--device ", "--checkpoint "})
    EXPECT_THAT(evaluate, HasSubstr(name));

  const Finished refused = run(example("train_3dgan", "--clip-norm 1"));
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.output, HasSubstr("--clip-norm"));
}

}  // namespace
}  // namespace bunchtrain::test
