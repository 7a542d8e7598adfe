// SPDX-License-Identifier: Apache-2.0
#include "run_log.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "bunchtrain/report/progress.hpp"
#include "bunchtrain/report/run_report.hpp"
#include "bunchtrain/report/tensorboard_writer.hpp"
#include "bunchtrain/report/text_format.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "run_description.hpp"

namespace bunchtrain::train {

struct RunLog::Impl {
  const Session& session;
  RunFolder folder;
  Settings settings;
  std::string samples;
  report::JsonlWriter metrics;
  report::TensorBoardWriter events;
  report::Progress progress;

  Impl(const Session& session, const RunFolder& folder, const Settings& settings, const std::string& samples,
       const RunPlan& plan)
      : session(session),
        folder(folder),
        settings(settings),
        samples(samples),
        metrics(folder.metrics()),
        events(folder.events()),
        progress({.total_steps = plan.steps_per_epoch * settings.epochs,
                  .first_step = plan.first_step,
                  .steps_per_epoch = plan.steps_per_epoch,
                  .epochs = settings.epochs,
                  .samples = samples}) {
    if (plan.first_step > 0) events.mark_restart(plan.first_step + 1);
    metrics.truncate_after(plan.first_step);
  }

  void keep(const ValidationResult& validation, const report::EpochRow& row) {
    if (validation.loss) events.add_scalar("epoch/valid_loss", *validation.loss, row.step);
    if (!validation.sections.empty()) report::write_sections(folder.sections(), validation.sections);
    if (!validation.classification) return;
    report::Evaluation evaluation = to_evaluation(*validation.classification, "validation");
    evaluation.epoch = row.epoch;
    evaluation.step = row.step;
    report::write_evaluation(folder.curves(), evaluation);
  }
};

RunLog::RunLog(const Session& session, const RunFolder& folder, const Settings& settings,
               const std::string& samples, const RunPlan& plan)
    : impl_(session.is_root() ? std::make_unique<Impl>(session, folder, settings, samples, plan) : nullptr) {}
RunLog::~RunLog() = default;

void RunLog::describe(std::span<const TrainedNetwork> networks, const data::Dataset& train,
                      const data::Dataset* valid, const std::map<std::string, std::string>& metadata) {
  if (!impl_) return;
  const RunDescription description =
      describe_run(impl_->session, networks, train, valid, metadata, impl_->samples);
  for (const auto& line : description.lines) impl_->progress.note(line);
  write_file_atomically(impl_->folder.description(), description.json);
  if (!description.card.empty()) write_file_atomically(impl_->folder.card(), description.card);
}

void RunLog::step(const StepEvent& event, double samples_per_second) {
  if (!impl_) return;
  report::Record record = {{"kind", "step"},
                           {"step", event.step},
                           {"epoch", event.epoch + 1},
                           {"loss", event.loss},
                           {"learning_rate", event.learning_rate},
                           {"gradient_norm", event.gradient_norm}};
  for (const auto& term : event.terms) {
    record.push_back({report::loss_key(term.name), term.value});
    impl_->events.add_scalar("train/" + term.name, term.value, event.step);
  }
  impl_->metrics.append(record);
  impl_->events.add_scalar("train/loss", event.loss, event.step);
  impl_->events.add_scalar("train/learning_rate", event.learning_rate, event.step);
  impl_->progress.update({.step = event.step, .loss = event.loss, .samples_per_second = samples_per_second});
}

void RunLog::validating(std::int64_t done, std::int64_t total) {
  if (impl_) impl_->progress.update_phase("validating", done, total);
}

void RunLog::epoch(const report::EpochRow& row, const std::optional<ValidationResult>& validation) {
  if (!impl_) return;
  impl_->metrics.append(report::make_record(row));
  impl_->metrics.sync();
  impl_->events.add_scalar("epoch/train_loss", row.train_loss, row.step);
  impl_->events.add_scalar("epoch/samples_per_second", row.samples_per_second, row.step);
  if (validation) impl_->keep(*validation, row);
  for (const auto& metric : row.metrics)
    impl_->events.add_scalar("epoch/" + metric.name, metric.value, row.step);
  impl_->events.sync();
  impl_->progress.finish_epoch(row);
  report::render_run(impl_->folder.path());
}

void RunLog::note(const std::string& line) {
  if (impl_) impl_->progress.note(line);
}

void RunLog::finish(const FitResult& result) {
  if (!impl_) return;
  impl_->progress.close();
  impl_->metrics.sync();
  const auto report = report::render_run(impl_->folder.path());
  std::string text;
  if (result.validation) text += result.validation->text;
  text += fmt::format("{} epochs, {} steps", result.epochs, result.steps);
  if (result.samples_per_second > 0)
    text += fmt::format(", {} {}/s in the last epoch", report::format_count(result.samples_per_second),
                        impl_->samples);
  text += fmt::format("\nrun folder {}\nreport     {}\n", impl_->folder.path().string(), report.string());
  fmt::print("{}", text);
  std::fflush(stdout);
}

}  // namespace bunchtrain::train
