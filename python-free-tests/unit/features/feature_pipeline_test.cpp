// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/feature_pipeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::features {
namespace {

using test::make_top_tagging_block;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::int64_t> all_rows(const RawColumns& raw) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

double wrap(double angle) {
  while (angle >= std::numbers::pi) angle -= 2 * std::numbers::pi;
  while (angle < -std::numbers::pi) angle += 2 * std::numbers::pi;
  return angle;
}

double clip(double x, double subtract, double multiply) { return std::clamp((x - subtract) * multiply, -5.0, 5.0); }

/// kinematics7 in double precision from four-momenta, written down independently of the card.
std::array<double, 7> reference_kinematics(double e, double px, double py, double pz, double jet_e, double jet_px,
                                           double jet_py, double jet_pz) {
  const double pt = std::sqrt(px * px + py * py), jet_pt = std::sqrt(jet_px * jet_px + jet_py * jet_py);
  const double jet_eta = std::atanh(jet_pz / std::sqrt(jet_pt * jet_pt + jet_pz * jet_pz));
  const double eta = std::atanh(pz / std::sqrt(pt * pt + pz * pz));
  const double deta = (eta - jet_eta) * (jet_eta < 0 ? -1 : 1);
  const double dphi = wrap(std::atan2(py, px) - std::atan2(jet_py, jet_px));
  return {clip(std::log(pt), 1.7, 0.7),           clip(std::log(e), 2.0, 0.7),
          clip(std::log(pt / jet_pt), -4.7, 0.7), clip(std::log(e / jet_e), -4.7, 0.7),
          clip(std::sqrt(deta * deta + dphi * dphi), 0.2, 4.0), deta, dphi};
}

TEST(FeaturePipelineTest, TopTaggingMatchesDoublePrecisionFormulas) {
  const RawColumns raw = make_top_tagging_block(130, 200);
  Card card = load_card("top_tagging");
  override_length(card, 40);
  const FeaturePipeline pipeline(card);
  const FeatureBlock block = pipeline.evaluate(raw, all_rows(raw));

  const at::Tensor features = block.tensors["features"], points = block.tensors["points"], mask = block.tensors["mask"];
  ASSERT_EQ(features.sizes(), (std::vector<std::int64_t>{130, 40, 7}));
  ASSERT_EQ(points.sizes(), (std::vector<std::int64_t>{130, 40, 2}));
  ASSERT_EQ(mask.sizes(), (std::vector<std::int64_t>{130, 40}));
  const float* value = features.const_data_ptr<float>();
  const float* point = points.const_data_ptr<float>();
  const bool* real = mask.const_data_ptr<bool>();
  std::int64_t truncated = 0;
  for (std::size_t row = 0; row < 130; ++row) {
    const std::size_t count = row % 61;
    truncated += count > 40;
    double jet[4] = {0, 0, 0, 0};
    for (std::size_t slot = 0; slot < count; ++slot) {
      const std::size_t i = row * 200 + slot;
      jet[0] += raw.particle.at("e")[i];
      jet[1] += raw.particle.at("px")[i];
      jet[2] += raw.particle.at("py")[i];
      jet[3] += raw.particle.at("pz")[i];
    }
    for (std::size_t slot = 0; slot < 40; ++slot, value += 7, point += 2, ++real) {
      EXPECT_EQ(*real, slot < count) << "row " << row << " slot " << slot;
      if (slot >= count) {
        for (std::size_t f = 0; f < 7; ++f) EXPECT_EQ(value[f], 0.0f);
        EXPECT_EQ(point[0], 0.0f);
        EXPECT_EQ(point[1], 0.0f);
        continue;
      }
      const std::size_t i = row * 200 + slot;
      const auto expected =
          reference_kinematics(raw.particle.at("e")[i], raw.particle.at("px")[i], raw.particle.at("py")[i],
                               raw.particle.at("pz")[i], jet[0], jet[1], jet[2], jet[3]);
      for (std::size_t f = 0; f < 7; ++f) EXPECT_NEAR(value[f], expected[f], 4e-6) << "row " << row << " feature " << f;
      EXPECT_EQ(point[0], value[5]);
      EXPECT_EQ(point[1], value[6]);
    }
  }
  EXPECT_EQ(block.counts.truncated, truncated);
  EXPECT_EQ(block.counts.selected, 130);
  EXPECT_THAT(block.counts.per_class, ElementsAre(65, 65));
}

}  // namespace
}  // namespace bunchtrain::features
