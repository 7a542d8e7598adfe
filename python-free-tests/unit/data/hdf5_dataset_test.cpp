// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/hdf5_dataset.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kSlots = 6;

/// Jets with pt = 100 + row, label row % 2, row % 6 + 1 particles (all six slots at most), event row / 4.
struct JetFile {
  std::int64_t rows = 500;
  std::int64_t chunk = 40;
  std::int64_t jet_chunk = 128;
  std::int64_t first_row = 0;
  bool labelled = true;

  at::Tensor jets() const {
    const at::Tensor row = at::arange(first_row, first_row + rows, at::kFloat);
    return at::stack({100 + row, row.remainder(5) * 0.2 - 0.4, 10 + row.remainder(7)}, 1);
  }
  at::Tensor labels() const { return at::arange(first_row, first_row + rows, at::kInt).remainder(2); }
  at::Tensor particles() const {
    const at::Tensor row = at::arange(first_row, first_row + rows, at::kFloat).unsqueeze(1);
    const at::Tensor slot = at::arange(kSlots, at::kFloat).unsqueeze(0);
    const at::Tensor real = slot.le(row.remainder(kSlots)).to(at::kFloat);
    const at::Tensor share = 1.0 / (2 + slot + row.remainder(3));
    return at::stack({0.01 * slot * real, -0.02 * slot * real, share * real, real}, 2);
  }

  void write(const std::string& path) const {
    Hdf5Writer writer(path);
    writer.create_dataset("jets", jets(), jet_chunk);
    writer.create_dataset("particles", particles(), chunk);
    writer.create_dataset("event", at::arange(first_row, first_row + rows, at::kLong).div(4, "floor"), 64);
    if (labelled) writer.create_dataset("label", labels(), 64);
    writer.commit();
  }
};

constexpr std::string_view kCard = R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "eta", "mass"]
unit = { pt = "GeV", mass = "GeV" }
[[read.jet]]
from = "label"
columns = ["kind"]
[[read.jet]]
from = "event"
columns = ["event"]
[[read.part]]
from = "particles"
columns = ["deta", "dphi", "ptrel", "mask"]
[particles]
mask = "part.mask > 0.5"
length = 4
[define]
part.pt = "part.ptrel * jet.pt"
[inputs]
points = ["part.deta", "part.dphi"]
features = ["log(part.pt)", ["part.deta", "auto"]]
[label]
of = "jet.kind"
classes = [["a", 0], ["b", 1]]
signal = "b"
[split]
by = "jet.event"
[output]
observers = ["jet.pt"]
)toml";

constexpr std::string_view kCompoundCard = R"toml(card = 1
[[read.jet]]
from = "jets"
[[read.part]]
from = "tracks"
unit = { pt = "MeV" }
[particles]
mask = "part.valid > 0"
length = 5
[inputs]
points = ["part.deta", "part.dphi"]
features = ["part.pt"]
[label]
of = "jet.flavour"
classes = [["u", 0], ["b", 5]]
signal = "b"
)toml";

class Hdf5DatasetTest : public Hdf5FilesTest {
 protected:
  std::string write_card(std::string_view text = kCard) const {
    const std::string name = path("card.toml");
    std::ofstream(name) << text;
    return name;
  }
  std::string write_jets(const std::string& name, const JetFile& jets = {}) const {
    jets.write(path(name));
    return path(name);
  }
  std::string card_with(std::string_view from, std::string_view to) const {
    std::string text(kCard);
    text.replace(text.find(from), from.size(), to);
    return write_card(text);
  }
  /// The message of the DataError that opening throws.
  static std::string refusal(const Hdf5DatasetOptions& options) {
    try {
      const Hdf5Dataset dataset(options);
    } catch (const DataError& error) {
      return error.what();
    } catch (const std::exception& other) {
      return std::string("another exception: ") + other.what();
    }
    return "no exception";
  }
};

