// SPDX-License-Identifier: Apache-2.0
/// A program that registers a network of its own trains and evaluates it by name: this one, which the test
/// starts with the first word "program".
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include <bunchtrain/bunchtrain.hpp>
#include <bunchtrain/models/model_description.hpp>
#include <cstdio>
#include <string_view>

#include "user_session.hpp"

namespace {

namespace bt = bunchtrain;

/// The sum over real particles, through one layer.
struct SumImpl : torch::nn::Module, bt::nn::Model {
  explicit SumImpl(const bt::models::ModelDescription& fields)
      : features(fields.integer("num_features", 7)),
        classes(fields.integer("num_classes", 2)),
        head(register_module("head", torch::nn::Linear(features, classes))) {}
  std::vector<std::string> input_names() const override { return {"features", "mask"}; }
  bt::NamedTensors forward(const bt::NamedTensors& jets) override {
    return {{"logits", head((jets["features"] * jets["mask"].unsqueeze(-1)).sum(1) / 16)}};
  }
  std::string description() const override {
    return bt::models::ModelDescription("sum")
        .set("num_features", features)
        .set("num_classes", classes)
        .to_json();
  }
  std::int64_t features, classes;
  torch::nn::Linear head;
};

/// As `SumImpl`, for four classes whatever is asked for.
struct FourImpl : SumImpl {
  explicit FourImpl(const bt::models::ModelDescription& fields)
      : SumImpl(bt::models::ModelDescription("four")
                    .set("num_features", fields.integer("num_features", 7))
                    .set("num_classes", 4)) {}
};

/// As `SumImpl`: takes heads and gives none.
struct MuteImpl : SumImpl {
  explicit MuteImpl(const bt::models::ModelDescription& fields) : SumImpl(fields) {
    fields.for_each("heads", [](const auto& head) {
      head.text("name", "");
      head.real("mean", 0);
      head.real("width", 1);
      head.flag("own_width", false);
    });
  }
};

void train(bt::Session& session) {
  const auto options = bt::app::classifier_options(session);
  const auto [train, valid] = bt::jet_tagging::open_data(session, options);
  const auto model = bt::jet_tagging::create_classifier(session, options, *train);
  bt::parallel::DataParallel parallel(model, session.world(), bt::train::parallel_options(session));
  bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-2});
  bt::train::Trainer trainer(session, parallel, optimizer, bt::train::classification());
  trainer.fit(train, valid);
}

int run_program(int argc, char** argv) {
  bt::models::register_model("sum", [](const auto& fields) { return std::make_shared<SumImpl>(fields); });
  bt::models::register_model("four", [](const auto& fields) { return std::make_shared<FourImpl>(fields); });
  bt::models::register_model("mute", [](const auto& fields) { return std::make_shared<MuteImpl>(fields); });
  bt::app::Program program{.options = bt::app::classifier_specs()};
  for (auto& option : bt::app::evaluate_specs()) program.options.push_back(std::move(option));
  return bt::run(argc, argv, program, [](bt::Session& session) {
    if (!session.option("evaluate")) return train(session);
    bt::jet_tagging::MakeNetwork make;  // empty: by its name
    if (session.options().given("model"))
      make = [name = session.options().get<std::string>("model")](const bt::features::Card& card) {
        return bt::models::create(bt::models::ModelDescription(name)
                                      .set("num_features", static_cast<int>(card.num_inputs("features")))
                                      .set("num_classes", static_cast<int>(card.classes.size())));
      };
    const auto result = bt::jet_tagging::evaluate(session, bt::app::evaluate_options(session), make);
    if (session.is_root()) std::fputs(bt::jet_tagging::format_evaluation(result).c_str(), stdout);
  });
}

}  // namespace

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OwnClassifierTest : public UserSession {
 protected:
  std::string program(const std::string& words) const {
    return std::filesystem::read_symlink("/proc/self/exe").string() + " program " + words;
  }
};

TEST_F(OwnClassifierTest, IsTrainedAndEvaluatedByName) {
  const std::string jets = make_jets("toy.h5", 600);
  const std::string words = "--model sum --particles 24 --epochs 2 --data " + jets + " --run " + path("run");
  const Finished trained = run(mpirun(2, program(words)));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(checkpoint::read_info(latest("run")).metadata.at("model"), HasSubstr(R"({"model": "sum")"));
  const Finished done = run(mpirun(2, program("--evaluate --split valid --run " + path("run"))));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("accuracy"), HasSubstr("labelled samples")));
  const Finished other =
      run(program("--evaluate --model particlenet-lite --split valid --run " + path("run")));
  EXPECT_EQ(other.exit_code, 78);
  EXPECT_THAT(other.output, HasSubstr("of the network 'sum', this program makes 'particlenet-lite'"));
  const Finished foreign = run(tool("evaluate " + path("run") + " --split valid"));
  EXPECT_EQ(foreign.exit_code, 78);
  EXPECT_THAT(foreign.output, HasSubstr("of the network 'sum', which this program cannot build"));
}

TEST_F(OwnClassifierTest, WhatItDoesNotHaveIsNamed) {
  const std::string words = " --particles 24 --data " + make_jets("toy.h5", 100) + " --run " + path("run");
  const Finished option = run(program("--model sum --fusion" + words));
  EXPECT_EQ(option.exit_code, 78);
  EXPECT_THAT(option.output, AllOf(HasSubstr("model 'sum' has no field 'fusion'"),
                                   HasSubstr("it has num_features, num_classes")));
  const Finished head = run(program("--model sum --head energy" + words));
  EXPECT_EQ(head.exit_code, 78);
  EXPECT_THAT(head.output, HasSubstr("model 'sum' has no field 'heads'"));
  const Finished mute = run(program("--model mute --head energy" + words));
  EXPECT_EQ(mute.exit_code, 78);
  EXPECT_THAT(mute.output,
              AllOf(HasSubstr("head = energy"), HasSubstr("the network has no output of that name")));
  const Finished classes = run(program("--model four" + words));
  EXPECT_EQ(classes.exit_code, 78);
  EXPECT_THAT(classes.output, HasSubstr("gives logits [1, 4] for one jet"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

}  // namespace
}  // namespace bunchtrain::test

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "program") return run_program(argc - 1, argv + 1);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
