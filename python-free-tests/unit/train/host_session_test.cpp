// SPDX-License-Identifier: Apache-2.0
// A host application that has no command line: its session is what it writes into the structs.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::make_points;
using testing::AllOf;
using testing::HasSubstr;

class HostSessionTest : public test::TrainerFixture {
 protected:
  SessionOptions in(const std::string& run) const {
    return {.program = "host",
            .device = device::DeviceRequest::cpu,
            .precision = device::Precision::float64,
            .run = root_ / run,
            .training = {.epochs = 2, .batch = 32, .learning_rate = 0.05}};
  }
  /// Weights after the training that `asked` says; stopped after a step, if wanted.
  static std::vector<double> train(SessionOptions asked, std::int64_t stop_after = -1,
                                   TrainerOptions options = {}) {
    Session session(std::move(asked), mpi::Comm::self(), {});
    test::Network network;
    parallel::DataParallel parallel(network, session.world(), parallel_options(session));
    const auto optimizer = create_optimizer(session, parallel);
    Trainer trainer(session, parallel, *optimizer, classification(), std::move(options));
    trainer.add_callback(std::make_shared<test::LossRecorder>(&session, stop_after));
    if (stop_after < 0) {
      trainer.fit(make_points(200), make_points(50, 2));
    } else {
      EXPECT_THROW(trainer.fit(make_points(200), make_points(50, 2)), Interrupted);
    }
    session.close();
    std::vector<double> weights;
    for (const auto& parameter : network->parameters())
      for (std::int64_t i = 0; i < parameter.numel(); ++i)
        weights.push_back(parameter.detach().view(-1)[i].item<double>());
    return weights;
  }
  nlohmann::json run_json(const std::string& run) const {
    return nlohmann::json::parse(read(std::filesystem::path(run) / "run.json"));
  }
  static std::string error_of(SessionOptions asked) {
    try {
      train(std::move(asked));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(HostSessionTest, TrainsAndRecordsWhatItWasAskedFor) {
  train(in("run"));
  expect_steps("run", 14);
  EXPECT_TRUE(std::filesystem::exists(snapshot("run", 14)));
  const auto json = run_json("run");
  EXPECT_EQ(json["name"], "host");
  EXPECT_THAT(
      json["configuration"].get<std::string>(),
      AllOf(HasSubstr("\n# (set by the program)\nepochs = 2\n"), HasSubstr("\noptimizer = \"adamw\"\n"),
            HasSubstr("\n# run = "), HasSubstr("\nprecision = \"float64\"\n")));
}

TEST_F(HostSessionTest, ResumesToTheSameBits) {
  const auto undisturbed = train(in("whole"));
  train(in("parts"), 5);
  SessionOptions again = in("parts");
  again.resume = true;
  EXPECT_EQ(train(again), undisturbed);
  expect_steps("parts", 14);
}

TEST_F(HostSessionTest, OtherSettingsAreNoResume) {
  train(in("run"), 5);
  SessionOptions changed = in("run");
  changed.resume = true;
  changed.training.batch = 50;
  EXPECT_THAT(error_of(changed),
              AllOf(HasSubstr("batch"), HasSubstr("50 (set by the program)"), HasSubstr("32")));
  changed.allow_changed = true;
  EXPECT_EQ(error_of(changed), "no error");
}

TEST_F(HostSessionTest, WhatAUserChoseWinsOverTheProgram) {
  SessionOptions asked = in("program");
  train(asked, -1, {.epochs = 1});
  expect_steps("program", 7);
  asked.run = root_ / "user";
  asked.training.epochs = {3, /*by_user=*/true};
  train(asked, -1, {.epochs = 1});
  expect_steps("user", 21);
}

TEST_F(HostSessionTest, AnAutomaticPrecisionIsRecorded) {
  Session session({.device = device::DeviceRequest::cpu}, mpi::Comm::self(), {});
  EXPECT_EQ(session.precision(), device::Precision::float32);
  EXPECT_EQ(session.options().text("precision"), "\"float32\"");
  EXPECT_EQ(session.asked().seed, 1U);
  EXPECT_FALSE(session.resume());
  session.close();
}

TEST_F(HostSessionTest, WrongFieldsAreNamed) {
  SessionOptions asked = in("run");
  asked.timeout = std::chrono::milliseconds(0);
  EXPECT_THAT(error_of(asked), AllOf(HasSubstr("timeout"), HasSubstr("a positive time")));
  asked = in("run");
  asked.training.optimizer = "adamx";
  EXPECT_THAT(error_of(asked), AllOf(HasSubstr("optimizer"), HasSubstr("ranger")));
  asked = in("run");
  asked.mesh = "data=2";
  EXPECT_THAT(error_of(asked), HasSubstr("mesh"));
}

}  // namespace
}  // namespace bunchtrain::train
