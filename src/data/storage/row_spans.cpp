// SPDX-License-Identifier: Apache-2.0
#include "row_spans.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bunchtrain::data {

RowSpans normalised(RowSpans spans) {
  std::erase_if(spans, [](const RowSpan& span) { return span.count == 0; });
  std::ranges::sort(spans, {}, &RowSpan::first);
  RowSpans joined;
  for (const RowSpan& span : spans) {
    if (joined.empty() || span.first > joined.back().first + joined.back().count) {
      joined.push_back(span);
      continue;
    }
    const std::uint64_t end = std::max(joined.back().first + joined.back().count, span.first + span.count);
    joined.back().count = end - joined.back().first;
  }
  return joined;
}

RowSpans cut(const RowSpans& spans, std::uint64_t first, std::uint64_t count) {
  RowSpans inside;
  for (const RowSpan& span : spans) {
    const std::uint64_t begin = std::max(span.first, first);
    const std::uint64_t end = std::min(span.first + span.count, first + count);
    if (begin < end) inside.push_back({begin - first, end - begin});
  }
  return inside;
}

RowSpans complement(const RowSpans& spans, std::uint64_t rows) {
  RowSpans others;
  std::uint64_t next = 0;
  for (const RowSpan& span : spans) {
    if (span.first >= rows) break;
    if (span.first > next) others.push_back({next, span.first - next});
    next = span.first + span.count;
  }
  if (next < rows) others.push_back({next, rows - next});
  return others;
}

std::uint64_t count_rows(const RowSpans& spans) {
  std::uint64_t rows = 0;
  for (const RowSpan& span : spans) rows += span.count;
  return rows;
}

std::string to_string(const RowSpans& spans) {
  constexpr std::size_t kMost = 4;
  std::vector<std::string> texts;
  for (const RowSpan& span : spans) {
    if (texts.size() == kMost) break;
    texts.push_back(span.count == 1 ? fmt::format("row {}", span.first)
                                    : fmt::format("rows {} to {}", span.first, span.first + span.count - 1));
  }
  const std::string listed = fmt::format("{}", fmt::join(texts, ", "));
  if (spans.size() <= kMost) return listed;
  return fmt::format("{} and {} more ranges, {} rows in all", listed, spans.size() - kMost,
                     count_rows(spans));
}

}  // namespace bunchtrain::data
