// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/hit_dataset.hpp"

#include <gmock/gmock.h>

#include <numeric>

#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "hit_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(HitDatasetTest, EveryLayoutGivesTheSameEvents) {
  const Events events;
  const at::Tensor hits = events.hits(), kinds = events.kinds(), numbers = events.numbers();
  const at::Tensor counts = as_tensor(events.counts);
  const auto open = [&](const Tensors& tensors, std::string_view layout, std::string_view more = "") {
    return HitDataset({.files = {write(tensors)}, .card = write_card(layout, more)}).all();
  };
  expect_all(HitDataset({.files = {write_csr()}, .card = write_card(kCsr)}).all(), events);
  expect_all(open({{"hits", hits}, {"kind", kinds}, {"number", numbers}, {"n", counts.to(at::kInt)}},
                  "type = \"csr\"\ncounts = \"n\"\n"),
             events);
  expect_all(open({{"hits", hits}, {"kind", kinds}, {"number", numbers}, {"of", events.numbers_of_hits()}},
                  "type = \"flat\"\nevent = \"of\"\nevents = \"number\"\n"),
             events);
  const at::Tensor padded = events.padded(hits, 9), padded_kinds = events.padded(kinds, 9).unsqueeze(2);
  expect_all(open({{"hits", padded}, {"kind", padded_kinds}, {"number", numbers}, {"n", counts}},
                  "type = \"padded\"\ncounts = \"n\"\n"),
             events);
  expect_all(open({{"hits", padded}, {"kind", padded_kinds}, {"number", numbers}}, "type = \"padded\"\n",
                  "[hits]\nmask = \"hit.energy > 0\"\n"),
             events);
}

TEST_F(HitDatasetTest, FlatRowsWithoutAListOfEventsHaveNoEmptyOnes) {
  Events events{.counts = {2, 3, 1}};
  const std::string file = write({{"hits", events.hits()}, {"of", events.numbers_of_hits()}});
  const HitDataset dataset(
      {.files = {file},
       .card = write_card("type = \"flat\"\nevent = \"of\"\n", "",
                          "[[read.hit]]\nfrom = \"hits\"\ncolumns = [\"energy\", \"x\"]\n"
                          "[inputs]\nfeatures = [\"hit.energy\"]\n")});
  EXPECT_EQ(dataset.size(), 3);
  EXPECT_EQ(dataset.hits(), 6);
  const auto splits = dataset.all()->row_splits();
  EXPECT_EQ(Numbers(splits.begin(), splits.end()), (Numbers{0, 2, 5, 6}));
  EXPECT_THAT(dataset.all()->summary().description, HasSubstr("3 of 3 events (6 hits)"));
}

/// Numbers of the events of the batches of an epoch, in the order of positions, as the ranks together see them.
std::vector<Numbers> steps_of(std::vector<DataLoader>& ranks, const Events& events, std::int64_t position) {
  std::vector<Numbers> steps;
  while (true) {
    std::vector<Numbers> shares;
    std::int64_t elements = 0, all_elements = 0, samples = 0;
    for (auto& rank : ranks) {
      const auto batch = rank.next();
      if (!batch) continue;
      EXPECT_EQ(batch->elements, batch->tensors["features"].size(0));
      elements += batch->elements;
      all_elements = batch->global_elements;
      samples += batch->size();
      Numbers& ids = shares.emplace_back();
      for (std::int64_t i = 0; i < batch->size(); ++i) {
        const auto event = (*batch)["observer.event.number"][i].item<double>();
        ids.push_back(std::llround(event - 10) / 3);
        const auto e = static_cast<std::size_t>(ids.back());
        const auto first = (*batch)["row_splits"][i].item<std::int64_t>();
        EXPECT_EQ((*batch)["row_splits"][i + 1].item<std::int64_t>() - first, events.counts[e]);
        if (events.counts[e] > 0) {
          EXPECT_NEAR((*batch)["features"][first][0].item<double>(), 0.1 * static_cast<double>(e) + 0.001,
                      1e-5);
        }
      }
    }
    if (shares.empty()) return steps;
    EXPECT_EQ(elements, all_elements);
    Numbers together;
    std::vector<std::size_t> used(shares.size());
    for (std::int64_t i = 0; i < samples; ++i) {
      const auto rank = static_cast<std::size_t>((position + i) % std::ssize(ranks));
      together.push_back(shares[rank].at(used[rank]++));
    }
    position += samples;
    steps.push_back(std::move(together));
  }
}

