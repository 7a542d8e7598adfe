// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/console.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/report/progress.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::app {
namespace {

class Console final : public train::Observer {
 public:
  std::string name() const override { return "console"; }

  void on_start(const train::RunPlan& plan, const train::RunDescription& description) override {
    samples_ = plan.samples;
    progress_.emplace(report::ProgressOptions{.total_steps = plan.total_steps,
                                              .first_step = plan.first_step,
                                              .steps_per_epoch = plan.steps_per_epoch,
                                              .epochs = plan.epochs,
                                              .samples = plan.samples});
    for (const auto& line : description.lines) progress_->note(line);
  }
  void on_step(const train::StepEvent& event) override {
    progress_->update(
        {.step = event.step, .loss = event.loss, .samples_per_second = event.samples_per_second});
  }
  void on_phase(std::string_view phase, std::int64_t done, std::int64_t total) override {
    progress_->update_phase(phase, done, total);
  }
  void on_validation(const train::ValidationEvent& event) override {
    std::vector<std::string> parts;
    for (const auto& value : train::values_of(event.result))
      parts.push_back(fmt::format("{} {:.5g}", value.name, value.value));
    progress_->note(fmt::format("step {}: {}", event.step, fmt::join(parts, ", ")));
  }
  void on_epoch(const report::EpochRow& row, const train::ValidationResult*) override {
    progress_->finish_epoch(row);
  }
  void on_note(const std::string& line) override { progress_->note(line); }

  void on_finish(const train::FitResult& result) override {
    progress_->close();
    std::string text;
    if (result.validation) text += result.validation->text;
    text += fmt::format("{} epoch{}, {} steps", result.epochs, result.epochs == 1 ? "" : "s", result.steps);
    if (result.samples_per_second > 0)
      text += fmt::format(", {} {}/s in the last epoch", format_count(result.samples_per_second), samples_);
    if (result.left_out_steps > 0)
      text += fmt::format("\n{} steps were left out: their gradients were not finite", result.left_out_steps);
    if (!result.finished_early.empty()) text += "\nfinished early: " + result.finished_early;
    text += fmt::format("\nrun folder {}\nreport     {}\n", result.run_folder.string(),
                        (result.run_folder / "report.html").string());
    fmt::print("{}", text);
    std::fflush(stdout);
  }
  void on_end() noexcept override { progress_.reset(); }

 private:
  std::optional<report::Progress> progress_;
  std::string samples_;
};

}  // namespace

std::shared_ptr<train::Observer> make_console() { return std::make_shared<Console>(); }

}  // namespace bunchtrain::app
