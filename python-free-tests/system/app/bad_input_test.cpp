// SPDX-License-Identifier: Apache-2.0
/// What a user gets wrong: each case ends with a code that is not 0 and says what, where and how to mend it.
#include <hdf5.h>
#include <sys/stat.h>

#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class BadInputTest : public UserSession {
 protected:
  /// Trains with `words` and expects a failure that says all of `parts`.
  void expect_refused(const std::string& words, const std::vector<std::string>& parts, int ranks = 0) const {
    const std::string command = train(words + " --epochs 1 --run " + path("refused"));
    const Finished done = run(ranks > 0 ? mpirun(ranks, command) : command);
    EXPECT_NE(done.exit_code, 0) << words;
    for (const auto& part : parts)
      EXPECT_NE(done.output.find(part), std::string::npos) << words << "\nlacks '" << part << "':\n"
                                                           << done.output;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "refused" / "metrics.jsonl"))
        << "a refused run left a trace";
  }
};

TEST_F(BadInputTest, NoDataNamed) { expect_refused("", {"data", "generate jets"}); }

TEST_F(BadInputTest, NoSuchFile) { expect_refused("--data " + path("none.h5"), {"none.h5"}); }

TEST_F(BadInputTest, NoFileMatchesTheGlob) {
  expect_refused("--data '" + path("none*.h5") + "'", {"none*.h5"});
}

TEST_F(BadInputTest, NotHdf5) {
  std::ofstream(path("text.h5")) << "these are no jets";
  expect_refused("--data " + path("text.h5"), {"text.h5", "HDF5"});
}

TEST_F(BadInputTest, Truncated) {
  const std::string jets = make_jets("toy.h5", 500);
  std::filesystem::resize_file(jets, std::filesystem::file_size(jets) / 2);
  expect_refused("--data " + jets, {"toy.h5", "truncated"});
}

TEST_F(BadInputTest, APipeIsRefusedAtOnce) {
  ASSERT_EQ(mkfifo(path("pipe.h5").c_str(), 0600), 0);
  expect_refused("--data " + path("pipe.h5"), {"pipe.h5", "named pipe"});
}

TEST_F(BadInputTest, AForeignFileIsNamedWithItsConversion) {
  std::ofstream(path("jets.root")) << "root" << std::string(500, '\0');
  expect_refused("--data " + path("jets.root"), {"jets.root", "a ROOT file", "uproot"});
}

