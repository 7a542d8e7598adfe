// SPDX-License-Identifier: Apache-2.0
#include "prediction_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace scaling {

namespace bt = bunchtrain;

namespace {

std::optional<double> measured(const Machine& machine, int ranks) {
  const auto found = std::ranges::find(machine.measured, ranks, &KnownEpoch::ranks);
  if (found == machine.measured.end()) return std::nullopt;
  return found->seconds;
}

double samples_per_second(const Machine& machine, const Epoch& epoch) {
  return static_cast<double>(machine.samples) / epoch.seconds;
}

double efficiency(const Epoch& epoch, const Epoch& first) {
  return first.seconds * first.ranks / (epoch.seconds * epoch.ranks);
}

std::string table(const Prediction& prediction) {
  std::string text =
      "| ranks | steps | ms per step | compute | communication | data | idle | samples/s | efficiency | s per epoch | "
      "measured | deviation |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const Epoch& epoch : prediction.epochs) {
    const StepTime& step = epoch.step;
    text += fmt::format("| {} | {} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.1f} | {:.1f} | {:.2f} | {:.1f} |",
                        epoch.ranks, epoch.steps, 1e3 * step.total(), 1e3 * step.compute,
                        1e3 * step.communication, 1e3 * step.data, 1e3 * step.idle,
                        samples_per_second(prediction.machine, epoch),
                        efficiency(epoch, prediction.epochs.front()), epoch.seconds);
    const auto known = measured(prediction.machine, epoch.ranks);
    text +=
        known ? fmt::format(" {:.1f} | {:+.1f} % |\n", *known, 100 * (epoch.seconds / *known - 1)) : " | |\n";
  }
  return text;
}

std::string picture(const Prediction& prediction) {
  bt::plot::Series predicted{.label = "predicted", .mark = bt::plot::Mark::line},
      known{.label = "measured", .mark = bt::plot::Mark::points}, ideal{.label = "ideal", .dashed = true};
  const Epoch& first = prediction.epochs.front();
  for (const Epoch& epoch : prediction.epochs) {
    predicted.x.push_back(epoch.ranks);
    predicted.y.push_back(epoch.seconds);
    ideal.x.push_back(epoch.ranks);
    ideal.y.push_back(first.seconds * first.ranks / epoch.ranks);
    if (const auto seconds = measured(prediction.machine, epoch.ranks)) {
      known.x.push_back(epoch.ranks);
      known.y.push_back(*seconds);
    }
  }
  return bt::plot::render_svg({.title = "A prediction: " + prediction.machine.name,
                               .x = {.label = "Ranks", .scale = bt::plot::Scale::log},
                               .y = {.label = "Time of an epoch [s]", .scale = bt::plot::Scale::log},
                               .series = {predicted, known, ideal}});
}

nlohmann::json to_json(const Prediction& prediction) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const Epoch& epoch : prediction.epochs) {
    nlohmann::json row = {{"ranks", epoch.ranks},
                          {"steps", epoch.steps},
                          {"seconds", epoch.seconds},
                          {"seconds_compute", epoch.step.compute},
                          {"seconds_communication", epoch.step.communication},
                          {"seconds_data", epoch.step.data},
                          {"seconds_idle", epoch.step.idle}};
    if (const auto known = measured(prediction.machine, epoch.ranks)) row["measured_seconds"] = *known;
    epochs.push_back(std::move(row));
  }
  return {{"prediction", true},
          {"machine", prediction.machine.name},
          {"command", prediction.command},
          {"sources", prediction.machine.sources},
          {"seconds_per_step", prediction.machine.seconds_per_step},
          {"epochs", epochs}};
}

}  // namespace

std::string write_prediction(const std::filesystem::path& folder, const Prediction& prediction) {
  const Machine& machine = prediction.machine;
  std::string text = fmt::format(
      "A prediction, not a measurement: {}\nCommand: {}\nAn epoch of {} samples, {} per replica and step, in whole steps.\n",
      machine.name, prediction.command, machine.samples, machine.batch);
  if (machine.calibration.ranks > 0)
    text += fmt::format(
        "A step of {:.1f} ms makes the epoch of {} ranks take {:g} s: that point is fitted, no other.\n",
        1e3 * machine.seconds_per_step, machine.calibration.ranks, machine.calibration.seconds);
  if (machine.stages.pipeline > 1)
    text += fmt::format("A replica is {} ranks: {}, {} microbatches.\n", machine.stages.pipeline,
                        machine.stages.schedule, machine.stages.microbatches);
  for (const std::string& source : machine.sources) text += "Source: " + source + "\n";
  text += "\n" + table(prediction);
  bt::write_file_atomically(folder / "prediction.md", text);
  bt::write_file_atomically(folder / "prediction.svg", picture(prediction));
  bt::write_file_atomically(folder / "prediction.json", to_json(prediction).dump(2) + "\n");
  return text;
}

}  // namespace scaling
