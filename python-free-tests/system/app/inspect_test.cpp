// SPDX-License-Identifier: Apache-2.0
/// `bunchtrain inspect`: what a user reads about a file, and that what it advises and
/// writes works as printed.
#include <gmock/gmock.h>

#include <functional>
#include <regex>

#include "layouts.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class InspectTest : public UserSession {
 protected:
  std::string write(const std::string& name, const std::function<void(LayoutWriter&)>& content) const {
    LayoutWriter writer(path(name));
    content(writer);
    return path(name);
  }
  /// The output of a command that must succeed.
  static std::string output_of(const std::string& command) {
    const Finished done = run(command);
    EXPECT_EQ(done.exit_code, 0) << command << "\n" << done.output;
    return done.output;
  }
  static std::string output_of_failure(const std::string& command) {
    const Finished done = run(command);
    EXPECT_EQ(done.exit_code, 78) << command << "\n" << done.output;
    return done.output;
  }
  static std::string on_one_line(const std::string& text) {
    return std::regex_replace(text, std::regex("\\s+"), " ");
  }
  /// What of `text` the pattern finds, from the first group on; fails the test if nothing.
  static std::string found(const std::string& text, const std::string& pattern) {
    std::smatch match;
    if (std::regex_search(text, match, std::regex(pattern))) return match[1];
    ADD_FAILURE() << "no " << pattern << " in\n" << text;
    return "";
  }
  std::string trained(const std::string& words) {
    const std::string run_name = path("run" + std::to_string(++runs_));
    return output_of(train("--epochs 1 --batch 60 --valid-fraction 0.3 --run " + run_name + " " + words));
  }
  /// Drafts a card as advised and trains with it.
  void draft_and_train(const std::string& file, const std::string& more = "") {
    const std::string card = path("draft" + std::to_string(runs_) + ".toml");
    const std::string said = output_of(tool("inspect " + file + " --write-card " + card));
    EXPECT_THAT(said, HasSubstr("train_particlenet")) << read_file(card);
    EXPECT_THAT(trained("--data " + (more.empty() ? file : more) + " --card " + card), HasSubstr("epoch"))
        << read_file(card);
  }

  int runs_ = 0;
};

TEST_F(InspectTest, ListsMembersRangesAndShareOfNaNInSixtyColumns) {
  const std::string file = write("upp.h5", [](auto& w) {
    w.write_compounds(true);
    w.write("weights", {kJets}, std::vector<float>(kJets, 2.5F));
  });
  const std::string said = output_of(tool("inspect " + file));
  EXPECT_THAT(said, AllOf(HasSubstr("tracks:v2 [120, 12] compound (5 members)"), HasSubstr("pt [GeV]"),
                          HasSubstr("1 to 23"), HasSubstr("12 % NaN"), HasSubstr("valid"), HasSubstr("int8"),
                          HasSubstr("flavour_label int32   0 to 2"), HasSubstr("2.5 to 2.5"),
                          HasSubstr("rows: 120")));
  EXPECT_THAT(said, AllOf(HasSubstr("no built-in card fits"), HasSubstr("--write-card")));
  std::istringstream lines(said.substr(said.find('\n') + 1));  // the first is the path
  for (std::string line; std::getline(lines, line);) {
    const bool has_path = line.find('/') != std::string::npos;
    EXPECT_TRUE(has_path || line.size() <= 60) << line;
  }
}

TEST_F(InspectTest, IndexesOfPyTablesAreLeftOutAndCounted) {
  const std::string file = write("indexed.h5", [](auto& w) {
    w.write("df/block0_values", {kJets, 804}, LayoutWriter::top_tagging_rows());
    w.write("df/_i_table/index/sorted", {4}, std::vector<float>(4));
    w.write("_i_other/index/bounds", {4}, std::vector<float>(4));
  });
  const std::string said = output_of(tool("inspect " + file));
  EXPECT_THAT(said,
              AllOf(HasSubstr("df/block0_values"), Not(HasSubstr("df/_i_table")), Not(HasSubstr("bounds")),
                    HasSubstr("left out: 2 datasets of PyTables'"), HasSubstr("rows: 120")));
}

