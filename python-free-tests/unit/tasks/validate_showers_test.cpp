// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_comparison/validate_showers.hpp"

#include <ATen/ops/roll.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shower_writer.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "bunchtrain/tasks/shower_comparison/shower_report.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::shower_comparison {
namespace {

/// GFlash showers in files: as they are, and with all cells moved along x.
class ValidateShowersTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const simulate::GflashOptions& options,
                    std::int64_t shift = 0) const {
    NamedTensors showers = simulate::make_gflash_showers(options, 0, options.count);
    showers.set("image", at::roll(showers["image"], shift, 1));
    const auto path = folder_ / name;
    data::ShowerWriter file(path, {.inclined = options.inclined});
    file.append(showers);
    file.commit();
    return path.string();
  }
  static const metrics::ComparedQuantity& find(const metrics::ShowerComparison& comparison,
                                               const std::string& name) {
    for (const auto& quantity : comparison.quantities)
      if (quantity.name == name && quantity.bin == "all") return quantity;
    throw ConfigError("no quantity " + name);
  }
  std::string message_of(const ValidateShowersOptions& options) const {
    try {
      validate_showers(options);
    } catch (const Error& error) {
      return error.message();
    }
    return "nothing was thrown";
  }
  const std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / "validate_showers_test";
};

TEST_F(ValidateShowersTest, AFileEqualsItself) {
  const std::string file = write("a.h5", {.count = 120});
  const auto comparison = validate_showers({.reference = {file}, .candidate = {file}});
  EXPECT_EQ(comparison.score.total(), 0);
  EXPECT_EQ(comparison.worst_profile, 0);
  EXPECT_EQ(comparison.reference.showers, 120);
  for (const auto& quantity : comparison.quantities) EXPECT_EQ(quantity.relative(), 0) << quantity.name;
  EXPECT_TRUE(
      metrics::violations(comparison, parse_tolerances("fraction=1e-9,profile=1e-9,score=1e-9")).empty());
}

TEST_F(ValidateShowersTest, AShiftByOneCellIsSeenAndMeasured) {
  const std::string file = write("a.h5", {.count = 120}), moved = write("b.h5", {.count = 120}, 1);
  const auto comparison = validate_showers({.reference = {file}, .candidate = {moved}});
  const auto& place = find(comparison, "first moment x");
  // Nearly: what lies in the last row of cells comes back in the first.
  EXPECT_NEAR(place.candidate.value - place.reference.value, 1, 0.02);
  EXPECT_EQ(find(comparison, "first moment z").relative(), 0);
  const auto violated = metrics::violations(comparison, parse_tolerances("profile=0.05,fraction=0.001"));
  ASSERT_FALSE(violated.empty());
  for (const auto& line : violated) EXPECT_EQ(line.find("fraction"), std::string::npos) << line;
}

TEST_F(ValidateShowersTest, OnlySoManyShowersAsWanted) {
  const std::string file = write("a.h5", {.count = 60});
  const auto comparison =
      validate_showers({.reference = {file}, .candidate = {file}, .max_showers = 17, .batch = 8});
  EXPECT_EQ(comparison.reference.showers, 17);
}

TEST_F(ValidateShowersTest, AnglesAreBinnedAndCompared) {
  const std::string file = write("angle.h5", {.cells = {51, 51, 25}, .inclined = true, .count = 40});
  const auto comparison = validate_showers(
      {.reference = {file}, .candidate = {file}, .energy_edges = {0, 1000}, .theta_edges = {1, 1.5, 2.2}});
  EXPECT_EQ(comparison.reference.binning.theta_edges.size(), 3U);
  EXPECT_GT(find(comparison, "measured theta").reference.value, 1);
  EXPECT_EQ(comparison.score.angle, 0);
}

TEST_F(ValidateShowersTest, OtherCellsCannotBeCompared) {
  const std::string fixed = write("a.h5", {.count = 20});
  const std::string inclined = write("b.h5", {.cells = {51, 51, 25}, .inclined = true, .count = 20});
  const std::string text = message_of({.reference = {fixed}, .candidate = {inclined}});
  EXPECT_NE(text.find("25 x 25 x 25"), std::string::npos) << text;
  EXPECT_NE(text.find("51 x 51 x 25"), std::string::npos) << text;
}

