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
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../embed_events.hpp"

namespace bt = bunchtrain;

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "embed_threads BUNDLE [THREADS]\n");
    return 2;
  }
  try {
    const auto tagger = bt::infer::FastPredictor::load(argv[1]);
    std::vector<double> scores(embed::kEvents);
    std::atomic<std::int64_t> next = 0;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < (argc == 3 ? std::max(1, std::atoi(argv[2])) : 4); ++t)
        threads.emplace_back([&] {
          auto scratch = tagger.make_scratch();
          for (std::int64_t event = next++; event < embed::kEvents; event = next++)
            scores[static_cast<std::size_t>(event)] = embed::score(embed::read_event(event), tagger, scratch);
        });
    }
    for (const double each : scores) std::printf("%.17g\n", each);
    return 0;
  } catch (const bt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
