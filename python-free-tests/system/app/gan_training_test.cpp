// SPDX-License-Identifier: Apache-2.0
/// The 3DGAN trainer and the shower commands as a user runs them, on simulated showers.
#include <hdf5.h>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class GanTrainingTest : public UserSession {
 protected:
  /// Three small steps: 12 showers train, 2 validate.
  std::string gan(const std::string& run, const std::string& more = "") const {
    return example("train_3dgan",
                   "--showers 14 --valid-fraction 0.15 --batch 4 --epochs 1 --run " + path(run) + " " + more);
  }
  std::string make_showers(const std::string& name, int count, const std::string& more = "") const {
    const Finished made =
        run(tool("generate gflash --out " + path(name) + " --count " + std::to_string(count) + " " + more));
    EXPECT_EQ(made.exit_code, 0) << made.output;
    return path(name);
  }
  std::vector<report::Record> records(const std::string& run) const {
    return report::read_jsonl(folder_ / run / "metrics.jsonl");
  }
};

TEST_F(GanTrainingTest, TwoRanksTrainOnSimulatedShowersAndFillTheRunFolder) {
  const Finished done = run(mpirun(2, gan("run")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  for (const char* file : {"run.json", "metrics.jsonl", "sections.json", "report.html", "checkpoints/best"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / file)) << file;
  const auto last = records("run").back();
  EXPECT_TRUE(std::isfinite(report::number(last, "valid_score")));
  const auto first = records("run").front();
  for (const char* term : {"loss_generator_total", "loss_generator_sum", "loss_discriminator_real_generation",
                           "loss_discriminator_fake_energy"})
    EXPECT_TRUE(std::isfinite(report::number(first, term))) << term;
  EXPECT_GT(std::abs(report::number(first, "loss_generator_sum") - 100), 1e-3) << "empty showers";
  EXPECT_NE(done.output.find("GFlash"), std::string::npos) << done.output;
}

TEST_F(GanTrainingTest, OneAndTwoRanksLoseTheSame) {
  const std::string flags = "--precision float64 --sync-batch-norm --showers 8 --valid-fraction 0.25";
  const Finished one = run(gan("one", flags));
  ASSERT_EQ(one.exit_code, 0) << one.output;
  const Finished two = run(mpirun(2, gan("two", flags)));
  ASSERT_EQ(two.exit_code, 0) << two.output;
  const auto first = records("one"), second = records("two");
  ASSERT_EQ(first.size(), second.size());
  ASSERT_EQ(first.size(), 3U);
  for (std::size_t i = 0; i < 2; ++i) {
    for (const auto& field : first[i]) {
      if (!field.name.starts_with("loss_")) continue;
      EXPECT_NEAR(report::number(first[i], field.name), report::number(second[i], field.name), 1e-7)
          << "step " << i + 1 << ", " << field.name;
    }
  }
}

/// All cells of a file of showers.
std::vector<float> read_cells(const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "ECAL", H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  std::vector<float> cells(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells.data()), 0);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);
  return cells;
}

TEST_F(GanTrainingTest, AveragedWeightsMakeShowersUnlessSwitchedOff) {
  const Finished done =
      run(gan("run",
              "--showers 8 --batch 3 --valid-fraction 0.25 --ema 0.9 --optimizer torch-rmsprop "
              "--group '*.bias:lr=0.5'"));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_NE(done.output.find("torch::optim::RMSprop(PyTorch form, learning_rate 0.001, decay 0.9"),
            std::string::npos)
      << done.output;
  const auto cells_of = [&](const std::string& name, const std::string& average) {
    const Finished made = run(tool("generate showers --count 2 --model " + path("run") + " --average " +
                                   average + " --out " + path(name)));
    EXPECT_EQ(made.exit_code, 0) << made.output;
    return read_cells(path(name));
  };
  const auto averaged = cells_of("on.h5", "on");
  EXPECT_EQ(averaged.size(), 2U * 25 * 25 * 25);
  EXPECT_EQ(cells_of("again.h5", "on"), averaged);
  EXPECT_NE(cells_of("off.h5", "off"), averaged);
}

