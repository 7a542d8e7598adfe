// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "bunchtrain/app/byte_count.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/output_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/layout_plan.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"
#include "bunchtrain/parallel/unit_profile.hpp"
#include "bunchtrain/plot/timeline.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

using parallel::Layout;

/// A name of the registry, one of calo-diffusion with its preset ("calo-diffusion-large"), or a description.
models::ModelDescription describe_model(const std::string& text) {
  if (text.starts_with('{')) return models::ModelDescription::parse(text);
  for (const char* preset : {"tiny", "base", "large"})
    if (text == fmt::format("calo-diffusion-{}", preset))
      return models::ModelDescription("calo-diffusion").set("preset", preset);
  return models::ModelDescription(text);
}

parallel::UnitProfile measure(const config::Options& given) {
  const auto text = given.get<std::string>("model");
  if (text.empty()) throw ConfigError("model", "", "a network of units, such as calo-diffusion-large");
  const auto module = models::create(describe_model(text));
  nn::UnitModel* const network = nn::as_unit_model(*module);
  const std::int64_t samples = given.get<std::int64_t>("samples");
  if (samples < 1) throw ConfigError("samples", fmt::format("{}", samples), "at least 1");
  const NamedTensors cpu = network != nullptr ? network->example_inputs(samples) : NamedTensors();
  if (cpu.empty())
    throw ConfigError("model", text,
                      "a network that is a sequence of units (nn::UnitModel) and has example_inputs, such as "
                      "calo-diffusion-large");
  const auto device = device::choose_device(device::parse_device(given.get<std::string>("device")), 0, {});
  module->to(device);
  NamedTensors inputs;
  for (const auto& [name, tensor] : cpu) inputs.set(name, tensor.to(device));
  parallel::UnitProfile profile = parallel::profile_units(*network, inputs);
  profile.machine =
      device.is_cpu() ? fmt::format("{} threads of the CPU", at::get_num_threads()) : device.str();
  return profile;
}

parallel::UnitProfile profile_of(const config::Options& given) {
  const auto saved = given.get<std::string>("profile");
  if (saved.empty()) return measure(given);
  std::ifstream file(saved);
  if (!file) throw ConfigError("profile", saved, "a file that --save-profile wrote");
  return parallel::parse_unit_profile(std::string(std::istreambuf_iterator<char>(file), {}), saved);
}

std::string mesh_of(const Layout& layout) {
  if (layout.pipeline == 1) return fmt::format("data={}", layout.data);
  return fmt::format("data={},pipeline={}", layout.data, layout.pipeline);
}

void print_table(const std::vector<Layout>& layouts, std::int64_t batch, std::size_t shown) {
  fmt::print("{:<22} {:<12} {:>12} {:>10} {:>11} {:>7} {:>10} {:>14}\n", "mesh", "schedule", "microbatches",
             "step [s]", "samples/s", "idle", "GB a rank", "GB sent a step");
  for (std::size_t i = 0; i < std::min(shown, layouts.size()); ++i) {
    const Layout& layout = layouts[i];
    fmt::print("{:<22} {:<12} {:>12} {:>10.4g} {:>11} {:>6.1f}% {:>10.3g} {:>14.3g}\n", mesh_of(layout),
               layout.pipeline == 1 ? "-" : parallel::to_string(layout.kind), layout.microbatches,
               layout.step_seconds, format_count(static_cast<double>(batch) / layout.step_seconds),
               100 * layout.idle_share(), layout.rank_bytes / 1e9, layout.sent_bytes / 1e9);
  }
}

void print_cut(const Layout& layout, const parallel::UnitProfile& profile) {
  for (std::size_t stage = 0; stage + 1 < layout.begins.size(); ++stage) {
    const auto& costs = layout.costs.stages[stage];
    fmt::print("  stage {}: {} to {}, {:.3g} s per microbatch\n", stage,
               profile.units[layout.begins[stage]].name, profile.units[layout.begins[stage + 1] - 1].name,
               costs.forward + costs.backward());
  }
}

std::string command_of(const Layout& layout, const config::Options& given) {
  const auto model = given.get<std::string>("model");
  std::string command =
      fmt::format("mpirun -n {} train_calo_diffusion --mesh {} --batch {}", layout.data * layout.pipeline,
                  mesh_of(layout), given.get<std::int64_t>("batch"));
  if (layout.pipeline > 1)
    command += fmt::format(" --pipeline-schedule {} --microbatches {}", parallel::to_string(layout.kind),
                           layout.microbatches);
  for (const char* preset : {"tiny", "base", "large"})
    if (model.ends_with(preset)) command += fmt::format(" --preset {}", preset);
  return command;
}