// Labels never written would all be of the first class; one rank says it, all end.
TEST_F(BadInputTest, RowsNeverWritten) {
  const std::string jets = make_jets("toy.h5", 100);
  const hid_t file = H5Fopen(jets.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "jet_label", H5P_DEFAULT);
  const hsize_t rows = 100;
  const hid_t space = H5Screate_simple(1, &rows, nullptr);
  H5Dclose(H5Dcreate2(file, "jet_label", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
  H5Fclose(file);
  expect_refused("--card toy_jets --data " + jets,
                 {"toy.h5, dataset 'jet_label': rows 0 to 99 were never written", "missing = \"fill\""});
  expect_refused("--card toy_jets --data " + jets, {"rows 0 to 99 were never written"}, 2);
}

// Half of the jets of a virtual dataset are in a file that is not there.
TEST_F(BadInputTest, ASourceOfAVirtualDatasetIsMissing) {
  make_jets("toy.h5", 100);
  const hid_t part = H5Fopen(path("toy.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t whole = H5Fcreate(path("all.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  for (const char* name : {"particle_features", "jet_features", "jet_label"}) {
    const hid_t dataset = H5Dopen2(part, name, H5P_DEFAULT);
    const hid_t type = H5Dget_type(dataset), source = H5Dget_space(dataset);
    const int rank = H5Sget_simple_extent_ndims(source);
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank)), start(extents.size(), 0);
    H5Sget_simple_extent_dims(source, extents.data(), nullptr);
    std::vector<hsize_t> both = extents;
    both[0] *= 2;
    const hid_t target = H5Screate_simple(rank, both.data(), nullptr), create = H5Pcreate(H5P_DATASET_CREATE);
    for (const char* from : {"toy.h5", "gone.h5"}) {
      H5Sselect_hyperslab(target, H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr);
      EXPECT_GE(H5Pset_virtual(create, target, from, name, source), 0);
      start[0] += extents[0];
    }
    H5Sselect_all(target);
    H5Dclose(H5Dcreate2(whole, name, type, target, H5P_DEFAULT, create, H5P_DEFAULT));
    H5Pclose(create);
    for (const auto close : {H5Sclose(target), H5Sclose(source), H5Tclose(type), H5Dclose(dataset)})
      EXPECT_GE(close, 0);
  }
  H5Fclose(part);
  H5Fclose(whole);
  expect_refused("--card toy_jets --data " + path("all.h5"),
                 {"all.h5", "rows 100 to 199", "gone.h5 is not there"});
}

TEST_F(BadInputTest, MissingDataset) {
  const std::string jets = make_jets("toy.h5", 100);
  const hid_t file = H5Fopen(jets.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "jet_features", H5P_DEFAULT);
  H5Fclose(file);
  expect_refused("--card toy_jets --data " + jets, {"jet_features", "particle_features"});
}

TEST_F(BadInputTest, UnknownOptionGetsASuggestion) {
  expect_refused("--epoch 3", {"--epoch", "did you mean '--epochs'"});
}

TEST_F(BadInputTest, LengthNotAboveNeighbours) {
  expect_refused("--particles 7 --data " + make_jets("toy.h5", 100), {"7"});
}

TEST_F(BadInputTest, BatchBelowTheWorldSize) {
  expect_refused("--particles 24 --batch 1 --data " + make_jets("toy.h5", 100), {"batch", "2 ranks"}, 2);
}

TEST_F(BadInputTest, FewerSamplesThanRanks) {
  expect_refused("--particles 24 --data " + make_jets("toy.h5", 2) + " --valid " + make_jets("other.h5", 40),
                 {"2 ", "3 ranks"}, 3);
}

TEST_F(BadInputTest, LabelOutsideTheClasses) {
  const std::string jets = make_jets("toy.h5", 100);
  const hid_t file = H5Fopen(jets.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "jet_label", H5P_DEFAULT);
  std::vector<int> labels(100, 7);
  H5Dwrite(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels.data());
  H5Dclose(dataset);
  H5Fclose(file);
  expect_refused("--card toy_jets --data " + jets, {"7", "100", "others = \"drop\""});
}

TEST_F(BadInputTest, UnknownCard) {
  expect_refused("--card top_taging --data " + make_jets("toy.h5", 100), {"top_tagging"});
}

TEST_F(BadInputTest, ARunFolderThatHoldsARunIsRefused) {
  const std::string jets = make_jets("toy.h5", 300);
  const std::string command = train("--particles 24 --epochs 1 --data " + jets + " --run " + path("run"));
  ASSERT_EQ(run(command).exit_code, 0);
  const Finished again = run(command);
  EXPECT_NE(again.exit_code, 0);
  for (const char* way : {"--resume", "--run"})
    EXPECT_NE(again.output.find(way), std::string::npos) << again.output;
}

TEST_F(BadInputTest, ARunFolderThatCannotBeWritten) {
  const Finished done =
      run(train("--particles 24 --epochs 1 --data " + make_jets("toy.h5", 300) + " --run /proc/bunchtrain"));
  EXPECT_NE(done.exit_code, 0);
  EXPECT_NE(done.output.find("/proc/bunchtrain"), std::string::npos) << done.output;
}

TEST_F(BadInputTest, CudaIsUsedOrRefusedButNeverReplaced) {
  const std::string words = "--particles 24 --device cuda --data " + make_jets("toy.h5", 100);
  if (!std::filesystem::exists("/dev/nvidia0")) return expect_refused(words, {"cuda"});
  EXPECT_EQ(run(train(words + " --epochs 1 --run " + path("run"))).exit_code, 0);
  EXPECT_NE(read_file(folder_ / "run" / "run.json").find("GPU"), std::string::npos);
}

TEST_F(BadInputTest, ACheckpointOfAnotherModel) {
  const std::string jets = make_jets("toy.h5", 300);
  const std::string words = "--particles 24 --epochs 1 --data " + jets + " --run " + path("run");
  ASSERT_EQ(run(train(words)).exit_code, 0);
  const Finished other = run(train(words + " --model particlenet --resume --epochs 2"));
  EXPECT_EQ(other.exit_code, 78) << other.output;
  EXPECT_NE(other.output.find("model was \"lite\" (default), is \"particlenet\" (--model)"),
            std::string::npos)
      << other.output;
  const Finished insisted = run(train(words + " --model particlenet --resume --allow-changed"));
  EXPECT_EQ(insisted.exit_code, 78) << insisted.output;
  EXPECT_NE(insisted.output.find("edge_convs."), std::string::npos) << insisted.output;
}

/// Options and their combinations: each is refused with code 78 and says what, where and how to mend it.
TEST_F(BadInputTest, EveryOptionThatCannotBeFollowedIsRefused) {
  const std::string jets = make_jets("toy.h5", 40);
  const std::string gflash = "generate gflash --count 4 --out " + path("gflash.h5");
  ASSERT_EQ(run(tool(gflash)).exit_code, 0);
  const std::string files = " --reference " + path("gflash.h5") + " --candidate " + path("gflash.h5");
  const auto gan = [&](const std::string& words) {
    return example("train_3dgan", words + " --batch 2 --epochs 1 --run " + path("refused"));
  };
  const std::string card = path("scaled.toml");
  std::ofstream(card) << "card = 1\n[shower]\ncells = [{ from = \"ECAL\", shape = [25, 25, 25] }]\n"
                         "[primary]\nenergy = \"energy\"\n[image]\nscale = 7\n";
  struct Refusal {
    std::string command;
    std::vector<std::string> parts;
  };
  for (const auto& [command, parts] : std::vector<Refusal>{
           {tool("generate jets --count 0 --out " + path("none.h5")), {"count", "0", "at least 1 jet"}},
           {tool(gflash + " --force --energy 10:x"), {"energy", "10:x", "LOWEST:HIGHEST", "10:100"}},
           {tool(gflash + " --force --grid 25x25"), {"grid", "25x25", "cells along x, y and z"}},
           {tool("validate showers --energy-edges 10,x" + files), {"energy-edges", "10,x", "with commas"}},
           {tool("validate showers --reference " + path("gflash.h5")), {"candidate", "a run folder"}},
           {tool("validate showers --candidate " + path("gflash.h5")),
            {"reference", "HDF5 files of showers"}},
           {tool("inspect " + jets + " " + path("gflash.h5") + " --write-card " + path("mine.toml")),
            {"write-card", "mine.toml", "one file at a time"}},
           {tool("report"), {"run", "at least one run folder"}},
           {gan("--showers 30 --flip 1.5"), {"flip", "1.5", "a share from 0 to 1"}},
           {gan("--showers 30 --generator-updates 0"), {"generator-updates", "0", "at least 1"}},
           {gan("--showers 30 --bin-counts --variant fixed"), {"bin-counts", "--variant angle"}},
           {gan("--showers 1"), {"showers", "1", "at least 10", "--valid-fraction"}},
           {gan("--variant angle --data " + path("gflash.h5")),
            {"25x25x25", "51x51x25", "--variant fixed for 25x25x25"}},
           {gan("--variant fixed --card " + card + " --data " + path("gflash.h5")),
            {"(GeV x 7)^1", "set scale and power"}},
           {train("--timeout 0 --data " + jets), {"timeout", "0", "a positive number of seconds"}},
           {train("--data " + jets + " --config"), {"--config needs the name of a TOML file"}},
       }) {
    const Finished refused = run(command);
    EXPECT_EQ(refused.exit_code, 78) << command << "\n" << refused.output;
    for (const std::string& part : parts)
      EXPECT_NE(refused.output.find(part), std::string::npos) << command << "\nlacks '" << part << "':\n"
                                                              << refused.output;
  }
}

}  // namespace
}  // namespace bunchtrain::test
