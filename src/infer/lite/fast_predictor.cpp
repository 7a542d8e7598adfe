// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/fast_predictor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "../raw_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "jets/input_writer.hpp"
#include "particle_net_pass.hpp"

namespace bunchtrain::infer {
namespace {

constexpr std::int64_t kRowsPerPass = 32;  ///< whose features are computed together

models::ParticleNetOptions read_options(const weights::BundleContent& bundle, const std::string& origin) {
  const auto description = models::ModelDescription::parse(bundle.model);
  if (bundle.model.empty() ||
      (description.name() != "particlenet" && description.name() != "particlenet-lite"))
    throw CheckpointError(fmt::format(
        "{} is of the network '{}': the fast engine knows particlenet and particlenet-lite; take infer::Predictor",
        origin, description.name()));
  models::ParticleNetOptions options = models::ParticleNetOptions::from(description);
  description.require_known_fields();
  options.validate();
  return options;
}

/// The places of the network's inputs among those of the card.
struct InputPlaces {
  std::size_t points = 0, features = 0;
};

std::size_t place_of(const features::Card& card, const char* name, const std::string& origin) {
  for (std::size_t i = 0; i < card.inputs.size(); ++i)
    if (card.inputs[i].first == name) return i;
  throw CheckpointError(fmt::format(
      "{}: its network reads '{}', which its card does not make: they do not belong together", origin, name));
}

std::vector<std::string> class_names(const features::Card& card) {
  std::vector<std::string> names;
  for (const features::ClassSpec& spec : card.classes) names.push_back(spec.name);
  return names;
}

/// In double precision, as evaluations compute it.
void write_probabilities(std::span<const float> logits, double* to) {
  const double highest = *std::ranges::max_element(logits);
  double sum = 0;
  for (std::size_t c = 0; c < logits.size(); ++c) sum += to[c] = std::exp(logits[c] - highest);
  for (std::size_t c = 0; c < logits.size(); ++c) to[c] /= sum;
}

}  // namespace

struct FastPredictor::Impl {
  explicit Impl(const std::filesystem::path& bundle);

  void require_fit() const;

