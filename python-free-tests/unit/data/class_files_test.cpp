// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using ClassFilesTest = JetFileTest;

/// Labels of all rows, as the batches have them.
std::vector<std::int64_t> labels_of(const JetDataset& dataset) {
  std::vector<std::int64_t> labels;
  const auto all = dataset.all();
  for (std::size_t range = 0; range < all->ranges().size(); ++range) {
    const at::Tensor block = all->read(range).tensors["label"];
    for (std::int64_t i = 0; i < block.size(0); ++i) labels.push_back(block[i].item<std::int64_t>());
  }
  return labels;
}

std::int64_t count_of(const std::vector<std::int64_t>& labels, std::int64_t label) {
  return std::count(labels.begin(), labels.end(), label);
}

TEST_F(ClassFilesTest, TheClassMayBeThatOfTheFile) {
  write_jets("g1.h5", {.rows = 70, .labelled = false});
  write_jets("g2.h5", {.rows = 30, .first_row = 70, .labelled = false});
  const std::string top = write_jets("t.h5", {.rows = 50, .first_row = 200, .labelled = false});
  const JetDataset dataset(
      {.class_files = {{"top", {top}}, {"gluon", {path("g*.h5")}}}, .card = write_card()});
  EXPECT_EQ(dataset.size(), 150);
  EXPECT_EQ(dataset.files().size(), 3U);
  EXPECT_THAT(dataset.all()->summary().classes, ElementsAre("top", "gluon"));
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(50, 100));
  EXPECT_EQ(dataset.card().label, "file");
  const auto labels = labels_of(dataset);
  for (std::int64_t row = 0; row < 150; ++row)
    EXPECT_EQ(labels[static_cast<std::size_t>(row)], row < 50 ? 0 : 1);

  const JetDataset turned({.class_files = {{"top", {top}}, {"gluon", {path("g*.h5")}}},
                           .card = write_card(),
                           .classes = {"gluon", "top"}});
  EXPECT_EQ(labels_of(turned).front(), 1);

  // The resolved card of the run tells evaluation the classes; what has no class is scored without.
  const JetDataset some({.class_files = {{"gluon", {path("g1.h5")}}}}, dataset.card());
  EXPECT_EQ(count_of(labels_of(some), 1), 70);
  const JetDataset unknown({.files = {top}, .labels_required = false}, dataset.card());
  EXPECT_EQ(count_of(labels_of(unknown), -1), 50);
  const auto [train, valid] = dataset.split({.valid_fraction = 0.3, .seed = 3});
  EXPECT_EQ(train->size() + valid->size(), 150);
}

TEST_F(ClassFilesTest, ClassesOfTheCardKeepTheirPlaces) {
  const std::string a = write_jets("a.h5", {.rows = 20, .labelled = false});
  const std::string b = write_jets("b.h5", {.rows = 30, .labelled = false});
  const JetDataset dataset({.class_files = {{"b", {b}}, {"a", {a}}}, .card = write_card()});
  EXPECT_THAT(dataset.all()->summary().classes, ElementsAre("a", "b")) << "the card's order";
  EXPECT_EQ(dataset.card().signal, "b");
  EXPECT_THAT(labels_of(dataset), testing::AllOf(testing::Each(testing::Ge(0)), testing::SizeIs(50)));
  EXPECT_EQ(count_of(labels_of(dataset), 1), 30);
}

TEST_F(ClassFilesTest, LabelsOfTheFileMustAgreeWithItsClass) {
  const std::string mixed = write_jets("mixed.h5");
  const std::string other = write_jets("other.h5", {.rows = 40, .labelled = false});
  EXPECT_THAT(refusal({.class_files = {{"a", {mixed}}, {"b", {other}}}, .card = write_card()}),
              AllOf(HasSubstr("mixed.h5, row 1: is labelled b (jet.kind)"), HasSubstr("a=" + mixed),
                    HasSubstr("data = " + mixed)));
  EXPECT_THAT(
      refusal({.class_files = {{"gluon", {mixed}}, {"b", {other}}}, .card = write_card()}),
      AllOf(HasSubstr("labels of its own (jet.kind, classes a, b)"), HasSubstr("leave out \"gluon=\"")));
  EXPECT_THAT(refusal({.class_files = {{"a", {other}}}, .card = write_card()}),
              HasSubstr("at least two classes"));
  EXPECT_THAT(refusal({.files = {other}, .class_files = {{"a", {other}}}, .card = write_card()}),
              HasSubstr("named twice"));
  // The jets of the file that are kept are of one class, and it is the one that is said: equal, so taken.
  const auto only_a = card_with("[split]", "[select]\njets = \"jet.mass < 11\"\n[split]");
  const std::string equal = write_jets("equal.h5", {.rows = 14});
  EXPECT_THAT(refusal({.class_files = {{"a", {equal}}, {"b", {other}}}, .card = only_a}), HasSubstr("row 7"));
}

