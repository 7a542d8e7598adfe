// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/progress.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/report/table.hpp"
#include "loss_terms.hpp"
#include "terminal.hpp"

namespace bunchtrain::report {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kClearLine = "\r\x1b[K";

void write_to_standard_output(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string make_bar(double fraction, int cells, bool unicode) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  if (!unicode) {
    const int full = static_cast<int>(fraction * cells);
    return '[' + std::string(full, '=') + std::string(cells - full, ' ') + ']';
  }
  constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(fraction * cells * 8);
  std::string bar = "▕";
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  bar.append(cells - eighths / 8 - (eighths % 8 ? 1 : 0), ' ');
  return bar + "▏";
}

// Keeps the first `width` characters of UTF-8.
std::string_view cut(std::string_view text, int width) {
  std::size_t end = 0;
  for (int shown = 0; end < text.size(); ++end) {
    const bool starts_character = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts_character && shown++ == width) break;
  }
  return text.substr(0, end);
}

// "valid_accuracy" is shown as "accuracy": the line has no other.
std::string_view short_name(std::string_view name) {
  constexpr std::string_view kPrefix = "valid_";
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

std::string format_short(double value) {
  return std::abs(value) < 10 ? fmt::format("{:.4f}", value) : fmt::format("{:.1f}", value);
}

/// Breaks a line between its fields, which two blanks keep apart, below the second one.
std::string fold_fields(std::string_view line, std::size_t width) {
  constexpr std::string_view kGap = "  ";
  std::string text;
  std::size_t indent = 0, used = 0;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(kGap), line.size());
    const std::string_view field = line.substr(0, end);
    if (used == 0) {
      text = field;
      indent = display_width(field);
      used = indent;
    } else {
      const bool fits = used + kGap.size() + display_width(field) <= width || used == indent;
      if (!fits) text.append("\n").append(indent, ' ');
      text.append(kGap).append(field);
      used = (fits ? used : indent) + kGap.size() + display_width(field);
    }
    line.remove_prefix(std::min(end + kGap.size(), line.size()));
  }
  return text;
}

}  // namespace

std::string format_epoch_line(const EpochRow& row, std::string_view samples) {
  const std::string epochs = std::to_string(row.epochs);
  std::string line = fmt::format("epoch {:>{}}/{}", row.epoch, epochs.size(), epochs);
  const auto add = [&line](std::string_view name, double value, const std::string& shown) {
    if (!std::isnan(value)) line += fmt::format("  {} {}", name, shown);
  };
  const auto terms = main_terms(names_of(row.losses));
  for (const std::string& term : terms) {
    const double value = value_of(row.losses, term);
    add(without_total(term), value, format_short(value));
  }
  if (terms.empty()) add("loss", row.train_loss, fmt::format("{:.4f}", row.train_loss));
  add("valid", row.valid_loss, fmt::format("{:.4f}", row.valid_loss));
  for (const auto& [name, value] : row.metrics) {
    add(short_name(name), value, format_short(value));
  }
  add("lr", row.learning_rate, fmt::format("{:.2e}", row.learning_rate));
  if (!std::isnan(row.samples_per_second)) {
    line += fmt::format("  {} {}/s", format_count(row.samples_per_second), samples);
  }
  return line + "  " + format_duration(row.seconds);
}

ProgressOutput ProgressOutput::standard() {
  const Terminal terminal = observe_standard_output();
  return {
      .write = {}, .is_terminal = terminal.interactive, .width = terminal.width, .unicode = terminal.unicode};
}

struct Progress::Impl {
  ProgressOptions options;
  ProgressOutput output;
  Clock::time_point started;
  Clock::time_point last_shown;
  std::optional<StepStatus> status = {};
  std::string phase = {};
  bool bar_visible = false;
  bool closed = false;

  Impl(ProgressOptions given_options, ProgressOutput given_output)
      : options(std::move(given_options)), output(std::move(given_output)) {
    if (!output.write) output.write = write_to_standard_output;
    if (!options.now) options.now = Clock::now;
    started = last_shown = options.now();
  }