TEST_F(Hdf5DatasetTest, GivesTensorsAndRows) {
  const Hdf5Dataset dataset({.files = {write_jets("jets.h5")}, .card = write_card()});
  EXPECT_EQ(dataset.size(), 500);
  const auto all = dataset.all();
  EXPECT_EQ(all->ranges()[0].count, 80) << "two chunks of 40";
  const auto block = all->read(1);
  EXPECT_EQ(block.range.first, 80);
  EXPECT_EQ(block.tensors["points"].sizes(), (std::vector<std::int64_t>{80, 4, 2}));
  EXPECT_EQ(block.tensors["features"].sizes(), (std::vector<std::int64_t>{80, 4, 2}));
  const JetFile source;
  for (std::int64_t i = 0; i < 80; i += 9) {
    const std::int64_t row = 80 + i;
    EXPECT_EQ(dataset.row_of(row).row, row);
    EXPECT_EQ(block.tensors["label"][i].item<std::int64_t>(), row % 2);
    EXPECT_EQ(block.tensors["observer.jet.pt"][i].item<double>(), 100 + row);
    EXPECT_EQ(block.tensors["mask"][i].sum().item<std::int64_t>(), std::min<std::int64_t>(row % 6 + 1, 4));
    const float ptrel = source.particles()[row][0][2].item<float>();
    EXPECT_NEAR(block.tensors["features"][i][0][0].item<float>(),
                std::log(ptrel * (100 + static_cast<float>(row))), 1e-5);
  }
  const auto& summary = all->summary();
  EXPECT_THAT(summary.class_counts, ElementsAre(250, 250));
  EXPECT_EQ(summary.truncated, 166) << "rows with five or six particles: 83 + 83";
  EXPECT_THAT(summary.description, AllOf(HasSubstr("500"), HasSubstr("jets.h5"), HasSubstr("card")));
  EXPECT_THAT(summary.paths, testing::Contains("particles: pread + own inflate"));
  EXPECT_EQ(summary.columns.size(), 4U);
}

TEST_F(Hdf5DatasetTest, JoinsManyFilesInOrder) {
  write_jets("b.h5", {.rows = 130, .first_row = 500});
  write_jets("a.h5");
  const Hdf5Dataset dataset({.files = {path("*.h5")}, .card = write_card()});
  EXPECT_EQ(dataset.size(), 630);
  ASSERT_EQ(dataset.files().size(), 2U);
  EXPECT_EQ(dataset.files()[0].filename(), "a.h5") << "sorted";
  EXPECT_EQ(dataset.rows_in_file(1), 130);
  EXPECT_EQ(dataset.row_of(629).file, 1);
  EXPECT_EQ(dataset.row_of(629).row, 129);
  EXPECT_THROW(dataset.row_of(630), ConfigError);

  DataLoader loader(dataset.all(), {.global_batch = 64, .threads = 3});
  std::set<double> seen;
  for (const Batch& batch : loader)
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const double pt = batch["observer.jet.pt"][i].item<double>();
      EXPECT_EQ(pt - 100, batch.sample_ids[i].item<std::int64_t>());
      seen.insert(pt);
    }
  EXPECT_EQ(seen.size(), 630U);
}

TEST_F(Hdf5DatasetTest, NumbersOnlySelectedRows) {
  const auto card = card_with("[split]", "[select]\njets = \"jet.pt >= 103 & jet.mass < 16\"\n[split]");
  const Hdf5Dataset dataset({.files = {write_jets("jets.h5")}, .card = card, .threads = 2});
  std::vector<std::int64_t> expected;
  for (std::int64_t row = 3; row < 500; ++row)
    if (10 + row % 7 < 16) expected.push_back(row);
  ASSERT_EQ(dataset.size(), static_cast<std::int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); i += 13)
    EXPECT_EQ(dataset.row_of(static_cast<std::int64_t>(i)).row, expected[i]);
  const auto block = dataset.all()->read(2);
  for (std::int64_t i = 0; i < block.range.count; ++i)
    EXPECT_EQ(block.tensors["observer.jet.pt"][i].item<double>() - 100,
              expected[static_cast<std::size_t>(block.range.first + i)]);
}