TEST_F(InspectTest, NamesTheCardThatFitsAndItsClasses) {
  const std::string said = on_one_line(output_of(tool("inspect " + make_jets("toy.h5", 50))));
  EXPECT_THAT(said, AllOf(HasSubstr("card toy_jets fits (jet.kind: 0 qcd, 1 two_prong, 2 three_prong)"),
                          HasSubstr("50 of 50 jets"), HasSubstr("two_prong"), HasSubstr("pread")));
}

TEST_F(InspectTest, NamesTheNearestCardAndWhatItLacks) {
  const std::string file = write("part.h5", [](auto& w) {
    w.write("X", {10, 5, 3}, std::vector<float>(150, 1.F));
  });
  EXPECT_THAT(output_of(tool("inspect " + file)), HasSubstr("no built-in card fits"));
  const std::string jets = write("jets.h5", [](auto& w) {
    w.write("jet_features", {3, 4}, std::vector<float>(12));
  });
  const std::string said = on_one_line(output_of(tool("inspect " + jets)));
  EXPECT_THAT(said, AllOf(HasSubstr("has jet_features, but"), HasSubstr("particle_features is missing")));
}

TEST_F(InspectTest, WritesTheCardUnderTheNameOfTheFile) {
  const std::string file = write("odd jets.h5", [](auto& w) { w.write_compounds(true); });
  const Finished done =
      run("bash -c \"cd '" + folder_.string() + "' && " + tool("inspect 'odd jets.h5' --write-card") + "\"");
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_TRUE(std::filesystem::exists(path("odd jets.toml"))) << done.output;
  EXPECT_THAT(done.output, HasSubstr("--data 'odd jets.h5' --card 'odd jets.toml'"));
  const std::string again =
      output_of_failure(tool("inspect '" + file + "' --write-card '" + path("odd jets.toml") + "'"));
  EXPECT_THAT(again, HasSubstr("nothing is overwritten"));
}

TEST_F(InspectTest, ErrorsNameTheFileAndTheProgramOnce) {
  const std::string file = write("flat.h5", [](auto& w) { w.write_labels("y"); });
  const std::string card = path("my_card.toml");
  const std::string said = output_of_failure(tool("inspect " + file + " --write-card " + card));
  EXPECT_THAT(said, AllOf(HasSubstr("flat.h5: holds neither particles"), Not(HasSubstr("my_card: "))));
  const std::string swallowed = output_of_failure(tool("inspect --write-card " + file));
  EXPECT_THAT(swallowed, HasSubstr("bunchtrain inspect " + file + " --write-card"));
  const std::string unknown = output_of_failure(tool("inspect --card "));
  EXPECT_THAT(unknown, Not(HasSubstr("bunchtrain inspect: error: bunchtrain inspect")));
  EXPECT_THAT(output_of(tool("inspect " + make_jets("toy.h5", 20) + " --hdf5-plugins")),
              HasSubstr("toy_jets"));
}

TEST_F(InspectTest, DraftsThatTrain) {
  draft_and_train(write("compounds.h5", [](auto& w) { w.write_compounds(true); }));
  draft_and_train(write("features.h5", [](auto& w) {
    w.write_mask("INPUTS/Source/MASK");
    w.write_feature("INPUTS/Source/pt", 0);
    w.write_feature("INPUTS/Source/deta", 1);
    w.write_feature("INPUTS/Source/dphi", 2);
    w.write_labels("CLASSIFICATIONS/EVENT/signal");
  }));
  draft_and_train(write("table.h5", [](auto& w) { w.write_table("df/table"); }));
  draft_and_train(write("fixed.h5", [](auto& w) {
    w.write("df/block0_values", {kJets, 804}, LayoutWriter::top_tagging_rows());
    std::vector<std::int32_t> flags;
    for (hsize_t row = 0; row < kJets; ++row)
      flags.insert(flags.end(), {0, static_cast<std::int32_t>(row % 2)});
    w.write("df/block1_values", {kJets, 2}, flags);
  }));
  draft_and_train(write("flat.h5", [](auto& w) {
    std::vector<float> rows;
    for (hsize_t row = 0; row < kJets; ++row)
      for (hsize_t slot = 0; slot < kSlots; ++slot)
        for (int which = 0; which < 4; ++which) rows.push_back(LayoutWriter::feature(row, slot, which));
    w.write("X", {kJets, kSlots * 4}, rows);
    w.write_labels("is_signal");
  }));
  draft_and_train(write("group.h5", [](auto& w) { w.write_jetnet("store/", true); }));
  draft_and_train(write("arrays.h5", [](auto& w) {
    std::vector<float> particles;
    for (hsize_t row = 0; row < kJets; ++row)
      for (hsize_t slot = 0; slot < kSlots; ++slot)
        for (int which = 0; which < 3; ++which) particles.push_back(LayoutWriter::feature(row, slot, which));
    w.write("constituents", {kJets, kSlots, 3}, particles);
    w.write_labels("labels", 3);
  }));
}

