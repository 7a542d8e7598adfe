// SPDX-License-Identifier: Apache-2.0
/// Ranks agree or nobody starts; replicas stay equal or the run ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "../../support/toy_training.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::train {
namespace {

using test::make_points;
using test::ToyTraining;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Flags = std::vector<std::string>;

const mpi::Comm& world() {
  static const mpi::Environment environment;
  return environment.world();
}
bool is_last() { return world().rank() == world().size() - 1; }
std::string last_rank() { return "rank " + std::to_string(world().size() - 1); }

class AgreementTest : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    world().barrier();
    if (world().rank() == 0) std::filesystem::remove_all(root_);
    world().barrier();
  }
  /// The error that ends a run whose last rank is given `flags`; empty if it starts.
  std::string error_of_flags(const Flags& flags) {
    try {
      ToyTraining training(world(), root_ / "run", is_last() ? flags : Flags{});
      training.session.close();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
  /// The same for what differs in the program or its data.
  std::string error_of_fit(TrainerOptions options, const data::DatasetPtr& train,
                           const data::DatasetPtr& valid, double rate = 0.05) {
    ToyTraining training(world(), root_ / "run", {}, std::move(options));
    training.optimizer.set_learning_rate(rate);
    std::string text;
    try {
      training.trainer.fit(train, valid);
    } catch (const ConfigError& error) {
      text = error.what();
    }
    training.session.close();
    EXPECT_FALSE(std::filesystem::exists(root_ / "run")) << "nothing is written";
    return text;
  }
  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) /
                                      ("agreement_" + world().broadcast(std::to_string(getpid())));
};

/// Another value than the default, as a flag.
Flags another_value(const config::OptionSpec& spec) {
  const std::string flag = "--" + spec.name;
  if (const auto* number = std::get_if<std::int64_t>(&spec.default_value))
    return {flag + "=" + std::to_string(*number + 1)};
  if (const auto* number = std::get_if<double>(&spec.default_value))
    return {flag + "=" + std::to_string(*number + 0.5)};
  if (std::holds_alternative<bool>(spec.default_value)) return {flag};
  if (std::holds_alternative<std::string>(spec.default_value))
    return {flag, spec.allowed.empty() ? "other" : spec.allowed.back()};
  return {flag, "one", "two"};
}

TEST_F(AgreementTest, NoStandardOptionMayDiffer) {
  for (const auto& spec : app::standard_options()) {
    if (spec.scope == config::OptionScope::rank || spec.name == "precision") continue;
    const std::string error = error_of_flags(another_value(spec));
    EXPECT_THAT(error, AllOf(HasSubstr(last_rank() + " has " + spec.name + " = "), HasSubstr("rank 0 has")));
  }
  EXPECT_THAT(error_of_flags({"--precision", "bfloat16"}),
              HasSubstr(last_rank() + " has precision = \"bfloat16\" (--precision), rank 0 has \"float64\""));
}

TEST_F(AgreementTest, AnAxisThatNobodyTrainsAlongIsRefused) {
  const std::string ranks = std::to_string(world().size());
  const auto start = [&](const std::string& mesh) -> std::string {
    try {
      ToyTraining training(world(), root_ / "run", {"--mesh", mesh});
      EXPECT_EQ(training.session.mesh().size(comm::Axis::data), world().size());
      training.session.close();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(start("data=" + ranks), "");
  EXPECT_THAT(start("pipeline=" + ranks),
              AllOf(HasSubstr("sizes of data only"), HasSubstr("along the pipeline axis")));
}

TEST_F(AgreementTest, WhatBelongsToARankMayDiffer) {
  EXPECT_EQ(error_of_flags({"--threads", "1", "--loader-threads", "2", "--log-level", "debug"}), "");
}

TEST_F(AgreementTest, AVariableOfOneRankIsNamed) {
  if (is_last()) ::setenv("BUNCHTRAIN_LEARNING_RATE", "1", 1);
  const std::string error = error_of_flags({});
  ::unsetenv("BUNCHTRAIN_LEARNING_RATE");
  EXPECT_THAT(
      error, HasSubstr(last_rank() +
                       " has learning-rate = 1.0 (environment variable BUNCHTRAIN_LEARNING_RATE), rank 0 has "
                       "0.005 (default)"));
}

TEST_F(AgreementTest, OptionsThatAProgramDeclaresAreComparedToo) {
  const auto error_of = [&](config::OptionScope scope) -> std::string {
    const config::Options options =
        test::parse_flags({"--sharpness", is_last() ? "2" : "3"},
                          {{.name = "sharpness", .default_value = 1.0, .help = "own", .scope = scope}});
    try {
      Session session = app::open_session(options, world(), {});
      session.close();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(error_of(config::OptionScope::training), HasSubstr("has sharpness = 2.0"));
  EXPECT_EQ(error_of(config::OptionScope::rank), "");
}

TEST_F(AgreementTest, WhatAHostApplicationAsksForIsComparedToo) {
  const auto error_of = [&](SessionOptions of_last) -> std::string {
    try {
      Session session(is_last() ? std::move(of_last) : SessionOptions{}, world(), {});
      session.close();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(error_of({.seed = 2}),
              HasSubstr(last_rank() + " has seed = 2 (set by the program), rank 0 has 1"));
  EXPECT_THAT(error_of({.training = {.schedule = optim::ScheduleKind::cosine}}),
              HasSubstr(last_rank() + " has schedule = \"cosine\""));
  EXPECT_THAT(error_of({.training = {.groups = {{.pattern = "*.bias", .weight_decay = 0.0}}}}),
              HasSubstr(last_rank() + " has group = [\"*.bias:weight_decay=0\"]"));
  EXPECT_EQ(error_of({.threads = 1, .loader_threads = 2}), "");
}

TEST_F(AgreementTest, DataOfOtherContentAreRefused) {
  const auto ours = make_points(200), others = make_points(200, 9);
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32}, is_last() ? others : ours, nullptr),
              HasSubstr(last_rank() + " has training data = 200 samples"));
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32}, ours, is_last() ? others : make_points(200, 2)),
              HasSubstr(last_rank() + " has validation data = 200 samples"));
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32}, ours, is_last() ? nullptr : others),
              HasSubstr(last_rank() + " has no validation data"));
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32}, make_points(is_last() ? 232 : 200), nullptr),
              HasSubstr(last_rank() + " has training data = 232 samples"));
}