TEST_F(Hdf5DatasetTest, SplitIsDisjointPureAndKeepsKeysTogether) {
  const Hdf5Dataset dataset({.files = {write_jets("jets.h5", {.rows = 4000})}, .card = write_card()});
  const auto rows_of = [](const DatasetPtr& part) {
    std::set<std::int64_t> rows;
    for (std::size_t range = 0; range < part->ranges().size(); ++range) {
      if (part->ranges()[range].count == 0) continue;
      const at::Tensor pt = part->read(range).tensors["observer.jet.pt"];
      for (std::int64_t i = 0; i < pt.size(0); ++i)
        rows.insert(static_cast<std::int64_t>(pt[i].item<double>()) - 100);
    }
    return rows;
  };
  const auto [train, valid] = dataset.split({.valid_fraction = 0.25, .seed = 5});
  const auto train_rows = rows_of(train), valid_rows = rows_of(valid);
  EXPECT_EQ(train_rows.size() + valid_rows.size(), 4000U);
  EXPECT_EQ(static_cast<std::int64_t>(valid_rows.size()), valid->size());
  EXPECT_NEAR(static_cast<double>(valid->size()), 1000, 150);
  for (const auto row : valid_rows) {
    EXPECT_FALSE(train_rows.contains(row));
    EXPECT_TRUE(valid_rows.contains(row / 4 * 4)) << "rows of one event stay together";
  }
  EXPECT_EQ(rows_of(dataset.split({.valid_fraction = 0.25, .seed = 5}).valid), valid_rows);
  EXPECT_NE(rows_of(dataset.split({.valid_fraction = 0.25, .seed = 6}).valid), valid_rows);
  EXPECT_NE(train->summary().fingerprint, valid->summary().fingerprint);
  EXPECT_EQ(dataset.split({.valid_fraction = 0}).valid->size(), 0);
  EXPECT_THROW(dataset.split({.valid_fraction = 1}), ConfigError);
  EXPECT_THROW(Hdf5Dataset({.files = {write_jets("few.h5", {.rows = 8})}, .card = write_card()})
                   .split({.valid_fraction = 0.001}),
               ConfigError);
}

TEST_F(Hdf5DatasetTest, FitsAutomaticInputsToTheTrainingPart) {
  const Hdf5Dataset dataset({.files = {write_jets("jets.h5")}, .card = write_card()});
  const auto [train, valid] = dataset.split({.valid_fraction = 0.5, .seed = 1});
  const auto& spec = train->card()->inputs[1].second[1];
  EXPECT_FALSE(spec.automatic);
  EXPECT_EQ(*train->card(), *valid->card());
  double sum = 0, squares = 0, count = 0;
  for (std::size_t range = 0; range < train->ranges().size(); ++range) {
    const auto block = train->read(range).tensors;
    const at::Tensor values = block["features"].select(2, 1).masked_select(block["mask"]).to(at::kDouble);
    sum += values.sum().item<double>();
    squares += values.square().sum().item<double>();
    count += static_cast<double>(values.numel());
  }
  EXPECT_NEAR(sum / count, 0, 1e-4);
  EXPECT_NEAR(squares / count, 1, 1e-3);
}

TEST_F(Hdf5DatasetTest, TakesAResolvedCardAsItIs) {
  const std::string file = write_jets("jets.h5");
  const Hdf5Dataset first({.files = {file}, .card = write_card(), .length = 5, .classes = {"b", "a"}});
  EXPECT_EQ(first.card().length, 5);
  EXPECT_EQ(first.all()->read(0).tensors["label"][0].item<std::int64_t>(), 1) << "class a comes second";
  const auto other = write_jets("other.h5", {.rows = 60, .first_row = 1000});
  const Hdf5Dataset second({.files = {other}}, first.card());
  EXPECT_EQ(second.card(), first.card()) << "nothing is fitted again";
}

