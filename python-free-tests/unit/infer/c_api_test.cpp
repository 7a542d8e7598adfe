// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/c_api.h"

#include <gmock/gmock.h>

#include <limits>

#include "bunchtrain/infer/fast_predictor.hpp"
#include "bundles.hpp"

namespace bunchtrain::infer::test {
namespace {

using ::testing::HasSubstr;

class CApiTest : public ::testing::Test {
 protected:
  CApiTest() {
    features::Card card = features::load_card("top_tagging");
    card.length = 24;
    bundle_ = folder_.write(make_bundle(card, models::ParticleNetOptions::lite())).string();
    EXPECT_EQ(bunchtrain_load(bundle_.c_str(), &predictor_), BUNCHTRAIN_OK) << bunchtrain_last_error();
    EXPECT_EQ(bunchtrain_make_scratch(predictor_, &scratch_), BUNCHTRAIN_OK);
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = 1.0F + 0.1F * static_cast<float>(i % 7);
    for (const char* name : {"part.px", "part.py", "part.pz", "part.e"})
      columns_.push_back({.name = name,
                          .unit = nullptr,
                          .floats = values_.data() + columns_.size(),
                          .doubles = nullptr,
                          .count = 60,
                          .jet_stride = 0,
                          .particle_stride = 0});
  }
  ~CApiTest() override {
    bunchtrain_free_scratch(scratch_);
    bunchtrain_free(predictor_);
  }
  bunchtrain_jets jets() const {
    return {.count = 3,
            .slots = 20,
            .row_splits = nullptr,
            .particles = nullptr,
            .columns = columns_.data(),
            .column_count = 4};
  }
  int score(const bunchtrain_jets& jets) { return bunchtrain_score(predictor_, &jets, scores_, scratch_); }

  const BundleFolder folder_;
  std::string bundle_;
  bunchtrain_predictor* predictor_ = nullptr;
  bunchtrain_scratch* scratch_ = nullptr;
  std::vector<float> values_ = std::vector<float>(70);
  std::vector<bunchtrain_column> columns_;
  double scores_[6] = {};
};

TEST_F(CApiTest, ScoresAreThoseOfTheFastPredictor) {
  ASSERT_EQ(score(jets()), BUNCHTRAIN_OK) << bunchtrain_last_error();
  const FastPredictor predictor = FastPredictor::load(bundle_);
  FastPredictor::Scratch scratch = predictor.make_scratch();
  std::vector<RawColumn> columns;
  for (const bunchtrain_column& column : columns_)
    columns.push_back({.name = column.name, .values = {column.floats, 60}});
  std::vector<double> expected(6);
  predictor.run({.count = 3, .slots = 20, .columns = columns}, expected, scratch);
  EXPECT_THAT(scores_, ::testing::ElementsAreArray(expected));
}

TEST_F(CApiTest, NamesAreToldAndEnd) {
  ASSERT_EQ(bunchtrain_input_count(predictor_), 4);
  const char* unit = nullptr;
  int of_particles = 0;
  EXPECT_STREQ(bunchtrain_input(predictor_, 0, &unit, &of_particles), "part.e");
  EXPECT_STREQ(unit, "GeV");
  EXPECT_EQ(of_particles, 1);
  EXPECT_STREQ(bunchtrain_input(predictor_, 1, nullptr, nullptr), "part.px");
  EXPECT_EQ(bunchtrain_input(predictor_, 4, nullptr, nullptr), nullptr);
  EXPECT_EQ(bunchtrain_output_count(predictor_), 2);
  EXPECT_STREQ(bunchtrain_output(predictor_, 1), "top");
  EXPECT_EQ(bunchtrain_output(predictor_, -1), nullptr);
  EXPECT_EQ(bunchtrain_input_count(nullptr), 0);
  EXPECT_EQ(bunchtrain_output(nullptr, 0), nullptr);
}

TEST_F(CApiTest, WhatFailsIsAStatusAndAText) {
  const auto expect = [](int found, int status, const char* text) {
    EXPECT_EQ(found, status);
    EXPECT_THAT(bunchtrain_last_error(), HasSubstr(text));
  };
  bunchtrain_predictor* none = predictor_;
  expect(bunchtrain_load("/nowhere", &none), BUNCHTRAIN_BAD_BUNDLE, "nowhere");
  EXPECT_EQ(none, nullptr);
  expect(bunchtrain_load(nullptr, &none), BUNCHTRAIN_BAD_ARGUMENT, "bundle");
  expect(bunchtrain_load("/nowhere", nullptr), BUNCHTRAIN_BAD_ARGUMENT, "predictor");
  bunchtrain_scratch* scratch = nullptr;
  expect(bunchtrain_make_scratch(nullptr, &scratch), BUNCHTRAIN_BAD_ARGUMENT, "a pointer to something");
  bunchtrain_jets some = jets();
  expect(bunchtrain_score(predictor_, nullptr, scores_, scratch_), BUNCHTRAIN_BAD_ARGUMENT, "jets");
  expect(bunchtrain_score(predictor_, &some, nullptr, scratch_), BUNCHTRAIN_BAD_ARGUMENT, "scores");
  some.count = -1;
  expect(score(some), BUNCHTRAIN_BAD_ARGUMENT, "jets.count");
  some = jets();
  columns_[2].unit = "MeV";
  expect(score(some), BUNCHTRAIN_BAD_ARGUMENT, "unit of the column 'part.pz'");
  columns_[2].unit = nullptr;
  columns_[2].count = -1;
  expect(score(some), BUNCHTRAIN_BAD_ARGUMENT, "column.count");
  columns_[2].count = 60;
  values_[5] = std::numeric_limits<float>::quiet_NaN();
  expect(score(some), BUNCHTRAIN_BAD_DATA, "is NaN");
  bunchtrain_free(nullptr);
  bunchtrain_free_scratch(nullptr);
}

}  // namespace
}  // namespace bunchtrain::infer::test
