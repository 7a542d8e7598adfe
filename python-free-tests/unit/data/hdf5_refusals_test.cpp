// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Hdf5RefusalsTest = JetFileTest;

TEST_F(Hdf5RefusalsTest, RefusesFilesThatAreNone) {
  EXPECT_THAT(refusal({.files = {}}), HasSubstr("no data files"));
  EXPECT_THAT(refusal({.files = {path("absent.h5")}}),
              AllOf(HasSubstr("absent.h5"), HasSubstr("no such file")));
  EXPECT_THAT(refusal({.files = {path("absent*.h5")}}),
              AllOf(HasSubstr("absent*.h5"), HasSubstr("no file matches")));
  EXPECT_THAT(refusal({.files = {folder_.string()}}), HasSubstr("is a folder"));
  std::ofstream(path("text.h5")) << "not at all";
  EXPECT_THAT(refusal({.files = {path("text.h5")}}),
              AllOf(HasSubstr("text.h5"), HasSubstr("not an HDF5 file")));
  const std::string file = write_jets("jets.h5");
  EXPECT_THAT(refusal({.files = {file, folder_.string() + "/./jets.h5"}, .card = write_card()}),
              HasSubstr("named twice"));
}

// Labels are a dataset as any other: never written, they would all be of the first class.

TEST_F(Hdf5RefusalsTest, RowsNeverWrittenAreRefusedOrCounted) {
  const std::string name = write_jets("jets.h5");
  const hid_t file = H5Fopen(name.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "label", H5P_DEFAULT);
  write_dataset(file, "label", H5T_STD_I32LE, H5T_NATIVE_INT32, {500}, nullptr, {"", {100}});
  const hid_t label = H5Dopen2(file, "label", H5P_DEFAULT), space = H5Dget_space(label);
  const hsize_t first = 0, count = 200;
  const std::vector<std::int32_t> ones(200, 1);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, &first, nullptr, &count, nullptr);
  const hid_t memory = H5Screate_simple(1, &count, nullptr);
  H5Dwrite(label, H5T_NATIVE_INT32, memory, space, H5P_DEFAULT, ones.data());
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(label);
  H5Fclose(file);
  EXPECT_THAT(refusal({.files = {name}, .card = write_card()}),
              AllOf(HasSubstr("jets.h5, dataset 'label': rows 200 to 499 were never written"),
                    HasSubstr("missing = \"fill\"")));
  const JetDataset filled({.files = {name}, .card = card_with("card = 1", "card = 1\nmissing = \"fill\"")});
  EXPECT_EQ(filled.all()->summary().rows.filled, 300);
  EXPECT_THAT(filled.all()->summary().class_counts, ElementsAre(300, 200));
  EXPECT_EQ(
      JetDataset({.files = {write_jets("whole.h5")}, .card = write_card()}).all()->summary().rows.filled, 0);
}

// In a process of its own, whose limits are lowered.

TEST_F(Hdf5RefusalsTest, RefusesATruncatedFile) {
  const std::string file = write_jets("cut.h5");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) * 2 / 3);
  EXPECT_THAT(refusal({.files = {file}, .card = write_card()}),
              AllOf(HasSubstr("cut.h5"), HasSubstr("truncated")));
}

TEST_F(Hdf5RefusalsTest, RefusesAnEmptyFile) {
  const std::string file = path("empty.h5");
  {
    Hdf5Writer writer(file);
    writer.create_dataset("jets", at::zeros({0, 3}), 10);
    writer.create_dataset("particles", at::zeros({0, kSlots, 4}), 10);
    writer.create_dataset("event", at::zeros({0}, at::kLong), 10);
    writer.create_dataset("label", at::zeros({0}, at::kInt), 10);
    writer.commit();
  }
  EXPECT_THAT(refusal({.files = {file}, .card = write_card()}),
              AllOf(HasSubstr("empty.h5"), HasSubstr("0 rows")));
}