TEST_F(Hdf5DatasetTest, ReadsUnlabelledFilesOnRequest) {
  const std::string file = write_jets("jets.h5", {.labelled = false});
  const Hdf5Dataset dataset({.files = {file}, .card = write_card(), .labels_required = false});
  EXPECT_EQ(dataset.size(), 500);
  EXPECT_EQ(dataset.all()->read(0).tensors["label"][0].item<std::int64_t>(), -1);
  EXPECT_THAT(
      refusal({.files = {file}, .card = write_card()}),
      AllOf(HasSubstr("has no dataset 'label'"), HasSubstr("jet.kind"), HasSubstr("event, jets, particles")));
}

/// Labels of all rows, as the batches have them.
std::vector<std::int64_t> labels_of(const Hdf5Dataset& dataset) {
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

TEST_F(Hdf5DatasetTest, TheClassMayBeThatOfTheFile) {
  write_jets("g1.h5", {.rows = 70, .labelled = false});
  write_jets("g2.h5", {.rows = 30, .first_row = 70, .labelled = false});
  const std::string top = write_jets("t.h5", {.rows = 50, .first_row = 200, .labelled = false});
  const Hdf5Dataset dataset(
      {.class_files = {{"top", {top}}, {"gluon", {path("g*.h5")}}}, .card = write_card()});
  EXPECT_EQ(dataset.size(), 150);
  EXPECT_EQ(dataset.files().size(), 3U);
  EXPECT_THAT(dataset.all()->summary().classes, ElementsAre("top", "gluon"));
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(50, 100));
  EXPECT_EQ(dataset.card().label, "file");
  const auto labels = labels_of(dataset);
  for (std::int64_t row = 0; row < 150; ++row)
    EXPECT_EQ(labels[static_cast<std::size_t>(row)], row < 50 ? 0 : 1);

  const Hdf5Dataset turned({.class_files = {{"top", {top}}, {"gluon", {path("g*.h5")}}},
                            .card = write_card(),
                            .classes = {"gluon", "top"}});
  EXPECT_EQ(labels_of(turned).front(), 1);

  // The resolved card of the run tells evaluation the classes; what has no class is scored without.
  const Hdf5Dataset some({.class_files = {{"gluon", {path("g1.h5")}}}}, dataset.card());
  EXPECT_EQ(count_of(labels_of(some), 1), 70);
  const Hdf5Dataset unknown({.files = {top}, .labels_required = false}, dataset.card());
  EXPECT_EQ(count_of(labels_of(unknown), -1), 50);
  const auto [train, valid] = dataset.split({.valid_fraction = 0.3, .seed = 3});
  EXPECT_EQ(train->size() + valid->size(), 150);
}

TEST_F(Hdf5DatasetTest, ClassesOfTheCardKeepTheirPlaces) {
  const std::string a = write_jets("a.h5", {.rows = 20, .labelled = false});
  const std::string b = write_jets("b.h5", {.rows = 30, .labelled = false});
  const Hdf5Dataset dataset({.class_files = {{"b", {b}}, {"a", {a}}}, .card = write_card()});
  EXPECT_THAT(dataset.all()->summary().classes, ElementsAre("a", "b")) << "the card's order";
  EXPECT_EQ(dataset.card().signal, "b");
  EXPECT_THAT(labels_of(dataset), testing::AllOf(testing::Each(testing::Ge(0)), testing::SizeIs(50)));
  EXPECT_EQ(count_of(labels_of(dataset), 1), 30);
}

