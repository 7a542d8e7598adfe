// SPDX-License-Identifier: Apache-2.0
// soak BUNDLE SECONDS: eight events at once in a loop of TBB, for so long. Each score must be that of one thread, bit for
// bit, and memory must stay as it is once the loop is warm.
//
// Made for the thread sanitizer too, which does not see how libtbb hands tasks over: tasks hold nothing, what they need is
// written before any other thread begins.

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <unistd.h>

#include <atomic>
#include <bunchtrain/core/error.hpp>
#include <bunchtrain/infer/fast_predictor.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "../../../examples/embed_events.hpp"

namespace {

using bunchtrain::infer::FastPredictor;

constexpr int kEventsAtOnce = 8;
constexpr std::int64_t kMostGrowth = 4 << 20;

std::optional<FastPredictor> tagger;
std::vector<double> expected;
std::atomic<std::int64_t> scored = 0, wrong = 0;

/// Some events have a scratch of their own, most that of their thread.
double score(std::int64_t event) {
  thread_local std::optional<FastPredictor::Scratch> kept;
  if (!kept || event % 41 == 0) kept = tagger->make_scratch();
  return embed::score(embed::read_event(event), *tagger, *kept);
}

void score_event(std::int64_t event) {
  wrong += score(event) != expected[static_cast<std::size_t>(event)];
  ++scored;
}

std::int64_t resident_bytes() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "r"),
                                                             &std::fclose);
  long long pages = 0;
  if (!file || std::fscanf(file.get(), "%*s %lld", &pages) != 1) return 0;
  return pages * ::sysconf(_SC_PAGESIZE);
}

int soak(double seconds) {
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, kEventsAtOnce);
  tbb::task_arena arena(kEventsAtOnce);
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::int64_t warm = 0;
  while (passed() < seconds) {
    arena.execute(
        [] { tbb::parallel_for(std::int64_t{0}, embed::kEvents, score_event, tbb::simple_partitioner()); });
    if (warm == 0 && passed() > seconds / 4) warm = resident_bytes();
  }
  const std::int64_t growth = resident_bytes() - warm;
  std::printf(
      "%.0f s, %lld events, %lld of other scores than those of one thread, memory %.1f MB, grown by %.2f MB\n",
      passed(), static_cast<long long>(scored), static_cast<long long>(wrong),
      static_cast<double>(warm) / 1e6, static_cast<double>(growth) / 1e6);
  return wrong == 0 && scored > 0 && growth < kMostGrowth ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    tagger = FastPredictor::load(argv[1]);
    for (std::int64_t event = 0; event < embed::kEvents; ++event) expected.push_back(score(event));
    return soak(std::atof(argv[2]));
  } catch (const bunchtrain::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
