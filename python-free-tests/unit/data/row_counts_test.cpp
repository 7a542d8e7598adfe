// SPDX-License-Identifier: Apache-2.0
/// What became of the rows of a file, and what their weights amount to.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/detail/notices.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Jets with pt = row, label row % 2, weight 1 and three particles each.
struct Jets {
  at::Tensor pt, label, weight, particles;

  explicit Jets(std::int64_t rows = 200)
      : pt(at::arange(rows, at::kDouble)),
        label(at::arange(rows, at::kDouble).remainder(2)),
        weight(at::ones({rows}, at::kDouble)),
        particles(at::ones({rows, 4, 2}, at::kFloat)) {
    particles.select(2, 0).copy_(at::arange(rows * 4, at::kFloat).view({rows, 4}));
    particles.select(1, 3).zero_();
  }
  void empty(std::int64_t row) { particles[row].zero_(); }
};

std::string card_text(const std::string& label = "", const std::string& more = "") {
  return R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "kind", "w"]
[[read.part]]
from = "particles"
columns = ["x", "real"]
[particles]
mask = "part.real > 0"
length = 4
[inputs]
points = ["part.x", "part.x"]
features = [["part.x", "auto"], ["part.x * 0 + 4", "auto"]]
[label]
of = "jet.kind"
classes = [["a", 0], ["b", 1]]
)toml" + label +
         "\n" + more;
}

class RowCountsTest : public Hdf5FilesTest {
 protected:
  std::string write(const Jets& jets, const std::string& name = "jets.h5") const {
    Hdf5Writer writer(path(name));
    writer.create_dataset("jets", at::stack({jets.pt, jets.label, jets.weight}, 1), 32);
    writer.create_dataset("particles", jets.particles, 32);
    writer.commit();
    return path(name);
  }
  JetDataset open(const Jets& jets, const std::string& card) const {
    return JetDataset({.files = {write(jets)}, .threads = 2}, features::parse_card(card, "test"));
  }
  std::string refusal(const Jets& jets, const std::string& card) const {
    try {
      open(jets, card);
    } catch (const DataError& error) {
      return error.what();
    }
    return "not refused";
  }
};

/// All weights of a part, in order.
std::vector<double> weights_of(const Dataset& part) {
  std::vector<double> weights;
  for (std::size_t range = 0; range < part.ranges().size(); ++range) {
    if (part.ranges()[range].count == 0) continue;
    const at::Tensor block = part.read(range).tensors["weight"].to(at::kDouble);
    weights.insert(weights.end(), block.const_data_ptr<double>(),
                   block.const_data_ptr<double>() + block.numel());
  }
  return weights;
}

double mean_magnitude(const std::vector<double>& weights) {
  double sum = 0;
  for (const double weight : weights) sum += std::abs(weight);
  return sum / static_cast<double>(weights.size());
}

TEST_F(RowCountsTest, SaysHowLabelsBecomeClasses) {
  EXPECT_EQ(open(Jets(), card_text()).all()->summary().labels, "jet.kind: 0 a, 1 b");
}

TEST_F(RowCountsTest, CountsWhatIsLeftOutAndWhy) {
  Jets jets;
  jets.label[10] = 7;
  jets.label[11] = kNan;
  jets.label[12] = kInfinity;
  jets.pt[100] = kNan;
  for (const std::int64_t row : {120, 121, 150}) jets.empty(row);
  const auto dataset =
      open(jets, card_text("others = \"drop\"", "[select]\njets = \"jet.pt >= 3\"\nnot_finite = \"drop\"\n"));
  const auto& summary = dataset.all()->summary();
  EXPECT_EQ(summary.samples, 200 - 3 - 1 - 3);
  EXPECT_EQ(summary.rows.stored, 200);
  EXPECT_EQ(summary.rows.not_selected, 3);
  EXPECT_EQ(summary.rows.other_labels, 1);
  EXPECT_EQ(summary.rows.not_finite, 3);
  EXPECT_EQ(summary.rows.without_particles, 3);
  EXPECT_THAT(notices(summary),
              AllOf(Contains("3 of 200 jets are left out by the card's selection"),
                    Contains("1 of 200 jets are left out because their label is of no class"),
                    Contains(HasSubstr("3 of 200 jets are left out because of NaN or infinity")),
                    Contains("3 of 193 jets have no real particle")));
  const auto [train, valid] = dataset.split({.valid_fraction = 0.5});
  EXPECT_EQ(train->summary().rows.without_particles + valid->summary().rows.without_particles, 3);
}