  std::string origin;
  weights::BundleContent content;
  features::Card card, inputs_card;
  detail::FoldedNetwork network;
  features::detail::CompiledCard compiled;
  InputPlaces places;
  std::vector<InputColumn> inputs;
  std::vector<std::string> classes, outputs;
};

FastPredictor::Impl::Impl(const std::filesystem::path& bundle)
    : origin(bundle.string()),
      content(weights::read_bundle_content(bundle)),
      card(detail::read_jet_card(content.card, origin)),
      inputs_card(detail::inputs_only(card)),
      network(detail::read_folded_network(read_options(content, origin), weights::bundle_weights(bundle))),
      compiled(inputs_card),
      places{place_of(card, "points", origin), place_of(card, "features", origin)},
      inputs(detail::describe_columns(card, compiled.required)),
      classes(class_names(card)),
      outputs(classes) {
  for (const models::RegressionHead& head : network.options.heads) {
    outputs.push_back(head.name);
    if (head.own_width) outputs.push_back(models::width_output(head.name));
  }
  require_fit();
}

void FastPredictor::Impl::require_fit() const {
  const auto refuse = [&](const std::string& why) {
    throw CheckpointError(fmt::format("{}: {}: they do not belong together", origin, why));
  };
  const models::ParticleNetOptions& options = network.options;
  if (!content.classes.empty() && content.classes != classes)
    refuse(fmt::format("it was trained on the classes {}, its card says {}", fmt::join(content.classes, ","),
                       fmt::join(classes, ",")));
  if (std::ssize(classes) != options.num_classes)
    refuse(fmt::format("its network has {} classes, its card {}", options.num_classes, classes.size()));
  if (const auto columns = std::ssize(card.inputs[places.features].second); columns != options.num_features)
    refuse(fmt::format("its network reads {} features, its card makes {}", options.num_features, columns));
  for (const models::EdgeConvSpec& block : options.blocks)
    if (block.k >= card.length)
      refuse(fmt::format("its network looks for {} neighbours of each particle, its card has only {} slots",
                         block.k, card.length));
  for (const models::RegressionHead& head : options.heads)
    if (std::ranges::find(card.targets, head.name, &features::TargetSpec::name) == card.targets.end())
      refuse(fmt::format("its network estimates '{}', which is no target of its card", head.name));
}

struct FastPredictor::Scratch::Impl {
  explicit Impl(std::shared_ptr<const FastPredictor::Impl> predictor)
      : owner(std::move(predictor)),
        writer(owner->inputs_card, owner->compiled, raw, workspace),
        pass(owner->network, owner->card.length, std::ssize(owner->card.inputs[owner->places.points].second)),
        mask(std::make_unique<bool[]>(static_cast<std::size_t>(kRowsPerPass * owner->card.length))),
        logits(owner->classes.size()),
        estimates(owner->outputs.size() - owner->classes.size()) {
    for (const auto& [name, columns] : owner->card.inputs) {
      tensors.emplace_back(static_cast<std::size_t>(kRowsPerPass * owner->card.length) * columns.size());
      arrays.inputs.push_back(tensors.back().data());
    }
    arrays.mask = mask.get();
    rows.resize(kRowsPerPass);
    std::iota(rows.begin(), rows.end(), 0);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void score(std::int64_t row, double* to);

  std::shared_ptr<const FastPredictor::Impl> owner;
  features::RawColumns raw;
  features::detail::Workspace workspace;
  features::detail::InputWriter writer;
  detail::ParticleNetPass pass;
  std::vector<std::vector<float>> tensors;  ///< [rows, length, columns] each
  std::unique_ptr<bool[]> mask;
  features::detail::InputArrays arrays;
  std::vector<std::int64_t> rows;
  std::vector<float> logits, estimates;
};

void FastPredictor::Scratch::Impl::score(std::int64_t row, double* to) {
  const std::int64_t length = owner->card.length, begin = row * length;
  const std::int64_t dims = std::ssize(owner->card.inputs[owner->places.points].second);
  const detail::JetInputs jet{
      .points = tensors[owner->places.points].data() + begin * dims,
      .dims = dims,
      .features = tensors[owner->places.features].data() + begin * owner->network.options.num_features,
      .particles = std::count(mask.get() + begin, mask.get() + begin + length, true),
      .slots = length};
  pass.run(jet, logits, estimates);
  write_probabilities(logits, to);
  std::ranges::copy(estimates, to + logits.size());
}

FastPredictor::Scratch::Scratch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FastPredictor::Scratch::Scratch(Scratch&&) noexcept = default;
FastPredictor::Scratch& FastPredictor::Scratch::operator=(Scratch&&) noexcept = default;
FastPredictor::Scratch::~Scratch() = default;
std::size_t FastPredictor::Scratch::bytes() const noexcept {
  if (!impl_) return 0;
  std::size_t bytes = impl_->pass.bytes();
  for (const auto& tensor : impl_->tensors) bytes += tensor.size() * sizeof(float);
  return bytes;
}

FastPredictor::FastPredictor(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
FastPredictor FastPredictor::load(const std::filesystem::path& bundle) {
  return FastPredictor(std::make_shared<const Impl>(bundle));
}

const std::vector<InputColumn>& FastPredictor::inputs() const noexcept { return impl_->inputs; }
const std::vector<std::string>& FastPredictor::classes() const noexcept { return impl_->classes; }
const std::vector<std::string>& FastPredictor::outputs() const noexcept { return impl_->outputs; }
const std::string& FastPredictor::hash() const noexcept { return impl_->content.hash; }
const features::Card& FastPredictor::card() const noexcept { return impl_->card; }
FastPredictor::Scratch FastPredictor::make_scratch() const {
  return Scratch(std::make_unique<Scratch::Impl>(impl_));
}

void FastPredictor::run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const {
  if (!scratch.impl_ || scratch.impl_->owner != impl_) detail::refuse_scratch();
  const std::size_t width = impl_->outputs.size();
  const detail::RawRows rows(impl_->inputs, jets, detail::counts_particles(impl_->card));
  detail::require_size(scores, jets.count, impl_->outputs);
  Scratch::Impl& own = *scratch.impl_;
  for (std::int64_t first = 0; first < jets.count; first += kRowsPerPass) {
    const RawJets::Range range{first, std::min(kRowsPerPass, jets.count - first)};
    rows.copy(range, own.raw);
    own.writer.write(std::span(own.rows).first(static_cast<std::size_t>(range.number)), own.arrays);
    for (std::int64_t row = 0; row < range.number; ++row)
      own.score(row, scores.data() + static_cast<std::size_t>(first + row) * width);
  }
}

}  // namespace bunchtrain::infer
