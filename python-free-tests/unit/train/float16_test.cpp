// SPDX-License-Identifier: Apache-2.0
// Training in float16 on the CPU: losses are scaled, lost steps left out, and a resumed run knows the scale.
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using train::StepEvent;

/// The toy network in float32 under autocast.
struct NarrowTraining {
  train::Session session;
  Network network;
  parallel::DataParallel parallel;
  optim::AdamW optimizer;

  NarrowTraining(const std::filesystem::path& run, std::vector<std::string> flags)
      : session(app::open_session(parse(run, std::move(flags)), mpi::Comm::self(), {})),
        network(in_float32()),
        parallel(network, session.world()),
        optimizer(parallel, {.learning_rate = 0.02}) {}

  static Network in_float32() {
    Network network;
    network->to(at::kFloat);
    return network;
  }
  static config::Options parse(const std::filesystem::path& run, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"--run", run.string()});
    return parse_flags(std::move(flags));
  }
  at::Tensor loss(const Batch& batch) { return loss_of(network, batch); }
  /// Their gradients in float16 overflow with the scale at the start.
  static nn::Losses large_losses(const NamedTensors& outputs, const Batch& batch) {
    return train::classification()(outputs, batch).total * 1e3;
  }
  /// Infinite gradients of a finite loss.
  at::Tensor lost(const Batch& batch) { return loss(batch) + network->first->weight.mul(0).sqrt().sum(); }
  std::vector<float> weights() const {
    std::vector<float> all;
    for (const auto& parameter : network->parameters()) {
      const at::Tensor flat = parameter.detach().contiguous().view(-1);
      all.insert(all.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
    }
    return all;
  }
};

class Float16Test : public TrainerFixture {
 protected:
  NarrowTraining narrow(const std::string& run, std::vector<std::string> flags = {},
                        const std::string& precision = "float16") {
    flags.insert(flags.end(), {"--precision", precision});
    return {root_ / run, std::move(flags)};
  }
  /// Three epochs of seven steps; the scale falls at the beginning and rises now and then.
  train::FitResult fit(
      NarrowTraining& parts, std::function<void(const StepEvent&)> watch = [](auto&) {}) {
    parts.optimizer.scale_losses({.initial = 0x1p12, .interval = 4});
    train::Trainer trainer(parts.session, parts.parallel, parts.optimizer, NarrowTraining::large_losses,
                           {.epochs = 3, .batch = 32, .reference_batch = 32, .clip_norm = 100});
    trainer.add_callback(std::make_shared<AfterStep>(std::move(watch)));
    return trainer.fit(make_points(200), nullptr);
  }
};

TEST_F(Float16Test, LostStepsAreLeftOutUntilTheScaleFits) {
  NarrowTraining parts = narrow("run");
  const auto start = parts.weights();
  std::vector<StepEvent> events;
  std::vector<std::vector<float>> weights;
  fit(parts, [&](const StepEvent& event) {
    events.push_back(event);
    weights.push_back(parts.weights());
  });
  ASSERT_EQ(events.size(), 21U);
  double scale = 0x1p12;
  int finite_in_a_row = 0, left_out = 0, risen = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_TRUE(std::isfinite(events[i].loss));
    const bool applied = std::isfinite(events[i].gradient_norm);
    EXPECT_EQ(weights[i] == (i == 0 ? start : weights[i - 1]), !applied) << "step " << i + 1;
    if (!applied) {
      scale /= 2;
      finite_in_a_row = 0;
      ++left_out;
    } else if (++finite_in_a_row == 4) {
      scale *= 2;
      finite_in_a_row = 0;
      ++risen;
    }
    EXPECT_EQ(events[i].loss_scale, scale) << "step " << i + 1;
  }
  EXPECT_FALSE(std::isfinite(events.front().gradient_norm));
  EXPECT_GT(left_out, 3);
  EXPECT_GT(risen, 0);
  EXPECT_LT(events.back().loss, 0.7 * events.front().loss);

  const auto steps = records("run", "step");
  ASSERT_EQ(steps.size(), events.size());
  for (std::size_t i = 0; i < steps.size(); ++i)
    EXPECT_EQ(report::number(steps[i], "scale_of_loss"), events[i].loss_scale);
}