TEST_F(AgreementTest, WhatTheProgramSetsMustAgree) {
  const auto points = make_points(200);
  EXPECT_THAT(error_of_fit({.epochs = is_last() ? 3 : 2, .batch = 32}, points, nullptr),
              HasSubstr(last_rank() + " has epochs = 3 (set by the program), rank 0 has 2"));
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32, .clip_norm = is_last() ? 1.0 : 2.0}, points, nullptr),
              HasSubstr(last_rank() + " has clip-norm = 1.0"));
  EXPECT_THAT(error_of_fit({.epochs = 2, .batch = 32}, points, nullptr, is_last() ? 0.1 : 0.05),
              HasSubstr(last_rank() + " has learning-rate = 0.1"));
}

/// Changes one bit of one parameter of one rank after a step.
class Corruption : public Callback {
 public:
  Corruption(ToyTraining& training, int rank, std::int64_t step)
      : training_(training), rank_(rank), step_(step) {}
  void on_step(const StepEvent& event) override {
    if (world().rank() != rank_ || event.step != step_) return;
    auto* bits = static_cast<std::uint64_t*>(training_.parallel.arenas().front().values().mutable_data_ptr());
    bits[5] ^= 1;
  }

 private:
  ToyTraining& training_;
  int rank_;
  std::int64_t step_;
};

class ReplicasTest : public AgreementTest {
 protected:
  /// What a run says in which rank `rank` is corrupted after step 3 of 14.
  std::string error_of_corruption(int rank, const Flags& flags) {
    ToyTraining training(world(), root_ / "run", flags, {.epochs = 2, .batch = 32});
    training.trainer.add_callback(std::make_shared<Corruption>(training, rank, 3));
    std::string text;
    try {
      training.trainer.fit(make_points(200), nullptr);
    } catch (const ReplicasDiffer& error) {
      text = error.what();
    }
    training.session.close();
    return text;
  }
};

TEST_F(ReplicasTest, ABitThatDiffersIsFoundAtTheNextSnapshotAndNoneIsWritten) {
  for (const int odd : {0, world().size() - 1}) {
    const std::string error = error_of_corruption(odd, {});
    EXPECT_THAT(error, HasSubstr("after step 7"));
    if (world().size() > 2) {
      EXPECT_THAT(error, HasSubstr("rank " + std::to_string(odd) + " differs from all others"));
    } else {
      EXPECT_THAT(error, AllOf(HasSubstr("rank 0 has "), HasSubstr("rank 1 has ")));
    }
    EXPECT_FALSE(std::filesystem::exists(root_ / "run" / "checkpoints" / "step-000007"));
    clear();
  }
}

TEST_F(ReplicasTest, IsLookedForEveryNSteps) {
  EXPECT_THAT(error_of_corruption(0, {"--check-replicas", "2"}), HasSubstr("after step 4"));
}

TEST_F(ReplicasTest, IsNotLookedForIfUnwanted) {
  EXPECT_EQ(error_of_corruption(0, {"--check-replicas", "-1"}), "");
}

}  // namespace
}  // namespace bunchtrain::train
