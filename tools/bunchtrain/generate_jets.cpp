// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/simulate/toy_jets.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

void generate(const config::Options& given) {
  const auto count = given.get<std::int64_t>("count");
  const auto out = given.get<std::string>("out");
  if (count < 1) throw ConfigError("count", fmt::format("{}", count), "at least 1 jet");
  require_out(given);
  const auto start = std::chrono::steady_clock::now();
  simulate::write_toy_jets(OutputFile{.path = out, .option = "out", .force = given.get<bool>("force")},
                           {.count = count,
                            .seed = static_cast<std::uint64_t>(given.get<std::int64_t>("seed")),
                            .particles = given.get<std::int64_t>("particles")});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {} toy jets in {:.1f} s ({} jets/s)\n", out, count, seconds,
             bunchtrain::format_count(static_cast<double>(count) / seconds));
}

}  // namespace

int generate_jets(int argc, char** argv) {
  config::Options options("bunchtrain generate jets",
                          "Makes toy jets: QCD-like splitting (label 0) against two (1) and three (2) "
                          "prongs, JetNet layout, GeV.");
  options.declare({{"out", std::string{}, "file to write", "FILE"},
                   {"force", false, "replace a file that something else wrote"},
                   {"count", std::int64_t{20000}, "number of jets"},
                   {"seed", std::int64_t{1}, "the same seed makes the same jets"},
                   {"particles", std::int64_t{64}, "particle slots per jet"}});
  return run_subcommand(std::move(options), argc, argv, generate);
}

}  // namespace bunchtrain::tool
