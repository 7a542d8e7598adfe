// SPDX-License-Identifier: Apache-2.0
// Optimizers and parameter groups as the user names them.
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/registry.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class OptimizerChoiceTest : public TrainerFixture {
 protected:
  /// Two epochs of seven steps with the optimizer that the flags choose; stopped after a step, if asked.
  std::vector<double> train(const std::string& run, const std::vector<std::string>& flags,
                            std::int64_t stop_after = -1) {
    ToyTraining toy = make(run, flags);
    const auto optimizer = train::create_optimizer(toy.session, toy.parallel);
    train::Trainer trainer(toy.session, toy.parallel, *optimizer, train::classification(),
                           {.epochs = 2, .batch = 32});
    trainer.add_callback(std::make_shared<LossRecorder>(&toy.session, stop_after));
    if (stop_after < 0) {
      trainer.fit(make_points(200), nullptr);
    } else {
      EXPECT_THROW(trainer.fit(make_points(200), nullptr), train::Interrupted);
    }
    toy.session.close();
    return toy.weights();
  }
};

TEST_F(OptimizerChoiceTest, EveryNameTrainsAndResumesToTheBit) {
  for (const std::string& name : optim::names()) {
    const std::vector<std::string> flags = {"--optimizer", name, "--group", "*.bias:lr=0.5,weight_decay=0"};
    const auto undisturbed = train(name, flags);
    std::vector<std::string> resumed = flags;
    resumed.emplace_back("--resume");
    train(name + "-stopped", flags, 5);
    EXPECT_EQ(train(name + "-stopped", resumed), undisturbed) << name;
  }
}

TEST_F(OptimizerChoiceTest, GroupsChangeTheTrainingAndAreRecorded) {
  const auto plain = train("plain", {});
  const auto grouped = train("grouped", {"--group", "*.bias:lr=0", "--group", "second.*:weight_decay=0.5"});
  EXPECT_NE(grouped, plain);
  const auto json = nlohmann::json::parse(read("grouped/run.json"));
  EXPECT_EQ(json["summary"]["Parameter groups"], "*.bias: rate x 0; second.*: rate x 1, weight decay 0.5");
  EXPECT_THAT(json["configuration"].get<std::string>(),
              HasSubstr(R"(group = ["*.bias:lr=0", "second.*:weight_decay=0.5"])"));
  EXPECT_THAT(json["summary"]["Optimizer"].get<std::string>(), StartsWith("AdamW("));
}

TEST_F(OptimizerChoiceTest, OtherGroupsAreNoResume) {
  train("run", {"--group", "*.bias:lr=0"}, 3);
  try {
    train("run", {"--group", "*.bias:lr=0.5", "--resume"});
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("group"), HasSubstr("*.bias:lr=0.5")));
  }
}

TEST_F(OptimizerChoiceTest, AGroupWithoutParametersNamesThem) {
  try {
    train("run", {"--group", "third.*:lr=0"});
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("third.*"), HasSubstr("first.bias, first.weight")));
  }
}

TEST_F(OptimizerChoiceTest, AGroupMayBeOfOneNetworkAlone) {
  ToyTraining toy = make("run", {"--group", "only.*:lr=0"});
  const at::Tensor weight = at::ones({3}, at::kDouble).requires_grad_();
  auto arenas = tensor::create_arenas({{"only.weight", weight}});
  EXPECT_EQ(train::create_optimizer(toy.session, toy.parallel)->groups().size(), 0U);
  EXPECT_EQ(train::create_optimizer(toy.session, arenas)->groups().size(), 1U);
}

}  // namespace
}  // namespace bunchtrain::test