TEST_F(Hdf5RefusalsTest, SuggestsTheCardThatFits) {
  {
    Hdf5Writer writer(path("qg.h5"));
    writer.create_dataset("X", at::ones({20, 10, 4}), 10);
    writer.create_dataset("y", at::zeros({20}, at::kInt), 10);
    writer.commit();
  }
  EXPECT_THAT(refusal({.files = {path("qg.h5")}, .card = "top_tagging"}),
              AllOf(HasSubstr("qg.h5"), HasSubstr("has no dataset 'table/table'"), HasSubstr("X, y"),
                    HasSubstr("card 'quark_gluon'")));
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}}),
              AllOf(HasSubstr("no built-in card fits"), HasSubstr("particles [500, 6, 4] float32"),
                    HasSubstr("features::draft_card")));
}

TEST_F(Hdf5RefusalsTest, RefusesWrongRanksTypesAndRows) {
  const auto with = [&](const std::string& name, const std::function<void(Hdf5Writer&)>& particles) {
    const JetFile jets;
    Hdf5Writer writer(path(name));
    writer.create_dataset("jets", jets.jets(), 100);
    writer.create_dataset("event", at::zeros({500}, at::kLong), 100);
    writer.create_dataset("label", jets.labels(), 100);
    particles(writer);
    writer.commit();
    return refusal({.files = {path(name)}, .card = write_card()});
  };
  EXPECT_THAT(with("rank.h5",
                   [](auto& w) {
                     w.create_dataset("particles", at::zeros({500, 2, 3, 4}), 100);
                   }),
              AllOf(HasSubstr("rank.h5, dataset 'particles'"), HasSubstr("[500, 2, 3, 4] float32"),
                    HasSubstr("[jets, particles, columns]")));
  EXPECT_THAT(with("columns.h5",
                   [](auto& w) {
                     w.create_dataset("particles", at::zeros({500, 6, 3}), 100);
                   }),
              AllOf(HasSubstr("[500, 6, 3]"), HasSubstr("4 columns per particle"),
                    HasSubstr("deta, dphi, ptrel, mask")));
  EXPECT_THAT(with("rows.h5",
                   [](auto& w) {
                     w.create_dataset("particles", at::zeros({499, 6, 4}), 100);
                   }),
              AllOf(HasSubstr("499"), HasSubstr("500"), HasSubstr("one row per jet")));

  const std::string text_file = path("text.h5");
  const hid_t file = create_file(text_file);
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 8);
  const std::string values(500 * 6 * 4 * 8, 'x');
  write_dataset(file, "particles", text, text, {500, 6, 4}, values.data());
  write_floats(file, "jets", {500, 3}, std::vector<float>(1500, 1));
  write_floats(file, "label", {500}, std::vector<float>(500, 1));
  write_floats(file, "event", {500}, std::vector<float>(500, 1));
  H5Tclose(text);
  H5Fclose(file);
  EXPECT_THAT(refusal({.files = {text_file}, .card = write_card()}),
              AllOf(HasSubstr("'particles'"), HasSubstr("string"), HasSubstr("numbers")));
}

TEST_F(Hdf5RefusalsTest, RefusesUnknownLabelsWithTheirCounts) {
  const auto card = card_with("[[\"a\", 0], [\"b\", 1]]", "[[\"a\", 0], [\"b\", 7]]");
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}, .card = card}),
              AllOf(HasSubstr("jets.h5"), HasSubstr("1")));
}

TEST_F(Hdf5RefusalsTest, NamesFileRowAndColumnOfNaN) {
  const JetFile jets;
  at::Tensor particles = jets.particles();
  particles[333][0][2] = std::numeric_limits<float>::quiet_NaN();
  const std::string file = path("nan.h5");
  {
    Hdf5Writer writer(file);
    writer.create_dataset("jets", jets.jets(), 100);
    writer.create_dataset("event", at::zeros({500}, at::kLong), 100);
    writer.create_dataset("label", jets.labels(), 100);
    writer.create_dataset("particles", particles, 40);
    writer.commit();
  }
  const std::string message = refusal({.files = {file}, .card = write_card()});
  EXPECT_THAT(message, AllOf(HasSubstr("nan.h5"), HasSubstr("row 333, particle 0: part.ptrel is NaN")));
}

