// SPDX-License-Identifier: Apache-2.0
#include "run_bundle.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/version.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/trained_on.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

/// A network that says how it is built, unless it has no name.
struct Described : torch::nn::Module, nn::Model {
  explicit Described(std::string text) : text(std::move(text)) {
    weight = register_parameter("weight", at::arange(3, at::kFloat));
  }
  std::vector<std::string> input_names() const override { return {"x"}; }
  NamedTensors forward(const NamedTensors& inputs) override { return {{"y", inputs["x"] * weight}}; }
  std::string description() const override { return text; }
  std::string text;
  at::Tensor weight;
};

BundledNetwork bundled(std::string name, const Described& network) {
  return {.name = std::move(name), .description = network.text, .weights = weights::named_state(network)};
}

class RunBundleTest : public test::TrainerFixture {
 protected:
  static data::DatasetSummary summary() {
    data::DatasetSummary data;
    data.card = "card = 1\n";
    data.classes = {"qcd", "top"};
    data.files = {{.path = "/data/a.h5", .fingerprint = "f1", .rows = 10}};
    data.part = {.name = "train", .valid_fraction = 0.1, .seed = 3};
    data.ranges = {.jets = 9, .columns = {{"part.e", {0.1, 1e3}}}};
    return data;
  }
};

TEST_F(RunBundleTest, OneNetworkIsTheBundleOfItsRun) {
  auto training = make("run");
  const Described network(R"({"model": "mine"})");
  const auto data = summary();
  const TrainingRecord record{.data = data,
                              .step = 42,
                              .epoch = 3,
                              .score_name = "valid_auc",
                              .score = 0.5,
                              .snapshot = "runs/x/checkpoints/step-000042",
                              .metadata = {{"model", "as the program says"}, {"note", "mine"}}};
  const std::vector<BundledNetwork> networks = {bundled("model", network)};
  write_run_bundles(training.session, networks, record);
  const auto bundle = weights::read_bundle(root_ / "run" / "bundle");
  EXPECT_TRUE(at::equal(bundle.weights["weight"], network.weight.detach()));
  EXPECT_EQ(bundle.model, R"({"model": "mine"})") << "a network knows best";
  EXPECT_EQ(bundle.card, data.card);
  EXPECT_EQ(bundle.classes, data.classes);
  for (const auto& [key, value] :
       std::map<std::string, std::string>{{"bunchtrain", version()},
                                          {"step", "42"},
                                          {"epoch", "3"},
                                          {"score", "valid_auc 0.5"},
                                          {"snapshot", "step-000042"},
                                          {"ranges", R"({"jets":9,"columns":{"part.e":[0.1,1000.0]}})"},
                                          {"note", "mine"}})
    EXPECT_EQ(bundle.metadata.at(key), value) << key;
  EXPECT_FALSE(bundle.metadata.contains("model"));
  EXPECT_TRUE(std::filesystem::equivalent(bundle.metadata.at("run"), root_ / "run"));
  EXPECT_EQ(parse_trained_on(bundle.metadata.at(kTrainedOnKey)).files.front().fingerprint, "f1");

  network.weight.detach().fill_(7);
  write_run_bundles(training.session, networks, record);
  EXPECT_EQ(weights::read_bundle(root_ / "run" / "bundle").weights["weight"][0].item<float>(), 7);
}

TEST_F(RunBundleTest, TheProgramMaySayHowANetworkIsBuilt) {
  const Described network("");
  const auto data = summary();
  EXPECT_EQ(
      make_bundle(bundled("model", network), {.data = data, .metadata = {{"model", "mine width=3"}}}).model,
      "mine width=3");
  EXPECT_EQ(make_bundle(bundled("model", network), {.data = data}).model, "");
}

TEST_F(RunBundleTest, OfSeveralNetworksThoseThatDescribeThemselvesHaveBundles) {
  auto training = make("run");
  const Described generator(R"({"model": "maker"})"), critic("");
  const auto data = summary();
  write_run_bundles(training.session,
                    std::vector<BundledNetwork>{bundled("generator", generator), bundled("critic", critic)},
                    {.data = data});
  EXPECT_EQ(weights::read_bundle(root_ / "run" / "bundle-generator").model, R"({"model": "maker"})");
  EXPECT_FALSE(std::filesystem::exists(root_ / "run" / "bundle-critic"));
  EXPECT_FALSE(std::filesystem::exists(root_ / "run" / "bundle"));
}

}  // namespace
}  // namespace bunchtrain::train
