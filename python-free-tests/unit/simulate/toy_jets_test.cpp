// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/toy_jets.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr std::int64_t kJets = 3000;

/// The 3000 jets that the spectra are measured on, made once.
const NamedTensors& sample() {
  static const NamedTensors jets = make_toy_jets({.seed = 11}, 0, kJets);
  return jets;
}

/// Column `column` of jet_features for the jets of `kind`.
std::vector<float> jet_feature(int column, ToyJetKind kind) {
  const float* features = sample()["jet_features"].const_data_ptr<float>();
  const std::int32_t* labels = sample()["jet_label"].const_data_ptr<std::int32_t>();
  std::vector<float> values;
  for (std::int64_t i = 0; i < kJets; ++i) {
    if (labels[i] == static_cast<std::int32_t>(kind)) values.push_back(features[i * 4 + column]);
  }
  return values;
}

float quantile(std::vector<float> values, double at) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(at * static_cast<double>(values.size()))];
}

double mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

/// The most populated of the 4 GeV wide mass bins, its centre.
float mass_peak(ToyJetKind kind) {
  std::vector<int> bins(200, 0);
  for (const float mass : jet_feature(2, kind))
    ++bins[std::min<std::size_t>(199, static_cast<std::size_t>(mass / 4))];
  return 4.0f * static_cast<float>(std::ranges::max_element(bins) - bins.begin()) + 2.0f;
}

void expect_equal(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b[name])) << name;
}

TEST(ToyJetsTest, SameJetsForAnyNumberOfThreadsAndAnyChunking) {
  const ToyJetOptions options{.seed = 5, .particles = 40};
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const NamedTensors serial = make_toy_jets(options, 100, 300);
  at::set_num_threads(4);
  const NamedTensors parallel = make_toy_jets(options, 100, 300);
  at::set_num_threads(threads);
  expect_equal(serial, parallel);

  NamedTensors joined;
  const NamedTensors head = make_toy_jets(options, 100, 37), tail = make_toy_jets(options, 137, 263);
  for (const auto& [name, tensor] : head) joined.set(name, at::cat({tensor, tail[name]}));
  expect_equal(serial, joined);
}

TEST(ToyJetsTest, SeedsDiffer) {
  const NamedTensors a = make_toy_jets({.seed = 1}, 0, 50), b = make_toy_jets({.seed = 2}, 0, 50);
  EXPECT_FALSE(at::equal(a["jet_features"], b["jet_features"]));
}

TEST(ToyJetsTest, KindsAreBalanced) {
  for (const ToyJetKind kind : {ToyJetKind::qcd, ToyJetKind::two_prong, ToyJetKind::three_prong}) {
    EXPECT_NEAR(static_cast<double>(jet_feature(0, kind).size()), kJets / 3.0,
                5 * std::sqrt(kJets * 2.0 / 9));
  }
}

TEST(ToyJetsTest, MassesPeakAtTheResonances) {
  EXPECT_NEAR(mass_peak(ToyJetKind::two_prong), 82, 8);
  EXPECT_NEAR(mass_peak(ToyJetKind::three_prong), 174, 12);
  const std::vector<float> qcd = jet_feature(2, ToyJetKind::qcd);
  EXPECT_GT(quantile(qcd, 0.9) - quantile(qcd, 0.1), 60);  // a continuum, no peak
}

TEST(ToyJetsTest, PtFallsSteeply) {
  for (const ToyJetKind kind : {ToyJetKind::qcd, ToyJetKind::two_prong, ToyJetKind::three_prong}) {
    const std::vector<float> pt = jet_feature(0, kind);
    EXPECT_NEAR(quantile(pt, 0.5), 575, 50);
    const auto between = [&pt](float low, float high) {
      return std::ranges::count_if(pt, [=](float x) { return x > low && x < high; });
    };
    EXPECT_GT(between(500, 650), 2 * between(650, 800));
    EXPECT_GT(between(650, 800), 2 * between(800, 950));
  }
}

TEST(ToyJetsTest, MultiplicityGrowsWithTheNumberOfProngs) {
  const double qcd = mean(jet_feature(3, ToyJetKind::qcd)), two = mean(jet_feature(3, ToyJetKind::two_prong)),
               three = mean(jet_feature(3, ToyJetKind::three_prong));
  EXPECT_GT(qcd, 25);
  EXPECT_LT(qcd, 60);
  EXPECT_GT(two, 25);
  EXPECT_GT(three, two);
  EXPECT_LT(three, 64);
}

TEST(ToyJetsTest, ParticlesAreSortedCentredAndAddUp) {
  const float* particle = sample()["particle_features"].const_data_ptr<float>();
  const float* jet = sample()["jet_features"].const_data_ptr<float>();
  double eta_sum = 0, phi_sum = 0, pt_sum = 0;
  for (std::int64_t i = 0; i < kJets; ++i) {
    float last = 2;
    std::int64_t real = 0;
    for (std::int64_t slot = 0; slot < 64; ++slot) {
      const float* row = particle + (i * 64 + slot) * 4;
      if (row[3] == 0) {
        EXPECT_TRUE(row[0] == 0 && row[1] == 0 && row[2] == 0);
        continue;
      }
      EXPECT_EQ(slot, real);  // no holes
      ++real;
      EXPECT_LE(row[2], last);
      EXPECT_LT(std::hypot(row[0], row[1]), 1.6f);
      last = row[2];
      eta_sum += static_cast<double>(row[2] * row[0]);
      phi_sum += static_cast<double>(row[2] * row[1]);
      pt_sum += static_cast<double>(row[2]);
    }
    EXPECT_EQ(static_cast<float>(real), jet[i * 4 + 3]);
  }
  EXPECT_NEAR(pt_sum / kJets, 1.0, 0.05);
  EXPECT_NEAR(eta_sum / kJets, 0.0, 0.005);
  EXPECT_NEAR(phi_sum / kJets, 0.0, 0.005);
}

TEST(ToyJetsTest, KeepsTheHardestParticlesWhereSlotsAreFew) {
  const NamedTensors many = make_toy_jets({.seed = 3, .particles = 200}, 0, 20);
  const NamedTensors few = make_toy_jets({.seed = 3, .particles = 10}, 0, 20);
  EXPECT_TRUE(at::equal(many["particle_features"].narrow(1, 0, 10), few["particle_features"]));
}

TEST(ToyJetsTest, RefusesNonsense) {
  EXPECT_THROW(make_toy_jets({.particles = 0}, 0, 1), ConfigError);
  EXPECT_THROW(make_toy_jets({}, 0, -1), ConfigError);
}

TEST(ToyJetsTest, WritesAFileAndReportsProgress) {
  const auto path = std::filesystem::path(testing::TempDir()) / "bunchtrain_toy_jets_test.h5";
  std::vector<std::int64_t> progress;
  write_toy_jets(path, {.count = 9000, .seed = 2, .particles = 16},
                 [&](std::int64_t jets) { progress.push_back(jets); });
  EXPECT_THAT(progress, testing::ElementsAre(8192, 9000));
  EXPECT_GT(std::filesystem::file_size(path), 100'000u);
  std::filesystem::remove(path);
}

TEST(ToyJetsTest, FailsBeforeWorkWhereItCannotWrite) {
  EXPECT_THROW(write_toy_jets("/nowhere/toy.h5", {.count = 10}), Error);
}

}  // namespace
}  // namespace bunchtrain::simulate