TEST_F(Hdf5RefusalsTest, RefusesASelectionThatKeepsNothing) {
  const auto card = card_with("[split]", "[select]\njets = \"jet.pt > 1000000\"\n[split]");
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}, .card = card}),
              AllOf(HasSubstr("none of the 500 rows"), HasSubstr("jet.pt > 1000000")));
}

TEST_F(Hdf5RefusalsTest, EveryMisfitOfCardAndFileSaysWhatIsThereAndWhatIsWanted) {
  struct Misfit {
    std::string from, to;  ///< a change of the card
    std::vector<std::string> words;
  };
  const std::string file = write_jets("jets.h5");
  {
    const hid_t more = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    write_floats(more, "extra", {500, 3}, std::vector<float>(1500, 1));
    H5Fclose(more);
  }
  const std::string particles = "from = \"particles\"", deta = "\"part.deta\", \"part.dphi\"]";
  for (const auto& [from, to, words] : std::vector<Misfit>{
           {particles,
            "from = \"particles[0:9]\"",
            {"jets.h5, dataset 'particles'", "[500, 6, 4]", "values 0 to 9 of 4", "features::draft_card"}},
           {"[particles]",
            "[[read.part]]\nfrom = \"extra\"\ncolumns = [\"q\"]\n[particles]",
            {"holds 3 particles per jet in column 'q'", "dataset 'particles' holds 6"}},
           {"[split]",
            "[[read.jet]]\nfrom = \"weights\"\ncolumns = [\"w\"]\n[weights]\nsample = \"jet.w\"\n[split]",
            {"jets.h5", "has no dataset 'weights'"}}}) {
    std::string text(kCard);
    text.replace(text.find(from), from.size(), to);
    if (to.find("extra") != std::string::npos)
      text.replace(text.find(deta), deta.size(), "\"part.deta\", \"part.q\"]");
    const std::string message = refusal({.files = {file}, .card = write_card(text)});
    for (const std::string& word : words) EXPECT_THAT(message, HasSubstr(word)) << to;
  }
  const std::string message = refusal(
      {.files = {file},
       .card = write_card("card = 1\n[[read.jet]]\nfrom = \"jets\"\ncolumns = [\"pt\", \"eta\", \"mass\"]\n"
                          "[inputs]\nfeatures = [\"1\"]\n")});
  EXPECT_THAT(message, AllOf(HasSubstr("jets.h5"), HasSubstr("reads no column of it")));
}

TEST_F(Hdf5RefusalsTest, AMemberThatHoldsNoNumbersIsNamed) {
  const hid_t name = H5Tcopy(H5T_C_S1);
  H5Tset_size(name, 8);
  const hid_t jet = H5Tcreate(H5T_COMPOUND, 8), track = H5Tcreate(H5T_COMPOUND, 4);
  H5Tinsert(jet, "flavour", 0, name);
  for (const char* member : {"pt", "valid", "deta", "dphi"}) {
    if (member != std::string("pt")) H5Tset_size(track, H5Tget_size(track) + 4);
    H5Tinsert(track, member, H5Tget_size(track) - 4, H5T_NATIVE_FLOAT);
  }
  const hid_t file = create_file(path("text.h5"));
  write_dataset(file, "jets", jet, jet, {20}, std::string(160, 'b').data());
  write_dataset(file, "tracks", track, track, {20, 5}, std::vector<float>(400, 1).data());
  H5Fclose(file);
  for (const hid_t type : {name, jet, track}) H5Tclose(type);
  EXPECT_THAT(refusal({.files = {path("text.h5")}, .card = write_card(kCompoundCard)}),
              AllOf(HasSubstr("text.h5, dataset 'jets'"), HasSubstr("numbers in member 'flavour'")));
}

}  // namespace
}  // namespace bunchtrain::data