  bool silent() const { return !options.enabled || closed; }

  void show_if_due() {
    const Clock::time_point now = options.now();
    const auto interval = output.is_terminal ? options.redraw_interval : options.log_interval;
    if (now - last_shown < interval) return;
    last_shown = now;
    if (output.is_terminal) {
      redraw();
    } else {
      output.write(make_log_line() + '\n');
    }
  }

  void redraw() {
    output.write(fmt::format("\r{}\x1b[K", cut(make_bar_line(), output.width - 1)));
    bar_visible = true;
  }

  void print_line(std::string_view line) {
    output.write(bar_visible ? fmt::format("{}{}\n", kClearLine, line) : fmt::format("{}\n", line));
    const bool was_visible = std::exchange(bar_visible, false);
    if (was_visible) redraw();
  }

  std::int64_t step() const { return status ? status->step : options.first_step; }
  double fraction() const {
    return options.total_steps > 0 ? static_cast<double>(step()) / static_cast<double>(options.total_steps)
                                   : 0.0;
  }

  std::string eta() const {
    const auto done = static_cast<double>(step() - options.first_step);
    const auto left = static_cast<double>(options.total_steps - step());
    if (done <= 0 || left < 0) return "-";
    return format_duration(std::chrono::duration<double>(options.now() - started).count() / done * left);
  }

  // The epoch that the next step belongs to.
  std::string epoch() const {
    if (options.steps_per_epoch <= 0 || options.epochs <= 0) return {};
    const std::int64_t current = std::max<std::int64_t>(step() - 1, 0) / options.steps_per_epoch + 1;
    return fmt::format("epoch {}/{}", std::min(current, options.epochs), options.epochs);
  }

  std::string make_details() const {
    std::string text;
    if (!phase.empty()) text += "  " + phase;
    if (status && phase.empty()) {
      text += fmt::format("  loss {:.4f}  {} {}/s", status->loss, format_count(status->samples_per_second),
                          options.samples);
    }
    return text + "  ETA " + eta();
  }

  std::string make_bar_line() const {
    const std::string front = epoch();
    const std::string back = fmt::format(" {:3.0f} %{}", 100 * fraction(), make_details());
    const auto taken = static_cast<int>(display_width(front) + display_width(back));
    constexpr int kLongest = 40, kShortest = 6, kEnds = 4;
    const int cells = std::min(output.width - taken - kEnds, kLongest);
    if (cells < kShortest) return front + ' ' + back;
    return front + ' ' + make_bar(fraction(), cells, output.unicode) + back;
  }

  std::string make_log_line() const {
    return fmt::format("step {}/{} ({:.0f} %)  {}{}", step(), options.total_steps, 100 * fraction(), epoch(),
                       make_details());
  }
};

Progress::Progress(ProgressOptions options, ProgressOutput output)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(output))) {}

Progress::~Progress() {
  try {
    close();
  } catch (...) {  // a closed output is no reason to end the program
  }
}

void Progress::update(const StepStatus& status) {
  if (impl_->silent()) return;
  impl_->status = status;
  impl_->phase.clear();
  impl_->show_if_due();
}

void Progress::update_phase(std::string_view phase, std::int64_t done, std::int64_t total) {
  if (impl_->silent()) return;
  impl_->phase = fmt::format("{} {}/{}", phase, done, total);
  impl_->show_if_due();
}

void Progress::finish_epoch(const EpochRow& row) {
  if (impl_->silent()) return;
  impl_->phase.clear();
  const std::string line = format_epoch_line(row, impl_->options.samples);
  const auto& output = impl_->output;
  impl_->print_line(output.is_terminal ? fold_fields(line, static_cast<std::size_t>(output.width)) : line);
}

void Progress::note(std::string_view line) {
  if (!impl_->silent()) impl_->print_line(line);
}

void Progress::close() {
  if (impl_->silent()) return;
  if (impl_->bar_visible) impl_->output.write(kClearLine);
  impl_->closed = true;
}

}  // namespace bunchtrain::report