TEST_F(InspectTest, ADraftWithoutLabelsTrainsOnFilesOfOneClassEach) {
  const std::string a = write("a.h5", [](auto& w) { w.write_compounds(false); });
  const std::string b = write("b.h5", [](auto& w) { w.write_compounds(false, 7); });
  draft_and_train(a, "sig=" + a + " --data bkg=" + b);
}

TEST_F(InspectTest, ADraftOfShowersIsRead) {
  const std::string file = write("showers.h5", [](auto& w) {
    w.write("images", {20, 6, 5, 4}, std::vector<float>(20 * 120, 0.01F));
    w.write("energies", {20}, std::vector<float>(20, 10.F));
  });
  const std::string card = path("showers.toml");
  EXPECT_THAT(output_of(tool("inspect " + file + " --write-card " + card)), HasSubstr("train_3dgan"));
  EXPECT_THAT(output_of(tool("inspect " + file + " --card " + card)), HasSubstr("6 x 5 x 4 cells of images"));
}

TEST_F(InspectTest, ADraftOfHitsIsRead) {
  const std::string file = write("events.h5", [](auto& w) {
    w.write("rechits", {6, 2}, std::vector<float>(12, 0.5F));
    w.write("offsets", {4}, std::vector<std::int32_t>{0, 2, 2, 6});
  });
  const std::string card = path("events.toml");
  EXPECT_THAT(output_of(tool("inspect " + file + " --write-card " + card)), HasSubstr("bunchtrain inspect"));
  EXPECT_THAT(on_one_line(output_of(tool("inspect " + file + " --card " + card))),
              AllOf(HasSubstr("3 of 3 events (6 hits)"), HasSubstr("hits per event 0 to 4")));
}

/// JetNet as it is published: the printed words are what trains, evaluates and resumes.
TEST_F(InspectTest, FilesWithoutLabelsAreToldTheWordsThatTrain) {
  const std::string g = write("g.h5", [](auto& w) { w.write_jetnet("", false); });
  const std::string t = write("t30.h5", [](auto& w) { w.write_jetnet("", false, 7); });
  for (const std::string card : {"", " --card jetnet"}) {
    const std::string said =
        output_of_failure(train("--epochs 1 --data '" + folder_.string() + "/*.h5'" + card));
    EXPECT_THAT(said, Not(HasSubstr("It looks like")));
    const std::string words = found(said, "(--data g=[^ ]* --data t=[^ \n]*)");
    const std::string log = trained(words + card);
    EXPECT_THAT(log, AllOf(HasSubstr("g"), HasSubstr("t")));
  }
  const std::string run_folder = path("run1");
  EXPECT_THAT(read_file(run_folder + "/card.toml"), HasSubstr("of = \"file\""));
  const std::string scored = output_of(tool("evaluate --run " + run_folder + " --data g=" + g +
                                            " --data t=" + t + " --output " + path("s.h5")));
  EXPECT_THAT(scored, HasSubstr("AUC"));
  output_of(tool("evaluate --run " + run_folder + " --data " + g + " --output " + path("u.h5")));
  EXPECT_THAT(output_of_failure(
                  tool("evaluate --run " + run_folder + " --data w=" + g + " --output " + path("w.h5"))),
              HasSubstr("one of the classes g, t"));
}

TEST_F(InspectTest, ClassesTakeCommasAsTheMessagesPrintThem) {
  const std::string jets = make_jets("toy.h5", 120);
  const std::string words = "--particles 24 --data " + jets + " --classes ";
  const std::string said = output_of_failure(train("--epochs 1 " + words + "qcd"));
  const std::string order = found(said, "([a-z_]+,[a-z_]+,[a-z_]+)");
  EXPECT_EQ(order, "qcd,two_prong,three_prong");
  trained(words + order);
  trained(words + "three_prong qcd two_prong");
}

