// SPDX-License-Identifier: Apache-2.0
// What the examples of hosts share: events with jets, and the score of one.
#pragma once

#include <algorithm>
#include <bunchtrain/infer/fast_predictor.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

namespace embed {

inline constexpr std::int64_t kEvents = 200;

/// Particles of all jets of an event, one behind the other: structs, as a host has them.
struct Particle {
  float px, py, pz, e;
};
struct Event {
  std::vector<Particle> particles;
  std::vector<std::int64_t> row_splits = {0};
};

/// Stands for what a framework reads.
inline Event read_event(std::int64_t number) {
  Event event;
  for (std::int64_t jet = 0; jet < 1 + number % 4; ++jet) {
    for (std::int64_t i = 0; i < 5 + (7 * number + 11 * jet) % 40; ++i) {
      const double pt = 100 * std::pow(0.9, i), phi = 0.4 * std::sin(double(3 * i + jet + number)),
                   eta = 0.4 * std::cos(double(5 * i + number));
      event.particles.push_back(
          {static_cast<float>(pt * std::cos(phi)), static_cast<float>(pt * std::sin(phi)),
           static_cast<float>(pt * std::sinh(eta)), static_cast<float>(pt * std::cosh(eta))});
    }
    event.row_splits.push_back(static_cast<std::int64_t>(event.particles.size()));
  }
  return event;
}

/// A member of the structs as a column: nothing is copied.
inline bunchtrain::infer::RawColumn column(const char* name, const float* first, std::size_t particles) {
  constexpr std::int64_t kStride = sizeof(Particle) / sizeof(float);
  return {.name = name,
          .values = {first, particles == 0 ? 0 : (particles - 1) * kStride + 1},
          .particle_stride = kStride};
}

/// The largest probability of the last class among the jets.
inline double score(const Event& event, const bunchtrain::infer::FastPredictor& tagger,
                    bunchtrain::infer::FastPredictor::Scratch& scratch) {
  const Particle* first = event.particles.data();
  const std::size_t particles = event.particles.size();
  const bunchtrain::infer::RawColumn columns[] = {
      column("part.px", &first->px, particles), column("part.py", &first->py, particles),
      column("part.pz", &first->pz, particles), column("part.e", &first->e, particles)};
  const std::size_t width = tagger.outputs().size(), jets = event.row_splits.size() - 1;
  std::vector<double> scores(jets * width);
  tagger.run({.count = static_cast<std::int64_t>(jets), .row_splits = event.row_splits, .columns = columns},
             scores, scratch);
  double highest = 0;
  for (std::size_t jet = 0; jet < jets; ++jet)
    highest = std::max(highest, scores[jet * width + tagger.classes().size() - 1]);
  return highest;
}

}  // namespace embed
