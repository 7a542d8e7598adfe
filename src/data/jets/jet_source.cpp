// SPDX-License-Identifier: Apache-2.0
#include "jet_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/random.hpp"
#include "parallel_for.hpp"
#include "part_text.hpp"
#include "row_bytes.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::size_t kFingerprintDigits = 32;

template <class Values>
std::span<const std::byte> bytes_of(const Values& values) {
  return std::as_bytes(std::span(values));
}

/// The label value of files of a class; nothing if none was said.
std::optional<std::int64_t> label_value(const std::string& class_name, const features::Card& card) {
  if (card.label != features::kFileLabel) return std::nullopt;
  const auto found = std::ranges::find(card.classes, class_name, &features::ClassSpec::name);
  return found == card.classes.end() ? std::nullopt : std::optional(found->values.front());
}

std::vector<std::filesystem::path> paths_of(std::span<const LabelledFile> files) {
  std::vector<std::filesystem::path> paths;
  for (const LabelledFile& file : files) paths.push_back(file.path);
  return paths;
}

}  // namespace

JetSource::JetSource(const JetDatasetOptions& options, std::span<const LabelledFile> files,
                     features::Card card)
    : logger_(options.logger),
      engine_(io::choose_engine(options.io, paths_of(files))),
      card_(std::move(card)),
      pads_to_longest_(options.pad_to_longest && !card_.ragged),
      pipeline_(delivered(card_), options.targets) {
  for (const auto& file : files)
    files_.emplace_back(file.path, pipeline_, label_value(file.class_name, pipeline_.card()), engine_.engine);
  if (options.labels_required)
    require_labels(files_, pipeline_.card());
  else if (const std::string missing = describe_missing(files_, pipeline_.card().kind); !missing.empty())
    logger_.info(missing);
  ranges_ = cut_rows(files_);
  const std::size_t rows = ranges_.empty() ? 0 : ranges_.back().first_row + ranges_.back().count;
  labels_.assign(rows, kDropped);
  if (!pipeline_.card().split_by.empty()) keys_.assign(rows, 0);
  if (!pipeline_.card().sample_weight.empty()) weights_.assign(rows, 1);
  targets_.assign(targets().size(), std::vector<double>(rows, std::numeric_limits<double>::quiet_NaN()));
  make_room_for_elements();
  count_filled_rows();
  if (options.known_rows.empty())
    read_labels(options.threads);
  else
    take_labels(options.known_rows);
  take_fingerprint(files, options.hash_data);
  require_same_rows(options.known_rows);
}

/// In one order for both directions; nothing else is found by reading all rows.
template <class Self, class Action>
bool JetSource::for_each_column(Self& self, Action action) {
  bool all = action(self.labels_) && action(self.keys_) && action(self.weights_);
  for (auto& target : self.targets_) all = all && action(target);
  auto& elements = self.elements_;
  all = all && action(elements.real) && action(elements.per_class) && action(elements.weights);
  for (auto& target : elements.targets) all = all && action(target);
  return all;
}

std::string JetSource::rows_as_bytes() const {
  std::string bytes = fingerprint_;
  put_column(bytes, std::vector{counts_.not_selected, counts_.other_labels, counts_.not_finite});
  for_each_column(*this, [&](const auto& column) {
    put_column(bytes, column);
    return true;
  });
  return bytes;
}

void JetSource::take_labels(std::string_view rows) {
  labels_read_ = false;
  rows.remove_prefix(std::min(rows.size(), kFingerprintDigits));
  std::vector<std::int64_t> left_out(3);
  const bool taken = take_column(rows, left_out) &&
                     for_each_column(*this, [&](auto& column) { return take_column(rows, column); });
  if (!taken || !rows.empty()) refuse_rows();
  counts_.stored = static_cast<std::int64_t>(this->rows());
  counts_.not_selected = left_out[0];
  counts_.other_labels = left_out[1];
  counts_.not_finite = left_out[2];
}

/// The fingerprint of what was taken, and of the files as they are seen here, is that of who read them.
void JetSource::require_same_rows(std::string_view rows) const {
  if (!labels_read_ && rows.substr(0, kFingerprintDigits) != fingerprint_) refuse_rows();
}

void JetSource::refuse_rows() const {
  throw DataError(fmt::format(
      "{}: another process of this node read other rows than are here; let all processes see the same files, "
      "which nobody writes meanwhile",
      files_.front().path()));
}

