// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/simulate/toy_jets.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "momentum.hpp"
#include "parton_shower.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr std::uint64_t kStream = 0x746f79206a657473;  // "toy jets"
constexpr double kRadius = 0.8;
constexpr double kLowestPt = 500, kHighestPt = 1000;  // GeV, of the parton or resonance that starts the jet
constexpr double kWMass = 80.4, kWWidth = 2.1, kTopMass = 172.5, kTopWidth = 1.4;  // GeV

struct Jet {
  ToyJetKind kind;
  Momentum momentum;                ///< sum of all particles
  std::vector<Particle> particles;  ///< by falling pT
};

/// dN/dpT ~ pT^-5 between the bounds.
double falling_pt(RandomSequence& random) noexcept {
  const double low = std::pow(kLowestPt, -4), high = std::pow(kHighestPt, -4);
  return std::pow(low + random.uniform() * (high - low), -0.25);
}

double central_eta(RandomSequence& random) noexcept {
  while (true) {
    if (const double eta = random.normal(); std::abs(eta) < 2) return eta;
  }
}

/// W -> q q': a colour singlet, so radiation stays within the opening angle.
void shower_w(const Momentum& w, RandomSequence& random, std::vector<Particle>& hadrons) {
  const auto quarks = decay(w, 0, 0, random);
  const Particle first = massless(quarks[0]), second = massless(quarks[1]);
  const double opening = std::min(kRadius, delta_r(first, second));
  shower_parton(first, Flavour::quark, opening, random, hadrons);
  shower_parton(second, Flavour::quark, opening, random, hadrons);
}

std::vector<Particle> make_hadrons(ToyJetKind kind, const Particle& parent, RandomSequence& random) {
  std::vector<Particle> hadrons;
  switch (kind) {
    case ToyJetKind::qcd: {
      constexpr double kGluons = 0.6;
      const Flavour flavour = random.uniform() < kGluons ? Flavour::gluon : Flavour::quark;
      shower_parton(parent, flavour, kRadius, random, hadrons);
      break;
    }
    case ToyJetKind::two_prong:
      shower_w(from_pt_eta_phi_mass(parent.pt, parent.eta, parent.phi, kWMass + kWWidth * random.normal()),
               random, hadrons);
      break;
    case ToyJetKind::three_prong: {
      const Momentum top =
          from_pt_eta_phi_mass(parent.pt, parent.eta, parent.phi, kTopMass + kTopWidth * random.normal());
      const auto daughters = decay(top, kWMass + kWWidth * random.normal(), 0, random);
      const Particle w = massless(daughters[0]), b = massless(daughters[1]);
      shower_w(daughters[0], random, hadrons);
      shower_parton(b, Flavour::quark, std::min(kRadius, delta_r(w, b)), random, hadrons);
      break;
    }
  }
  return hadrons;
}

/// Soft particles all over the jet: underlying event and pile-up.
void add_diffuse(const Particle& axis, RandomSequence& random, std::vector<Particle>& hadrons) {
  constexpr std::uint64_t kMost = 9;
  constexpr double kMeanPt = 0.8;  // GeV
  for (std::uint64_t left = random.below(kMost); left > 0; --left) {
    const double distance = kRadius * std::sqrt(random.uniform()),
                 azimuth = 2 * std::numbers::pi * random.uniform();
    hadrons.push_back({-kMeanPt * std::log(1 - random.uniform()), axis.eta + distance * std::cos(azimuth),
                       axis.phi + distance * std::sin(azimuth)});
  }
}

/// What a detector makes of the hadrons within the jet's radius.
std::vector<Particle> detect(const std::vector<Particle>& hadrons, const Particle& axis,
                             RandomSequence& random) {
  constexpr double kThreshold = 0.5, kPtResolution = 0.08, kAngleResolution = 0.005;
  std::vector<Particle> seen;
  for (const Particle& hadron : hadrons) {
    const Particle smeared{hadron.pt * (1 + kPtResolution * random.normal()),
                           hadron.eta + kAngleResolution * random.normal(),
                           hadron.phi + kAngleResolution * random.normal()};
    if (smeared.pt > kThreshold && delta_r(smeared, axis) < kRadius) seen.push_back(smeared);
  }
  return seen;
}