TEST_F(HitDatasetTest, BatchesAreTheSameForAnyWorldAndResumeInMidEpoch) {
  Events events;
  for (int i = 0; i < 40; ++i) events.counts.push_back(i * 5 % 9);
  const DatasetPtr all = HitDataset({.files = {write_csr(events)}, .card = write_card(kCsr)}).all();
  for (const std::int64_t budget : {0, 14}) {
    DataLoaderOptions options{.global_batch = 6, .global_elements = budget, .prefetch_bytes = 4096};
    const auto make_ranks = [&](int world) {
      std::vector<DataLoader> ranks;
      for (options.world_size = world, options.rank = 0; options.rank < world; ++options.rank) {
        options.threads = 1 + options.rank % 2;
        ranks.emplace_back(all, options);
      }
      return ranks;
    };
    auto alone = make_ranks(1);
    const auto expected = steps_of(alone, events, 0);
    Numbers seen;
    for (const Numbers& step : expected) seen.insert(seen.end(), step.begin(), step.end());
    std::ranges::sort(seen);
    Numbers every(events.counts.size());
    std::iota(every.begin(), every.end(), 0);
    EXPECT_EQ(seen, every) << "each event once";
    for (int world = 2; world <= 4; ++world) {
      auto ranks = make_ranks(world);
      EXPECT_EQ(steps_of(ranks, events, 0), expected) << world << " ranks, budget " << budget;
    }
    auto before = make_ranks(1);
    std::int64_t position = 0;
    for (int step = 0; step < 3; ++step) position += before.front().next()->global_samples;
    for (int world = 1; world <= 4; ++world) {
      auto ranks = make_ranks(world);
      for (auto& rank : ranks) rank.load(before.front().state());
      EXPECT_EQ(steps_of(ranks, events, position), std::vector<Numbers>(expected.begin() + 3, expected.end()))
          << "resumed by " << world;
    }
  }
}

TEST_F(HitDatasetTest, PartsHaveTheirOwnEventsAndWhatIsFittedToTraining) {
  Events events;
  for (int i = 0; i < 60; ++i) events.counts.push_back(i * 5 % 9);
  std::string sources(kSources);
  sources.replace(sources.find("[\"hit.energy\", \"hit.x\"]"), 23, "[[\"hit.energy\", \"auto\", -inf, inf]]");
  const HitDataset dataset({.files = {write_csr(events)}, .card = write_card(kCsr, "", sources)});
  const auto [train, valid] = dataset.split({.valid_fraction = 0.3, .seed = 5});
  EXPECT_EQ(train->size() + valid->size(), events.size());
  EXPECT_EQ(train->row_splits().back() + valid->row_splits().back(), dataset.hits());
  EXPECT_THAT(std::vector(train->ragged().begin(), train->ragged().end()),
              ElementsAre("features", "shares", "label"));
  double sum = 0, squares = 0, hits = 0;
  for (std::size_t range = 0; range < train->ranges().size(); ++range) {
    const at::Tensor values = train->read(range).tensors["features"].to(at::kDouble);
    sum += values.sum().item<double>();
    squares += values.square().sum().item<double>();
    hits += static_cast<double>(values.size(0));
  }
  EXPECT_NEAR(sum / hits, 0, 1e-5);
  EXPECT_NEAR(squares / hits, 1, 1e-5);
  EXPECT_EQ(train->summary().card, valid->summary().card);
  EXPECT_NE(train->summary().fingerprint, valid->summary().fingerprint);
}

