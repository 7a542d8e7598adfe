// SPDX-License-Identifier: Apache-2.0
// A tagger inside an event loop of TBB, as Gaudi's and CMSSW's are: eight events at once, on as many threads as there are.
//
//   embed_tbb BUNDLE [THREADS]
//
// Events are read and written in order, scored in any. The scores are those of embed_threads.

#include <tbb/enumerable_thread_specific.h>
#include <tbb/global_control.h>
#include <tbb/parallel_pipeline.h>

#include <algorithm>
#include <bunchtrain/core/error.hpp>
#include <bunchtrain/infer/fast_predictor.hpp>
#include <cstdio>
#include <cstdlib>

#include "../embed_events.hpp"

namespace bt = bunchtrain;

namespace {

constexpr std::size_t kEventsAtOnce = 8;

void run_loop(const bt::infer::FastPredictor& tagger) {
  tbb::enumerable_thread_specific<bt::infer::FastPredictor::Scratch> scratches(
      [&tagger] { return tagger.make_scratch(); });
  std::int64_t next = 0;
  const auto read = [&next](tbb::flow_control& control) {
    if (next == embed::kEvents) control.stop();
    return next++;
  };
  const auto score = [&](std::int64_t event) {
    return embed::score(embed::read_event(event), tagger, scratches.local());
  };
  const auto write = [](double highest) { std::printf("%.17g\n", highest); };
  tbb::parallel_pipeline(kEventsAtOnce,
                         tbb::make_filter<void, std::int64_t>(tbb::filter_mode::serial_in_order, read) &
                             tbb::make_filter<std::int64_t, double>(tbb::filter_mode::parallel, score) &
                             tbb::make_filter<double, void>(tbb::filter_mode::serial_in_order, write));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "embed_tbb BUNDLE [THREADS]\n");
    return 2;
  }
  try {
    const tbb::global_control threads(
        tbb::global_control::max_allowed_parallelism,
        argc == 3 ? static_cast<std::size_t>(std::max(1, std::atoi(argv[2]))) : 4);
    run_loop(bt::infer::FastPredictor::load(argv[1]));
    return 0;
  } catch (const bt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