TEST_F(RowCountsTest, NamesNanLabelsOfAllRanges) {
  Jets jets;
  jets.label[67] = jets.label[190] = kNan;
  jets.label[150] = 9;
  EXPECT_THAT(refusal(jets, card_text()),
              AllOf(HasSubstr("NaN (2 jets, the first: "), HasSubstr("jets.h5, row 67)"),
                    HasSubstr("9 (1 jets"), HasSubstr("row 150"), HasSubstr("others = \"drop\"")));
}

TEST_F(RowCountsTest, SaysNothingOfSoundData) {
  const auto dataset = open(Jets(), card_text());
  auto summary = dataset.all()->summary();
  ASSERT_EQ(summary.columns.size(), 4U);
  summary.columns.pop_back();  // the constant one
  EXPECT_THAT(notices(summary), IsEmpty());
}

TEST_F(RowCountsTest, NamesConstantInputsWithTheirValue) {
  const auto dataset = open(Jets(), card_text());
  EXPECT_THAT(notices(dataset.all()->summary()),
              ElementsAre(HasSubstr("input \"part.x * 0 + 4\" of features is 4 in each of the 600 entries")));
}

TEST_F(RowCountsTest, NoParticleAtAllIsAnError) {
  Jets jets;
  jets.particles.zero_();
  EXPECT_THAT(refusal(jets, card_text()),
              AllOf(HasSubstr("none of the 200 jets in jets.h5 has a real particle"),
                    HasSubstr("part.real > 0"), HasSubstr("data::list_contents")));
}

TEST_F(RowCountsTest, ParticlesAnywhereAreEnough) {
  Jets jets(100000);  // more than are surveyed
  const at::Tensor one = jets.particles[1].clone();
  jets.particles.zero_();
  jets.particles[77777].copy_(one);
  std::string card = card_text();
  card.replace(card.find(", [\"part.x * 0 + 4\", \"auto\"]"),
               std::string(", [\"part.x * 0 + 4\", \"auto\"]").size(), "");
  card.replace(card.find("[\"part.x\", \"auto\"]"), std::string("[\"part.x\", \"auto\"]").size(),
               "\"part.x\"");
  const auto dataset = open(jets, card);
  EXPECT_THAT(notices(dataset.all()->summary()), Contains(HasSubstr("about 100000 of 100000 jets")));
}

TEST_F(RowCountsTest, OneClassIsSaidSo) {
  Jets jets;
  jets.label.fill_(1);
  EXPECT_THAT(notices(open(jets, card_text()).all()->summary()),
              Contains("all 200 labelled jets are 'b': there is nothing to tell them from"));
}

TEST_F(RowCountsTest, WeightsOfAnyScaleAreTheSame) {
  const std::string card = card_text("", "[weights]\nsample = \"jet.w\"\n");
  const at::Tensor weights = 1 + at::arange(200, at::kDouble).remainder(7);
  std::vector<double> expected;
  for (const double scale : {1.0, 1e-300, 1e-30, 1e-9, 1e5, 1e30, 1e300}) {
    Jets jets;
    jets.weight = weights * scale;
    const auto [train, valid] = open(jets, card).split({.valid_fraction = 0.3});
    const auto found = weights_of(*train), found_valid = weights_of(*valid);
    EXPECT_NEAR(mean_magnitude(found), 1, 1e-6) << scale;
    EXPECT_NEAR(train->summary().weight_factor * scale * mean_magnitude(found),
                valid->summary().weight_factor * scale, 1e-6 * train->summary().weight_factor * scale)
        << "one factor for both parts";
    EXPECT_NEAR(mean_magnitude(found_valid), 1, 0.2);
    if (expected.empty()) expected = found;
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-6) << scale;
  }
}

TEST_F(RowCountsTest, TheFactorIsKeptInTheResolvedCard) {
  Jets jets;
  jets.weight.fill_(1e-6);
  const auto dataset = open(jets, card_text("", "[weights]\nsample = \"jet.w\"\n"));
  EXPECT_NEAR(dataset.all()->summary().weight_factor, 1e6, 1);
  const auto resolved = features::parse_card(dataset.all()->summary().card, "resolved");
  EXPECT_EQ(resolved, dataset.card());
  jets.weight.fill_(3e-6);
  const JetDataset later({.files = {write(jets, "later.h5")}}, resolved);
  EXPECT_NEAR(weights_of(*later.all()).front(), 3, 1e-6);
}

