// SPDX-License-Identifier: Apache-2.0
// Weight files with the structure that Keras gave the published networks, written from our modules by a
// transposition of its own, and read back.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/3dgan/keras_names.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/weights/keras_weights.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "plain_shower_networks.hpp"
#include "support/keras_writer.hpp"
#include "unit/report/temporary_folder.hpp"

namespace bunchtrain::models {
namespace {

using test::KerasArray;
using test::KerasWriter;
using testing::HasSubstr;

at::Tensor noise(std::int64_t rows, std::int64_t columns, std::uint64_t site) {
  return nn::keyed_normal(nn::StepContext(11, 0, at::ones({rows}).cumsum(0).to(at::kLong)), site, columns);
}

/// Gives every parameter and statistic a value of its own, near those of a trained network.
void train_by_dice(torch::nn::Module& module) {
  const c10::NoGradGuard no_grad;
  std::uint64_t site = 100;
  for (const auto& [name, tensor] : weights::named_state(module)) {
    if (tensor.dim() != 1) continue;
    const at::Tensor dice = noise(1, tensor.numel(), ++site)[0];
    const bool positive =
        name.ends_with("running_var") || (name.starts_with("bn") && name.ends_with("weight"));
    at::Tensor(tensor).copy_(positive ? (dice * 0.3).exp() : dice * 0.1);
  }
}

/// Our layout to Keras', element by element.
KerasArray in_keras_layout(std::string name, const at::Tensor& ours) {
  const at::Tensor values = ours.detach().contiguous();
  const auto* v = values.const_data_ptr<float>();
  const auto s = values.sizes();
  KerasArray array{.name = std::move(name), .shape = {}, .values = {}};
  if (s.size() == 5) {
    for (const int axis : {2, 3, 4, 1, 0}) array.shape.push_back(static_cast<hsize_t>(s[axis]));
    const std::int64_t cells = s[2] * s[3] * s[4];
    for (std::int64_t cell = 0; cell < cells; ++cell)
      for (std::int64_t in = 0; in < s[1]; ++in)
        for (std::int64_t out = 0; out < s[0]; ++out)
          array.values.push_back(v[(out * s[1] + in) * cells + cell]);
  } else if (s.size() == 2) {
    array.shape = {static_cast<hsize_t>(s[1]), static_cast<hsize_t>(s[0])};
    for (std::int64_t in = 0; in < s[1]; ++in)
      for (std::int64_t out = 0; out < s[0]; ++out) array.values.push_back(v[out * s[1] + in]);
  } else {
    array.shape = {static_cast<hsize_t>(s[0])};
    array.values.assign(v, v + s[0]);
  }
  return array;
}

/// A layer as Keras names it, and its name here.
struct Layer {
  std::string keras;
  std::string ours;
};

/// Layers in the order of the model: ours[0], then convolutions, each with the norm behind it.
std::vector<Layer> layers_of(const NamedTensors& state, ShowerNetwork network, int first_convolution) {
  std::vector<Layer> layers;
  if (network == ShowerNetwork::generator) layers.push_back({"dense_1", "dense"});
  for (int i = 1; state.contains("conv" + std::to_string(i) + ".weight"); ++i) {
    const std::string number = std::to_string(i), keras_number = std::to_string(first_convolution + i - 1);
    layers.push_back({"conv3d_" + keras_number, "conv" + number});
    if (state.contains("bn" + number + ".weight"))
      layers.push_back({"batch_normalization_" + keras_number, "bn" + number});
  }
  return layers;
}

/// Keras' and our names of a layer's arrays, first what is trained.
std::vector<KerasArray> arrays_of(const NamedTensors& state, const Layer& layer, const std::string& prefix,
                                  const std::string& suffix, bool trained) {
  const bool norm = layer.ours.starts_with("bn");
  std::vector<Layer> names;  // keras, ours
  if (trained)
    names = {{norm ? "gamma" : "kernel", "weight"}, {norm ? "beta" : "bias", "bias"}};
  else if (norm)
    names = {{"moving_mean", "running_mean"}, {"moving_variance", "running_var"}};
  std::vector<KerasArray> arrays;
  for (const Layer& name : names) {
    if (const at::Tensor* tensor = state.find(layer.ours + "." + name.ours))
      arrays.push_back(in_keras_layout(prefix + layer.keras + "/" + name.keras + suffix, *tensor));
  }
  return arrays;
}

void append(std::vector<KerasArray>& arrays, std::vector<KerasArray> more) {
  for (KerasArray& array : more) arrays.push_back(std::move(array));
}

/// The arrays of a model inside a model: all that is trained before all that is not.
std::vector<KerasArray> inner_model(const NamedTensors& state, const std::vector<Layer>& layers,
                                    const std::string& prefix) {
  std::vector<KerasArray> arrays;
  for (const bool trained : {true, false})
    for (const Layer& layer : layers) append(arrays, arrays_of(state, layer, prefix, ":0", trained));
  return arrays;
}

enum class Structure { nested, nested_scopes, whole_model, flat, no_attributes };

struct Case {
  ShowerVariant variant;
  Structure structure;
};

void write_network(const std::filesystem::path& path, const NamedTensors& state, ShowerNetwork network,
                   Structure structure) {
  KerasWriter writer(path, structure == Structure::whole_model ? "model_weights" : "");
  const bool generator = network == ShowerNetwork::generator;
  // Numbers as in a session that built the other network first: past 9, where text order differs.
  const std::vector<Layer> layers = layers_of(state, network, 8);
  const std::string inner = generator ? "sequential_1" : "model_1";
  const bool listed = structure != Structure::no_attributes;

  if (structure == Structure::flat || structure == Structure::no_attributes) {
    for (const Layer& layer : layers) {
      const std::string suffix = listed ? ":0" : "";
      auto arrays = arrays_of(state, layer, "", suffix, true);
      append(arrays, arrays_of(state, layer, "", suffix, false));
      writer.layer(layer.keras, arrays, listed);
      if (listed) writer.layer("leaky_re_lu_" + layer.ours, {});
    }
  } else {
    writer.layer("input_1", {});
    const std::string prefix = structure == Structure::nested_scopes ? inner + "/" : "";
    writer.layer(inner, inner_model(state, layers, prefix));
  }
  if (!generator) {
    // Alphabetically the other way round than the model.
    for (const std::string head : {"generation", "auxiliary"}) {
      writer.layer(head, arrays_of(state, {head, head}, "", ":0", true), listed);
    }
    if (listed) writer.layer("lambda_1", {});
  }
  if (listed) writer.list_layers();
}

class KerasImportTest : public report::TemporaryFolder, public testing::WithParamInterface<Case> {
 protected:
  NamedTensors read(ShowerNetwork network) const { return read(GetParam().variant, network); }
  NamedTensors read(ShowerVariant variant, ShowerNetwork network) const {
    return from_keras(variant, network, weights::read_keras_weights(path_), path_.string());
  }
  std::string message(ShowerVariant variant, ShowerNetwork network) const {
    try {
      read(variant, network);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "no error";
  }
  std::filesystem::path path_ = folder_ / "params.h5";
};

TEST_P(KerasImportTest, GivesTheShowersOfTheOriginal) {
  const c10::NoGradGuard no_grad;
  const auto [variant, structure] = GetParam();
  ShowerGenerator original(ShowerGeneratorOptions{.variant = variant});
  ShowerGenerator loaded(ShowerGeneratorOptions{.variant = variant, .seed = 2});
  train_by_dice(*original);
  write_network(path_, weights::named_state(*original), ShowerNetwork::generator, structure);
  const NamedTensors state = read(ShowerNetwork::generator);
  weights::load_into(*loaded, state, "params.h5");

  original->eval();
  loaded->eval();
  const at::Tensor latent = noise(1, latent_size(variant), 1);
  const at::Tensor image = loaded->forward(latent);
  ASSERT_GT(image.max().item<float>(), 0);
  EXPECT_TRUE(image.allclose(original->forward(latent), 1e-6, 1e-6));
  const at::Tensor plain = variant == ShowerVariant::fixed_angle ? test::plain_fixed_generator(state, latent)
                                                                 : test::plain_angle_generator(state, latent);
  EXPECT_TRUE(image.allclose(plain, 1e-4, 1e-4 * plain.max().item<double>()));
}

TEST_P(KerasImportTest, GivesTheJudgementOfTheOriginal) {
  const c10::NoGradGuard no_grad;
  const auto [variant, structure] = GetParam();
  ShowerDiscriminator original(ShowerDiscriminatorOptions{.variant = variant});
  ShowerDiscriminator loaded(ShowerDiscriminatorOptions{.variant = variant, .seed = 2});
  train_by_dice(*original);
  write_network(path_, weights::named_state(*original), ShowerNetwork::discriminator, structure);
  const NamedTensors state = read(ShowerNetwork::discriminator);
  weights::load_into(*loaded, state, "params.h5");

  original->eval();
  loaded->eval();
  const auto [x, y, z] = shower_shape(variant);
  const at::Tensor image = noise(2, x * y * z, 1).abs().view({2, x, y, z});
  const ShowerJudgement judgement = loaded->forward(image), expected = original->forward(image);
  EXPECT_TRUE(judgement.logit.allclose(expected.logit, 1e-6, 1e-6));
  EXPECT_TRUE(judgement.energy.allclose(expected.energy, 1e-6, 1e-6));
  const at::Tensor plain = variant == ShowerVariant::fixed_angle
                               ? test::plain_fixed_discriminator(state, image)
                               : test::plain_angle_discriminator(state, image);
  EXPECT_TRUE(at::stack({judgement.logit, judgement.energy}, 1).allclose(plain, 1e-4, 1e-4));
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  static const std::vector<std::string> names = {"nested", "nested_scopes", "whole_model", "flat",
                                                 "no_attributes"};
  std::string name(to_string(info.param.variant));
  return name + "_" + names[static_cast<std::size_t>(info.param.structure)];
}

const std::vector<Case> kCases = {{ShowerVariant::fixed_angle, Structure::nested},
                                  {ShowerVariant::fixed_angle, Structure::nested_scopes},
                                  {ShowerVariant::fixed_angle, Structure::whole_model},
                                  {ShowerVariant::fixed_angle, Structure::flat},
                                  {ShowerVariant::fixed_angle, Structure::no_attributes},
                                  {ShowerVariant::variable_angle, Structure::nested},
                                  {ShowerVariant::variable_angle, Structure::no_attributes}};

INSTANTIATE_TEST_SUITE_P(Structures, KerasImportTest, testing::ValuesIn(kCases), case_name);

using KerasMismatchTest = KerasImportTest;

TEST_P(KerasMismatchTest, NamesTheFirstLayerThatDoesNotFit) {
  const auto variant = GetParam().variant;
  const ShowerGenerator generator(ShowerGeneratorOptions{.variant = variant});
  const NamedTensors state = weights::named_state(*generator);
  write_network(path_, state, ShowerNetwork::generator, GetParam().structure);
  EXPECT_EQ(message(variant, ShowerNetwork::generator), "no error");
  const std::string other = message(ShowerVariant::variable_angle, ShowerNetwork::generator);
  EXPECT_THAT(other, HasSubstr("is not a 3DGAN generator of variant 'angle'"));
  EXPECT_THAT(other, HasSubstr("'sequential_1/dense_1' has kernel [200, 3136], bias [3136], but 'dense' has "
                               "kernel [256, 5184], bias [5184]"));
  EXPECT_THAT(message(variant, ShowerNetwork::discriminator),
              HasSubstr("'sequential_1/conv3d_8' has kernel [6, 6, 8, 8, 64], bias [64], but 'conv1' has "
                        "kernel [5, 5, 5, 1, 32], bias [32]"));
}

TEST_P(KerasMismatchTest, NamesWhatIsMissingAndWhatIsTooMuch) {
  const auto variant = GetParam().variant;
  const ShowerGenerator generator(ShowerGeneratorOptions{.variant = variant});
  const NamedTensors state = weights::named_state(*generator);
  const auto layers = layers_of(state, ShowerNetwork::generator, 1);
  for (const bool more : {false, true}) {
    {
      KerasWriter writer(path_);
      for (std::size_t i = 0; i < layers.size() - (more ? 0 : 1); ++i) {
        auto arrays = arrays_of(state, layers[i], "", ":0", true);
        append(arrays, arrays_of(state, layers[i], "", ":0", false));
        writer.layer(layers[i].keras, arrays);
      }
      if (more) writer.layer("dense_2", {{.name = "dense_2/kernel:0", .shape = {1, 2}, .values = {1, 2}}});
      writer.list_layers();
    }
    EXPECT_THAT(message(variant, ShowerNetwork::generator),
                HasSubstr(more ? "its layer 'dense_2' (kernel [1, 2]) has no counterpart"
                               : "it has no layer for 'conv4' (kernel [2, 2, 2, 6, 1])"));
  }
}

INSTANTIATE_TEST_SUITE_P(Published, KerasMismatchTest,
                         testing::Values(Case{ShowerVariant::fixed_angle, Structure::nested}));

}  // namespace
}  // namespace bunchtrain::models
