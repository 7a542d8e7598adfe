// SPDX-License-Identifier: Apache-2.0 The trainer on a card: a resumed run ends with the bits of an
// undisturbed one, and losses are those of the CPU.
#include <gtest/gtest.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "gpu/device_under_test.hpp"
#include "unit/train/trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;
using test::ToyTraining;

class TrainerGpuTest : public test::TrainerFixture {
 protected:
  ToyTraining make_on(c10::Device device, const std::string& run, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--device", device.is_cpu() ? "cpu" : "cuda"});
    return make(run, std::move(flags));
  }
  const c10::Device device_ = test::device_under_test();
};

TEST_F(TrainerGpuTest, LosesWhatTheCpuLoses) {
  const auto losses_on = [&](c10::Device device, const std::string& run) {
    ToyTraining training = make_on(device, run);
    EXPECT_EQ(training.network->first->weight.device().type(), device.type());
    const auto losses = std::make_shared<LossRecorder>();
    training.trainer.add_callback(losses);
    training.trainer.fit(make_points(200), make_points(50, 2));
    return losses->losses;
  };
  const std::vector<double> expected = losses_on(c10::kCPU, "cpu"), found = losses_on(device_, "gpu");
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-9) << "step " << i + 1;
}

TEST_F(TrainerGpuTest, ResumeEndsWithTheSameBitsWhereverItStopped) {
  ToyTraining undisturbed = make_on(device_, "undisturbed");
  undisturbed.trainer.fit(make_points(200), make_points(50, 2));
  for (const std::int64_t stop_after : {1, 7, 13}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    ToyTraining first = make_on(device_, run);
    first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, stop_after));
    EXPECT_THROW(first.trainer.fit(make_points(200), make_points(50, 2)), Interrupted);
    first.session.close();
    ToyTraining second = make_on(device_, run, {"--resume"});
    EXPECT_EQ(second.trainer.fit(make_points(200), make_points(50, 2)).steps, 21);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << "stopped after step " << stop_after;
    expect_steps(run, 21);
  }
}

/// Steps of full batches are captured after some, the last one of each epoch stays as it is.
TEST_F(TrainerGpuTest, CapturedStepsHaveTheBitsOfEagerOnes) {
  const auto train = [&](const std::string& run, const std::string& graph) {
    ToyTraining training = make_on(device_, run, {"--cuda-graph", graph, "--ema", "0.9", "--clip-norm", "1"});
    const auto losses = std::make_shared<LossRecorder>();
    training.trainer.add_callback(losses);
    training.trainer.fit(make_points(200), make_points(50, 2));
    return std::pair(losses->losses, training.weights());
  };
  EXPECT_EQ(train("captured", device_.is_cpu() ? "auto" : "on"), train("eager", "off"));
}

TEST_F(TrainerGpuTest, ARunOfTheCardGoesOnUnderTheCpu) {
  ToyTraining first = make_on(device_, "run");
  first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 7));
  EXPECT_THROW(first.trainer.fit(make_points(200), nullptr), Interrupted);
  first.session.close();
  ToyTraining second = make_on(c10::kCPU, "run", {"--resume", "--allow-changed"});
  EXPECT_EQ(second.trainer.fit(make_points(200), nullptr).steps, 21);
}

}  // namespace
}  // namespace bunchtrain::train