void JetSource::read_labels(int threads) {
  std::mutex mutex;
  std::vector<features::UnknownLabels> unknown(ranges_.size());
  counts_.stored = static_cast<std::int64_t>(rows());
  for_each_index(ranges_.size(), threads, [&](std::size_t index) {
    features::RowSelection selection = read_labels(ranges_[index]);
    unknown[index] = std::move(selection.unknown);
    const std::lock_guard lock(mutex);
    counts_.not_selected += selection.counts.not_selected;
    counts_.other_labels += selection.counts.other_labels;
    counts_.not_finite += selection.counts.not_finite;
  });
  features::UnknownLabels all;
  for (const auto& labels : unknown) all.merge(labels);
  pipeline_.require_known(all);
}

// Ranges do not overlap, so that threads write to different rows.
features::RowSelection JetSource::read_labels(const RowRange& range) {
  thread_local features::RawColumns raw;
  files_[range.file].read(range.first, range.count, ColumnSet::selection, raw);
  features::RowSelection selection;
  pipeline_.select_rows(raw, selection);
  keep_elements(selection, range.first_row);
  for (std::size_t i = 0; i < selection.kept.size(); ++i) {
    const std::size_t row = range.first_row + static_cast<std::size_t>(selection.kept[i]);
    labels_[row] = static_cast<std::int16_t>(selection.labels[i]);
    if (!selection.weights.empty()) weights_[row] = selection.weights[i];
    for (std::size_t target = 0; target < targets_.size(); ++target)
      if (!selection.targets[target].empty()) targets_[target][row] = selection.targets[target][i];
    if (keys_.empty()) continue;
    // 32 bits of a key are enough: two keys that collide merely stay together. A file without the key is
    // split by row.
    const auto key = selection.keys.empty() ? row : static_cast<std::uint64_t>(selection.keys[i]);
    keys_[row] = static_cast<std::uint32_t>(mix64(range.file, key));
  }
  return selection;
}

/// Threads read ranges of rows in any order.
void JetSource::make_room_for_elements() {
  const features::Card& card = pipeline_.card();
  if (!card.ragged) return;
  elements_.real.assign(rows(), 0);
  const std::size_t classes = pipeline_.labels_elements() ? card.classes.size() : 0;
  elements_.per_class.assign(rows() * classes, 0);
  if (pipeline_.weighs_elements() && !card.sample_weight.empty())
    elements_.weights.assign(rows() * std::max<std::size_t>(classes, 1), 0);
  for (const std::string& target : targets())
    elements_.targets.emplace_back(pipeline_.is_of_elements(target) ? rows() : 0);
}

/// Ranges do not overlap here either.
void JetSource::keep_elements(const features::RowSelection& selection, std::size_t first_row) {
  const features::ElementCounts& found = selection.elements;
  if (found.real.empty()) return;
  const std::size_t kept = selection.kept.size();
  const auto scatter = [&](const auto& from, auto& to) {
    const std::size_t width = from.size() / kept;
    for (std::size_t i = 0; i < from.size(); ++i)
      to[(first_row + static_cast<std::size_t>(selection.kept[i / width])) * width + i % width] = from[i];
  };
  scatter(found.real, elements_.real);
  scatter(found.per_class, elements_.per_class);
  scatter(found.weights, elements_.weights);
  for (std::size_t i = 0; i < found.targets.size(); ++i) scatter(found.targets[i], elements_.targets[i]);
}

void JetSource::count_filled_rows() {
  for (const auto& file : files_)
    counts_.filled += log_filled_rows(file.path(), file.rows(), file.filled_rows(), logger_);
}

void JetSource::take_fingerprint(std::span<const LabelledFile> named, bool hash_data) {
  Hasher hasher;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    auto files = files_[i].identities(hash_data);
    files.front().class_name = named[i].class_name;
    add_identity(files.front(), hasher);
    identities_.insert(identities_.end(), files.begin(), files.end());
  }
  hasher.update(bytes_of(labels_));
  hasher.update(bytes_of(keys_));
  hasher.update(bytes_of(weights_));
  for (const auto& target : targets_) hasher.update(bytes_of(target));
  hasher.update(bytes_of(elements_.real));
  hasher.update(bytes_of(elements_.per_class));
  fingerprint_ = hasher.hex();
}

}  // namespace bunchtrain::data
