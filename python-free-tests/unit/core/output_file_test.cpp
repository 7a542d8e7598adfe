// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/output_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

namespace fs = std::filesystem;

class OutputFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "sub");
    write("jets.h5", "what is read");
    write("notes.txt", "somebody's");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  std::string refusal(const OutputFile& output) const {
    try {
      require_writable_output(output);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("output_file_" + std::to_string(getpid()));
};

TEST_F(OutputFileTest, AnInputIsNeverReplacedUnderAnyName) {
  const fs::path input = folder_ / "jets.h5";
  fs::create_symlink(input, folder_ / "symbolic.h5");
  fs::create_symlink("symbolic.h5", folder_ / "chain.h5");
  fs::create_hard_link(input, folder_ / "hard.h5");
  fs::create_directory_symlink(folder_, folder_ / "sub" / "here");
  for (const fs::path& name :
       {input, folder_ / "sub" / ".." / "jets.h5", folder_ / "symbolic.h5", folder_ / "chain.h5",
        folder_ / "hard.h5", folder_ / "sub" / "here" / "jets.h5", fs::relative(input)}) {
    const std::string said = refusal({.path = name, .option = "output", .inputs = {input}, .force = true});
    EXPECT_NE(said.find("would replace " + input.string()), std::string::npos) << name << ": " << said;
    EXPECT_TRUE(said.starts_with("output ")) << said;
  }
  // The other way round: the input is named by a link.
  EXPECT_NE(refusal({.path = input, .inputs = {folder_ / "chain.h5"}, .force = true}), "");
}

TEST_F(OutputFileTest, AFolderThatIsReadStandsForItsFiles) {
  write("sub/model.safetensors", "weights");
  EXPECT_NE(
      refusal({.path = folder_ / "sub" / "model.safetensors", .inputs = {folder_ / "sub"}, .force = true}),
      "");
  EXPECT_EQ(refusal({.path = folder_ / "sub" / "new.h5", .inputs = {folder_ / "sub"}}), "");
}

TEST_F(OutputFileTest, AForeignFileNeedsForce) {
  const OutputFile output{.path = folder_ / "notes.txt", .option = "json", .inputs = {folder_ / "jets.h5"}};
  EXPECT_NE(refusal(output).find("by force"), std::string::npos);
  OutputFile forced = output;
  forced.force = true;
  EXPECT_EQ(refusal(forced), "");
  OutputFile own = output;
  own.is_own = [](const fs::path& path) { return begins_with_mark(path, "somebody"); };
  EXPECT_EQ(refusal(own), "");
}

TEST_F(OutputFileTest, NewNamesAndDanglingLinksAreFree) {
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling");
  EXPECT_EQ(refusal({.path = folder_ / "new.h5", .inputs = {folder_ / "jets.h5"}}), "");
  EXPECT_EQ(refusal({.path = folder_ / "dangling", .inputs = {folder_ / "jets.h5"}}), "");
}

TEST_F(OutputFileTest, FoldersAndDevicesAreNoFiles) {
  EXPECT_NE(refusal({.path = "/dev/null", .force = true}).find("no ordinary file"), std::string::npos);
  EXPECT_NE(refusal({.path = folder_ / "sub", .force = true}).find("is a folder"), std::string::npos);
}

}  // namespace
}  // namespace bunchtrain
