// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/fast_predictor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "../input_counter.hpp"
#include "../raw_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "jets/input_writer.hpp"
#include "loaded_particle_net.hpp"
#include "particle_net_pass.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

constexpr std::int64_t kMostAtOnce = 32;  ///< jets whose features are computed together

/// In double precision, as evaluations compute it.
void write_probabilities(std::span<const float> logits, double* to) {
  const double highest = *std::ranges::max_element(logits);
  double sum = 0;
  for (std::size_t c = 0; c < logits.size(); ++c) sum += to[c] = std::exp(logits[c] - highest);
  for (std::size_t c = 0; c < logits.size(); ++c) to[c] /= sum;
}

}  // namespace

struct FastPredictor::Impl {
  explicit Impl(const std::filesystem::path& bundle)
      : loaded(detail::load_particle_net(bundle)),
        network(detail::prepare(std::exchange(loaded.network, {}))),
        inputs_card(detail::inputs_only(loaded.card)),
        compiled(inputs_card),
        inputs(detail::describe_columns(loaded.card, compiled.required,
                                        detail::read_ranges(loaded.content.metadata, loaded.origin))) {}

  detail::LoadedParticleNet loaded;  ///< without its network: weights are held once
  detail::PreparedNetwork network;
  features::Card inputs_card;
  features::detail::CompiledCard compiled;
  std::vector<InputColumn> inputs;
};