TEST_F(Hdf5DatasetTest, LabelsOfTheFileMustAgreeWithItsClass) {
  const std::string mixed = write_jets("mixed.h5");
  const std::string other = write_jets("other.h5", {.rows = 40, .labelled = false});
  EXPECT_THAT(refusal({.class_files = {{"a", {mixed}}, {"b", {other}}}, .card = write_card()}),
              AllOf(HasSubstr("mixed.h5, row 1: is labelled b (jet.kind)"), HasSubstr("a=" + mixed),
                    HasSubstr("--data " + mixed)));
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
TEST_F(Hdf5DatasetTest, UnlabelledFilesAreToldTheWordsThatNameTheirClasses) {
  const std::string a = write_jets("a30.h5", {.rows = 60, .labelled = false});
  const std::string b = write_jets("jets b.h5", {.rows = 40, .labelled = false});
  const std::string message = refusal({.files = {a, b}, .card = write_card()});
  const std::string words = "--data a=" + a + " --data b='" + b + "'";
  EXPECT_THAT(message, AllOf(HasSubstr("has no dataset 'label'"), HasSubstr(words)));
  EXPECT_THAT(message, testing::Not(HasSubstr("It looks like")));
  const std::vector<std::string> data = {"a=" + a, "b=" + b};
  const DataFiles files = parse_data_words(data);
  ASSERT_EQ(files.class_files.size(), 2U);
  const Hdf5Dataset dataset({.files = files.files, .class_files = files.class_files, .card = write_card()});
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(60, 40));
  EXPECT_THAT(refusal({.files = {a}, .card = write_card()}), HasSubstr("--data a=" + a + " and one more"));

  try {  // files of a run whose label is the file need their class too
    const Hdf5Dataset valid({.files = {a, b}}, dataset.card());
    ADD_FAILURE() << "taken";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("its class (a, b) is not said"), HasSubstr(words)));
  }
}

TEST_F(Hdf5DatasetTest, WordsOfDataNameFilesAndClasses) {
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

TEST_F(Hdf5DatasetTest, ReadsCompoundsByMember) {
  struct Track {
    float pt;
    std::int8_t valid;
    double deta, dphi;
  };
  const std::int64_t rows = 300;
  std::vector<Track> tracks(static_cast<std::size_t>(rows * 5));
  std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    labels[static_cast<std::size_t>(row)] = row % 3 == 0 ? 5 : 0;
    for (std::int64_t slot = 0; slot < 5; ++slot)
      tracks[static_cast<std::size_t>(row * 5 + slot)] = {static_cast<float>(1000 * (row + slot + 1)),
                                                          slot <= row % 5, 0.1, 0.2};
  }
  const hid_t track = H5Tcreate(H5T_COMPOUND, sizeof(Track));
  H5Tinsert(track, "pt", HOFFSET(Track, pt), H5T_NATIVE_FLOAT);
  H5Tinsert(track, "valid", HOFFSET(Track, valid), H5T_NATIVE_INT8);
  H5Tinsert(track, "deta", HOFFSET(Track, deta), H5T_NATIVE_DOUBLE);
  H5Tinsert(track, "dphi", HOFFSET(Track, dphi), H5T_NATIVE_DOUBLE);
  const hid_t jet = H5Tcreate(H5T_COMPOUND, sizeof(std::int64_t));
  H5Tinsert(jet, "flavour", 0, H5T_NATIVE_INT64);
  const hid_t file = create_file(path("upp.h5"));
  const auto compress = [](hid_t create) {
    H5Pset_shuffle(create);
    H5Pset_deflate(create, 4);
  };
  write_dataset(file, "tracks", track, track, {static_cast<hsize_t>(rows), 5}, tracks.data(),
                {"", {100, 5}, compress});
  write_dataset(file, "jets", jet, jet, {static_cast<hsize_t>(rows)}, labels.data(), {"", {64}, compress});
  H5Fclose(file);
  H5Tclose(track);
  H5Tclose(jet);
  const auto card = write_card(kCompoundCard);
  const Hdf5Dataset dataset({.files = {path("upp.h5")}, .card = card});
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(200, 100));
  const auto block = dataset.all()->read(1).tensors;
  EXPECT_NEAR(block["features"][7][1][0].item<float>(), 109, 1e-4) << "row 107, slot 1, in GeV";
  EXPECT_EQ(block["mask"][7].sum().item<std::int64_t>(), 3);

  std::string misspelt(kCompoundCard);
  misspelt.replace(misspelt.find("part.pt"), 7, "part.energy");
  EXPECT_THAT(
      refusal({.files = {path("upp.h5")}, .card = write_card(misspelt)}),
      AllOf(HasSubstr("part.energy"), HasSubstr("upp.h5"), HasSubstr("members pt, valid, deta, dphi")));

  // Without its label member, listed or not, a file is unlabelled: data of the detector can be scored.
  for (const std::string_view columns : {"", "columns = [\"flavour\", \"missing\"]\n"}) {
    std::string unlabelled(kCompoundCard);
    unlabelled.replace(unlabelled.find("jet.flavour"), 11, "jet.missing");
    unlabelled.insert(unlabelled.find("[[read.part]]"), columns);
    const Hdf5Dataset scored(
        {.files = {path("upp.h5")}, .card = write_card(unlabelled), .labels_required = false});
    EXPECT_EQ(scored.size(), 300);
    EXPECT_EQ(scored.all()->read(0).tensors["label"][0].item<std::int64_t>(), -1);
    EXPECT_THAT(refusal({.files = {path("upp.h5")}, .card = write_card(unlabelled)}),
                AllOf(HasSubstr("needs the column jet.missing, which is not in dataset 'jets' (members "),
                      HasSubstr("flavour"), HasSubstr("--data")));
  }
}

