// SPDX-License-Identifier: Apache-2.0
// A tagger inside a program that handles events in threads of its own:
//
//   embed_threads BUNDLE [THREADS]
//
// The bundle's network needs part.px, part.py, part.pz and part.e (that of top_tagging does). It is read once and shared;
// each thread has a scratch. The scores of an event depend on neither the threads nor what else they do.

#include <algorithm>
#include <atomic>
#include <bunchtrain/core/error.hpp>
#include <bunchtrain/infer/fast_predictor.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace bt = bunchtrain;

namespace {

constexpr std::int64_t kEvents = 200;

/// Particles of all jets of an event, one behind the other: structs, as a host has them.
struct Particle {
  float px, py, pz, e;
};
struct Event {
  std::vector<Particle> particles;
  std::vector<std::int64_t> row_splits = {0};
};

/// Stands for what a framework reads.
Event read_event(std::int64_t number) {
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
bt::infer::RawColumn column(const char* name, const float* first, std::size_t particles) {
  constexpr std::int64_t kStride = sizeof(Particle) / sizeof(float);
  return {.name = name,
          .values = {first, particles == 0 ? 0 : (particles - 1) * kStride + 1},
          .particle_stride = kStride};
}

/// The largest probability of the last class among the jets.
double score(const Event& event, const bt::infer::FastPredictor& tagger,
             bt::infer::FastPredictor::Scratch& scratch) {
  const Particle* first = event.particles.data();
  const std::size_t particles = event.particles.size();
  const bt::infer::RawColumn columns[] = {
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

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "embed_threads BUNDLE [THREADS]\n");
    return 2;
  }
  try {
    const auto tagger = bt::infer::FastPredictor::load(argv[1]);
    std::vector<double> scores(kEvents);
    std::atomic<std::int64_t> next = 0;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < (argc == 3 ? std::max(1, std::atoi(argv[2])) : 4); ++t)
        threads.emplace_back([&] {
          auto scratch = tagger.make_scratch();
          for (std::int64_t event = next++; event < kEvents; event = next++)
            scores[static_cast<std::size_t>(event)] = score(read_event(event), tagger, scratch);
        });
    }
    for (const double each : scores) std::printf("%.17g\n", each);
    return 0;
  } catch (const bt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