/// A step of the fastest layout, as it is predicted.
plot::Timeline picture_of(const Layout& layout) {
  const parallel::PipelineShape shape{.ranks = layout.pipeline,
                                      .microbatches = layout.microbatches,
                                      .stages_per_rank = layout.stages_per_rank};
  const auto schedule = parallel::make_schedule(layout.kind, shape, layout.costs);
  const auto simulated = parallel::simulate(schedule, layout.costs);
  plot::Timeline timeline{.title = fmt::format("{}, predicted", schedule.name),
                          .x_label = "Time [s]",
                          .kinds = {"forward", "backward", "input gradient", "weight gradient"}};
  for (std::size_t rank = 0; rank < simulated.ranks.size(); ++rank) {
    plot::TimelineLane lane{.name = fmt::format("rank {}", rank)};
    for (const auto& event : simulated.ranks[rank].events)
      lane.bars.push_back({.begin = event.begin,
                           .end = event.end,
                           .kind = static_cast<std::size_t>(event.action.work),
                           .text = std::to_string(event.action.microbatch)});
    timeline.lanes.push_back(std::move(lane));
  }
  return timeline;
}

void write(const config::Options& given, const char* option, const std::string& text) {
  const auto path = given.get<std::string>(option);
  require_writable_output({.path = path, .option = option, .force = given.get<bool>("force")});
  write_file_atomically(path, text);
}

void print_plan(const config::Options& given) {
  const double memory = app::parse_byte_count("memory", given.get<std::string>("memory"));
  const parallel::UnitProfile profile = profile_of(given);
  if (!given.get<std::string>("save-profile").empty())
    write(given, "save-profile", parallel::to_json(profile));
  const std::int64_t batch = given.get<std::int64_t>("batch");
  const auto layouts = parallel::plan_layouts({.profile = profile,
                                               .ranks = static_cast<int>(given.get<std::int64_t>("ranks")),
                                               .batch = batch,
                                               .memory_bytes = memory,
                                               .bandwidth = given.get<double>("bandwidth") * 1e9});
  fmt::print("{} units measured on {}; a prediction: no latency, no shared links, {} GB/s between ranks\n\n",
             profile.units.size(), profile.machine, given.get<double>("bandwidth"));
  print_table(layouts, batch, 10);
  const Layout& best = layouts.front();
  fmt::print("\nThe first one:\n");
  print_cut(best, profile);
  fmt::print("  {}\n", command_of(best, given));
  const auto staged = std::ranges::find_if(layouts, [](const Layout& layout) { return layout.pipeline > 1; });
  if (given.get<std::string>("picture").empty()) return;
  if (staged == layouts.end())
    throw ConfigError("picture", given.get<std::string>("picture"), "nothing: no layout in stages fits");
  write(given, "picture", plot::render_svg(picture_of(*staged)));
}

}  // namespace

int plan(int argc, char** argv) {
  config::Options options(
      "bunchtrain plan",
      "Predicts how fast layouts of ranks train a network of units, and which fit: measures the "
      "units here, cuts, plays the schedules.");
  options.declare(
      {{"model", std::string{},
        "calo-diffusion-tiny, -base, -large, a registered name or a description in JSON", "MODEL"},
       {"ranks", std::int64_t{8}, "of the job", "N"},
       {"memory", std::string{"80G"}, "of a rank", "BYTES"},
       {"batch", std::int64_t{64}, "samples per step over all ranks", "N"},
       {"bandwidth", 10.0, "GB/s from a rank to another", "X"},
       {"samples", std::int64_t{1}, "that are measured at once; times are taken to grow with their number",
        "N"},
       {"device", std::string{"auto"}, "where units are measured", "", {"auto", "cpu", "cuda"}},
       {"profile", std::string{}, "units measured before, in the place of measuring", "FILE"},
       {"save-profile", std::string{}, "where the measured units are written", "FILE"},
       {"picture", std::string{}, "an SVG of a step of the fastest layout in stages", "FILE"},
       {"force", false, "replace files that something else wrote"}});
  return run_subcommand(std::move(options), argc, argv, print_plan);
}

}  // namespace bunchtrain::tool
