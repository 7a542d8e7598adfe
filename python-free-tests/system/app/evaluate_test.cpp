// SPDX-License-Identifier: Apache-2.0
/// `bunchtrain evaluate`: the table, scores.h5, the same result on any number of ranks.
#include <hdf5.h>

#include <cmath>

#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

struct Scores {
  std::vector<std::int64_t> row, label;
  std::vector<std::uint8_t> selected;
  std::vector<float> qcd;
};

/// One member of the compound dataset `scores`, converted by HDF5.
template <class T>
std::vector<T> read_member(const std::string& file, const char* member, hid_t type) {
  const hid_t handle = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(handle, "scores", H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  const hid_t compound = H5Tcreate(H5T_COMPOUND, sizeof(T));
  H5Tinsert(compound, member, 0, type);
  EXPECT_GE(H5Dread(dataset, compound, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << member;
  H5Tclose(compound);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(handle);
  return values;
}

Scores read_scores(const std::string& file) {
  return {.row = read_member<std::int64_t>(file, "row", H5T_NATIVE_INT64),
          .label = read_member<std::int64_t>(file, "label", H5T_NATIVE_INT64),
          .selected = read_member<std::uint8_t>(file, "selected", H5T_NATIVE_UINT8),
          .qcd = read_member<float>(file, "score_qcd", H5T_NATIVE_FLOAT)};
}

class EvaluateTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    const std::string jets = make_jets("toy.h5", 1500);
    const Finished trained = run(train("--particles 24 --epochs 1 --data " + jets + " --run " + path("run")));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
};

TEST_F(EvaluateTest, WritesScoresInTheRowOrderOfTheFile) {
  const std::string other = make_jets("other.h5", 401, 9);
  const Finished done = run(tool("evaluate --run " + path("run") + " --data " + other));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  for (const char* said : {"accuracy", "AUC", "1/eB"})
    EXPECT_NE(done.output.find(said), std::string::npos) << done.output;
  const Scores scores = read_scores(path("run/scores.h5"));
  ASSERT_EQ(scores.row.size(), 401U);
  for (std::size_t i = 0; i < scores.row.size(); ++i) {
    EXPECT_EQ(scores.row[i], static_cast<std::int64_t>(i));
    EXPECT_EQ(scores.selected[i], 1);
    EXPECT_GE(scores.label[i], 0);
    EXPECT_TRUE(scores.qcd[i] >= 0 && scores.qcd[i] <= 1) << scores.qcd[i];
  }
}

TEST_F(EvaluateTest, AnyNumberOfRanksWritesTheSame) {
  const std::string other = make_jets("other.h5", 401, 9);
  const std::string words = "evaluate --run " + path("run") + " --data " + other + " --output ";
  ASSERT_EQ(run(tool(words + path("one.h5"))).exit_code, 0);
  const Finished two = run(mpirun(2, tool(words + path("two.h5"))));
  ASSERT_EQ(two.exit_code, 0) << two.output;
  const Scores first = read_scores(path("one.h5"));
  const Scores second = read_scores(path("two.h5"));
  EXPECT_EQ(first.label, second.label);
  ASSERT_EQ(first.qcd.size(), second.qcd.size());
  for (std::size_t i = 0; i < first.qcd.size(); ++i)
    EXPECT_NEAR(first.qcd[i], second.qcd[i], 1e-5) << "row " << i;
}

TEST_F(EvaluateTest, UnlabelledFilesGetScoresAndLabelMinusOne) {
  const std::string other = make_jets("other.h5", 100, 9);
  const hid_t file = H5Fopen(other.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(H5Ldelete(file, "jet_label", H5P_DEFAULT), 0);
  H5Fclose(file);
  const Finished done = run(tool("evaluate --run " + path("run") + " --data " + other));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const Scores scores = read_scores(path("run/scores.h5"));
  ASSERT_EQ(scores.label.size(), 100U);
  for (const auto label : scores.label) EXPECT_EQ(label, -1);
}

TEST_F(EvaluateTest, AFolderWithoutARunIsRefused) {
  const Finished done = run(tool("evaluate --run " + path("nothing") + " --data " + path("toy.h5")));
  EXPECT_NE(done.exit_code, 0);
  EXPECT_NE(done.output.find("holds no run"), std::string::npos) << done.output;
}

}  // namespace
}  // namespace bunchtrain::test