TEST_F(RowCountsTest, ClassWeightsAreNormalisedToo) {
  const auto dataset = open(Jets(), card_text("", "[weights]\nclass = [1e-9, 3e-9]\n"));
  EXPECT_FLOAT_EQ(static_cast<float>(weights_of(*dataset.all()).front()), 0.5f);
  const auto balanced = open(Jets(), card_text("", "[weights]\nclass = \"balanced\"\n"));
  EXPECT_EQ(balanced.all()->summary().weight_factor, 1);
}

TEST_F(RowCountsTest, NegativeWeightsTrainAndAreSaid) {
  Jets jets;
  for (std::int64_t row = 0; row < 20; ++row) jets.weight[row] = -2;
  const auto dataset = open(jets, card_text("", "[weights]\nsample = \"jet.w\"\n"));
  const auto weights = weights_of(*dataset.all());
  EXPECT_NEAR(mean_magnitude(weights), 1, 1e-6);
  EXPECT_LT(weights.front(), 0);
  EXPECT_EQ(dataset.all()->summary().negative_weights, 20);
  EXPECT_THAT(notices(dataset.all()->summary()),
              Contains(HasSubstr("20 of 200 jets have a negative weight, 18.2 % of the sum of magnitudes")));
  // The two ways out that docs/cards.md names.
  const auto magnitudes = open(jets, card_text("", "[weights]\nsample = \"abs(jet.w)\"\n"));
  EXPECT_EQ(magnitudes.all()->summary().negative_weights, 0);
  const auto positive =
      open(jets, card_text("", "[select]\njets = \"jet.w > 0\"\n[weights]\nsample = \"jet.w\"\n"));
  EXPECT_EQ(positive.size(), 180);
}

TEST_F(RowCountsTest, WeightsThatTeachNothingAreRefused) {
  Jets jets;
  jets.weight.zero_();
  EXPECT_THAT(refusal(jets, card_text("", "[weights]\nsample = \"jet.w\"\n")),
              AllOf(HasSubstr("the weights \"jet.w\" have the mean magnitude 0"), HasSubstr("[weights]")));
  jets.weight.fill_(-1);
  const std::string message = refusal(jets, card_text("", "[weights]\nsample = \"jet.w\"\n"));
  EXPECT_THAT(message, AllOf(HasSubstr("do not add up to more than 0"), HasSubstr("200 of 200 jets"),
                             HasSubstr("\n  sample = \"abs(jet.w)\"")));
  const std::string advice = message.substr(message.rfind("sample = "));
  EXPECT_EQ(refusal(jets, card_text("", "[weights]\n" + advice + "\n")), "not refused");
}

TEST_F(RowCountsTest, NanAndInfiniteWeightsAreRefusedWithTheirRow) {
  for (const double value : {kNan, kInfinity, -kInfinity}) {
    Jets jets;
    jets.weight[123] = value;
    const std::string message = refusal(jets, card_text("", "[weights]\nsample = \"jet.w\"\n"));
    EXPECT_THAT(message, AllOf(HasSubstr("jets.h5, row 123: the weight \"jet.w\" is "),
                               HasSubstr("not_finite = \"drop\"")));
    const auto dataset =
        open(jets, card_text("", "[select]\nnot_finite = \"drop\"\n[weights]\nsample = \"jet.w\"\n"));
    EXPECT_EQ(dataset.all()->summary().rows.not_finite, 1);
    EXPECT_EQ(dataset.size(), 199);
  }
}

TEST_F(RowCountsTest, RowsOfSamplesStayRightWhenSomeAreLeftOut) {
  Jets jets;
  jets.weight[5] = jets.weight[64] = kNan;
  jets.label[6] = 3;
  const auto dataset = open(
      jets,
      card_text("others = \"drop\"", "[select]\nnot_finite = \"drop\"\n[weights]\nsample = \"jet.w\"\n"));
  EXPECT_EQ(dataset.row_of(4).row, 4);
  EXPECT_EQ(dataset.row_of(5).row, 7);
  EXPECT_EQ(dataset.row_of(61).row, 63);
  EXPECT_EQ(dataset.row_of(62).row, 65);
}

}  // namespace
}  // namespace bunchtrain::data