TEST_F(HitDatasetTest, LabelsWeightsAndTargetsOfHits) {
  constexpr std::string_view kMore = R"toml(
[targets]
depth = { of = "hit.x", unit = "mm" }
energy = "event.sum"
[weights]
class = [1.0, 3.0]
sample = "hit.x / 10 + 1"
)toml";
  const Events events;
  const HitDataset dataset(
      {.files = {write_csr()}, .card = write_card(kCsr, kMore), .targets = {"depth", "energy"}});
  const auto& summary = dataset.all()->summary();
  EXPECT_EQ(summary.class_counts[1], events.kinds().sum().item<std::int64_t>()) << "hits, not events";
  EXPECT_EQ(summary.class_counts[0] + summary.class_counts[1], dataset.hits());
  DataLoader loader(dataset.all(), {.global_batch = 12, .shuffle = false});
  const Batch batch = loader.next().value();
  const at::Tensor weight = batch["weight"].to(at::kDouble);
  EXPECT_EQ(weight.size(0), dataset.hits());
  EXPECT_NEAR(weight.mean().item<double>(), 1, 1e-6);
  EXPECT_NEAR((weight[1] / weight[0]).item<double>(), 3 * 2, 1e-5) << "class 3, and x / cm + 1 = 2";
  EXPECT_TRUE(batch["depth"].equal(events.hits().select(1, 1) * 10));
  EXPECT_EQ(batch["energy"].size(0), events.size());
  const features::TargetSpec& depth = dataset.card().target("depth");
  const at::Tensor x = events.hits().select(1, 1).to(at::kDouble) * 10;
  EXPECT_NEAR(depth.mean.value(), x.mean().item<double>(), 1e-9);
  EXPECT_NEAR(depth.width.value(), x.std(/*unbiased=*/false).item<double>(), 1e-9);
  EXPECT_EQ(features::parse_card(features::to_toml(dataset.card()), "again"), dataset.card());
}

TEST_F(HitDatasetTest, BalancedClassesCountHits) {
  const HitDataset dataset(
      {.files = {write_csr()}, .card = write_card(kCsr, "[weights]\nclass = \"balanced\"\n")});
  DataLoader loader(dataset.all(), {.global_batch = 12, .shuffle = false});
  const Batch batch = loader.next().value();
  const at::Tensor odd = batch["label"].eq(1);
  EXPECT_NEAR(batch["weight"].masked_select(odd).sum().item<double>(),
              batch["weight"].masked_select(odd.logical_not()).sum().item<double>(), 1e-4);
}

TEST_F(HitDatasetTest, AMaskLeavesHitsOutAndASelectionEvents) {
  const Events events;
  const HitDataset dataset(
      {.files = {write_csr()},
       .card = write_card(kCsr,
                          "[hits]\nmask = \"hit.kind < 0.5\"\n[select]\nevents = \"event.number > 13\"\n")});
  EXPECT_EQ(dataset.size(), 10);
  std::int64_t even = 0;
  for (std::size_t i = 2; i < events.counts.size(); ++i) even += (events.counts[i] + 1) / 2;
  EXPECT_EQ(dataset.hits(), even);
  DataLoader loader(dataset.all(), {.global_batch = 10, .shuffle = false});
  const Batch batch = loader.next().value();
  EXPECT_EQ(batch["features"].size(0), even);
  EXPECT_EQ(batch["label"].sum().item<std::int64_t>(), 0);
  EXPECT_EQ(dataset.all()->summary().rows.not_selected, 2);
}

TEST_F(HitDatasetTest, EventsMayHaveTheLabels) {
  std::string sources(kSources);
  sources.replace(sources.find("hit.kind"), 8, "event.number - 10 > 15");
  const Events events;
  const HitDataset dataset({.files = {write_csr()}, .card = write_card(kCsr, "", sources)});
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(6, 6)) << "events";
  DataLoader loader(dataset.all(), {.global_batch = 12, .shuffle = false});
  const Batch batch = loader.next().value();
  EXPECT_TRUE(batch["label"].equal(events.numbers().gt(25).to(at::kLong)));
  EXPECT_EQ(batch["features"].size(0), dataset.hits());
}

