// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_comparison/validate_showers.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <numbers>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/data/input_files.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/device/thread_budget.hpp"
#include "bunchtrain/report/progress.hpp"
#include "bunchtrain/tasks/shower_comparison/shower_report.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"
#include "number_range.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

using Texts = std::vector<std::string>;

/// A tolerance does not hold: neither bad input (78) nor a failure (1).
constexpr int kExitViolated = 2;
constexpr double kRadPerDegree = std::numbers::pi / 180;

shower_simulation::ShowerSourceOptions generator_options(const config::Options& given) {
  const shower_simulation::ShowerSourceOptions options{
      .device = device::choose_device(device::parse_device(given.get<std::string>("device")), 0, {}),
      .precision = device::parse_precision(given.get<std::string>("precision")),
      .seed = static_cast<std::uint64_t>(given.get<std::int64_t>("seed")),
      .checkpoint = given.get<std::string>("checkpoint"),
      .averaged = given.get<std::string>("average") == "on"};
  device::require_supported(options.precision, options.device.type());
  return options;
}

shower_comparison::ValidateShowersOptions validate_options(const config::Options& given) {
  shower_comparison::ValidateShowersOptions options{
      .reference = given.get<Texts>("reference"),
      .candidate = given.get<Texts>("candidate"),
      .reference_card = given.get<std::string>("reference-card"),
      .candidate_card = given.get<std::string>("candidate-card"),
      .energy_edges = parse_list("energy-edges", given.get<std::string>("energy-edges")),
      .energy_bins = given.get<std::int64_t>("energy-bins"),
      .theta_edges = parse_list("theta-edges", given.get<std::string>("theta-edges")),
      .hit_threshold = given.get<double>("hit-threshold"),
      .max_showers = given.get<std::int64_t>("max-showers"),
      .measured_theta = given.get<std::string>("theta") == "measured",
      .allow_plugins = given.get<bool>("hdf5-plugins"),
      .threads = device::make_thread_budget(device::observe_threads(1, 0)).compute,
      .open_generator = shower_simulation::open_generator(generator_options(given))};
  for (double& edge : options.theta_edges) edge *= kRadPerDegree;
  options.validate();
  return options;
}

/// --json and --html, and what they must not replace: checked before the showers are read, and again when the
/// files are put in their places.
struct Outputs {
  OutputFile json, html;

  void check() const {
    if (!json.path.empty()) require_writable_output(json);
    if (!html.path.empty()) require_writable_output(html);
    if (!json.path.empty() && is_same_file(json.path, html.path))
      throw ConfigError("html", html.path.string(), "another file than that of --json");
  }
};

Outputs outputs_of(const config::Options& given) {
  auto inputs = data::input_files(given.get<Texts>("reference"));
  for (auto& file : data::input_files(given.get<Texts>("candidate"))) inputs.push_back(std::move(file));
  for (const char* card : {"reference-card", "candidate-card"})
    inputs.emplace_back(given.get<std::string>(card));
  const bool force = given.get<bool>("force");
  return {.json = {.path = given.get<std::string>("json"),
                   .option = "json",
                   .inputs = inputs,
                   .force = force,
                   .is_own = shower_comparison::is_comparison_file},
          .html = {.path = given.get<std::string>("html"),
                   .option = "html",
                   .inputs = inputs,
                   .force = force,
                   .is_own = bunchtrain::report::is_page}};
}

/// What only a generator follows would be a promise that files do not keep.
void require_applicable(const config::Options& given) {
  const auto& candidate = given.get<Texts>("candidate");
  if (candidate.empty() || shower_comparison::is_generator(candidate.front())) return;
  for (const char* option : {"theta", "seed", "precision", "device", "checkpoint", "average"})
    if (given.source(option) == config::OptionSource::flag)
      throw ConfigError(
          fmt::format("--{} is for a generator, which {} is not: leave it away", option, candidate.front()));
}

void warn_of_itself(const config::Options& given) {
  for (const auto& reference : given.get<Texts>("reference"))
    for (const auto& candidate : given.get<Texts>("candidate"))
      if (is_same_file(reference, candidate))
        fmt::print(stderr, "warning: {} is compared with itself\n", reference);
}

