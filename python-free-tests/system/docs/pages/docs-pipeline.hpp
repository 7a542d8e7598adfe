// What the blocks of docs/pipeline.md stand among.
#include <ATen/ops/cat.h>
#include <torch/nn/modules/linear.h>
#include <bunchtrain/bunchtrain.hpp>
#include <bunchtrain/nn/conv3d.hpp>
#include <bunchtrain/nn/slab_layers.hpp>
#include <bunchtrain/nn/unit.hpp>
#include <bunchtrain/parallel/pipeline_parallel.hpp>
namespace bt = bunchtrain;

struct UNet : torch::nn::Module, bunchtrain::nn::UnitModel {
  std::vector<std::string> input_names() const override { return {}; }
  std::vector<std::string> output_names() const override { return {}; }
  std::vector<bunchtrain::nn::Unit> units() override { return {}; }
};
extern bunchtrain::Session& session;
extern const bunchtrain::data::DatasetPtr& train;
extern const bunchtrain::data::DatasetPtr& valid;
extern const bunchtrain::nn::Objective& objective;
