// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <numbers>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/report/progress.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "number_range.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

/// Cells of the LCD files.
constexpr std::string_view kFixedGrid = "25x25x25", kInclinedGrid = "51x51x25";

simulate::GflashOptions shower_options(const config::Options& given) {
  const auto theta = given.get<std::string>("theta"), grid = given.get<std::string>("grid");
  const NumberRange energy = parse_range("energy", given.get<std::string>("energy"));
  simulate::GflashOptions options{.particle = given.get<std::string>("particle") == "photon"
                                                  ? simulate::ShowerParticle::photon
                                                  : simulate::ShowerParticle::electron,
                                  .lowest_energy = energy.low,
                                  .highest_energy = energy.high,
                                  .inclined = !theta.empty(),
                                  .count = given.get<std::int64_t>("count"),
                                  .seed = static_cast<std::uint64_t>(given.get<std::int64_t>("seed"))};
  options.cells = parse_grid("grid", !grid.empty() ? grid : options.inclined ? kInclinedGrid : kFixedGrid);
  if (options.inclined) {
    constexpr double kRadPerDegree = std::numbers::pi / 180;
    const NumberRange degrees = parse_range("theta", theta);
    options.lowest_theta = degrees.low * kRadPerDegree;
    options.highest_theta = degrees.high * kRadPerDegree;
  }
  options.validate();
  return options;
}

void generate(const config::Options& given) {
  const auto out = given.get<std::string>("out");
  require_out(given);
  const simulate::GflashOptions options = shower_options(given);
  const auto start = std::chrono::steady_clock::now();
  bunchtrain::report::Progress progress({.samples = "showers"});
  simulate::write_gflash_showers(
      OutputFile{.path = out, .option = "out", .force = given.get<bool>("force")}, options,
      [&](std::int64_t showers) { progress.update_phase("showers", showers, options.count); });
  progress.close();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {} GFlash showers in {:.1f} s ({} showers/s)\n", out,
             bunchtrain::format_integer(options.count), seconds,
             bunchtrain::format_count(static_cast<double>(options.count) / seconds));
}

}  // namespace

int generate_gflash(int argc, char** argv) {
  config::Options options(
      "bunchtrain generate gflash",
      "Makes showers in a W/Si calorimeter by the GFlash parametrisation, in the layout of "
      "the LCD files: card lcd_fixed, or lcd_angle with --theta.");
  options.declare(
      {{"out", std::string{}, "file to write", "FILE"},
       {"force", false, "replace a file that something else wrote"},
       {"count", std::int64_t{10000}, "number of showers"},
       {"energy", std::string{"10:100"}, "primary energies in GeV, uniform between both", "LOW:HIGH"},
       {"theta", std::string{},
        "angles to the calorimeter's face in degrees, uniform between both, 90 is upright; without it "
        "showers come upright",
        "LOW:HIGH"},
       {"grid", std::string{}, "cells along x, y and depth; default 25x25x25, with --theta 51x51x25",
        "XxYxZ"},
       {"particle", std::string{"electron"}, "what starts the showers", "", {"electron", "photon"}},
       {"seed", std::int64_t{1}, "the same seed makes the same showers"}});
  return run_subcommand(std::move(options), argc, argv, generate);
}

}  // namespace bunchtrain::tool