/// What stands on top of the page; nothing if no tolerance was asked for.
std::vector<std::string> verdict(const config::Options& given, const std::vector<std::string>& violations) {
  const auto asked = given.get<std::string>("tolerance");
  if (asked.empty()) return {};
  if (violations.empty()) return {fmt::format("Every tolerance holds: {}.", asked)};
  std::vector<std::string> lines;
  for (const auto& line : violations) lines.push_back(fmt::format("Violated: {}.", line));
  return lines;
}

void write_results(const Outputs& outputs, const metrics::ShowerComparison& comparison,
                   const std::vector<std::string>& violations, const std::vector<std::string>& verdict) {
  outputs.check();
  if (const auto& path = outputs.json.path; !path.empty()) {
    shower_comparison::write_comparison(path, comparison, violations);
    fmt::print("numbers  {}\n", path.string());
  }
  if (const auto& path = outputs.html.path; !path.empty()) {
    write_file_atomically(
        path,
        bunchtrain::report::render_html(
            {.title = "Showers compared",
             .subtitle = fmt::format("{} against {}", comparison.candidate.name, comparison.reference.name),
             .sections = shower_comparison::to_sections(comparison, verdict)}));
    fmt::print("page     {}\n", path.string());
  }
}

int validate(const config::Options& given) {
  const auto options = validate_options(given);
  const auto tolerances = shower_comparison::parse_tolerances(given.get<std::string>("tolerance"));
  require_applicable(given);
  warn_of_itself(given);
  const Outputs outputs = outputs_of(given);
  outputs.check();
  device::keep_freed_memory();
  bunchtrain::report::Progress progress({.samples = "showers"});
  const auto comparison = shower_comparison::validate_showers(
      options, [&](std::string_view sample, std::int64_t done, std::int64_t of) {
        progress.update_phase(std::string(sample), done, of);
      });
  progress.close();
  fmt::print("{}", shower_comparison::format_comparison(comparison));
  const auto violations = metrics::violations(comparison, tolerances);
  for (const auto& line : violations) fmt::print("violated: {}\n", line);
  write_results(outputs, comparison, violations, verdict(given, violations));
  return violations.empty() ? 0 : kExitViolated;
}

}  // namespace

int validate_showers(int argc, char** argv) {
  config::Options options("bunchtrain validate showers",
                          "Compares showers with a reference by their physics; exit code 2 if a tolerance is "
                          "violated.");
  options.declare(
      {{"reference", Texts{}, "HDF5 files that are right (Geant4, GFlash)", "FILE..."},
       {"candidate", Texts{},
        "HDF5 files; or a run folder or weight file of a generator, which makes showers of the "
        "reference's energies and angles",
        "FILE_OR_RUN..."},
       {"reference-card", std::string{"auto"}, "shower card of the reference", "NAME|FILE"},
       {"candidate-card", std::string{"auto"}, "shower card of the candidate", "NAME|FILE"},
       {"energy-edges", std::string{}, "edges of energy bins in GeV; empty = chosen", "E1,E2,..."},
       {"energy-bins", std::int64_t{4}, "how many bins are chosen"},
       {"theta-edges", std::string{}, "edges of angle bins in degrees; empty = chosen", "T1,T2,..."},
       {"hit-threshold", 2e-4, "GeV in a cell that make a hit"},
       {"tolerance", std::string{},
        "largest relative differences, of fraction, profile, moments, hits, theta; share of empty and dark "
        "showers; score",
        "NAME=X,..."},
       {"json", std::string{}, "write every number", "FILE"},
       {"html", std::string{}, "write a page with pictures", "FILE"},
       {"force", false, "let --json and --html replace files that something else wrote"},
       {"max-showers", std::int64_t{0}, "of each sample, the first ones; 0 = all"},
       {"theta", std::string{"measured"}, "angle that a generator gets", "", {"measured", "true"}},
       {"checkpoint", std::string{"best"}, "of a run: best, latest or one by its name (step-000042)", "NAME"},
       {"average",
        std::string{"on"},
        "the averaged weights of a run with --ema, or off: those that were trained",
        "",
        {"on", "off"}},
       {"seed", std::int64_t{1}, "of a generator's noise"},
       {"precision",
        std::string{"float32"},
        "numbers of a generator",
        "",
        {"float32", "tf32", "bfloat16", "float16"}},
       {"device", std::string{"auto"}, "where a generator computes", "", {"auto", "cpu", "cuda"}},
       {"hdf5-plugins", false, "allow HDF5 filter plug-ins (they load code that a file names)"}});
  return run_with_code(std::move(options), argc, argv, validate);
}

}  // namespace bunchtrain::tool
