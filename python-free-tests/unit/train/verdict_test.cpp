// SPDX-License-Identifier: Apache-2.0
// What a callback wants of a run happens, whichever it is.
#include <gmock/gmock.h>

#include <filesystem>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::make_points;
using test::ToyTraining;
using testing::ElementsAre;
using testing::HasSubstr;

/// Says `verdict` once `step` is done, and writes down what happens.
class Wants final : public Callback {
 public:
  Wants(std::int64_t step, Verdict verdict, std::string name = {})
      : step_(step), verdict_(std::move(verdict)), name_(std::move(name)) {}
  void on_step(const StepEvent& event) override { done_ = event.step; }
  void on_validation(const ValidationResult&) override { validations.push_back(done_); }
  void on_checkpoint(const std::filesystem::path& folder) override {
    snapshots.push_back(folder.filename().string());
  }
  Verdict verdict() const override { return done_ == step_ ? verdict_ : Verdict{}; }
  std::string name() const override { return name_; }

  std::vector<std::int64_t> validations;
  std::vector<std::string> snapshots;

 private:
  std::int64_t step_, done_ = 0;
  Verdict verdict_;
  std::string name_;
};

class VerdictTest : public test::TrainerFixture {
 protected:
  /// One epoch of seven steps with a validation at its end.
  std::shared_ptr<Wants> fit(const std::string& run, Verdict verdict) {
    training_.emplace(mpi::Comm::self(), root_ / run, std::vector<std::string>{},
                      TrainerOptions{.epochs = 1, .batch = 32});
    auto wants = std::make_shared<Wants>(3, std::move(verdict));
    training_->trainer.add_callback(wants);
    training_->trainer.fit(make_points(200), make_points(50, 2));
    return wants;
  }
  std::optional<ToyTraining> training_;
};

TEST_F(VerdictTest, ASnapshot) {
  EXPECT_THAT(fit("save", {.save = true})->snapshots, ElementsAre("step-000004", "step-000007"));
}

TEST_F(VerdictTest, AValidationWithASnapshot) {
  const auto seen = fit("validate", {.validate = true});
  EXPECT_THAT(seen->validations, ElementsAre(4, 7));
  EXPECT_THAT(seen->snapshots, ElementsAre("step-000004", "step-000007"));
}

TEST_F(VerdictTest, AnEndInOrder) {
  const auto seen = fit("finish", {.finish = "seen enough"});
  EXPECT_THAT(seen->validations, ElementsAre(4));
}

TEST_F(VerdictTest, AHaltWithASnapshot) {
  try {
    fit("halt", {.halt = "this leads nowhere"});
    FAIL() << "not halted";
  } catch (const TrainingHalted& error) {
    EXPECT_THAT(error.message(), HasSubstr("this leads nowhere"));
    EXPECT_THAT(error.message(), HasSubstr("a snapshot is in"));
  }
  EXPECT_TRUE(std::filesystem::exists(root_ / "halt" / "checkpoints" / "step-000004"));
}

TEST_F(VerdictTest, ChangesNoWeights) {
  fit("plain", {});
  const auto expected = training_->weights();
  fit("again", {.save = true});
  EXPECT_EQ(training_->weights(), expected);
}

TEST_F(VerdictTest, TwoCallbacksOfOneNameAreRefused) {
  ToyTraining training = make("twins");
  for (int i = 0; i < 2; ++i) training.trainer.add_callback(std::make_shared<Wants>(9, Verdict{}, "mine"));
  EXPECT_THROW(training.trainer.fit(make_points(64), nullptr), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::train
