// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/predictor.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/nn/model.hpp"
#include "input_counter.hpp"
#include "loaded_network.hpp"
#include "network_scope.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

/// Runs a network: errors of LibTorch become ours.
template <class Action>
auto within_libtorch(const PredictorOptions& options, const Action& action) {
  try {
    const NetworkScope scope(options.device, options.precision);
    return action();
  } catch (const c10::Error& error) {
    throw ConfigError(
        fmt::format("the network does not take these tensors: {}", error.what_without_backtrace()));
  }
}

/// Tensors where the network is, as wide as it is.
NamedTensors bring_to(const LoadedNetwork& network, c10::Device device, const NamedTensors& tensors) {
  NamedTensors there;
  for (const auto& [name, tensor] : tensors) {
    const bool widens = network.in_double && tensor.is_floating_point();
    there.set(name, tensor.to(device, widens ? at::kDouble : tensor.scalar_type()));
  }
  return there;
}

/// What autocast left in 16 bits is float32 for callers.
NamedTensors widen(const NamedTensors& tensors) {
  NamedTensors wide;
  for (const auto& [name, tensor] : tensors) {
    const bool narrow = tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf;
    wide.set(name, narrow ? tensor.to(at::kFloat) : tensor);
  }
  return wide;
}

NamedTensors generate(const FastGenerator& generator, const NamedTensors& inputs) {
  const at::Tensor& latent = inputs["latent"];
  if (latent.dim() != 2 || latent.size(1) != generator.latent_size() || !latent.device().is_cpu())
    throw ConfigError(
        fmt::format("the fast engine's generator takes latent vectors [B, {}] on the CPU, not [{}] on {}",
                    generator.latent_size(), fmt::join(latent.sizes(), ", "), latent.device().str()));
  const at::Tensor dense = latent.to(at::kFloat).contiguous();
  const auto [x, y, z] = models::shower_shape(generator.variant());
  at::Tensor images = at::empty({latent.size(0), x, y, z}, dense.options());
  FastGenerator::Scratch scratch = generator.make_scratch();
  generator.run({dense.const_data_ptr<float>(), static_cast<std::size_t>(dense.numel())},
                {images.mutable_data_ptr<float>(), static_cast<std::size_t>(images.numel())}, scratch);
  return {{"image", images}};
}

}  // namespace

void PredictorOptions::validate() const {
  if (batch < 1) throw ConfigError("batch", fmt::to_string(batch), "at least 1");
}

struct Predictor::Impl {
  std::optional<FastPredictor> fast;       ///< in place of all that follows but the options
  std::optional<FastGenerator> generator;  ///< this too
  LoadedNetwork network;
  PredictorOptions options;
  std::optional<features::FeaturePipeline> pipeline;  ///< of networks with a card of jets
  std::vector<InputColumn> inputs;
  std::vector<std::string> outputs;

  std::vector<std::string> input_names() const {
    return generator ? std::vector<std::string>{"latent"} : nn::as_model(*network.module)->input_names();
  }
  NamedTensors forward(const NamedTensors& tensors) const {
    if (generator) return generate(*generator, tensors);
    return widen(nn::as_model(*network.module)->forward(bring_to(network, options.device, tensors)));
  }
  /// [jets, outputs] float64, on the CPU.
  at::Tensor score(const NamedTensors& tensors) const {
    const NamedTensors given = forward(tensors);
    std::vector<at::Tensor> columns = {at::softmax(given["logits"].to(at::kDouble), 1)};
    for (const std::string& estimate : network.estimates)
      columns.push_back(given[estimate].to(at::kDouble).reshape({-1, 1}));
    return at::cat(columns, 1).contiguous().cpu();
  }
};

struct Scratch::Impl {
  std::shared_ptr<const void> owner;  ///< the predictor's, so that no other can have its address
  features::RawColumns raw;
  std::vector<std::int64_t> rows;
  std::optional<FastPredictor::Scratch> fast;
  std::optional<detail::InputCounter> counter;
};

Scratch::Scratch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scratch::Scratch(Scratch&&) noexcept = default;
Scratch& Scratch::operator=(Scratch&&) noexcept = default;
Scratch::~Scratch() = default;
std::span<const InputCounts> Scratch::counts() const noexcept {
  if (!impl_) return {};
  if (impl_->fast) return impl_->fast->counts();
  return impl_->counter ? impl_->counter->counts() : std::span<const InputCounts>();
}
void Scratch::reset_counts() noexcept {
  if (impl_ && impl_->fast) impl_->fast->reset_counts();
  if (impl_ && impl_->counter) impl_->counter->reset();
}

