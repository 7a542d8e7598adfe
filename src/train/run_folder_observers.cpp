// SPDX-License-Identifier: Apache-2.0
/// The book of a run: what its folder gets. Each file is tried again at the next epoch if it could not be written.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/report/html_report.hpp"
#include "bunchtrain/report/run_records.hpp"
#include "bunchtrain/report/run_report.hpp"
#include "bunchtrain/report/tensorboard_writer.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "metrics_log.hpp"
#include "run_description.hpp"
#include "run_leftovers.hpp"
#include "run_observers.hpp"
#include "snapshot_pacer.hpp"
#include "watching.hpp"

namespace bunchtrain::train {
namespace {

/// metrics.jsonl: a line per step and epoch.
class RecordsObserver final : public Observer {
 public:
  RecordsObserver(const RunFolder& folder, const Session& session,
                  std::shared_ptr<report::RunRecords> records)
      : folder_(folder),
        records_(std::move(records)),
        logger_(session.logger()),
        watching_(session.logger()),
        scaled_(session.precision() == device::Precision::float16) {}
  std::string name() const override { return "records"; }

  void on_start(const RunPlan& plan, const RunDescription&) override {
    log_.emplace(folder_.metrics(), MetricsStart{.step = plan.first_step, .epoch_anew = plan.epoch_anew},
                 logger_, records_.get());
    sync();
  }

  void on_step(const StepEvent& event) override {
    report::Record record = {{"kind", "step"},
                             {"step", event.step},
                             {"epoch", event.epoch + 1},
                             {"loss", event.loss},
                             {"learning_rate", event.learning_rate}};
    if (!std::isnan(event.gradient_norm)) record.push_back({"gradient_norm", event.gradient_norm});
    // Not "loss_scale", which would be a loss term called "scale".
    if (scaled_) record.push_back({"scale_of_loss", event.loss_scale});
    for (const auto& term : event.terms) record.push_back({report::loss_key(term.name), term.value});
    for (const auto& value : event.logged) record.push_back({value.name, value.value});
    append(std::move(record));
  }

  void on_validation(const ValidationEvent& event) override {
    report::Record record = {{"kind", "validation"}, {"step", event.step}, {"epoch", event.epoch + 1}};
    for (const auto& value : values_of(event.result)) record.push_back({value.name, value.value});
    append(std::move(record));
  }

  void on_epoch(const report::EpochRow& row, const ValidationResult*) override {
    append(report::make_record(row));
    sync();
  }

  void on_finish(const FitResult&) override { sync(); }

 private:
  void append(report::Record record) {
    watching_.try_to("write metrics.jsonl", [&] { log_->append(std::move(record)); });
  }
  void sync() {
    watching_.try_to("write metrics.jsonl", [&] { log_->sync(); });
  }

  RunFolder folder_;
  std::shared_ptr<report::RunRecords> records_;  ///< what the file holds
  Logger logger_;
  Watching watching_;
  bool scaled_;
  std::optional<MetricsLog> log_;
};

/// TensorBoard events.
class EventsObserver final : public Observer {
 public:
  EventsObserver(const RunFolder& folder, const Session& session)
      : folder_(folder),
        watching_(session.logger()),
        resumed_(session.resume()),
        scaled_(session.precision() == device::Precision::float16) {}
  std::string name() const override { return "tensorboard"; }

  void on_start(const RunPlan& plan, const RunDescription&) override { open(plan.first_step + 1); }

  void on_step(const StepEvent& event) override {
    for (const auto& term : event.terms) add("train/" + term.name, term.value, event.step);
    add("train/loss", event.loss, event.step);
    add("train/learning_rate", event.learning_rate, event.step);
    if (scaled_) add("train/scale_of_loss", event.loss_scale, event.step);
    for (const auto& value : event.logged) add("logged/" + value.name, value.value, event.step);
  }

  void on_validation(const ValidationEvent& event) override {
    for (const auto& value : values_of(event.result))
      add("validation/" + value.name, value.value, event.step);
  }

  void on_epoch(const report::EpochRow& row, const ValidationResult* validation) override {
    if (!writer_) open(row.step);
    add("epoch/train_loss", row.train_loss, row.step);
    if (!std::isnan(row.samples_per_second))
      add("epoch/samples_per_second", row.samples_per_second, row.step);
    if (validation && validation->loss) add("epoch/valid_loss", *validation->loss, row.step);
    for (const auto& metric : row.metrics) add("epoch/" + metric.name, metric.value, row.step);
    sync();
  }

  void on_finish(const FitResult&) override { sync(); }

 private:
  static constexpr const char* kDoing = "write TensorBoard events";