TEST_F(Float16Test, TrainsAsFloat32Does) {
  const auto losses_in = [&](const std::string& precision) {
    NarrowTraining parts = narrow(precision, {}, precision);
    train::Trainer trainer(parts.session, parts.parallel, parts.optimizer, train::classification(),
                           {.epochs = 2, .batch = 32});
    std::vector<StepEvent> events;
    trainer.add_callback(
        std::make_shared<AfterStep>([&](const StepEvent& event) { events.push_back(event); }));
    trainer.fit(make_points(200), nullptr);
    return events;
  };
  const auto wide = losses_in("float32"), narrow = losses_in("float16");
  for (std::size_t i = 0; i < wide.size(); ++i) {
    EXPECT_NEAR(narrow[i].loss, wide[i].loss, 5e-3 * wide[i].loss);
    EXPECT_NEAR(narrow[i].gradient_norm, wide[i].gradient_norm, 0.02 * wide[i].gradient_norm);
    EXPECT_EQ(narrow[i].loss_scale, 65536);
    EXPECT_EQ(wide[i].loss_scale, 1);
  }
  EXPECT_NE(narrow.back().loss, wide.back().loss) << "the layers were not float16";
  for (const auto& record : records("float32", "step"))
    EXPECT_EQ(std::ranges::count(record, "scale_of_loss", &report::Field::name), 0);
}

TEST_F(Float16Test, AResumedRunEndsWithTheSameBits) {
  NarrowTraining undisturbed = narrow("undisturbed");
  fit(undisturbed);
  for (const std::int64_t stop_after : {2, 6, 9, 13}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    NarrowTraining first = narrow(run);
    EXPECT_THROW(fit(first,
                     [&](const StepEvent& event) {
                       if (event.step == stop_after) first.session.request_stop();
                     }),
                 train::Interrupted);
    first.session.close();
    NarrowTraining second = narrow(run, {"--resume"});
    EXPECT_EQ(fit(second).steps, 21);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << "stopped after step " << stop_after;
    const auto whole = records("undisturbed", "step"), parts = records(run, "step");
    ASSERT_EQ(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i)
      EXPECT_EQ(report::number(parts[i], "scale_of_loss"), report::number(whole[i], "scale_of_loss"));
  }
}

std::string halt_of(train::Trainer& trainer) {
  try {
    trainer.fit(make_points(200), nullptr);
    return "not halted";
  } catch (const train::TrainingHalted& halted) {
    return halted.message();
  }
}

TEST_F(Float16Test, GradientsThatNoScaleMendsEndTheRun) {
  const std::string expected = "the gradients are not finite at step 17, whatever the loss is scaled with";
  NarrowTraining own = narrow("own");
  train::Trainer by_step(own.session, own.parallel, own.optimizer,
                         [&](const NamedTensors&, const Batch& batch) { return own.lost(batch); },
                         {.epochs = 9, .batch = 32});
  const std::string halted = halt_of(by_step);
  EXPECT_NE(halted.find(expected), std::string::npos);
  EXPECT_NE(halted.find("There is no snapshot from before"), std::string::npos)
      << "those of the steps that were left out have the same lost weights: " << halted;

  // Of two networks one is lost.
  NarrowTraining good = narrow("manual"), bad = narrow("unused");
  double good_scale = 0;
  const train::ManualStep step = [&](const Batch& batch) {
    const std::int64_t samples = batch.size();
    NamedTensors terms;
    terms.set("good", good.loss(batch));
    terms.set("bad", bad.lost(batch));
    good.parallel.backward(terms["good"], {.samples = samples});
    good.optimizer.step();
    bad.parallel.backward(terms["bad"], {.samples = samples});
    bad.optimizer.step();
    good_scale = good.optimizer.loss_scale().item<double>();
    return train::LossTerms(terms);
  };
  train::Trainer by_hand(good.session,
                         {{"good", &good.parallel, &good.optimizer}, {"bad", &bad.parallel, &bad.optimizer}},
                         step, nullptr, {.epochs = 9, .batch = 32});
  EXPECT_NE(halt_of(by_hand).find(expected), std::string::npos);
  EXPECT_EQ(good_scale, 65536);
}

}  // namespace
}  // namespace bunchtrain::test