TEST_F(Hdf5DatasetTest, ReadsOneDatasetPerColumn) {
  JetFile jets;
  const at::Tensor particles = jets.particles();
  {
    Hdf5Writer writer(path("groups.h5"));
    writer.create_dataset("INPUTS/Source/pt", particles.select(2, 2).contiguous(), 50);
    writer.create_dataset("INPUTS/Source/eta:rel", particles.select(2, 0).contiguous(), 50);
    writer.create_dataset("INPUTS/Source/MASK", particles.select(2, 3).to(at::kBool), 50);
    writer.create_dataset("EVENT/label[0]", jets.labels(), 50);
    writer.create_dataset("EVENT/weight", at::ones({500}), 50);
    writer.commit();
  }
  const std::string card = write_card(R"toml(card = 1
[[read.part]]
from = "/INPUTS/Source/*"
[[read.jet]]
from = "EVENT/*"
columns = ["label[0]"]
[particles]
mask = "part.MASK > 0"
length = 6
[inputs]
points = ["part.'eta:rel'", "part.pt"]
[label]
of = "jet.'label[0]'"
classes = [["a", 0], ["b", 1]]
)toml");
  const Hdf5Dataset dataset({.files = {path("groups.h5")}, .card = card});
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(250, 250));
  const auto block = dataset.all()->read(0).tensors;
  for (std::int64_t row = 0; row < 50; row += 7)
    for (std::int64_t slot = 0; slot <= row % 6; ++slot) {
      EXPECT_EQ(block["points"][row][slot][0].item<float>(), particles[row][slot][0].item<float>());
      EXPECT_EQ(block["points"][row][slot][1].item<float>(), particles[row][slot][2].item<float>());
    }
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}, .card = card}),
              HasSubstr("has no dataset 'INPUTS/Source/MASK', from which card 'card' reads part.MASK"));
}