/// The words that the message about a missing label gives are taken, and then it trains.
TEST_F(ClassFilesTest, UnlabelledFilesAreToldTheWordsThatNameTheirClasses) {
  const std::string a = write_jets("a30.h5", {.rows = 60, .labelled = false});
  const std::string b = write_jets("jets b.h5", {.rows = 40, .labelled = false});
  const std::string message = refusal({.files = {a, b}, .card = write_card()});
  const std::string words = "data = a=" + a + " data = b='" + b + "'";
  EXPECT_THAT(message, AllOf(HasSubstr("has no dataset 'label'"), HasSubstr(words)));
  EXPECT_THAT(message, testing::Not(HasSubstr("It looks like")));
  const std::vector<std::string> data = {"a=" + a, "b=" + b};
  const DataFiles files = parse_data_words(data);
  ASSERT_EQ(files.class_files.size(), 2U);
  const JetDataset dataset({.files = files.files, .class_files = files.class_files, .card = write_card()});
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(60, 40));
  EXPECT_THAT(refusal({.files = {a}, .card = write_card()}), HasSubstr("data = a=" + a + " and one more"));

  try {  // files of a run whose label is the file need their class too
    const JetDataset valid({.files = {a, b}}, dataset.card());
    ADD_FAILURE() << "taken";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("its class (a, b) is not said"), HasSubstr(words)));
  }
}

TEST_F(ClassFilesTest, WordsOfDataNameFilesAndClasses) {
  write_jets("x=y.h5", {.rows = 5});
  const std::vector<std::string> words = {"g=" + path("g*.h5"), path("x=y.h5"), "t=t.h5",
                                          "g=more.h5",          path("x=*.h5"), "plain.h5"};
  const DataFiles files = parse_data_words(words);
  EXPECT_THAT(files.files, ElementsAre(path("x=y.h5"), path("x=*.h5"), "plain.h5"));
  ASSERT_EQ(files.class_files.size(), 2U);
  EXPECT_EQ(files.class_files[0].class_name, "g");
  EXPECT_THAT(files.class_files[0].files, ElementsAre(path("g*.h5"), "more.h5"));
  const std::vector<std::string> empty = {"g="};
  EXPECT_THROW(parse_data_words(empty), ConfigError);

  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);  // an existing path wins over a class of that name
  const std::vector<std::string> relative = {"x=y.h5", "x=*.h5", "x=z.h5"};
  const DataFiles here = parse_data_words(relative);
  std::filesystem::current_path(before);
  EXPECT_THAT(here.files, ElementsAre("x=y.h5", "x=*.h5"));
  EXPECT_EQ(here.class_files.size(), 1U);
}

TEST_F(ClassFilesTest, LabelsOfFilesToValidateOnMustAgreeToo) {
  const auto write = [&](const std::string& name, int label) {
    Hdf5Writer writer(path(name));
    writer.create_dataset("particle_features", at::ones({20, 10, 4}), 10);
    writer.create_dataset("jet_features", at::full({20, 4}, 1.0 + label, at::kFloat), 10);
    if (label >= 0) writer.create_dataset("jet_label", at::full({20}, label, at::kInt), 10);
    writer.commit();
    return path(name);
  };
  const std::string g = write("g.h5", 0), t = write("t.h5", 2);
  const JetDataset train({.class_files = {{"g", {g}}, {"t", {t}}}});
  EXPECT_EQ(JetDataset({.class_files = {{"t", {t}}}}, train.card()).size(), 20);
  try {
    const JetDataset valid({.class_files = {{"g", {t}}}}, train.card());
    ADD_FAILURE() << "taken";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("t.h5, row 0: is labelled t (jet.type)"));
  }
}

TEST_F(ClassFilesTest, WhereALargerCardNearlyFitsItIsAskedFor) {
  {
    Hdf5Writer writer(path("cms.h5"));
    writer.create_dataset("particle_features", at::ones({20, 10, 4}), 10);
    writer.create_dataset("particle_extra", at::ones({20, 10, 8}), 10);
    writer.create_dataset("jet_features", at::ones({20, 4}), 10);
    writer.create_dataset("jet_label", at::arange(20, at::kInt).remainder(4), 10);
    writer.commit();
  }
  EXPECT_THAT(refusal({.files = {path("cms.h5")}}),
              AllOf(HasSubstr("card = jetnet (jet.type: 0 g, 1 q"), HasSubstr("card = cms_btag"),
                    HasSubstr("event_no is missing")));
  EXPECT_EQ(JetDataset({.files = {path("cms.h5")}, .card = "jetnet"}).size(), 20) << "as advised";
}

TEST_F(ClassFilesTest, TheLogSaysTheCardAndItsClasses) {
  {
    Hdf5Writer writer(path("qg.h5"));
    writer.create_dataset("X", at::ones({20, 10, 4}), 10);
    writer.create_dataset("y", at::zeros({20}, at::kInt), 10);
    writer.commit();
  }
  testing::internal::CaptureStderr();
  const JetDataset dataset({.files = {path("qg.h5")}, .logger = Logger(make_stderr_sink())});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("qg.h5: recognised as card quark_gluon (labels jet.is_quark: 0 gluon, 1 quark)"));
}

}  // namespace
}  // namespace bunchtrain::data
