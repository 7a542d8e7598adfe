// SPDX-License-Identifier: Apache-2.0
#include "scaling_report.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace scaling {

namespace bt = bunchtrain;

namespace {

constexpr double kMilliseconds = 1e3;
// Training showers of an epoch in the published scaling runs (arXiv:2111.04628).
constexpr double kPublishedShowers = 124'987;

struct Part {
  const char* label;
  double StepTime::*member;
  int color;
};
constexpr std::array<Part, 4> kParts{{{"compute", &StepTime::compute, 0},
                                      {"communication", &StepTime::communication, 1},
                                      {"data", &StepTime::data, 4},
                                      {"idle", &StepTime::idle, 7}}};

std::vector<Point> of_mode(const std::vector<Point>& points, Mode mode) {
  std::vector<Point> result;
  for (const auto& point : points)
    if (point.setting.mode == mode) result.push_back(point);
  return result;
}

/// Few ranks stand at their number, many at its logarithm.
constexpr int kFewRanks = 8;

bool has_few_ranks(const std::vector<Point>& points) {
  return std::ranges::all_of(points, [](const Point& p) { return p.setting.ranks <= kFewRanks; });
}

std::vector<double> positions(const std::vector<Point>& points) {
  std::vector<double> x;
  for (const auto& point : points)
    x.push_back(has_few_ranks(points) ? point.setting.ranks : std::log2(point.setting.ranks));
  return x;
}

bt::plot::Axis rank_axis(const std::vector<Point>& points) {
  return {.label = has_few_ranks(points) ? "Ranks" : "log2(ranks)", .integers = true};
}

std::string title(const std::vector<Point>& points, std::string_view of_what) {
  return fmt::format("{} scaling: {}", points.front().setting.mode == Mode::weak ? "Weak" : "Strong",
                     of_what);
}

std::string efficiency_plot(const std::vector<Point>& points) {
  bt::plot::Series measured{.label = "measured", .mark = bt::plot::Mark::line, .x = positions(points)};
  for (const auto& point : points) measured.y.push_back(efficiency(point, points));
  const bt::plot::Series ideal{
      .label = "ideal", .x = measured.x, .y = std::vector<double>(measured.x.size(), 1.0), .dashed = true};
  return bt::plot::render_svg({.title = title(points, "efficiency"),
                               .x = rank_axis(points),
                               .y = {.label = "Efficiency", .min = 0},
                               .series = {measured, ideal}});
}

std::string step_plot(const std::vector<Point>& points) {
  bt::plot::Plot plot{.title = title(points, "where a step goes"),
                      .x = rank_axis(points),
                      .y = {.label = "Time per step [ms]"}};
  for (const auto& part : kParts) {
    bt::plot::Series bars{
        .label = part.label, .mark = bt::plot::Mark::bars, .x = positions(points), .color = part.color};
    for (const auto& point : points) bars.y.push_back(kMilliseconds * point.median().*part.member);
    plot.series.push_back(std::move(bars));
  }
  return bt::plot::render_svg(plot);
}

std::string table(const Plan& plan, const std::vector<Point>& points) {
  const bool published = plan.program.name == "3dgan";
  std::string text = fmt::format(
      "| scaling | ranks | {0} per step | ms per step | compute | communication | data | idle | {0}/s | "
      "efficiency |{1}\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |{2}\n",
      plan.program.samples, published ? " s per 124,987 showers |" : "", published ? " --- |" : "");
  for (const auto& point : points) {
    const StepTime time = point.median();
    text += fmt::format("| {} | {} | {} | {:.1f} |", to_string(point.setting.mode), point.setting.ranks,
                        point.setting.batch, kMilliseconds * time.total());
    for (const auto& part : kParts) text += fmt::format(" {:.1f} |", kMilliseconds * time.*part.member);
    text += fmt::format(" {:.1f} | {:.2f} |", point.samples_per_second(), efficiency(point, points));
    if (published) text += fmt::format(" {:.0f} |", kPublishedShowers / point.samples_per_second());
    text += '\n';
  }
  return text;
}

nlohmann::json to_json(const StepTime& time) {
  nlohmann::json json = {{"seconds", time.total()}};
  for (const auto& part : kParts) json[fmt::format("seconds_{}", part.label)] = time.*part.member;
  return json;
}

nlohmann::json to_json(const Plan& plan, const std::vector<Point>& points,
                       const Circumstances& circumstances) {
  nlohmann::json results = nlohmann::json::array();
  for (const auto& point : points) {
    nlohmann::json epochs = nlohmann::json::array();
    for (const auto& epoch : point.epochs) epochs.push_back(to_json(epoch));
    results.push_back({{"scaling", to_string(point.setting.mode)},
                       {"ranks", point.setting.ranks},
                       {"batch", point.setting.batch},
                       {"samples_per_second", point.samples_per_second()},
                       {"efficiency", efficiency(point, points)},
                       {"median", to_json(point.median())},
                       {"epochs", epochs}});
  }
  return {{"program", plan.program.name},     {"machine", circumstances.machine},
          {"command", circumstances.command}, {"launcher", plan.launcher},
          {"threads_per_rank", plan.threads}, {"results", results}};
}

}  // namespace

double efficiency(const Point& point, const std::vector<Point>& points) {
  const auto per_rank = [](const Point& p) { return p.samples_per_second() / p.setting.ranks; };
  const auto of_same_mode = of_mode(points, point.setting.mode);
  return per_rank(point) / per_rank(*std::ranges::min_element(
                               of_same_mode, {}, [](const Point& p) { return p.setting.ranks; }));
}

std::string write_report(const Plan& plan, const std::vector<Point>& points,
                         const Circumstances& circumstances) {
  const auto write = [&](const std::string& name, const std::string& text) {
    bt::write_file_atomically(plan.out / name, text);
  };
  for (const Mode mode : {Mode::weak, Mode::strong}) {
    const auto curve = of_mode(points, mode);
    if (curve.empty()) continue;
    write(to_string(mode) + "_efficiency.svg", efficiency_plot(curve));
    write(to_string(mode) + "_step.svg", step_plot(curve));
  }
  write("scaling.json", to_json(plan, points, circumstances).dump(2) + "\n");
  const std::string text = fmt::format(
      "Machine: {}\nCommand: {}\nCompute threads per rank: {}, for any number of ranks. Median epoch of "
      "every point; "
      "epochs measured, after one of warm-up: {}. Times in ms per step.\n\n{}",
      circumstances.machine, circumstances.command, plan.threads, points.front().epochs.size(),
      table(plan, points));
  write("scaling.md", text);
  return text;
}

}  // namespace scaling
