// SPDX-License-Identifier: Apache-2.0
#include "evaluation_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/metrics/result_sections.hpp"
#include "bunchtrain/train/evaluation.hpp"
#include "score_file.hpp"

namespace bunchtrain::jet_tagging {
namespace {

constexpr std::size_t kFirstScore = 2;  ///< of a row: before it sample and label

/// Columns of the rows of labelled jets.
class LabelledRows {
 public:
  explicit LabelledRows(const at::Tensor& rows) : width_(static_cast<std::size_t>(rows.size(1))) {
    const double* row = rows.const_data_ptr<double>();
    for (std::int64_t i = 0; i < rows.size(0); ++i, row += width_)
      if (row[0] >= 0 && row[1] >= 0) rows_.push_back(row);
  }
  std::vector<double> column(std::size_t number) const {
    std::vector<double> values;
    for (const double* row : rows_) values.push_back(row[number]);
    return values;
  }
  std::vector<std::uint8_t> is_class(int number) const {
    std::vector<std::uint8_t> is;
    for (const double* row : rows_) is.push_back(row[1] == number);
    return is;
  }

 private:
  std::size_t width_;
  std::vector<const double*> rows_;
};

/// The classes whose scores are cut on.
std::vector<int> signals_of(const metrics::ClassificationResult& result) {
  std::vector<int> signals;
  for (const auto& curve : result.signals)
    if (curve.background < 0) signals.push_back(curve.signal);
  return signals;
}

}  // namespace

AgainstColumn parse_against(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return {.expression = text};
  AgainstColumn column{.expression = text.substr(0, colon), .bins = 0};
  const char* const end = text.data() + text.size();
  const auto [rest, fault] = std::from_chars(text.data() + colon + 1, end, column.bins);
  if (fault != std::errc() || rest != end || column.bins < 1 || column.expression.empty())
    throw ConfigError("against", text, "a column of the card, with a number of bins or without: jet.pt:8");
  return column;
}

void add_observers(features::Card& card, const std::vector<AgainstColumn>& columns) {
  for (const AgainstColumn& column : columns)
    if (std::ranges::find(card.observers, column.expression) == card.observers.end())
      card.observers.push_back(column.expression);
}

std::vector<report::Section> evaluation_sections(const metrics::ClassificationResult& result,
                                                 const at::Tensor& rows, const TrainedNetwork& trained,
                                                 const std::vector<AgainstColumn>& against,
                                                 double working_point, const std::string& data) {
  auto sections = metrics::make_sections(result, {.data = data});
  const LabelledRows labelled(rows);
  const auto& observers = trained.card.observers;
  for (const AgainstColumn& column : against) {
    const auto place = std::ranges::find(observers, column.expression) - observers.begin();
    const auto quantity =
        labelled.column(kFirstScore + result.classes.size() + static_cast<std::size_t>(place));
    for (const int signal : signals_of(result)) {
      const auto curve = metrics::efficiency_against(
          quantity, labelled.column(kFirstScore + static_cast<std::size_t>(signal)),
          labelled.is_class(signal), {.working_point = working_point, .bins = column.bins});
      sections.push_back(
          metrics::make_section(curve, result.classes[static_cast<std::size_t>(signal)], column.expression));
    }
  }
  return sections;
}

}  // namespace bunchtrain::jet_tagging