TEST_F(Hdf5DatasetTest, WhereALargerCardNearlyFitsItIsAskedFor) {
  {
    Hdf5Writer writer(path("cms.h5"));
    writer.create_dataset("particle_features", at::ones({20, 10, 4}), 10);
    writer.create_dataset("particle_extra", at::ones({20, 10, 8}), 10);
    writer.create_dataset("jet_features", at::ones({20, 4}), 10);
    writer.create_dataset("jet_label", at::arange(20, at::kInt).remainder(4), 10);
    writer.commit();
  }
  EXPECT_THAT(refusal({.files = {path("cms.h5")}}),
              AllOf(HasSubstr("--card jetnet (jet.type: 0 g, 1 q"), HasSubstr("--card cms_btag"),
                    HasSubstr("event_no is missing")));
  EXPECT_EQ(Hdf5Dataset({.files = {path("cms.h5")}, .card = "jetnet"}).size(), 20) << "as advised";
}

TEST_F(Hdf5DatasetTest, LabelsOfFilesToValidateOnMustAgreeToo) {
  const auto write = [&](const std::string& name, int label) {
    Hdf5Writer writer(path(name));
    writer.create_dataset("particle_features", at::ones({20, 10, 4}), 10);
    writer.create_dataset("jet_features", at::full({20, 4}, 1.0 + label, at::kFloat), 10);
    if (label >= 0) writer.create_dataset("jet_label", at::full({20}, label, at::kInt), 10);
    writer.commit();
    return path(name);
  };
  const std::string g = write("g.h5", 0), t = write("t.h5", 2);
  const Hdf5Dataset train({.class_files = {{"g", {g}}, {"t", {t}}}});
  EXPECT_EQ(Hdf5Dataset({.class_files = {{"t", {t}}}}, train.card()).size(), 20);
  try {
    const Hdf5Dataset valid({.class_files = {{"g", {t}}}}, train.card());
    ADD_FAILURE() << "taken";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("t.h5, row 0: is labelled t (jet.type)"));
  }
}

TEST_F(Hdf5DatasetTest, TheLogSaysTheCardAndItsClasses) {
  {
    Hdf5Writer writer(path("qg.h5"));
    writer.create_dataset("X", at::ones({20, 10, 4}), 10);
    writer.create_dataset("y", at::zeros({20}, at::kInt), 10);
    writer.commit();
  }
  testing::internal::CaptureStderr();
  const Hdf5Dataset dataset({.files = {path("qg.h5")}, .logger = Logger(make_stderr_sink())});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("qg.h5: recognised as card quark_gluon (labels jet.is_quark: 0 gluon, 1 quark)"));
}

TEST_F(Hdf5DatasetTest, FingerprintFollowsContentNotPlace) {
  const std::string file = write_jets("jets.h5");
  const Hdf5Dataset first({.files = {file}, .card = write_card()});
  std::filesystem::copy_file(file, path("copy.h5"));
  const Hdf5Dataset copy({.files = {path("copy.h5")}, .card = write_card()});
  EXPECT_EQ(first.all()->summary().fingerprint, copy.all()->summary().fingerprint);
  const Hdf5Dataset other({.files = {write_jets("other.h5", {.first_row = 1})}, .card = write_card()});
  EXPECT_NE(first.all()->summary().fingerprint, other.all()->summary().fingerprint);
}

