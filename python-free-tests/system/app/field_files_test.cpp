// SPDX-License-Identifier: Apache-2.0
/// Files as ATLAS' preprocessing and SPANet write them, and those of public bug
/// reports, from the data folder.
#include <gmock/gmock.h>
#include <hdf5.h>

#include <fstream>

#include "scores.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FieldFilesTest : public UserSession {
 protected:
  static std::string data(const std::string& name) { return std::string(BUNCHTRAIN_TEST_DATA "/") + name; }
  static std::string output_of(const std::string& command) {
    const Finished done = run(command);
    EXPECT_EQ(done.exit_code, 0) << command << "\n" << done.output;
    return done.output;
  }
  std::string train_on(const std::string& words, const std::string& name = "run") const {
    return output_of(train("--epochs 1 --batch 512 --run " + path(name) + " " + words));
  }
  /// Drafts a card for the file and trains with it.
  void draft_and_train(const std::string& file, const std::string& words = "") const {
    const std::string stem = std::filesystem::path(file).stem().string();
    const std::string card = path(stem + ".toml");
    output_of(tool("inspect " + file + " --write-card " + card));
    EXPECT_THAT(output_of(train("--epochs 1 --batch 30 --valid-fraction 0.3 --run " + path(stem) +
                                " --card " + card + " " + (words.empty() ? "--data " + file : words))),
                HasSubstr("epoch"))
        << read_file(card);
  }
};

TEST_F(FieldFilesTest, UppFilesAreRecognisedTrainedAndEvaluated) {
  const std::string file = data("jets/upp_like_jets.h5");
  EXPECT_THAT(train_on("--data " + file),
              AllOf(HasSubstr("recognised as card upp"), HasSubstr("5 bjets, 4 cjets, 0 ujets, 15 taujets")));
  EXPECT_THAT(output_of(tool("evaluate --run " + path("run") + " --data " + file)),
              AllOf(HasSubstr("bjets"), HasSubstr("AUC")));
}

TEST_F(FieldFilesTest, CmsJetsGiveFlavourAndEnergy) {
  const std::string few = path("few.toml");  // some hundred of them
  std::string card = read_file(std::string(BUNCHTRAIN_SOURCE) + "/share/bunchtrain/cards/cms_btag.toml");
  const std::string selection = "abs(jet.eta) < 2.4";
  card.replace(card.find(selection), selection.size(), "abs(jet.eta) < 0.5");
  std::ofstream(few) << card;
  const std::string file = data("jets/cms_ttbar_ak4_jets.h5");
  output_of(mpirun(2, train("--epochs 4 --batch 64 --learning-rate 0.01 --head energy:huber --data " + file +
                            " --card " + few + " --run " + path("run"))));
  for (const std::string page : {"report.html", "evaluation.html"}) {
    if (page == "evaluation.html") {
      EXPECT_THAT(output_of(tool("evaluate --run " + path("run") + " --split valid")),
                  AllOf(HasSubstr("AUC"), HasSubstr("energy: Regression")));
    }
    EXPECT_THAT(read_file(folder_ / "run" / page),
                AllOf(HasSubstr("Confusion matrix"), HasSubstr("energy: Regression"), HasSubstr("GeV")));
  }
  const std::string scores = path("run/scores.h5");
  expect_learned(read_member<double>(scores, "energy", H5T_NATIVE_DOUBLE),
                 read_member<double>(scores, "target_energy", H5T_NATIVE_DOUBLE));
}

TEST_F(FieldFilesTest, SpanetFilesAreRecognisedTrainedAndEvaluatedAlsoWithoutLabels) {
  const std::string file = data("jets/spanet_like_jets.h5");
  EXPECT_THAT(train_on("--data " + file),
              AllOf(HasSubstr("recognised as card spanet"), HasSubstr("0 uds, 1 g, 2 c, 3 b")));
  EXPECT_THAT(output_of(tool("evaluate --run " + path("run") + " --data " + file)), HasSubstr("AUC"));
  const std::string unlabelled = path("unlabelled.h5");
  std::filesystem::copy_file(file, unlabelled);
  std::filesystem::permissions(unlabelled, std::filesystem::perms::owner_all);
  const hid_t opened = H5Fopen(unlabelled.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(H5Ldelete(opened, "CLASSIFICATIONS", H5P_DEFAULT), 0);
  H5Fclose(opened);
  EXPECT_THAT(output_of(tool("evaluate --run " + path("run") + " --data " + unlabelled)),
              HasSubstr("scores"));
}

TEST_F(FieldFilesTest, InspectKnowsThem) {
  const std::string upp = output_of(tool("inspect " + data("jets/upp_like_jets.h5")));
  EXPECT_THAT(upp, AllOf(HasSubstr("card upp fits"), HasSubstr("(17 members)"),
                         HasSubstr("HadronConeExclTruthLabelPt"), HasSubstr("57 % NaN"),
                         HasSubstr("IP3D_signed_d0_significance")));
  EXPECT_THAT(output_of(tool("inspect " + data("jets/spanet_like_jets.h5"))),
              AllOf(HasSubstr("card spanet fits"), HasSubstr("INPUTS/Particles/MASK")));
}

TEST_F(FieldFilesTest, DraftsForTheFilesOfBugReportsTrain) {
  draft_and_train(data("trouble/one_dataset_per_feature.h5"));
  draft_and_train(data("trouble/table_of_another_key.h5"));
  draft_and_train(data("trouble/atlas_lzf.h5"));
}

TEST_F(FieldFilesTest, JetNetAsPublishedTrainsWithTheWordsOfTheRefusal) {
  const std::string folder = data("trouble/jetnet_unlabelled/");
  const Finished refused = run(train("--epochs 1 --run " + path("none") + " --data '" + folder + "*.h5'"));
  EXPECT_EQ(refused.exit_code, 78);
  const std::string words = "--data g=" + folder + "g.h5 --data t=" + folder + "t.h5";
  ASSERT_THAT(refused.output, HasSubstr(words));
  EXPECT_THAT(train_on(words + " --valid-fraction 0.3"), HasSubstr("epoch"));

  EXPECT_THAT(output_of(tool("evaluate " + path("run") + " --split valid")),
              AllOf(HasSubstr("labelled samples"), HasSubstr("AUC")))
      << "the run remembers the classes of its files";
  const Finished swapped =
      run(train("--resume --epochs 1 --batch 512 --valid-fraction 0.3 --run " + path("run") +
                " --data t=" + folder + "g.h5 --data g=" + folder + "t.h5"));
  EXPECT_EQ(swapped.exit_code, 78);
  EXPECT_THAT(swapped.output, AllOf(HasSubstr("(g=" + folder + "g.h5, t=" + folder + "t.h5)"),
                                    HasSubstr("(t=" + folder + "g.h5, g=" + folder + "t.h5)")));
}

TEST_F(FieldFilesTest, AbsoluteNamesInACardAreThoseOfTheFile) {
  EXPECT_THAT(train_on("--valid-fraction 0.3 --data " + data("trouble/jets90.h5") + " --card " +
                       data("trouble/absolute_names.toml")),
              HasSubstr("epoch"));
}

}  // namespace
}  // namespace bunchtrain::test
