// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Toy trainings in a temporary folder, with what tests look at afterwards.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../../support/toy_training.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"

namespace bunchtrain::test {

class TrainerFixture : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  ToyTraining make(const std::string& run, std::vector<std::string> flags = {},
                   train::TrainerOptions options = {.epochs = 3, .batch = 32}) {
    return ToyTraining(mpi::Comm::self(), root_ / run, std::move(flags), std::move(options));
  }
  std::filesystem::path snapshot(const std::string& run, std::int64_t step) const {
    std::string number = std::to_string(step);
    return root_ / run / "checkpoints" / ("step-" + std::string(6 - number.size(), '0') + number);
  }
  std::string read(const std::filesystem::path& path) const {
    std::ifstream file(root_ / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<report::Record> records(const std::string& run, const std::string& kind) const {
    std::vector<report::Record> found;
    for (const auto& record : report::read_jsonl(root_ / run / "metrics.jsonl"))
      if (report::text(record, "kind") == kind) found.push_back(record);
    return found;
  }
  /// Every step from 1 to `last` once, in order.
  void expect_steps(const std::string& run, std::int64_t last) const {
    std::int64_t expected = 1;
    for (const auto& record : records(run, "step"))
      EXPECT_EQ(report::number(record, "step"), static_cast<double>(expected++)) << run;
    EXPECT_EQ(expected - 1, last) << run;
  }

  const std::filesystem::path root_ =
      std::filesystem::path(::testing::TempDir()) /
      ("trainer_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
};

/// Does what it is told after every step.
class AfterStep : public train::Callback {
 public:
  explicit AfterStep(std::function<void(const train::StepEvent&)> action) : action_(std::move(action)) {}
  void on_step(const train::StepEvent& event) override { action_(event); }

 private:
  std::function<void(const train::StepEvent&)> action_;
};

/// Wants the run to finish once a step is done.
class FinishAfter : public train::Callback {
 public:
  explicit FinishAfter(std::int64_t step) : step_(step) {}
  void on_step(const train::StepEvent& event) override { done_ = event.step; }
  train::Verdict verdict() const override { return {.finish = done_ >= step_ ? "good enough" : ""}; }

 private:
  std::int64_t step_, done_ = 0;
};

/// A validation whose score is a list, one per epoch; `on_batch` is called for every batch.
class ListedScores final : public train::Validation {
 public:
  explicit ListedScores(std::vector<double> scores, std::function<void(std::int64_t)> on_batch = {})
      : scores_(std::move(scores)), on_batch_(std::move(on_batch)) {}
  void add(const Batch&, const NamedTensors&) override {
    ++batches;
    if (on_batch_) on_batch_(batches);
  }
  train::ValidationResult finish(comm::Communicator&, std::optional<double>) override {
    const double score = scores_.at(passes++);
    return {.metrics = {{"valid_listed", score}}, .score = score, .score_name = "valid_listed"};
  }
  void discard() override { ++discarded; }

  std::size_t passes = 0;
  std::int64_t batches = 0, discarded = 0;

 private:
  std::vector<double> scores_;
  std::function<void(std::int64_t)> on_batch_;
};

}  // namespace bunchtrain::test
