// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmath>
#include <map>
#include <set>

#include "bunchtrain/data/data_loader.hpp"
#include "jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using JetDatasetTest = JetFileTest;

TEST_F(JetDatasetTest, GivesTensorsAndRows) {
  const JetDataset dataset({.files = {write_jets("jets.h5")}, .card = write_card()});
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
  // Of what inputs need, over real particles; those behind the length count too.
  EXPECT_EQ(features::parse_ranges(features::to_text(summary.ranges)), summary.ranges);
  EXPECT_EQ(summary.ranges.jets, 500);
  const std::map<std::string, features::ValueRange> expected = {{"jet.pt", {100, 599}},
                                                                {"part.deta", {0, 0.05}},
                                                                {"part.dphi", {-0.1, 0}},
                                                                {"part.mask", {1, 1}},
                                                                {"part.ptrel", {1.0 / 9, 0.5}}};
  EXPECT_EQ(summary.ranges.columns.size(), expected.size());
  for (const auto& [name, range] : expected) {
    EXPECT_NEAR(summary.ranges.columns.at(name).minimum, range.minimum, 1e-7) << name;
    EXPECT_NEAR(summary.ranges.columns.at(name).maximum, range.maximum, 1e-7) << name;
  }
}

TEST_F(JetDatasetTest, JoinsManyFilesInOrder) {
  write_jets("b.h5", {.rows = 130, .first_row = 500});
  write_jets("a.h5");
  const JetDataset dataset({.files = {path("*.h5")}, .card = write_card()});
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

TEST_F(JetDatasetTest, NumbersOnlySelectedRows) {
  const auto card = card_with("[split]", "[select]\njets = \"jet.pt >= 103 & jet.mass < 16\"\n[split]");
  const JetDataset dataset({.files = {write_jets("jets.h5")}, .card = card, .threads = 2});
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

TEST_F(JetDatasetTest, SplitIsDisjointPureAndKeepsKeysTogether) {
  const JetDataset dataset({.files = {write_jets("jets.h5", {.rows = 4000})}, .card = write_card()});
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
  EXPECT_THROW(JetDataset({.files = {write_jets("few.h5", {.rows = 8})}, .card = write_card()})
                   .split({.valid_fraction = 0.001}),
               ConfigError);
}

TEST_F(JetDatasetTest, FitsAutomaticInputsToTheTrainingPart) {
  const JetDataset dataset({.files = {write_jets("jets.h5")}, .card = write_card()});
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

/// As a process of the same node tells it.
TEST_F(JetDatasetTest, RowsThatAreKnownAreNotReadAgain) {
  const std::string selecting = card_with(
      "[split]",
      "[select]\njets = \"jet.pt > 150\"\n[weights]\nsample = \"jet.mass\"\n[targets]\nenergy = \"2 * jet.pt\"\n[split]");
  const JetDatasetOptions options{.files = {write_jets("jets.h5")}, .card = selecting, .targets = {"energy"}};
  const JetDataset read(options);
  const std::string rows = read.rows_as_bytes();
  JetDatasetOptions told = options;
  told.known_rows = rows;
  const JetDataset known(told);
  EXPECT_TRUE(read.labels_read());
  EXPECT_FALSE(known.labels_read());
  EXPECT_EQ(known.rows_as_bytes(), rows);
  EXPECT_EQ(known.card(), read.card());
  const SplitOptions parts{.valid_fraction = 0.25, .seed = 5};
  for (const auto part : {&DatasetSplit::train, &DatasetSplit::valid}) {
    const DatasetPtr expected = read.split(parts).*part, found = known.split(parts).*part;
    EXPECT_EQ(found->summary().fingerprint, expected->summary().fingerprint);
    EXPECT_EQ(found->summary().class_counts, expected->summary().class_counts);
    EXPECT_EQ(found->summary().rows.not_selected, expected->summary().rows.not_selected);
    for (const auto& [name, tensor] : expected->read(2).tensors)
      EXPECT_TRUE(found->read(2).tensors[name].equal(tensor)) << name;
  }
}

TEST_F(JetDatasetTest, KnownRowsOfOtherFilesAreRefused) {
  const std::string card = write_card(), file = write_jets("jets.h5");
  const std::string longer =
      JetDataset({.files = {write_jets("longer.h5", {.rows = 501})}, .card = card}).rows_as_bytes();
  const std::string other =
      JetDataset({.files = {write_jets("other.h5", {.first_row = 1})}, .card = card}).rows_as_bytes();
  const std::string own = JetDataset({.files = {file}, .card = card}).rows_as_bytes();
  const std::string cut = own.substr(0, own.size() - 1), more = own + "x";
  for (const std::string_view rows :
       {std::string_view(longer), std::string_view(other), std::string_view(cut), std::string_view(more),
        std::string_view("short")})
    EXPECT_THAT(refusal({.files = {file}, .card = card, .known_rows = rows}),
                AllOf(HasSubstr("jets.h5"), HasSubstr("another process of this node read other rows")));
}

TEST_F(JetDatasetTest, TakesAResolvedCardAsItIs) {
  const std::string file = write_jets("jets.h5");
  const JetDataset first({.files = {file}, .card = write_card(), .length = 5, .classes = {"b", "a"}});
  EXPECT_EQ(first.card().length, 5);
  EXPECT_EQ(first.all()->read(0).tensors["label"][0].item<std::int64_t>(), 1) << "class a comes second";
  const auto other = write_jets("other.h5", {.rows = 60, .first_row = 1000});
  const JetDataset second({.files = {other}}, first.card());
  EXPECT_EQ(second.card(), first.card()) << "nothing is fitted again";
}

TEST_F(JetDatasetTest, ReadsUnlabelledFilesOnRequest) {
  const std::string file = write_jets("jets.h5", {.labelled = false});
  const JetDataset dataset({.files = {file}, .card = write_card(), .labels_required = false});
  EXPECT_EQ(dataset.size(), 500);
  EXPECT_EQ(dataset.all()->read(0).tensors["label"][0].item<std::int64_t>(), -1);
  EXPECT_THAT(
      refusal({.files = {file}, .card = write_card()}),
      AllOf(HasSubstr("has no dataset 'label'"), HasSubstr("jet.kind"), HasSubstr("event, jets, particles")));
}

constexpr std::string_view kTargetCard = "[targets]\nenergy = \"2 * jet.pt\"\nkind = \"jet.kind\"\n[split]";

TEST_F(JetDatasetTest, TargetsAreReadOnRequestAndScaledToTheTrainingPart) {
  const JetDataset dataset(
      {.files = {write_jets("jets.h5")}, .card = card_with("[split]", kTargetCard), .targets = {"energy"}});
  const auto [train, valid] = dataset.split({.valid_fraction = 0.5, .seed = 1});
  EXPECT_EQ(*train->card(), *valid->card());
  std::vector<double> values;
  for (std::size_t range = 0; range < train->ranges().size(); ++range) {
    const auto block = train->read(range).tensors;
    EXPECT_FALSE(block.contains("kind"));
    EXPECT_TRUE(at::equal(block["energy"].to(at::kDouble), 2 * block["observer.jet.pt"]));
    for (std::int64_t i = 0; i < block["energy"].numel(); ++i)
      values.push_back(block["energy"][i].item<double>());
  }
  const at::Tensor all = at::tensor(values, at::kDouble);
  const features::TargetSpec& energy = train->card()->target("energy");
  EXPECT_NEAR(energy.mean.value(), all.mean().item<double>(), 1e-9);
  EXPECT_NEAR(energy.width.value(), all.std(/*unbiased=*/false).item<double>(), 1e-9);
  EXPECT_FALSE(train->card()->target("kind").width) << "is not read";
  const JetDataset other({.files = {write_jets("other.h5", {.first_row = 70})}, .targets = {"energy"}},
                         *train->card());
  EXPECT_EQ(other.card(), *train->card()) << "nothing is fitted again";
}

TEST_F(JetDatasetTest, FilesNeedTheColumnsOfTargetsThatAreReadAlone) {
  std::string card(kCard);
  card.replace(card.find("[label]"), card.find("[split]") - card.find("[label]"),
               "[targets]\nkind = \"jet.kind\"\n");
  const std::string file = write_jets("jets.h5", {.labelled = false});
  EXPECT_EQ(JetDataset({.files = {file}, .card = write_card(card)}).size(), 500);
  EXPECT_THAT(refusal({.files = {file}, .card = write_card(card), .targets = {"kind"}}),
              AllOf(HasSubstr("has no dataset 'label'"), HasSubstr("jet.kind")));
  const JetDataset evaluated(
      {.files = {file}, .card = write_card(card), .targets = {"kind"}, .labels_required = false});
  EXPECT_TRUE(evaluated.all()->read(0).tensors["kind"].isnan().all().item<bool>());
  EXPECT_THAT(refusal({.files = {write_jets("all.h5")}, .card = write_card(card), .targets = {"mass"}}),
              HasSubstr("has no target 'mass'; its [targets] are kind"));
}

TEST_F(JetDatasetTest, ATargetThatIsTheSameForAllTeachesNothing) {
  EXPECT_THAT(refusal({.files = {write_jets("jets.h5")},
                       .card = card_with("[split]", "[targets]\none = \"jet.pt * 0 + 3\"\n[split]"),
                       .targets = {"one"}}),
              AllOf(HasSubstr("the target 'one'"), HasSubstr("is 3 for all of 500 jets")));
}

TEST_F(JetDatasetTest, TargetsThatAreNotReadLeaveTheFingerprint) {
  const auto fingerprint = [&](const std::string& card, std::vector<std::string> targets) {
    const JetDataset jets({.files = {path("jets.h5")}, .card = card, .targets = std::move(targets)});
    return jets.all()->summary().fingerprint;
  };
  write_jets("jets.h5");
  const std::string plain = fingerprint(write_card(), {});
  const std::string card = card_with("[split]", kTargetCard);
  EXPECT_EQ(fingerprint(card, {}), plain);
  EXPECT_NE(fingerprint(card, {"energy"}), plain);
  EXPECT_NE(fingerprint(card, {"energy"}), fingerprint(card, {"kind"}));
}

TEST_F(JetDatasetTest, ReadsCompoundsByMember) {
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
  const JetDataset dataset({.files = {path("upp.h5")}, .card = card});
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
    const JetDataset scored(
        {.files = {path("upp.h5")}, .card = write_card(unlabelled), .labels_required = false});
    EXPECT_EQ(scored.size(), 300);
    EXPECT_EQ(scored.all()->read(0).tensors["label"][0].item<std::int64_t>(), -1);
    EXPECT_THAT(refusal({.files = {path("upp.h5")}, .card = write_card(unlabelled)}),
                AllOf(HasSubstr("needs the column jet.missing, which is not in dataset 'jets' (members "),
                      HasSubstr("flavour"), HasSubstr("data = ")));
  }
}

TEST_F(JetDatasetTest, ReadsOneDatasetPerColumn) {
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
  const JetDataset dataset({.files = {path("groups.h5")}, .card = card});
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

TEST_F(JetDatasetTest, FingerprintFollowsContentNotPlace) {
  const std::string file = write_jets("jets.h5");
  const JetDataset first({.files = {file}, .card = write_card()});
  std::filesystem::copy_file(file, path("copy.h5"));
  const JetDataset copy({.files = {path("copy.h5")}, .card = write_card()});
  EXPECT_EQ(first.all()->summary().fingerprint, copy.all()->summary().fingerprint);
  const JetDataset other({.files = {write_jets("other.h5", {.first_row = 1})}, .card = write_card()});
  EXPECT_NE(first.all()->summary().fingerprint, other.all()->summary().fingerprint);
}

TEST_F(JetDatasetTest, MoreFilesThanMayBeOpenRaiseTheLimit) {
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
      const JetDatasetOptions options{.files = {path("many*.h5")}, .card = write_card()};
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

TEST_F(JetDatasetTest, FilesAreKnownByWhatIsInThem) {
  const std::string file = write_jets("jets.h5");
  std::filesystem::copy_file(file, path("copy.h5"));
  std::filesystem::create_symlink(file, path("link.h5"));
  const std::string other = write_jets("other.h5", {.first_row = 1});
  for (const bool hash_data : {false, true}) {
    const auto identity = [&](const std::string& name) {
      const JetDataset jets({.files = {name}, .card = write_card(), .hash_data = hash_data});
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

}  // namespace
}  // namespace bunchtrain::data