/// What the refusal of an ambiguous layout offers works.
TEST_F(InspectTest, WhereALargerCardNearlyFitsTheChoicesArePrinted) {
  const std::string file = write("cms.h5", [](auto& w) {
    w.write_jetnet("", true);
    w.write("particle_extra", {kJets, kSlots, 8}, std::vector<float>(kJets * kSlots * 8, 0.5F));
  });
  const std::string said = output_of_failure(train("--epochs 1 --data " + file));
  EXPECT_THAT(said, AllOf(HasSubstr("--card cms_btag"), HasSubstr("event_no is missing")));
  trained("--data " + file + " " + found(said, "say which is meant: (--card [a-z_]+)"));
}

TEST_F(InspectTest, SaysHowEachDatasetIsRead) {
  const std::string said = on_one_line(output_of(tool("inspect " + make_jets("toy.h5", 50) + " --io")));
  EXPECT_THAT(
      said, AllOf(HasSubstr("pread + own inflate"), HasSubstr("files: pread ("), HasSubstr("fit in memory")));
}

/// What `repack` prints is a training's `--data`, on every engine, and a damaged shard stops it before it begins.
TEST_F(InspectTest, RepackedJetsTrainAndDamagedOnesAreNamed) {
  const std::string jets = make_jets("toy.h5", 240), packed = path("packed");
  const std::string repack = "repack " + jets + " --out " + packed +
                             " --shards 3 --shuffle-rows 7 --filter deflate --chunk-rows 16 --card toy_jets";
  const std::string said = output_of(tool(repack));
  EXPECT_THAT(said,
              AllOf(HasSubstr("240 rows in 3 shards"), HasSubstr("--data " + packed + "/manifest.json")));
  EXPECT_THAT(output_of(tool(repack)), HasSubstr("3 shards were finished before"));
  for (const char* engine : {"auto", "hdf5"}) {
    trained("--particles 24 " + found(said, "(--data [^\n]*)") + " --io " + engine);
    EXPECT_THAT(read_file(path("run" + std::to_string(runs_)) + "/run.json"),
                HasSubstr(engine == std::string("hdf5") ? "H5Dread (asked for)" : "files: pread ("));
  }
  const std::string manifest = packed + "/manifest.json";
  EXPECT_THAT(output_of(tool("inspect " + manifest + " --io")), HasSubstr("shard-00002.h5"));
  EXPECT_THAT(output_of_failure(tool("repack " + manifest + " --out " + packed)),
              HasSubstr("holds no input"));
  EXPECT_THAT(output_of_failure(tool("repack " + jets + " --out " + packed)), HasSubstr("--force"));
  for (const char* wrong : {"--align 3x", "--memory 0", "--chunk-rows many", "--shuffle-rows -1",
                            "--shards 0", "--card nothing.toml"})
    EXPECT_NE(run(tool("repack " + jets + " --out " + path("other") + " " + wrong)).exit_code, 0) << wrong;
  std::filesystem::resize_file(packed + "/shard-00001.h5", 4096);
  EXPECT_EQ(run(train("--epochs 1 --data " + manifest)).exit_code, 78);
  std::filesystem::remove(packed + "/shard-00001.h5");
  EXPECT_THAT(run(train("--epochs 1 --data " + manifest)).output, HasSubstr("shard-00001.h5: is not there"));
}

TEST_F(InspectTest, SpeedsOfReadingAreATableAndAPicture) {
  const std::string jets = make_jets("toy.h5", 300), picture = path("io.svg");
  const std::string said =
      output_of(tool("bench io " + jets + " --threads 1,2 --cold --repeats 1 --out " + picture));
  EXPECT_THAT(said, AllOf(HasSubstr("cold"), HasSubstr("pread + own inflate"), HasSubstr("H5Dread by rows"),
                          HasSubstr("H5Dread by chunks"), HasSubstr("bound by")));
  EXPECT_THAT(read_file(picture), AllOf(HasSubstr("<svg"), HasSubstr("Threads")));
  EXPECT_THAT(run(tool("bench io " + jets + " --engines auto")).output, HasSubstr("all, or some of"));
  EXPECT_NE(run(tool("bench io")).exit_code, 0);
}

}  // namespace
}  // namespace bunchtrain::test
