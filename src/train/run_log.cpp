// SPDX-License-Identifier: Apache-2.0
#include "run_log.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/report/progress.hpp"
#include "bunchtrain/report/run_report.hpp"
#include "bunchtrain/report/tensorboard_writer.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "metrics_log.hpp"
#include "run_description.hpp"
#include "run_leftovers.hpp"
#include "watching.hpp"

namespace bunchtrain::train {

namespace {

using Clock = std::chrono::steady_clock;

/// Decides when the page is made anew: making it reads all of the run's records, which must not become a part
/// of a long training that is worth naming.
class PageBudget {
 public:
  bool allows() const { return Clock::now() - made_ >= kShare * cost_; }
  template <class Make>
  void spend(Make&& make) {
    const auto start = Clock::now();
    make();
    made_ = Clock::now();
    cost_ = made_ - start;
  }

 private:
  static constexpr int kShare = 30;  ///< at most a thirtieth of the time
  Clock::time_point made_ = {};
  Clock::duration cost_ = {};
};

}  // namespace

struct RunLog::Impl {
  const Session& session;
  RunFolder folder;
  std::string samples;
  RunPlan plan;
  RunDescription description;
  bool described = false;
  Watching watching;
  MetricsLog metrics;
  std::optional<report::TensorBoardWriter> events;
  PageBudget page;
  report::Progress progress;

  Impl(const Session& session, const RunFolder& folder, const std::string& samples, const RunPlan& plan)
      : session(session),
        folder(folder),
        samples(samples),
        plan(plan),
        watching(session.logger()),
        metrics(folder.metrics(), {.step = plan.first_step, .epoch_anew = plan.epoch_anew}, session.logger()),
        progress({.total_steps = plan.total_steps,
                  .first_step = plan.first_step,
                  .steps_per_epoch = plan.steps_per_epoch,
                  .epochs = plan.epochs,
                  .samples = samples}) {
    watching.try_to("remove leftovers of killed runs", [&] { remove_leftovers(folder); });
    watching.try_to("write metrics.jsonl", [&] { metrics.sync(); });
    open_events(plan.first_step + 1);
  }

  /// A file of its own for every process; TensorBoard forgets what earlier ones hold from `step` on.
  void open_events(std::int64_t step) {
    const bool opened = watching.try_to("write TensorBoard events", [&] {
      events.emplace(folder.events());
      if (session.resume()) events->mark_restart(step);
    });
    if (!opened) events.reset();
  }

  void record(report::Record record) {
    watching.try_to("write metrics.jsonl", [&] { metrics.append(std::move(record)); });
  }

  void scalar(const std::string& tag, double value, std::int64_t step) {
    if (events) watching.try_to("write TensorBoard events", [&] { events->add_scalar(tag, value, step); });
  }

  void sync() {
    watching.try_to("write metrics.jsonl", [&] { metrics.sync(); });
    if (events) watching.try_to("write TensorBoard events", [&] { events->sync(); });
  }

  void write_description() {
    described = watching.try_to("write run.json", [&] {
      write_file_atomically(folder.description(), description.json);
      if (!description.card.empty()) write_file_atomically(folder.card(), description.card);
    });
  }

  void keep(const ValidationResult& validation, const report::EpochRow& row) {
    if (validation.loss) scalar("epoch/valid_loss", *validation.loss, row.step);
    watching.try_to("write sections.json", [&] {
      if (!validation.sections.empty()) report::write_sections(folder.sections(), validation.sections);
    });
    if (!validation.classification) return;
    report::Evaluation evaluation = to_evaluation(*validation.classification, "validation");
    evaluation.epoch = row.epoch;
    evaluation.step = row.step;
    watching.try_to("write curves.json", [&] { report::write_evaluation(folder.curves(), evaluation); });
  }

