// SPDX-License-Identifier: Apache-2.0
// The entry point of one fuzz target, over its corpus and mutations of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "bunchtrain/core/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace bunchtrain {
namespace {

/// Fewer where an input takes long.
int mutations_per_seed() {
  const char* asked = std::getenv("BUNCHTRAIN_FUZZ_MUTATIONS");
  return asked != nullptr ? std::atoi(asked) : 2000;
}

std::vector<std::string> corpus() {
  const char* folder = std::getenv("BUNCHTRAIN_FUZZ_CORPUS");
  if (folder == nullptr)
    throw std::runtime_error("BUNCHTRAIN_FUZZ_CORPUS is not set: run this test by ctest");
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::ranges::sort(paths);
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

int feed(const std::string& text) {
  return LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

/// One to four edits: a flipped bit, a replaced byte, a piece cut out, a piece doubled, a number made huge.
std::string mutate(std::string text, RandomSequence& random) {
  for (std::uint64_t edits = 1 + random.below(4); edits > 0 && !text.empty(); --edits) {
    const std::size_t place = random.below(text.size());
    const std::size_t length = 1 + random.below(std::min<std::size_t>(16, text.size() - place));
    switch (random.below(5)) {
      case 0:
        text[place] = static_cast<char>(text[place] ^ (1 << random.below(8)));
        break;
      case 1:
        text[place] = static_cast<char>(random.below(256));
        break;
      case 2:
        text.erase(place, length);
        break;
      case 3:
        text.insert(place, text.substr(place, length));
        break;
      default:
        text.insert(place, "18446744073709551615");
        break;
    }
  }
  return text;
}

TEST(MutationsTest, SeedsPass) {
  const auto seeds = corpus();
  ASSERT_GE(seeds.size(), 5U);
  for (const std::string& seed : seeds) EXPECT_EQ(feed(seed), 0);
}

TEST(MutationsTest, MutationsNeitherCrashNorEscape) {
  const int mutations = mutations_per_seed();
  int fed = 0;
  for (const std::string& seed : corpus()) {
    RandomSequence random(CounterRandom(7, static_cast<std::uint64_t>(fed)));
    for (int i = 0; i < mutations; ++i, ++fed) EXPECT_EQ(feed(mutate(seed, random)), 0);
  }
  EXPECT_GE(fed, 5 * mutations);
}

}  // namespace
}  // namespace bunchtrain