Jet make_jet(std::uint64_t seed, std::int64_t number) {
  RandomSequence random(CounterRandom(seed, kStream).child(static_cast<std::uint64_t>(number)));
  Jet jet{static_cast<ToyJetKind>(random.below(3)), {}, {}};
  const Particle parent{falling_pt(random), central_eta(random), 2 * std::numbers::pi * random.uniform()};
  while (jet.particles.empty()) {  // a decay may throw everything out of the radius: then another one
    std::vector<Particle> hadrons = make_hadrons(jet.kind, parent, random);
    add_diffuse(parent, random, hadrons);
    jet.particles = detect(hadrons, parent, random);
  }
  for (const Particle& particle : jet.particles) jet.momentum += momentum_of(particle);
  std::ranges::sort(jet.particles, std::ranges::greater(), &Particle::pt);
  return jet;
}

void store_jet(const Jet& jet, std::int64_t slots, float* particles, float* features) {
  const double pt = jet.momentum.pt(), eta = jet.momentum.eta(), phi = jet.momentum.phi();
  const auto stored = std::min(slots, static_cast<std::int64_t>(jet.particles.size()));
  for (std::int64_t i = 0; i < stored; ++i, particles += 4) {
    const Particle& particle = jet.particles[static_cast<std::size_t>(i)];
    particles[0] = static_cast<float>(particle.eta - eta);
    particles[1] = static_cast<float>(wrap_angle(particle.phi - phi));
    particles[2] = static_cast<float>(particle.pt / pt);
    particles[3] = 1;
  }
  features[0] = static_cast<float>(pt);
  features[1] = static_cast<float>(eta);
  features[2] = static_cast<float>(jet.momentum.mass());
  features[3] = static_cast<float>(stored);
}

void validate(const ToyJetOptions& options, std::int64_t first, std::int64_t count) {
  if (options.particles < 1)
    throw ConfigError("particles", fmt::format("{}", options.particles), "at least 1 slot per jet");
  if (first < 0 || count < 0)
    throw ConfigError("count", fmt::format("{}", std::min(first, count)), "not negative");
}

}  // namespace

NamedTensors make_toy_jets(const ToyJetOptions& options, std::int64_t first, std::int64_t count) {
  validate(options, first, count);
  const std::int64_t slots = options.particles;
  at::Tensor particles = at::zeros({count, slots, 4}, at::kFloat),
             features = at::empty({count, 4}, at::kFloat);
  at::Tensor labels = at::empty({count}, at::kInt), prongs = at::empty({count}, at::kInt);
  auto* particle = particles.mutable_data_ptr<float>();
  auto* feature = features.mutable_data_ptr<float>();
  auto* label = labels.mutable_data_ptr<std::int32_t>();
  auto* prong = prongs.mutable_data_ptr<std::int32_t>();
  constexpr std::int64_t kJetsPerTask = 64;
  at::parallel_for(0, count, kJetsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Jet jet = make_jet(options.seed, first + i);
      store_jet(jet, slots, particle + i * slots * 4, feature + i * 4);
      label[i] = static_cast<std::int32_t>(jet.kind);
      prong[i] = label[i] + 1;
    }
  });
  NamedTensors jets;
  jets.set("particle_features", std::move(particles));
  jets.set("jet_features", std::move(features));
  jets.set("jet_label", std::move(labels));
  jets.set("toy_prongs", std::move(prongs));
  return jets;
}

void write_toy_jets(const std::filesystem::path& path, const ToyJetOptions& options,
                    const std::function<void(std::int64_t jets)>& progress) {
  write_toy_jets(OutputFile{.path = path, .force = true}, options, progress);
}

void write_toy_jets(const OutputFile& output, const ToyJetOptions& options,
                    const std::function<void(std::int64_t jets)>& progress) {
  constexpr std::int64_t kJetsPerWrite = 8192, kChunkJets = 256;
  constexpr int kDeflateLevel = 1;
  validate(options, 0, options.count);
  data::Hdf5Writer file(output, "toy jets");
  std::int64_t written = 0;
  do {
    const NamedTensors jets =
        make_toy_jets(options, written, std::min(kJetsPerWrite, options.count - written));
    for (const auto& [name, tensor] : jets) {
      if (written == 0)
        file.create_dataset(name, tensor, kChunkJets, kDeflateLevel);
      else
        file.append(name, tensor);
    }
    written += jets["jet_label"].size(0);
    if (progress) progress(written);
  } while (written < options.count);
  file.write_attribute("/", "description",
                       "toy jets of bunchtrain, JetNet layout, pt and mass in GeV; card toy_jets");
  file.write_attribute("/", "seed", fmt::format("{}", options.seed));
  file.commit();
}

}  // namespace bunchtrain::simulate
