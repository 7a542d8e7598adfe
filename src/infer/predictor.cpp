// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/predictor.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "plain_engine.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

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

void require_fast(const PredictorOptions& options) {
  if (options.precision != device::Precision::float32 || !options.device.is_cpu())
    throw ConfigError(fmt::format("the fast engine computes in float32 on the CPU: for {} on {} take {}",
                                  device::to_string(options.precision), options.device.str(),
                                  setting("engine", "plain")));
  if (options.cuda_graph == device::CudaGraph::on)
    throw ConfigError("cuda_graph", "on", "automatic or off for the fast engine, which computes on the CPU");
}

}  // namespace

void PredictorOptions::validate() const {
  if (batch < 1) throw ConfigError("batch", fmt::to_string(batch), "at least 1");
  if (most_graphs < 1) throw ConfigError("most_graphs", fmt::to_string(most_graphs), "at least 1");
}

/// One of the three.
struct Predictor::Impl {
  std::optional<FastPredictor> fast = {};
  std::optional<FastGenerator> generator = {};
  std::optional<PlainEngine> plain = {};
  std::vector<InputColumn> no_inputs = {};
  std::vector<std::string> no_names = {};
};

struct Scratch::Impl {
  std::shared_ptr<const void> owner;  ///< the predictor's, so that no other can have its address
  PlainEngine::Scratch plain = {};
  std::optional<FastPredictor::Scratch> fast = {};
};

Scratch::Scratch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scratch::Scratch(Scratch&&) noexcept = default;
Scratch& Scratch::operator=(Scratch&&) noexcept = default;
Scratch::~Scratch() = default;
std::span<const InputCounts> Scratch::counts() const noexcept {
  if (!impl_) return {};
  if (impl_->fast) return impl_->fast->counts();
  return impl_->plain.counter ? impl_->plain.counter->counts() : std::span<const InputCounts>();
}
void Scratch::reset_counts() noexcept {
  if (impl_ && impl_->fast) impl_->fast->reset_counts();
  if (impl_ && impl_->plain.counter) impl_->plain.counter->reset();
}

Predictor::Predictor(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Predictor Predictor::load(const std::filesystem::path& bundle, const PredictorOptions& options) {
  options.validate();
  auto impl = std::make_shared<Impl>();
  if (options.engine == Engine::plain) {
    impl->plain.emplace(bundle, options);
    return Predictor(std::move(impl));
  }
  require_fast(options);
  if (FastGenerator::knows(bundle))
    impl->generator = FastGenerator::load(bundle);
  else
    impl->fast = FastPredictor::load(bundle);
  return Predictor(std::move(impl));
}

const std::vector<InputColumn>& Predictor::inputs() const noexcept {
  if (impl_->plain) return impl_->plain->inputs();
  return impl_->fast ? impl_->fast->inputs() : impl_->no_inputs;
}
const std::vector<std::string>& Predictor::classes() const noexcept {
  if (impl_->plain) return impl_->plain->network().classes;
  return impl_->fast ? impl_->fast->classes() : impl_->no_names;
}
const std::vector<std::string>& Predictor::outputs() const noexcept {
  if (impl_->plain) return impl_->plain->outputs();
  return impl_->fast ? impl_->fast->outputs() : impl_->no_names;
}
const std::string& Predictor::hash() const noexcept {
  if (impl_->plain) return impl_->plain->network().hash;
  return impl_->fast ? impl_->fast->hash() : impl_->generator->hash();
}
const features::Card* Predictor::card() const noexcept {
  if (impl_->fast) return &impl_->fast->card();
  return impl_->plain && impl_->plain->network().card ? &*impl_->plain->network().card : nullptr;
}
device::GraphUse Predictor::graph_use() const {
  return impl_->plain ? impl_->plain->graph_use() : device::GraphUse{};
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
  else if (options.count_outside && !card())
    throw ConfigError("the network scores no jets: its scratch has no inputs to count");
  else if (options.count_outside)
    scratch->plain.counter.emplace(*card(), inputs(), scratch->plain.raw, impl_->plain->network().origin);
  return Scratch(std::move(scratch));
}

void Predictor::run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const {
  if (!scratch.impl_ || scratch.impl_->owner != impl_) detail::refuse_scratch();
  if (impl_->fast) return impl_->fast->run(jets, scores, *scratch.impl_->fast);
  if (impl_->generator) throw ConfigError("the network scores no jets: give it tensors (latent)");
  impl_->plain->run(jets, scores, scratch.impl_->plain);
}

NamedTensors Predictor::run(const NamedTensors& inputs) const {
  if (impl_->fast)
    throw ConfigError(
        "the fast engine scores raw jets: load the bundle with the plain one to give it tensors");
  return impl_->plain ? impl_->plain->run(inputs) : generate(*impl_->generator, inputs);
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