  void make_page() {
    watching.try_to("write report.html", [&] { page.spend([&] { report::render_run(folder.path()); }); });
  }
};

RunLog::RunLog(const Session& session, const RunFolder& folder, const std::string& samples,
               const RunPlan& plan)
    : impl_(session.is_root() ? std::make_unique<Impl>(session, folder, samples, plan) : nullptr) {}
RunLog::~RunLog() = default;

void RunLog::describe(const TrainingPlan& plan, std::span<const TrainedNetwork> networks,
                      const data::Dataset& train, const data::Dataset* valid,
                      const std::map<std::string, std::string>& metadata) {
  if (!impl_) return;
  RunSession run{.samples = impl_->samples, .first_step = impl_->plan.first_step, .before = {}};
  const auto file = impl_->folder.description();
  if (run.first_step > 0 && std::filesystem::exists(file))
    impl_->watching.try_to("read run.json", [&] { run.before = read_text_file(file); });
  impl_->description = describe_run(impl_->session, plan, networks, train, valid, metadata, run);
  for (const auto& line : impl_->description.lines) impl_->progress.note(line);
  impl_->write_description();
}

void RunLog::step(const StepEvent& event, double samples_per_second) {
  if (!impl_) return;
  report::Record record = {{"kind", "step"},
                           {"step", event.step},
                           {"epoch", event.epoch + 1},
                           {"loss", event.loss},
                           {"learning_rate", event.learning_rate}};
  if (!std::isnan(event.gradient_norm)) record.push_back({"gradient_norm", event.gradient_norm});
  const bool scaled = impl_->session.precision() == device::Precision::float16;
  // Not "loss_scale", which would be a loss term called "scale".
  if (scaled) record.push_back({"scale_of_loss", event.loss_scale});
  for (const auto& term : event.terms) {
    record.push_back({report::loss_key(term.name), term.value});
    impl_->scalar("train/" + term.name, term.value, event.step);
  }
  impl_->record(std::move(record));
  impl_->scalar("train/loss", event.loss, event.step);
  impl_->scalar("train/learning_rate", event.learning_rate, event.step);
  if (scaled) impl_->scalar("train/scale_of_loss", event.loss_scale, event.step);
  impl_->progress.update({.step = event.step, .loss = event.loss, .samples_per_second = samples_per_second});
}

void RunLog::validating(std::int64_t done, std::int64_t total) {
  if (impl_) impl_->progress.update_phase("validating", done, total);
}

void RunLog::epoch(const report::EpochRow& row, const std::optional<ValidationResult>& validation) {
  if (!impl_) return;
  if (!impl_->described) impl_->write_description();
  if (!impl_->events) impl_->open_events(row.step);
  impl_->record(report::make_record(row));
  impl_->scalar("epoch/train_loss", row.train_loss, row.step);
  if (!std::isnan(row.samples_per_second))
    impl_->scalar("epoch/samples_per_second", row.samples_per_second, row.step);
  if (validation) impl_->keep(*validation, row);
  for (const auto& metric : row.metrics) impl_->scalar("epoch/" + metric.name, metric.value, row.step);
  impl_->sync();
  impl_->progress.finish_epoch(row);
  if (impl_->page.allows()) impl_->make_page();
}

void RunLog::note(const std::string& line) {
  if (impl_) impl_->progress.note(line);
}

void RunLog::finish(const FitResult& result) {
  if (!impl_) return;
  impl_->progress.close();
  impl_->description.json = with_outcome(impl_->description.json, result);
  impl_->write_description();
  impl_->sync();
  impl_->make_page();
  std::string text;
  if (result.validation) text += result.validation->text;
  text += fmt::format("{} epoch{}, {} steps", result.epochs, result.epochs == 1 ? "" : "s", result.steps);
  if (result.samples_per_second > 0)
    text +=
        fmt::format(", {} {}/s in the last epoch", format_count(result.samples_per_second), impl_->samples);
  if (!result.finished_early.empty()) text += "\nfinished early: " + result.finished_early;
  text += fmt::format("\nrun folder {}\nreport     {}\n", impl_->folder.path().string(),
                      impl_->folder.report().string());
  fmt::print("{}", text);
  std::fflush(stdout);
}

}  // namespace bunchtrain::train