TEST_F(GanTrainingTest, InFloat16LossesAreScaledAndNearThoseOfFloat32) {
  const std::string flags = "--showers 8 --valid-fraction 0.25 --batch 3 --precision ";
  for (const char* precision : {"float32", "float16"}) {
    const Finished done = run(mpirun(2, gan(precision, flags + precision)));
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  const auto wide = records("float32"), narrow = records("float16");
  ASSERT_EQ(narrow.size(), wide.size());
  ASSERT_EQ(wide.size(), 3U);
  for (const char* term : {"loss_discriminator_real_total", "loss_discriminator_fake_total"})
    EXPECT_NEAR(report::number(narrow[0], term), report::number(wide[0], term),
                0.05 * report::number(wide[0], term))
        << term;
  for (std::size_t i = 0; i < 2; ++i) {
    for (const auto& field : narrow[i]) {
      if (!field.name.starts_with("loss_")) continue;
      EXPECT_TRUE(std::isfinite(report::number(narrow[i], field.name))) << field.name;
    }
    const double scale = report::number(narrow[i], "scale_of_loss");
    EXPECT_GE(scale, 1);
    EXPECT_LE(scale, 65536);
  }
  const Finished made = run(tool("generate showers --precision float16 --count 4 --model " + path("float16") +
                                 " --out " + path("made.h5")));
  EXPECT_EQ(made.exit_code, 0) << made.output;
}

TEST_F(GanTrainingTest, ARunThatWasKilledResumesBitEqual) {
  const std::string flags = "--epochs 2 --checkpoint-every 1";
  const Finished whole = run(mpirun(2, gan("undisturbed", flags)));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  {
    Process process(mpirun(2, gan("disturbed", flags)), folder_ / "log");
    ASSERT_TRUE(process.wait_until([&] { return lines("disturbed") >= 2; })) << process.output();
    process.signal(SIGKILL);
    process.wait();
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const Finished resumed = run(mpirun(2, gan("disturbed", flags + " --resume")));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  for (const char* component : {"generator-model", "discriminator-model", "generator-optimizer"})
    expect_same_weights("undisturbed", "disturbed", component);
}

TEST_F(GanTrainingTest, ACollapsedGeneratorEndsTheRunWithASnapshot) {
  // A rate that drives the last ReLU of the generator to zero at once.
  const Finished done = run(gan("collapsed", "--epochs 20 --batch 3 --showers 10 --learning-rate 0.3"));
  EXPECT_EQ(done.exit_code, 1) << done.output;
  EXPECT_NE(done.output.find("the generator has collapsed"), std::string::npos) << done.output;
  EXPECT_TRUE(std::filesystem::exists(latest("collapsed") / "manifest.json")) << done.output;
}

TEST_F(GanTrainingTest, FilesOfBothVariantsTrainGenerateAndValidate) {
  const std::string fixed = make_showers("fixed.h5", 20, "--energy 20:60");
  const Finished trained = run(gan("fixed", "--data " + fixed + " --precision bfloat16"));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const Finished made = run(tool("generate showers --model " + path("fixed") +
                                 " --energy 20:80 --count 20 --out " + path("made.h5")));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  EXPECT_NE(made.output.find("warning"), std::string::npos)
      << "energies above the training's: " << made.output;
  const Finished same = run(tool("validate showers --reference " + fixed + " --candidate " + fixed +
                                 " --tolerance fraction=0.001,profile=0.001"));
  EXPECT_EQ(same.exit_code, 0) << same.output;
  const Finished judged = run(tool("validate showers --reference " + fixed + " --candidate " + path("fixed") +
                                   " --tolerance fraction=0.001 --html " + path("page.html")));
  EXPECT_NE(judged.exit_code, 0) << judged.output;
  EXPECT_NE(judged.exit_code, 78) << judged.output;
  EXPECT_TRUE(std::filesystem::exists(path("page.html")));
  EXPECT_NE(read_file(path("page.html")).find("Violated: sampling fraction"), std::string::npos);

  // What a command cannot do is refused, not left undone in silence.
  const auto expect_refused = [&](const std::string& words, const std::vector<std::string>& parts) {
    const Finished refused = run(tool(words));
    EXPECT_EQ(refused.exit_code, 78) << words << "\n" << refused.output;
    for (const auto& part : parts)
      EXPECT_NE(refused.output.find(part), std::string::npos) << words << "\n" << refused.output;
  };
  const std::string generate = "generate showers --count 4 --model " + path("fixed");
  expect_refused(generate + " --theta 60:120 --out " + path("upright.h5"), {"theta", "one angle"});
  expect_refused(generate + " --steps 4 --out " + path("upright.h5"), {"steps", "one pass"});
  expect_refused(generate + " --checkpoint step-000999 --out " + path("none.h5"), {"step-000999"});
  expect_refused(generate + " --force --out " + path("fixed/run.json"), {"would replace"});
  expect_refused(generate + " --out " + fixed, {"--force"});
  const auto weights = latest("fixed") / "generator-model.safetensors";
  const std::string before = read_file(weights);
  for (const char* force : {"", " --force"})
    expect_refused(
        "generate showers --count 4 --model " + weights.string() + force + " --out " + weights.string(),
        {"would replace"});
  EXPECT_EQ(read_file(weights), before);
  expect_refused("validate showers --reference " + fixed + " --candidate " + fixed + " --theta true",
                 {"--theta", "generator"});
  expect_refused("validate showers --reference " + fixed + " --candidate " + fixed + " --tolerance theta=0.1",
                 {"no angles"});
  expect_refused("evaluate " + path("fixed") + " --data " + fixed, {"3DGAN", "validate showers"});
}

TEST_F(GanTrainingTest, TheVariableAngleVariantTrains) {
  const std::string inclined = make_showers("angle.h5", 8, "--grid 51x51x25 --theta 60:120");
  const Finished done =
      run(example("train_3dgan", "--variant angle --epochs 1 --batch 3 --valid-fraction 0.5 --data " +
                                     inclined + " --run " + path("angle")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_TRUE(std::isfinite(report::number(records("angle").front(), "loss_generator_angle")));
  const Finished wrong = run(gan("wrong", "--data " + inclined));
  EXPECT_EQ(wrong.exit_code, 78);
  EXPECT_NE(wrong.output.find("--variant angle"), std::string::npos) << wrong.output;
}

TEST_F(GanTrainingTest, AnOwnGanTrainsUnderTheTrainer) {
  const Finished done = run(mpirun(2, example("wgan_gp", "--epochs 1 --run " + path("profiles"))));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const auto steps = records("profiles");
  EXPECT_LT(report::number(steps[steps.size() - 2], "loss_critic_penalty"),
            report::number(steps.front(), "loss_critic_penalty"));
}

}  // namespace
}  // namespace bunchtrain::test