TEST_F(Hdf5DatasetTest, RefusesFilesThatAreNone) {
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
TEST_F(Hdf5DatasetTest, RowsNeverWrittenAreRefusedOrCounted) {
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
  const Hdf5Dataset filled({.files = {name}, .card = card_with("card = 1", "card = 1\nmissing = \"fill\"")});
  EXPECT_EQ(filled.all()->summary().rows.filled, 300);
  EXPECT_THAT(filled.all()->summary().class_counts, ElementsAre(300, 200));
  EXPECT_EQ(
      Hdf5Dataset({.files = {write_jets("whole.h5")}, .card = write_card()}).all()->summary().rows.filled, 0);
}

// In a process of its own, whose limits are lowered.
TEST_F(Hdf5DatasetTest, MoreFilesThanMayBeOpenRaiseTheLimit) {
  constexpr int count = 60;
  for (int i = 0; i < count; ++i)
    write_jets("many" + std::to_string(i) + ".h5",
               {.rows = 2, .chunk = 2, .jet_chunk = 2, .first_row = 2 * i});
  for (const bool hard : {false, true}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = 40;
      if (hard) limit.rlim_max = 40;
      setrlimit(RLIMIT_NOFILE, &limit);
      const Hdf5DatasetOptions options{.files = {path("many*.h5")}, .card = write_card()};
      const std::string refused = refusal(options);
      if (refused != "no exception") std::fprintf(stderr, "%s\n", refused.c_str());
      getrlimit(RLIMIT_NOFILE, &limit);
      _exit(refused == "no exception" && (hard || limit.rlim_cur > 2 * count) ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << (hard ? "hard limit" : "soft limit");
  }
}

TEST_F(Hdf5DatasetTest, FilesAreKnownByWhatIsInThem) {
  const std::string file = write_jets("jets.h5");
  std::filesystem::copy_file(file, path("copy.h5"));
  std::filesystem::create_symlink(file, path("link.h5"));
  const std::string other = write_jets("other.h5", {.first_row = 1});
  for (const bool hash_data : {false, true}) {
    const auto identity = [&](const std::string& name) {
      const Hdf5Dataset jets({.files = {name}, .card = write_card(), .hash_data = hash_data});
      const auto parts = jets.split({.valid_fraction = 0.3});
      EXPECT_EQ(parts.train->summary().files.at(0).fingerprint,
                parts.valid->summary().files.at(0).fingerprint);
      EXPECT_EQ(parts.train->summary().files.at(0).path, name);
      return parts.train->summary().files.at(0).fingerprint;
    };
    EXPECT_EQ(identity(file), identity(path("copy.h5")));
    EXPECT_EQ(identity(file), identity(path("link.h5")));
    EXPECT_NE(identity(file), identity(other));
  }
}

TEST_F(Hdf5DatasetTest, RefusesATruncatedFile) {
  const std::string file = write_jets("cut.h5");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) * 2 / 3);
  EXPECT_THAT(refusal({.files = {file}, .card = write_card()}),
              AllOf(HasSubstr("cut.h5"), HasSubstr("truncated")));
}

TEST_F(Hdf5DatasetTest, RefusesAnEmptyFile) {
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

TEST_F(Hdf5DatasetTest, SuggestsTheCardThatFits) {
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
                    HasSubstr("--write-card")));
}

TEST_F(Hdf5DatasetTest, RefusesWrongRanksTypesAndRows) {
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

TEST_F(Hdf5DatasetTest, RefusesUnknownLabelsWithTheirCounts) {
  const auto card = card_with("[[\"a\", 0], [\"b\", 1]]", "[[\"a\", 0], [\"b\", 7]]");
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}, .card = card}),
              AllOf(HasSubstr("jets.h5"), HasSubstr("1")));
}

TEST_F(Hdf5DatasetTest, NamesFileRowAndColumnOfNaN) {
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

TEST_F(Hdf5DatasetTest, RefusesASelectionThatKeepsNothing) {
  const auto card = card_with("[split]", "[select]\njets = \"jet.pt > 1000000\"\n[split]");
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")}, .card = card}),
              AllOf(HasSubstr("none of the 500 rows"), HasSubstr("jet.pt > 1000000")));
}

TEST_F(Hdf5DatasetTest, EveryMisfitOfCardAndFileSaysWhatIsThereAndWhatIsWanted) {
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
            {"jets.h5, dataset 'particles'", "[500, 6, 4]", "values 0 to 9 of 4", "--write-card"}},
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

TEST_F(Hdf5DatasetTest, AMemberThatHoldsNoNumbersIsNamed) {
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