/// HDF5 reads chunks that nobody wrote as zeros, without a word.
TEST_F(HitDatasetTest, HitsNeverWrittenAreRefusedOrCountedByTheirEvents) {
  const hid_t file = create_file(path("killed.h5"));
  const std::vector<float> hits(40, 1.0F);
  const std::vector<std::int64_t> splits = {0, 3, 10, 10, 14, 20};
  write_floats(file, "written", {20, 2}, hits);
  write_dataset(file, "hits", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {20, 2}, nullptr, {.chunk = {5, 2}});
  write_dataset(file, "splits", H5T_STD_I64LE, H5T_NATIVE_INT64, {6}, splits.data());
  const hid_t dataset = H5Dopen2(file, "hits", H5P_DEFAULT);
  const hsize_t first[2] = {0, 0}, count[2] = {10, 2};
  const hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(2, count, nullptr);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, first, nullptr, count, nullptr);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, hits.data());
  for (const hid_t one : {space, memory}) H5Sclose(one);
  H5Dclose(dataset);
  H5Fclose(file);
  constexpr std::string_view kPlain =
      "[[read.hit]]\nfrom = \"hits\"\ncolumns = [\"energy\", \"x\"]\n[inputs]\nfeatures = [\"hit.energy\"]\n";
  const std::string card = write_card(kCsr, "", kPlain);
  EXPECT_THAT(
      refusal({.files = {path("killed.h5")}, .card = card}),
      AllOf(HasSubstr("dataset 'hits': rows 10 to 19 were never written"), HasSubstr("missing = \"fill\"")));
  std::ofstream filled(path("filled.toml"));
  filled << "card = 1\nkind = \"hits\"\nmissing = \"fill\"\n[layout]\n" << kCsr << kPlain;
  filled.close();
  const HitDataset events({.files = {path("killed.h5")}, .card = path("filled.toml")});
  EXPECT_EQ(events.all()->summary().rows.filled, 2) << "events 3 and 4";
}

TEST_F(HitDatasetTest, FilesWithoutLabelsAreReadForEvaluation) {
  const Events events;
  const std::string file = write({{"hits", events.hits()},
                                  {"number", events.numbers()},
                                  {"splits", as_tensor(running_sums(events.counts))}});
  EXPECT_THAT(refusal({.files = {file}, .card = write_card(kCsr)}),
              AllOf(HasSubstr("has no dataset 'kind'"), HasSubstr("reads hit.kind")));
  const HitDataset unlabelled({.files = {file}, .card = write_card(kCsr), .labels_required = false});
  DataLoader loader(unlabelled.all(), {.global_batch = 12, .shuffle = false});
  const Batch batch = loader.next().value();
  EXPECT_TRUE(batch["label"].eq(-1).all().item<bool>());
  EXPECT_EQ(batch["label"].size(0), unlabelled.hits());
}

TEST_F(HitDatasetTest, CardsOfJetsAndHitsAreToldApart) {
  const std::string file = write_csr(), card = write_card(kCsr);
  try {
    JetDataset jets({.files = {file}, .card = card});
    FAIL() << "hits taken for jets";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("data::HitDataset"));
  }
  EXPECT_THAT(refusal({.files = {file}, .card = "top_tagging"}), StartsWith("another exception: "));
}

TEST_F(HitDatasetTest, ADraftForAnUnknownFileReadsIt) {
  const std::string file = write_csr();
  const std::string draft = features::draft_card(shapes_of(list_contents(file)), "events.h5");
  EXPECT_EQ(features::kind_of_text(draft), features::CardKind::hits);
  std::ofstream(path("draft.toml")) << draft;
  const HitDataset dataset({.files = {file}, .card = path("draft.toml")});
  EXPECT_EQ(dataset.hits(), 37);
  EXPECT_EQ(dataset.card().num_inputs("features"), 3U) << draft;

  Hdf5Writer writer(path("flat.h5"));
  writer.write_compound("rechits", std::vector<CompoundColumn>{{.name = "event_id", .integers = {4, 4, 9}},
                                                               {.name = "energy", .reals = {1, 2, 3}},
                                                               {.name = "z", .reals = {5, 6, 7}}});
  writer.commit();
  const std::string flat = features::draft_card(shapes_of(list_contents(path("flat.h5"))), "flat.h5");
  std::ofstream(path("flat.toml")) << flat;
  const HitDataset table({.files = {path("flat.h5")}, .card = path("flat.toml")});
  EXPECT_EQ(table.size(), 2);
  EXPECT_EQ(table.hits(), 3);
  EXPECT_EQ(table.card().num_inputs("features"), 2U) << flat;
}

}  // namespace
}  // namespace bunchtrain::data
