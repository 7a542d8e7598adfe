// SPDX-License-Identifier: Apache-2.0
/// The book of a run: what its folder gets. Each file is tried again at the next epoch if it could not be written.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/report/tensorboard_writer.hpp"
#include "bunchtrain/train/run_page.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "metrics_log.hpp"
#include "run_description.hpp"
#include "run_leftovers.hpp"
#include "run_observers.hpp"
#include "watching.hpp"

namespace bunchtrain::train {
namespace {

/// metrics.jsonl: a line per step and epoch.
class RecordsObserver final : public Observer {
 public:
  RecordsObserver(const RunFolder& folder, const Session& session)
      : folder_(folder),
        logger_(session.logger()),
        watching_(session.logger()),
        scaled_(session.precision() == device::Precision::float16) {}
  std::string name() const override { return "records"; }

  void on_start(const RunPlan& plan, const RunDescription&) override {
    log_.emplace(folder_.metrics(), MetricsStart{.step = plan.first_step, .epoch_anew = plan.epoch_anew},
                 logger_);
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

/// report.html, and the results of the last validation that it is made from. Making it reads all of the run's
/// records: at most once a minute, and at the end. The last of the observers, as it shows what they wrote.
class PageObserver final : public Observer {
 public:
  PageObserver(const RunFolder& folder, const Session& session)
      : folder_(folder), watching_(session.logger()) {}
  std::string name() const override { return "page"; }

  void on_epoch(const report::EpochRow& row, const ValidationResult* validation) override {
    if (validation) keep(*validation, row);
    const auto now = std::chrono::steady_clock::now();
    if (made_ && now - *made_ < std::chrono::minutes(1)) return;
    made_ = now;
    make();
  }
  void on_finish(const FitResult&) override { make(); }

 private:
  void keep(const ValidationResult& validation, const report::EpochRow& row) {
    watching_.try_to("write sections.json", [&] { keep_results(folder_, validation.sections, row); });
  }
  void make() {
    watching_.try_to("write report.html", [&] { render_run(folder_.path()); });
  }

  RunFolder folder_;
  Watching watching_;
  std::optional<std::chrono::steady_clock::time_point> made_;
};

}  // namespace

std::vector<ObserverPtr> run_folder_observers(const Session& session, const RunFolder& folder) {
  return {std::make_shared<DescriptionObserver>(folder, session),
          std::make_shared<RecordsObserver>(folder, session),
          std::make_shared<EventsObserver>(folder, session), std::make_shared<PageObserver>(folder, session)};
}

}  // namespace bunchtrain::train