Predictor::Predictor(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Predictor Predictor::load(const std::filesystem::path& bundle, const PredictorOptions& options) {
  options.validate();
  auto impl = std::make_shared<Impl>();
  impl->options = options;
  if (options.engine == Engine::fast) {
    if (options.precision != device::Precision::float32 || !options.device.is_cpu())
      throw ConfigError(fmt::format("the fast engine computes in float32 on the CPU: for {} on {} take {}",
                                    device::to_string(options.precision), options.device.str(),
                                    setting("engine", "plain")));
    if (FastGenerator::knows(bundle))
      impl->generator = FastGenerator::load(bundle);
    else
      impl->fast = FastPredictor::load(bundle);
    return Predictor(std::move(impl));
  }
  impl->options.device = require_device(options.device, options.precision);
  impl->network = within_libtorch({}, [&] { return load_network(bundle); });
  if (impl->network.in_double && options.precision != device::Precision::float32)
    throw ConfigError("precision", device::to_string(options.precision),
                      fmt::format("float32 for {}, whose network is in double precision", bundle.string()));
  within_libtorch(impl->options, [&] { impl->network.module->to(impl->options.device); });
  if (const auto& card = impl->network.card) {
    impl->pipeline.emplace(detail::inputs_only(*card));
    impl->inputs = detail::describe_columns(*card, impl->pipeline->required_columns(), impl->network.ranges);
    impl->outputs = impl->network.classes;
    impl->outputs.insert(impl->outputs.end(), impl->network.estimates.begin(), impl->network.estimates.end());
  }
  return Predictor(std::move(impl));
}

const std::vector<InputColumn>& Predictor::inputs() const noexcept {
  return impl_->fast ? impl_->fast->inputs() : impl_->inputs;
}
const std::vector<std::string>& Predictor::classes() const noexcept {
  return impl_->fast ? impl_->fast->classes() : impl_->network.classes;
}
const std::vector<std::string>& Predictor::outputs() const noexcept {
  return impl_->fast ? impl_->fast->outputs() : impl_->outputs;
}
const std::string& Predictor::hash() const noexcept {
  if (impl_->generator) return impl_->generator->hash();
  return impl_->fast ? impl_->fast->hash() : impl_->network.hash;
}
const features::Card* Predictor::card() const noexcept {
  if (impl_->fast) return &impl_->fast->card();
  return impl_->network.card ? &*impl_->network.card : nullptr;
}

Scratch Predictor::make_scratch(const ScratchOptions& options) const {
  if (options.most_bytes != 0 && !impl_->fast)
    throw ConfigError(
        "most_bytes", fmt::to_string(options.most_bytes),
        "0: only the fast engine keeps its memory below a bound, the plain one's is LibTorch's");
  auto scratch = std::make_unique<Scratch::Impl>();
  scratch->owner = impl_;
  if (impl_->fast)
    scratch->fast = impl_->fast->make_scratch(options);
  else if (options.count_outside && !impl_->network.card)
    throw ConfigError("the network scores no jets: its scratch has no inputs to count");
  else if (options.count_outside)
    scratch->counter.emplace(*impl_->network.card, impl_->inputs, scratch->raw, impl_->network.origin);
  return Scratch(std::move(scratch));
}

void Predictor::run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const {
  if (!scratch.impl_ || scratch.impl_->owner != impl_) detail::refuse_scratch();
  if (impl_->fast) return impl_->fast->run(jets, scores, *scratch.impl_->fast);
  if (!impl_->pipeline)
    throw ConfigError(fmt::format("the network scores no jets: give it tensors ({})",
                                  fmt::join(impl_->input_names(), ", ")));
  const auto width = static_cast<std::int64_t>(impl_->outputs.size());
  const detail::RawRows rows(impl_->inputs, jets, detail::counts_particles(*impl_->network.card));
  detail::require_size(scores, jets.count, impl_->outputs);
  Scratch::Impl& own = *scratch.impl_;
  for (std::int64_t first = 0; first < jets.count; first += impl_->options.batch) {
    const RawJets::Range range{first, std::min(impl_->options.batch, jets.count - first)};
    rows.copy(range, own.raw);
    own.rows.resize(static_cast<std::size_t>(range.number));
    std::iota(own.rows.begin(), own.rows.end(), 0);
    within_libtorch(impl_->options, [&] {
      const at::Tensor batch = impl_->score(impl_->pipeline->evaluate(own.raw, own.rows).tensors);
      std::copy_n(batch.const_data_ptr<double>(), range.number * width, scores.data() + first * width);
    });
    if (own.counter) own.counter->count(own.rows);
  }
}

NamedTensors Predictor::run(const NamedTensors& inputs) const {
  if (impl_->fast)
    throw ConfigError(
        "the fast engine scores raw jets: load the bundle with the plain one to give it tensors");
  for (const std::string& name : impl_->input_names()) static_cast<void>(inputs[name]);
  return within_libtorch(impl_->options, [&] { return impl_->forward(inputs); });
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
