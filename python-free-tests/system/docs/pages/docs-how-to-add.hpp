#include <bunchtrain/models/model_description.hpp>
#include <bunchtrain/train/observer.hpp>

#include <cstdio>

namespace bt = bunchtrain;

struct DeepSetImpl : torch::nn::Module, bunchtrain::nn::Model {
  DeepSetImpl(std::int64_t, std::int64_t) {}
  std::vector<std::string> input_names() const override { return {"features"}; }
  bunchtrain::NamedTensors forward(const bunchtrain::NamedTensors& inputs) override { return inputs; }
};
extern bunchtrain::Session& session;
extern bunchtrain::parallel::Engine& engine;
extern bunchtrain::optim::Optimizer& optimizer;
extern bunchtrain::train::Trainer& trainer;
extern const bunchtrain::Batch& batch;