struct FastPredictor::Scratch::Impl {
  Impl(std::shared_ptr<const FastPredictor::Impl> predictor, const ScratchOptions& options)
      : owner(std::move(predictor)),
        writer(owner->inputs_card, owner->compiled, raw, workspace),
        pass(owner->network, owner->loaded.card.length, owner->loaded.dims()),
        jets_at_once(fit_jets(options.most_bytes)),
        mask(std::make_unique<bool[]>(static_cast<std::size_t>(jets_at_once * owner->loaded.card.length))),
        logits(owner->loaded.classes.size()),
        estimates(owner->loaded.outputs.size() - owner->loaded.classes.size()) {
    for (const auto& [name, columns] : owner->loaded.card.inputs) {
      tensors.emplace_back(static_cast<std::size_t>(jets_at_once * owner->loaded.card.length) *
                           columns.size());
      arrays.inputs.push_back(tensors.back().data());
    }
    arrays.mask = mask.get();
    rows.resize(static_cast<std::size_t>(jets_at_once));
    std::iota(rows.begin(), rows.end(), 0);
    if (options.most_bytes > 0) raw_bytes = static_cast<std::size_t>(options.most_bytes) - own_bytes();
    if (options.count_outside) counter.emplace(owner->loaded.card, owner->inputs, raw, owner->loaded.origin);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// How many jets' features fit, with as much for raw columns as for them.
  std::int64_t fit_jets(std::int64_t most_bytes) const;
  /// As many jets from `first` on as have room for their raw columns.
  RawJets::Range next_range(const detail::RawRows& jets, std::int64_t first, std::int64_t count) const;
  void score(std::int64_t row, double* to);
  std::size_t own_bytes() const noexcept;  ///< that do not change

  std::shared_ptr<const FastPredictor::Impl> owner;
  features::RawColumns raw;
  features::detail::Workspace workspace;
  features::detail::InputWriter writer;
  detail::ParticleNetPass pass;
  std::int64_t jets_at_once;                                        ///< whose features are computed together
  std::size_t raw_bytes = std::numeric_limits<std::size_t>::max();  ///< that raw columns may take
  std::vector<std::vector<float>> tensors;                          ///< [jets, length, columns] each
  std::unique_ptr<bool[]> mask;
  features::detail::InputArrays arrays;
  std::vector<std::int64_t> rows;
  std::vector<float> logits, estimates;
  std::optional<detail::InputCounter> counter;
};

std::int64_t FastPredictor::Scratch::Impl::fit_jets(std::int64_t most_bytes) const {
  if (most_bytes == 0) return kMostAtOnce;
  const features::Card& card = owner->loaded.card;
  std::size_t of_jet = sizeof(bool);
  for (const auto& [name, columns] : card.inputs) of_jet += columns.size() * sizeof(float);
  of_jet = 2 * of_jet * static_cast<std::size_t>(card.length) + sizeof(std::int64_t);
  const auto least = static_cast<std::int64_t>(pass.bytes() + of_jet);
  if (most_bytes < least)
    throw ConfigError("most_bytes", fmt::to_string(most_bytes),
                      fmt::format("at least {} for the network of {}", least, owner->loaded.origin));
  return std::min(kMostAtOnce, 1 + (most_bytes - least) / static_cast<std::int64_t>(of_jet));
}

RawJets::Range FastPredictor::Scratch::Impl::next_range(const detail::RawRows& jets, std::int64_t first,
                                                        std::int64_t count) const {
  RawJets::Range range{first, 0};
  std::size_t bytes = 0;
  for (; range.number < std::min(jets_at_once, count - first); ++range.number) {
    bytes += jets.bytes_of(first + range.number);
    if (bytes > raw_bytes) break;
  }
  if (range.number == 0)
    throw ConfigError("most_bytes of the scratch", fmt::to_string(raw_bytes + own_bytes()),
                      fmt::format("at least {} for the raw columns of jet {}", own_bytes() + bytes, first));
  return range;
}

std::size_t FastPredictor::Scratch::Impl::own_bytes() const noexcept {
  std::size_t bytes = pass.bytes() + rows.size() * sizeof(std::int64_t) +
                      static_cast<std::size_t>(jets_at_once * owner->loaded.card.length);
  for (const auto& tensor : tensors) bytes += tensor.size() * sizeof(float);
  return bytes;
}

void FastPredictor::Scratch::Impl::score(std::int64_t row, double* to) {
  const std::int64_t length = owner->loaded.card.length, begin = row * length;
  const std::int64_t dims = owner->loaded.dims();
  const detail::JetInputs jet{
      .points = tensors[owner->loaded.places.points].data() + begin * dims,
      .dims = dims,
      .features = tensors[owner->loaded.places.features].data() + begin * owner->network.options.num_features,
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
  std::size_t bytes = impl_->own_bytes();
  for (const auto& [name, values] : impl_->raw.particle) bytes += values.capacity() * sizeof(float);
  for (const auto& [name, values] : impl_->raw.jet) bytes += values.capacity() * sizeof(double);
  return bytes;
}

std::span<const InputCounts> FastPredictor::Scratch::counts() const noexcept {
  return impl_ && impl_->counter ? impl_->counter->counts() : std::span<const InputCounts>();
}
void FastPredictor::Scratch::reset_counts() noexcept {
  if (impl_ && impl_->counter) impl_->counter->reset();
}

FastPredictor::FastPredictor(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
FastPredictor FastPredictor::load(const std::filesystem::path& bundle) {
  return FastPredictor(std::make_shared<const Impl>(bundle));
}

const std::vector<InputColumn>& FastPredictor::inputs() const noexcept { return impl_->inputs; }
const std::vector<std::string>& FastPredictor::classes() const noexcept { return impl_->loaded.classes; }
const std::vector<std::string>& FastPredictor::outputs() const noexcept { return impl_->loaded.outputs; }
const std::string& FastPredictor::hash() const noexcept { return impl_->loaded.content.hash; }
const features::Card& FastPredictor::card() const noexcept { return impl_->loaded.card; }
FastPredictor::Scratch FastPredictor::make_scratch(const ScratchOptions& options) const {
  return Scratch(std::make_unique<Scratch::Impl>(impl_, options));
}

void FastPredictor::run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const {
  if (!scratch.impl_ || scratch.impl_->owner != impl_) detail::refuse_scratch();
  const std::size_t width = impl_->loaded.outputs.size();
  const detail::RawRows rows(impl_->inputs, jets, detail::counts_particles(impl_->loaded.card));
  detail::require_size(scores, jets.count, impl_->loaded.outputs);
  Scratch::Impl& own = *scratch.impl_;
  for (std::int64_t first = 0; first < jets.count;) {
    const RawJets::Range range = own.next_range(rows, first, jets.count);
    rows.copy(range, own.raw);
    const auto jet_rows = std::span(own.rows).first(static_cast<std::size_t>(range.number));
    own.writer.write(jet_rows, own.arrays);
    if (own.counter) own.counter->count(jet_rows);
    for (std::int64_t row = 0; row < range.number; ++row)
      own.score(row, scores.data() + static_cast<std::size_t>(first + row) * width);
    first += range.number;
  }
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