TEST_F(ValidateShowersTest, AnEnergyBinWithoutCandidatesIsNamed) {
  const std::string wide = write("a.h5", {.count = 60});
  const std::string low = write("b.h5", {.lowest_energy = 10, .highest_energy = 20, .count = 20});
  const std::string text =
      message_of({.reference = {wide}, .candidate = {low}, .energy_edges = {10, 50, 100}});
  EXPECT_NE(text.find("50-100 GeV"), std::string::npos) << text;
}

/// A candidate's showers without energy, and those with too little for a hit, are counted and judged,
/// whatever its card would leave out.
TEST_F(ValidateShowersTest, EmptyAndDarkShowersOfACandidateAreCountedAndJudged) {
  for (const bool inclined : {false, true}) {
    const simulate::GflashOptions options{
        .cells = inclined ? std::array<std::int64_t, 3>{51, 51, 25} : std::array<std::int64_t, 3>{25, 25, 25},
        .inclined = inclined,
        .count = 60};
    NamedTensors showers = simulate::make_gflash_showers(options, 0, options.count);
    const at::Tensor image = showers["image"].clone();
    image.narrow(0, 0, 12).zero_();
    image.narrow(0, 12, 6).clamp_max_(1e-5);
    showers.set("image", image);
    const auto path = folder_ / "dark.h5";
    data::ShowerWriter file(path, {.inclined = inclined});
    file.append(showers);
    file.commit();
    const std::string reference = write("good.h5", options);
    const auto comparison = validate_showers({.reference = {reference}, .candidate = {path}});
    EXPECT_EQ(comparison.candidate.showers, 60) << inclined;
    EXPECT_EQ(comparison.candidate.empty, 12);
    EXPECT_EQ(comparison.candidate.dark, 18);
    EXPECT_EQ(comparison.candidate.left_out, 0);
    EXPECT_EQ(comparison.reference.dark, 0);
    EXPECT_NE(format_comparison(comparison).find("12 of them without energy"), std::string::npos);
    EXPECT_NE(format_comparison(comparison).find("18 dark"), std::string::npos);
    EXPECT_TRUE(metrics::violations(comparison, parse_tolerances("empty=0.21,dark=0.31")).empty());
    const auto violated = metrics::violations(comparison, parse_tolerances("empty=0.19,dark=0.29"));
    ASSERT_EQ(violated.size(), 2U);
    EXPECT_NE(violated[0].find("20 % of the candidate's showers are without energy"), std::string::npos)
        << violated[0];
    EXPECT_NE(violated[1].find("30 % of the candidate's showers are dark"), std::string::npos) << violated[1];
    // The reference's own empty showers are left out of its means by the card, and held against nobody.
    const auto itself = validate_showers({.reference = {path}, .candidate = {path}});
    EXPECT_GE(itself.reference.left_out, 12);
    EXPECT_TRUE(metrics::violations(itself, parse_tolerances("empty=0.11")).empty());
  }
}

TEST_F(ValidateShowersTest, ACandidateOfEmptyShowersIsJudgedNotRefused) {
  const std::string good = write("good.h5", {.count = 30});
  NamedTensors showers = simulate::make_gflash_showers({.count = 30}, 0, 30);
  showers.set("image", at::zeros_like(showers["image"]));
  const auto path = folder_ / "empty.h5";
  data::ShowerWriter file(path, {});
  file.append(showers);
  file.commit();
  const auto comparison = validate_showers({.reference = {good}, .candidate = {path}, .energy_bins = 1});
  EXPECT_EQ(comparison.candidate.empty, 30);
  EXPECT_EQ(metrics::violations(comparison, parse_tolerances("empty=0.01")).size(), 1U);
}

TEST_F(ValidateShowersTest, AToleranceThatCannotBeViolatedIsRefused) {
  const std::string file = write("a.h5", {.count = 20});
  const auto comparison = validate_showers({.reference = {file}, .candidate = {file}});
  EXPECT_THROW(metrics::violations(comparison, parse_tolerances("theta=0.1")), ConfigError);
}

