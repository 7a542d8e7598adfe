// SPDX-License-Identifier: Apache-2.0
// Jets whose particles lie one behind the other, with offsets: as padded batches, and as ragged ones.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "bunchtrain/data/data_loader.hpp"
#include "jet_file_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// The jets of `JetFile`, their real particles alone.
class RaggedJetsTest : public JetFileTest {
 protected:
  std::string write_ragged(const JetFile& jets = {}) const {
    const at::Tensor particles = jets.particles();
    std::vector<at::Tensor> real;
    std::vector<std::int64_t> offsets = {0};
    for (std::int64_t row = 0; row < jets.rows; ++row) {
      const std::int64_t count = (jets.first_row + row) % kSlots + 1;
      real.push_back(particles[row].slice(0, 0, count));
      offsets.push_back(offsets.back() + count);
    }
    Hdf5Writer writer(path("ragged.h5"));
    writer.create_dataset("jets", jets.jets(), 128);
    writer.create_dataset("particles", at::cat(real), 100);
    writer.create_dataset("offsets", at::tensor(offsets, at::kLong), 64);
    writer.create_dataset("event", at::arange(jets.rows, at::kLong).div(4, "floor"), 64);
    writer.create_dataset("label", jets.labels(), 64);
    writer.commit();
    return path("ragged.h5");
  }
  std::string write_ragged_card(const std::string& particles = "length = 4") const {
    std::string text(kCard);
    const std::string from = "mask = \"part.mask > 0.5\"\nlength = 4";
    text.replace(text.find(from), from.size(), particles);
    text += "[layout]\ntype = \"csr\"\nrow_splits = \"offsets\"\n";
    std::ofstream(path("ragged.toml")) << text;
    return path("ragged.toml");
  }
  static Batch first_batch(const DatasetPtr& jets, CollationPtr collation = nullptr) {
    DataLoader loader(jets, {.global_batch = 500, .collation = std::move(collation), .shuffle = false});
    return loader.next().value();
  }
};

TEST_F(RaggedJetsTest, PaddedBatchesAreThoseOfThePaddedFile) {
  const JetDataset padded({.files = {write_jets("padded.h5")}, .card = write_card()});
  const JetDataset ragged({.files = {write_ragged()}, .card = write_ragged_card()});
  const Batch expected = first_batch(padded.all()), found = first_batch(ragged.all());
  for (const auto& [name, tensor] : expected.tensors) EXPECT_TRUE(found[name].equal(tensor)) << name;
  EXPECT_EQ(ragged.all()->summary().truncated, padded.all()->summary().truncated) << "longer ones are cut";
  EXPECT_GT(ragged.all()->summary().truncated, 0);
}

TEST_F(RaggedJetsTest, KnownRowsTellHowLongJetsAre) {
  const JetDatasetOptions options{.files = {write_ragged()}, .card = write_ragged_card(), .ragged = true};
  const JetDataset read(options);
  const std::string rows = read.rows_as_bytes();
  JetDatasetOptions told = options;
  told.known_rows = rows;
  const JetDataset known(told);
  EXPECT_FALSE(known.labels_read());
  EXPECT_THAT(known.all()->row_splits(), testing::ElementsAreArray(read.all()->row_splits()));
  EXPECT_EQ(known.card(), read.card());
}

TEST_F(RaggedJetsTest, RaggedBatchesHaveEveryParticle) {
  const std::string file = write_ragged(), card = write_ragged_card();
  const DatasetPtr jets = JetDataset({.files = {file}, .card = card, .ragged = true}).all();
  EXPECT_THAT(std::vector(jets->ragged().begin(), jets->ragged().end()), ElementsAre("points", "features"));
  const Batch batch = first_batch(jets);
  EXPECT_EQ(batch.elements, batch["points"].size(0));
  EXPECT_EQ(batch["row_splits"][6].item<std::int64_t>(), 1 + 2 + 3 + 4 + 5 + 6);
  EXPECT_EQ(batch["label"].size(0), 500) << "of the jets";
  EXPECT_FALSE(batch.tensors.contains("mask"));

  const Batch wide = first_batch(JetDataset({.files = {file}, .card = card, .length = 6}).all());
  const Batch scattered = first_batch(jets, make_padded_collation(6));
  EXPECT_TRUE(scattered["mask"].equal(wide["mask"]));
  EXPECT_TRUE(scattered["points"].equal(wide["points"]));

  const DatasetPtr said =
      JetDataset({.files = {file}, .card = write_ragged_card("batches = \"ragged\"")}).all();
  EXPECT_TRUE(first_batch(said)["features"].equal(batch["features"]));
}

/// A padded file as ragged batches: the mask says what is there.
TEST_F(RaggedJetsTest, PaddedFilesGiveRaggedBatchesToo) {
  const Batch from_padded = first_batch(
      JetDataset({.files = {write_jets("padded.h5")}, .card = write_card(), .ragged = true}).all());
  const Batch from_ragged =
      first_batch(JetDataset({.files = {write_ragged()}, .card = write_ragged_card(), .ragged = true}).all());
  EXPECT_TRUE(from_padded["row_splits"].equal(from_ragged["row_splits"]));
  EXPECT_TRUE(from_padded["points"].equal(from_ragged["points"]));
}

TEST_F(RaggedJetsTest, PartsAndSelectionsKeepParticlesWithTheirJets) {
  const JetDataset jets({.files = {write_ragged()}, .card = write_ragged_card(), .ragged = true});
  const auto [train, valid] = jets.split({.valid_fraction = 0.25});
  EXPECT_EQ(train->row_splits().back() + valid->row_splits().back(), jets.all()->row_splits().back());
  for (const DatasetPtr& part : {train, valid}) {
    const Batch batch = first_batch(part);
    for (std::int64_t i = 0; i < std::min<std::int64_t>(batch.size(), 40); ++i) {
      const auto row = static_cast<std::int64_t>(batch["observer.jet.pt"][i].item<double>()) - 100;
      EXPECT_EQ((batch["row_splits"][i + 1] - batch["row_splits"][i]).item<std::int64_t>(), row % kSlots + 1);
    }
  }
}

TEST_F(RaggedJetsTest, LoadersSayHowManySamplesAPaddedCollationCuts) {
  const JetDataset jets({.files = {write_ragged()}, .card = write_ragged_card(), .ragged = true});
  std::string said;
  struct Sink final : LogSink {
    explicit Sink(std::string& text) : text_(text) {}
    void write(LogLevel, std::string_view text) override { text_ += text; }
    std::string& text_;
  };
  DataLoader loader(jets.all(), {.global_batch = 50,
                                 .collation = make_padded_collation(4),
                                 .logger = Logger(std::make_shared<Sink>(said))});
  loader.next();
  EXPECT_THAT(said, HasSubstr("padded to 4 (166 samples are longer and cut)"));
}

}  // namespace
}  // namespace bunchtrain::data
