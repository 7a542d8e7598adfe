// SPDX-License-Identifier: Apache-2.0
// Trainings by LibTorch's operations in place of kernels of ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "support/message_of.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using ops::Kernels;
using test::make_points;
using test::ToyTraining;
using testing::AllOf;
using testing::HasSubstr;

class KernelsChoiceTest : public test::TrainerFixture {
 protected:
  std::vector<double> losses_of(const std::string& run, const std::vector<std::string>& flags) {
    ToyTraining training = make(run, flags);
    const auto losses = std::make_shared<test::LossRecorder>();
    training.trainer.add_callback(losses);
    training.trainer.fit(make_points(200), make_points(50, 2));
    return losses->losses;
  }
};

TEST_F(KernelsChoiceTest, LibTorchsOperationsTrainTheSameToRounding) {
  {
    const ToyTraining training = make("scope", {"--kernels", "libtorch"});
    EXPECT_EQ(ops::kernels(), Kernels::libtorch) << "as long as there is the session";
  }
  EXPECT_EQ(ops::kernels(), Kernels::automatic);
  const std::vector<double> ours = losses_of("ours", {}),
                            theirs = losses_of("theirs", {"--kernels", "libtorch"});
  ASSERT_EQ(ours.size(), 21U);
  ASSERT_EQ(theirs.size(), ours.size());
  EXPECT_NE(theirs, ours) << "sums in another order";
  for (std::size_t step = 0; step < ours.size(); ++step) EXPECT_NEAR(theirs[step], ours[step], 1e-9) << step;
  const auto run = nlohmann::json::parse(read("theirs/run.json"));
  EXPECT_EQ(run.at("environment").at("kernels"), "libtorch");
  EXPECT_THAT(run.at("configuration").get<std::string>(), HasSubstr("\nkernels = \"libtorch\"\n"));
}

TEST_F(KernelsChoiceTest, ARunGoesOnWithOthersWhereThatIsAccepted) {
  losses_of("run", {});
  EXPECT_THAT(test::message_of<ConfigError>([&] {
                losses_of("run", {"--resume", "--epochs", "4", "--kernels", "libtorch"});
              }),
              AllOf(HasSubstr("kernels was"), HasSubstr("libtorch"), HasSubstr("allow")));
  EXPECT_EQ(
      losses_of("run", {"--resume", "--allow-changed", "--epochs", "4", "--kernels", "libtorch"}).size(), 7U);
}

}  // namespace
}  // namespace bunchtrain::train