TEST_F(ValidateShowersTest, TolerancesAreNamesWithPositiveNumbers) {
  EXPECT_EQ(parse_tolerances("moments=0.1,score=2").score, 2);
  for (const char* wrong : {"fraction", "fraction=", "fraction=-1", "fraction=x", "speed=1"})
    EXPECT_THROW(parse_tolerances(wrong), ConfigError) << wrong;
}

TEST_F(ValidateShowersTest, EveryNumberIsWrittenAndThePageIsWhole) {
  const std::string file = write("a.h5", {.count = 40});
  const auto comparison = validate_showers({.reference = {file}, .candidate = {file}});
  write_comparison(folder_ / "numbers.json", comparison, {"something is violated"});
  std::ifstream stream(folder_ / "numbers.json");
  std::stringstream text;
  text << stream.rdbuf();
  EXPECT_TRUE(is_comparison_file(folder_ / "numbers.json"));
  EXPECT_FALSE(is_comparison_file(file));
  for (const char* part : {"\"score\"", "\"quantities\"", "\"empty\"", "\"dark\"", "\"left_out\"",
                           "something is violated", "sampling fraction"})
    EXPECT_NE(text.str().find(part), std::string::npos) << part;
  const std::string page = report::render_html({.title = "t", .sections = to_sections(comparison)});
  EXPECT_NE(page.find("</html>"), std::string::npos);
  EXPECT_GT(page.find("<svg"), 0U);
}

TEST_F(ValidateShowersTest, EveryRefusalSaysWhatAndHowToMendIt) {
  const std::string file = write("a.h5", {.count = 20});
  const auto weights = [&](models::ShowerVariant variant) {
    const models::ShowerGenerator generator(models::ShowerGeneratorOptions{.variant = variant});
    const auto path = (folder_ / (std::string(models::to_string(variant)) + ".safetensors")).string();
    weights::save_module(path, *generator);
    return path;
  };
  const std::string fixed = weights(models::ShowerVariant::fixed_angle);
  const std::string inclined = weights(models::ShowerVariant::variable_angle);
  const std::string wide = write("wide.h5", {.cells = {51, 51, 25}, .count = 20});
  std::string upright = std::string(features::builtin_card_text("lcd_fixed"));
  upright.replace(upright.find("[25, 25, 25]"), 12, "[51, 51, 25]");
  const std::string card = (folder_ / "upright.toml").string();
  std::ofstream(card) << upright;
  struct Refusal {
    ValidateShowersOptions options;
    std::vector<std::string> words;
  };
  for (const auto& [options, words] : std::vector<Refusal>{
           {{.reference = {}, .candidate = {file}}, {"reference", "one or more HDF5 files of showers"}},
           {{.reference = {file}, .candidate = {}}, {"candidate", "HDF5 files of showers, a run folder"}},
           {{.reference = {file}, .candidate = {file}, .energy_bins = 0}, {"energy-bins", "0", "1 or more"}},
           {{.reference = {file}, .candidate = {fixed, file}},
            {"candidate", file, "one run folder or weight file"}},
           {{.reference = {file}, .candidate = {fixed}},
            {"candidate", fixed, "no generator can be opened here"}},
           {{.reference = {wide},
           .candidate = {inclined},
           .reference_card = card,
           .open_generator = shower_simulation::open_generator({})},
            {"reference", "wide.h5", "showers with angles"}}}) {
    const std::string message = message_of(options);
    for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
  }
}

TEST(CellGeometryOfCardTest, GridsThatCannotBeValidatedAreNamed) {
  const auto refusal = [](const features::ShowerCard& card) {
    try {
      geometry_of(card);
    } catch (const ConfigError& error) {
      return error.message();
    }
    return std::string("nothing was thrown");
  };
  features::ShowerCard card = features::load_shower_card("calogan");
  EXPECT_EQ(refusal(card), "nothing was thrown");
  card.cells[1].shape = {12, 12, 2};
  EXPECT_NE(refusal(card).find("2 cells along z"), std::string::npos) << refusal(card);
  EXPECT_NE(refusal(card).find("card calogan"), std::string::npos) << refusal(card);
  card.axes = features::CellAxes::cylindrical;
  EXPECT_NE(refusal(card).find("cylinders of several blocks"), std::string::npos) << refusal(card);
}

}  // namespace
}  // namespace bunchtrain::shower_comparison
