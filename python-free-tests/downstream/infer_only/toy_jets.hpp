// SPDX-License-Identifier: Apache-2.0
#pragma once
// Jets of 1 to 40 particles, and their scores on the standard output, by system calls alone.

#include <unistd.h>

#include <bunchtrain/infer/raw_jets.hpp>
#include <charconv>
#include <cmath>
#include <vector>

template <class Run>
int score_toy_jets(const Run& run) {
  constexpr std::int64_t kJets = 40, kSlots = 40;
  std::vector<float> px(kJets * kSlots), py(px), pz(px), e(px);
  for (std::int64_t jet = 0; jet < kJets; ++jet)
    for (std::int64_t p = 0; p <= jet; ++p) {
      const auto i = static_cast<std::size_t>(jet * kSlots + p);
      const double pt = 100 * std::pow(0.9, p), phi = 0.4 * std::sin(double(3 * p + jet)),
                   eta = 0.4 * std::cos(double(5 * p));
      px[i] = static_cast<float>(pt * std::cos(phi));
      py[i] = static_cast<float>(pt * std::sin(phi));
      pz[i] = static_cast<float>(pt * std::sinh(eta));
      e[i] = static_cast<float>(pt * std::cosh(eta));
    }
  const std::vector<bunchtrain::infer::RawColumn> columns = {{.name = "part.px", .values = px},
                                                             {.name = "part.py", .values = py},
                                                             {.name = "part.pz", .values = pz},
                                                             {.name = "part.e", .values = e, .unit = "GeV"}};
  std::vector<double> scores(2 * kJets);
  run(bunchtrain::infer::RawJets{.count = kJets, .slots = kSlots, .columns = columns},
      std::span<double>(scores));
  char text[64];
  for (const double score : scores) {
    char* end = std::to_chars(text, text + 60, score).ptr;
    *end++ = '\n';
    if (write(STDOUT_FILENO, text, static_cast<std::size_t>(end - text)) < 0) return 1;
  }
  return 0;
}