  /// A file of its own for every process; TensorBoard forgets what earlier ones hold from `step` on.
  void open(std::int64_t step) {
    const bool opened = watching_.try_to(kDoing, [&] {
      writer_.emplace(folder_.events());
      if (resumed_) writer_->mark_restart(step);
    });
    if (!opened) writer_.reset();
  }
  void add(const std::string& tag, double value, std::int64_t step) {
    if (writer_) watching_.try_to(kDoing, [&] { writer_->add_scalar(tag, value, step); });
  }
  void sync() {
    if (writer_) watching_.try_to(kDoing, [&] { writer_->sync(); });
  }

  RunFolder folder_;
  Watching watching_;
  bool resumed_, scaled_;
  std::optional<report::TensorBoardWriter> writer_;
};

/// run.json, with the card beside it.
class DescriptionObserver final : public Observer {
 public:
  DescriptionObserver(const RunFolder& folder, const Session& session)
      : folder_(folder), watching_(session.logger()) {}
  std::string name() const override { return "description"; }

  void on_start(const RunPlan&, const RunDescription& description) override {
    watching_.try_to("remove leftovers of killed runs", [&] { remove_leftovers(folder_); });
    description_ = description;
    write();
  }
  void on_epoch(const report::EpochRow&, const ValidationResult*) override {
    if (!written_) write();
  }
  void on_snapshot_pace(const SnapshotPace& pace) override {
    description_.json = with_pace(description_.json, pace);
    write();
  }
  void on_finish(const FitResult& result) override {
    description_.json = with_outcome(description_.json, result);
    write();
  }

 private:
  void write() {
    written_ = watching_.try_to("write run.json", [&] {
      write_file_atomically(folder_.description(), description_.json);
      if (!description_.card.empty()) write_file_atomically(folder_.card(), description_.card);
    });
  }

  RunFolder folder_;
  Watching watching_;
  RunDescription description_;
  bool written_ = false;
};

/// report.html, and the results of the last validation that it shows. It is made of what the run holds: at most
/// once a minute, and at the end. The last of the observers, as it shows what they were told.
class PageObserver final : public Observer {
 public:
  PageObserver(const RunFolder& folder, const Session& session,
               std::shared_ptr<const report::RunRecords> records)
      : folder_(folder), records_(std::move(records)), watching_(session.logger()) {}
  std::string name() const override { return "page"; }

  /// A resumed run shows what the last validation before found.
  void on_start(const RunPlan& plan, const RunDescription& description) override {
    run_json_ = description.json;
    watching_.try_to("read sections.json", [&] { results_ = read_results(folder_.path(), plan.samples); });
  }
  void on_validation(const ValidationEvent&) override { make_if_due(); }
  void on_epoch(const report::EpochRow& row, const ValidationResult* validation) override {
    if (validation) keep(*validation, row);
    make_if_due();
  }
  void on_snapshot_pace(const SnapshotPace& pace) override {
    run_json_ = with_pace(run_json_, pace);
    outdated_ = true;
  }
  void on_finish(const FitResult& result) override {
    run_json_ = with_outcome(run_json_, result);
    make();
  }
  /// A run that did not finish: what came in the minute since the last page.
  void on_end() noexcept override {
    if (outdated_ && !folder_.is_lost()) make();
  }

 private:
  void keep(const ValidationResult& validation, const report::EpochRow& row) {
    watching_.try_to("write sections.json", [&] {
      if (auto kept = keep_results(folder_, validation.sections, row); !kept.empty())
        results_ = std::move(kept);
    });
  }
  void make_if_due() {
    outdated_ = true;
    const auto now = std::chrono::steady_clock::now();
    if (made_ && now - *made_ < std::chrono::minutes(1)) return;
    made_ = now;
    make();
  }
  void make() {
    outdated_ = !watching_.try_to("write report.html", [&] {
      report::TrainingReport report = report::describe_run(folder_.path(), run_json_);
      records_->show_in(report);
      report.sections = results_;
      if (auto pace = pace_section(run_json_)) report.sections.push_back(std::move(*pace));
      write_file_atomically(folder_.report(), report::render_html(report));
    });
  }

  RunFolder folder_;
  std::shared_ptr<const report::RunRecords> records_;
  Watching watching_;
  std::string run_json_;
  std::vector<report::Section> results_;
  std::optional<std::chrono::steady_clock::time_point> made_;
  bool outdated_ = false;
};

}  // namespace

std::vector<ObserverPtr> run_folder_observers(const Session& session, const RunFolder& folder) {
  auto records = std::make_shared<report::RunRecords>();
  return {std::make_shared<DescriptionObserver>(folder, session),
          std::make_shared<RecordsObserver>(folder, session, records),
          std::make_shared<EventsObserver>(folder, session),
          std::make_shared<PageObserver>(folder, session, records)};
}

}  // namespace bunchtrain::train
